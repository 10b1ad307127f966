"""The multiple-choice items of the rehearsal engine: which frame is asked for, and who stands in it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.engines.rehearsal.application import APPLIED, ea_item
from factory.engines.rehearsal.dice import Dice
from factory.engines.rehearsal.frames import Frame, Person, application, cast, elder, stranger, understanding
from factory.engines.rehearsal.talks import Case, case_of
from factory.engines.rehearsal.understanding import SHAPES, eu_item

Fields = dict[str, str]

_WANTED = re.compile(r"^(\d+)\. (?:[a-z_]+ / )?([\w-]+)(?:, (\w+))?", re.M)
TURNS = 1_000_000  # a corpus may have ids of twenty digits
SELDOM = 0.1  # how often a frame gives way to the next one for the talk's own trouble


def understood(fields: Fields, dice: Dice) -> dict[str, Any]:
    """Items of emotional understanding, one for each line of `wanted`."""
    wanted, kinds = _WANTED.findall(fields["wanted"]), {one.own["fine"] for one in understanding()}
    batch, shapes = _batch(fields, len(wanted) / len(kinds), dice), dice.shuffled(range(len(SHAPES)))
    items = []
    for number, (n, fine, _) in enumerate(wanted):
        frame = batch.frame([one for one in understanding() if one.own["fine"] == fine] or understanding(), fine)
        items.append({"n": int(n), **eu_item(frame, batch.people(frame), shapes[number % len(shapes)], dice)})
    return {"items": items}


def applied(fields: Fields, dice: Dice) -> dict[str, Any]:
    """Items of emotional application, one for each line of `wanted`."""
    wanted, kinds = _WANTED.findall(fields["wanted"]), {one.own["category"] for one in application()}
    batch, shapes = _batch(fields, len(wanted) / (2 * len(kinds)), dice), dice.shuffled(range(len(APPLIED)))
    items = []
    for number, (n, category, asked) in enumerate(wanted):
        kind = "response" if asked.lower() == "response" else "action"
        fit = [one for one in application() if one.own["category"] == category] or application()
        frame = batch.frame(fit, f"{category}, {kind}")
        values, shape = batch.people(frame), shapes[number % len(shapes)]
        items.append({"n": int(n), **ea_item(frame, kind, values, shape, dice)})
    return {"items": items}


def _batch(fields: Fields, pace: float, dice: Dice) -> "Batch":
    return Batch(case_of(fields["actor"], fields["background"]), fields.get("unit", ""), pace, dice)


@dataclass(frozen=True, slots=True)
class Batch:
    """The items of one talk: no two of one frame. `pace` is their number over that of the kinds there are."""

    case: Case
    unit: str
    pace: float
    dice: Dice
    used: list[Frame] = field(default_factory=list)

    def frame(self, fit: Sequence[Frame], asked: str) -> Frame:
        """The frame whose turn it is, now and then the next one for the trouble that the talk is about."""
        start = turn(self.unit, asked, self.pace, len(fit))
        ring = [*fit[start:], *fit[:start]]
        fresh = [one for one in ring if one not in self.used] or ring
        near = fresh[:2] if self.dice.chance(SELDOM) else fresh[:1]
        frame = next((one for one in near if self.case.domain in one.own["domains"]), fresh[0])
        self.used.append(frame)
        return frame

    def people(self, frame: Frame) -> dict[str, str]:
        """The client and the other one, now and then the other way round or with somebody new."""
        dice, subject, other = self.dice, self.case.client, self.case.other
        if dice.chance(0.35):
            other = stranger(dice, subject.mention, other.mention, self.case.third.mention)
        elif dice.chance(0.25):
            subject, other = other, subject
        third: Person = stranger(dice, subject.mention, other.mention)
        old = elder(dice, subject.mention, other.mention, third.mention)
        return cast(subject, other, third, old) | frame.slots(dice)


def turn(unit: str, asked: str, pace: float, size: int) -> int:
    """Which of a ring's `size` frames a unit takes; the ring is turned on as units are numbered.

    An engine that remembers nothing cannot count what it has used. But units have numbers, and `pace` is how many items
    of one kind a unit has on average: by the next item of the kind, the ring has moved on by one frame.
    """
    counted = [int(one) for one in re.findall(r"[0-9]+", unit)][:-1]  # the last one is the actor's
    start = Dice("turn", asked, re.sub(r"[0-9]+", "", unit)).between(0, size)
    return int(start + sum(counted) % TURNS * pace) % size
