"""Scores, as scikit-learn and the official scorers define them, and how sure they are.

A score takes weights of the rows ([draws, rows] or [rows]; None: all 1) and returns one value for each draw, so a thousand
bootstrap draws are one product of matrices.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from factory.benchmarks.rows import Row

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
Scorer = Callable[[Floats | None], Floats]  # weights -> values
DRAWS = 1_000
ENOUGH = 30  # rows; of fewer a bootstrap draws the same few again and again, and its interval shrinks to nothing
_AT_ONCE = 100  # draws whose weights are in memory together
_TINY = 1e-12


def matrix(rows: Sequence[Row], classes: Sequence[str]) -> Flags:
    """Labels as [rows, classes]."""
    at = {label: place for place, label in enumerate(classes)}
    found = np.zeros((len(rows), len(classes)), bool)
    for place, row in enumerate(rows):
        found[place, [at[label] for label in row.labels]] = True
    return found


def one_hot(places: Sequence[int] | NDArray[np.intp], classes: int) -> Flags:
    """[rows] places -> [rows, classes]."""
    return np.asarray(np.asarray(places)[:, None] == np.arange(classes))


def values(rows: Sequence[Row]) -> Floats:
    """The values of rows as [rows, dimensions]."""
    return np.array([row.values for row in rows], np.float64)


# Labels -----------------------------------------------------------------------------------------------------------------


class Tally(NamedTuple):
    """Weighted numbers of rows, each [..., classes]: rightly chosen, chosen, true."""

    hits: Floats
    chosen: Floats
    true: Floats


def tally(truth: Flags, chosen: Flags, weights: Floats | None = None) -> Tally:
    """Counts of [rows, classes]; all F1 scores are functions of them."""
    weight = np.ones(len(truth)) if weights is None else weights
    table = np.concatenate([truth & chosen, chosen, truth], axis=1).astype(np.float64)
    hits, said, true = np.split(weight @ table, 3, axis=-1)
    return Tally(hits, said, true)


def precision(counts: Tally) -> Floats:
    return np.asarray(counts.hits / np.maximum(counts.chosen, _TINY))


def recall(counts: Tally) -> Floats:
    return np.asarray(counts.hits / np.maximum(counts.true, _TINY))


def f1(counts: Tally) -> Floats:
    """[..., classes]; a class that is neither there nor chosen has 0, as scikit-learn has it."""
    return np.asarray(2 * counts.hits / np.maximum(counts.chosen + counts.true, _TINY))


def macro_f1(counts: Tally) -> Floats:
    """Mean over classes."""
    return np.asarray(f1(counts).mean(axis=-1))


def micro_f1(counts: Tally) -> Floats:
    """Of the classes counted: EmoContext leaves "others" out of the tally, DailyDialog "no emotion"."""
    return np.asarray(f1(Tally(*(part.sum(axis=-1) for part in counts))))


def weighted_f1(counts: Tally) -> Floats:
    """Mean over classes, each as heavy as its true rows."""
    return np.asarray((f1(counts) * counts.true).sum(axis=-1) / np.maximum(counts.true.sum(axis=-1), _TINY))


def accuracy(truth: Flags, chosen: Flags, weights: Floats | None = None) -> Floats:
    """Share of rows with exactly the true labels."""
    return _mean((truth == chosen).all(axis=1).astype(np.float64), weights)


_OF_TALLY: dict[str, Callable[[Tally], Floats]] = {
    "macro_f1": macro_f1,
    "micro_f1_of": micro_f1,
    "weighted_f1": weighted_f1,
}


def scorer(metric: str, truth: Flags, chosen: Flags, counted: Sequence[int]) -> Scorer:
    """A benchmark's official metric of [rows, classes], over the classes at the places `counted`."""
    if metric == "accuracy":
        return lambda weights: accuracy(truth, chosen, weights)
    measure, at = _OF_TALLY[metric], list(counted)
    return lambda weights: measure(tally(truth[:, at], chosen[:, at], weights))


# Ranks ------------------------------------------------------------------------------------------------------------------


def average_precision(truth: Flags, scores: Floats) -> Floats:
    """Of each class [classes]; NaN for a class without a true row. Rows of equal score count together."""
    found = np.full(truth.shape[1], np.nan)
    for label in np.flatnonzero(truth.any(axis=0)):
        order = np.argsort(-scores[:, label], kind="stable")
        ranked, hit = scores[order, label], truth[order, label]
        ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        hits = np.cumsum(hit)[ends]
        found[label] = (np.diff(hits, prepend=0) / hits[-1] * hits / (ends + 1)).sum()
    return found


def ranking_precision(truth: Flags, scores: Floats) -> float:
    """Label ranking average precision: for each true label, the share of true ones among those ranked as high or higher."""
    higher = scores[:, None, :] >= scores[:, :, None]  # [rows, label, other]
    share = (higher & truth[:, None, :]).sum(axis=2) / higher.sum(axis=2)
    count = truth.sum(axis=1)
    return float(np.where(count > 0, (share * truth).sum(axis=1) / np.maximum(count, 1), 1.0).mean())


def top_accuracy(truth: Flags, scores: Floats, count: int) -> float:
    """Share of rows whose class is among the `count` highest scores; of equal ones the later class wins."""
    best = np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :count]
    return float(np.take_along_axis(truth, best, axis=1).any(axis=1).mean())


# Values -----------------------------------------------------------------------------------------------------------------


def _mean(of: Floats, weights: Floats | None) -> Floats:
    """Over the first axis of `of` [rows, ...]."""
    return np.asarray(of.mean(axis=0) if weights is None else (weights @ of) / _column(weights, of))


def _column(weights: Floats, of: Floats) -> Floats:
    total = weights.sum(axis=-1)
    return np.asarray(total[..., None] if of.ndim > 1 else total)


def _moments(truth: Floats, said: Floats, weights: Floats | None) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean distance, both variances and the covariance, each [..., dimensions]."""
    # About the centre of each: squares of values around 3 would lose digits, and a constant its exact 0.
    x, y = truth - truth.mean(axis=0), said - said.mean(axis=0)
    mean_x, mean_y = _mean(x, weights), _mean(y, weights)
    spread_x, spread_y = _mean(x * x, weights) - mean_x**2, _mean(y * y, weights) - mean_y**2
    apart = mean_x - mean_y + truth.mean(axis=0) - said.mean(axis=0)
    return apart, spread_x, spread_y, _mean(x * y, weights) - mean_x * mean_y


def pearson(truth: Floats, said: Floats, weights: Floats | None = None) -> Floats:
    """r of each dimension [..., dimensions]; a constant goes with nothing and has 0."""
    _, one, other, both = _moments(truth, said, weights)
    vary = (one > _TINY) & (other > _TINY)
    return np.asarray(np.where(vary, both / np.sqrt(np.where(vary, one * other, 1.0)), 0.0))


def concordance(truth: Floats, said: Floats, weights: Floats | None = None) -> Floats:
    """Lin's coefficient (CCC) of each dimension [..., dimensions]: unlike r it falls when scale or centre are wrong."""
    apart, one, other, both = _moments(truth, said, weights)
    return np.asarray(2 * both / np.maximum(one + other + apart**2, _TINY))


def rmse(truth: Floats, said: Floats, weights: Floats | None = None) -> Floats:
    """Root mean squared error of each dimension [..., dimensions]."""
    return np.sqrt(_mean((truth - said) ** 2, weights))


# How sure ---------------------------------------------------------------------------------------------------------------


class Interval(NamedTuple):
    """Ends of a 95% interval: numbers, or [classes] where a score gives one for each class."""

    low: Floats
    high: Floats


def bootstrap(score: Scorer, rows: int, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Percentile interval over draws of the rows with replacement.

    For a difference of two systems give a score that is one: `lambda weights: a(weights) - b(weights)`; both then see the
    same rows in each draw.
    """
    draw = np.random.default_rng(seed)
    found = [
        score(_weights(draw.integers(0, rows, (min(_AT_ONCE, draws - start), rows)), rows))
        for start in range(0, draws, _AT_ONCE)
    ]
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5], axis=0)
    return Interval(low, high)


def _weights(drawn: NDArray[np.int64], rows: int) -> Floats:
    """How often each row was drawn, [draws, rows]."""
    flat = drawn + rows * np.arange(len(drawn))[:, None]
    return np.bincount(flat.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def wilson(hits: float, rows: float, z: float = 1.959964) -> tuple[float, float]:
    """95% interval of a share (Wilson 1927): unlike the bootstrap's it has a width where all rows are hits, or none."""
    if rows == 0:
        return 0.0, 1.0
    share, spread = hits / rows, z * z / rows
    centre = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / rows + spread / (4 * rows)) / (1 + spread)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


# Together --------------------------------------------------------------------------------------------------------------


class Score(NamedTuple):
    """A figure with the ends of its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """One class; `low` and `high` are the 95% interval of its F1, `support` its true rows."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    low: float
    high: float


def scored(score: Scorer, rows: int, seed: int = 0) -> Score:
    """What a score is on all rows, and how sure that is."""
    low, high = bootstrap(score, rows, seed=seed)
    return Score(float(score(None)), float(low), float(high))


def per_class(truth: Flags, chosen: Flags, classes: Sequence[str], seed: int = 0) -> tuple[ClassScore, ...]:
    """The classes of [rows, classes] one by one, in their order."""
    counts = tally(truth, chosen)
    low, high = bootstrap(lambda weights: f1(tally(truth, chosen, weights)), len(truth), seed=seed)
    figures = np.stack([precision(counts), recall(counts), f1(counts), low, high], axis=1).tolist()
    return tuple(
        ClassScore(label=label, precision=p, recall=r, f1=f, support=int(support), low=least, high=most)
        for label, support, (p, r, f, least, most) in zip(classes, counts.true, figures, strict=True)
    )


def multilabel(truth: Flags, chosen: Flags, scores: Floats, classes: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """What is told of a model on any rows [rows, classes], in plain types for JSON: `macro_f1` is value, low and high,
    `per_class` the fields of ClassScore, and the rest numbers."""
    counts = tally(truth, chosen)
    macro = scored(scorer("macro_f1", truth, chosen, range(truth.shape[1])), len(truth), seed)
    return {
        "macro_f1": macro._asdict(),
        "micro_f1": float(micro_f1(counts)),
        "weighted_f1": float(weighted_f1(counts)),
        "accuracy": float(accuracy(truth, chosen)),
        "mean_average_precision": float(np.nanmean(average_precision(truth, scores))),
        "ranking_precision": ranking_precision(truth, scores),
        "per_class": [asdict(one) for one in per_class(truth, chosen, classes, seed)],
    }
