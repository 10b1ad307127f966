"""From probabilities to labels: thresholds and temperature, both found on the validation part and nowhere else.

Raw thresholds per class follow the chance of labels with a dozen validation rows (METHODS 7.2), so each is the mean over
bootstraps of the validation part, drawn towards the global one by how few rows its label has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
GRID = np.round(np.arange(0.05, 0.951, 0.01), 2)
DRAWS = 30  # bootstraps
SHRINK = 50  # rows of a label at which its own threshold and the global one weigh the same
BINS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What `thresholds.json` holds: probabilities are sigmoid(logit / temperature), a label is kept from its threshold on."""

    classes: tuple[str, ...]
    shared: float = 0.5  # one for all
    per_class: tuple[float, ...] = ()
    use: str = "half"  # 'per_class', 'global', 'half' (0.5), or 'argmax' for rows of exactly one label
    temperature: float = 1.0
    tuned_on: str = ""

    def values(self) -> Floats:
        """One for each class, as used."""
        if self.use == "per_class":
            return np.asarray(self.per_class)
        return np.full(len(self.classes), self.shared if self.use == "global" else 0.5)

    def keep(self, probabilities: Floats) -> NDArray[np.bool_]:
        """[rows, classes] -> which labels each row has; 'argmax': its most probable one."""
        if self.use == "argmax":
            return np.asarray(np.eye(len(self.classes), dtype=bool)[probabilities.argmax(axis=1)])
        return probabilities >= self.values()


def told(record: Mapping[str, Any]) -> str:
    """How labels were chosen, by the record of a classifier, for the line that ends its training."""
    use = record["recipe"]["thresholds"] if record["multi"] else "argmax"
    fixed = {"half": "threshold 0.5 for all labels", "argmax": "the most probable class of each row"}
    return fixed.get(use, "thresholds from validation")


def tuned(
    probabilities: Floats, truth: Floats, classes: Sequence[str], use: str, where: str, seed: int = 0
) -> Thresholds:
    """Thresholds of validation `probabilities` and `truth` [rows, classes]."""
    hard = truth >= 0.5
    shared = shared_threshold(probabilities, hard)
    return Thresholds(
        classes=tuple(classes),
        shared=shared,
        per_class=tuple(np.round(class_thresholds(probabilities, hard, shared, seed), 4).tolist()),
        use=use,
        tuned_on=where,
    )


def shared_threshold(probabilities: Floats, hard: NDArray[np.bool_]) -> float:
    """The one of the grid with the best macro-F1; of several equal ones the middle one."""
    scores = _f1_grid(probabilities, hard, np.ones(len(hard))).mean(axis=1)
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return float(GRID[best[len(best) // 2]])


def class_thresholds(probabilities: Floats, hard: NDArray[np.bool_], shared: float, seed: int = 0) -> Floats:
    """For each class the mean over bootstraps of its best threshold, drawn towards `shared` by n / (n + 50)."""
    draw = np.random.default_rng(seed)
    found = np.zeros((DRAWS, probabilities.shape[1]))
    for number in range(DRAWS):
        weights = np.bincount(draw.integers(0, len(hard), len(hard)), minlength=len(hard)).astype(float)
        scores = _f1_grid(probabilities, hard, weights)
        found[number] = GRID[scores.argmax(axis=0)]
        found[number, scores.max(axis=0) <= 0] = shared
    count = hard.sum(axis=0)
    own = count / (count + SHRINK)
    return np.asarray(own * found.mean(axis=0) + (1 - own) * shared)


def _f1_grid(probabilities: Floats, hard: NDArray[np.bool_], weights: Floats) -> Floats:
    """F1 of each class at each threshold of the grid [thresholds, classes]; rows count `weights` times."""
    classes = probabilities.shape[1]
    place = np.searchsorted(GRID, probabilities + 1e-9, side="right")  # thresholds that a probability reaches
    size = len(GRID) + 1
    flat = place + size * np.arange(classes)
    reached = np.bincount(flat.ravel(), np.repeat(weights, classes), size * classes).reshape(classes, size)
    right = np.bincount(flat.ravel(), (hard * weights[:, None]).ravel(), size * classes).reshape(classes, size)
    chosen = reached[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    hits = right[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    return np.asarray((2 * hits / np.maximum(chosen + right.sum(axis=1, keepdims=True), 1e-12)).T)


def macro_f1(kept: NDArray[np.bool_], truth: Floats) -> float:
    """Mean over classes of F1; a class that is neither there nor chosen counts 0, as scikit-learn has it."""
    hard = truth >= 0.5
    return float((2 * (kept & hard).sum(axis=0) / np.maximum(kept.sum(axis=0) + hard.sum(axis=0), 1)).mean())


def temperature(logits: Floats, truth: Floats) -> float:
    """The one that makes the validation logits most probable (Guo et al. 2017), by golden section over its logarithm."""

    def cost(power: float) -> float:
        scaled = logits / np.exp(power)
        return float((np.logaddexp(0, scaled) - truth * scaled).mean())

    low, high, ratio = np.log(0.2), np.log(5.0), (5**0.5 - 1) / 2
    for _ in range(40):
        one, other = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, other) if cost(one) < cost(other) else (one, high)
    return round(float(np.exp((low + high) / 2)), 4)


def calibration_error(probabilities: Floats, truth: Floats, bins: int = BINS) -> float:
    """Expected calibration error over all (row, class) pairs in bins of equal width (Naeini et al. 2015)."""
    flat, hard = probabilities.ravel(), (truth >= 0.5).ravel()
    place = np.minimum((flat * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    said = np.bincount(place, flat, bins)
    was = np.bincount(place, hard.astype(float), bins)
    return float(np.abs(said - was).sum() / max(1, count.sum()))
