"""Facts about the solver: what it sees, how its votes are counted, and which items it throws away."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import orjson
import pytest

from factory.prompts import load
from factory.records import EaItem, EuItem, Question, Solved, Vote
from factory.requests import Identity, Reply, Request, key
from factory.stages import Asking, Outcome
from factory.stages.solve import BLIND, Solves

BOOK = load(["solve_eu", "solve_ea", "repair"])
SCENARIO = "Joy set the lamp on the step, knocked, and ran behind the wall."
RATIONALE = "She runs, so she believes that she deserves no thanks."
EU = EuItem(
    id="d.eu1", source_id="t", passage_id="t.p1", dialogue_id="d", actor="Joy", coarse_category="perspective_taking",
    finegrained_category="faux_pas", scenario=SCENARIO, subject="Joy",
    emotion_choices=("Anger", "Remorse", "Pride", "Envy", "Boredom", "Fear & Joy"), emotion_label="Remorse",
    emotion="remorse", cause_choices=("She ran", "She kept it", "She lost it", "She sold it"), cause_label="She kept it",
    rationale=RATIONALE, seed=1,
)  # fmt: skip
EA = EaItem(
    id="d.ea1", source_id="t", passage_id="t.p1", dialogue_id="d", actor="Joy", category="Social-Self",
    question_type="Response", scenario=SCENARIO, subject="Joy", choices=("I had it", "Who knows", "Not me", "Ask Anke"),
    label="I had it", rationale=RATIONALE, seed=1,
)  # fmt: skip
ITEMS = pytest.mark.parametrize("item", [EU, EA], ids=["eu", "ea"])
Choose = Callable[
    [Request, int], dict[str, str]
]  # (request, how many were asked before it) -> field -> text of a choice


def letters(request: Request, chosen: dict[str, str]) -> dict[str, str]:
    """The letters under which these texts stand in the request."""
    shown = {"emotion": "emotions", "cause": "causes", "answer": "choices"}
    lines = {
        name: dict(reversed(line.split(". ", 1)) for line in request.fields[shown[name]].splitlines())
        for name in chosen
    }
    return {name: lines[name][text] for name, text in chosen.items()}


def right(request: Request, number: int = 0) -> dict[str, str]:
    return {"answer": "I had it"} if "kind" in request.fields else {"emotion": "Remorse", "cause": "She kept it"}


def wrong(request: Request, number: int = 0) -> dict[str, str]:
    return {"answer": "Not me"} if "kind" in request.fields else {"emotion": "Remorse", "cause": "She ran"}


def reads(request: Request, number: int = 0) -> dict[str, str]:
    """Right where there is something to read."""
    return wrong(request) if request.fields["scenario"] == BLIND else right(request)


def solved(item: EuItem | EaItem, choose: Choose, **settings: Any) -> tuple[list[Request], Outcome]:
    """What was asked, and how the unit ended."""
    (question,) = Solves().feed(None, [item])  # type: ignore[arg-type]
    talk, asked = Solves(**settings).talk(question, Asking(book=BOOK), 0), []
    try:
        request = next(talk)
        while True:
            asked.append(request)
            chosen = letters(request, choose(request, len(asked) - 1))
            request = talk.send(Reply(text=orjson.dumps(chosen).decode()))
    except StopIteration as end:
        return asked, end.value


@ITEMS
def test_the_solver_sees_neither_rationale_nor_label(item: EuItem | EaItem) -> None:
    """Nothing but the scenario, the subject and the options reaches it."""
    asked, _ = solved(item, reads)
    for request in asked:
        text = "\n".join(message.content for message in request.messages)
        assert RATIONALE not in text and "perspective_taking" not in text and "Social-Self" not in text
        assert set(request.fields) - {"scenario", "subject", "emotions", "causes", "kind", "choices"} == set()


@ITEMS
def test_an_item_that_is_solved_each_time_is_kept_with_its_votes(item: EuItem | EaItem) -> None:
    """Three votes as the texts of choices; one blind answer, which was wrong, so there are no more."""
    asked, outcome = solved(item, reads)
    (row,) = outcome.rows
    assert isinstance(row, Solved)
    assert (row.id, row.dialogue_id, row.agreement, row.blind) == (item.id, "d", 1.0, 0.0)
    assert row.eu_votes == ((Vote("Remorse", "She kept it"),) * 3 if item is EU else ())
    assert row.ea_votes == (("I had it",) * 3 if item is EA else ())
    assert [request.fields["scenario"] for request in asked] == [SCENARIO] * 3 + [BLIND]


@ITEMS
@pytest.mark.parametrize(
    ("good", "agreement", "kept"), [(3, 0.67, True), (2, 0.67, True), (1, 0.67, False), (2, 0.7, False), (0, 0.0, True)]
)
def test_an_item_is_kept_from_the_agreement_on(item: EuItem | EaItem, good: int, agreement: float, kept: bool) -> None:
    """Two of three is 0.67 in hundredths; EU needs emotion and cause both."""

    def choose(request: Request, number: int) -> dict[str, str]:
        return right(request) if number < good else wrong(request)

    _, outcome = solved(item, choose, agreement=agreement)
    assert outcome.accepted == kept
    assert kept or outcome.reason == "solver_disagrees"
    assert not kept or outcome.rows[0].agreement == good / 3


@ITEMS
def test_what_the_solver_chose_instead_is_said(item: EuItem | EaItem) -> None:
    """The reject names the right option and the votes, and asks nothing without the scenario."""
    asked, outcome = solved(item, wrong)
    assert "Not me; Not me; Not me" in outcome.detail or outcome.detail.count("Remorse (She ran)") == 3
    assert len(asked) == 3


@ITEMS
def test_an_item_that_is_right_each_time_without_the_scenario_is_thrown_away(item: EuItem | EaItem) -> None:
    """Then the options alone give the answer away."""
    asked, outcome = solved(item, right)
    assert outcome.reason == "answerable_without_reading"
    assert [request.fields["scenario"] for request in asked] == [SCENARIO] * 3 + [BLIND] * 3


@ITEMS
@pytest.mark.parametrize("lucky", [1, 2])
def test_luck_without_the_scenario_is_no_shortcut(item: EuItem | EaItem, lucky: int) -> None:
    """The first wrong blind answer ends the question; what was right before it is kept as a share."""

    def choose(request: Request, number: int) -> dict[str, str]:
        return right(request) if number < 3 + lucky else wrong(request)

    asked, outcome = solved(item, choose)
    assert outcome.accepted and len(asked) == 3 + lucky + 1
    assert outcome.rows[0].blind == lucky / 3


@ITEMS
def test_each_vote_is_on_another_order_of_the_options(item: EuItem | EaItem) -> None:
    """With as many shuffles as options every option has stood at every letter once; later orders are drawn anew."""
    shown = "emotions" if item is EU else "choices"
    count = 6 if item is EU else 4
    asked, _ = solved(item, reads, shuffles=count)
    orders = [[line[3:] for line in request.fields[shown].splitlines()] for request in asked[:count]]
    assert all(len({order[place] for order in orders}) == count for place in range(count))


@ITEMS
def test_the_same_item_is_asked_the_same_way_every_time(item: EuItem | EaItem) -> None:
    """Orders are drawn from item and seed, and every request has a key of its own."""
    identity = Identity(engine="toy", model="toy")
    one, other = ([key(identity, r) for r in solved(item, reads)[0]] for _ in range(2))
    assert one == other and len(set(one)) == len(one)
    assert one != [key(identity, r) for r in solved(item, reads, seed=9)[0]]


def test_the_solver_is_greedy_and_says_letters_only() -> None:
    """Temperature 0 and room for two letters; the schema holds the letters that there are."""
    asked, _ = solved(EU, reads)
    assert (asked[0].sampling.temperature, asked[0].sampling.max_tokens) == (0.0, 40)
    properties = orjson.loads(asked[0].schema)["properties"]
    assert (properties["emotion"]["enum"], properties["cause"]["enum"]) == (list("ABCDEF"), list("ABCD"))
    assert solved(EA, reads)[0][0].fields["kind"] == "response"


def test_a_vote_that_cannot_be_read_rejects_the_item_with_its_reason() -> None:
    """It is no vote, neither right nor wrong."""
    talk = Solves().talk(Question(id=EA.id, item=EA), Asking(book=BOOK, repairs=1), 0)
    next(talk)
    talk.send(Reply(text='{"answer": "E"}'))
    with pytest.raises(StopIteration) as end:
        talk.send(Reply(text="no idea"))
    assert (end.value.value.reason, end.value.value.repairs) == ("not_json", 1)


def test_solved_items_are_told_by_their_ids() -> None:
    """The unit is the item: same id, same parents."""
    (row,) = solved(EU, reads)[1].rows
    shared = {f.name for f in fields(EuItem)} & {f.name for f in fields(Solved)}
    assert all(getattr(row, name) == getattr(EU, name) for name in shared)
