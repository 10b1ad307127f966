"""From the columns of a model to the classes of a benchmark, by the written map and nothing else: nothing is learnt here."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from factory.benchmarks import metrics
from factory.benchmarks.metrics import Flags, Floats
from factory.benchmarks.rows import Benchmark
from factory.taxonomy import LABELS

Kind = TypeVar("Kind", np.float64, np.bool_)


def project(values: NDArray[Kind], benchmark: Benchmark, labels: Sequence[str] = LABELS) -> NDArray[Kind]:
    """[rows, labels] -> [rows, classes]: of each class the highest value among its labels; of flags, whether any is set.

    A class that no label maps to has 0 in every row: see `impossible`.
    """
    found = np.zeros((len(values), len(benchmark.classes)), values.dtype)
    for place, name in enumerate(benchmark.classes):
        mine = [labels.index(label) for label in benchmark.to28[name]]
        if mine:
            found[:, place] = values[:, mine].max(axis=1)
    return found


def fits(classes: Sequence[str], benchmark: Benchmark) -> bool:
    """Whether a model of these classes can be scored: they are the benchmark's own, or the 28."""
    return bool(benchmark.classes) and (own(classes, benchmark) or set(classes) == set(LABELS))


def own(classes: Sequence[str], benchmark: Benchmark) -> bool:
    """Whether the classes are the benchmark's own, in whatever order, so that no map is needed."""
    return len(classes) == len(benchmark.classes) and set(classes) == set(benchmark.classes)


def onto(values: NDArray[Kind], classes: Sequence[str], benchmark: Benchmark) -> NDArray[Kind]:
    """Columns of a model that `fits` [rows, classes of the model] -> [rows, classes of the benchmark]."""
    if own(classes, benchmark):
        return np.asarray(values[:, [classes.index(name) for name in benchmark.classes]])
    return project(values, benchmark, classes)


def chosen(scores: Floats, kept: NDArray[Any], benchmark: Benchmark) -> Flags:
    """Labels [rows, classes] from scores and from what passed the model's thresholds, both of the benchmark's classes.

    Several labels a row: what passed. One: the class of the highest score, thresholds aside; of equal ones that which the
    label map has first.
    """
    if benchmark.multi:
        return np.asarray(kept, bool)
    order = np.array([benchmark.classes.index(name) for name in benchmark.to28])
    return metrics.one_hot(order[scores[:, order].argmax(axis=1)], scores.shape[1])


def impossible(benchmark: Benchmark) -> dict[str, str]:
    """Classes that no model of the 28 labels can be right about -> the class earlier in the map that has their labels
    too, '' where they have no label at all."""
    found: dict[str, str] = {}
    for place, (name, labels) in enumerate(benchmark.to28.items()):
        mine = set(labels)
        before = [one for one in list(benchmark.to28)[:place] if mine <= set(benchmark.to28[one])]
        if not mine:
            found[name] = ""
        elif before and not benchmark.multi:
            found[name] = before[0]
    return found


def lost(benchmark: Benchmark) -> list[str]:
    """Sentences on the `impossible` classes."""
    found = impossible(benchmark)
    none = [name for name, earlier in found.items() if not earlier]
    same = [f"{name} (as {earlier})" for name, earlier in found.items() if earlier]
    said = []
    if none:
        said.append(f"no label of the 28 stands for {', '.join(none)}: never chosen, and wrong in every row")
    if same:
        said.append(f"the 28 cannot tell these from another class, which is chosen in their place: {', '.join(same)}")
    return said
