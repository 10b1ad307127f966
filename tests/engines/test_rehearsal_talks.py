"""Facts about the rehearsal engine's backgrounds and dialogues: they hold together, differ, and go on."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from factory.corpus import Corpus, Source, cut
from factory.engines.rehearsal.answers import answer
from factory.engines.rehearsal.frames import (
    Person,
    cast,
    recognised,
    table,
    troubles,
)
from factory.engines.rehearsal.script import PHASES, cast_of, caught, script, texts
from factory.engines.rehearsal.talks import case_of
from factory.lexicon import ALL
from factory.prompts import load
from factory.records import Actor, Background, Dialogue, EaItem, EuItem, Passage
from factory.requests import Message, Reply, Request, Sampling
from factory.settings import Content
from factory.stages import Asking, Outcome, Stage
from factory.stages.background import AXES, DOMAINS, RELATIONSHIPS, axes
from factory.steps import pipeline
from factory.text import normal, one_line, words
from tests.engines.told import FABLES, bundled, by_corpus

# The bank -------------------------------------------------------------------------------------------------------------


def test_troubles_cover_every_domain() -> None:
    """Five for each domain of conflict, each with two openings and enough to tell for fourteen turns."""
    assert Counter(frame.own["domain"] for frame in troubles()) == dict.fromkeys(DOMAINS, 5)
    for frame in troubles():
        assert len(frame.own["opening"]) == 2
        assert [len(frame.own[phase]) for phase in PHASES] == [2, 2, 3]


def test_some_troubles_of_every_domain_go_with_every_relationship() -> None:
    """Three at least."""
    for domain in DOMAINS:
        for relationship in RELATIONSHIPS:
            fit = [one.own for one in troubles() if one.own["domain"] == domain]
            assert len([own for own in fit if relationship not in own.get("without", ())]) >= 3


def test_a_question_speaks_of_others_by_names_that_every_opening_gives() -> None:
    """The counsellor knows no more than was told: `{o}` and `{t}` as the client named them, and nobody's "she"."""
    for frame in troubles():
        own = frame.own
        known = set.intersection(*(set(_slots(text)) for text in own["opening"]))
        for text in (own["felt"], *(question for phase in PHASES for question, _ in own[phase])):
            assert set(_slots(text)) <= known & {"o", "t"}, text


def _slots(text: str) -> list[str]:
    return [name[0].lower() + name[1:] for name in re.findall(r"\{(\w+)\}", re.sub(r"\[[^\]]*\]", "", text))]


def test_an_opening_names_no_feeling() -> None:
    """It shows: no word for a feeling, saving what is said aloud in it."""
    opens = [text for style in table("talk")["communication"].values() for text in style["opens"]]
    for text in [*opens, *(text for frame in troubles() for text in frame.own["opening"])]:
        told = re.sub(r"(?<!\w)'[^']*'", "", text)
        assert not ALL.intersection(words(told)), text


def test_what_is_felt_is_a_statement() -> None:
    """The counsellor asks in every question, and in no closing."""
    bank = table("talk")["counsellor"]
    closings = [*(frame.own["felt"] for frame in troubles()), *bank["felt"], *bank["closing"], *bank["closing_plain"]]
    assert not [text for text in closings if "?" in text]
    assert all(question.endswith("?") for frame in troubles() for phase in PHASES for question, _ in frame.own[phase])


def test_choices_with_a_number_are_one_for_all_that_a_client_tells() -> None:
    """A thing that is a knife in the background is a knife in the talk."""
    for frame in troubles():
        for text in texts(frame):
            for number, listed in re.findall(r"\[(\d)=([^\[\]]*)\]", text):
                counts = {one.count("|") for other in texts(frame) for n, one in _numbered(other) if n == number}
                assert counts == {listed.count("|")}, text
        assert script("Fox", frame).values == script("Fox", frame).values


def _numbered(text: str) -> list[tuple[str, str]]:
    return re.findall(r"\[(\d)=([^\[\]]*)\]", text)


def test_every_slot_of_the_bank_is_known() -> None:
    """A misspelt slot would be left standing in a text."""
    people = set(cast(*(Person("the Fox", False) for _ in range(4))))
    extra = {"talk": {"rel", "line", "quote", "echo", "felt"}, "troubles": {"tshe", "tsibling"}}
    for name in extra:
        for own in table(name).get("trouble", [table(name)]):
            slots = {slot[0].lower() + slot[1:] for slot in re.findall(r"\{(\w+)\}", json.dumps(own))}
            assert slots <= people | set(own.get("slots", ())) | extra[name], (name, slots)


# Whole runs -----------------------------------------------------------------------------------------------------------


@by_corpus
def test_hardly_any_unit_is_rejected(corpus: Any) -> None:
    """Both stages of talks accept all that they ask for."""
    told = corpus()
    for name in ("background", "dialogue"):
        ended = Counter(outcome.accepted for *_, outcome in told.units[name])
        assert ended[True] >= 0.99 * ended.total(), (name, ended)


@by_corpus
def test_a_background_shows_its_axes_and_ends_with_the_other_one(corpus: Any) -> None:
    """120 to 260 words; the actor and the other one are found again in it, and its trouble is of the dealt domain."""
    for background in corpus().rows("background"):
        case = case_of(background.actor, background.text)
        assert 120 <= len(background.text.split()) <= 260
        assert case.domain == background.domain
        assert background.text.count(case.other.mention) >= 2
        assert normal(case.other.mention) != normal(background.actor)


def test_every_value_of_every_axis_is_shown() -> None:
    """A background of two clients that differ in one axis alone differs in a sentence."""
    base = {name: values[0] for name, values in AXES.items()}
    shown = set()
    for name, values in AXES.items():
        for value in values:
            shown.add(_background(base | {name: value}))
    assert len(shown) == 1 + sum(len(values) - 1 for values in AXES.values())


def _background(axes: dict[str, str]) -> str:
    said = {"domain": "conflict domain", "mix": "emotion mix", "coping": "coping style"}
    said |= {"communication": "communication style"}
    fields = {
        "passage": "The Fox met the Crow at the fair.",
        "actor": "Fox",
        "character": "the one who met the Crow",
        "axes": "\n".join(f"- {said.get(name, name)}: {value}" for name, value in axes.items()),
    }
    return str(json.loads(answer(_request("background", fields)))["background"])


def _request(stage: str, fields: dict[str, str], seed: int = 7) -> Request:
    sampling = Sampling(temperature=0.0, max_tokens=9, seed=seed)
    return Request(
        stage=stage, unit="u", messages=(Message("user", "?"),), schema="{}", sampling=sampling, fields=fields
    )


@by_corpus
def test_a_background_is_anchored_in_its_passage(corpus: Any) -> None:
    """It quotes a sentence of it, or says what was said of the actor, in 19 of 20; and quotes nothing else."""
    units = corpus().units["background"]
    anchored = 0
    for row, _, _, outcome in units:
        text, passage = outcome.rows[0].text, one_line(row.passage.text)
        quoted = re.findall(r"“([^”]*)”", text)
        assert all(one in passage for one in quoted)
        anchored += bool(quoted) or normal(row.actor.line) in normal(text)
    assert anchored >= 0.95 * len(units)


@by_corpus
def test_dialogues_go_on_without_repeating_themselves(corpus: Any) -> None:
    """Turns alternate; no message is said twice, and no sentence of the counsellor's; the supervisor ends them at 6 to 12."""
    talks: list[Dialogue] = corpus().rows("dialogue")
    for talk in talks:
        assert [turn.role for turn in talk.turns] == ["client", "counsellor"] * (len(talk.turns) // 2)
        assert len({normal(turn.text) for turn in talk.turns}) == len(talk.turns)
        asked = [part for turn in talk.turns if turn.role == "counsellor" for part in _parts(turn.text)]
        assert len(asked) == len(set(asked)), asked
    lengths = Counter(len(talk.turns) for talk in talks)
    assert set(lengths) == {6, 8, 10, 12}
    assert max(lengths.values()) <= 0.6 * len(talks)


def _parts(text: str) -> list[str]:
    return re.findall(r"[^.?!]+[.?!]”?", text)


@by_corpus
def test_a_client_answers_the_question(corpus: Any) -> None:
    """Each answer stands in the bank behind the question that was asked, also where the talk has lost its beginning."""
    for talk in corpus().rows("dialogue"):
        frame = recognised("trouble", talk.background)
        assert frame is not None
        said = [turn.text for turn in talk.turns]
        pairs = [pair for phase in PHASES for pair in frame.own[phase]]
        for question, answered in zip(said[1:-1:2], said[2:-1:2], strict=True):
            (fit,) = [(asks, says) for asks, says in pairs if caught(says).search(answered)]
            named = re.sub(r"the (?:other|third) one", "Nell", question)
            assert caught(fit[0]).search(named) or caught(fit[0]).search(question), (question, answered)


@by_corpus
def test_a_closing_says_back_what_the_client_said(corpus: Any) -> None:
    """It quotes the client, asks nothing, and hardly two of a run are alike."""
    talks: list[Dialogue] = corpus().rows("dialogue")
    for talk in talks:
        last = talk.turns[-1].text
        told = " ".join(turn.text for turn in talk.turns if turn.role == "client")
        assert "?" not in last and "{" not in last
        assert all(quoted in told for quoted in re.findall(r"“([^”]*)”", last)), last
    assert sum("“" in talk.turns[-1].text for talk in talks) >= 0.95 * len(talks)
    assert len({talk.turns[-1].text for talk in talks}) >= 0.95 * len(talks)


@by_corpus
def test_what_is_said_again_was_told_and_is_no_flourish(corpus: Any) -> None:
    """The counsellor takes up the matter, never a turn of phrase that belongs to the client's manner."""
    bank = table("talk")
    manner = {
        text
        for style in bank["communication"].values()
        for part in ("opens", "before", "after")
        for text in style[part]
    }
    manner |= {text for style in bank["coping"].values() for text in style["said"]}
    for talk in corpus().rows("dialogue"):
        for turn in talk.turns[1::2]:
            assert not set(re.findall(r"“([^”]*)”", turn.text)) & manner


@by_corpus
def test_the_communication_style_can_be_heard(corpus: Any) -> None:
    """In at least nine talks of ten of each style, and in no talk that of another."""
    styles = table("talk")["communication"]
    heard: dict[str, list[bool]] = {style: [] for style in styles}
    for row, _, _, outcome in corpus().units["dialogue"]:
        told = " ".join(turn.text for turn in outcome.rows[0].turns if turn.role == "client")
        for style, bank in styles.items():
            found = any(text in told for part in ("opens", "before", "after") for text in bank[part] if len(text) > 6)
            if style == row.background.communication:
                heard[style].append(found or "Hm." in told or "Well." in told)
            else:
                assert not found, (style, told)
    assert all(sum(found) >= 0.9 * len(found) for found in heard.values()), heard


@by_corpus
def test_people_keep_their_names_and_pronouns(corpus: Any) -> None:
    """The talk takes from the background who is she and who is he; nobody's name begins like another's."""
    for background in corpus().rows("background"):
        case = case_of(background.actor, background.text)
        come = re.search(r"\b(he|she) has come\b", background.text, re.I)
        assert come is None or (come[1].lower() == "she") == case.client.she
        trouble = recognised("trouble", background.text)
        assert trouble is not None
        found = cast_of(trouble, background.text)
        assert (found["s"], found.get("o", case.other)) == (case.client, case.other)
        assert case.third.mention[:3] != case.other.mention[:3]


def test_the_axes_are_level_over_the_clients_of_the_fables() -> None:
    """Most over least at most 1.35 for each axis, and no pair of two axes twice as often as it should be."""
    if not FABLES.exists():
        pytest.skip(f"the fables are not here: {FABLES}")
    steps = pipeline(Content()).wanted(["mcq"])
    asking = Asking(book=load(steps.prompts()))
    actors, backgrounds = (step.stage for step in list(steps)[:2])
    dealt: list[dict[str, str]] = []
    for passage in _passages():
        ended = unit(actors, passage, asking)
        dealt += [axes(passage.index, case.number, 0) for case in backgrounds.feed(passage, ended.rows)]
    assert len(dealt) > 140
    for name, values in AXES.items():
        counts = Counter(row[name] for row in dealt)
        assert max(counts.values()) <= 1.35 * min(counts[value] for value in values), (name, counts)
    for one, other in combinations(AXES, 2):
        expected = len(dealt) / len(AXES[one]) / len(AXES[other])
        if expected >= 4:
            assert max(Counter((row[one], row[other]) for row in dealt).values()) <= 2 * expected, (one, other)


def _passages() -> Iterator[Passage]:
    """Cut as a run cuts them."""
    sources = (one for one in Corpus(path=FABLES).records() if isinstance(one, Source))
    pieces = ((source.id, text) for source in sources for text in cut(source.text))
    for index, (source, text) in enumerate(pieces):
        yield Passage(id=f"{source}.p{index}", source_id=source, index=index, text=text)


def unit(stage: Stage, row: Any, asking: Asking) -> Outcome:
    """One unit, asked and answered."""
    talk = stage.talk(row, asking, 0)
    request = next(talk)
    while True:
        try:
            request = talk.send(Reply(text=answer(request)))
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


def test_a_long_talk_never_runs_dry() -> None:
    """Thirty turns, should a supervisor never be content: each is new to the last six."""
    told: list[str] = []
    background = _background({name: values[0] for name, values in AXES.items()})
    for turn in range(30):
        shown = {"actor": "Fox", "talk": "\n".join(told[-6:])}
        if turn % 2:
            fields = shown | {"phase": "Open it up: ask how it looks from another's side."}
        else:
            fields = shown | {"background": background, "manner": "- coping style: venting"}
        said = json.loads(answer(_request("dialogue", fields, turn)))["text"]
        told.append(f"{'Counsellor' if turn % 2 else 'Client'}: {said}")
        assert told[-1] not in told[-7:-1]


# Of other hands -------------------------------------------------------------------------------------------------------


def test_a_background_of_another_hand_is_played_with_too() -> None:
    """A text that this engine did not write gets a talk and items, if not its own ones."""
    fields = {"actor": "Wenna", "background": "Wenna let the seedlings of her neighbour dry out.", "talk": ""}
    assert json.loads(answer(_request("dialogue", fields | {"manner": ""})))["text"]
    wanted = "1. complex_emotions / mixture_of_emotions: two feelings at once"
    (one,) = json.loads(answer(_request("mcq_eu", fields | {"wanted": wanted})))["items"]
    assert "Wenna" in one["scenario"] or one["subject"] != "Wenna"


def test_a_name_with_braces_is_left_alone() -> None:
    """Names come from somebody's corpus: none of them breaks a template."""
    fields = {"actor": "K{x}9[a|b]", "background": "K{x}9[a|b] came to talk about {Q}.", "talk": ""}
    wanted = "1. Personal-Self, Action: a trouble"
    assert json.loads(answer(_request("mcq_ea", fields | {"wanted": wanted})))["items"]


def test_the_records_are_those_of_the_stages() -> None:
    """What the stages make of the replies is rows of their records."""
    told = bundled()
    kinds = {"actors": Actor, "background": Background, "dialogue": Dialogue, "mcq_eu": EuItem, "mcq_ea": EaItem}
    assert all(isinstance(row, kind) for name, kind in kinds.items() for row in told.rows(name))
