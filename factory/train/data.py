"""What an encoder learns from: rows of a run, of a dataset folder, or of a benchmark, with what must not be mixed kept apart."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from factory import benchmarks
from factory.errors import WrongRequest
from factory.taxonomy import ID, LABELS
from factory.train import leaks
from factory.train.records import PARTS, REHEARSAL, Dataset, Examples, Floats

VIEWS = ("contextless", "contextual")
COLUMNS = ("id", "source_id", "utterance", "label_ids", "intensities")
SPLIT_SEED = 0  # of splits that we make: the same for all seeds of a training
TENTH = 10
FEW = 2  # classes that must occur in the training part
_BENCHMARK = re.compile(r"^([a-z0-9]+):(.+)$", re.S)


def load(spec: str, view: str = "contextless", context: bool = True, fold: int = 0) -> Dataset:
    """What `DATA=` names: several with a comma are one training part; validation and test are those of the first.

    `fold`: which fold of a benchmark without an official split is its test part.

    WrongRequest where something cannot be learnt from: the sentence says what and how it is mended.
    """
    named = [part.strip() for part in spec.split(",") if part.strip()]
    if twice := sorted({part for part in named if named.count(part) > 1}):
        raise WrongRequest(f"DATA names {twice[0]} twice; give it once")
    if not named:
        raise WrongRequest("DATA is empty; give a run, a dataset folder, or a benchmark such as goemotions:path")
    first, *others = [_one(part, view, fold if n == 0 else 0) for n, part in enumerate(named)]
    made = first
    for other in others:
        made = _with_more(made, other)
    if not context:
        made = _without_context(made)
    made = leaks.cleaned(made)
    _check(made)
    return made


def _one(spec: str, view: str, fold: int) -> Dataset:
    match = _BENCHMARK.match(spec)
    if match and match[1] in benchmarks.ALL:
        return _of_benchmark(benchmarks.ALL[match[1]], Path(match[2]).expanduser(), fold)
    if fold:
        raise WrongRequest(f"DATA={spec} has no folds; leave out fold={fold}")
    path = Path(spec).expanduser()
    if not path.is_dir():
        known = ", ".join(sorted(benchmarks.ALL))
        raise WrongRequest(
            f"DATA={spec}: there is no such folder; give a run, a dataset folder, or one of {known} as name:path"
        )
    return _of_views(path, list(dict.fromkeys(one.strip() for one in view.split(","))))


# A run, or a folder in the form of its dataset ----------------------------------------------------------------------


def _of_views(path: Path, views: Sequence[str]) -> Dataset:
    unknown = [view for view in views if view not in VIEWS]
    if unknown:
        raise WrongRequest(
            f"VIEW={','.join(views)} cannot train an encoder; choose contextless, contextual, or both with a comma"
        )
    folder = path / "dataset" if (path / "dataset").is_dir() else path
    parts = {}
    for part in PARTS:
        tables = [_examples(_table(folder, view, part), f"{folder}/{view}/{part}") for view in views]
        parts[part] = Examples.joined(tables)
    return Dataset(
        name=path.resolve().name,
        classes=LABELS,
        multi=True,
        licence="that of the corpus and of the generator",
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        notes=rehearsed(folder, views, path.resolve().name),
    )


def rehearsed(folder: Path, views: Sequence[str], name: str) -> tuple[str, ...]:
    """A sentence where the rehearsal engine wrote training rows of these views, none where others did or no column says who."""
    for file in (file for view in views for file in sorted((folder / view).glob("train-*.parquet"))):
        if "engine" not in pq.read_schema(file).names:
            continue
        if "rehearsal" in pq.read_table(file, columns=["engine"])["engine"].unique().to_pylist():
            return (f"training rows of {name} are {REHEARSAL}: they try the way, and say nothing of feelings",)
    return ()


def _table(folder: Path, view: str, part: str) -> pa.Table:
    files = sorted((folder / view).glob(f"{part}-*.parquet"))
    if not files:
        raise WrongRequest(
            f"{folder} has no {view}/{part}-*.parquet; finish the run (make resume OUT=...), or choose another VIEW"
        )
    try:
        tables = [pq.read_table(file) for file in files]
        names = [*COLUMNS, *(["context", "character"] if view == "contextual" else [])]
        more = [name for name in ("labels", "kind") if all(name in table.column_names for table in tables)]
        return pa.concat_tables([_typed(table.select([*names, *more])) for table in tables])
    except (OSError, ValueError, KeyError, pa.ArrowException) as err:
        raise WrongRequest(
            f"{files[0]} cannot be read as a view of a run ({str(err).splitlines()[0]}); run make verify, or build it anew"
        ) from err


def _typed(table: pa.Table) -> pa.Table:
    """Columns as a view has them, whatever wrote them; ArrowInvalid where a value cannot be one."""
    wanted = {"label_ids": pa.list_(pa.int32()), "intensities": pa.list_(pa.float32()), "labels": pa.list_(pa.string())}
    types = [wanted.get(name, pa.string()) for name in table.column_names]
    return table.cast(pa.schema(list(zip(table.column_names, types, strict=True))))


def _examples(table: pa.Table, where: str) -> Examples:
    contexts = [""] * table.num_rows
    if "context" in table.column_names:
        pairs = zip(table["character"].to_pylist(), table["context"].to_pylist(), strict=True)
        contexts = ["\n".join(filter(None, pair)) for pair in pairs]
    texts = table["utterance"].to_pylist()
    if missing := [row for row, text in enumerate(texts) if not (text or "").strip()]:
        raise WrongRequest(f"{where}: row {missing[0]} has no text; build the dataset anew")
    return Examples(
        texts=tuple(texts),
        contexts=tuple(contexts),
        hard=_hard(table, where),
        soft=_soft(table["intensities"].to_pylist(), where),
        groups=tuple(one or "" for one in table["source_id"].to_pylist()),
        ids=tuple(table["id"].to_pylist()),
        kinds=tuple(one or "" for one in table["kind"].to_pylist()) if "kind" in table.column_names else (),
    )


def _hard(table: pa.Table, where: str) -> Floats:
    hard = np.zeros((table.num_rows, len(LABELS)), np.float32)
    for row, ids in enumerate(table["label_ids"].to_pylist()):
        for one in ids or ():
            if one is None or not 0 <= one < len(LABELS):
                raise WrongRequest(
                    f"{where}: row {row} has the label {one}, which is none of the {len(LABELS)}; build the dataset anew"
                )
            hard[row, one] = 1
    for row, names in enumerate(table["labels"].to_pylist() if "labels" in table.column_names else ()):
        if unknown := [name for name in names or () if name not in ID or not hard[row, ID[name]]]:
            raise WrongRequest(
                f"{where}: row {row} has the label {unknown[0]!r}, which is unknown or not among its label_ids; "
                "build the dataset anew"
            )
    return hard


def _soft(scores: Sequence[Sequence[float] | None], where: str) -> Floats:
    for row, one in enumerate(scores):
        if one is None or len(one) != len(LABELS) or not all(score is not None and 0 <= score <= 1 for score in one):
            raise WrongRequest(
                f"{where}: the intensities of row {row} are not {len(LABELS)} numbers from 0 to 1; build the dataset anew"
            )
    return np.asarray(scores, np.float32).reshape(len(scores), len(LABELS))


# A benchmark ------------------------------------------------------------------------------------------------------------


def _of_benchmark(benchmark: benchmarks.Benchmark, path: Path, fold: int) -> Dataset:
    if not benchmark.classes:
        raise WrongRequest(f"{benchmark.name} has no classes to learn: it is of values; choose another DATA")
    parts = benchmark.read(path)
    train, dev, test, notes = list(parts.train), list(parts.dev), list(parts.test), list(parts.notes)
    if not train:
        raise WrongRequest(f"{path} holds no training part of {benchmark.title}; give the folder with all its files")
    if fold and (test or fold >= benchmark.folds):
        raise WrongRequest(f"{benchmark.name} has {benchmark.folds or 'no'} folds, so fold={fold} is none of them")
    if not test and benchmark.folds:
        train, test = map(list, benchmarks.folds(train, benchmark.folds, SPLIT_SEED)[fold])
        notes.append(
            f"{benchmark.title} has no official split: the test part is fold {fold} of {benchmark.folds} (from 0), grouped"
        )
    if not dev:
        train, dev = map(list, benchmarks.folds(train, TENTH, SPLIT_SEED)[0])
        notes.append(f"{benchmark.title} has no validation part here: a grouped tenth of its training part is one")
    same = benchmark.classes == LABELS
    classes = LABELS if same else benchmark.classes
    return Dataset(
        name=benchmark.name,
        classes=classes,
        multi=benchmark.multi,
        train=_of_rows(train, classes),
        validation=_of_rows(dev, classes),
        test=_of_rows(test, classes),
        notes=tuple(notes),
        licence=benchmark.licence,
        official=True,
    )


def _of_rows(rows: Sequence[benchmarks.Row], classes: Sequence[str]) -> Examples:
    place = {label: n for n, label in enumerate(classes)}
    hard = np.zeros((len(rows), len(classes)), np.float32)
    for n, row in enumerate(rows):
        for label in row.labels:
            hard[n, place[label]] = 1
    return Examples(
        texts=tuple(row.text for row in rows),
        contexts=tuple(row.context for row in rows),
        hard=hard,
        soft=hard,
        groups=tuple(row.group or row.id for row in rows),
        ids=tuple(row.id for row in rows),
    )


# Putting together -------------------------------------------------------------------------------------------------------


def _with_more(first: Dataset, other: Dataset) -> Dataset:
    """The training part of another set, and only that, in the classes of the first.

    Sources of a run that stand in validation or test are left out; those of a benchmark are never the same as others.
    """
    train = other.train if other.classes == first.classes else _mapped(other, first.classes)
    held, notes = {*first.validation.groups, *first.test.groups} - {""}, []
    if other.official:
        train = replace(train, groups=tuple(f"{other.name}/{group}" for group in train.groups))
    elif gone := sum(group in held for group in train.groups):
        train = train.take([row for row, group in enumerate(train.groups) if group not in held])
        notes = [f"{gone:,} training rows of {other.name} are of sources in validation or test and were left out"]
    notes.append(f"{len(train):,} training rows of {other.name} were added; its other parts are not used")
    return replace(
        first,
        name=f"{first.name}+{other.name}",
        train=Examples.joined([first.train, train]),
        notes=(*first.notes, *other.notes, *notes),
        licence=first.licence if other.licence == first.licence else f"{first.licence}; {other.licence}",
    )


def _mapped(other: Dataset, classes: tuple[str, ...]) -> Examples:
    known = benchmarks.ALL.get(other.name)
    if classes != LABELS or known is None:
        raise WrongRequest(
            f"{other.name} has other classes than the first of DATA; put the one with the 28 classes first, "
            "or train in two stages (INIT=)"
        )
    table = np.zeros((len(other.classes), len(classes)), np.float32)
    for n, own in enumerate(other.classes):
        for label in known.to28.get(own, ()):
            table[n, ID[label]] = 1
    hard = np.minimum(other.train.hard @ table, 1).astype(np.float32)
    mapped = replace(other.train, hard=hard, soft=hard)
    return mapped.take(np.flatnonzero(hard.any(axis=1)))


def _without_context(made: Dataset) -> Dataset:
    return replace(
        made, **{part: replace(getattr(made, part), contexts=("",) * len(getattr(made, part))) for part in PARTS}
    )


def _check(made: Dataset) -> None:
    for part in PARTS[:2]:
        if not len(getattr(made, part)):
            raise WrongRequest(
                f"{made.name} has no row in its {part} part, and nothing can be trained without one; "
                "give a corpus of ten sources or more (a split is by source)"
            )
    if not made.train.hard.any():
        raise WrongRequest(f"no training row of {made.name} has a label; there is nothing to learn")
    if int((made.train.hard.sum(axis=0) > 0).sum()) < FEW:
        raise WrongRequest(
            f"all training rows of {made.name} have one and the same class; there is nothing to tell apart"
        )


def subset(part: Examples, count: int, seed: int) -> Examples:
    """So many of the rows, drawn by the seed; fewer are a part of more."""
    order = np.random.default_rng(seed).permutation(len(part))
    return part.take(sorted(order[:count]))


def described(made: Dataset) -> str:
    """One line: rows of each part and how many classes occur."""
    counts = ", ".join(f"{part} {len(getattr(made, part)):,}" for part in PARTS)
    return f"{made.name}: {counts} rows, {int((made.train.hard.sum(axis=0) > 0).sum())} of {len(made.classes)} classes in train"
