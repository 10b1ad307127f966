"""Facts about the three stages that make the contextual view: context, cleaning, rewriting."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.checks import dice, explicitness
from factory.records import Actor, Batch, Context, Fault, Labels, Passage, Rewritten, Utterance
from factory.stages import context, rewriting
from factory.stages.cleaning import Cleaning, emotions
from factory.stages.context import Contexts
from factory.stages.rewriting import Rewriting
from factory.taxonomy import LABELS

PASSAGE = Passage(id="t.p1", source_id="t", index=0, text="Mara found the lamp by the well.")
MARA = Actor(id="t.p1.a1", source_id="t", passage_id="t.p1", name="Mara", line="finds the lamp")
TEXT = "Who let the lamp burn down again while I was at the well!"
RAW = (
    "Mara was furious when she came back from the well. The lamp stood dark on the sill. Angrily she set down the pail."
)
CLEAN = "Mara came back from the well. The lamp stood dark on the sill. She set down the pail."


def _utterance(number: int = 1, text: str = TEXT) -> Utterance:
    return Utterance(
        id=f"u{number}", source_id="t", passage_id="t.p1", actor_id=MARA.id, actor="Mara", character=MARA.line,
        emotion="anger", text=text, seed=1,
    )  # fmt: skip


def _labels(number: int = 1, *kept: str) -> Labels:
    return Labels(
        id=f"u{number}", source_id="t", passage_id="t.p1", raw=(), mapped=(), labels=kept or ("anger",),
        intensities=(0.0,) * 28,
    )  # fmt: skip


def _context(number: int = 1, text: str = RAW) -> Context:
    return Context(id=f"u{number}.c", source_id="t", passage_id="t.p1", utterance_id=f"u{number}", text=text)


def _batch(text: str = TEXT, raw: str = RAW, *kept: str) -> Batch:
    return Batch(
        id=MARA.id, passage=PASSAGE, actor=MARA, utterances=(_utterance(1, text),), labels=(_labels(1, *kept),),
        contexts=(_context(1, raw),),
    )  # fmt: skip


def _told(text: str) -> context.Said:
    return context.Said(items=[context.Item(n=1, context=text)])


def _made(text: str, checked: bool = True) -> str:
    """The reason why a context is refused, or ''."""
    (child,) = Contexts(checked=checked).rows(_batch(), _told(text))
    return child.reason if isinstance(child, Fault) else ""


def _cleaned(text: str, raw: str = RAW, *kept: str) -> str:
    (child,) = Cleaning().rows(_batch(TEXT, raw, *kept), _told(text))
    return child.reason if isinstance(child, Fault) else ""


def _rewritten(text: str, original: str = TEXT) -> str:
    said = rewriting.Said(items=[rewriting.Item(n=1, text=text)])
    (child,) = Rewriting().rows(_batch(original), said)
    return child.reason if isinstance(child, Fault) else ""


# Context ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (RAW, ""),
        ("", "too_short"),
        ("Mara came back.", "too_short"),
        ("word " * 151, "too_long"),
        (f"Mara came back from the well. {TEXT}", "quotes_utterance"),
        (f"Mara came back from the well and said: {TEXT.upper().rstrip('!')}.", "quotes_utterance"),
        ("As an AI I cannot say what happened at the well.", "refusal"),
        ("In this passage Mara comes back from the well and finds it dark.", "meta"),
    ],
)
def test_a_context_tells_what_happened_before(text: str, reason: str) -> None:
    """In 8 to 150 words, without the utterance itself, inside the story."""
    assert _made(text) == reason


def test_the_paper_takes_any_context_but_none() -> None:
    """No check beyond parsing."""
    assert _made("Mara.", checked=False) == "" and _made(" ", checked=False) == "too_short"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_about_a_third_of_the_utterances_go_on(seed: int) -> None:
    """Chosen by hash: the same ones in every run, others under another seed."""
    batch = replace(_batch(), utterances=tuple(map(_utterance, range(3000))), labels=(), contexts=())
    (first,), (again,) = (Contexts(seed=seed).feed(batch, [_labels(n) for n in range(3000)]) for _ in range(2))
    assert first == again and 0.3 < len(first.utterances) / 3000 < 0.37
    assert [u.id for u in first.utterances] == [one.id for one in first.labels]
    (other,) = Contexts(seed=seed + 1).feed(batch, [_labels(n) for n in range(3000)])
    assert {u.id for u in other.utterances} != {u.id for u in first.utterances}


def test_a_share_of_nothing_asks_nothing() -> None:
    """No request without an utterance in it."""
    assert list(Contexts(share=0.0).feed(_batch(), [_labels()])) == []


def test_whether_one_goes_on_does_not_depend_on_the_others() -> None:
    """A dropped neighbour changes nothing: the choice hangs on the row alone."""
    batch = replace(_batch(), utterances=tuple(map(_utterance, range(40))), labels=(), contexts=())
    (whole,) = Contexts().feed(batch, [_labels(n) for n in range(40)])
    (half,) = Contexts().feed(batch, [_labels(n) for n in range(0, 40, 2)])
    assert {u.id for u in half.utterances} == {u.id for u in whole.utterances if int(u.id[1:]) % 2 == 0}


# Cleaning --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["anger", "angry", "angrily", "Angered", "furious", "rage", "fury"])
def test_a_cleaned_context_names_no_emotion_of_the_row(word: str) -> None:
    """Inflections and close synonyms too."""
    assert _cleaned(f"{CLEAN[:-1]} {word}.", f"{RAW} {word}") == "names_emotion"


def test_every_kept_label_counts_and_not_only_the_one_asked_for() -> None:
    """The row would be given away by any of them."""
    text = "Mara came back joyful from the well and set down the pail."
    assert _cleaned(text, text, "anger", "joy") == "names_emotion" and _cleaned(text, text, "anger") == ""


def test_cleaning_only_deletes() -> None:
    """Telling it in other words is refused; one word to mend a cut sentence is not."""
    assert _cleaned(CLEAN) == ""
    assert _cleaned("When she returned from outside, no light burnt and Mara put her bucket down.") == "adds_words"
    assert _cleaned(CLEAN.replace("She set", "Then she set")) == ""


@pytest.mark.parametrize("text", ["", "The lamp stood dark."])
def test_something_must_be_left(text: str) -> None:
    """At least six words."""
    assert _cleaned(text) == "too_short"


def test_a_cleaned_context_keeps_its_id_and_parents() -> None:
    """Raw and cleaned stand side by side under one id."""
    (child,) = Cleaning().rows(_batch(), _told(CLEAN))
    assert child == _context(1, CLEAN)


def test_the_prompt_shows_the_emotions_of_each_row_once() -> None:
    """The one asked for first; neutral only where there is nothing else."""
    assert emotions(_utterance(), _labels(1, "joy", "anger", "neutral")) == ("anger", "joy")
    assert emotions(replace(_utterance(), emotion="neutral"), _labels(1, "neutral")) == ("neutral",)
    assert Cleaning().ask(_batch())["contexts"] == f"1. (anger) {RAW}"


def test_only_what_has_a_context_is_cleaned() -> None:
    """The batch shrinks with its rows."""
    both = replace(_batch(), utterances=(_utterance(1), _utterance(2)), labels=(_labels(1), _labels(2)), contexts=())
    (batch,) = Cleaning().feed(both, [_context(2)])
    assert [u.id for u in batch.utterances] == ["u2"] == [one.id for one in batch.labels]


@given(st.text(), st.text(), st.sets(st.sampled_from(LABELS), min_size=1))
def test_any_cleaning_gives_one_child(text: str, raw: str, kept: set[str]) -> None:
    """No text of a model makes the stage fail."""
    assert len(list(Cleaning().rows(_batch(TEXT, raw, *sorted(kept)), _told(text)))) == 1


# Rewriting -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Who let the lamp burn down while I was at the well?", ""),
        ("", "too_short"),
        (TEXT, "unchanged"),
        (TEXT.upper().replace("!", "?"), "unchanged"),
        (f"{TEXT[:-1]} and nobody came to tell me about it", "too_long"),
        ("Who let the furious lamp burn down while I was away?", "names_emotion"),
        ("The stairs are steep this morning.", "too_far"),
        (TEXT.replace("again", "!!"), "not_less_explicit"),
        ("Who never ever let the lamp burn down while I was at?", "not_less_explicit"),
        ("1. Who let the lamp burn down while I was at it?", "prompt_echo"),
    ],
)
def test_a_rewrite_differs_stays_near_and_says_less(text: str, reason: str) -> None:
    """Each way to miss that has its word."""
    assert _rewritten(text) == reason


_WORDS = TEXT.split()
_PARTS = st.lists(st.booleans(), min_size=len(_WORDS), max_size=len(_WORDS)).map(
    lambda keep: " ".join(word for word, kept in zip(_WORDS, keep, strict=True) if kept)
)


@given(_PARTS, st.sampled_from(["", "!", " never", "."]))
def test_what_is_kept_of_rewrites_holds_what_is_promised(part: str, end: str) -> None:
    """Different, near, not louder; and where all that holds, nothing else stands in the way of these words."""
    text = part + end
    if _rewritten(text) == "":
        assert text != TEXT and dice(text, TEXT) >= rewriting.NEAR
        assert explicitness(text) <= explicitness(TEXT)
    elif part != TEXT and dice(text, TEXT) >= rewriting.NEAR:
        assert explicitness(text) >= explicitness(TEXT)


def test_a_rewrite_says_how_near_it_is() -> None:
    """Overlap of words with its original, and an id of its own."""
    said = rewriting.Said(items=[rewriting.Item(n=1, text="Who let the lamp burn down while I was at the well?")])
    (child,) = Rewriting().rows(_batch(), said)
    assert isinstance(child, Rewritten) and (child.id, child.utterance_id) == ("u1.r", "u1")
    assert child.overlap == pytest.approx(dice(child.text, TEXT), abs=5e-4)


def test_what_was_left_out_is_asked_for_again() -> None:
    """In all three stages, under the id of the row that it would have become."""
    said, none = rewriting.Said(items=[]), context.Said(items=[])
    for stage, answer, ident in ((Contexts(), none, "u1.c"), (Cleaning(), none, "u1.c"), (Rewriting(), said, "u1.r")):
        (fault,) = stage.rows(_batch(), answer)  # type: ignore[arg-type]
        assert isinstance(fault, Fault) and (fault.id, fault.reason, fault.final) == (ident, "missing", False)
