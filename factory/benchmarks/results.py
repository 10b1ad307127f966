"""What a model scored on a benchmark: the official metric with its interval, the classes one by one, and what else is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from factory.benchmarks import metrics
from factory.benchmarks.metrics import ClassScore, Flags, Floats
from factory.benchmarks.rows import Benchmark
from factory.errors import WrongRequest

_TOP = 5
_DIMENSIONS = ("valence", "arousal", "dominance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One table of one model on one benchmark; `notes` are sentences that its reader needs."""

    benchmark: str
    table: str  # "28", "ekman", "sentiment"; "" where a benchmark has one
    metric: str
    value: float
    low: float
    high: float
    rows: int
    per_class: tuple[ClassScore, ...] = ()
    extra: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, float] = field(default_factory=dict)  # of the same metric
    notes: tuple[str, ...] = ()


def of_labels(
    benchmark: Benchmark, truth: Flags, chosen: Flags, scores: Floats | None = None, *, seed: int = 0, **more: Any
) -> Result:
    """Scores [rows, classes] of the benchmark's classes; `scores` are what labels were chosen by, for the measures of rank.

    `more` are fields of the Result that this cannot know: table, baselines, notes, and `extra`, which is added to ours.
    """
    _refuse_none(benchmark, len(truth))
    counted = [benchmark.classes.index(label) for label in benchmark.counted]
    score = metrics.scorer(benchmark.metric, truth, chosen, counted)
    value, low, high = metrics.scored(score, len(truth), seed)
    extra = _extra(truth, chosen, scores, benchmark.multi) | dict(more.pop("extra", {}))
    return Result(
        benchmark=benchmark.name,
        table=more.pop("table", ""),
        metric=benchmark.metric,
        value=value,
        low=low,
        high=high,
        rows=len(truth),
        per_class=metrics.per_class(truth, chosen, benchmark.classes, seed),
        extra=extra,
        **more,
    )


def _refuse_none(benchmark: Benchmark, rows: int) -> None:
    if not rows:
        raise WrongRequest(f"there is no row of {benchmark.title} to score; give the folder with its test part")


def _extra(truth: Flags, chosen: Flags, scores: Floats | None, multi: bool) -> dict[str, float]:
    counts = metrics.tally(truth, chosen)
    found = {
        "macro_f1": float(metrics.macro_f1(counts)),
        "micro_f1": float(metrics.micro_f1(counts)),
        "weighted_f1": float(metrics.weighted_f1(counts)),
        "accuracy": float(metrics.accuracy(truth, chosen)),
    }
    if scores is None:
        return found
    found["mean_average_precision"] = float(np.nanmean(metrics.average_precision(truth, scores)))
    if multi:
        found["ranking_precision"] = metrics.ranking_precision(truth, scores)
    elif truth.shape[1] > 2 * _TOP:
        found[f"top{_TOP}_accuracy"] = metrics.top_accuracy(truth, scores, _TOP)
    return found


def of_values(benchmark: Benchmark, truth: Floats, said: Floats, *, seed: int = 0, **more: Any) -> Result:
    """Scores values [rows, 3]: the metric is the mean of r over valence, arousal and dominance, each of which is in `extra`."""
    _refuse_none(benchmark, len(truth))
    low, high = metrics.bootstrap(
        lambda weights: metrics.pearson(truth, said, weights).mean(axis=-1), len(truth), seed=seed
    )
    measures = {"pearson": metrics.pearson, "concordance": metrics.concordance, "rmse": metrics.rmse}
    extra = {
        f"{name}_{dimension}": float(value)
        for name, measure in measures.items()
        for dimension, value in zip(_DIMENSIONS, measure(truth, said), strict=True)
    }
    return Result(
        benchmark=benchmark.name,
        table=more.pop("table", ""),
        metric=benchmark.metric,
        value=float(metrics.pearson(truth, said).mean()),
        low=float(low),
        high=float(high),
        rows=len(truth),
        extra=extra | dict(more.pop("extra", {})),
        **more,
    )
