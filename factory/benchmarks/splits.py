"""Splits that keep together what belongs together, and texts that stand on both sides of an official split."""

from collections.abc import Sequence

import numpy as np

from factory.benchmarks.rows import Row
from factory.errors import WrongRequest
from factory.text import normal

Rows = tuple[Row, ...]


def folds(rows: Sequence[Row], count: int, seed: int) -> list[tuple[Rows, Rows]]:
    """`count` pairs (train, test), every row once in a test: rows of one group or of one text in normal form stay together.

    Sizes and labels are as even as whole clusters allow: the largest first, each into the fold that has least of its kind.
    """
    clusters = _clusters(rows)
    if len(clusters) < count:
        raise WrongRequest(
            f"{len(rows):,} rows make {len(clusters)} clusters that cannot be cut, too few for {count} folds; give more rows"
        )
    kinds = _kinds(rows)
    order = np.random.default_rng(seed).permutation(len(clusters))
    largest = sorted(order.tolist(), key=lambda place: -len(clusters[place]))
    filled = np.zeros((count, kinds.shape[1]))
    home = np.empty(len(rows), int)
    for place in largest:
        cluster = clusters[place]
        weight = kinds[cluster].sum(axis=0)
        fold = int((filled @ weight).argmin())
        filled[fold] += weight
        home[cluster] = fold
    return [
        (
            tuple(row for row, at in zip(rows, home, strict=True) if at != fold),
            tuple(row for row, at in zip(rows, home, strict=True) if at == fold),
        )
        for fold in range(count)
    ]


def _clusters(rows: Sequence[Row]) -> list[list[int]]:
    """Places of rows that hang together, by union-find over groups and texts."""
    parent = list(range(len(rows)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[tuple[str, str], int] = {}
    for place, row in enumerate(rows):
        for key in (("group", row.group), ("text", normal(row.text))):
            if key != ("group", ""):
                parent[root(place)] = root(first.setdefault(key, place))
    clusters: dict[int, list[int]] = {}
    for place in range(len(rows)):
        clusters.setdefault(root(place), []).append(place)
    return list(clusters.values())


def _kinds(rows: Sequence[Row]) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """[rows, labels + 1]: each column sums to 1 over the labels, and the size of a fold weighs as much as all labels."""
    labels = sorted({label for row in rows for label in row.labels})
    at = {label: place for place, label in enumerate(labels)}
    kinds = np.zeros((len(rows), len(labels) + 1))
    for place, row in enumerate(rows):
        kinds[place, [at[label] for label in row.labels]] = 1
    kinds[:, :-1] /= kinds[:, :-1].sum(axis=0)
    kinds[:, -1] = np.sqrt(max(1, len(labels))) / len(rows)
    return kinds


def _key(row: Row, context: bool) -> str:
    return f"{normal(row.context)}\x1f{normal(row.text)}" if context else normal(row.text)


def repeats(train: Sequence[Row], test: Sequence[Row], context: bool = False) -> frozenset[str]:
    """Ids of the test rows whose text, in normal form, stands in train; with `context` the turns before must be the same too."""
    seen = {_key(row, context) for row in train}
    return frozenset(row.id for row in test if _key(row, context) in seen)


def without(test: Sequence[Row], repeated: frozenset[str]) -> Rows:
    """The test rows that are not `repeated`."""
    return tuple(row for row in test if row.id not in repeated)
