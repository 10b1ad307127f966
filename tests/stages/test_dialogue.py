"""Facts about background and dialogue: who becomes a client, how the agents take turns, and what ends a talk."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import combinations
from typing import Any

import orjson
import pytest

from factory.prompts import load
from factory.records import Actor, Background, Case, Dialogue, Fault, Passage
from factory.requests import Identity, Reply, Request, draw, key
from factory.stages import Asking, Outcome
from factory.stages.background import AXES, Backgrounds, Said, axes
from factory.stages.dialogue import CLIENT, CLOSING, COUNSELLOR, PHASES, SUPERVISOR, Dialogues

BOOK = load(["background", "client", "counsellor", "supervisor", "repair"])
IDENTITY = Identity(engine="toy", model="toy")
STORY = "Mara found the lamp by the well and kept it, though Tobias had lost it there."
PASSAGE = Passage(id="t.p1", source_id="t", index=0, text=STORY)
MARA = Actor(id="t.p1.a1", source_id="t", passage_id="t.p1", name="Mara", line="keeps a lamp")
YES = dict.fromkeys(("scenario_clear", "emotions_present", "causes_present", "dilemma_present", "rich_enough"), True)
OPENING = "I took the lamp home under my coat, and my hand would not let go of it at the door."
AGENTS = {agent.fields: agent for agent in (CLIENT, COUNSELLOR, SUPERVISOR)}


def _case(index: int = 0, text: str = "Mara keeps the lamp.") -> Case:
    background = Background(
        id="t.p1.a1.b", source_id="t", passage_id="t.p1", actor_id=MARA.id, actor="Mara", line=MARA.line,
        text=text, seed=1, **axes(index, 0, 0),
    )  # fmt: skip
    return Case(id="t.p1.a1.b.d", passage=replace(PASSAGE, index=index), actor=MARA, number=0, background=background)


COUNTED = [
    f"{tens}{ones}" for tens in ("", "twenty-", "forty-", "sixty-") for ones in "one two three four five six".split()
]
Answers = Callable[[Request, int], Any]  # (request, how many were asked before it) -> what is said


def spoken(request: Request, number: int) -> Any:
    """A sentence that nobody has said before, long enough to open a talk with; the supervisor is never content."""
    if AGENTS[frozenset(request.fields)] is SUPERVISOR:
        return YES | {"rich_enough": False}
    count = COUNTED[number]
    return {"text": f"Past gate {count} and up {count} steps, {count} of them broken, I carried it at {count}."}


def content_at(turns: int) -> Answers:
    """The same, and the supervisor has enough after so many turns."""

    def answer(request: Request, number: int) -> Any:
        said = spoken(request, number)
        talk = request.fields["talk"].splitlines()
        return YES if "rich_enough" in said and len(talk) >= turns else said

    return answer


def held(answer: Answers, turns: int = 14, repairs: int = 2, case: Case | None = None) -> tuple[list[Request], Outcome]:
    """What was asked, and how the unit ended."""
    talk, asked = Dialogues(turns=turns).talk(case or _case(), Asking(book=BOOK, repairs=repairs), 0), []
    try:
        request = next(talk)
        while True:
            asked.append(request)
            request = talk.send(Reply(text=orjson.dumps(answer(request, len(asked))).decode()))
    except StopIteration as end:
        return asked, end.value


def who(asked: Iterable[Request]) -> str:
    """One letter for each request: the agent that was asked."""
    return "".join(AGENTS[frozenset(request.fields)].prompt[:2] for request in asked)


def dialogue(outcome: Outcome) -> Dialogue:
    (row,) = outcome.rows
    assert isinstance(row, Dialogue)
    return row


def test_the_client_begins_and_the_supervisor_judges_after_the_client_from_the_third_turn() -> None:
    """Client, counsellor, client, a verdict, and so on; none where only a closing fits in, which is the last message."""
    asked, outcome = held(spoken, turns=8)
    assert who(asked) == "clcocl" + "su" + "cocl" + "su" + "cocl" + "co"
    assert [turn.role for turn in dialogue(outcome).turns] == ["client", "counsellor"] * 4
    assert dialogue(outcome).stop_reason == "most_turns"


@pytest.mark.parametrize("turns", [4, 6, 12])
def test_a_content_supervisor_ends_the_talk(turns: int) -> None:
    """As soon as all five answers are yes the counsellor closes, and nobody is asked after that."""
    asked, outcome = held(content_at(turns - 1))
    assert (len(dialogue(outcome).turns), dialogue(outcome).stop_reason) == (turns, "supervisor")
    assert asked[-1].fields["phase"] == CLOSING


@pytest.mark.parametrize("missing", YES)
def test_four_of_five_are_not_enough(missing: str) -> None:
    """One false of the supervisor, whichever it is, and the talk goes on."""

    def answer(request: Request, number: int) -> Any:
        said = spoken(request, number)
        return YES | {missing: False} if "rich_enough" in said else said

    assert dialogue(held(answer, turns=6)[1]).stop_reason == "most_turns"


@pytest.mark.parametrize("turns", [4, 5, 13, 14])
def test_a_talk_has_at_most_so_many_turns(turns: int) -> None:
    """Of an odd number one stays unused: a question without its answer is no place to end."""
    talk = dialogue(held(spoken, turns=turns)[1])
    assert len(talk.turns) == turns - turns % 2
    assert talk.turns[-1].role == "counsellor"


def test_a_closing_that_asks_is_asked_for_again() -> None:
    """A question mark in it is named in the repair; in the questions before it stands freely."""

    def asks(once: bool) -> Answers:
        def answer(request: Request, number: int) -> Any:
            said = spoken(request, number)
            if "phase" not in request.fields or (once and request.repair):
                return said
            return {"text": said["text"].rstrip(".") + ", and what then?"}

        return answer

    asked, outcome = held(asks(once=True), turns=6)
    assert outcome.accepted and "?" not in dialogue(outcome).turns[-1].text
    (repaired,) = [request for request in asked if request.repair]
    assert repaired.fields["phase"] == CLOSING and "closing_asks" in repaired.messages[-1].content
    _, rejected = held(asks(once=False), turns=6)
    assert (rejected.reason, rejected.repairs) == ("closing_asks", 2)


def test_each_agent_sees_its_own_window_of_the_talk() -> None:
    """The client six turns and its background, the counsellor eight and a phase, for the closing all; the supervisor all."""
    asked, _ = held(spoken, turns=14)
    seen: dict[str, list[int]] = {"client": [], "counsellor": [], "supervisor": []}
    for request in asked:
        seen[AGENTS[frozenset(request.fields)].prompt].append(len(request.fields["talk"].splitlines()))
    assert seen["client"] == [0, 2, 4, 6, 6, 6, 6]
    assert seen["counsellor"] == [1, 3, 5, 7, 8, 8, 13]
    assert seen["supervisor"] == [3, 5, 7, 9, 11]


def test_the_counsellor_goes_through_three_phases_and_closes() -> None:
    """Facts at the second turn, beliefs at the fourth, then other views; the last message is the closing."""
    phases = [request.fields["phase"] for request in held(spoken, turns=10)[0] if "phase" in request.fields]
    assert phases == [PHASES[0], PHASES[1], PHASES[2], PHASES[2], CLOSING]


def test_the_talk_is_shown_with_the_roles_of_its_turns() -> None:
    """One line a turn; the client's manner goes by the axes that were dealt."""
    asked, outcome = held(spoken, turns=4)
    first, second, *_ = dialogue(outcome).turns
    assert asked[2].fields["talk"] == f"Client: {first.text}\nCounsellor: {second.text}"
    background = _case().background
    assert background is not None
    assert asked[0].fields["manner"].splitlines() == [
        f"- coping style: {background.coping}", f"- communication style: {background.communication}"
    ]  # fmt: skip


def test_agents_are_drawn_each_in_its_own_way() -> None:
    """Temperatures and limits of EC2ER's agents."""
    drawn = {who([r]): (r.sampling.temperature, r.sampling.max_tokens) for r in held(spoken, turns=6)[0]}
    assert drawn == {"cl": (0.8, 200), "co": (0.7, 200), "su": (0.3, 120)}


def test_every_question_of_a_talk_has_a_key_of_its_own() -> None:
    """Also where an agent says the same again and again: seeds differ by turn, so no reply is taken for another."""

    def parrot(request: Request, number: int) -> Any:
        return (
            spoken(request, number) if len(request.fields) == 2 else {"text": f"Yes, at the well, {number % 8}, I say."}
        )

    for answer in (spoken, parrot):
        asked, _ = held(answer, turns=14)
        keys = [key(IDENTITY, request) for request in asked]
        assert len(keys) == len(set(keys))
        assert len({request.sampling.seed for request in asked}) == len(asked)


def test_a_talk_killed_anywhere_goes_on_without_asking_a_turn_twice() -> None:
    """Replies are remembered by key; whatever was answered before the kill is not asked again, and the rows are the same."""
    remembered: dict[str, Any] = {}
    whole, wanted = held(content_at(7))
    for kill in range(len(whole)):
        remembered, paid = {}, Counter[str]()
        talk = Dialogues().talk(_case(), Asking(book=BOOK), 0)
        request = next(talk)
        for number in range(kill):
            name = key(IDENTITY, request)
            paid[name] += 1
            remembered[name] = content_at(7)(request, number + 1)
            request = talk.send(Reply(text=orjson.dumps(remembered[name]).decode()))
        talk.close()

        def again(request: Request, number: int, paid: Counter[str] = paid, said: dict[str, Any] = remembered) -> Any:
            name = key(IDENTITY, request)
            if name not in said:
                paid[name] += 1
                said[name] = content_at(7)(request, number)
            return said[name]

        _, outcome = held(again)
        assert outcome == wanted
        assert set(paid.values()) == {1} and len(paid) == len(whole)


BAD_TURNS = {
    "too_short": ("Yes.", "client"),
    "too_long": ("and on " * 61, "counsellor"),
    "prompt_echo": ("Client: I went home that night. Counsellor: And what did you see there then?", "client"),
    "not_first_person": ("Mara was standing at the well that night, and nobody came to fetch her home.", "client"),
    "names_emotion": ("I am so angry about the lamp that I cannot sleep, and Tobias says nothing at all.", "client"),
    "meta": ("I do what the prompt asks of me, and I carried the lamp all the way home then.", "counsellor"),
    "refusal": (
        "I'm sorry, but I can't help with that request; as an AI I cannot continue the role-play.",
        "counsellor",
    ),
}


@pytest.mark.parametrize(("reason", "bad"), BAD_TURNS.items())
def test_a_bad_turn_is_asked_for_again_and_named(reason: str, bad: tuple[str, str]) -> None:
    """The repair says what was wrong; one that stays bad rejects the unit with its reason."""
    text, role = bad

    def once(request: Request, number: int) -> Any:
        mine = "manner" in request.fields if role == "client" else "phase" in request.fields
        return {"text": text} if mine and request.repair == 0 and number <= 2 else spoken(request, number)

    def always(request: Request, number: int) -> Any:
        mine = "manner" in request.fields if role == "client" else "phase" in request.fields
        return {"text": text} if mine else spoken(request, number)

    asked, outcome = held(once, turns=4)
    assert outcome.accepted and outcome.repairs == 1
    (repaired,) = [request for request in asked if request.repair]
    assert reason in repaired.messages[-1].content
    _, rejected = held(always, turns=4)
    assert (rejected.accepted, rejected.reason, rejected.repairs) == (False, reason, 2)
    assert rejected.raw and orjson.loads(rejected.raw)["text"] == text


STRANGE_TURNS = {
    "the client's label": ("prompt_echo", "Patient: I carried the lamp past the gate and up the steps."),
    "the American label": ("prompt_echo", "Counselor: What did the neighbours see of it that night?"),
    "a therapist in the middle": ("prompt_echo", "I carried it home. **Therapist**: And what came next?"),
    "a short label": ("prompt_echo", "Me: I carried the lamp past the gate and up the steps."),
    "a label after a sentence": ("prompt_echo", "I carried it home. User: And what came next that night?"),
    "the actor as a label": ("prompt_echo", "Mara: I carried the lamp past the gate and up the steps."),
    "a token of a template": ("prompt_echo", "I carried the lamp past the gate and up the steps.<|im_end|>"),
    "a tag": ("prompt_echo", "I carried the <b>lamp</b> past the gate and up the steps."),
    "an instruction's tag": ("prompt_echo", "[INST] I carried the lamp past the gate and up the steps."),
    "a sigh between stars": ("stage_direction", "*sighs* I carried the lamp past the gate and up the steps."),
    "a pause in square brackets": ("stage_direction", "I carried the lamp [pauses] past the gate and up the steps."),
    "a pause in round ones": ("stage_direction", "I carried the lamp (long pause) past the gate and up the steps."),
    "another script": ("other_script", "Я отнесла лампу домой мимо ворот, и никто меня не видел."),
}


@pytest.mark.parametrize(("reason", "text"), STRANGE_TURNS.values(), ids=STRANGE_TURNS)
def test_what_is_not_said_is_no_message(reason: str, text: str) -> None:
    """Labels, markup, stage directions and other scripts, at the client's second message."""
    _, outcome = held(lambda request, n: {"text": text} if n == 3 else spoken(request, n), turns=4, repairs=0)
    assert outcome.reason == reason


PLAIN_TURNS = (
    "What he told me: nobody had seen the lamp there.",
    "He asked me: where is it? I told you: at the well.",
    "I was alone (as I often am) when the café shut, naïve as that is.",
)


@pytest.mark.parametrize("text", PLAIN_TURNS)
def test_colons_brackets_and_accents_may_be_said(text: str) -> None:
    """None of them is a label, a stage direction or another script."""
    asked, _ = held(lambda request, n: {"text": text} if n == 3 else spoken(request, n), turns=4)
    assert not [request for request in asked if request.repair]


def test_a_story_in_another_script_may_be_talked_about_in_it() -> None:
    """Only where the passage is in Latin letters are others strange."""
    case = _case()
    case = replace(case, passage=replace(case.passage, text="Мара нашла лампу у колодца и оставила её себе."))
    text = STRANGE_TURNS["another script"][1]
    _, outcome = held(
        lambda request, n: {"text": text} if n == 3 else spoken(request, n), turns=4, case=case, repairs=0
    )
    assert outcome.accepted


def test_a_turn_with_another_number_in_it_is_a_repetition() -> None:
    """Of what the same one said at any time before; the other one may take up the words."""

    def counts(request: Request, number: int) -> Any:
        said = spoken(request, number)
        mine = "manner" in request.fields and number > 1
        return {"text": f"That is gate number {number} of the many that I passed."} if mine else said

    assert held(counts, turns=6, repairs=0)[1].accepted is False
    assert held(counts, turns=6, repairs=0)[1].reason == "repeated_turn"

    def echoes(request: Request, number: int) -> Any:
        told = {
            3: "That is gate number seven of the many that I passed.",
            5: "That is gate number eight of the many you passed?",
        }
        return {"text": told[number]} if number in told else spoken(request, number)

    assert held(echoes, turns=6, repairs=0)[1].accepted


def test_a_turn_in_the_words_of_an_earlier_one_is_a_repetition() -> None:
    """Whoever of the two said it."""
    _, outcome = held(lambda request, number: {"text": OPENING}, repairs=0)
    assert outcome.reason == "repeated_turn"


def test_after_the_opening_a_client_may_find_a_word_for_it() -> None:
    """Only the first message must show and not name; later the counsellor may have asked for the word."""

    def answer(request: Request, number: int) -> Any:
        return {"text": "I was ashamed of it, I think, when he said so."} if number == 3 else spoken(request, number)

    asked, _ = held(answer, turns=4)
    assert not [request for request in asked if request.repair]


def test_an_unreadable_verdict_rejects_the_talk_with_its_reason() -> None:
    """It is no verdict, neither yes nor no."""

    def answer(request: Request, number: int) -> Any:
        said = spoken(request, number)
        return {"enough": "yes"} if "rich_enough" in said else said

    _, outcome = held(answer, turns=8, repairs=1)
    assert (outcome.reason, outcome.repairs) == ("schema", 1)


def test_a_dialogue_keeps_its_background_and_belongs_to_its_actor() -> None:
    """Parents are fields; the id grows out of the background's."""
    (case,) = Dialogues().feed(_case(), [_background("Mara keeps the lamp.")])
    _, outcome = held(content_at(3), case=case)
    row = dialogue(outcome)
    assert (row.id, row.background, row.actor_id, row.actor) == (
        "t.p1.a1.b.d", "Mara keeps the lamp.", "t.p1.a1", "Mara"
    )  # fmt: skip


LONG = " ".join(["Mara keeps the lamp that she found by the well, and Tobias goes on looking for it."] * 8)


def _background(text: str) -> Background:
    found = _case(text=text).background
    assert found is not None
    return found


def _person(index: int = 0) -> Case:
    return Case(id="t.p1.a1.b", passage=replace(PASSAGE, index=index), actor=MARA, number=0)


def test_a_background_holds_the_axes_that_were_asked_for() -> None:
    """The seven lines of the request are the seven columns of the row."""
    (row,) = Backgrounds().rows(_person(5), Said(background=LONG))
    assert isinstance(row, Background)
    lines = [line.partition(": ")[2] for line in Backgrounds().ask(_person(5))["axes"].splitlines()]
    assert lines == [getattr(row, name) for name in AXES]
    assert (row.id, row.text, row.actor) == ("t.p1.a1.b", LONG, "Mara")


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("too_short", "Mara keeps the lamp."),
        ("too_long", LONG * 8),
        ("actor_missing", LONG.replace("Mara", "She")),
        ("meta", LONG + " This is what the prompt wants."),
        ("prompt_echo", "Here is the account: " + LONG),
    ],
)
def test_a_background_that_is_none_has_its_reason(reason: str, text: str) -> None:
    """Length, anchor, talk about the task."""
    (row,) = Backgrounds().rows(_person(), Said(background=text))
    assert isinstance(row, Fault) and row.reason == reason


def _actors(count: int) -> list[Actor]:
    return [replace(MARA, id=f"t.p1.a{n}") for n in range(1, count + 1)]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_the_share_of_the_actors_becomes_clients(share: float) -> None:
    """Over a run exactly that share, to one client; of a passage the share rounded up or down; the same ones every time."""
    counts = [1, 3, 2, 6, 4]
    clients = 0
    for index in range(400):
        actors = _actors(counts[index % 5])
        fed = [list(Backgrounds(share=share).feed(replace(PASSAGE, index=index), actors)) for _ in range(2)]
        assert fed[0] == fed[1]
        assert abs(len(fed[0]) - share * len(actors)) < 1
        assert [case.number for case in fed[0]] == list(range(len(fed[0])))
        clients += len(fed[0])
    assert abs(clients - share * 400 * 16 / 5) <= 4


def test_another_seed_makes_other_actors_clients() -> None:
    """By hash of the run's seed, not by their place in the passage."""
    chosen = [
        [
            case.actor.id
            for n in range(50)
            for case in Backgrounds(seed=seed).feed(replace(PASSAGE, index=n), _actors(4))
        ]
        for seed in (0, 1)
    ]
    assert chosen[0] != chosen[1]
    assert {Counter(some).most_common(1)[0][1] for some in chosen} != {50}


def _clients(passages: int, seed: int) -> list[dict[str, str]]:
    """The axes of the clients of a run in which passages have none to five actors, as they come."""
    return [
        axes(case.passage.index, case.number, seed)
        for index in range(passages)
        for case in Backgrounds(seed=seed).feed(
            replace(PASSAGE, index=index), _actors(int(6 * draw("cast", index, seed)))
        )
    ]


@pytest.mark.parametrize("seed", range(5))
def test_the_axes_are_dealt_evenly_over_the_clients_and_each_apart(seed: int) -> None:
    """Over 1,500 clients each value comes within a fifth of its share; no pair of two axes twice as often as it should."""
    dealt = _clients(1200, seed)
    for name, values in AXES.items():
        counts = Counter(one[name] for one in dealt)
        share = len(dealt) / len(values)
        assert all(abs(counts[value] - share) <= 0.2 * share for value in values), (name, counts)
    for one, other in combinations(AXES, 2):
        pairs = Counter((row[one], row[other]) for row in dealt)
        expected = len(dealt) / len(AXES[one]) / len(AXES[other])
        assert max(pairs.values()) <= 2 * expected, (one, other)


def test_the_axes_depend_on_nothing_but_their_client() -> None:
    """A unit can be made alone and in any order."""
    places = [(passage, number) for passage in (900, 3, 40) for number in (1, 0)]
    assert [axes(*place, 7) for place in places] == [axes(*place, 7) for place in reversed(places)][::-1]
    assert [axes(*place, 7) for place in places] != [axes(*place, 8) for place in places]


def test_clients_of_one_passage_have_different_troubles() -> None:
    """The second one stands opposite the first on each circle."""
    for passage in range(20):
        one, other = axes(passage, 0, 0), axes(passage, 1, 0)
        assert all(one[name] != other[name] for name in AXES)
