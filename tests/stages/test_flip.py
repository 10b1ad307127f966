"""Facts about valence flips: which originals are turned round, and what a flip is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.records import Actor, Appraisal, Batch, Fault, Flip, Labels, Passage, Utterance
from factory.stages.appraisal import DIMENSIONS
from factory.stages.flip import Flips, Said
from factory.taxonomy import LABELS, MIRRORED, sentiment

PASSAGE = Passage(id="t.p1", source_id="t", index=0, text="Mara found the lamp by the well.")
MARA = Actor(id="t.p1.a1", source_id="t", passage_id="t.p1", name="Mara", line="finds the lamp")
TEXT = "Look, the lamp by the well still burns and I can carry it home."


def _utterance(number: int) -> Utterance:
    return Utterance(
        id=f"u{number}", source_id="t", passage_id="t.p1", actor_id=MARA.id, actor="Mara", character=MARA.line,
        emotion="joy", text=TEXT, seed=1,
    )  # fmt: skip


def _labels(number: int, kept: tuple[str, ...]) -> Labels:
    return Labels(
        id=f"u{number}", source_id="t", passage_id="t.p1", raw=(), mapped=(), labels=kept, intensities=(0.0,) * 28
    )


def _appraisal(number: int, valence: float) -> Appraisal:
    scores = dict.fromkeys(DIMENSIONS, 0.5) | {"valence": valence}
    return Appraisal(id=f"u{number}", source_id="t", passage_id="t.p1", rationale="The lamp burns.", **scores)  # type: ignore[arg-type]


def _fed(kept: tuple[str, ...], valence: float = 0.9, count: int = 1, share: float = 1.0, seed: int = 0) -> list[Batch]:
    batch = Batch(
        id=MARA.id, passage=PASSAGE, actor=MARA, utterances=tuple(map(_utterance, range(count))),
        labels=tuple(_labels(n, kept) for n in range(count)),
    )  # fmt: skip
    return list(Flips(share=share, seed=seed).feed(batch, [_appraisal(n, valence) for n in range(count)]))


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_at_most_fifteen_of_a_hundred_originals_are_flipped(seed: int) -> None:
    """By hash, over originals that could all be flipped; the same ones every time."""
    chosen = [[one.id for one in _fed(("joy",), count=5000, share=0.15, seed=seed)] for _ in range(2)]
    assert chosen[0] == chosen[1] and 0.13 < len(chosen[0]) / 5000 < 0.17


def test_without_a_share_nothing_is_flipped() -> None:
    """The setting goes down to none."""
    assert _fed(("joy",), count=100, share=0.0) == []


@pytest.mark.parametrize(
    "kept",
    [
        ("neutral",),
        ("joy", "neutral"),
        ("joy", "sadness"),
        ("caring",),
        ("joy", "caring"),
        ("surprise",),
        ("curiosity", "realization"),
    ],
)
def test_what_has_no_mirror_is_not_flipped(kept: tuple[str, ...]) -> None:
    """Neutral, mixed, caring and purely ambiguous rows."""
    assert _fed(kept) == []


def test_a_row_that_stands_on_the_middle_is_not_flipped() -> None:
    """There is no other side for its valence to cross to."""
    assert _fed(("joy",), valence=0.5) == []


def test_only_appraised_rows_are_flipped() -> None:
    """Without a valence nothing could be confirmed."""
    (batch,) = _fed(("joy",))
    before = Batch(id=MARA.id, passage=PASSAGE, actor=MARA, utterances=batch.utterances, labels=batch.labels)
    assert list(Flips(share=1.0).feed(before, [])) == []


@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=4, unique=True))
def test_the_targets_are_the_mirrors_with_the_strongest_first(kept: list[str]) -> None:
    """The feeling to confirm mirrors the strongest label that has a mirror, on the other side; none is kept already."""
    for batch in _fed(tuple(kept)):
        first = next(label for label in kept if label in MIRRORED)
        assert batch.targets[0] == MIRRORED[first].target and not set(batch.targets) & set(kept)
        assert {sentiment(first), sentiment(batch.targets[0])} == {"positive", "negative"}
        assert batch.valence == 0.9 and [u.id for u in batch.utterances] == ["u0"]


def _read(text: str) -> Flip | Fault:
    (batch,) = _fed(("joy", "excitement"))
    (child,) = Flips().rows(batch, Said(text=text))
    return child


def test_a_flip_names_its_original_and_its_target() -> None:
    """A record type of its own, so nothing that reads utterances takes it for one."""
    child = _read(TEXT.replace("still burns and I can carry it", "is broken and I must leave it"))
    assert isinstance(child, Flip) and not isinstance(child, Utterance)
    assert (child.id, child.pair_id, child.emotion, child.actor) == ("u0.f", "u0", "sadness", "Mara")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "too_short"),
        (TEXT, "unchanged"),
        (TEXT.lower().replace(",", ""), "unchanged"),
        ("Mara is weeping by the well over the lamp.", "not_first_person"),
        ("My uncle sold nine goats yesterday.", "too_far"),
        ("I feel so sad that the lamp by the well is broken.", "names_emotion"),
        ("I'm sorry, but I can't help with that request.", "refusal"),
    ],
)
def test_a_flip_turns_the_event_and_keeps_the_rest(text: str, reason: str) -> None:
    """Checked like any utterance, and against its original; what fails is asked for again."""
    child = _read(text)
    assert isinstance(child, Fault) and (child.reason, child.final) == (reason, False)


@given(st.text())
def test_any_answer_gives_one_child(text: str) -> None:
    """No text of a model makes the stage fail."""
    assert isinstance(_read(text), Flip | Fault)


def test_the_prompt_shows_the_feelings_before_and_after() -> None:
    """One utterance, its labels, its targets; no passage, so that the event can turn."""
    (batch,) = _fed(("joy", "excitement"))
    fields = Flips().ask(batch)
    assert fields == {
        "actor": "Mara",
        "utterance": TEXT,
        "emotions": "joy, excitement",
        "targets": "sadness, nervousness",
    }
