"""Against rare labels, in the training part alone: weights, rows left out or repeated, and ISMOTE on embeddings.

Every function takes 0/1 targets [rows, labels] of the training part and sees nothing else, so nothing of validation or test
can reach it. Counts follow METHODS 6: IRLbl(k) is the largest label's count over that of k.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Rows = NDArray[np.intp]
VARIANTS = ("paper", "released", "smote")
NEIGHBOURS = 5
FEWEST = 3  # rows of a label below which it is left alone
GROWTH = 5  # times that a label may grow
ALIKE = 0.98  # cosine above which two rows are one and make no third
PURITY, AROUND = 0.2, 10  # share of so many nearest real rows that must have the label
WEIGHT = 0.5  # of a made row in the loss


def pos_weight(targets: Floats, power: float) -> Floats | None:
    """(absent / present) to this power for each label, at most 100; None for power 0."""
    if not power:
        return None
    count = targets.sum(axis=0)
    return np.asarray(np.minimum(100.0, ((len(targets) - count) / np.maximum(count, 1)) ** power))


def undersampled(targets: Floats, seed: int) -> Rows:
    """Rows that stay when labels that are more frequent than the mean label are thinned to the mean; a row that has
    a rarer label too always stays."""
    count = targets.sum(axis=0)
    mean = count[count > 0].mean()
    share = np.where(count > mean, mean / np.maximum(count, 1), 1.0)
    own = np.where(targets > 0, share, 0.0).max(axis=1)
    draw = np.random.default_rng(seed).random(len(targets))
    return np.flatnonzero(draw < np.where(targets.any(axis=1), own, 1.0))


def oversampled(targets: Floats, seed: int) -> Rows:
    """All rows, and rows of minority labels again until each has `goal` of them."""
    draw = np.random.default_rng(seed)
    rows = [np.arange(len(targets))]
    for label, wanted in sorted(goals(targets).items()):
        own = np.flatnonzero(targets[:, label])
        rows.append(draw.choice(own, wanted - len(own)))
    return np.concatenate(rows)


def goals(targets: Floats) -> dict[int, int]:
    """How many rows each minority label is to have: the median count, at most five times its own (METHODS 6.5)."""
    count = targets.sum(axis=0)
    there = np.flatnonzero(count)
    ratio = count.max() / count[there]
    median = int(np.median(count[there]))
    minority = there[ratio > ratio.mean()]
    wanted = {int(label): int(min(median, GROWTH * count[label])) for label in minority}
    return {label: goal for label, goal in wanted.items() if goal > count[label]}


# ISMOTE --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Rows put between real ones: embeddings [made, width], targets [made, labels], where on its line each lies (`place`:
    0 the seed, 1 the neighbour), which rows it came from, and how many were refused because real rows around it differ."""

    embeddings: Floats
    targets: Floats
    place: Floats
    seeds: Rows
    neighbours: Rows
    refused: int


def places(count: int, variant: str, draw: np.random.Generator) -> Floats:
    """Where on the line from a row (0) to its neighbour (1) new ones lie.

    'smote' in [0, 1]; 'paper' s + r where s <= 0.5, else s - r, in (-0.5, 1.5); 'released', as the code published with
    the paper computes, s + r in (0, 2) (Scientific Reports 15, 2025, s41598-025-09506-w; METHODS 6.3).
    """
    s, r = draw.random(count), draw.random(count)
    if variant == "smote":
        return s
    if variant == "released":
        return s + r
    return np.where(s <= 0.5, s + r, s - r)


def ismote(embeddings: Floats, targets: Floats, seed: int, variant: str = "paper", neutral: int = -1) -> Made:
    """New rows for minority labels on the lines between rows that share one (METHODS 6.5, ours, after MLSMOTE).

    `embeddings` [rows, width] and `targets` [rows, labels] of the training part; `neutral` is the label that goes where
    another stays. Several labels a row, which the published code cannot do.
    """
    draw = np.random.default_rng(seed)
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    wanted = goals(targets)
    some = [
        made
        for label in sorted(wanted)
        for made in _of_label(label, wanted[label], embeddings, unit, targets, draw, variant, neutral)
    ]
    if not some:
        none = np.zeros(0, np.intp)
        return Made(
            embeddings=np.zeros((0, embeddings.shape[1]), embeddings.dtype),
            targets=np.zeros((0, targets.shape[1]), targets.dtype),
            place=np.zeros(0),
            seeds=none,
            neighbours=none,
            refused=0,
        )
    return Made(
        embeddings=np.concatenate([one.embeddings for one in some]),
        targets=np.concatenate([one.targets for one in some]),
        place=np.concatenate([one.place for one in some]),
        seeds=np.concatenate([one.seeds for one in some]),
        neighbours=np.concatenate([one.neighbours for one in some]),
        refused=sum(one.refused for one in some),
    )


def _of_label(
    label: int,
    goal: int,
    embeddings: Floats,
    unit: Floats,
    targets: Floats,
    draw: np.random.Generator,
    variant: str,
    neutral: int,
) -> Iterator[Made]:
    bag = np.flatnonzero(targets[:, label])
    if len(bag) < FEWEST:
        return
    near, usable = _neighbours(unit[bag])
    able = np.flatnonzero(usable.any(axis=1))
    if not len(able):
        return
    count = goal - len(bag)
    seeds = draw.choice(able, count)
    picked = np.array([draw.choice(near[one][usable[one]]) for one in seeds])
    place = places(count, variant, draw)
    start, other = embeddings[bag[seeds]], embeddings[bag[picked]]
    made = start + place[:, None] * (other - start)
    lengths = np.linalg.norm(embeddings, axis=1)
    if np.allclose(lengths, 1.0, atol=1e-3):
        made = made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)
    pure = _pure(made, unit, targets[:, label])
    labels = np.stack([_labels(label, bag[one], bag[near[one][usable[one]]], targets, neutral) for one in seeds])
    yield Made(
        embeddings=made[pure].astype(embeddings.dtype),
        targets=labels[pure].astype(targets.dtype),
        place=place[pure],
        seeds=bag[seeds][pure],
        neighbours=bag[picked][pure],
        refused=int((~pure).sum()),
    )


def _neighbours(unit: Floats) -> tuple[Rows, NDArray[np.bool_]]:
    """The nearest rows of each row of a bag by cosine, and which of them are far enough to lie on a line with it."""
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -np.inf)
    near = np.argsort(-likeness, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(unit) - 1)]
    return near, np.take_along_axis(likeness, near, axis=1) <= ALIKE


def _pure(made: Floats, unit: Floats, has: Floats) -> NDArray[np.bool_]:
    """Whether enough of the nearest real rows have the label: up to half of the places lie beyond both ends."""
    pure = np.zeros(len(made), bool)
    for start in range(0, len(made), 512):
        some = made[start : start + 512]
        some = some / np.maximum(np.linalg.norm(some, axis=1, keepdims=True), 1e-12)
        around = np.argpartition(-(some @ unit.T), min(AROUND, len(unit) - 1), axis=1)[:, :AROUND]
        pure[start : start + 512] = (has[around] > 0).mean(axis=1) >= PURITY
    return pure


def _labels(label: int, row: int, near: Rows, targets: Floats, neutral: int) -> Floats:
    """The label itself, and those that at least half of the row and its neighbours have; neutral only alone."""
    kept = (targets[np.r_[row, near]].mean(axis=0) >= 0.5).astype(targets.dtype)
    kept[label] = 1
    if neutral >= 0 and label != neutral and kept.sum() > 1:
        kept[neutral] = 0
    return np.asarray(kept)
