"""Which rows come from which pool: A for coverage (synthetic, weak), B for convergence (clean, real).

Ours, inspired by EmoLoom-2B (METHODS 5.2): p_t(A) = softmax(log pi / tau_t)_A with at least `floor` for either pool, and
tau_t = min(tau_{t-1}, low + (high - low) * H_t), H_t the exponential average (.9) of the mean binary entropy of predictions on
validation rows, over ln 2. A constant share (cooling off, tau 1) and A-then-B are there to compare with.

Everything follows from the seed and the entropies that were measured, so a sampler's state is that list of numbers.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.train.batches import Update, bucketed

KEPT = 0.9  # of the average entropy at each look; it begins at 1, that of a model that knows nothing


def share(pi: tuple[float, float], tau: float, floor: float = 0.05) -> float:
    """p(A) at a temperature: .41 at 4 and .06 at .5 for pi = (.2, .8)."""
    one, other = (math.log(part) / tau for part in pi)
    return min(1 - floor, max(floor, 1 / (1 + math.exp(min(700.0, other - one)))))  # over 709 is no number any more


def temperatures(entropies: Sequence[float], high: float = 4.0, low: float = 0.5) -> list[float]:
    """Tau before the first look and after each; `entropies` are mean binary entropies over ln 2, in 0..1."""
    found, average = [high], 1.0
    for entropy in entropies:
        average = KEPT * average + (1 - KEPT) * entropy
        found.append(min(found[-1], low + (high - low) * average))
    return found


def entropy(probabilities: NDArray[np.floating]) -> float:
    """Mean binary entropy over ln 2 of probabilities [rows, labels]: 1 where all are a half, 0 where nothing is in doubt."""
    p = np.clip(probabilities.astype(np.float64), 1e-12, 1 - 1e-12)
    return float((-(p * np.log2(p) + (1 - p) * np.log2(1 - p))).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Two pools as numbers of rows; a look is a part of an epoch with one share. `pi` None: A, then B."""

    first: tuple[int, ...]
    second: tuple[int, ...]
    pi: tuple[float, float] | None
    cooling: bool
    high: float
    low: float
    floor: float
    looks: int
    epochs: int
    batch: int
    seed: int

    @property
    def updates(self) -> int:
        """Of an epoch, which is as long as one over all rows."""
        return math.ceil((len(self.first) + len(self.second)) / self.batch)

    @property
    def parts(self) -> list[int]:
        """Updates of each look of an epoch, as even as can be."""
        looks = min(self.looks, self.updates)
        ends = [self.updates * n // looks for n in range(looks + 1)]
        return [after - before for before, after in zip(ends, ends[1:], strict=False)]

    def shares(self, entropies: Sequence[float]) -> list[float]:
        """p(A) of every look so far and of the next; without cooling of all, as nothing is looked at."""
        count = len(self.parts) * self.epochs
        if self.pi is None:
            first = count * len(self.first) / (len(self.first) + len(self.second))
            return [min(1.0, max(0.0, first - look)) for look in range(count)]
        if not self.cooling:
            return [self.pi[0]] * count
        return [share(self.pi, tau, self.floor) for tau in temperatures(entropies, self.high, self.low)]

    def look(
        self,
        number: int,
        shares: Sequence[float],
        sizes: NDArray[np.intp],
        token_budget: int,
        part: tuple[int, int] = (0, 1),
    ) -> Iterator[Update]:
        """The updates of look `number`, counted over all epochs; `shares` of the looks up to it."""
        rows = [self.parts[n % len(self.parts)] * self.batch for n in range(number + 1)]
        ends = np.cumsum([0.0, *(one * p for one, p in zip(rows, shares, strict=False))])
        from_first = [
            math.floor(end + 1e-9) for end in ends
        ]  # drawn from A so far: shares hold over time, not in each look
        drawn = sum(rows)
        before, after = from_first[number], from_first[number + 1]
        some = [
            *_stream(self.first, before, after, (self.seed, 1)),
            *_stream(self.second, drawn - rows[number] - before, drawn - after, (self.seed, 2)),
        ]
        draw = np.random.default_rng((self.seed, 3, number))
        yield from bucketed(draw.permutation(np.asarray(some)), sizes, self.batch, token_budget, draw, part)


def _stream(pool: Sequence[int], start: int, end: int, seed: tuple[int, int]) -> list[int]:
    """Places `start` to `end` of the pool's rows in an endless order: all once, in another order all once more, ..."""
    found: list[int] = []
    while start < end:
        turn, place = divmod(start, len(pool))
        order = np.random.default_rng((*seed, turn)).permutation(len(pool))
        some = order[place : place + end - start]
        found += [pool[n] for n in some]
        start += len(some)
    return found
