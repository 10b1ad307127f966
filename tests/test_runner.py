"""The event loop: each unit exactly once, bounded flight, limits, and stages of a user's own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import factory
from factory import api, run
from factory.engines.rehearsal import Rehearsal
from factory.errors import Stopped, Transient, WrongRequest
from factory.records import Count
from factory.requests import Identity, Reply, Request
from factory.runner import Limits, Tally, watch
from factory.settings import Operation
from factory.stages import Pipeline
from factory.stages.actors import Actors
from factory.store import Store

Files = dict[str, bytes]


@dataclass(frozen=True)
class Again(Actors):
    """A stage of a user's own: asks for the actors once more."""

    name = "again"

    @property
    def prompt(self) -> str:
        return "actors"


def own() -> Pipeline:
    return api.pipeline().plus(Again())


class Own:
    """The rehearsal engine, taught the user's stage."""

    def __init__(self, most: int = 10**9) -> None:
        self._engine, self.most, self.asked = Rehearsal(), most, 0

    identity = Rehearsal().identity

    async def complete(self, request: Request) -> Reply:
        self.asked += 1
        if self.asked > self.most:
            raise Stopped("enough")
        return await self._engine.complete(replace(request, stage="actors") if request.stage == "again" else request)

    async def close(self) -> None: ...


def tables(out: Path, stage: str) -> list[bool]:
    return [Store(out).table(name, stage) is not None for name in Store(out).names()]


def test_every_request_is_made_once(tales: Callable[..., Path], tmp_path: Path, counting: Any) -> None:
    """In a run without faults no key is asked twice, and every key is on record."""
    engine = counting()
    run.synth(tales(6), out=tmp_path / "run", engine=engine, operation=Operation(shard_size=2))
    recorded = [k for n in Store(tmp_path / "run").names() for k in keys(tmp_path / "run", n)]
    assert sorted(engine.keys) == sorted(set(engine.keys)) == sorted(recorded)


def keys(out: Path, name: str) -> list[str]:
    table = Store(out).table(name, "replies", ["key"])
    assert table is not None
    return list(table["key"].to_pylist())


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_no_more_requests_are_in_flight_than_allowed(
    tales: Callable[..., Path], tmp_path: Path, concurrency: int
) -> None:
    """The engine never sees more at once, and sees that many where there is work for them."""

    class Watched(Own):
        now = most_seen = 0

        async def complete(self, request: Request) -> Reply:
            self.now += 1
            self.most_seen = max(self.most_seen, self.now)
            await asyncio.sleep(0.001)
            self.now -= 1
            return await super().complete(request)

    engine = Watched()
    operation = Operation(concurrency=concurrency, shard_size=2)
    run.synth(tales(6), out=tmp_path / "run", engine=engine, operation=operation)
    assert engine.most_seen == min(concurrency, engine.most_seen) >= min(concurrency, 6)


def test_the_order_in_which_replies_come_does_not_matter(
    tales: Callable[..., Path], tmp_path: Path, counting: Any, whole: Callable[[Path], Files]
) -> None:
    """With replies that overtake one another every table and the dataset are the same, byte for byte."""
    corpus = tales(6)
    run.synth(corpus, out=tmp_path / "plain", engine=counting(), operation=Operation(concurrency=1, shard_size=3))

    class Shuffled(Own):
        async def complete(self, request: Request) -> Reply:
            await asyncio.sleep((request.sampling.seed % 7) / 1000)
            return await super().complete(request)

    run.synth(corpus, out=tmp_path / "shuffled", engine=Shuffled(), operation=Operation(shard_size=3))
    plain, shuffled = (
        {n: data for n, data in whole(tmp_path / name).items() if n.endswith((".parquet", ".md"))}
        for name in ("plain", "shuffled")
    )
    assert [n for n in plain.keys() | shuffled.keys() if plain.get(n) != shuffled.get(n)] == []


def test_several_processes_give_the_same_bytes(
    tales: Callable[..., Path],
    tmp_path: Path,
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
) -> None:
    """WORKERS decides how fast, never what."""
    corpus = tales(6)
    run.synth(corpus, out=tmp_path / "one", operation=Operation(shard_size=1, workers=1))
    run.synth(corpus, out=tmp_path / "two", operation=Operation(shard_size=1, workers=2))
    same_dataset(tmp_path / "two", dataset(tmp_path / "one"))


def test_a_token_limit_stops_the_run_and_a_larger_one_goes_on(
    tales: Callable[..., Path], tmp_path: Path, counting: Any
) -> None:
    """MAX_TOKENS ends with exit 3; nothing that was paid for is asked again."""
    corpus, out, first, second = tales(), tmp_path / "run", counting(), counting()
    with pytest.raises(Stopped, match="MAX_TOKENS=20000"):
        run.synth(corpus, out=out, engine=first, operation=Operation(max_tokens=20_000, concurrency=1))
    run.synth(corpus, out=out, engine=second)
    assert not set(first.keys) & set(second.keys)


def test_an_engine_with_a_fault_of_its_own_does_not_hang_the_run(tales: Callable[..., Path], tmp_path: Path) -> None:
    """An error that nobody foresaw costs the units that it struck, and is named; too many of them stop the run."""

    class Broken(Own):
        async def complete(self, request: Request) -> Reply:
            if self.asked > 10:
                raise ZeroDivisionError("a bug in an engine")
            return await super().complete(request)

    counts = run.synth(tales(), out=tmp_path / "run", engine=Broken()).tally.counts
    assert sum(c.reasons.get("engine_error", 0) for c in counts.values()) > 0
    assert all(c.inputs == c.accepted + c.rejected for c in counts.values())


def test_a_stage_of_ones_own_gets_its_table(tales: Callable[..., Path], tmp_path: Path) -> None:
    """A user's stage in the pipeline is asked and stored like ours."""
    run.synth(tales(), out=tmp_path / "run", engine=Own(), line=own())
    assert tables(tmp_path / "run", "again") == [True]


def test_a_stage_added_to_a_finished_run_is_done_or_refused(tales: Callable[..., Path], tmp_path: Path) -> None:
    """A pipeline with one more stage on the same OUT is not called finished without it."""
    corpus, out = tales(), tmp_path / "run"
    run.synth(corpus, out=out, engine=Own())
    try:
        run.synth(corpus, out=out, engine=Own(), line=own())
    except WrongRequest:
        return
    assert tables(out, "again") == [True]


def test_a_run_with_a_stage_of_ones_own_is_not_resumed_without_it(tales: Callable[..., Path], tmp_path: Path) -> None:
    """Resumed without the pipeline that it was made with, a run says what is missing and mixes nothing."""
    corpus, out = tales(), tmp_path / "run"
    with pytest.raises(Stopped):
        run.synth(corpus, out=out, engine=Own(60), line=own(), operation=Operation(shard_size=1, concurrency=1))
    with pytest.raises(WrongRequest, match=r"(?i)again"):
        run.resume(out, engine=Own())


def test_the_pipeline_of_the_api_can_be_called_after_a_run(tales: Callable[..., Path], tmp_path: Path) -> None:
    """`factory.pipeline(...)` is the documented function, also when modules of the package were imported before."""
    factory.synth(tales(1), tmp_path / "run")
    assert "labels" in [step.stage.name for step in factory.pipeline(seed=1)]


def test_engines_of_other_names_are_other_engines(tales: Callable[..., Path], tmp_path: Path) -> None:
    """Rows of two engines do not mix in one run, even where their models are called the same."""

    class Other(Own):
        identity = Identity(engine="other", model=Own.identity.model, revision=Own.identity.revision)

    corpus, out = tales(), tmp_path / "run"
    run.synth(corpus, out=out, engine=Own(), operation=Operation(limit=1, shard_size=1))
    with pytest.raises(WrongRequest):
        run.synth(corpus, out=out, engine=Other())


def test_an_engine_that_answers_nobody_stops_the_run(
    tales: Callable[..., Path], tmp_path: Path, counting: type[Any]
) -> None:
    """Rejects of units that nobody read are no dataset: the run stops at the third, and goes on when the engine is well."""
    corpus, out = tales(4), tmp_path / "run"

    def refuse(request: Request) -> None:
        raise Transient("500 as ever")

    told = r"answered none of the first 3 units of stage 'actors' \(the first time: 500 as ever\); look at it"
    with pytest.raises(Stopped, match=told):
        run.synth(corpus, out=out, engine=counting(fault=refuse), operation=Operation(concurrency=1))
    assert run.synth(corpus, out=out).tally.counts["actors"].accepted == 4


def test_an_engine_of_ones_own_that_raises_is_quoted(
    tales: Callable[..., Path], tmp_path: Path, counting: type[Any]
) -> None:
    """The class and the words of its first error, in one line, without a key that they hold."""
    seen: list[int] = []

    def fail(request: Request) -> None:
        seen.append(1)
        raise ValueError(f"no route\nto model {len(seen)} with sk-abcdefghijkl and Bearer abc.def")

    with pytest.raises(Stopped) as ended:
        run.synth(tales(4), out=tmp_path / "run", engine=counting(fault=fail), operation=Operation(concurrency=1))
    told = "(the first time: ValueError inside the engine: no route to model 1 with [key] and [key]); look at it"
    assert told in str(ended.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (Reply(text=None), "the engine returned a Reply whose text is NoneType, which is no str"),  # type: ignore[arg-type]
        ("a text", "the engine's complete returned str, which is no Reply"),
    ],
)
def test_an_engine_that_returns_no_reply_hears_what_is_wrong(
    tales: Callable[..., Path], tmp_path: Path, said: Any, told: str
) -> None:
    """A slip in an engine of one's own is named where the run stops."""

    class Mistaken(Own):
        async def complete(self, request: Request) -> Reply:
            return said  # type: ignore[no-any-return]

    with pytest.raises(Stopped) as ended:
        run.synth(tales(4), out=tmp_path / "run", engine=Mistaken())
    assert told in str(ended.value)


@pytest.mark.parametrize(
    ("reason", "advice"), [("solver_disagrees", "RETRY=1 does not ask"), ("schema", "then `make rejects RETRY=1`")]
)
def test_what_a_stage_that_rejects_too_much_is_told(reason: str, advice: str) -> None:
    """A retry is advised where it would ask again: verdicts of the solver it leaves alone."""
    tally = Tally()
    tally.counts["solve"] = Count(inputs=60, accepted=10, rejected=50, reasons={reason: 40, "engine_error": 10})
    with pytest.raises(Stopped, match=advice) as ended:
        watch(tally, Limits())
    assert ("RETRY=1`" in str(ended.value)) == (reason == "schema")
