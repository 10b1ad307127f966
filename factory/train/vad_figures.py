"""What a VAD regressor is worth, with what a constant is worth beside it (METHODS 5.3)."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.benchmarks import metrics
from factory.vad import DIMENSIONS

Floats = NDArray[np.floating[Any]]


def measured(truth: Floats, said: Floats, constant: Floats) -> dict[str, Any]:
    """Each dimension's r, CCC, MAE and 1-RMSE with 95% intervals, its skill (1 - MSE / the constant's MSE), and the same of
    always saying `constant` [3], the mean of the training part; all on 0 to 1. In plain types for JSON."""
    truth, said = truth.astype(np.float64), said.astype(np.float64)
    always = np.broadcast_to(constant, truth.shape)
    kinds: dict[str, Callable[[Floats, Floats, Floats | None], Floats]] = {
        "pearson": metrics.pearson,
        "concordance": metrics.concordance,
        "mae": _mae,
        "one_minus_rmse": lambda one, other, weights: 1 - metrics.rmse(one, other, weights),
    }
    found: dict[str, dict[str, Any]] = {name: {"constant": {}} for name in DIMENSIONS}
    for kind, measure in kinds.items():
        values, low, high = measure(truth, said, None), *metrics.bootstrap(_on(measure, truth, said), len(truth))
        for place, name in enumerate(DIMENSIONS):
            found[name][kind] = metrics.Score(float(values[place]), float(low[place]), float(high[place]))._asdict()
            found[name]["constant"][kind] = float(measure(truth, always, None)[place])
    for place, name in enumerate(DIMENSIONS):
        least = ((truth - always)[:, place] ** 2).mean()
        found[name]["skill"] = float(1 - ((truth - said)[:, place] ** 2).mean() / max(least, 1e-12))
    mean = metrics.scored(lambda weights: metrics.pearson(truth, said, weights).mean(axis=-1), len(truth))
    return {
        **found,
        "mean_pearson": mean._asdict(),
        "pooled_one_minus_rmse": 1 - math.sqrt(((truth - said) ** 2).mean()),
        "constant_pooled_one_minus_rmse": 1 - math.sqrt(((truth - always) ** 2).mean()),
        "rows": len(truth),
    }


def _on(measure: Callable[[Floats, Floats, Floats | None], Floats], truth: Floats, said: Floats) -> metrics.Scorer:
    return lambda weights: measure(truth, said, weights)


def _mae(truth: Floats, said: Floats, weights: Floats | None = None) -> Floats:
    """Mean distance of each dimension [..., 3]."""
    apart = np.abs(truth - said)
    return np.asarray(apart.mean(axis=0) if weights is None else weights @ apart / weights.sum(axis=-1)[..., None])
