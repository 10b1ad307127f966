"""Facts about the pipeline: what follows what, what a target needs, and a stage that follows two others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from factory.errors import WrongRequest
from factory.prompts import Book, load, parse
from factory.records import Fault, Passage, Said
from factory.replay import units
from factory.requests import Identity, key
from factory.settings import Content
from factory.stages import Answer, Asking, Pipeline, Stage, Step
from factory.steps import TARGETS, pipeline, targets

PIPELINE = pipeline(Content())


def _names(steps: Pipeline) -> list[str]:
    return [step.stage.name for step in steps]


def test_the_items_need_actors_and_nothing_else_of_the_passage() -> None:
    """`STAGES=mcq` makes no utterance and no label."""
    assert _names(PIPELINE.wanted(["mcq"])) == ["actors", "background", "dialogue", "mcq_eu", "mcq_ea", "solve"]


@pytest.mark.parametrize("target", TARGETS[:4])
def test_what_is_said_aloud_needs_no_dialogue(target: str) -> None:
    """The other targets are as they were before there were items."""
    found = _names(PIPELINE.wanted([target]))
    assert found[:3] == ["actors", "utterances", "labels"]
    assert not {"background", "dialogue", "mcq_eu", "mcq_ea", "solve"} & set(found)


def test_all_targets_are_the_whole_pipeline() -> None:
    """And none of its stages is left without a target."""
    assert _names(PIPELINE.wanted(TARGETS)) == _names(PIPELINE)
    assert targets("mcq, contextless") == ("contextless", "mcq")


def test_the_solver_follows_both_kinds_of_items() -> None:
    """What is made by either is fed to it."""
    for name in ("mcq_eu", "mcq_ea"):
        assert [step.stage.name for step in PIPELINE.following(name)] == ["solve"]
    assert [step.stage.name for step in PIPELINE.following("dialogue")] == ["mcq_eu", "mcq_ea"]
    assert [step.stage.name for step in PIPELINE.following(None)] == ["actors"]


def test_the_line_of_a_solved_item_goes_through_the_stage_that_made_it() -> None:
    """So its prompts are those that it came through; without a word of it all parents count."""
    start = ("actors", "background", "dialogue")
    assert PIPELINE.lineage("solve", through=["mcq_eu"]) == (*start, "mcq_eu", "solve")
    assert PIPELINE.lineage("solve", through=["mcq_ea"]) == (*start, "mcq_ea", "solve")
    assert PIPELINE.lineage("solve") == (*start, "mcq_eu", "mcq_ea", "solve")
    assert PIPELINE.lineage("labels") == ("actors", "utterances", "labels")


def test_the_prompts_of_all_agents_are_prompts_of_the_pipeline() -> None:
    """Each once; a run keeps a copy of every one of them."""
    found = PIPELINE.wanted(["mcq"]).prompts()
    assert found == (
        "actors", "background", "client", "counsellor", "supervisor", "mcq_eu", "mcq_ea", "solve_eu", "solve_ea", "repair"
    )  # fmt: skip


class Word(Answer):
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    id: str
    source_id: str = "t"
    passage_id: str = "t.p1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toy(Stage):
    """One word for each row."""

    called: str
    said: ClassVar[type[Answer]] = Word
    record: ClassVar[type] = Row

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.called

    @property
    def prompt(self) -> str:
        return "toy"

    def feed(self, before: Any, rows: Sequence[Any]) -> Iterator[Row]:
        return (Row(id=f"{row.id}.{self.called}") for row in rows)

    def ask(self, row: Row) -> dict[str, str]:
        return {"row": row.id}

    def rows(self, row: Row, said: Word) -> Iterator[Row | Fault]:
        yield row


def test_a_stage_behind_two_others_is_fed_by_each_of_them() -> None:
    """Depth first, and once for each row of either parent."""
    steps = Pipeline(
        (Step(Toy(called="one")), Step(Toy(called="two")), Step(Toy(called="both"), ("one", "two"), frozenset(["x"])))
    )
    assert _names(steps.wanted(["x"])) == ["one", "two", "both"]
    passage = Passage(id="p", source_id="t", index=0, text="A lamp.")
    asking = Asking(book=Book({"toy": parse("toy", "## user\n{{row}}"), "repair": load(["repair"])["repair"]}))
    identity = Identity(engine="toy", model="toy")
    remembered: dict[str, Said] = {}

    def played() -> list[str]:
        return [unit.row.id for unit in units(passage, steps, asking, identity, remembered, {})]

    for _ in range(3):
        for step in steps:
            for ident in played():
                talk = step.stage.talk(Row(id=ident), asking, 0)
                name = key(identity, next(talk))
                remembered[name] = Said(
                    key=name, stage=step.stage.name, unit=ident, repair=0, round=0, text='{"word": "lamp"}', finish="stop",
                    tokens_in=1, tokens_out=1, seconds=0.0,
                )  # fmt: skip
    assert played() == ["p.one", "p.one.both", "p.two", "p.two.both"]


def test_a_stage_of_ones_own_may_follow_several() -> None:
    """All of them must be there; else the sentence names those that are."""
    line = PIPELINE.plus(Toy(called="own"), after=("mcq_eu", "labels"))
    assert line.lineage("own", through=["labels"]) == ("actors", "utterances", "labels", "own")
    with pytest.raises(WrongRequest, match="there is no stage 'mcq_xx' to follow; choose among actors"):
        PIPELINE.plus(Toy(called="own"), after=("mcq_eu", "mcq_xx"))
