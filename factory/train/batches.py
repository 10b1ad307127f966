"""Which rows go through the model together: rows of like length, in an order that the seed and the epoch decide."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POOL = 50  # batches that are sorted by length together: more would make epochs alike, fewer pad more


@dataclass(frozen=True, slots=True)
class Update:
    """The rows of one update, cut into passes that hold at most a token budget each; `every` are those of all processes."""

    passes: tuple[tuple[int, ...], ...]
    every: tuple[int, ...]

    @property
    def rows(self) -> int:
        return len(self.every)


def epoch(
    lengths: Sequence[int], batch: int, token_budget: int, seed: int, number: int, part: tuple[int, int] = (0, 1)
) -> Iterator[Update]:
    """All rows once, `batch` an update; the same arguments give the same updates, so a stopped epoch can be resumed.

    `part` (which, of how many processes): every one has the same updates and its own share of the rows of each.
    """
    draw = np.random.default_rng((seed, number))
    yield from bucketed(draw.permutation(len(lengths)), np.asarray(lengths), batch, token_budget, draw, part)


def bucketed(
    order: NDArray[np.intp],
    sizes: NDArray[np.intp],
    batch: int,
    token_budget: int,
    draw: np.random.Generator,
    part: tuple[int, int] = (0, 1),
) -> Iterator[Update]:
    """The rows of `order`, `batch` an update, each update of rows of like length, updates in an order that is drawn."""
    mine, processes = part
    chunks: list[np.ndarray] = []
    for start in range(0, len(order), batch * POOL):
        pool = order[start : start + batch * POOL]
        pool = pool[np.argsort(sizes[pool], kind="stable")]
        chunks += [pool[at : at + batch] for at in range(0, len(pool), batch)]
    for place in draw.permutation(len(chunks)):
        rows = chunks[place].tolist()
        yield Update(tuple(passes(rows[mine::processes], sizes, token_budget)), tuple(rows))


def passes(
    rows: Sequence[int], sizes: Sequence[int] | NDArray[np.intp], token_budget: int
) -> Iterator[tuple[int, ...]]:
    """`rows` in order of length, cut where rows times the longest of them would be more tokens than the budget."""
    ordered = sorted(rows, key=lambda row: sizes[row])
    taken: list[int] = []
    for row in ordered:
        if taken and (len(taken) + 1) * sizes[row] > token_budget:
            yield tuple(taken)
            taken = []
        taken.append(row)
    if taken:
        yield tuple(taken)
