"""Facts about soft labels: raw, mapped and kept side by side."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.records import Actor, Batch, Fault, Flip, Labels, Passage, Utterance
from factory.stages.labels import FlipLabels, Item, Said, Scored, SoftLabels
from factory.stages.utterances import Speaker
from factory.taxonomy import ID, LABELS

PASSAGE = Passage(id="t.p1", source_id="t", index=0, text="Joy found the lamp by the well.")
ACTOR = Actor(id="t.p1.a1", source_id="t", passage_id="t.p1", name="Joy", line="finds the lamp")
WHERE = {"source_id": "t", "passage_id": "t.p1", "actor_id": ACTOR.id, "character": "finds the lamp", "seed": 1}


def _utterance(number: int, actor: str = "Mara") -> Utterance:
    return Utterance(id=f"u{number}", actor=actor, emotion="anger", text=f"Lamp number {number} is out.", **WHERE)  # type: ignore[arg-type]


def _batch(count: int = 1, **more: object) -> Batch:
    some = tuple(_utterance(n) for n in range(1, count + 1))
    mara = Actor(id="t.p1.a1", source_id="t", passage_id="t.p1", name="Mara", line="finds the lamp")
    return Batch(id=mara.id, passage=PASSAGE, actor=mara, utterances=some, **more)  # type: ignore[arg-type]


def _scored(*pairs: tuple[str, float]) -> list[Scored]:
    return [Scored(label=label, score=score) for label, score in pairs]


def _labels(*pairs: tuple[str, float], actor: str = "Mara", threshold: float = 0.3) -> Labels:
    return SoftLabels(threshold=threshold).read(_utterance(1), actor, _scored(*pairs))


@pytest.mark.parametrize(
    ("score", "kept"), [(0.3, True), (0.29, True), (0.26, True), (0.24, False), (0.2, False), (0.31, True), (1, True)]
)
def test_the_threshold_is_reached_or_passed_in_steps_of_a_tenth(score: float, kept: bool) -> None:
    """A score is first read to the nearest tenth, as it is asked for: 0.29 is 0.3 and so kept, 0.24 is 0.2 and not."""
    assert (_labels(("anger", score)).labels == ("anger",)) is kept


@pytest.mark.parametrize("tenth", range(1, 11))
def test_every_threshold_of_a_tenth_is_reached_by_its_own_score(tenth: int) -> None:
    """No floating point noise parts 0.7 from 0.7."""
    assert _labels(("anger", tenth / 10), threshold=tenth / 10).labels == ("anger",)
    assert _labels(("anger", (tenth - 1) / 10), threshold=tenth / 10).labels == ()


def test_raw_mapped_and_kept_stand_side_by_side() -> None:
    """What was said word for word, what it means, and what is strong enough."""
    said = (("furious", 0.8), ("anger", 0.5), ("Sad", 0.34), ("joy", 0.1), ("gloomth", 0.9))
    found = _labels(*said)
    assert found.raw == said
    assert found.mapped == (("anger", 0.8), ("sadness", 0.3), ("joy", 0.1))
    assert found.labels == ("anger", "sadness") and found.unmapped == ("gloomth",)


def test_intensities_are_the_strongest_word_of_each_label_also_below_the_threshold() -> None:
    """In taxonomy order, 0 where nothing was said."""
    found = _labels(("anger", 0.2), ("furious", 0.1), ("joy", 0.9), ("joyful", 1))
    assert len(found.intensities) == 28
    assert {label: x for label, x in zip(LABELS, found.intensities, strict=True) if x} == {"anger": 0.2, "joy": 1.0}
    assert found.labels == ("joy",)


def test_equal_scores_stand_in_taxonomy_order() -> None:
    """Falling score first, then the published order."""
    assert _labels(("surprise", 0.5), ("joy", 0.9), ("anger", 0.5)).labels == ("joy", "anger", "surprise")


@pytest.mark.parametrize("word", ["Joy", "joy", " JOY "])
def test_the_name_of_the_actor_is_no_label(word: str) -> None:
    """Joy is a person here; her name is left out as unmapped."""
    found = _labels((word, 0.9), ("anger", 0.4), actor="Joy")
    assert found.labels == ("anger",) and found.unmapped == (word,) and found.intensities[ID["joy"]] == 0


def test_the_same_word_is_a_label_where_nobody_is_called_so() -> None:
    """The rule is about names, not about the word."""
    assert _labels(("Joy", 0.9)).labels == ("joy",)


_SAID = st.lists(st.tuples(st.sampled_from([*LABELS, "furious", "Hurt", "gloomth", ""]) | st.text(), st.floats(0, 1)))


@given(_SAID, st.text(), st.floats(0, 1), st.booleans())
def test_no_label_is_outside_the_taxonomy(
    said: list[tuple[str, float]], actor: str, threshold: float, loose: bool
) -> None:
    """Whatever is said: kept labels are distinct, ranked, and exactly the mapped ones that reach the threshold."""
    found = SoftLabels(threshold=threshold, loose=loose).read(_utterance(1), actor, _scored(*said))
    ranked = sorted(found.mapped, key=lambda one: (-one.score, ID[one.label]))
    assert list(found.mapped) == ranked and set(found.labels) <= set(LABELS)
    assert found.labels == tuple(one.label for one in ranked if one.score >= threshold - 1e-9)
    assert {LABELS[i]: x for i, x in enumerate(found.intensities) if x} == {m.label: m.score for m in ranked if m.score}
    assert len(found.raw) == len(said) and len(found.unmapped) <= len(said)


def _read(count: int, *items: tuple[int, Sequence[tuple[str, float]]]) -> list[Labels | Fault]:
    said = Said(items=[Item(n=n, scores=_scored(*scores)) for n, scores in items])
    return list(SoftLabels().rows(_batch(count), said))


def test_utterances_are_read_by_their_number() -> None:
    """In any order; the first of equal numbers counts, numbers that were not asked for are ignored."""
    found = _read(2, (2, [("joy", 1)]), (1, [("fear", 1)]), (1, [("love", 1)]), (7, [("grief", 1)]))
    assert [(one.id, one.labels) for one in found if isinstance(one, Labels)] == [("u1", ("fear",)), ("u2", ("joy",))]


def test_an_utterance_that_was_left_out_is_asked_for_again() -> None:
    """A mistake, not a finding."""
    _, fault = _read(2, (1, [("joy", 1)]))
    assert isinstance(fault, Fault) and (fault.id, fault.reason, fault.final) == ("u2", "missing", False)


@pytest.mark.parametrize("scores", [[], [("joy", 0.2)], [("gloomth", 0.9)]])
def test_a_row_with_no_kept_label_is_dropped_for_good(scores: list[tuple[str, float]]) -> None:
    """A finding: pressing the labeller would only invent one."""
    (fault,) = _read(1, (1, scores))
    assert isinstance(fault, Fault) and fault.reason == "no_label" and fault.final


def test_the_labeller_sees_the_utterances_and_nothing_else() -> None:
    """Neither the passage, nor the actor, nor the emotion that was asked for."""
    stage = SoftLabels()
    speaker = Speaker(id=ACTOR.id, passage=PASSAGE, actor=ACTOR, asked=("anger",))
    (batch,) = stage.feed(speaker, [_utterance(1), _utterance(2)])
    assert stage.ask(batch) == {"utterances": "1. Lamp number 1 is out.\n2. Lamp number 2 is out."}


def test_the_paper_scores_one_utterance_a_call_and_says_what_it_was_made_for() -> None:
    """The primed labeller."""
    stage = SoftLabels(primed=True)
    speaker = Speaker(id=ACTOR.id, passage=PASSAGE, actor=ACTOR, asked=("anger",))
    batches = list(stage.feed(speaker, [_utterance(1), _utterance(2)]))
    assert [batch.id for batch in batches] == ["u1", "u2"]
    assert stage.ask(batches[1]) == {"utterances": "1. Lamp number 2 is out.", "emotion": "anger"}


def test_scores_outside_zero_to_one_are_no_answer() -> None:
    """Refused by the schema, so repaired."""
    for score in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="score"):
            Scored(label="joy", score=score)


def _flipped(*scores: tuple[str, float]) -> Labels | Fault:
    row = _batch(targets=("sadness", "anger"), valence=0.9)
    (child,) = FlipLabels().rows(row, Said(items=[Item(n=1, scores=_scored(*scores))]))
    return child


def test_a_flip_is_confirmed_by_the_mirrored_emotion_alone() -> None:
    """The first target must be among the kept labels, in any place."""
    assert isinstance(_flipped(("fear", 0.9), ("sadness", 0.3)), Labels)


@pytest.mark.parametrize("scores", [[("joy", 0.9)], [("sadness", 0.2), ("fear", 0.9)], [("anger", 0.9)]])
def test_a_flip_without_the_mirrored_emotion_is_rejected_for_good(scores: list[tuple[str, float]]) -> None:
    """Not found, too weak, or only the second target."""
    child = _flipped(*scores)
    assert isinstance(child, Fault) and child.reason == "flip_not_confirmed" and child.final


def test_a_flip_is_labelled_like_any_utterance() -> None:
    """Under the same prompt, without its target in sight."""
    flip = Flip(id="u1.f", pair_id="u1", actor="Mara", emotion="sadness", text="The lamp is gone.", **WHERE)  # type: ignore[arg-type]
    (batch,) = FlipLabels().feed(_batch(targets=("sadness",), valence=0.9), [flip])
    assert FlipLabels().prompt == SoftLabels().prompt == "labels"
    assert FlipLabels().ask(batch) == {"utterances": "1. The lamp is gone."}
    assert (batch.id, batch.targets, batch.valence) == ("u1.f", ("sadness",), 0.9)
