"""Spoils a stated share of an engine's replies, the same ones in every run: what real models and servers do wrong.

Kinds: `malformed` (broken JSON), `truncated` (cut off by the token limit), `wrong` (labels outside the taxonomy),
`refusal` (a polite no), `error` (no reply at all, may pass), `delay` (ten times as slow).
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from factory.engines import Engine
from factory.errors import Transient, WrongRequest
from factory.requests import Identity, Reply, Request, draw

KINDS = ("malformed", "truncated", "wrong", "refusal", "error", "delay")
_LABEL = re.compile(r'("(?:emotion|label)"\s*:\s*")[^"]*"')


@dataclass
class Faulty:
    engine: Engine
    rates: Mapping[str, float]
    slow_seconds: float = 0.05
    _tries: dict[tuple[str, str, int, int], int] = field(default_factory=dict)

    @property
    def identity(self) -> Identity:
        return self.engine.identity

    async def complete(self, request: Request) -> Reply:
        mark = (request.stage, request.unit, request.repair, request.round)
        kind = self.kind(mark, self._tries.get(mark, 0))
        if kind == "error":
            self._tries[mark] = self._tries.get(mark, 0) + 1
            raise Transient("503 made on request (FAULTS)")
        self._tries.pop(mark, None)
        if kind == "delay":
            await asyncio.sleep(self.slow_seconds)
        return spoilt(kind, await self.engine.complete(request))

    def kind(self, mark: tuple[str, str, int, int], tried: int) -> str:
        """Which fault strikes this attempt, if any; drawn from what is asked, so a resumed run meets the same."""
        at = draw("fault", *mark, tried)
        for kind, rate in self.rates.items():
            if at < rate:
                return kind
            at -= rate
        return ""

    async def close(self) -> None:
        await self.engine.close()


def spoilt(kind: str, reply: Reply) -> Reply:
    if kind == "malformed":
        return replace(reply, text=reply.text.replace('"', "'", 3)[:-1] + ",,")
    if kind == "truncated":
        return replace(reply, text=reply.text[: len(reply.text) * 2 // 3], finish="length")
    if kind == "wrong":
        return replace(reply, text=_LABEL.sub(r'\1gloomth"', reply.text))
    if kind == "refusal":
        return replace(reply, text="I'm sorry, but I can't help with that request.")
    return reply


def parse(text: str) -> dict[str, float]:
    """'malformed=0.1,error=0.05' as rates; WrongRequest names what is wrong with it."""
    rates: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, value = part.partition("=")
        try:
            rates[name.strip()] = float(value)
        except ValueError:
            raise WrongRequest(f"FAULTS: {part!r} is not kind=share; say for example malformed=0.1") from None
    unknown = sorted(set(rates) - set(KINDS))
    if unknown:
        raise WrongRequest(f"FAULTS: unknown kind {', '.join(unknown)}; choose among {', '.join(KINDS)}")
    if any(not 0 <= rate <= 1 for rate in rates.values()) or sum(rates.values()) > 1 + 1e-9:
        raise WrongRequest("FAULTS: each share lies in 0..1 and they add up to at most 1")
    return rates
