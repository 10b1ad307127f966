"""What one client tells of one trouble, in order: the questions of the counsellor, each with its answer.

An agent of a talk sees a window of it and remembers nothing. So the order is drawn from what all of them see, the
client's name and the trouble, and the place in it is found by the last answer that was given.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from factory.engines.rehearsal.dice import Dice
from factory.engines.rehearsal.frames import Frame, Index, Person, pattern, troubles
from factory.text import words

_PIECE = re.compile(r"(\{\w+\}|\[[^\[\]]*\])")
_NUMBERED = re.compile(r"\[(\d)=([^\[\]]*)\]")
_ARTICLES = frozenset("the a an his her their my our one some another".split())
_NAME = r"(?=\S)(?:(?:mrs?|ms|dr|st)\. )?[^.,;:!?“”\"]{1,60}?"
PHASES = ("facts", "beliefs", "views")


@dataclass(frozen=True, slots=True)
class Script:
    """A trouble as this client tells it."""

    trouble: Frame
    asked: tuple[tuple[str, str], ...]  # question, answer
    values: tuple[tuple[str, str], ...]  # what is drawn once for all that is said

    def answers(self) -> list[str]:
        return [answer for _, answer in self.asked]


def script(actor: str, trouble: Frame) -> Script:
    """One of the facts, one of the beliefs, the views, and what is left."""
    own = trouble.own
    dice = Dice("script", actor, own["told"])
    facts, beliefs, views = (dice.shuffled(own[phase]) for phase in PHASES)
    ordered = [facts[0], beliefs[0], *views, *facts[1:], *beliefs[1:]]
    return Script(trouble, tuple((question, answer) for question, answer in ordered), tuple(_drawn(trouble, dice)))


def _drawn(trouble: Frame, dice: Dice) -> list[tuple[str, str]]:
    counts = {number: listed.count("|") + 1 for text in texts(trouble) for number, listed in _NUMBERED.findall(text)}
    chosen = {f"{number}=": str(dice.pick(range(counts[number]))) for number in sorted(counts)}
    return list((chosen | trouble.slots(dice)).items())


def texts(trouble: Frame) -> list[str]:
    """All that a trouble may put into words."""
    own = trouble.own
    return [
        own["told"],
        *own["opening"],
        own["felt"],
        *(text for phase in PHASES for one in own[phase] for text in one),
    ]


# Reading a talk again -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Followed:
    """A talk as somebody hears it who knows the bank: what comes next, and who is spoken of."""

    script: Script
    place: int  # of the next question and its answer
    cores: tuple[str, ...]  # what was told out of the bank, in order
    names: dict[str, str]  # `o` and `t`, as far as they are named

    def values(self) -> dict[str, str]:
        return dict(self.script.values) | self.names


def followed(
    actor: str, told: Sequence[str], trouble: Frame | None = None, asked: Sequence[str] = ()
) -> Followed | None:
    """What the client has told so far, and who is named there or in what was asked; None of a talk not out of the bank."""
    found = trouble or _recognised(" ".join(told))
    if found is None:
        return None
    own, opening = script(actor, found), len(found.own["opening"])
    heard = [_heard([*found.own["opening"], *own.answers()], text) for text in told]
    questions = [_heard([question for question, _ in own.asked], text) for text in asked]
    names = {
        slot: name
        for _, match in filter(None, [*questions, *heard])
        for slot, name in said(match).items()
        if slot in ("o", "t")
    }
    place = max((number - opening + 1 for number, _ in filter(None, heard)), default=0)
    cores = tuple(match[0] for _, match in filter(None, heard))
    return Followed(own, max(0, place), cores, names) if cores or trouble else None


def _heard(templates: Sequence[str], text: str) -> tuple[int, re.Match[str]] | None:
    """Which of the templates a message was made from."""
    matches = ((number, caught(template).search(text)) for number, template in enumerate(templates))
    return next(((number, match) for number, match in matches if match), None)


def said(match: re.Match[str]) -> dict[str, str]:
    """Slots and what stands for them, names as they are inside a sentence."""
    return {name: _inside(text) for name, text in match.groupdict().items() if text}


def _inside(name: str) -> str:
    first = name.split()[0].lower()
    return name[0].lower() + name[1:] if first in _ARTICLES else name


@lru_cache(maxsize=2048)
def caught(text: str) -> re.Pattern[str]:
    """What a text of the bank can become, with a group for each slot; those within choices are not caught."""
    seen: set[str] = set()
    pieces = []
    for place, piece in enumerate(_PIECE.split(text)):
        if place % 2 == 0:
            pieces.append(re.escape(piece))
        elif piece[0] == "[":
            pieces.append(pattern(piece).pattern)
        elif (name := piece[1].lower() + piece[2:-1]) in seen:
            pieces.append(f"(?P={name})")
        else:
            seen.add(name)
            pieces.append(f"(?P<{name}>{_NAME})")
    return re.compile("".join(pieces), re.I)


@cache
def _index() -> Index:
    return Index.of(
        [*one.own["opening"], *(answer for phase in PHASES for _, answer in one.own[phase])] for one in troubles()
    )


def _recognised(text: str) -> Frame | None:
    place = _index().best(text)
    return None if place is None else troubles()[place]


def cast_of(trouble: Frame, background: str) -> dict[str, Person]:
    """Whom a background of this bank is about, as far as it tells: `s`, `o` and `t`."""
    match = caught(trouble.own["told"]).search(background)
    if match is None:
        return {}
    found = said(match)
    rest = words(background[: match.start()] + background[match.end() :])  # there only the client is spoken of
    shes = {slot: _she(found, slot) for slot in _FORMS if slot in found}
    shes["s"] = sum(map(rest.count, ("she", "her"))) > sum(map(rest.count, ("he", "his", "him")))
    return {slot: Person(found[slot], she) for slot, she in shes.items() if she is not None}


_FORMS = {"s": ("he", "his", "him", "himself"), "o": ("ohe", "ohis", "ohim"), "t": ("tshe", "this", "tim")}


def _she(found: dict[str, str], slot: str) -> bool | None:
    told = [found[form].lower() for form in _FORMS[slot] if form in found]
    return told[0] in ("she", "her", "herself") if told else None
