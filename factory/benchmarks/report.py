"""Evaluations as JSON, which reads back to the same, and as Markdown, for people."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from factory.benchmarks.metrics import ENOUGH, ClassScore
from factory.benchmarks.results import Result
from factory.errors import WrongRequest

_NAMES = {
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "micro_f1_of": "micro-F1 of the counted classes",
    "weighted_f1": "weighted F1",
    "pearson": "Pearson r, mean of three",
    "mean_average_precision": "mean average precision",
    "ranking_precision": "label ranking average precision",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The files that a benchmark was read from: `files` is name -> SHA-256 of what is in it."""

    benchmark: str
    path: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One model on the benchmarks that were there; what decides its figures stands beside them."""

    model: str  # its folder, as given
    fingerprint: str  # of the files that make the model
    classes: tuple[str, ...]
    thresholds: str  # a sentence: which ones, and what they were tuned on
    versions: Mapping[str, str]
    sources: tuple[Source, ...]
    results: tuple[Result, ...]
    skipped: tuple[str, ...] = ()  # sentences: what was asked for and not scored


def to_json(evaluation: Evaluation) -> bytes:
    """Fields in their order and two spaces, so that two reports can be compared by line."""
    return orjson.dumps(evaluation, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def of_json(data: bytes) -> Evaluation:
    """What `to_json` wrote; WrongRequest where it is something else."""
    try:
        said = dict(orjson.loads(data))
        lists = {name: tuple(said[name]) for name in ("classes", "skipped")}
        sources = tuple(Source(**one) for one in said["sources"])
        results = tuple(_result(one) for one in said["results"])
        return Evaluation(**{**said, **lists, "sources": sources, "results": results})
    except (orjson.JSONDecodeError, TypeError, KeyError, ValueError, AttributeError) as err:
        raise WrongRequest(
            f"these are no results of an evaluation ({err}); write them anew with factory evaluate"
        ) from err


def _result(said: dict[str, Any]) -> Result:
    one = {name: _number(said[name]) for name in ("value", "low", "high")}
    tables = {name: {key: _number(value) for key, value in said[name].items()} for name in ("extra", "baselines")}
    classes = tuple(ClassScore(**{key: _number(value) for key, value in score.items()}) for score in said["per_class"])
    return Result(**{**said, **one, **tables, "per_class": classes, "notes": tuple(said["notes"])})


def _number(value: Any) -> Any:
    """JSON has no NaN: it is written as null."""
    return float("nan") if value is None else value


def markdown(evaluation: Evaluation) -> str:
    """What was measured on what, one line for each result, then each one's figures and classes."""
    about = (
        f"# Evaluation of {evaluation.model}",
        "",
        f"- model: fingerprint `{evaluation.fingerprint}`, {len(evaluation.classes)} classes; {evaluation.thresholds}",
        f"- versions: {', '.join(f'{name} {version}' for name, version in evaluation.versions.items())}",
        *(f"- {sentence}" for sentence in evaluation.skipped),
        "",
        "Intervals hold 95% of 1,000 bootstrap draws of the rows; a class with few rows has a wide one, and its F1 says little.",
        "",
    )
    files = [
        (one.benchmark, f"{one.path}: {name}", f"`{digest}`")
        for one in evaluation.sources
        for name, digest in one.files.items()
    ]
    sections = [line for one in evaluation.results for line in _section(one)]
    read = ("", "### What was read", "", *_table(("benchmark", "file", "SHA-256"), files))
    return "\n".join([*about, *_lines(evaluation.results), *sections, *read]) + "\n"


def summary(results: Sequence[Result]) -> str:
    """The table alone: one line for each result, with its interval and the baselines beside; of a model that writes, how many
    of its replies are in form."""
    return "\n".join(_lines(results))


def _lines(results: Sequence[Result]) -> list[str]:
    writes = any("parse_rate" in one.extra for one in results)
    table = _table(
        (
            "benchmark",
            "metric",
            "rows",
            "value",
            "95% interval",
            *(("strict", "parsed") if writes else ()),
            "baselines",
        ),
        [
            (
                _title(one),
                _name(one.metric),
                f"{one.rows:,}",
                f"{one.value:.3f}",
                _interval(one, one.rows),
                *([_share(one, "strict_rate"), _share(one, "parse_rate")] if writes else ()),
                _pairs(one.baselines) or "none",
            )
            for one in results
        ],
    )
    few = any(one.rows < ENOUGH for one in results)
    return [*table, *(["", f"-: too few rows for an interval (under {ENOUGH})"] if few else ())]


def _share(one: Result, name: str) -> str:
    return f"{one.extra[name]:.3f}" if name in one.extra else "-"


def _section(one: Result) -> Iterable[str]:
    if not (one.per_class or one.extra or one.notes):
        return
    yield from ("", f"### {_title(one)}")
    if one.extra:
        yield from ("", _pairs(one.extra) + ".")
    if one.notes:
        yield from ("", *(f"- {note}" for note in one.notes))
    if one.per_class:
        names = ("class", "precision", "recall", "F1", "95% interval", "rows")
        rows = [
            (c.label, f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}", _interval(c, one.rows), f"{c.support:,}")
            for c in one.per_class
        ]
        yield from ("", *_table(names, rows))


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A column of numbers is set to the right."""
    left = {"benchmark", "metric", "baselines", "class", "file", "SHA-256"}
    rule = ["---" if name in left else "---:" for name in names]
    return ["| " + " | ".join(cells) + " |" for cells in (names, rule, *rows)]


def _title(one: Result) -> str:
    return f"{one.benchmark} ({one.table})" if one.table else one.benchmark


def _name(key: str) -> str:
    return _NAMES.get(key, key.replace("_", " "))


def _pairs(some: Mapping[str, float]) -> str:
    return ", ".join(f"{_name(key)} {value:.3f}" for key, value in some.items())


def _interval(one: Result | ClassScore, rows: int) -> str:
    """Drawn from so many rows; none of too few."""
    return f"{one.low:.3f} to {one.high:.3f}" if rows >= ENOUGH else "-"
