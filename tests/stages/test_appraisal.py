"""Facts about appraisals: seven scores and a reason for each labelled utterance, and what confirms a flip."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from factory.records import Actor, Appraisal, Batch, Fault, Labels, Passage, Utterance
from factory.stages.appraisal import DIMENSIONS, Appraisals, FlipAppraisals, Item, Said

PASSAGE = Passage(id="t.p1", source_id="t", index=0, text="Mara found the lamp by the well.")
MARA = Actor(id="t.p1.a1", source_id="t", passage_id="t.p1", name="Mara", line="finds the lamp")
WHY = "The lamp that she needed is broken."


def _utterance(number: int) -> Utterance:
    return Utterance(
        id=f"u{number}", source_id="t", passage_id="t.p1", actor_id=MARA.id, actor="Mara", character=MARA.line,
        emotion="anger", text=f"Lamp number {number} is out.", seed=1,
    )  # fmt: skip


def _labels(ident: str) -> Labels:
    return Labels(
        id=ident, source_id="t", passage_id="t.p1", raw=(), mapped=(), labels=("anger",), intensities=(0.0,) * 28
    )


def _batch(count: int = 1, valence: float | None = None) -> Batch:
    some = tuple(_utterance(n) for n in range(1, count + 1))
    return Batch(id=MARA.id, passage=PASSAGE, actor=MARA, utterances=some, valence=valence)


def _item(number: int = 1, why: str = WHY, **scores: float) -> Item:
    return Item(n=number, rationale=why, **(dict.fromkeys(DIMENSIONS, 0.5) | scores))  # type: ignore[arg-type]


def _read(item: Item) -> Appraisal | Fault:
    (child,) = Appraisals().rows(_batch(), Said(items=[item]))
    return child


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7))
def test_the_seven_scores_are_kept_to_two_decimals(scores: list[float]) -> None:
    """Each under its own name, within 0..1."""
    row = _read(_item(**dict(zip(DIMENSIONS, scores, strict=True))))
    assert [getattr(row, name) for name in DIMENSIONS] == [round(score, 2) for score in scores]


@pytest.mark.parametrize("name", DIMENSIONS)
@pytest.mark.parametrize("score", [-0.01, 1.01, 7, float("nan"), float("inf")])
def test_a_score_out_of_range_is_no_answer(name: str, score: float) -> None:
    """A model that scores from 1 to 7 is repaired, not rescaled in silence."""
    with pytest.raises(ValidationError):
        _item(**{name: score})


@pytest.mark.parametrize(
    "why", ["", "Because lamp.", "word " * 41, "As an AI I cannot know.", "The utterance shows that she is cross."]
)
def test_a_rationale_is_one_sentence_about_the_speaker(why: str) -> None:
    """Too short, endless, a refusal, talk about the task: asked for again."""
    child = _read(_item(why=why))
    assert isinstance(child, Fault) and (child.reason, child.final) == ("bad_rationale", False)


def test_a_rationale_is_one_line() -> None:
    """The contract of the training data is one line too."""
    child = _read(_item(why=" The lamp\n that she needed\u2028is broken. "))
    assert isinstance(child, Appraisal) and child.rationale == WHY


def test_scores_find_their_utterance_by_number() -> None:
    """One that is left out is asked for again."""
    children = list(Appraisals().rows(_batch(3), Said(items=[_item(3, valence=0.3), _item(1, valence=0.1)])))
    assert [child.reason if isinstance(child, Fault) else child.valence for child in children] == [0.1, "missing", 0.3]


def test_only_labelled_utterances_are_appraised() -> None:
    """What was dropped for want of a label goes no further."""
    (batch,) = Appraisals().feed(_batch(3), [_labels("u1"), _labels("u3")])
    assert [u.id for u in batch.utterances] == ["u1", "u3"] == [one.id for one in batch.labels]


def test_the_labels_are_not_shown() -> None:
    """The scores are a second, independent look."""
    (batch,) = Appraisals().feed(_batch(1), [_labels("u1")])
    assert Appraisals().ask(batch) == {
        "passage": PASSAGE.text,
        "actor": "Mara",
        "utterances": "1. Lamp number 1 is out.",
    }


def _flipped(before: float | None, after: float) -> Appraisal | Fault:
    (child,) = FlipAppraisals().rows(_batch(valence=before), Said(items=[_item(valence=after)]))
    return child


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_flip_is_kept_only_where_valence_crossed_the_middle(before: float, after: float) -> None:
    """From one side of 0.5 to the other; standing on it is on no side."""
    shown = round(after, 2)
    crossed = before < 0.5 < shown or shown < 0.5 < before
    assert isinstance(_flipped(before, after), Appraisal) is crossed


@pytest.mark.parametrize(
    ("before", "after"), [(0.9, 0.6), (0.9, 0.5), (0.1, 0.49), (0.1, 0.5), (0.5, 0.1), (None, 0.1)]
)
def test_a_flip_that_did_not_cross_is_rejected_for_good(before: float | None, after: float) -> None:
    """A finding with its reason word."""
    child = _flipped(before, after)
    assert isinstance(child, Fault) and child.reason == "flip_not_confirmed" and child.final


def test_a_flip_with_a_bad_rationale_is_repaired() -> None:
    """That is a mistake, whatever its valence."""
    (child,) = FlipAppraisals().rows(_batch(valence=0.9), Said(items=[_item(why="", valence=0.1)]))
    assert isinstance(child, Fault) and child.reason == "bad_rationale" and not child.final
