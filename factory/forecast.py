"""What a run will take, before it begins: requests, tokens, money and hours.

Either some of the corpus's passages are played by the rehearsal engine: then the requests and their prompts are those of
the run, and what a model would say is guessed. Or the accounts of a run that was begun are scaled to the corpus. Whatever
is assumed is said in a sentence.
"""

import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import orjson
from rich.console import RenderableType
from rich.text import Text

from factory.corpus import Corpus, survey
from factory.cost import Prices
from factory.engines.open import in_flight
from factory.engines.rehearsal import Rehearsal
from factory.errors import WrongRequest
from factory.frozen import Frozen, named, need
from factory.plan import passages
from factory.progress import clock
from factory.records import Count, Passage
from factory.run import last_start, names, synth
from factory.settings import Content, Operation
from factory.show import spent, together
from factory.steps import pipeline
from factory.store import MANIFEST, Manifest, Store

SAMPLE = 40  # passages
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the whole corpus will take; `seconds` is None where nothing says how quick the engine is."""

    passages: int
    counts: Mapping[str, Count]
    seconds: float | None
    assumptions: tuple[str, ...]


def rehearsed(
    corpus: Corpus,
    content: Content,
    *,
    limit: int = 0,
    targets: Sequence[str] | None = None,
    prompts_folder: Path | None = None,
    tokens_per_second: float = 0.0,
) -> Forecast:
    """From at most 40 passages of the corpus, played without a model. WrongRequest for what synth would refuse too."""
    survey(corpus, limit or None)
    sample, total = _spread(passages(corpus, content, limit), SAMPLE)
    played = _played(sample, content, targets, prompts_folder)
    counts = _scaled(played, total / len(sample))
    return Forecast(
        passages=total,
        counts=counts,
        seconds=_at(tokens_per_second, counts),
        assumptions=(
            f"Not measured on a model: {len(sample):,} of {total:,} passages, drawn evenly, were played by the rehearsal "
            "engine.",
            "A token is taken as 4 characters; a model may say more or less than the rehearsal, and its thinking, if it "
            "thinks, comes on top.",
            "No reply of a model has to be repaired (each repair is a request more, with a longer prompt), and no token of "
            "a prompt is cached.",
            *_at_words(tokens_per_second),
        ),
    )


def measured(
    corpus: Corpus,
    run: Store,
    *,
    limit: int = 0,
    targets: Sequence[str] | None = None,
    tokens_per_second: float = 0.0,
) -> Forecast:
    """From the finished shards of a run, whose settings the run to come has too."""
    frozen = need(run)
    done = {name: m for name in run.names() if (m := run.finished(name)) is not None}
    if not done:
        raise WrongRequest(
            f"{run.out} has no finished shard to measure; let it go on, or make a small run first: LIMIT=20 SHARD_SIZE=4 "
            "on an OUT of its own"
        )
    survey(corpus, limit or None)
    total = sum(1 for _ in passages(corpus, frozen.content, limit))
    seen = sum(m.passages for m in done.values())
    counts = _scaled(_of_targets(run, frozen, done.values(), targets), total / seen)
    every = together(counts)
    pace, how = (0.0, "") if tokens_per_second else _pace(run, frozen, done)
    model = frozen.identity.engine != "rehearsal"
    return Forecast(
        passages=total,
        counts=counts,
        seconds=_at(tokens_per_second, counts) or pace * total or None,
        assumptions=(
            f"{f'Measured on {named(frozen.identity)}' if model else 'Not measured on a model but on a rehearsal'}: "
            f"{seen:,} finished passages of {run.out} stand for {total:,}.",
            f"Tokens are as that run counted them; {every.repairs / max(1, every.asked):.1%} of its requests were repairs, "
            f"and {every.tokens_cached / max(1, every.tokens_in):.0%} of the tokens in its prompts were cached.",
            *([how] if how else _at_words(tokens_per_second)),
        ),
    )


def report(found: Forecast, prices: Prices) -> Iterator[RenderableType]:
    """The table by stage, the totals in one line, and what was assumed."""
    total = together(found.counts)
    yield spent(found.counts, prices, asked="requests")
    parts = [
        f"{found.passages:,} passages",
        f"{total.asked:,} requests",
        f"{total.tokens_in:,} tokens in",
        f"{total.tokens_out:,} tokens out",
        prices.shown(prices.of_count(total)) if prices.known else "money: give PRICE_IN and PRICE_OUT",
        clock(found.seconds) if found.seconds is not None else "hours: give TOKENS_PER_SECOND",
    ]
    yield Text("about " + " · ".join(parts), style="bold")
    yield from (Text(sentence) for sentence in found.assumptions)


def _spread(found: Iterable[T], most: int) -> tuple[list[T], int]:
    """At most so many, evenly over all of them, and how many there are; one pass, and few are held."""
    kept: list[T] = []
    stride, total = 1, 0
    for total, one in enumerate(found, 1):
        if (total - 1) % stride == 0:
            kept.append(one)
        if len(kept) == 4 * most:
            kept, stride = kept[::2], 2 * stride
    count = min(most, len(kept))
    return [kept[(2 * n + 1) * len(kept) // (2 * count)] for n in range(count)], total


def _played(
    sample: Sequence[Passage], content: Content, targets: Sequence[str] | None, prompts_folder: Path | None
) -> Mapping[str, Count]:
    """The accounts of a run over these passages, in a folder that is gone afterwards."""
    plain = Content()
    ours = ("engine", "model", "revision", "dtype", "quantization", "extra_body", "separator")
    own = replace(content, **{n: getattr(plain, n) for n in ours}, text_column="text", id_column="id")
    with tempfile.TemporaryDirectory(prefix="factory-plan-") as folder:
        corpus = Path(folder) / "sample.jsonl"
        lines = ({"id": f"p{number}", "text": passage.text} for number, passage in enumerate(sample))
        corpus.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        result = synth(
            corpus,
            out=Path(folder) / "run",
            content=own,
            operation=Operation(max_rejects=1.0, shard_size=SAMPLE),
            stages=targets,
            prompts_folder=prompts_folder,
            engine=Rehearsal(),
        )
        return dict(result.tally.counts)


def _of_targets(
    run: Store, frozen: Frozen, done: Iterable[Manifest], targets: Sequence[str] | None
) -> dict[str, Count]:
    """The accounts of the finished shards together, of the stages that these targets need."""
    missing = set(targets or ()) - set(frozen.targets)
    if missing:
        raise WrongRequest(
            f"{run.out} did not make {', '.join(sorted(missing))}, so it cannot say what that takes; "
            f"choose STAGES among {', '.join(frozen.targets)}"
        )
    wanted = names(pipeline(frozen.content).wanted(targets)) if targets is not None else None
    counts: dict[str, Count] = {}
    for manifest in done:
        for stage, count in manifest.units.items():
            if wanted is None or stage in wanted:
                counts.setdefault(stage, Count()).add(count)
    return counts


_SCALED = ("inputs", "accepted", "rejected", "made", "kept", "dropped", "asked", "repairs")
_TOKENS = ("tokens_in", "tokens_out", "tokens_cached")


def _scaled(counts: Mapping[str, Count], factor: float) -> dict[str, Count]:
    return {
        stage: Count(
            **{name: round(getattr(count, name) * factor) for name in (*_SCALED, *_TOKENS)},
            seconds=count.seconds * factor,
        )
        for stage, count in counts.items()
    }


def _at(tokens_per_second: float, counts: Mapping[str, Count]) -> float | None:
    return together(counts).tokens_out / tokens_per_second if tokens_per_second else None


def _at_words(tokens_per_second: float) -> list[str]:
    return [f"The engine writes {tokens_per_second:,g} tokens a second, all the time."] if tokens_per_second else []


def _pace(run: Store, frozen: Frozen, done: Mapping[str, Manifest]) -> tuple[float, str]:
    """Seconds of wall clock a passage (0 where nothing is known), and how they were found."""
    started = last_start(run)
    said = started.get("concurrency")
    most = in_flight(frozen.content, Operation(concurrency=said if isinstance(said, int) and said > 0 else 0))
    clocked, ended, waited = _clocked(run, done)
    # A folder that was copied has other times: then more would have been in flight than may be.
    if clocked and ended and waited <= 1.5 * most * clocked:
        return clocked / ended, f"Hours by the wall clock of that run: {60 * ended / clocked:,.1f} passages a minute."
    seconds = sum(together(m.units).seconds for m in done.values())
    if not seconds:
        return 0.0, "That run says nothing of time."
    return (
        seconds / most / sum(m.passages for m in done.values()),
        f"Hours at best: the seconds of all its replies, with {most} in flight all the time.",
    )


def _clocked(run: Store, done: Mapping[str, Manifest]) -> tuple[float, float, float]:
    """From the first finished shard of each start to its last (so without the loading of a model): seconds, passages that
    ended, seconds of their replies. What was remembered does not count."""
    starts = _starts(run)
    written = sorted((_time(run.shards / name / MANIFEST), name) for name in done)
    clocked = ended = waited = 0.0
    for (before, _), (at, name) in zip(written, written[1:], strict=False):
        if bisect_right(starts, before) != bisect_right(starts, at):
            continue  # the run was stopped between them
        one = together(done[name].units)
        fresh = 1 - one.remembered / max(1, one.asked)
        clocked += at - before
        ended += fresh * done[name].passages
        waited += fresh * one.seconds
    return clocked, ended, waited


def _starts(run: Store) -> list[float]:
    found = []
    for line in (run.out / "starts.jsonl").read_bytes().split(b"\n"):
        try:
            found.append(datetime.fromisoformat(orjson.loads(line)["time"]).timestamp())
        except (ValueError, KeyError, TypeError):
            continue  # a torn line
    return sorted(found)


def _time(path: Path) -> float:
    return path.stat().st_mtime
