"""What the rehearsal engine says of a client, as the client, as the counsellor, and as the supervisor."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from factory.engines.rehearsal.dice import Dice
from factory.engines.rehearsal.frames import (
    HE,
    SHE,
    Person,
    cast,
    elder,
    fill,
    pattern,
    person,
    recognised,
    stranger,
    table,
    troubles,
)
from factory.engines.rehearsal.scene import read_scene
from factory.text import normal, sentences, words

Fields = dict[str, str]

_AXIS = re.compile(r"^- ([a-z ]+): (.*)$", re.M)
_ABOUT = re.compile(r"to talk about (.+?)(?:, and .*)?\.$")
_TURN = re.compile(r"^(Client|Counsellor): (.*)$", re.M)
# A line that says something of a person, not where the person is named.
_LINE = re.compile(r"^(?:an?|the) (?!.*\b(?:passage|named|comes up|spoken of|mentioned)\b)")
_OF_THE_TALE = ("friend", "work", "social")  # a neighbour may be out of the passage, kin and sweethearts are invented
_NAMED = re.compile(r"\b(?:[Tt]he (?:[a-z]+ )?)?[A-Z][a-z]{2,}\b")
_POOL = frozenset((*SHE.split(), *HE.split()))
_DAYS = frozenset("Sunday Monday Tuesday Wednesday Thursday Friday Saturday Midsummer".split())
_ECHO = range(4, 12)  # words


@dataclass(frozen=True, slots=True)
class Case:
    """Who a background is about: the client, the other one, a third one, and the trouble between them."""

    client: Person
    other: Person
    third: Person
    domain: str

    def values(self, dice: Dice) -> dict[str, str]:
        known = (self.client.mention, self.other.mention, self.third.mention)
        return cast(self.client, self.other, self.third, elder(dice, *known))


@lru_cache(maxsize=512)
def case_of(actor: str, background: str) -> Case:
    """A background of this engine read again; one of another engine's gets an other one of its own."""
    dice = Dice("case", actor, background)
    spoken = re.search(rf"\bthe {re.escape(actor)}\b", background, re.I)
    client = person(f"the {actor}" if spoken and not actor.lower().startswith("the ") else actor, background)
    about = _ABOUT.search(background)
    other = person(about[1]) if about and about[1] not in ("him", "her") else stranger(dice, actor, background)
    trouble = recognised("trouble", background)
    domain = str(trouble.own["domain"]) if trouble else ""
    return Case(_sure(client, background), other, _third(actor, other), domain)


def _sure(client: Person, background: str) -> Person:
    """The client is spoken of more than anybody else in a background."""
    said = words(background)
    she, he = (sum(said.count(word) for word in listed) for listed in (("she", "her"), ("he", "his", "him")))
    return Person(client.mention, she > he)


def _third(actor: str, other: Person) -> Person:
    """One and the same in a background and all that is said about it."""
    return stranger(Dice("third", actor, other.mention), actor, other.mention)


# Background -----------------------------------------------------------------------------------------------------------


def background(fields: Fields, dice: Dice) -> dict[str, Any]:
    """The passage's own event or line, the other one, a trouble of the dealt domain, and a sentence for each other axis."""
    axes = dict(_AXIS.findall(fields["axes"]))
    passage, actor = fields["passage"], fields["actor"]
    people = read_scene(passage).people
    mention = next((one.mention for one in people if one.name.casefold() == actor.casefold()), actor)
    client = person(mention, passage)
    relation = axes.get("relationship", "social")
    other = _other(passage, actor, relation, dice)
    values = cast(client, other, _third(actor, other), elder(dice, mention, other.mention, passage))
    bank = table("talk")
    relations = bank["relations"].get(relation) or bank["relations"]["social"]
    values |= {"rel": fill(dice.pick(relations), values, dice)}
    fit = [one for one in troubles() if one.own["domain"] == axes.get("conflict domain")] or troubles()
    shown = [
        _shown(bank["stakes"], axes.get("stakes"), dice),
        _shown(bank["mix"], axes.get("emotion mix"), dice),
        *dice.shuffled(
            [
                _shown(bank["coping"], axes.get("coping style"), dice),
                _shown(bank["communication"], axes.get("communication style"), dice),
            ]
        ),
    ]
    culture = _shown(bank["culture"], axes.get("culture"), dice)
    parts = [
        _anchor(passage, fields["character"], values, dice),
        dice.pick(bank["firsts"]),
        dice.pick(fit).own["told"],
        *(dice.shuffled([culture, *shown]) if dice.chance(0.5) else [culture, *shown]),
        dice.pick(bank["closings"]),
    ]
    return {"background": " ".join(fill(part, values, dice) for part in parts if part)}


def _other(passage: str, actor: str, relation: str, dice: Dice) -> Person:
    """Somebody of the passage where the relationship allows it, else somebody with a name."""
    own = set(words(actor))
    free = [one.mention for one in read_scene(passage).people if not own & set(words(one.mention))]
    if free and relation in _OF_THE_TALE:
        return person(dice.pick(free), passage)
    return stranger(dice, actor, passage)


def _anchor(passage: str, line: str, values: dict[str, str], dice: Dice) -> str:
    """What ties the client to the passage: what happened there, or what is said of the person."""
    bank, events = table("talk"), read_scene(passage).events
    if _LINE.match(line):
        values["line"] = line.rstrip(".")
        return str(dice.pick(bank["anchors_line"]))
    if events:
        values["event"] = dice.pick(events)
        return str(dice.pick(bank["anchors"]))
    return str(dice.pick(bank["anchors_plain"]))


def _shown(bank: Any, value: str | None, dice: Dice) -> str:
    """A sentence that shows a value of an axis; '' for a value that the bank does not know."""
    found = bank.get(value, ())
    told = found["told"] if isinstance(found, dict) else found
    return str(dice.pick(told)) if told else ""


# Dialogue -------------------------------------------------------------------------------------------------------------


def dialogue(fields: Fields, dice: Dice) -> dict[str, Any]:
    """One message, or a verdict: the fields tell which agent is asked."""
    if "background" in fields:
        return {"text": _client(fields, dice)}
    if "phase" in fields:
        return {"text": _counsellor(fields, dice)}
    return _verdict(fields)


def _client(fields: Fields, dice: Dice) -> str:
    case = case_of(fields["actor"], fields["background"])
    trouble = recognised("trouble", fields["background"]) or troubles()[0]
    values = case.values(Dice("elder", case.client.mention)) | {"s": "I"}
    turns = _TURN.findall(fields["talk"])
    if not turns:
        return fill(dice.pick(trouble.own["opening"]), values, dice)
    axes = dict(_AXIS.findall(fields["manner"]))
    bank, told = table("talk"), [text for who, text in turns if who == "Client"]
    place = _reached(trouble.own["turns"], told)
    several = trouble.own["turns"]
    core = several[place] if place < len(several) else _fresh(bank["more"], told, dice)
    parts = [core]
    before, after = (
        (bank[axis].get(axes.get(name), {}) or {}).get("said", ())
        for axis, name in (("communication", "communication style"), ("coping", "coping style"))
    )
    if before and dice.chance(0.35):
        parts.insert(0, _fresh(before, told, dice))
    if after and dice.chance(0.3):
        parts.append(_fresh(after, told, dice))
    return fill(" ".join(parts), values, dice)


def _reached(several: list[str], told: list[str]) -> int:
    """How many of the things to tell are told: the talk that is shown may have lost its beginning."""
    found = (place for place, text in enumerate(several) if any(pattern(text).search(one) for one in told))
    return max(found, default=-1) + 1


def _fresh(some: list[str], told: list[str], dice: Dice) -> str:
    """One that was not said yet, as far as the talk shows."""
    said = normal(" ".join(told))
    return str(dice.pick([one for one in some if normal(one) not in said] or some))


def _counsellor(fields: Fields, dice: Dice) -> str:
    bank = table("talk")["counsellor"]
    turns = _TURN.findall(fields["talk"])
    said = [text for who, text in turns if who == "Counsellor"]
    last = next((text for who, text in reversed(turns) if who == "Client"), "")
    other = _spoken_of(fields["talk"])
    question = _fresh(bank[_phase(fields["phase"])], said, dice)
    echoes = [one for one in sentences(last) if len(one.split()) in _ECHO and not re.search(r"[“”\"?]", one)]
    if echoes and dice.chance(0.6):
        lead = _fresh(bank["heard"], said, dice).replace("{echo}", dice.pick(echoes))
    else:
        lead = _fresh(bank["plain"], said, dice)
    return f"{lead} {question.replace('{o}', other)}"


def _phase(sentence: str) -> str:
    """Which of the three phases a sentence asks for."""
    low = sentence.lower()
    if any(word in low for word in ("another's side", "other side", "what comes next", "do next", "open it")):
        return "views"
    return "beliefs" if any(word in low for word in ("belief", "deeper", "expect")) else "facts"


def _spoken_of(talk: str) -> str:
    """The one whom the client names most; "the other one" where nobody is named."""
    told = [name[:1].lower() + name[1:] if name.startswith("The ") else name for name in _NAMED.findall(talk)]
    inside = set(re.findall(r"(?<=[a-z,] )[A-Z][a-z]{2,}\b", talk)) - _DAYS
    told = [name for name in told if name in inside or name in _POOL or name.startswith("the ")]
    return max(dict.fromkeys(told), key=told.count) if told else "the other one"


def _verdict(fields: Fields) -> dict[str, Any]:
    """Enough from the sixth turn on for most, later for some; what is missing before is riches, at first the causes too."""
    turns = _TURN.findall(fields["talk"])
    draw = Dice("enough", fields["actor"], turns[0][1] if turns else "").between(0, 1)
    enough = 6 if draw < 0.6 else 8 if draw < 0.85 else 10
    return {
        "scenario_clear": True,
        "emotions_present": True,
        "causes_present": len(turns) > 4 or enough == 6,
        "dilemma_present": len(turns) + 2 >= enough,
        "rich_enough": len(turns) >= enough,
    }
