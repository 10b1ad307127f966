"""A model on public benchmarks as published: never trained, never tuned, nothing downloaded. Design section 8, METHODS 7.

Where a benchmark's classes are not the model's, the 28 labels are read as them by the written map (docs/EVALUATION.md).
"""

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from factory import __version__, benchmarks, files
from factory.benchmarks import Benchmark, Row, baselines, metrics, report, results
from factory.benchmarks.metrics import Flags
from factory.benchmarks.places import places, source
from factory.benchmarks.projection import chosen, fits, impossible, lost, onto, own, project
from factory.benchmarks.report import Evaluation
from factory.benchmarks.results import Result
from factory.errors import WrongRequest
from factory.seen import Seen, seen_by
from factory.train.thresholds import Thresholds, calibration_error

__all__ = ["Model", "evaluate", "fingerprint", "project"]

PIECE = 1024  # rows that the model is shown at a time
SECONDS = 10.0  # between two lines on how far it is
Probabilities = NDArray[np.float64]
_MODEL = ("config.json", "thresholds.json", "tokenizer*", "vocab.*", "merges.txt", "*.model", "*.safetensors")


class Model(Protocol):
    """What is asked of a model; `factory.predict.Classifier` is one."""

    @property
    def folder(self) -> Path: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def thresholds(self) -> Thresholds: ...
    @property
    def context(self) -> bool: ...
    def probabilities(self, texts: Sequence[str], contexts: Sequence[str] = ()) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One benchmark that is there: what is scored, and what its baselines may know."""

    benchmark: Benchmark
    place: Path
    forms: Mapping[str, Benchmark]  # tables that the model can fill
    rows: tuple[Row, ...]
    train: tuple[Row, ...]
    notes: tuple[str, ...]


def evaluate(model: Path | Model, benchmark: str, data: Path, out: Path, says: Callable[[str], None]) -> str:
    """Scores a model folder on `benchmark` ("all", names with commas, or name:path), whose files are in `data`: a folder of
    folders of the usual names, or the place of the one. Writes results.json and results.md into `out`; gives back the table.

    What is not there, or cannot be scored, is said and left out. Raises WrongRequest, before anything is written, where
    nothing is left, where a file is broken, and where the model is none or gives something that is no number.
    """
    where = places(benchmark, data)
    if not where.there:
        raise WrongRequest(f"there is nothing to score: {where.why_none(data)}")
    known: Model = _classifier(model) if isinstance(model, Path) else model
    seen = seen_by(known.folder)
    tried = [_task(benchmarks.of(name), place, known, seen) for name, place in where.there.items()]
    tasks = [task for task in tried if isinstance(task, Task)]
    sentences = [task for task in tried if isinstance(task, str)]
    if not tasks:
        raise WrongRequest(f"there is nothing to score: {sentences[0]}")
    skipped = (*where.absent, *sentences)
    for sentence in skipped:
        says(sentence)
    _refuse_unwritable(out)
    found: list[Result] = []
    for task in tasks:
        says(f"{task.benchmark.title}: {len(task.rows):,} rows")
        for sentence in (*task.notes, *seen.notes(_fresh(task, seen))):
            says(f"  {sentence}")
        found += _scored(known, task, seen, says)
    made = Evaluation(
        model=str(known.folder),
        fingerprint=fingerprint(known.folder),
        classes=known.classes,
        thresholds=_told(known.thresholds),
        versions=_versions(),
        sources=tuple(source(task.benchmark.name, task.place) for task in tasks),
        results=tuple(found),
        skipped=skipped,
    )
    with files.writing(out):
        out.mkdir(parents=True, exist_ok=True)
    files.write_atomic(out / "results.json", report.to_json(made))
    files.write_atomic(out / "results.md", report.markdown(made).encode())
    return f"{report.summary(made.results)}\n\nclass by class, with notes: {out / 'results.md'}"


def _refuse_unwritable(out: Path) -> None:
    """Before anything is scored: minutes of work are not lost to a folder that cannot be written."""
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise WrongRequest(f"OUT={out} cannot be written ({there} is no folder of yours); choose another OUT")


def _classifier(folder: Path) -> Model:
    from factory.predict import Classifier

    return Classifier.of(folder)


# What is scored -------------------------------------------------------------------------------------------------------


def _task(benchmark: Benchmark, place: Path, model: Model, seen: Seen) -> Task | str:
    """What is to be scored, or a sentence on why nothing is."""
    if not benchmark.classes:
        return f"{benchmark.name}: it has values, not classes, and a classifier says none of them"
    forms = {name: form for name, form in benchmarks.tables_of(benchmark).items() if fits(model.classes, form)}
    if not forms:
        return (
            f"{benchmark.name}: the model's {len(model.classes)} classes ({', '.join(model.classes[:4])} ...) are neither the "
            f"28 labels nor the benchmark's own; give a model of one of them"
        )
    parts = benchmark.read(place)
    if parts.test or not benchmark.folds:
        if not parts.test:
            return f"{benchmark.name}: {place} holds no test part; give the folder with it"
        notes = (*parts.notes, *_repeated(benchmark, parts))
        return Task(benchmark=benchmark, place=place, forms=forms, rows=parts.test, train=parts.train, notes=notes)
    return _unsplit(benchmark, place, forms, parts, seen)


def _unsplit(
    benchmark: Benchmark, place: Path, forms: Mapping[str, Benchmark], parts: benchmarks.Parts, seen: Seen
) -> Task | str:
    """All rows are a test for a model that has seen none of them; for another one, those that it has not seen."""
    rows = seen.fresh(parts.train)
    if not parts.train:
        return f"{benchmark.name}: {place} holds no row"
    said = f"{benchmark.title} has no official split: all {len(parts.train):,} rows are scored, none was trained on"
    if len(rows) < len(parts.train):
        said = (
            f"{benchmark.title} has no official split: the model learnt from {len(parts.train) - len(rows):,} of its "
            f"{len(parts.train):,} rows, and only the other {len(rows):,} are scored"
        )
    elif seen.unknown:
        said = f"{benchmark.title} has no official split: all {len(parts.train):,} rows are scored"
    if not rows:
        return f"{benchmark.name}: the model learnt from every row of it, and none is left to score"
    notes = (*parts.notes, said, f"baselines are means over {benchmark.folds} grouped folds")
    return Task(benchmark=benchmark, place=place, forms=forms, rows=rows, train=(), notes=notes)


def _repeated(benchmark: Benchmark, parts: benchmarks.Parts) -> list[str]:
    twice = len(benchmarks.repeats(parts.train, parts.test))
    said = f"{twice:,} of the {len(parts.test):,} test texts stand in the training part of {benchmark.title} too"
    return [said] if twice else []


# Scoring --------------------------------------------------------------------------------------------------------------


def _scored(model: Model, task: Task, seen: Seen, says: Callable[[str], None]) -> list[Result]:
    """Each table that the model can fill, from one run of it; DailyDialog again without what repeats its training part."""
    contexts = [row.context for row in task.rows]
    found = _probabilities(model, task.rows, says)
    if found.shape != (len(task.rows), len(model.classes)) or not np.isfinite(found).all():
        raise WrongRequest(
            f"{model.folder} gives values that are no probabilities; its weights are broken: train it again"
        )
    task = replace(task, notes=(*task.notes, *_context_note(model, contexts)))
    made = [_table(model, task, table, found, seen) for table in task.forms]
    if task.benchmark.name == "dailydialog":
        doubled = benchmarks.repeats(task.train, task.rows, context=True)
        stay = [n for n, row in enumerate(task.rows) if row.id not in doubled]
        if doubled and stay:
            said = f"{len(doubled):,} test rows that stand in train with the same turns before them are left out"
            rows = benchmarks.without(task.rows, doubled)
            fewer = replace(task, rows=rows, forms={"not in train": task.benchmark}, notes=(*task.notes, said))
            made.append(_table(model, fewer, "not in train", found[stay], seen))
    return made


def _probabilities(model: Model, rows: Sequence[Row], says: Callable[[str], None]) -> Probabilities:
    """[rows, classes of the model]; says how far it is where it takes long."""
    began = told = time.monotonic()
    found = []
    for start in range(0, len(rows), PIECE):
        some = rows[start : start + PIECE]
        found.append(np.asarray(model.probabilities([row.text for row in some], [row.context for row in some])))
        now = time.monotonic()
        if now - told > SECONDS:
            told, done = now, start + len(some)
            says(f"  {done:,} of {len(rows):,} rows, {done / (now - began):,.0f} rows/s")
    return np.asarray(np.concatenate(found), np.float64)


def _fresh(task: Task, seen: Seen) -> Flags:
    return np.array([not seen.has(row) for row in task.rows])


def _table(model: Model, task: Task, table: str, found: Probabilities, seen: Seen) -> Result:
    """One table, from probabilities [rows, classes of the model]."""
    form = task.forms[table]
    rows, train = task.rows, task.train
    if task.benchmark.name == "goemotions":
        rows, train = benchmarks.regrouped(rows, form), benchmarks.regrouped(train, form)
    scores = onto(found, model.classes, form)
    picked = chosen(scores, onto(model.thresholds.keep(found), model.classes, form), form)
    truth = metrics.matrix(rows, form.classes)
    fresh = _fresh(task, seen)
    extra = {"calibration_error": calibration_error(scores, truth.astype(np.float64))}
    notes = [*task.notes, *_choice_notes(model, form), *seen.notes(fresh)]
    if not own(model.classes, form) and impossible(form):
        can = [name not in impossible(form) for name in form.classes]
        extra["predictable_rows"] = float(truth[:, can].any(axis=1).mean())
        notes += lost(form)
    if fresh.any() and not fresh.all():
        extra["value_on_unseen_rows"] = _value(form, truth[fresh], picked[fresh])
    floors = baselines.floors_of_folds(form, rows) if form.folds else baselines.floors(form, train, rows)
    return results.of_labels(
        form, truth, picked, scores, table=table, extra=extra, baselines=floors, notes=tuple(notes)
    )


def _value(form: Benchmark, truth: Flags, picked: Flags) -> float:
    counted = [form.classes.index(name) for name in form.counted]
    return float(metrics.scorer(form.metric, truth, picked, counted)(None))


def _context_note(model: Model, contexts: Sequence[str]) -> list[str]:
    if not any(contexts):
        return []
    return [
        "the turns before were shown to the model"
        if model.context
        else "the model takes no context: the turns before were not shown"
    ]


def _choice_notes(model: Model, form: Benchmark) -> list[str]:
    mapped = not own(model.classes, form)
    said = ["the 28 labels are read as the classes by the label map"] if mapped else []
    if form.multi:
        which = "one of its labels" if mapped else "it"
        return [*said, f"a class is chosen where {which} reaches its threshold: {_told(model.thresholds)}"]
    return [*said, "the class with the highest probability is chosen; thresholds play no part"]


def _told(thresholds: Thresholds) -> str:
    kinds = {
        "per_class": "a threshold for each class",
        "global": f"one threshold, {thresholds.shared:g}",
        "half": "0.5 for all",
        "argmax": "the most probable class, without thresholds",
    }
    tuned = thresholds.tuned_on if thresholds.use in ("per_class", "global") else ""
    return kinds[thresholds.use] + (f", tuned on {tuned}" if tuned else "")


# What decides the figures -----------------------------------------------------------------------------------------------


def fingerprint(folder: Path) -> str:
    """Sixteen hex digits over names and contents of the files that make a model; its reports and records do not."""
    telling = sorted({path for pattern in _MODEL for path in folder.glob(pattern) if path.is_file()})
    return sha256("".join(f"{path.name} {files.sha256(path)}\n" for path in telling).encode()).hexdigest()[:16]


def _versions() -> dict[str, str]:
    found = {"factory": __version__, "python": platform.python_version()}
    for name in ("numpy", "torch", "transformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
