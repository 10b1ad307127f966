"""What needs no model: every figure of a report stands beside these. They see the training part and the test texts only."""

from collections.abc import Sequence

import numpy as np

from factory.benchmarks import metrics
from factory.benchmarks.metrics import Flags
from factory.benchmarks.rows import Benchmark, Row
from factory.benchmarks.splits import folds
from factory.errors import WrongRequest
from factory.lexicon import NAMES, named
from factory.taxonomy import NEUTRAL

SEEDS = 20  # over which the expected score of random choice is the mean


def floors(benchmark: Benchmark, train: Sequence[Row], test: Sequence[Row]) -> dict[str, float]:
    """Official metric on `test` of: `majority` (always the most frequent class of train), `constant` (always the one class
    that scores best on train), `all` (every class always; several labels a row only), `prior` (random, as frequent as in
    train) and `keyword` (words that name an emotion). Without a training part only those that need none; values: `mean`."""
    if benchmark.metric == "pearson":
        return {"mean": 0.0}  # a constant goes with nothing
    truth, known = metrics.matrix(test, benchmark.classes), metrics.matrix(train, benchmark.classes)
    choices = {"keyword": keyword(benchmark, train, test)}
    if benchmark.multi:
        choices["all"] = np.ones_like(truth)
    if len(train):
        choices["majority"] = _always(int(known.sum(axis=0).argmax()), truth)
        choices["constant"] = _always(best_constant(benchmark, known), truth)
    found = {name: _scored(benchmark, truth, chosen) for name, chosen in choices.items()}
    if len(train):
        found["prior"] = float(
            np.mean([_scored(benchmark, truth, prior(benchmark, known, len(test), n)) for n in range(SEEDS)])
        )
    return found


def floors_of_folds(benchmark: Benchmark, rows: Sequence[Row], seed: int = 0) -> dict[str, float]:
    """Floors where there is no official split: the mean over grouped folds, so that no row is in what a floor knows and in
    what it is tested on. Rows too few to be cut have only the floors that need no training part."""
    try:
        pairs = folds(rows, benchmark.folds, seed)
    except WrongRequest:
        return floors(benchmark, (), rows)
    found = [floors(benchmark, train, test) for train, test in pairs]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def _scored(benchmark: Benchmark, truth: Flags, chosen: Flags) -> float:
    counted = [benchmark.classes.index(label) for label in benchmark.counted]
    return float(metrics.scorer(benchmark.metric, truth, chosen, counted)(None))


def _always(place: int, like: Flags) -> Flags:
    chosen = np.zeros_like(like)
    chosen[:, place] = True
    return chosen


def best_constant(benchmark: Benchmark, known: Flags) -> int:
    """Place of the class that, always chosen, scores best on `known` [rows, classes]."""
    scores = [_scored(benchmark, known, _always(place, known)) for place in range(known.shape[1])]
    return int(np.argmax(scores))


def prior(benchmark: Benchmark, known: Flags, rows: int, seed: int) -> Flags:
    """Random labels [rows, classes], each as frequent as in `known`: one a row, or each class for itself."""
    draw, share = np.random.default_rng(seed), known.mean(axis=0)
    if benchmark.multi:
        return np.asarray(draw.random((rows, len(share))) < share)
    return metrics.one_hot(draw.choice(len(share), rows, p=share / share.sum()), len(share))


def keyword(benchmark: Benchmark, train: Sequence[Row], test: Sequence[Row]) -> Flags:
    """[rows, classes]: classes of whose labels a word stands in the text; of single labels the one with most words, of equal
    ones the more frequent in train. A text without any is neutral, or of the most frequent class where there is no neutral."""
    wanted = [frozenset[str]().union(*(NAMES[label] for label in benchmark.to28[name])) for name in benchmark.classes]
    labels = sorted({label for several in benchmark.to28.values() for label in several})
    count = np.zeros((len(test), len(wanted)))
    for place, row in enumerate(test):
        words = named(row.text, labels)
        if words:
            count[place] = [sum(word in some for word in words) for some in wanted]
    frequent = metrics.matrix(train, benchmark.classes).sum(axis=0) / max(1, len(train))
    neutral = [place for place, name in enumerate(benchmark.classes) if NEUTRAL in benchmark.to28[name]]
    silent = ~count.any(axis=1)
    count[silent, neutral[0] if neutral else int(frequent.argmax())] = 1
    if benchmark.multi:
        return np.asarray(count > 0)
    return metrics.one_hot(np.where(count > 0, count + 0.5 * frequent, 0).argmax(axis=1), len(wanted))
