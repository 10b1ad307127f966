"""The hand-written situations: texts with slots and choices, who stands in them, and how they are recognised again.

In a text `{s}` is the subject, `{o}` the other one, `{t}` a third person, `{x}` an older woman; `{he}`, `{his}`, `{him}`
go with the subject, `{ohe}`, `{ohis}`, `{ohim}` with the other, `{this}` and `{tim}` are the third one's "his" and "him".
A capital (`{S}`, `{He}`) begins a sentence. `[a|b]` is a choice, `[|a]` one that may be left out. Everything is drawn once
for an item: a slot of the frame's own (under `slots`), a choice wherever it stands again in the same words, and a
numbered choice in any words: `[1=a|b]` and `[1=c|d]` give a with c, or b with d.

What is right (`cause`, `right`) is one text, or several phrasings of one thing: a short one, a middling and a long one.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from factory.engines.rehearsal.dice import Dice
from factory.text import words

_HERE = Path(__file__).parent / "situations"
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_CUT = re.compile(r"\{\w+\}|[\[\]|]")
_WOMEN = frozenset(
    """mother grandmother woman girl queen princess wife maid milkmaid hen ewe cow mare vixen lioness lady daughter sister
    aunt widow goddess fairy venus juno minerva mrs ms miss mistress bride witch nurse hostess duchess empress""".split()
)
_MEN = frozenset(
    """father grandfather man boy king prince husband uncle brother son nephew jupiter jove apollo mercury hercules neptune
    cock rooster bull ram stag lion shepherd monk priest mr sir lord gentleman knight countryman fisherman woodman""".split()
)
SHE = "Marit Tilda Oda Nell Ines Runa Hazel Petra Brida Asha Leila Wilma Greta Yara Imke Sunniva Calla Noor Vesna Tamar"
HE = "Bram Ivo Tam Corin Emil Oskar Jory Anselm Kofi Rafi Milo Piet Dario Osei Ruben Hamid Lorenz Matteo Henk Arlo"
_NAMES = tuple((name, True) for name in SHE.split()) + tuple((name, False) for name in HE.split())


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as a sentence speaks of them: "the old Frog", "Tilda"."""

    mention: str
    she: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """One situation of any of the files; `own` is what its file says of it."""

    own: Mapping[str, Any]

    def slots(self, dice: Dice) -> dict[str, str]:
        return {name: dice.pick(values) for name, values in self.own.get("slots", {}).items()}

    def texts(self) -> Iterator[str]:
        for part in ("scene", "said", "told", "opening", "turns"):
            said = self.own.get(part, ())
            yield from [said] if isinstance(said, str) else said


def person(mention: str, story: str = "") -> Person:
    """A woman by her name or what she is; else by the words for her or him where the story speaks of the person."""
    own = words(mention)
    if _WOMEN.intersection(own) or mention in SHE.split():
        return Person(mention, True)
    if _MEN.intersection(own) or mention in HE.split():
        return Person(mention, False)
    told = " ".join(part for part in re.split(r"(?<=[.!?])\s", story) if own and own[-1] in words(part))
    said = words(told)
    she, he = (sum(said.count(word) for word in listed) for listed in (("she", "her", "hers"), ("he", "his", "him")))
    return Person(mention, she > he)


def stranger(dice: Dice, *known: str) -> Person:
    """A name that nobody else here has."""
    taken = {word for text in known for word in words(text)}
    return Person(*dice.pick([(name, she) for name, she in _NAMES if name.lower() not in taken]))


def elder(dice: Dice, *known: str) -> Person:
    taken = {word for text in known for word in words(text)}
    return Person(dice.pick([name for name in SHE.split() if name.lower() not in taken]), True)


def cast(subject: Person, other: Person, third: Person, old: Person) -> dict[str, str]:
    return {
        "s": subject.mention,
        "o": other.mention,
        "t": third.mention,
        "x": old.mention,
        **_pronouns("", subject),
        **_pronouns("o", other),
        "this": "her" if third.she else "his",
        "tim": "her" if third.she else "him",
    }


def extras() -> tuple[dict[str, str], ...]:
    """People to measure the bank with, a man and an animal among them."""
    one, other = (Person("the Fox", False), Person("Tilda", True), Person("Piet", False)), Person("Asha", True)
    return cast(*one, other), cast(Person("Nell", True), Person("the old Miller", False), *one[2:], other)


def _pronouns(prefix: str, who: Person) -> dict[str, str]:
    said = ("she", "her", "her", "herself") if who.she else ("he", "his", "him", "himself")
    return dict(zip((f"{prefix}{one}" for one in ("he", "his", "him", "himself")), said, strict=True))


def fill(text: str, values: dict[str, str], dice: Dice) -> str:
    """The choices drawn, then the slots filled; a slot's value may hold both again. What is drawn goes into `values`."""
    for _ in range(3):  # what a slot holds may hold a slot, and a name out of somebody's corpus even a brace
        text = _CHOICE.sub(lambda found: _drawn(found[1], values, dice), text)
        text = _SLOT.sub(lambda found: _value(found[1], values), text)
    return text


def _drawn(choice: str, values: dict[str, str], dice: Dice) -> str:
    number, _, listed = choice.rpartition("=")
    some = listed.split("|")
    name = f"{number}=" if number else f"[{choice}]"
    if name not in values:
        values[name] = str(dice.pick(range(len(some))))
    return some[int(values[name])]


def _value(name: str, values: Mapping[str, str]) -> str:
    low = name[0].lower() + name[1:]
    value = values.get(low, f"{{{name}}}")
    return capital(value) if name != low else value


def told(texts: Iterable[str], values: dict[str, str], dice: Dice) -> str:
    """Filled one after the other; where something was left out, no gap stays."""
    return " ".join(" ".join(fill(text, values, dice) for text in texts).split())


def phrasings(said: str | Sequence[str]) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else tuple(said)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def lowered(text: str) -> str:
    """A sentence of the bank, not yet filled, as it goes on behind a semicolon."""
    return text[0] + text[1].lower() + text[2:] if text[0] == "{" else text[0].lower() + text[1:]


@lru_cache(maxsize=1024)
def pattern(text: str) -> re.Pattern[str]:
    """What a text of the bank can become, whatever is drawn and filled in, case aside."""
    held: list[str] = []

    def hold(expression: str) -> str:
        held.append(expression)
        return f"\0{len(held) - 1}\0"

    text = _SLOT.sub(lambda _: hold(".{1,120}?"), text)
    while _CHOICE.search(text):  # the innermost first
        text = _CHOICE.sub(lambda found: hold(f"(?:{'|'.join(map(_spaced, _alternatives(found[1])))})"), text)
    text = _spaced(text)
    for place, expression in reversed([*enumerate(held)]):
        text = text.replace(f"\0{place}\0", expression)
    return re.compile(text, re.I)


def _alternatives(choice: str) -> list[str]:
    return choice.rpartition("=")[2].split("|")


def _spaced(text: str) -> str:
    """As an expression; where something was left out, a space beside it goes too."""
    return re.escape(text).replace("\\ ", " *")


# The files ------------------------------------------------------------------------------------------------------------


@cache
def table(name: str) -> Any:
    return tomllib.loads((_HERE / f"{name}.toml").read_text("utf-8"))


@cache
def weights() -> dict[str, tuple[float, ...]]:
    """How the options of each kind are drawn (see `even`): cause, emotion, action, response."""
    return {kind: tuple(values) for kind, values in table("weights").items()}


@cache
def understanding() -> tuple[Frame, ...]:
    files = ("eu_complex", "eu_cues", "eu_beliefs", "eu_perspective")
    return tuple(Frame(own) for file in files for own in table(file)["frame"])


@cache
def application() -> tuple[Frame, ...]:
    return tuple(Frame(own) for file in ("ea_personal", "ea_social") for own in table(file)["situation"])


@cache
def troubles() -> tuple[Frame, ...]:
    return tuple(Frame(own) for own in table("troubles")["trouble"])


# Recognising ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Index:
    """Runs of two and three words -> the places of the texts that have them."""

    runs: Mapping[str, frozenset[int]]

    @staticmethod
    def of(texts: Iterable[Iterable[str]]) -> "Index":
        owners: dict[str, set[int]] = {}
        for place, several in enumerate(texts):
            for text in several:
                for piece in _CUT.split(text):
                    for run in _runs(piece):
                        owners.setdefault(run, set()).add(place)
        return Index({run: frozenset(places) for run, places in owners.items()})

    def best(self, text: str) -> int | None:
        """The place of the text that a filled one was made from; None where nothing speaks for any."""
        votes: dict[int, float] = {}
        for run in _runs(text):
            places = self.runs.get(run, frozenset())
            for place in places:
                votes[place] = votes.get(place, 0.0) + run.count(" ") ** 2 / len(places) ** 2
        return max(votes, key=lambda place: (votes[place], -place)) if votes else None


def _runs(text: str) -> Iterator[str]:
    tokens = words(text)
    for size in (2, 3):
        for start in range(len(tokens) - size + 1):
            yield " ".join(tokens[start : start + size])


@cache
def _index(kind: str) -> Index:
    frames = {"eu": understanding, "ea": application, "trouble": troubles}[kind]()
    return Index.of(frame.texts() for frame in frames)


def recognised(kind: str, text: str) -> Frame | None:
    """The frame of this kind (eu, ea, trouble) that a text was made from."""
    frames = {"eu": understanding, "ea": application, "trouble": troubles}[kind]()
    place = _index(kind).best(text)
    return None if place is None else frames[place]
