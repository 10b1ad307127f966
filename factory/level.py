"""No shortcut by length or place: the right option is the longest, the second longest, ... the shortest, and it is A, B, ...
no more often than a blind guess is right, within three points, for each question of an item.

Levelling the longest option alone does not do: of items of a model that was held to it the second longest was right in 45
of 100. Places are dealt evenly, but not evenly among the items that other rules leave.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

WHOLE = 300  # shares are whole numbers of these: 1, 1/2, ... 1/6, chance, three points
MARGIN = 9  # three points: a rank or place may be right so much more often than chance
LEAST = 30  # items of which three points mean something

Counts = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Levelled:
    """The items to leave out, each with the column that was too often right; and whether every column holds in what is
    left. It may not where no level set of `LEAST` items is found: then none goes."""

    gone: Mapping[int, int]
    holds: bool


def ranks(choices: Sequence[str], right: str) -> list[int]:
    """For the longest option, the second longest and so on how much of it is right, in 300ths: all of one, or a part of
    those that are as long as the right one."""
    longer = sum(len(one) > len(right) for one in choices)
    same = sum(len(one) == len(right) for one in choices)
    return [WHOLE // same if longer <= rank < longer + same else 0 for rank in range(len(choices))]


def places(choices: Sequence[str], right: str) -> list[int]:
    """For each place how much of it is right, in 300ths: all of one."""
    return [WHOLE * (one == right) for one in choices]


def limits(sizes: Iterable[int]) -> list[int]:
    """How much of each rank, or place, may be right, in 300ths of an item: for questions of so many options, one after the
    other."""
    return [limit for size in sizes for limit in [WHOLE // size + MARGIN] * size]


def levelled(shares: Counts, limits: Sequence[int]) -> Levelled:
    """Which items (rows of `shares`: what of each rank and place is right, side by side) to leave out.

    One at a time goes what brings the columns that are over their limits nearest to them, the first item of those that do
    it equally well. It ends: each step takes an item away, and fewer than `LEAST` are not levelled. At last what turns out
    to have gone in vain comes back, so that none of the items that are left out could stay. Where fewer than `LEAST` would
    be left nothing goes: a handful is no better level than whole.
    """
    if not len(shares):
        return Levelled({}, holds=True)
    kinds, kind_of = np.unique(shares, axis=0, return_inverse=True)
    adds = kinds.astype(np.int64) - np.array(limits)  # what an item of a kind adds to the excess of each column
    queue = _Queue(kind_of.reshape(-1), len(kinds))
    over: Counts = queue.left @ adds
    while (over > 0).any() and queue.left.sum() >= LEAST:
        excess = np.maximum(over - adds, 0).astype(np.float64)
        kind = queue.first(np.square(excess).sum(axis=1))
        queue.take(kind, int(np.argmax(np.where(adds[kind] > 0, over, over.min() - 1))))
        over = over - adds[kind]
    if (over > 0).any():
        return Levelled({}, holds=False)
    while (fits := (queue.left < queue.full) & (over + adds <= 0).all(axis=1)).any():
        kind = int(np.argmax(fits))
        queue.give_back(kind)
        over = over + adds[kind]
    if queue.gone and queue.left.sum() < LEAST:
        return Levelled({}, holds=False)
    return Levelled(queue.gone, holds=True)


class _Queue:
    """Items of each kind in canonical order, of which the first ones go."""

    def __init__(self, kind_of: Counts, kinds: int) -> None:
        self._order = np.argsort(kind_of, kind="stable")
        self.full = np.bincount(kind_of, minlength=kinds)
        self.left = self.full.copy()
        self._starts = np.cumsum(self.full) - self.full
        self.gone: dict[int, int] = {}

    def first(self, cost: "np.ndarray[Any, np.dtype[np.float64]]") -> int:
        """The kind of the least cost that has an item left; of several the one whose next item stands first."""
        some = np.flatnonzero(self.left)
        best = some[cost[some] == cost[some].min()]
        return int(best[np.argmin(self._order[self._next(best)])])

    def take(self, kind: int, column: int) -> None:
        self.gone[int(self._order[self._next(kind)])] = column
        self.left[kind] -= 1

    def give_back(self, kind: int) -> None:
        self.left[kind] += 1
        del self.gone[int(self._order[self._next(kind)])]

    def _next(self, kind: Any) -> Any:
        return self._starts[kind] + self.full[kind] - self.left[kind]
