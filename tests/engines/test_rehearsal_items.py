"""Facts about the rehearsal engine's items: they pass every check, differ, give nothing away, and are solved."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from factory import items
from factory.engines.rehearsal.application import APPLIED, ea_item
from factory.engines.rehearsal.dice import Dice
from factory.engines.rehearsal.even import drawn, fitted
from factory.engines.rehearsal.frames import (
    Frame,
    Person,
    application,
    cast,
    fill,
    pattern,
    person,
    phrasings,
    recognised,
    understanding,
    weights,
)
from factory.engines.rehearsal.grounds import content
from factory.engines.rehearsal.items import turn
from factory.engines.rehearsal.options import Filled, emotions, sets
from factory.engines.rehearsal.solve import solve
from factory.engines.rehearsal.understanding import SHAPES, eu_item
from factory.records import EaItem, EuItem, Solved
from factory.stages.background import DOMAINS
from factory.stages.mcq_ea import KINDS
from factory.stages.mcq_eu import CATEGORIES
from factory.text import sentences, words
from tests.engines import weigh
from tests.engines.cues import Question, learnt, singles
from tests.engines.told import Told, bundled, by_corpus, fables

PEOPLE = (
    cast(Person("the Fox", False), Person("Tilda", True), Person("Piet", False), Person("Asha", True)),
    cast(Person("Nell", True), Person("the old Miller", False), Person("Runa", True), Person("Oda", True)),
    cast(Person("Mrs. Okafor", True), Person("the Goat", False), Person("Milo", False), Person("Ines", True)),
)
# A seed is one draw of everything that a frame leaves open.
DRAWS = [(people, seed) for people in PEOPLE for seed in range(8)]

frames = pytest.mark.parametrize(
    "frame", understanding(), ids=lambda frame: f"{frame.own['fine']}-{frame.own['emotion']}"
)
situations = pytest.mark.parametrize("frame", application(), ids=lambda frame: frame.own["fact"][:40])
whole_bank = pytest.mark.parametrize(
    "frame", [*understanding(), *application()], ids=lambda frame: " ".join(_name(frame).split()[:6])
)


def _name(frame: Frame) -> str:
    return str(frame.own.get("sign") or frame.own["fact"])


def _eu(frame: Frame) -> Iterator[dict[str, Any]]:
    for people, seed in DRAWS:
        dice = Dice(frame.own["sign"], people["s"], seed)
        yield eu_item(frame, people | frame.slots(dice), seed % len(SHAPES), dice)


def _ea(frame: Frame, kind: str) -> Iterator[dict[str, Any]]:
    for people, seed in DRAWS:
        dice = Dice(frame.own["fact"], kind, people["s"], seed)
        yield ea_item(frame, kind, people | frame.slots(dice), seed % len(APPLIED), dice)


@cache
def _drawn_eu() -> list[dict[str, Any]]:
    return [one for frame in understanding() for one in _eu(frame)]


@cache
def _drawn_ea() -> list[dict[str, Any]]:
    return [one for frame in application() for kind in ("action", "response") for one in _ea(frame, kind)]


# The bank -------------------------------------------------------------------------------------------------------------


def test_frames_cover_every_category_in_every_domain() -> None:
    """Each of the eleven fine categories has a frame in each of the eight domains, and eight or more in all."""
    held = Counter((frame.own["fine"], domain) for frame in understanding() for domain in frame.own["domains"])
    assert set(held) == {(name.partition(" / ")[2], domain) for name, _ in CATEGORIES for domain in DOMAINS}
    assert min(Counter(frame.own["fine"] for frame in understanding()).values()) >= 8


def test_situations_cover_every_category_in_every_domain() -> None:
    """Ten or more situations for each category of application, among them one for each domain."""
    held = {(frame.own["category"], domain) for frame in application() for domain in frame.own["domains"]}
    assert held == {(name.partition(", ")[0], domain) for name, _ in KINDS for domain in DOMAINS}
    assert min(Counter(frame.own["category"] for frame in application()).values()) >= 10


def test_every_fine_category_ends_in_many_emotions() -> None:
    """At least five, so that a category does not give its emotion away."""
    held = {(frame.own["fine"], frame.own["emotion"]) for frame in understanding()}
    assert min(Counter(fine for fine, _ in held).values()) >= 5


@whole_bank
def test_what_is_right_is_told_in_three_lengths(frame: Frame) -> None:
    """Short, middling and long, so that no option is right by its length; and there are wrong ones to choose among."""
    own = frame.own
    asked = [(own["cause"], own["wrong"])] if "cause" in own else [(own[k]["right"], own[k]["wrong"]) for k in _KINDS]
    for right, wrong in asked:
        sizes = [len(text) for text in phrasings(right)]
        assert len(sizes) == 3
        assert sizes[0] <= sizes[1] * 1.1 <= sizes[2] * 1.1
        assert len(wrong) >= 4


_KINDS = ("action", "response")


@whole_bank
def test_every_slot_is_known(frame: Frame) -> None:
    """A misspelt slot would be left standing in a text."""
    slots = {slot[0].lower() + slot[1:] for slot in re.findall(r"\{(\w+)\}", json.dumps(frame.own))}
    assert slots <= set(PEOPLE[0]) | set(frame.own.get("slots", ()))


@whole_bank
def test_numbered_choices_of_one_number_are_as_many(frame: Frame) -> None:
    """The third of three has nothing to go with where the others are two."""
    text = json.dumps(frame.own)
    counts: dict[str, set[int]] = {}
    for number, listed in re.findall(r"\[(\w+)=([^\[\]]*)\]", text):
        counts.setdefault(number, set()).add(len(listed.split("|")))
    assert all(len(some) == 1 for some in counts.values()), counts


@whole_bank
def test_what_is_drawn_for_the_reasoning_stands_in_the_scene(frame: Frame) -> None:
    """A longer word that a slot or a choice brings into reasoning or causes is in the scene of the same item, or in what
    the frame always says; a numbered choice may put it in other words, if the scene has that number."""
    people, own = PEOPLE[0], frame.own
    numbers = set(_NUMBERED.findall(" ".join(frame.texts())))
    for seed in range(20):
        dice = Dice("drawn", seed)
        values = people | frame.slots(dice)
        answers = " ".join(fill(text, values, dice) for text in _answers(own))
        here = _stems(" ".join([*(fill(text, values, dice) for text in frame.texts()), answers, *people.values()]))
        for text in _reasons(own):
            assert set(_NUMBERED.findall(text)) <= numbers | set(_NUMBERED.findall(answers)), text
            plain = re.sub(r"\[\w+=[^\[\]]*\]", " ", text)
            drawn = _stems(fill(plain, values, dice)) - _fixed(plain)
            assert drawn <= here | _fixed(json.dumps(own)), (text, drawn - here - _fixed(json.dumps(own)))


_NUMBERED = re.compile(r"\[(\w+)=")


def _reasons(own: Any) -> Iterator[str]:
    """What rationales are made of, and causes."""
    if "cause" in own:
        yield from (own["sign"], own["belief"], own["cause_not"], *phrasings(own["cause"]), *own["wrong"])
        yield from (why for _, why in own["nots"])
        return
    yield from (own["fact"], own["need"])
    for kind in _KINDS:
        yield from (own[kind]["why"], *(why for _, why in own[kind]["wrong"]))


def _answers(own: Any) -> Iterator[str]:
    """What may be done or said; it may bring new things into a scene."""
    for kind in _KINDS if "action" in own else ():
        yield from (*phrasings(own[kind]["right"]), *(text for text, _ in own[kind]["wrong"]))


def _stems(text: str) -> frozenset[str]:
    said = (word.removesuffix("'s").removesuffix("'") for word in words(text))
    return frozenset(word[:5] for word in said if len(word) >= 5)


def _fixed(text: str) -> frozenset[str]:
    """Words that are there whatever is drawn."""
    return _stems(re.sub(r"\[[^\[\]]*\]|\{\w+\}", " ", text))


@frames
def test_an_item_of_a_frame_passes_every_check(frame: Frame) -> None:
    """Whoever is in it and whatever is drawn: scene, options, and reasoning that ends where the answer is."""
    for one in _eu(frame):
        right, wrong = items.emotion(one["emotion"]), [items.emotion(felt) for felt in one["wrong_emotions"]]
        causes = [items.option(one["cause"]), *map(items.option, one["wrong_causes"])]
        assert (len(wrong), len(causes)) == (5, 4)
        assert items.scene(one["scenario"], one["subject"]) is None, one["scenario"]
        assert 40 <= len(one["scenario"].split()) <= 125
        assert items.emotions(right, wrong) is None, (right, wrong)
        assert items.texts(causes) is None, causes
        assert items.names(one["scenario"], [right, *wrong], (one["subject"],)) is None, one["scenario"]
        assert items.reaches_emotion(one["rationale"], right, wrong) is None, one["rationale"]
        assert right.lower().replace(" & ", " and ") in sentences(one["rationale"])[-1].lower()
        _reasoned(one, (right, *wrong, *causes))


@situations
@pytest.mark.parametrize("kind", _KINDS)
def test_an_item_of_a_situation_passes_every_check(frame: Frame, kind: str) -> None:
    """The same for what to do and what to say."""
    for one in _ea(frame, kind):
        right, wrong = items.option(one["answer"]), [items.option(text) for text in one["wrong"]]
        assert len(wrong) == 3
        assert items.scene(one["scenario"], one["subject"]) is None, one["scenario"]
        assert items.texts([right, *wrong]) is None, (right, wrong)
        assert items.reaches_answer(one["rationale"], right, wrong, one["subject"]) is None, one["rationale"]
        assert len(content(right) & content(one["rationale"])) >= min(2, len(content(right))), one["rationale"]
        _reasoned(one, (right, *wrong))


def _reasoned(one: dict[str, Any], choices: Sequence[str]) -> None:
    found = items.reasoning(one["rationale"], one["scenario"], one["subject"], choices)
    assert found is None or found[0] == "rationale_ungrounded", (found, one["rationale"])
    assert len(sentences(one["rationale"])) >= 3
    for said in one.values():
        for text in [said] if isinstance(said, str) else said:
            assert not re.search(r"[{}\[\]|]|  | [,.;?!]", text), text  # every slot is known, every choice closed


def test_nearly_every_rationale_rests_on_its_scenario() -> None:
    """At most one in a hundred shares too few words with it; the stage asks for that one again."""
    every = [*_drawn_eu(), *_drawn_ea()]
    loose = [one for one in every if items.reasoning(one["rationale"], one["scenario"], one["subject"], ())]
    assert len(loose) <= 0.01 * len(every)


@frames
def test_a_refused_emotion_is_given_its_reason(frame: Frame) -> None:
    """Each single wrong emotion stands in the rationale by its own name."""
    for one in _eu(frame):
        for felt in one["wrong_emotions"]:
            assert " & " in felt or felt.lower() in one["rationale"].lower(), (felt, one["rationale"])


@whole_bank
def test_a_frame_is_told_in_many_ways(frame: Frame) -> None:
    """The same people in it get another scene in most draws."""
    told = [one["scenario"] for one in (_eu(frame) if "cause" in frame.own else _ea(frame, "action"))][:8]
    assert len(set(told)) >= 5


def test_a_choice_is_drawn_once_for_an_item() -> None:
    """What the scene shows is what the reasoning speaks of: by its number in other words, without one in the same."""
    for seed in range(20):
        values: dict[str, str] = {}
        scene = fill("[1=a cup|a pipe] and [a hat|a shoe]", values, Dice(seed))
        said = fill("[1=the cup|the pipe] and [a hat|a shoe]", values, Dice(seed + 1))
        assert said == re.sub("^a", "the", scene)


def test_a_slot_that_holds_a_choice_is_drawn_once() -> None:
    """Wherever it stands; the slot's own text is no reason to draw again."""
    for seed in range(20):
        values = {"thing": "a [red|blue] [cup|[tin |]box]"}
        assert fill("{thing}", values, Dice(seed)) == fill("{thing}", values, Dice(seed + 1))


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{S} left[| early].", "Tilda left."),
        ("{S} left[| early].", "The old Frog left early."),
        ("[|so ]{he} took [a cup|[an old|a new] pipe]", "He took an old pipe"),
        ("(why?) [1=not|now] {o}", "(Why?) now the Fox"),
        ("{he} [|soon] left", "she left"),
    ],
)
def test_a_text_of_the_bank_is_known_again(text: str, made: str) -> None:
    """Whatever was left out or stood inside what was chosen."""
    assert pattern(text).fullmatch(made)


def test_a_frame_is_recognised_in_what_was_made_of_it() -> None:
    """By its words alone, and nothing else is taken for one."""
    assert all(recognised("eu", one["scenario"]) == frame for frame in understanding() for one in _eu(frame))
    assert all(recognised("ea", one["scenario"]) == frame for frame in application() for one in _ea(frame, "response"))
    assert recognised("eu", "Xylophones zigzag.") is None


@pytest.mark.parametrize(
    ("mention", "story", "she"),
    [
        ("the Hen", "", True),
        ("Jupiter", "Juno came. Jupiter saw her, and she smiled.", False),
        ("Irene", "Irene put down her bag. He waited.", True),
        ("the Fox", "The Fox lost his tail.", False),
        ("Tilda", "", True),
    ],
)
def test_a_person_is_he_or_she_by_name_kind_or_story(mention: str, story: str, she: bool) -> None:
    """In that order; where nothing tells, he."""
    assert person(mention, story).she == she


# What gives nothing away ----------------------------------------------------------------------------------------------

RIGHT = ("the key was hers", "the key that was found had been hers", "the key that the two of them found had been hers")
OTHERS = (
    "the lock was old by then",
    "a neighbour heard them",
    "nobody had asked for leave that day",
    "the door had been left open for two nights",
    "somebody was to take away whatever still lay in there",
)


def test_the_right_option_has_every_rank_by_length_equally_often() -> None:
    """With phrasings of three lengths: longest, second, third and shortest, a quarter each; never of unlike length."""
    some = sets(Filled("", RIGHT, OTHERS))
    ranked = [one.apart[:3] for one in some]
    weights, ranks = fitted([(1.0, ranked)]), Counter[int]()
    for seed in range(2000):
        one = drawn(some, ranked, weights, Dice(seed))
        sizes = [len(one.right), *(len(OTHERS[place]) for place in one.wrong)]
        assert max(sizes) <= 3 * min(sizes)
        ranks[sum(size > sizes[0] for size in sizes)] += 1
    assert set(ranks) == set(range(4))
    assert all(abs(count / 2000 - 0.25) < 0.04 for count in ranks.values()), ranks


def test_what_cannot_be_even_in_one_frame_is_even_over_the_bank() -> None:
    """A frame whose right option always has a comma more is made up for by the others, which vary as much as they can."""
    bank = [(1.0, [[1.0]]), (2.0, [[-1.0], [0.0], [1.0], [0.0]])]
    weights = fitted(bank)
    won = Counter(drawn([-1.0, 0.0, 1.0, 0.0], bank[1][1], weights, Dice(seed)) for seed in range(3000))
    assert abs(1.0 + 2 * (won[1.0] - won[-1.0]) / 3000) < 0.1
    assert min(won.values()) > 100


def test_where_nothing_can_be_even_a_set_is_drawn_all_the_same() -> None:
    """A bank of one frame with one thing always in its right option leaves its weights finite."""
    weights = fitted([(1.0, [[1.0], [2.0]])])
    assert drawn(["near", "far"], [[1.0], [2.0]], weights, Dice(1)) == "near"


REFUSED = [["Joy", "Pride", "Excitement"], ["Anger", "Envy"], ["Disappointment", "Boredom"]]


@pytest.mark.parametrize("right", ["Relief", "Relief & Remorse"])
def test_emotions_are_six_of_one_kind_and_the_other(right: str) -> None:
    """None twice, some that share a part with the right one, and the right one not alone of its kind."""
    shared = 0
    for seed in range(300):
        felt, wrong = emotions(right, REFUSED, [0.0] * 8, Dice(seed))
        assert frozenset(felt.split(" & ")) == frozenset(right.split(" & "))
        assert items.emotions(felt, wrong) is None, (felt, wrong)
        assert len(wrong) == 5
        shared += any(set(felt.split(" & ")) & set(one.split(" & ")) for one in wrong)
    assert shared >= 45


@by_corpus
def test_no_rank_by_length_is_right_much_more_often_than_chance(corpus: Any) -> None:
    """For emotions, causes and answers, within three standard errors: six points of a quarter over the fables."""
    for name, count in CUES.items():
        shares = _ranks(_questions(corpus(), name))
        error = (1 / count * (1 - 1 / count) / len(_questions(corpus(), name))) ** 0.5
        assert np.abs(shares - 1 / count).max() <= 3 * error, (name, shares.round(3))


CUES = {"emotion": 6, "cause": 4, "answer": 4}


def _ranks(questions: Sequence[Question]) -> Any:
    """How often the longest, the second, ... the shortest is right; those of one length share."""
    counts = np.zeros(len(questions[0].options))
    for one in questions:
        sizes = np.array([len(text) for text in one.options])
        more, same = (sizes > sizes[one.right]).sum(), (sizes == sizes[one.right]).sum()
        counts[more : more + same] += 1 / same
    return counts / len(questions)


@pytest.mark.parametrize("name", CUES)
def test_the_right_option_cannot_be_told_without_the_scene(name: str) -> None:
    """Neither by one thing that can be seen of the options nor by all of them weighed is chance beaten by five points.

    Over the bundled corpora told three times: on three hundred items chance itself is two points off.
    """
    questions, chance = [one for seed in (1, 2, 3) for one in _questions(bundled(seed), name)], 1 / CUES[name]
    assert learnt(questions) <= chance + 0.05
    assert singles(questions).max() <= chance + 0.05


def _questions(told: Told, name: str) -> list[Question]:
    """As the stage shows them: the right one where it was dealt."""
    if name == "answer":
        rows: list[EaItem] = told.rows("mcq_ea")
        return [Question(row.choices, row.choices.index(row.label), row.source_id) for row in rows]
    asked: list[EuItem] = told.rows("mcq_eu")
    if name == "cause":
        return [Question(one.cause_choices, one.cause_choices.index(one.cause_label), one.source_id) for one in asked]
    return [Question(one.emotion_choices, one.emotion_choices.index(one.emotion_label), one.source_id) for one in asked]


# Whole runs -----------------------------------------------------------------------------------------------------------


@by_corpus
def test_hardly_any_item_is_rejected(corpus: Any) -> None:
    """The stages accept all that they ask for, the solver agrees with nineteen in twenty."""
    told = corpus()
    for name in ("mcq_eu", "mcq_ea", "solve"):
        ended = Counter(outcome.accepted for *_, outcome in told.units[name])
        assert ended[True] >= (0.95 if name == "solve" else 0.99) * ended.total(), (name, ended)


def test_the_fables_give_two_hundred_items_of_each_kind() -> None:
    """Solved ones, after all repairs."""
    kinds = Counter(row.kind for row in fables().rows("solve"))
    assert kinds["eu"] >= 200
    assert kinds["ea"] >= 200


@by_corpus
def test_items_do_not_repeat_each_other(corpus: Any) -> None:
    """No two of a hundred scenarios share 0.8 of their runs of five words."""
    rows: list[EuItem | EaItem] = [*corpus().rows("mcq_eu"), *corpus().rows("mcq_ea")]
    runs = [_runs(words(row.scenario)) for row in rows]
    near = {b for (_, a), (b, other) in combinations(enumerate(runs), 2) if len(a & other) >= 0.8 * len(a | other)}
    assert len(near) <= 0.01 * len(rows)


def _runs(tokens: list[str]) -> frozenset[str]:
    return frozenset(" ".join(tokens[at : at + 5]) for at in range(len(tokens) - 4))


@by_corpus
def test_rationales_take_many_forms(corpus: Any) -> None:
    """At least twelve ways to go, none in more than a fifth of the items, and hardly two that open alike."""
    for name, shapes in (("mcq_eu", SHAPES), ("mcq_ea", APPLIED)):
        rows = corpus().rows(name)
        assert len(shapes) >= 12
        opened = Counter(items.opening(row.rationale, row.subject) for row in rows)
        assert len(opened) >= 40
        assert max(opened.values()) <= 0.2 * len(rows), opened.most_common(3)


def test_every_frame_is_used_about_as_often_as_the_others() -> None:
    """Over the fables: none is left out, none comes twice as often as is its share and once more."""
    for kind, bank in (("eu", understanding()), ("ea", application())):
        found = [recognised(kind, row.scenario) for row in fables().rows(f"mcq_{kind}")]
        counts = [sum(one is frame for one in found) for frame in bank]
        assert min(counts) >= 1, counts
        assert max(counts) <= 2 * len(found) / len(bank) + 1, counts


def test_units_of_any_numbering_go_round_the_ring() -> None:
    """By numbered sources or numbered passages of one source; ids without a number are drawn by lot."""
    for ids in ([f"tale-{n:03}.p1.a2.d" for n in range(80)], [f"novel.p{n}.a1.d" for n in range(80)]):
        assert set(Counter(turn(one, "visual", 0.5, 8) for one in ids).values()) == {10}
    assert len({turn(f"{letter}.p.a", "visual", 0.5, 8) for letter in "abcdefghijklmnopqrstuvwxyz"}) == 8


# Solving --------------------------------------------------------------------------------------------------------------


def _votes(told: Told, blind: bool) -> Iterator[bool]:
    """Whether each answer of the solver was right."""
    for row, requests, replies, _ in told.units["solve"]:
        for request, reply in zip(requests, replies, strict=True):
            if (request.fields["scenario"] == "(not given)") == blind:
                yield _is_right(row.item, request.fields, json.loads(reply))


def _is_right(item: EuItem | EaItem, fields: dict[str, str], said: dict[str, str]) -> bool:
    def text(listed: str, letter: str) -> str:
        return dict(line.split(". ", 1) for line in fields[listed].splitlines())[letter]

    if isinstance(item, EaItem):
        return text("choices", said["answer"]) == item.label
    felt, cause = text("emotions", said["emotion"]), text("causes", said["cause"])
    return (felt, cause) == (item.emotion_label, item.cause_label)


@by_corpus
def test_the_solver_is_right_nineteen_times_in_twenty(corpus: Any) -> None:
    """From scene and options alone, in whatever order these stand."""
    votes = list(_votes(corpus(), blind=False))
    assert 0.92 <= sum(votes) / len(votes) <= 0.98


@by_corpus
def test_without_the_scene_the_solver_guesses(corpus: Any) -> None:
    """It does not use what it knows of the bank: it is right as often as somebody who draws lots."""
    votes = list(_votes(corpus(), blind=True))
    assert sum(votes) / len(votes) <= 0.25


@situations
@pytest.mark.parametrize("kind", _KINDS)
def test_the_solver_knows_every_phrasing(frame: Frame, kind: str) -> None:
    """Short, middling or long, with the wrong ones before it, nineteen times in twenty."""
    people, own = PEOPLE[1], frame.own
    for right in phrasings(own[kind]["right"]):
        won = 0
        for seed in range(20):
            dice = Dice("phrasing", seed)
            values = people | frame.slots(dice)
            scenario = " ".join(fill(text, values, dice) for text in own["scene"])
            shown = [*(text for text, _ in own[kind]["wrong"][:3]), right]
            told = [items.option(fill(text, values, dice)) for text in shown]
            choices = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", told, strict=True))
            fields = {"scenario": scenario, "kind": kind, "choices": choices}
            won += solve(fields, Dice(seed))["answer"] == "D"
        assert won >= 13, right


@by_corpus
def test_both_kinds_are_solved(corpus: Any) -> None:
    """Rows of both kinds, each with its own kind of votes."""
    rows: list[Solved] = corpus().rows("solve")
    assert {row.kind for row in rows} == {"eu", "ea"}
    assert all(len(row.eu_votes) == 3 * (row.kind == "eu") for row in rows)


def test_the_weights_that_are_stored_are_those_of_the_bank_as_it_stands() -> None:
    """After a change of situations `python tests/engines/weigh.py` writes them anew."""
    for kind, values in weigh.weighed().items():
        assert weights()[kind] == pytest.approx(values, abs=0.005), kind
