"""What the rehearsal engine says of a client, as the client, as the counsellor, and as the supervisor."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from factory.engines.rehearsal.dice import Dice
from factory.engines.rehearsal.frames import (
    HE,
    SHE,
    Frame,
    Person,
    cast,
    elder,
    fill,
    person,
    recognised,
    stranger,
    table,
    troubles,
)
from factory.engines.rehearsal.scene import read_scene
from factory.engines.rehearsal.script import Followed, cast_of, followed, script
from factory.text import normal, one_line, sentences, words

Fields = dict[str, str]

_AXIS = re.compile(r"^- ([a-z ]+): (.*)$", re.M)
_ABOUT = re.compile(r"to talk about (.+?)(?:, and .*)?\.$")
_TURN = re.compile(r"^(Client|Counsellor): (.*)$", re.M)
# A line that says something of a person, not where the person is named.
_LINE = re.compile(r"^(?:an?|the) (?!.*\b(?:passage|named|comes up|spoken of|mentioned)\b)")
_OF_THE_TALE = ("friend", "work", "social")  # a neighbour may be out of the passage, kin and sweethearts are invented
_NAMED = re.compile(r"\b(?:[Tt]he (?:[a-z]+ )?)?[A-Z][a-z]{2,}\b")
_SPEECH = re.compile(r"[“”\"‘:?]|(?<!\w)'|'(?!\w)")
# "told her to get in" is somebody else; "checked her watch" is not.
_OWN = (
    r"\b(she|he|his|himself|herself|her(?! (?:to|and|in|on|at|that|with|for|from|by|as|up|out|off|a|the)\b|[.,;!?]))\b"
)
_MINE = frozenset("i me my mine myself we us our".split())
_ANYBODY = frozenset(
    """friend mother father son daughter sister brother aunt uncle nephew niece grandmother grandfather child man woman boy
    girl companion comrade stranger husband wife neighbour neighbor daddy mamma bird beast image traveler traveller
    fellow lady gentleman""".split()
)
_POOL = frozenset((*SHE.split(), *HE.split()))
_DAYS = frozenset("Sunday Monday Tuesday Wednesday Thursday Friday Saturday Midsummer".split())
_ECHO = range(5, 14)  # words
_QUOTE = range(7, 29)
_LEANS = frozenset("And But Or Then So That This These Those It You Yes No Such Twice Once Nothing Perhaps".split())


@dataclass(frozen=True, slots=True)
class Case:
    """Who a background is about: the client, the other one, a third one, and the trouble between them."""

    client: Person
    other: Person
    third: Person
    domain: str

    def values(self, dice: Dice) -> dict[str, str]:
        known = (self.client.mention, self.other.mention, self.third.mention)
        return _values(self.client, self.other, self.third, elder(dice, *known))


@lru_cache(maxsize=512)
def _trouble_of(background: str) -> Frame | None:
    return recognised("trouble", background)


def _values(client: Person, other: Person, third: Person, old: Person) -> dict[str, str]:
    kin = {"tshe": "she", "tsibling": "sister"} if third.she else {"tshe": "he", "tsibling": "brother"}
    return cast(client, other, third, old) | kin


@lru_cache(maxsize=512)
def case_of(actor: str, background: str) -> Case:
    """A background of this engine read again; one of another engine's gets an other one of its own."""
    dice = Dice("case", actor, background)
    spoken = re.search(rf"\bthe {re.escape(actor)}\b", background, re.I)
    client = person(f"the {actor}" if spoken and not actor.lower().startswith("the ") else actor, background)
    about = _ABOUT.search(background)
    other = person(about[1]) if about and about[1] not in ("him", "her") else stranger(dice, actor, background)
    trouble = _trouble_of(background)
    told = cast_of(trouble, background) if trouble else {}
    domain = str(trouble.own["domain"]) if trouble else ""
    other = told.get("o", other)
    return Case(told.get("s", client), other, _third(actor, other), domain)


def _third(actor: str, other: Person) -> Person:
    """One and the same in a background and all that is said about it; no Tamar beside a Tam."""
    known = [word[:3] for word in words(f"{actor} {other.mention}")]
    drawn = (stranger(Dice("third", actor, other.mention, number), actor, other.mention) for number in range(9))
    return next((one for one in drawn if one.mention.lower()[:3] not in known), Person("Noor", True))


# Background -----------------------------------------------------------------------------------------------------------


def background(fields: Fields, dice: Dice) -> dict[str, Any]:
    """The passage's own event or line, the other one, a trouble of the dealt domain, and a sentence for each other axis."""
    axes = dict(_AXIS.findall(fields["axes"]))
    passage, actor = fields["passage"], fields["actor"]
    people = read_scene(passage).people
    mention = next((one.mention for one in people if one.name.casefold() == actor.casefold()), actor)
    client = _person(mention, passage)
    relation = axes.get("relationship", "social")
    other = _other(passage, actor, relation, dice)
    trouble = _trouble(axes.get("conflict domain", ""), relation, dice)
    values = _values(client, other, _third(actor, other), elder(dice, mention, other.mention, passage))
    values |= dict(script(actor, trouble).values)
    bank = table("talk")
    relations = bank["relations"].get(relation) or bank["relations"]["social"]
    values |= {"rel": fill(dice.pick(relations), values, dice)}
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
        _anchor(passage, actor, fields["character"], values, dice),
        dice.pick(bank["firsts"]),
        trouble.own["told"],
        *(dice.shuffled([culture, *shown]) if dice.chance(0.5) else [culture, *shown]),
        dice.pick(bank["closings"]),
    ]
    return {"background": " ".join(fill(part, values, dice) for part in parts if part)}


def _other(passage: str, actor: str, relation: str, dice: Dice) -> Person:
    """Somebody of the passage where the relationship allows it, else somebody with a name."""
    own = set(words(actor))
    free = [one.mention for one in read_scene(passage).people if not own & set(words(one.mention))]
    named = [one for one in free if one.lower() != one and words(one)[-1] not in _ANYBODY]
    if named and relation in _OF_THE_TALE:
        return _person(dice.pick(named), passage)
    return stranger(dice, actor, passage)


def _trouble(domain: str, relation: str, dice: Dice) -> Frame:
    """One of the dealt domain that goes with the relationship."""
    fit = [one for one in troubles() if one.own["domain"] == domain] or list(troubles())
    picked: Frame = dice.pick([one for one in fit if relation not in one.own.get("without", ())] or fit)
    return picked


def _person(mention: str, passage: str) -> Person:
    """She or he by what the person is; else by the word for her or him next behind the name, in most sentences."""
    sure = person(mention, f"{mention} she.")
    if sure == person(mention, f"{mention} he."):
        return sure
    first = f"[{mention[0].upper()}{mention[0].lower()}]{re.escape(mention[1:])}"
    behind = re.findall(rf"\b{first}\b[^.!?;“”\"A-Z]*?{_OWN}", passage)
    she = [word in ("she", "her", "herself") for word in behind]
    return Person(mention, sum(she) * 2 + she[0] > len(she)) if she else person(mention, passage)


def _anchor(passage: str, actor: str, line: str, values: dict[str, str], dice: Dice) -> str:
    """What ties the client to the passage: a sentence of it, at best one that speaks of the client, or what is said there."""
    bank = table("talk")
    told = [one for one in map(one_line, sentences(passage)) if _quotable(one)]
    begun, named = _about(told, actor)
    if begun:
        values["quote"] = dice.pick(begun)
        return str(dice.pick(bank["anchors"]))
    if not named and _LINE.match(line):
        values["line"] = line.rstrip(".")
        return str(dice.pick(bank["anchors_line"]))
    if told:
        values["quote"] = dice.pick(named or told)
        return str(dice.pick(bank["anchors_near"]))
    return str(dice.pick(bank["anchors_plain"]))


def _quotable(sentence: str) -> bool:
    """A whole sentence of the story, without speech, that can stand alone."""
    spoken = _SPEECH.search(sentence) or _MINE.intersection(words(sentence))
    return len(sentence.split()) in _QUOTE and sentence.endswith(".") and not spoken


def _about(told: list[str], actor: str) -> tuple[list[str], list[str]]:
    """The sentences that begin with the actor, and all that name the actor; none that leans on another if it can be."""
    own = normal(actor)
    found = [one for one in told if f" {own} " in f" {normal(one)} "]
    free = [one for one in found if one.split()[0].strip(",") not in _LEANS] or found
    head = len(own.split()) + 2
    return [one for one in free if f" {own} " in f" {' '.join(normal(one).split()[:head])} "], free


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
        closes = fields["phase"].lower().startswith("close")
        return {"text": _closing(fields, dice) if closes else _counsellor(fields, dice)}
    return _verdict(fields)


def _client(fields: Fields, dice: Dice) -> str:
    """The opening, or the answer that belongs to the counsellor's question; the manner can be heard in it."""
    actor = fields["actor"]
    case = case_of(actor, fields["background"])
    trouble = _trouble_of(fields["background"]) or troubles()[0]
    told = [text for who, text in _TURN.findall(fields["talk"]) if who == "Client"]
    heard = followed(actor, told, trouble)
    assert heard is not None
    values = case.values(Dice("elder", case.client.mention)) | dict(heard.script.values)
    axes = dict(_AXIS.findall(fields["manner"]))
    if not told:
        return fill(_in_manner(dice.pick(trouble.own["opening"]), 0, axes, actor), values, dice)
    answers = heard.script.answers()
    if heard.place < len(answers):
        return fill(_in_manner(answers[heard.place], heard.place + 1, axes, actor), values, dice)
    return fill(_fresh([*table("talk")["more"], *_afterthoughts(axes)], told, dice), values, dice)


def _in_manner(core: str, place: int, axes: Fields, actor: str) -> str:
    """A message with what the communication style puts before or after it; every second one, the others cope."""
    bank, dice = table("talk"), Dice("manner", actor, *axes.values())
    style = bank["communication"].get(axes.get("communication style"), {})
    coping = dice.shuffled(bank["coping"].get(axes.get("coping style"), {}).get("said", ()))
    befores, afters = (dice.shuffled(style.get(part, ())) for part in ("before", "after"))
    opens, odd, turn = dice.shuffled(style.get("opens", ())), dice.chance(0.5), place // 2
    if place == 0:
        return f"{opens[0]} {core}" if opens and odd else core
    if style and (place % 2 == 0) == odd:
        return (
            f"{core} {afters[turn // 2 % len(afters)]}" if turn % 2 else f"{befores[turn // 2 % len(befores)]} {core}"
        )
    return f"{core} {coping[turn % len(coping)]}" if coping and dice.chance(0.75) else core


def _afterthoughts(axes: Fields) -> list[str]:
    said: list[str] = table("talk")["coping"].get(axes.get("coping style"), {}).get("said", [])
    return said


def _fresh(some: list[str], told: list[str], dice: Dice) -> str:
    """One that was not said yet, as far as the talk shows."""
    said = normal(" ".join(told))
    return str(dice.pick([one for one in some if normal(one) not in said] or some))


def _counsellor(fields: Fields, dice: Dice) -> str:
    """The question that belongs to what the client tells next, behind a word on what was told last."""
    bank = table("talk")["counsellor"]
    turns = _TURN.findall(fields["talk"])
    told, said = ([text for who, text in turns if who == role] for role in ("Client", "Counsellor"))
    heard = followed(fields["actor"], told, asked=said)
    values = {"o": _spoken_of(fields["talk"])}
    if heard is None or heard.place >= len(heard.script.asked):
        lead, question = _fresh(bank["plain"], said, dice), _fresh(bank[_phase(fields["phase"])], said, dice)
        return fill(f"{lead} {question}", values, dice)
    unnamed = {"o": "the other one", "t": "the third one"}  # where the window shows no name any more
    question = heard.script.asked[heard.place][0]
    return fill(_lead(heard, fields["actor"]) + question, unnamed | heard.values(), dice)


def _lead(heard: Followed, actor: str) -> str:
    """A sentence of the client's said again, a plain word, or nothing; none twice in a talk."""
    bank, dice = table("talk")["counsellor"], Dice("lead", actor, heard.script.trouble.own["told"])
    echoing, plain = dice.shuffled(bank["heard"]), dice.shuffled(bank["plain"])
    drawn = [dice.number() for _ in range(12)]
    kind, echoes = drawn[heard.place] % 20, _echoes(heard.cores[-1])
    if kind < 8 and echoes:
        return f"{echoing[heard.place % len(echoing)]} ".replace("{echo}", echoes[drawn[heard.place] % len(echoes)])
    return f"{plain[heard.place % len(plain)]} " if kind < 14 else ""


def _echoes(core: str) -> list[str]:
    """Sentences that stand by themselves: no speech, no question, none that leans on another."""
    return [
        one
        for one in sentences(core)
        if len(one.split()) in _ECHO and not _SPEECH.search(one) and one.split()[0].strip(",") not in _LEANS
    ]


def _closing(fields: Fields, dice: Dice) -> str:
    """What is felt and why, with a sentence of the client's own that was not said again before."""
    bank = table("talk")["counsellor"]
    turns = _TURN.findall(fields["talk"])
    told, said = ([text for who, text in turns if who == role] for role in ("Client", "Counsellor"))
    heard = followed(fields["actor"], told, asked=said)
    values = {"o": _spoken_of(fields["talk"])} | (heard.values() if heard else {})
    felt = dice.pick(bank["felt"]) if heard is None else heard.script.trouble.own["felt"]
    cores = heard.cores if heard else told
    echoes = [one for core in cores for one in _echoes(core) if one not in " ".join(said)]
    echoes = [one for one in echoes if _MINE.intersection(words(one))] or echoes
    form = dice.pick(bank["closing"] if echoes else bank["closing_plain"])
    return fill(form.replace("{felt}", felt), values, dice).replace("{echo}", dice.pick(echoes) if echoes else "")


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
    """Enough at the seventh message for most, sooner or later for some; before it riches are missing, at first more."""
    turns = _TURN.findall(fields["talk"])
    draw = Dice("enough", fields["actor"], turns[0][1] if turns else "").between(0, 1)
    enough = 5 if draw < 0.2 else 7 if draw < 0.65 else 9 if draw < 0.9 else 11
    return {
        "scenario_clear": True,
        "emotions_present": True,
        "causes_present": len(turns) > 3,
        "dilemma_present": len(turns) + 2 >= enough,
        "rich_enough": len(turns) >= enough,
    }
