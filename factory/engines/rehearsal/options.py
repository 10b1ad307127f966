"""Which wrong options stand beside the right one, and in what form it stands there itself: see `even` for how it is drawn."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from factory.engines.rehearsal.dice import Dice
from factory.engines.rehearsal.even import Apart, above, apart, drawn, placed
from factory.engines.rehearsal.grounds import content
from factory.text import words

LIKE = 3.0  # times that the longest of four options may be longer than the shortest
WRONG = 3  # causes or answers beside the right one
FILLED = 60  # ways to put a frame's emotions into moulds, of which one is drawn

# What an eye falls on besides length: how it begins, commas, joined parts, denials, sentences, questions, "I".
MARKS = tuple(
    map(
        re.compile,
        (
            r"(?i)^s?he\b",
            ",",
            r"\band\b",
            r"(?i)\b(?:no|not|nobody|nothing|never|none|nor|without)\b",
            r"[.!?](?=\s)",
            r"\?",
            r"\bI\b",
        ),
    )
)

# Six emotions, each of one part or of two; a letter is one emotion. The right one may be any of them.
MOULDS = tuple(
    tuple(mould.split())
    for mould in (
        "a b c d e f",
        "ab cd a c e f",
        "ab cd a e f g",
        "ab ac a b d e",
        "ab ac b d e f",
        "ab ac d e f g",
        "ab bc ca a d e",
    )
)


# Causes and answers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filled:
    """A frame's scene, the phrasings of what is right, and all that is wrong."""

    scenario: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """The right option in one of its phrasings, the places of the wrong ones in the bank's list, and how it stands out."""

    right: str
    wrong: tuple[int, ...]
    apart: Apart


@dataclass(frozen=True, slots=True)
class _Seen:
    """What can be seen of an option without understanding it."""

    size: int
    words: frozenset[str]
    content: frozenset[str]
    marks: tuple[int, ...]

    @staticmethod
    def of(text: str) -> "_Seen":
        bare = text.rstrip(" .;")  # as it will stand among the options
        return _Seen(len(bare), frozenset(words(bare)), content(bare), tuple(len(mark.findall(bare)) for mark in MARKS))


def sets(filled: Filled) -> list[Shown]:
    """Every phrasing with every three wrong ones of like length; where none are of like length, all."""
    scene, seen = content(filled.scenario), {text: _Seen.of(text) for text in (*filled.right, *filled.wrong)}
    like, every = [], []
    for right in filled.right:
        for some in combinations(range(len(filled.wrong)), WRONG):
            shown = [seen[right], *(seen[filled.wrong[place]] for place in some)]
            every.append(Shown(right, some, tuple(_apart(shown, scene))))
            if max(one.size for one in shown) <= LIKE * min(one.size for one in shown):
                like.append(every[-1])
    return like or every


def chosen(filled: Filled, weights: Sequence[float], dice: Dice) -> tuple[str, list[int]]:
    """The right option as it is shown, and the places of the wrong ones in some order."""
    some = sets(filled)
    one = drawn(some, [each.apart for each in some], weights, dice)
    return one.right, dice.shuffled(one.wrong)


def _apart(shown: Sequence[_Seen], scene: frozenset[str]) -> Iterator[float]:
    sizes = [float(one.size) for one in shown]
    yield from placed(sizes)
    yield apart(sizes)
    rests = (frozenset[str]().union(*(other.content for other in shown if other is not one)) for one in shown)
    yield above([_share(one.content, rest) for one, rest in zip(shown, rests, strict=True)])
    yield above([_share(one.content, scene) for one in shown])
    yield above([sum(bool(one.words & other.words) for other in shown if other is not one) for one in shown])
    for mark in range(len(MARKS)):
        yield above([float(one.marks[mark]) for one in shown])


def _share(own: frozenset[str], other: frozenset[str]) -> float:
    return len(own & other) / max(1, len(own))


# Emotions -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Six:
    """The right emotion and five wrong ones, the parts of each in the order of the alphabet."""

    right: str
    wrong: tuple[str, ...]
    apart: Apart


def sixes(right: str, refused: Sequence[Sequence[str]], dice: Dice) -> list[Six]:
    """Ways to show an emotion: `refused` are the groups of wrong ones, each with one reason, so never joined."""
    own = right.split(" & ")
    group = {felt: place for place, listed in enumerate(refused) for felt in listed if felt not in own}
    fit = [mould for mould in MOULDS if len(set("".join(mould))) <= len(own) + len(group)]
    fit = [mould for mould in fit if any(len(one) == len(own) for one in mould)]
    found = [_six(own, group, dice.pick(fit), dice) for _ in range(FILLED)]
    return [one for one in found if not _same(one, group)] or found


def emotions(
    right: str, refused: Sequence[Sequence[str]], weights: Sequence[float], dice: Dice
) -> tuple[str, list[str]]:
    """The right emotion as it is shown, and the five wrong ones in some order."""
    some = sixes(right, refused, dice)
    one = drawn(some, [each.apart for each in some], weights, dice)
    return one.right, dice.shuffled(one.wrong)


def _six(own: Sequence[str], group: dict[str, int], mould: Sequence[str], dice: Dice) -> Six:
    at = dice.pick([place for place, one in enumerate(mould) if len(one) == len(own)])
    letters = dict(zip(mould[at], dice.shuffled(own), strict=True))
    rest = [letter for letter in sorted(set("".join(mould))) if letter not in letters]
    letters |= dict(zip(rest, dice.shuffled(group), strict=False))
    right, *wrong = (
        " & ".join(sorted(letters[one] for one in each)) for each in (mould[at], *mould[:at], *mould[at + 1 :])
    )
    shown = [right, *wrong]
    parts = [frozenset(one.split(" & ")) for one in shown]
    sizes = [float(len(one)) for one in shown]
    joined = above([float(len(one)) for one in parts])
    shares = above([sum(bool(one & other) for other in parts) for one in parts])
    return Six(right, tuple(wrong), (*placed(sizes), apart(sizes), joined, shares))


def _same(one: Six, group: dict[str, int]) -> bool:
    """Whether two emotions with one reason against them stand joined."""
    pairs = [felt.split(" & ") for felt in one.wrong if " & " in felt]
    return any(a in group and b in group and group[a] == group[b] for a, b in pairs)
