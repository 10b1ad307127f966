"""How busy the pipeline keeps vLLM: tokens a second through it, against the same requests handed to vLLM all at once.

A model of random weights and real shape (about 0.4 B parameters; `--model` takes another) writes real tokens under the
stages' schemas; the pipeline is given the rehearsal's text in their place, so that every stage is reached. Both ways run
in one process on one engine, interleaved, the prefix cache emptied before each; the middle of each run is measured.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models import tiny

from factory import prompts
from factory.corpus import Corpus
from factory.engines.rehearsal import Rehearsal
from factory.engines.vllm import VLLM
from factory.plan import Shards
from factory.replay import asking_of
from factory.requests import Identity, Reply, Request
from factory.runner import Runner, Tally
from factory.settings import Content
from factory.steps import TARGETS, pipeline
from factory.store import Store

CORPORA = Path(__file__).resolve().parents[1] / "corpora"  # short narratives: most of a prompt is shared


@dataclass
class Clocked:
    """Lets vLLM answer, notes when and with how many tokens, and gives the rehearsal's text where `stand_in`."""

    engine: VLLM
    tokens: int
    stand_in: bool = True
    requests: list[Request] = field(default_factory=list)
    done: list[tuple[float, int]] = field(default_factory=list)
    cached: int = 0
    prompt: int = 0

    @property
    def identity(self) -> Identity:
        return self.engine.identity

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        bounded = replace(request, sampling=replace(request.sampling, max_tokens=self.tokens))
        reply = await self.engine.complete(bounded)
        self.done.append((time.perf_counter(), reply.tokens_out))
        self.cached += reply.tokens_cached
        self.prompt += reply.tokens_in
        if not self.stand_in:
            return reply
        text = (await Rehearsal().complete(request)).text
        return Reply(text=text, tokens_in=reply.tokens_in, tokens_out=reply.tokens_out)

    async def close(self) -> None: ...

    def rate(self) -> float:
        """Tokens a second while the engine is in full swing: from a fifth of the replies to four fifths."""
        low, high = len(self.done) // 5, len(self.done) * 4 // 5
        return sum(tokens for _, tokens in self.done[low + 1 : high + 1]) / (self.done[high][0] - self.done[low][0])


async def through_pipeline(engine: Clocked, source: Path, records: int, folder: Path, flight: int) -> None:
    content, store = Content(actors=1), Store(folder)
    for path in (store.shards, store.journals):
        path.mkdir(parents=True)
    steps = pipeline(content).wanted(TARGETS)
    book = prompts.load(steps.prompts())
    reader = Corpus(path=source, text_column=None, id_column=None, separator=None)
    from factory.plan import passages

    total, tally = sum(1 for _ in passages(reader, content, records)), Tally()
    shards = Shards(
        store=store,
        corpus=reader,
        content=content,
        tally=tally,
        targets=TARGETS,
        stages=tuple(step.stage.name for step in steps),
        total=total,
        size=64,
        limit=records,
    )
    runner = Runner(
        pipeline=steps,
        engine=engine,
        asking=asking_of(book, content.seed, content.repairs, content.preset),
        store=store,
        tally=tally,
        targets=TARGETS,
        concurrency=flight,
    )
    await runner.run(iter(shards))


async def all_at_once(engine: Clocked, requests: list[Request]) -> None:
    await asyncio.gather(*(engine.complete(request) for request in requests))


async def bench(given: argparse.Namespace, folder: Path) -> None:
    size: dict[str, Any] = {"shape": "0.4b"} if given.shape == "0.4b" else {"hidden": 512, "layers": 8}
    model = given.model or str(tiny.make(folder / "model", **size))
    arguments: dict[str, Any] = {"max_num_seqs": given.seqs, "max_model_len": 4096, "enforce_eager": True}
    arguments |= {
        "gpu_memory_utilization": given.memory,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": 4096,
    }
    vllm = VLLM(model=model, revision="", dtype="bfloat16", quantization="", arguments=arguments, say=print)
    ratios, ours, theirs, hits = [], [], [], []
    for n in range(given.repeats):
        mine = Clocked(vllm, given.tokens)
        await vllm.forget_prefixes()
        await through_pipeline(mine, CORPORA, given.records, folder / f"run{n}", given.flight)
        raw = Clocked(vllm, given.tokens, stand_in=False)
        await vllm.forget_prefixes()
        await all_at_once(raw, mine.requests)
        ours.append(mine.rate())
        theirs.append(raw.rate())
        ratios.append(ours[-1] / theirs[-1])
        hits.append(mine.cached / mine.prompt)
        print(
            f"{len(mine.requests)} requests: {ours[-1]:.0f} / {theirs[-1]:.0f} tokens/s = {ratios[-1]:.3f}; prefix cache hits "
            f"{hits[-1]:.3f} (all at once {raw.cached / raw.prompt:.3f})",
            flush=True,
        )
    print(
        f"| vLLM, {len(mine.requests)} requests of {given.tokens} tokens, {given.seqs} sequences: pipeline / all at once | "
        f"{statistics.median(ours):.0f} / {statistics.median(theirs):.0f} tokens/s, ratio {statistics.median(ratios):.2f}; "
        f"prefix-cache hit rate {statistics.median(hits):.2f} | {' / '.join(f'{r:.2f}' for r in ratios)} |"
    )
    await vllm.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="", help="folder or hub id instead of the random model")
    parser.add_argument("--shape", choices=["0.4b", "small"], default="0.4b", help="of the random model")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--records", type=int, default=16, help="passages; as many as sequences, or vLLM has too little to do"
    )
    parser.add_argument("--tokens", type=int, default=16, help="of each reply")
    parser.add_argument("--memory", type=float, default=0.6, help="share of the memory that vLLM may take")
    parser.add_argument("--seqs", type=int, default=8, help="sequences that vLLM works on at a time")
    parser.add_argument("--flight", type=int, default=64, help="requests in flight")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(bench(given, Path(name)))


if __name__ == "__main__":
    main()
