"""The rehearsal engine as its own solver: it knows the bank, so it finds the right option from scene and options alone."""

import re
from collections.abc import Iterable
from string import ascii_uppercase
from typing import Any

from factory.engines.rehearsal.dice import Dice
from factory.engines.rehearsal.frames import Frame, pattern, phrasings, recognised

Fields = dict[str, str]

_OPTION = re.compile(r"^([A-F])\. (.*)$", re.M)
BLIND = "(not given)"
SURE = 0.95  # how often it answers what it knows


def solve(fields: Fields, dice: Dice) -> dict[str, Any]:
    """Right but for one time in twenty; without the scene, or for one that is not the bank's, any answer."""
    dice = Dice("solve", dice.number(), *fields.values())
    kind = "eu" if "emotions" in fields else "ea"
    frame = None if fields["scenario"] == BLIND else recognised(kind, fields["scenario"])
    knows = frame is not None and dice.chance(SURE)
    if kind == "ea":
        right = _answer(frame, fields) if frame else None
        return {"answer": _said(fields["choices"], right, knows, dice)}
    felt, cause = _understood(frame, fields) if frame else (None, None)
    slips = dice.number() % 2  # one that does not know its answer may still be half right
    return {
        "emotion": _said(fields["emotions"], felt, knows or (slips == 0 and frame is not None), dice),
        "cause": _said(fields["causes"], cause, knows or (slips == 1 and frame is not None), dice),
    }


def _said(options: str, right: str | None, knows: bool, dice: Dice) -> str:
    letters = [letter for letter, _ in _OPTION.findall(options)] or list(ascii_uppercase[:4])
    if right is not None and knows:
        return right
    return str(dice.pick([letter for letter in letters if right is None or letter != right] or letters))


def _understood(frame: Frame, fields: Fields) -> tuple[str | None, str | None]:
    wanted = frozenset(frame.own["emotion"].lower().split(" & "))
    felt = next((n for n, text in _options(fields["emotions"]) if frozenset(text.split(" & ")) == wanted), None)
    return felt, _matching(phrasings(frame.own["cause"]), fields["causes"])


def _answer(frame: Frame, fields: Fields) -> str | None:
    kind = fields["kind"].lower()
    return _matching(phrasings(frame.own[kind]["right"]), fields["choices"]) if kind in frame.own else None


def _matching(texts: Iterable[str], options: str) -> str | None:
    """The option that is the right one in one of its phrasings."""
    known = [pattern(_plain(text)) for text in texts]
    return next((n for n, option in _options(options) if any(one.fullmatch(option) for one in known)), None)


def _plain(text: str) -> str:
    """As it stands among the options: without quotes and full stop."""
    return text.strip("'").rstrip(".")


def _options(text: str) -> list[tuple[str, str]]:
    return [(letter, option.strip().lower()) for letter, option in _OPTION.findall(text)]
