"""Drawing so that nothing tells: of all ways to show an option, each as likely as can be while averages stay even.

Whoever does not read the scene goes by what can be seen of the options: the longest, the one with an "and", the one that
shares words with the rest. None of it helps where, over many items, the right option has of each just what the options
beside it have. One item alone cannot be even; so each of its possible sets gets a chance of exp(-w · d), where d is what
the right one has more than its set has on average, and the weights w, one for all items of a kind, are those for which
the mean of d over the bank is zero: the distribution of the greatest entropy under that condition.
"""

from collections.abc import Sequence
from math import exp
from typing import TypeVar

from factory.engines.rehearsal.dice import Dice

T = TypeVar("T")

Apart = Sequence[float]  # what the right option has more than all that are shown on average, feature by feature

STEPS = 50  # of Newton; ten are enough
FIRM = 1e-3  # keeps weights finite where a bank cannot be even


def drawn(sets: Sequence[T], aparts: Sequence[Apart], weights: Sequence[float], dice: Dice) -> T:
    """One of the sets, by the weights of its kind."""
    chances = [exp(-sum(map(float.__mul__, weights, apart))) for apart in aparts]
    one: T = dice.weighted(sets, chances)
    return one


def fitted(bank: Sequence[tuple[float, Sequence[Apart]]]) -> tuple[float, ...]:
    """The weights for a bank: how often each of its frames is asked for, and what sets it has.

    They are rounded, so that machines which add up in another order draw the same.
    """
    import numpy as np  # here, as a command line that only prints its help has no use for it

    often = np.array([share for share, _ in bank])
    often /= often.sum()
    tables = [np.array(aparts, float) for _, aparts in bank]
    weights = np.zeros(tables[0].shape[1])
    for _ in range(STEPS):
        slope, bend = FIRM * weights, FIRM * np.eye(len(weights))
        for share, table in zip(often, tables, strict=True):
            chances = np.exp(-(table @ weights) + (table @ weights).min())
            chances /= chances.sum()
            mean = chances @ table
            slope -= share * mean
            bend += share * ((table * chances[:, None]).T @ table - np.outer(mean, mean))
        step = np.linalg.solve(bend, slope)
        weights -= step * min(1.0, 1.0 / (np.abs(step).max() + 1e-12))  # no longer than one, or it would leap too far
        if np.abs(step).max() < 1e-6:
            break
    return tuple(round(float(one), 3) for one in weights)


def placed(values: Sequence[float]) -> list[float]:
    """For each rank from the greatest down, whether the first value has it, less chance; equal values share."""
    more, same = sum(one > values[0] for one in values), sum(one == values[0] for one in values)
    ranks = [1 / same if more <= rank < more + same else 0.0 for rank in range(len(values))]
    return [one - 1 / len(values) for one in ranks[1:]]  # the first follows from the others


def apart(values: Sequence[float]) -> float:
    """What the first value is above the mean, in spreads of the values."""
    mean = sum(values) / len(values)
    spread = (sum((one - mean) ** 2 for one in values) / len(values)) ** 0.5
    return (values[0] - mean) / spread if spread else 0.0


def above(values: Sequence[float]) -> float:
    """What the first value is above the mean."""
    return values[0] - sum(values) / len(values)
