"""The rehearsal engine's only chance."""

import random
from collections.abc import Sequence
from typing import Any


class Dice:
    """A generator seeded by what is asked (only `random()`, which no Python version changes)."""

    def __init__(self, *seed: object) -> None:
        self._draw = random.Random("\x1f".join(map(str, seed))).random

    def number(self) -> int:
        return int(self._draw() * 2**32)

    def chance(self, share: float) -> bool:
        return self._draw() < share

    def pick(self, some: Any) -> Any:
        return some[int(self._draw() * len(some))]

    def weighted(self, some: Sequence[Any], weights: Sequence[float]) -> Any:
        """One of them, each as often as its weight says."""
        left = self._draw() * sum(weights)
        for one, weight in zip(some, weights, strict=True):
            left -= weight
            if left < 0:
                return one
        return some[-1]

    def shuffled(self, some: Any) -> list[Any]:
        return [one for _, _, one in sorted((self._draw(), place, one) for place, one in enumerate(some))]

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._draw()
