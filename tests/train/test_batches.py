"""Facts about batches: every row once, like lengths together, the same order for the same seed."""

import random

from hypothesis import given
from hypothesis import strategies as st

from factory.train.batches import epoch

LENGTHS = [random.Random(n).randint(3, 120) for n in range(1000)]


@given(
    st.lists(st.integers(1, 512), min_size=1, max_size=300), st.integers(1, 64), st.integers(1, 4096), st.integers(0, 9)
)
def test_an_epoch_has_every_row_once_and_no_pass_over_the_budget(
    lengths: list[int], batch: int, budget: int, seed: int
) -> None:
    """A pass holds rows times longest tokens within the budget, or one row that alone is more."""
    updates = list(epoch(lengths, batch, budget, seed, 0))
    rows = [row for update in updates for some in update.passes for row in some]
    assert sorted(rows) == list(range(len(lengths)))
    assert all(update.rows <= batch for update in updates)
    for update in updates:
        for some in update.passes:
            assert len(some) == 1 or len(some) * max(lengths[row] for row in some) <= budget


def test_the_same_seed_and_epoch_give_the_same_updates_and_another_epoch_others() -> None:
    """What a resumed epoch rests on."""
    first, again, other = (list(epoch(LENGTHS, 16, 4096, 1, n)) for n in (0, 0, 1))
    assert first == again != other


def test_rows_of_like_length_come_together() -> None:
    """Padding to the longest of a batch costs less than a twentieth."""
    updates = list(epoch(LENGTHS, 16, 10**6, 0, 0))
    padded = sum(len(some) * max(LENGTHS[row] for row in some) for update in updates for some in update.passes)
    assert padded < 1.05 * sum(LENGTHS)
