"""What people and engines do that nobody planned: each costs a sentence or a row, never a run."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import factory
from factory import run
from factory.engines.rehearsal import Rehearsal
from factory.errors import Stopped, WrongRequest
from factory.requests import Reply, Request
from factory.settings import Operation
from factory.stages.flip import Flips
from factory.store import Store

TALE = (
    "Mara carried the lamp to the mill before dawn. The miller had locked the door and would not answer. Mara called "
    "twice, then put the lamp down on the step. 'Go home,' said the miller at last, and he opened the window. Mara "
    "went round to the river and waited there until the bread was done."
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "tales.jsonl"
    path.write_text("".join(json.dumps({"id": str(n), "text": f"Day {n}. {TALE}"}) + "\n" for n in range(3)))
    return path


class Odd(Rehearsal):
    """Answers one unit in a way of its own."""

    def __init__(self, how: Callable[[Reply], Any]) -> None:
        super().__init__()
        self.how = how

    async def complete(self, request: Request) -> Reply:
        reply = await super().complete(request)
        return self.how(reply) if request.unit == "1.p1" else reply


def _raise(error: BaseException) -> Callable[[Reply], Any]:
    def how(_: Reply) -> Any:
        raise error

    return how


@pytest.mark.parametrize(
    "how",
    [
        _raise(ValueError("odd")),
        _raise(asyncio.CancelledError()),
        lambda _: None,
        lambda reply: replace(reply, text=None),
        lambda reply: replace(reply, text=b"{}"),
    ],
)
def test_an_engine_that_misbehaves_for_one_unit_costs_that_unit(
    corpus: Path, tmp_path: Path, how: Callable[[Reply], Any]
) -> None:
    """Whatever it throws or returns, the run ends and the unit is rejected as an engine error."""
    done = run.synth(corpus, out=tmp_path / "run", engine=Odd(how))
    actors = done.tally.counts["actors"]
    assert (actors.inputs, actors.accepted, actors.reasons) == (3, 2, {"engine_error": 1})


@pytest.mark.parametrize(
    "odd",
    [{"seconds": float("nan")}, {"tokens_in": None}, {"tokens_out": "3"}, {"tokens_in": 10**30}, {"text": '"\ud800"'}],
)
def test_odd_counts_and_characters_of_a_reply_are_not_written_down(
    corpus: Path, tmp_path: Path, odd: dict[str, Any]
) -> None:
    """They count as nothing, and the run can be read and gone on with."""
    run.synth(corpus, out=tmp_path / "run", engine=Odd(lambda reply: replace(reply, **odd)))
    assert not run.synth(corpus, out=tmp_path / "run", engine=Rehearsal()).did


def test_a_shard_damaged_while_the_run_goes_on_is_not_left_out(corpus: Path, tmp_path: Path) -> None:
    """Nothing is built without it and nothing is cleared away: the run stops, and the same command mends it."""
    store = Store(tmp_path / "run")

    class Vandal(Rehearsal):
        async def complete(self, request: Request) -> Reply:
            if request.unit == "2.p1":
                await asyncio.sleep(0.3)
                for path in store.shards.glob("00000-*/labels.parquet"):
                    path.write_bytes(b"")
            return await super().complete(request)

    with pytest.raises(Stopped, match="damaged while the run went on"):
        run.synth(corpus, out=store.out, engine=Vandal(), operation=Operation(shard_size=1))
    assert len(store.names()) == 3
    assert run.synth(corpus, out=store.out, engine=Rehearsal()).did


def test_a_folder_that_is_no_run_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    """Also when it holds a folder of a name that a run would use, and also with --fresh."""
    (tmp_path / "exp/dataset").mkdir(parents=True)
    (tmp_path / "exp/dataset/mine.txt").write_text("precious")
    for fresh in (False, True):
        with pytest.raises(WrongRequest, match="is no run"):
            run.synth(corpus, out=tmp_path / "exp", fresh=fresh)
    assert (tmp_path / "exp/dataset/mine.txt").read_text() == "precious"


def test_a_run_is_not_made_inside_its_corpus(corpus: Path) -> None:
    """It would be read as part of the corpus at the next start."""
    with pytest.raises(WrongRequest, match="lies in the corpus"):
        run.synth(corpus.parent, out=corpus.parent / "outputs/run")


def test_a_run_can_be_made_from_a_running_event_loop(corpus: Path, tmp_path: Path) -> None:
    """As in a notebook."""

    async def cell() -> int:
        return len(factory.synth(corpus, tmp_path / "run").dataset("contextless"))

    assert asyncio.run(cell()) > 0


@pytest.mark.parametrize("name", ["labels", "rejects", "passages", "", "../../x", "Upper"])
def test_a_stage_of_ones_own_has_a_name_of_its_own(name: str) -> None:
    """Its table lies beside those of the other stages, so it is no path and no name that is taken."""
    stage = type("Mine", (Flips,), {"name": name})()
    with pytest.raises(WrongRequest, match="cannot be called"):
        factory.pipeline().plus(stage, after="actors")
    with pytest.raises(WrongRequest, match="no stage 'nowhere'"):
        factory.pipeline().plus(type("Mine", (Flips,), {"name": "mine"})(), after="nowhere")


def test_a_refused_retry_writes_nothing(corpus: Path, tmp_path: Path) -> None:
    """The next plain run has nothing to do."""
    run.synth(corpus, out=tmp_path / "run")
    with pytest.raises(WrongRequest, match="bogus"):
        run.retry(tmp_path / "run", operation=Operation(faults="bogus=1"))
    assert not run.synth(corpus, out=tmp_path / "run").did
