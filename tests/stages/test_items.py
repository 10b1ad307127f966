"""Facts about EU and EA items: what is asked for, where the right option stands, and which fault has which reason word."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from factory import items
from factory.prompts import load
from factory.records import Actor, Case, Dialogue, EaItem, EuItem, Fault, Passage, Turn
from factory.requests import Reply
from factory.stages import Asking
from factory.stages.mcq_ea import KINDS, EaItems
from factory.stages.mcq_ea import Said as EaSaid
from factory.stages.mcq_eu import CATEGORIES, EuItems
from factory.stages.mcq_eu import Said as EuSaid

PASSAGE = Passage(id="t.p1", source_id="t", index=0, text="Joy found the lamp by the well, where Tobias had lost it.")
JOY = Actor(id="t.p1.a1", source_id="t", passage_id="t.p1", name="Joy", line="keeps a lamp")
DIALOGUE = Dialogue(
    id="t.p1.a1.b.d", source_id="t", passage_id="t.p1", actor_id=JOY.id, actor="Joy", background="Joy keeps a lamp.",
    turns=(Turn("client", "I took it home."), Turn("counsellor", "And then?")), stop_reason="supervisor", seed=1,
)  # fmt: skip

EU: dict[str, Any] = {
    "n": 1,
    "scenario": "Joy found a lamp by the well and took it home under her coat. For two days she heard Tobias ask at every "
    "door of the lane whether anybody had seen it. On the third evening she set it on his step, knocked, and ran behind "
    "the wall, where she stayed until she heard him laugh.",
    "subject": "Joy",
    "rationale": "Joy knew whose lamp it was, for she heard Tobias ask at every door and still kept it for two days. Had she "
    "been pleased with her catch, she would have lit it and not carried it back. Whoever expects thanks knocks and waits; "
    "she runs behind the wall, so she believes that she deserves something else. She does not hold it against him that he "
    "asked, and his laugh is what she stays for. To undo a thing in secret, once it has weighed on one for two days, is "
    "what remorse looks like.",
    "emotion": "remorse",
    "wrong_emotions": ["anger", "pride", "envy", "amusement & contempt", "boredom"],
    "cause": "she kept what she knew to be another's",
    "wrong_causes": [
        "she was seen with the lamp under her coat",
        "the lamp turned out to be broken at home",
        "nobody in the lane would speak with her",
    ],
}
EU_2 = EU | {
    "n": 2,
    "scenario": "Tobias had given up on the lamp when a knock came. It stood on the step, filled and trimmed, and nobody was "
    "there. He looked up and down the lane, lifted it, and found that the dent from his father's fall was still in its "
    "side. He laughed out loud and carried it once round the whole house before he hung it up.",
    "subject": "Tobias",
    "rationale": "Nobody in the lane expected that knock, least of all Tobias, who had given up. The dent from his father's "
    "fall tells him that it is the very lamp, and not some other of its sort. It is not worth much, yet he carries it "
    "round the whole house, as one does with something that cannot be bought again. He asks for no culprit, so there is no "
    "grudge in it. What fills him is joy.",
    "emotion": "joy",
    "cause": "what he had from his father has come back",
}
EA: dict[str, Any] = {
    "n": 1,
    "scenario": "Joy kept a lamp for two days that belonged to Tobias, and then put it on his step in secret. Now he tells "
    "everybody in the lane that it was old Anke who brought it back, and he has carried her wood for a week. Anke lets him "
    "believe it. This morning he asks Joy to help him stack the wood.",
    "subject": "Joy",
    "rationale": "Tobias carries wood to repay somebody who did nothing for him, and Joy is the only one besides Anke who "
    "knows it. As long as he believes this story, her two days with the lamp stay hidden and he goes on paying. Stacking "
    "the wood would be friendly and would leave the story as it is. To make Anke own up lets another say what is Joy's to "
    "say, and a gift only pays in another coin. What he needs is to hear from Joy that she had the lamp and brought it back.",
    "answer": "Say before the stacking that she had the lamp and brought it back",
    "wrong": [
        "Stack the wood with him today and every morning until it is done",
        "Ask Anke to own up to him before he carries any more of it",
        "Give him oil for the whole winter without saying what it is for",
    ],
}


def _case(index: int = 0, number: int = 0) -> Case:
    return Case(id=DIALOGUE.id, passage=replace(PASSAGE, index=index), actor=JOY, number=number, dialogue=DIALOGUE)


def eu(*told: dict[str, Any], index: int = 0, slots: int = 1) -> list[Any]:
    return list(EuItems(items=slots).rows(_case(index), EuSaid.model_validate({"items": told})))


def ea(*told: dict[str, Any], index: int = 0, slots: int = 1) -> list[Any]:
    return list(EaItems(items=slots).rows(_case(index), EaSaid.model_validate({"items": told})))


def reasons(children: Sequence[Any]) -> list[str]:
    return [child.reason if isinstance(child, Fault) else "" for child in children]


def test_good_items_are_kept() -> None:
    """The ones that all faults below are made from."""
    assert reasons(eu(EU, EU_2, slots=2)) == ["", ""]
    assert reasons(ea(EA)) == [""]


def test_an_item_has_the_fields_of_emobench() -> None:
    """Category as it was dealt, the label among its choices, the emotion in the taxonomy's word."""
    (item,) = eu(EU | {"emotion": "Guilt."})
    assert isinstance(item, EuItem)
    place = EuItems(items=1).asked(_case())[0]
    assert f"{item.coarse_category} / {item.finegrained_category}" == CATEGORIES[place][0]
    assert (item.emotion_label, item.emotion) == ("Guilt", "remorse")
    assert (
        len(item.emotion_choices) == len(set(item.emotion_choices)) == 6 and item.emotion_label in item.emotion_choices
    )
    assert len(item.cause_choices) == len(set(item.cause_choices)) == 4 and item.cause_label in item.cause_choices
    assert (item.id, item.dialogue_id, item.actor) == ("t.p1.a1.b.d.eu1", DIALOGUE.id, "Joy")
    (other,) = ea(EA)
    assert isinstance(other, EaItem)
    place = EaItems(items=1).asked(_case())[0]
    assert f"{other.category}, {other.question_type}" == KINDS[place][0]
    assert len(other.choices) == len(set(other.choices)) == 4 and other.label in other.choices


def test_a_compound_stands_for_two_labels() -> None:
    """In the order in which they are said; 'and' is '&'."""
    told = EU["rationale"] + " And hearing him laugh at last was a relief."
    (item,) = eu(EU | {"emotion": "guilt and relief", "rationale": told})
    assert (item.emotion_label, item.emotion) == ("Guilt & Relief", "remorse & relief")


SPELLINGS = {
    "remorse.": "Remorse", "  A. remorse": "Remorse", "(b) remorse": "Remorse", "REMORSE": "Remorse",
    "remorse/relief": "Remorse & Relief",
}  # fmt: skip


@pytest.mark.parametrize(("said", "kept"), SPELLINGS.items())
def test_emotions_are_spelt_alike(said: str, kept: str) -> None:
    """No letter, no mark, one case: else the odd one out would be the right one."""
    assert items.emotion(said) == kept


@pytest.mark.parametrize(
    ("said", "kept"),
    [("she ran.", "She ran"), ("B) she ran", "She ran"), ("'Come in.'", "Come in"), ("“Come in?”", "Come in?"),
     ("A friend came", "A friend came"), ("'Come,' he said", "'Come,' he said")],
)  # fmt: skip
def test_options_are_spelt_alike(said: str, kept: str) -> None:
    """No letter, no quotes around the whole, no full stop, a capital first."""
    assert items.option(said) == kept


def _with(text: str) -> str:
    return f"{EU['scenario']} {text}"


THIN = (
    "Because Joy kept what she knew to be another's, she feels remorse. Therefore the emotion is remorse, and not anger or "
    "pride or envy or boredom, and the cause is that she kept it."
)
EU_FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "two equal emotions": ("equal_choices", {"wrong_emotions": ["anger", "Anger.", "pride", "envy", "fear & joy"]}),
    "a wrong option equal to the right one": (
        "equal_choices", {"wrong_emotions": ["Remorse", "pride", "envy", "boredom", "fear & joy"]},
    ),
    "a wrong option that means the right one": (
        "equal_choices", {"wrong_emotions": ["guilt", "pride", "envy", "boredom", "fear & joy"]},
    ),
    "a compound turned round": (
        "equal_choices", {"wrong_emotions": ["anger & fear", "fear & anger", "envy", "boredom", "pride"]},
    ),
    "two equal causes": ("equal_choices", {"wrong_causes": [EU["wrong_causes"][0]] * 2 + [EU["wrong_causes"][1]]}),
    "no emotion among the emotions": (
        "choice_kind", {"wrong_emotions": ["anger", "Tuesday", "pride", "envy", "fear & joy"]},
    ),
    "a clause among the emotions": (
        "choice_kind", {"wrong_emotions": ["anger", "he wants to be left alone now", "pride", "envy", "fear & joy"]},
    ),
    "three emotions in one": (
        "choice_kind", {"wrong_emotions": ["anger", "fear & joy & pride", "pride", "envy", "boredom"]},
    ),
    "the right one the only single": (
        "choice_kind",
        {"wrong_emotions": ["anger & fear", "pride & joy", "envy & fear", "love & joy", "boredom & pride"]},
    ),
    "a cause of another length": (
        "choice_kind", {"wrong_causes": ["she ran", *EU["wrong_causes"][1:]]},
    ),
    "an empty cause": ("choice_kind", {"wrong_causes": ["...", *EU["wrong_causes"][1:]]}),
    "a right emotion outside the taxonomy": (
        "wrong_emotion",
        {"emotion": "nostalgia", "wrong_emotions": ["anger", "pride", "envy", "boredom", "fear & joy"]},
    ),
    "the right emotion in the scenario": ("names_emotion", {"scenario": _with("She was full of remorse.")}),
    "a form of it": ("names_emotion", {"scenario": _with("She looked back remorsefully.")}),
    "a synonym of it": ("names_emotion", {"scenario": _with("She felt guilty.")}),
    "a wrong emotion in the scenario": ("names_emotion", {"scenario": _with("Tobias was angry.")}),
    "a wrong emotion without a label": ("names_emotion", {"scenario": _with("It was not envy.")}),
    "a short scenario": ("too_short", {"scenario": "Joy found a lamp and took it home."}),
    "a long scenario": ("too_long", {"scenario": _with("And so it went on. " * 100)}),
    "a scenario without its subject": ("subject_missing", {"subject": "Bronagh"}),
    "no subject": ("subject_missing", {"subject": " "}),
    "a scenario about the task": ("meta", {"scenario": _with("So the prompt wants it.")}),
    "a short rationale": ("too_short", {"rationale": "She kept the lamp for two days. It is remorse."}),
    "a template": ("template_rationale", {"rationale": THIN}),
    "a letter": ("cites_letters", {"rationale": EU["rationale"] + " So option B is remorse."}),
    "a letter in brackets": ("cites_letters", {"rationale": EU["rationale"] + " So it is (c), remorse."}),
    "an ordinal": ("cites_letters", {"rationale": EU["rationale"] + " The second option is remorse."}),
    "reasoning about something else": (
        "rationale_ungrounded",
        {"rationale": "Children who lose a game often blame the referee. A grown player accepts the verdict, trains harder "
         "and returns next season. Sport teaches patience, fairness and discipline to whoever practises it for years. "
         "That is remorse."},
    ),
    "reasoning that never says it": (
        "rationale_contradicts", {"rationale": EU["rationale"].replace("what remorse looks like", "what remains")},
    ),
    "reasoning that ends elsewhere": (
        "rationale_contradicts", {"rationale": EU["rationale"] + " In the end it comes down to pride."},
    ),
    "a rationale that copies its scene": (
        "template_rationale", {"rationale": EU["scenario"] + " And so what Joy is left with in the end is remorse."},
    ),
    "an end that denies an emotion and takes another": (
        "rationale_contradicts", {"rationale": EU["rationale"] + " It would not be remorse; it is pride that is felt."},
    ),
    "pride rather than remorse": (
        "rationale_contradicts", {"rationale": EU["rationale"] + " So it is pride rather than remorse."},
    ),
    "not this but that": ("rationale_contradicts", {"rationale": EU["rationale"] + " This is not remorse but pride."}),
    "the same with a comma": (
        "rationale_contradicts", {"rationale": EU["rationale"] + " No, it is pride that fills her by then."},
    ),
    "an emotion joined with itself": (
        "choice_kind", {"wrong_emotions": ["anger", "Fear & fear", "pride", "envy", "boredom"]},
    ),
    "an emotion joined with its synonym": (
        "choice_kind", {"wrong_emotions": ["anger", "fear & terror", "pride", "envy", "boredom"]},
    ),
    "a right emotion joined with its synonym": (
        "choice_kind",
        {"emotion": "remorse & guilt", "wrong_emotions": ["anger", "fear & joy", "pride", "envy", "boredom"]},
    ),
    "an emotion with a tick": (
        "choice_kind", {"wrong_emotions": ["anger \u2705", "fear & joy", "pride", "envy", "boredom"]},
    ),
    "an emotion that is said to be wrong": (
        "choice_kind", {"wrong_emotions": ["anger (wrong)", "fear & joy", "pride", "envy", "boredom"]},
    ),
    "an endless cause": ("too_long", {"wrong_causes": ["she ran " * 21, *EU["wrong_causes"][1:]]}),
    "a cause with a tick": ("choice_kind", {"cause": EU["cause"] + " \u2705"}),
    "a cause that is said to be right": ("choice_kind", {"cause": EU["cause"] + " (correct answer)"}),
    "a cause in bold": ("choice_kind", {"cause": f"<b>{EU['cause']}</b>"}),
    "a cause that stands for none": ("choice_kind", {"wrong_causes": ["None of the above", *EU["wrong_causes"][1:]]}),
    "a cause that stands for all": ("choice_kind", {"wrong_causes": ["All of these.", *EU["wrong_causes"][1:]]}),
    "a cause of JSON": ("prompt_echo", {"wrong_causes": ['{"n": 1, she was seen', *EU["wrong_causes"][1:]]}),
    "two causes but for an accent": (
        "equal_choices",
        {"wrong_causes": ["she was at the caf\u00e9 then", "she was at the cafe then", EU["wrong_causes"][0]]},
    ),
    "two causes but for a letter that looks alike": (
        "equal_choices",
        {"wrong_causes": ["\u0422ake the lamp home in secret", "Take the lamp home in secret", EU["wrong_causes"][0]]},
    ),
    "an endless rationale": ("too_long", {"rationale": EU["rationale"] + " And so it went on." * 80 + " It is remorse."}),
    "an article as the subject": ("subject_missing", {"subject": "the"}),
    "a pronoun as the subject": ("subject_missing", {"subject": "She"}),
    "an emotion that is no choice in the scenario": ("names_emotion", {"scenario": _with("Tobias was jealous.")}),
    "a page's tag in the scenario": ("prompt_echo", {"scenario": _with("<br>")}),
    "a page's tag in the rationale": ("prompt_echo", {"rationale": "<think>" + EU["rationale"]}),
    "four wrong emotions": ("missing", {"wrong_emotions": ["anger", "pride", "envy", "fear & joy"]}),
    "two wrong causes": ("missing", {"wrong_causes": EU["wrong_causes"][:2]}),
    "another number": ("missing", {"n": 7}),
}  # fmt: skip


@pytest.mark.parametrize(("reason", "change"), EU_FAULTS.values(), ids=EU_FAULTS)
def test_a_bad_eu_item_is_caught_by_its_own_reason(reason: str, change: dict[str, Any]) -> None:
    """Each made from a good item by one change."""
    assert reasons(eu(EU | change)) == [reason]


EA_FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "two equal answers": ("equal_choices", {"wrong": [EA["wrong"][0], EA["wrong"][0].upper() + "!", EA["wrong"][1]]}),
    "the right one twice": ("equal_choices", {"wrong": [EA["answer"] + ".", *EA["wrong"][1:]]}),
    "an answer of another length": ("choice_kind", {"wrong": ["Go home", *EA["wrong"][1:]]}),
    "two wrong answers": ("missing", {"wrong": EA["wrong"][:2]}),
    "a short scenario": ("too_short", {"scenario": "Joy kept a lamp."}),
    "no subject": ("subject_missing", {"subject": "Bronagh"}),
    "a letter": ("cites_letters", {"rationale": EA["rationale"] + " Choice A hides it."}),
    "a template": (
        "template_rationale",
        {"rationale": "The best is to say before the stacking that she had the lamp and brought it back. Therefore she should "
         "say that she had the lamp, and not stack the wood, ask Anke or give him oil."},
    ),
    "reasoning that ends elsewhere": (
        "rationale_contradicts",
        {"rationale": EA["rationale"].replace("What he needs is to hear from Joy that she had the lamp and brought it back.",
         "So Joy had best give him oil for the whole winter, and never mind saying a word.").replace("never mind", "leave off")},
    ),
    "an end that quotes a wrong answer": (
        "rationale_contradicts",
        {"rationale": f"{EA['rationale']} All in all the best thing is this: {EA['wrong'][2].lower()}."},
    ),
    "an end that begins with no": (
        "rationale_contradicts", {"rationale": f"{EA['rationale']} No, the best is: {EA['wrong'][0].lower()}."},
    ),
    "an end that denies the right answer only": (
        "rationale_contradicts",
        {"rationale": f"{EA['rationale']} So she had best not speak; she gives him oil for the whole winter and says what for."},
    ),
    "an endless answer": ("too_long", {"wrong": ["Go home " * 21, *EA["wrong"][1:]]}),
    "an answer that is said to be right": ("choice_kind", {"answer": "Correct answer: " + EA["answer"]}),
    "an endless rationale": ("too_long", {"rationale": EA["rationale"] + " And so it went on." * 80}),
    "reasoning about another answer": (
        "rationale_contradicts", {"answer": "Invite everybody to supper and sing the old songs until dawn"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("reason", "change"), EA_FAULTS.values(), ids=EA_FAULTS)
def test_a_bad_ea_item_is_caught_by_its_own_reason(reason: str, change: dict[str, Any]) -> None:
    """Each made from a good item by one change."""
    assert reasons(ea(EA | change)) == [reason]


LETTERS = (
    "A is wrong because it hides it.", "Both A and B fail.", "Hence D.", "That gives answer: B.", "It is A.",
    "She takes letter B.", "So option b it is.", "Option two hides it.", "The second one fails.",
    "Of the two the third one is wrong.", "So options one and three hide it.", "Look: 1) fails.", "And b) is wrong.",
    "C does not fit.", "D, or rather B or C.", "The answer is C.", "The second answer hides it.", "So option a.",
    "The correct one is C.", "I choose B.",
)  # fmt: skip
NO_LETTERS = (
    "Vitamin C is what she lacks.", "Plan B is to leave.", "Plan A or B would do.", "Tobias got a B and was told so.",
    "The second one stood by the wall.", "Nobody has an option a child would take.",
    "It is the only option one has.", "A door is shut.", "He came at (about) 3) or so.",
    "She answers two people.", "It would cause a row.", "Her answer: A lamp is a lamp.",
)  # fmt: skip


@pytest.mark.parametrize("said", LETTERS)
def test_letters_and_numbers_of_options_are_seen(said: str) -> None:
    """However they are said."""
    assert reasons(eu(EU | {"rationale": f"{said} {EU['rationale']}"})) == ["cites_letters"]


@pytest.mark.parametrize("said", NO_LETTERS)
def test_letters_that_name_something_else_are_no_options(said: str) -> None:
    """A plan, a vitamin, an article; the second of two things in the scene."""
    assert reasons(eu(EU | {"rationale": f"{said} {EU['rationale']}"})) == [""]


ENDS = (
    "There is no anger, envy or pride in it.", "It is not pride, nor anger.", "Not pride but remorse is what stays.",
    "Only remorse would explain it, for there is anger in the lane.", "What it cannot be: pride.",
    "Had she felt pride, it would have been lit.", "It is remorse rather than pride, whatever anger there was.",
)  # fmt: skip


@pytest.mark.parametrize("said", ENDS)
def test_an_emotion_that_is_denied_is_not_chosen(said: str) -> None:
    """In its own clause, and in the list that it stands in."""
    assert reasons(eu(EU | {"rationale": f"{EU['rationale']} {said}"})) == [""]


def test_a_wrong_answer_may_be_quoted_to_deny_it() -> None:
    """Before a colon, behind it; and beside the right one."""
    wrong, right = EA["wrong"][0].lower(), EA["answer"].lower()
    for end in (
        f"It would be wrong to do this: {wrong}.", f"To {wrong} is not what he needs.", f"Better than to {wrong} is to speak.",
        f"She may {wrong}; what helps him is to {right}.",
    ):  # fmt: skip
        assert reasons(ea(EA | {"rationale": f"{EA['rationale']} {end}"})) == [""]


def test_an_answer_that_itself_denies_something_can_be_come_to() -> None:
    """'Without' and 'nothing' in an option do not deny the option."""
    right = "Say nothing to Tobias and never take a lamp again"
    end = f"So what is left for her is to {right.lower()}."
    assert reasons(ea(EA | {"answer": right, "rationale": f"{EA['rationale']} {end}"})) == [""]


def test_courtesies_and_names_are_no_feelings() -> None:
    """Happy to help, and a girl who is called Happy."""
    told = "'I am happy to carry it, and I'm afraid it is heavy,' said Tobias."
    assert reasons(eu(EU | {"scenario": _with(told)})) == [""]


def test_what_is_refused_in_a_scene_may_be_an_answer() -> None:
    """Somebody who cannot help says so; it is not the model that declines."""
    wrong = ["I'm sorry, but I can't help you with that, Tobias, not today", *EA["wrong"][1:]]
    assert reasons(ea(EA | {"wrong": wrong})) == [""]


def test_a_scene_told_twice_in_one_batch_is_a_duplicate() -> None:
    """Also with small edits; the second of the two is thrown away."""
    again = EU | {"n": 2, "scenario": EU["scenario"].replace("third", "fourth"), "rationale": EU_2["rationale"]}
    again |= {"rationale": "It began when " + EU["rationale"]}
    assert reasons(eu(EU, again, slots=2)) == ["", "duplicate"]


def test_rationales_of_one_batch_that_open_alike_are_a_template() -> None:
    """The subject's name does not make two openings differ."""
    again = EU_2 | {"rationale": EU_2["rationale"].replace("Nobody in the lane", "Tobias knew whose lamp it, nobody")}
    assert reasons(eu(EU, again, slots=2)) == ["", "template_rationale"]


def test_a_last_sentence_that_rejects_an_emotion_does_not_choose_it() -> None:
    """'so it is not pride' is no answer; neither is a name."""
    assert reasons(eu(EU | {"rationale": EU["rationale"] + " There is no pride in it."})) == [""]


def test_people_may_be_called_after_feelings() -> None:
    """The subject is Joy, and joy is among the choices."""
    assert reasons(eu(EU | {"wrong_emotions": ["joy", "pride", "envy", "boredom", "fear & anger"]})) == [""]


def test_more_wrong_options_than_asked_for_are_cut() -> None:
    """The first ones count."""
    (item,) = eu(EU | {"wrong_emotions": [*EU["wrong_emotions"], "fear"]})
    assert len(item.emotion_choices) == 6 and "Fear" not in item.emotion_choices


def test_another_attempt_that_tells_a_kept_scene_again_clashes() -> None:
    """Good items of two attempts are held against each other."""
    first, second = (replace(eu(one)[0], id=f"x.eu{n}") for n, one in enumerate((EU, EU), 1))
    (fault,) = EuItems().clashes([first, second])
    assert (fault.id, fault.reason) == ("x.eu2", "duplicate")


def test_items_are_asked_for_by_number_and_kind() -> None:
    """One line a slot: the kind, and a sentence on it."""
    asked = EuItems(items=3).ask(_case(3))["wanted"].splitlines()
    assert [line.partition(". ")[0] for line in asked] == ["1", "2", "3"]
    assert all(any(line.endswith(f"{name}: {meaning}") for name, meaning in CATEGORIES) for line in asked)
    assert EaItems().ask(_case())["talk"] == "Client: I took it home.\nCounsellor: And then?"


def test_a_repair_lists_what_was_wrong_and_keeps_what_was_good() -> None:
    """The good item of the first attempt and the mended one of the second make the unit."""
    book = load(["mcq_eu", "repair"])
    talk = EuItems(items=2).talk(_case(), Asking(book=book), 0)
    next(talk)
    bad = EU_2 | {"wrong_causes": ["x", *EU_2["wrong_causes"][1:]]}
    asked = talk.send(Reply(text=orjson.dumps({"items": [EU, bad]}).decode()))
    assert "choice_kind: number 2" in asked.messages[-1].content
    with pytest.raises(StopIteration) as end:
        talk.send(Reply(text=orjson.dumps({"items": [EU_2]}).decode()))
    assert [row.id for row in end.value.value.rows] == ["t.p1.a1.b.d.eu1", "t.p1.a1.b.d.eu2"]


def test_one_good_item_is_enough() -> None:
    """The others are dropped, each with its reason."""
    talk = EuItems(items=3).talk(_case(), Asking(book=load(["mcq_eu", "repair"]), repairs=0), 0)
    next(talk)
    with pytest.raises(StopIteration) as end:
        talk.send(Reply(text=orjson.dumps({"items": [EU]}).decode()))
    outcome = end.value.value
    assert outcome.accepted and [fault.reason for fault in outcome.faults] == ["missing", "missing"]


CLIENTS = [(passage, number) for passage in range(150) for number in range(2)]


def test_the_right_option_stands_everywhere_equally_often() -> None:
    """Over 300 dialogues each place of emotions, causes and answers is within a tenth of its share."""
    emotions, causes, answers = Counter[int](), Counter[int](), Counter[int]()
    stage, other = EuItems(), EaItems()
    for passage, number in CLIENTS:
        case = _case(passage, number)
        for n in (1, 2, 3):
            emotions[stage.placed(case, "emotion", n, "right", list("abcde")).index("right")] += 1
            causes[stage.placed(case, "cause", n, "right", list("abc")).index("right")] += 1
            answers[other.placed(case, "answer", n, "right", list("abc")).index("right")] += 1
    for counts, size in ((emotions, 6), (causes, 4), (answers, 4)):
        assert len(counts) == size
        assert all(abs(n - 900 / size) <= 0.1 * 900 / size for n in counts.values())


def test_categories_come_equally_often() -> None:
    """Eleven of EU and eight of EA over 300 dialogues, none by weights; the three of a dialogue differ."""
    for stage, kinds in ((EuItems(), CATEGORIES), (EaItems(), KINDS)):
        asked = [stage.asked(_case(passage, number)) for passage, number in CLIENTS]
        assert all(len(set(some)) == 3 for some in asked)
        counts = Counter(place for some in asked for place in some)
        assert all(abs(n - 900 / len(kinds)) <= 0.1 * 900 / len(kinds) for n in counts.values())
        assert len(counts) == len(kinds)


def test_the_wrong_options_are_not_always_in_the_same_order() -> None:
    """A model tends to give the most tempting one first."""
    placed = {EuItems().placed(replace(_case(), id=f"d{n}"), "cause", 1, "right", list("abc")) for n in range(40)}
    assert len(placed) == 6
