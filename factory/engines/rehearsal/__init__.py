"""The rehearsal engine: every stage answered without a model, from a hand-written phrase bank anchored in the passage.

For a first run, tests and benchmarks. It reads what a request was rendered from (`fields`), so it needs no tokens; the
same request always gets the same reply. What it writes is template text and is marked `rehearsal` wherever it goes.
"""

import asyncio
from dataclasses import dataclass, field

from factory.engines.rehearsal.answers import answer
from factory.engines.rehearsal.bank import revision
from factory.requests import Identity, Reply, Request

MODEL = "phrase-bank"


@dataclass
class Rehearsal:
    """`delay_ms` makes every reply take so long, as a model would; tokens are counted as four characters each."""

    delay_ms: float = 0.0
    identity: Identity = field(default_factory=lambda: Identity(engine="rehearsal", model=MODEL, revision=revision()))

    async def complete(self, request: Request) -> Reply:
        if self.delay_ms:
            await asyncio.sleep(self.delay_ms / 1000)
        text = answer(request)
        return Reply(
            text=text,
            tokens_in=sum(len(m.content) for m in request.messages) // 4,
            tokens_out=1 if request.read else len(text) // 4,
            seconds=self.delay_ms / 1000,
        )

    async def close(self) -> None: ...
