"""Facts about the A/B mixture: its numbers, and that what it samples follows from the seed and what was measured."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from factory.slm.mixture import Mixture, entropy, share, temperatures

PI = (0.2, 0.8)
SIZES = np.asarray([5 + n % 40 for n in range(400)])


def _mixture(**given: Any) -> Mixture:
    """Pool A of 100 rows, B of 300, 8 looks of an epoch."""
    told: dict[str, Any] = {"pi": PI, "cooling": True, "high": 4.0, "low": 0.5, "floor": 0.05, "looks": 8, "epochs": 3}
    told |= {"batch": 10, "seed": 0, "first": tuple(range(100)), "second": tuple(range(100, 400))}
    return Mixture(**{**told, **given})


def test_the_share_of_pool_a_at_both_ends() -> None:
    """.41 at a temperature of 4, .06 at .5, .2 at 1 (pi itself), and never less than the floor."""
    assert share(PI, 4.0) == pytest.approx(0.4142, abs=1e-4)
    assert share(PI, 0.5) == pytest.approx(0.04 / 0.68, abs=1e-6)
    assert share(PI, 1.0) == pytest.approx(0.2)
    assert share(PI, 0.1) == 0.05 and share((0.8, 0.2), 0.1) == 0.95 and share(PI, 0.1, floor=0.0) < 1e-5
    assert share((1e-300, 1.0), 0.01) == 0.05 and share((1.0, 1e-300), 0.01) == 0.95


def test_entropy_is_one_where_nothing_is_known_and_nothing_where_all_is() -> None:
    """A half, certainty, and p = .25: .8113 bits."""
    assert entropy(np.full((3, 28), 0.5)) == pytest.approx(1.0)
    assert entropy(np.asarray([[0.0, 1.0]])) == pytest.approx(0.0, abs=1e-9)
    assert entropy(np.asarray([[0.25, 0.75]])) == pytest.approx(0.8113, abs=1e-4)


def test_the_temperature_follows_the_average_entropy_and_never_rises() -> None:
    """4; after an entropy of 0 the average is .9: .5 + 3.5 * .9; then 1: .91, which would be warmer; then 0: .819."""
    assert temperatures([0.0, 1.0, 0.0]) == pytest.approx([4.0, 3.65, 3.65, 0.5 + 3.5 * 0.819])
    assert temperatures([0.0] * 300)[-1] == pytest.approx(0.5) and temperatures([1.0] * 9) == [4.0] * 10


def test_a_mixture_draws_its_share_from_each_pool_and_every_row_before_any_twice() -> None:
    """Constant shares: .2 of 400 rows an epoch are 80; pool A's 100 rows come once in 1.25 epochs."""
    made = _mixture(cooling=False)
    looks = [list(made.look(n, made.shares([]), SIZES, 10**6)) for n in range(24)]
    rows = [row for look in looks[:8] for update in look for row in update.every]
    assert len(rows) == 400 and sum(row < 100 for row in rows) == 80
    assert max(Counter(row for row in rows if row < 100).values()) == 1
    counts = Counter(row for look in looks[:10] for update in look for row in update.every if row < 100)
    assert sum(counts.values()) == 100 and set(counts.values()) == {1}
    assert sum(map(len, looks)) == made.updates * 3 == 120
    assert all(update.rows == 10 for look in looks for update in look)


def test_a_look_is_the_same_whoever_asks_and_whenever() -> None:
    """What a resumed training rests on: rows follow from the seed and the entropies alone."""
    measured = [0.9, 0.7, 0.5, 0.4]
    one, other = _mixture(), _mixture()
    first = [list(one.look(n, one.shares(measured[:n]), SIZES, 500)) for n in range(5)]
    assert list(other.look(4, other.shares(measured), SIZES, 500)) == first[4]
    assert list(_mixture(seed=1).look(4, one.shares(measured), SIZES, 500)) != first[4]


def test_cooling_moves_from_coverage_to_convergence() -> None:
    """Rows of A in the first look and after fifty of certainty."""
    made = _mixture(looks=40, epochs=2)
    shares = made.shares([0.0] * 79)
    early, late = ([row for update in made.look(n, shares, SIZES, 10**6) for row in update.every] for n in (0, 79))
    assert sum(row < 100 for row in early) == 4 and sum(row < 100 for row in late) <= 1
    assert shares[0] == pytest.approx(0.4142, abs=1e-4) and shares[79] == pytest.approx(0.0588, abs=1e-3)


def test_half_and_half_and_one_after_the_other_are_there_to_compare_with() -> None:
    """.5 throughout; A for its 100 of 400 rows' share of all updates, then B."""
    half = _mixture(pi=(0.5, 0.5), cooling=False)
    rows = [row for n in range(8) for update in half.look(n, half.shares([]), SIZES, 10**6) for row in update.every]
    assert sum(row < 100 for row in rows) == 200
    then = _mixture(pi=None, cooling=False)
    assert then.shares([]) == [1.0] * 6 + [0.0] * 18
    drawn = [
        {row < 100 for update in then.look(n, then.shares([]), SIZES, 10**6) for row in update.every} for n in range(24)
    ]
    assert drawn == [{True}] * 6 + [{False}] * 18


def test_processes_share_the_rows_of_every_update() -> None:
    """Each has its own, together they have all."""
    made = _mixture()
    whole, one, other = (list(made.look(0, [0.4], SIZES, 200, part)) for part in ((0, 1), (0, 2), (1, 2)))
    for update, mine, theirs in zip(whole, one, other, strict=True):
        rows = [row for part in (mine, theirs) for some in part.passes for row in some]
        assert update.every == mine.every == theirs.every and sorted(rows) == sorted(update.every)


def test_an_epoch_is_cut_into_looks_as_even_as_can_be() -> None:
    """Of 40 updates 8 looks of five, of more looks than updates one each."""
    assert _mixture().parts == [5] * 8 and _mixture(looks=1000).parts == [1] * 40
    assert sum(_mixture(looks=7).parts) == 40 and math.isclose(_mixture().updates, 40)
