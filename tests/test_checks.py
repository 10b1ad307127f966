"""Facts about the checks of generated text."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory import checks
from factory.taxonomy import LABELS

# Pieces of what the patterns look for, and characters that fold, join or bracket oddly.
_PIECES = (
    *("I ", "feel ", "so ", "angry", "Mara ", "is ", "here are ", ": ", '{"', "```", "1. ", "as an AI ", ". ", "! "),
    *("I'm sorry, but I can't ", "’", "\n", "–", "ſ", "İ", "ß", "\ud800", "\u202e", "(", "[", "\\", "*"),
)
_TEXTS = st.text(max_size=300) | st.lists(
    st.sampled_from(_PIECES),
    max_size=25,
).map("".join)


@given(_TEXTS, _TEXTS, st.sampled_from(LABELS))
@example(". . .", "Mara", "joy")
@settings(max_examples=300)
def test_no_text_makes_a_check_fail(text: str, other: str, label: str) -> None:
    """Whatever a model says, and whatever the actor is called: a finding or None, never an exception."""
    for found in (checks.utterance(text, other), checks.prose(text), checks.strange(text), checks.names(text, [label])):
        assert found is None or all(isinstance(part, str) and part for part in found)
    assert 0 <= checks.dice(text, other) <= 1 and 0 <= checks.added(text, other) <= 1
    assert checks.explicitness(text) >= 0


@given(_TEXTS, _TEXTS)
def test_reasons_are_stable_words(text: str, actor: str) -> None:
    """People filter by them, so they are of the known few."""
    known = {"too_short", "too_long", "refusal", "prompt_echo", "meta", "not_first_person", "names_emotion", "too_thin"}
    found = checks.utterance(text, actor)
    assert found is None or found[0] in known


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("No.", "too_short"),
        ("  ", "too_short"),
        ("We " * 61, "too_long"),
        ("I'm sorry, but I can't help with that request.", "refusal"),
        ("As an AI I have no view of the bridge.", "refusal"),
        ("I cannot continue this text for you.", "refusal"),
        ("I'm sorry, but I am unable to generate such content.", "refusal"),
        ("Here are the utterances you wanted: we ran.", "prompt_echo"),
        ("Sure, here is my answer: the bridge fell.", "prompt_echo"),
        ("1. The bridge fell and I was on it.", "prompt_echo"),
        ('{"text": "The bridge fell under us all"}', "prompt_echo"),
        ("```json the bridge fell under us all", "prompt_echo"),
        ("In this story my bridge falls into the river.", "meta"),
        ("The character crosses and I wave to her.", "meta"),
        ("Mara is standing at the well and her hands shake.", "not_first_person"),
        ("Nobody told Mara that the well was dry.", "not_first_person"),
        ("I feel so angry about the broken gate.", "names_emotion"),
        ("I am terrified of the thing in the well.", "names_emotion"),
        ("Anger rises in me whenever the gate slams.", "names_emotion"),
        ("I want tea. I want bread. I want milk.", "too_thin"),
    ],
)
def test_what_is_no_utterance_is_found(text: str, reason: str) -> None:
    """Each kind of fault has its own word."""
    found = checks.utterance(text, "Mara")
    assert found and found[0] == reason


@pytest.mark.parametrize(
    "text",
    [
        "Thank you, Tobias, the lamp would have burnt down without you.",
        "I love you, and that is why the door stays open.",
        "Mara, you fool, why did I leave the gate open again?",
        "Who else here would have carried my father's chair up all those stairs?",
        "I’m going home before the river takes the bridge.",
        "My sister says she is afraid of the dark, so the lamp stays lit for her.",
        "Answer me, Tobias, where did you put the rope?",
        "I can't help laughing whenever that goat looks at me.",
        "I'm sorry, Tobias, I can't come down to the ferry tonight.",
        "I cannot go on like this with a roof that lets the rain in.",
        "I won't help him carry that boat a second time.",
        "I'm unable to sleep while that lamp swings outside.",
    ],
)
def test_what_people_say_is_let_through(text: str) -> None:
    """Courtesies, one's own name in address, others' feelings and unlucky words are no faults."""
    assert checks.utterance(text, "Mara") is None


@pytest.mark.parametrize("word", ["angry", "anger", "angrily", "ANGERED", "furious", "rage", "fury’s", "rage-filled"])
def test_an_emotion_is_named_by_inflections_and_close_synonyms(word: str) -> None:
    """Not only by the label itself, and whatever its case."""
    found = checks.names(f"Tobias stood {word} by the gate.", ["anger"])
    assert found and found[0] == "names_emotion" and re.search(word[:4], found[1], re.I)


@pytest.mark.parametrize("text", ["The danger passed.", "He brought a coat hanger.", "The ranger closed the gate."])
def test_a_word_that_only_holds_another_names_nothing(text: str) -> None:
    """Whole words count."""
    assert checks.names(text, ["anger"]) is None


def test_only_the_emotions_of_the_row_are_looked_for() -> None:
    """A context may speak of somebody else's feeling."""
    assert checks.names("Her uncle was furious.", ["joy", "neutral"]) is None


@given(st.text(), st.text())
def test_overlap_is_symmetric_and_one_for_equal_texts(a: str, b: str) -> None:
    """Dice coefficient over words."""
    assert checks.dice(a, b) == checks.dice(b, a) and checks.dice(a, a) == 1


@given(st.lists(st.sampled_from(["lamp", "gate", "river", "rope"]), min_size=1), st.data())
def test_only_deletions_add_nothing(words: list[str], data: st.DataObject) -> None:
    """Any part of a text adds no word to it, and a new word is counted."""
    kept = data.draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words)))
    part = [word for word, keep in zip(words, kept, strict=True) if keep]
    assert checks.added(" ".join(part), " ".join(words)) == 0
    assert checks.added(" ".join([*part, "anvil"]), " ".join(words)) > 0


def test_explicitness_counts_feeling_strength_and_shouting() -> None:
    """Each makes a text louder than it was."""
    calm = "The rope broke and we fell."
    assert checks.explicitness(calm) == 0
    for louder in ("The rope broke and we fell!", "The awfully old rope broke and we fell.", f"{calm} Misery."):
        assert checks.explicitness(louder) == 1
