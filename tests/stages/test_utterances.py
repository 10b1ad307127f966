"""Facts about the utterances stage: which emotions are asked for, and which answers count."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import prompts
from factory.records import Actor, Fault, Passage, Utterance
from factory.requests import Reply
from factory.stages import Asking
from factory.stages.utterances import Said, Speaker, Spoken, Utterances, numbered
from factory.taxonomy import DEFINITIONS, EMOTIONS, LABELS

PASSAGE = Passage(id="t.p1", source_id="t", index=5, text="Mara found the lamp by the well. Tobias shouted.")
MARA = Actor(id="t.p1.a1", source_id="t", passage_id="t.p1", name="Mara", line="finds the lamp")
TOBIAS = Actor(id="t.p1.a2", source_id="t", passage_id="t.p1", name="Tobias", line="shouts")
TEXTS = (
    "Who let the lamp burn down again while I was away?",
    "Something moves below the rim and my knees will not carry me.",
    "My hands did this, and all of it holds.",
    "Ten buckets stand in a row beside me.",
)


def _speaker(*asked: str) -> Speaker:
    return Speaker(id=MARA.id, passage=PASSAGE, actor=MARA, asked=asked)


def _said(*pairs: tuple[str, str]) -> Said:
    return Said(utterances=[Spoken(emotion=emotion, text=text) for emotion, text in pairs])


def _read(asked: Sequence[str], *pairs: tuple[str, str]) -> list[str]:
    """The text of each slot, or the reason why it is missing."""
    children = Utterances(emotions=len(asked), neutrals=0).rows(_speaker(*asked), _said(*pairs))
    return [child.reason if isinstance(child, Fault) else child.text for child in children]


def test_each_actor_is_asked_for_eight_emotions_and_two_neutral() -> None:
    """Dealt by the place of the actor; neutral last."""
    for speaker in Utterances().feed(PASSAGE, [MARA, TOBIAS]):
        assert len(speaker.asked) == 10 and speaker.asked[8:] == ("neutral", "neutral")
        assert len(set(speaker.asked[:8])) == 8 and set(speaker.asked) <= {*EMOTIONS, "neutral"}


def test_the_prompt_names_each_emotion_with_its_definition() -> None:
    """In the order in which the children will be read."""
    fields = Utterances().ask(_speaker("anger", "neutral"))
    assert fields["emotions"] == f"1. anger: {DEFINITIONS['anger']}\n2. neutral: {DEFINITIONS['neutral']}"
    assert (fields["actor"], fields["character"]) == ("Mara", "finds the lamp")


def test_a_good_answer_becomes_one_row_a_slot() -> None:
    """Each with its emotion, and the seed that its request was drawn with."""
    asked = ("anger", "fear", "neutral")
    rows = list(Utterances().rows(_speaker(*asked), _said(*zip(asked, TEXTS, strict=False))))
    assert all(isinstance(row, Utterance) for row in rows)
    assert [(row.id, row.emotion) for row in rows if isinstance(row, Utterance)] == [
        ("t.p1.a1.u1", "anger"), ("t.p1.a1.u2", "fear"), ("t.p1.a1.u3", "neutral")
    ]  # fmt: skip
    book = prompts.load(["utterances"])
    ask = next(Utterances().talk(_speaker(*asked), Asking(book=book), 0))
    assert {row.seed for row in rows if isinstance(row, Utterance)} == {ask.sampling.seed}


def test_the_order_of_the_answer_does_not_matter() -> None:
    """Children are found by their emotion."""
    assert _read(("anger", "fear"), ("fear", TEXTS[1]), ("anger", TEXTS[0])) == list(TEXTS[:2])


def test_two_neutral_slots_take_two_texts() -> None:
    """Equal emotions take one each, in order."""
    assert _read(("neutral", "neutral"), ("neutral", TEXTS[0]), ("neutral", TEXTS[3])) == [TEXTS[0], TEXTS[3]]


def test_an_inflected_label_is_still_the_label() -> None:
    """'Angry' answers anger."""
    assert _read(("anger",), ("Angry", TEXTS[0])) == [TEXTS[0]]


@pytest.mark.parametrize("said", [(), (("joy", TEXTS[0]),), (("gloomth", TEXTS[0]),)])
def test_what_was_not_answered_is_missing(said: tuple[tuple[str, str], ...]) -> None:
    """Nothing at all, another emotion, a word outside the taxonomy."""
    assert _read(("anger",), *said) == ["missing"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "too_short"),
        ("No!", "too_short"),
        ("word " * 61, "too_long"),
        ("I'm sorry, but I can't help with that request.", "refusal"),
        ("Mara is feeling wronged by the man who let it burn.", "not_first_person"),
        ("I feel so angry about the lamp.", "names_emotion"),
    ],
)
def test_a_bad_text_is_a_fault_of_its_slot(text: str, reason: str) -> None:
    """The others of the answer are kept."""
    assert _read(("anger", "fear"), ("anger", text), ("fear", TEXTS[1])) == [reason, TEXTS[1]]


@pytest.mark.parametrize("text", [TEXTS[0], TEXTS[0].upper(), TEXTS[0].replace("lamp", "lantern")])
def test_saying_the_same_twice_is_a_fault(text: str) -> None:
    """Also nearly the same, and in another case."""
    assert _read(("anger", "annoyance"), ("anger", TEXTS[0]), ("annoyance", text)) == [TEXTS[0], "duplicate"]


def test_an_answer_may_not_repeat_what_an_earlier_attempt_said() -> None:
    """The first attempt's text is kept under anger; the second says it again under fear and is asked once more."""
    stage, book = Utterances(emotions=2, neutrals=0), prompts.load(["utterances", "repair"])
    talk = stage.talk(_speaker("anger", "fear"), Asking(book=book), 0)
    attempts = ([TEXTS[0], "No."], [TEXTS[2], TEXTS[0]], [TEXTS[2], TEXTS[1]])
    next(talk)
    with pytest.raises(StopIteration) as end:
        for one in attempts:
            talk.send(Reply(text=_said(*zip(("anger", "fear"), one, strict=True)).model_dump_json()))
    assert [row.text for row in end.value.value.rows] == [TEXTS[0], TEXTS[1]]


@pytest.mark.parametrize(("emotions", "neutrals", "least"), [(8, 2, 6), (4, 1, 3), (1, 0, 1), (27, 10, 22)])
def test_six_of_ten_are_enough(emotions: int, neutrals: int, least: int) -> None:
    """Fewer good ones reject the actor."""
    assert Utterances(emotions=emotions, neutrals=neutrals).least(_speaker()) == least


def test_the_schema_closes_the_list_of_emotions() -> None:
    """The engine decodes under the 28; a server that cannot may say anything, which is then the child's fault."""
    assert Said.model_json_schema()["$defs"]["Spoken"]["properties"]["emotion"]["enum"] == list(LABELS)


def test_the_paper_lets_the_model_pick() -> None:
    """No emotions in its prompt, none dealt; what it picks outside the taxonomy is a fault."""
    stage = Utterances(dealt=False, checked=False)
    (speaker,) = stage.feed(PASSAGE, [MARA])
    children = list(stage.rows(speaker, _said(("Joy", "I feel so happy."), ("gloomth", TEXTS[0]), ("fear", " "))))
    assert set(stage.ask(speaker)) == {"passage", "actor"} and speaker.asked == ()
    assert isinstance(children[0], Utterance) and children[0].emotion == "joy"
    assert [child.reason for child in children[1:] if isinstance(child, Fault)] == ["wrong_emotion", "too_short"]


_ANSWERS = st.lists(
    st.tuples(st.sampled_from([*LABELS, "bliss", "", "Mara"]), st.text() | st.sampled_from(TEXTS)), max_size=6
)


@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=4), _ANSWERS)
def test_any_answer_gives_one_child_a_slot(asked: list[str], said: list[tuple[str, str]]) -> None:
    """Children made = slots asked for, in their order, and no text is used twice."""
    children = list(Utterances().rows(_speaker(*asked), _said(*said)))
    assert [child.id for child in children] == [f"t.p1.a1.u{n}" for n in range(1, len(asked) + 1)]
    kept = [child for child in children if isinstance(child, Utterance)]
    assert all(row.emotion == asked[int(row.id[-1]) - 1] for row in kept)
    assert len({row.text for row in kept}) == len(kept)


@given(st.lists(st.text()))
def test_numbering_gives_one_line_a_text(texts: list[str]) -> None:
    """A line break in an utterance cannot make a second entry."""
    assert len(numbered(texts).splitlines()) == len(texts)
