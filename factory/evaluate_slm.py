"""A model that writes, on public benchmarks: every text is asked for in the one JSON contract, and nothing is mended.

A reply that is not the contract is wrong in the headline: no label, and the mean of the training part as its VAD. What is
right of those that can be read stands in a table of its own, so that a model gains nothing by failing on hard rows
(METHODS 5.3). Labels are read as a benchmark's classes by the written map, in the order in which the model wrote them.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from factory import __version__, benchmarks, contract, evaluate_items, files
from factory.answers import Answerer, Question
from factory.benchmarks import Benchmark, Row, baselines, metrics, report, results
from factory.benchmarks.emobank import DIMENSIONS
from factory.benchmarks.metrics import Flags
from factory.benchmarks.places import places, source
from factory.benchmarks.projection import impossible, lost, project
from factory.benchmarks.report import Evaluation, Source
from factory.benchmarks.results import Result
from factory.errors import Stopped, WrongRequest
from factory.evaluate_items import Items, rates
from factory.requests import Message, Reply
from factory.seen import Seen
from factory.taxonomy import ID, LABELS

Floats = NDArray[np.float64]
MAX_TOKENS = 256  # of a reply; the contract's line has under a hundred
PARSED = "parsed rows only"
UNKNOWN = "what a model of others has read is not known"
_MOST_LABELS, _MOST_CHARACTERS = 5, 300  # under guidance: a list or a sentence cannot run on
# For a model that was never trained on the contract: the 28 words, and a line in its form.
SPELT = (
    f"{contract.SYSTEM}\nThe labels: {', '.join(LABELS)}.\nThe form: "
    '{"labels": ["relief", "joy"], "vad": {"v": 0.80, "a": 0.40, "d": 0.60}, "rationale": "The danger has passed."}'
)


class Named(Answerer, Protocol):
    """An answerer whose model has a fingerprint; `factory.answers.Remembering` is one."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def troubles(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What is asked, beside the texts. `limit`: at most so many rows of each benchmark, drawn by a fixed seed; `spelt`: the
    labels and the form are told, for a model that was not trained on them; `guided`: replies are held to the schema."""

    limit: int = 0
    spelt: bool = False
    guided: bool = False
    told: str = "greedy"  # how it decodes, for the report
    taught: tuple[str, ...] = ()  # tasks that the model learnt, where that is known: others are not asked of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two rows by their places: one text, and the same with the opposite of its feeling."""

    one: int
    other: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Rows to be asked for, what its baselines may know, and what its reader needs to be told."""

    benchmark: Benchmark
    source: Source
    rows: tuple[Row, ...]
    train: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """What the replies say: labels as ranks [rows, 28] (1 for the first, then 1/2, 1/3 ...; 0 where not said), VAD [rows, 3]
    (NaN where not said), which rows could be read, and which of them as the whole line."""

    ranks: Floats
    vad: Floats
    parsed: Flags
    strict: Flags
    replies: tuple[Reply, ...] = field(repr=False)

    @staticmethod
    def of(replies: Sequence[Reply]) -> "Read":
        ranks, vad = np.zeros((len(replies), len(LABELS))), np.full((len(replies), 3), np.nan)
        how = []
        for row, reply in enumerate(replies):
            said = contract.parsed(reply.text)
            how.append(said.how)
            if said.contract is None:
                continue
            for rank, label in enumerate(dict.fromkeys(said.contract.labels), 1):
                ranks[row, ID[label]] = 1 / rank
            vad[row] = said.contract.vad.v, said.contract.vad.a, said.contract.vad.d
        found = np.array(how)
        return Read(ranks, vad, found != "none", found == "strict", tuple(replies))

    def take(self, rows: Any) -> "Read":
        some = np.arange(len(self.parsed))[rows]
        replies = tuple(self.replies[n] for n in some)
        return Read(self.ranks[some], self.vad[some], self.parsed[some], self.strict[some], replies)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be asked, and a sentence on each benchmark that will not."""

    tasks: tuple[Task, ...]
    skipped: tuple[str, ...]
    how: How
    seen: Seen
    items: tuple[Items, ...] = ()  # of runs


def planned(benchmark: str, data: Path, how: How | None = None, seen: Seen | None = None) -> Plan:
    """Reads the files of `benchmark`: "all", names with commas, name:path, or run:path for the test part of a run.

    WrongRequest where nothing is there to be scored, or a file is broken.
    """
    how, seen = how or How(), seen or Seen(unknown=UNKNOWN)
    tasks, items, skipped = _tasks(benchmark, data, seen, how.taught)
    if not tasks and not items:
        raise WrongRequest(f"there is nothing to score: {skipped[0]}")
    asked = tuple(evaluate_items.limited(some, how.limit) for some in items)
    return Plan(tuple(_limited(task, how.limit) for task in tasks), skipped, how, seen, asked)


def evaluate(answerer: Named, plan: Plan, out: Path, says: Callable[[str], None]) -> str:
    """Asks, scores, and writes results.json and results.md into `out`, as `factory.evaluate.evaluate` does of a classifier;
    the table comes back. Stopped where no question at all of a benchmark got a reply."""
    for sentence in plan.skipped:
        says(sentence)
    found: list[Result] = []
    for task in plan.tasks:
        says(f"{task.benchmark.title}: {len(task.rows):,} rows")
        read = Read.of(_replies(answerer, questions(task, plan.how), task.benchmark.title))
        found += scored(task, read, plan.seen, _asked_notes(plan.how))
    for some in plan.items:
        says(f"{some.title}: {len(some.items):,} items")
        asked = evaluate_items.questions(some, plan.how.guided)
        found.append(evaluate_items.scored(some, _replies(answerer, asked, some.title), plan.how.guided))
    made = Evaluation(
        model=answerer.name,
        fingerprint=answerer.fingerprint,
        classes=LABELS,
        thresholds=f"labels as the model wrote them, {plan.how.told}",
        versions=versions(),
        sources=(*(task.source for task in plan.tasks), *{some.run: some.source for some in plan.items}.values()),
        results=tuple(found),
        skipped=plan.skipped,
    )
    with files.writing(out):
        out.mkdir(parents=True, exist_ok=True)
    files.write_atomic(out / "results.json", report.to_json(made))
    files.write_atomic(out / "results.md", report.markdown(made).encode())
    return f"{report.summary(made.results)}\n\nclass by class, with notes: {out / 'results.md'}"


# What is scored -------------------------------------------------------------------------------------------------------


def _tasks(
    benchmark: str, data: Path, seen: Seen, taught: Sequence[str]
) -> tuple[list[Task], list[Items], tuple[str, ...]]:
    """What is there and can be asked of a model that was `taught` so (() where that is not known), and a sentence on each that
    cannot."""
    names = [one.strip() for one in benchmark.split(",") if one.strip()]
    tasks, items, skipped = list[Task](), list[Items](), list[str]()
    runs = [name for name in names if name == "run" or name.startswith("run:")]
    if names == ["all"] and is_run(data):
        names, runs = [], ["run"]
    for name in runs:
        path = Path(name.partition(":")[2] or data).expanduser()
        known = f"run:{path.resolve().name}"
        held = _held(path, known)
        for one in held:
            asked = one.task if isinstance(one, Items) else "emotion_json"
            if not _knows(taught, asked):
                skipped.append(_unlearnt(known, asked, taught))
            elif isinstance(one, Items):
                items.append(one)
            else:
                tasks.append(one)
    rest = [name for name in names if name not in runs]
    if not rest:
        return tasks, items, tuple(skipped)
    where = places(",".join(rest), data)
    if not where.there and not tasks and not items:
        raise WrongRequest(f"there is nothing to score: {where.why_none(data)}")
    for name, place in where.there.items():
        if not _knows(taught, "emotion_json"):
            skipped.append(_unlearnt(name, "emotion_json", taught))
            continue
        found = _task(benchmarks.of(name), place, seen)
        tasks += [found] if isinstance(found, Task) else []
        skipped += [found] if isinstance(found, str) else []
    return tasks, items, (*where.absent, *skipped) if tasks or items else (*skipped, *where.absent)


def _knows(taught: Sequence[str], task: str) -> bool:
    return not taught or task in taught


def _unlearnt(name: str, task: str, taught: Sequence[str]) -> str:
    return f"{name}: the model was not taught {task} ({', '.join(taught)} alone), so it is not asked for that"


def _task(benchmark: Benchmark, place: Path, seen: Seen) -> Task | str:
    """Its test part; all rows where there is no official split, but for those that the model has seen."""
    parts = benchmark.read(place)
    rows, train, notes = parts.test, parts.train, list(parts.notes)
    if not rows and benchmark.folds:
        rows, train = seen.fresh(parts.train), ()
        gone = len(parts.train) - len(rows)
        which = (
            f"all {len(rows):,} rows are scored" if not gone else f"the {len(rows):,} rows not trained on are scored"
        )
        notes += [
            f"{benchmark.title} has no official split: {which}; baselines are means over {benchmark.folds} grouped folds"
        ]
    if not rows:
        return f"{benchmark.name}: {place} holds no test part that the model has not seen; give the folder with it"
    twice = len(benchmarks.repeats(train, rows))
    if twice:
        notes.append(f"{twice:,} of the {len(rows):,} test texts stand in the training part of {benchmark.title} too")
    if any(row.context for row in rows):
        notes.append("the contract is of one utterance: the turns before were not shown")
    return Task(benchmark=benchmark, source=source(benchmark.name, place), rows=rows, train=train, notes=tuple(notes))


def is_run(path: Path) -> bool:
    """Whether it is a run, or a folder in the form of its dataset."""
    return bool(_files(path, "test") or _files(path, "test", "sft"))


def _files(path: Path, part: str, view: str = "contextless") -> list[Path]:
    folder = path / "dataset" if (path / "dataset").is_dir() else path
    return sorted((folder / view).glob(f"{part}-*.parquet"))


def _table(path: Path, part: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    columns = ["id", "utterance", "labels", *DIMENSIONS, "kind", "pair_id", "source_id"]
    try:
        return [row for file in _files(path, part) for row in pq.read_table(file, columns=columns).to_pylist()]
    except (OSError, ValueError, KeyError) as err:
        raise WrongRequest(f"{path} cannot be read as a run ({err}); run make verify OUT={path}") from err


def _of_run(row: Mapping[str, Any]) -> Row:
    values = tuple(float("nan") if row[name] is None else float(row[name]) for name in DIMENSIONS)
    return Row(row["id"], row["utterance"], tuple(row["labels"]), row["source_id"], values=values)


def _held(path: Path, name: str) -> list[Task | Items]:
    """What a run keeps for testing: texts, or items, or both."""
    items = evaluate_items.of_run(path, name)
    return [*([] if items and not _table(path, "test") else [_run(path)]), *items]


def _run(path: Path) -> Task:
    """The test part of a run's contextless view, with what its teacher said as the truth, and its pairs of flips."""
    found = _files(path, "test")
    if not found:
        raise WrongRequest(f"{path} has no contextless/test-*.parquet; finish the run, or give another folder")
    table = _table(path, "test")
    if not table:
        raise WrongRequest(f"{path} has no test rows; a run of ten sources or more has some")
    at = {row["id"]: place for place, row in enumerate(table)}
    pairs = tuple(
        Pair(one=at[row["pair_id"]], other=place)
        for place, row in enumerate(table)
        if row["kind"] == "flipped" and row["pair_id"] in at
    )
    name = path.resolve().name
    known = replace(
        benchmarks.of("goemotions"),
        name=f"run:{name}",
        title=f"the run {name}",
        licence="that of its corpus",
        source="",
    )
    digests = {file.relative_to(path).as_posix(): files.sha256(file) for file in found}
    return Task(
        benchmark=known,
        source=Source(benchmark=known.name, path=str(path), files=digests),
        rows=tuple(map(_of_run, table)),
        train=tuple(map(_of_run, _table(path, "train"))),
        notes=("the truth is what the teacher of the run said",),
        pairs=pairs,
    )


def _limited(task: Task, limit: int) -> Task:
    """At most so many rows, drawn by a fixed seed, so that fewer are a part of more."""
    if not limit or limit >= len(task.rows):
        return task
    kept = sorted(np.random.default_rng(0).permutation(len(task.rows))[:limit].tolist())
    at = {place: n for n, place in enumerate(kept)}
    pairs = tuple(
        Pair(one=at[pair.one], other=at[pair.other]) for pair in task.pairs if pair.one in at and pair.other in at
    )
    said = f"LIMIT: {limit:,} of {len(task.rows):,} test rows, drawn by a fixed seed; the figures are of these alone"
    rows = tuple(task.rows[place] for place in kept)
    return replace(task, rows=rows, pairs=pairs, notes=(*task.notes, said))


# Asking ---------------------------------------------------------------------------------------------------------------


def questions(task: Task, how: How) -> list[Question]:
    """One for each row."""
    system = Message("system", SPELT if how.spelt else contract.SYSTEM)
    return [
        Question(
            unit=f"{task.benchmark.name}/{row.id}",
            messages=(system, Message("user", row.text)),
            max_tokens=MAX_TOKENS,
            schema=SCHEMA if how.guided else "",
            task="emotion_json",
        )
        for row in task.rows
    ]


def _schema() -> str:
    made: dict[str, Any] = contract.Contract.model_json_schema()
    made["properties"]["labels"]["maxItems"] = _MOST_LABELS
    made["properties"]["rationale"]["maxLength"] = _MOST_CHARACTERS
    return orjson.dumps(made).decode()


SCHEMA = _schema()


def _replies(answerer: Named, asked: Sequence[Question], title: str) -> list[Reply]:
    replies = answerer.replies(asked)
    if all(reply.finish == "error" for reply in replies):
        why = next(iter(answerer.troubles), "no reason was given")
        raise Stopped(f"not one question of {title} got a reply ({why}); mend that and give the same command")
    return replies


def _asked_notes(how: How) -> list[str]:
    said = ["every text is asked for in the contract of the training data, at temperature 0"]
    if how.spelt:
        said = ["every text is asked for in the contract, with its labels and form told, at temperature 0"]
    if how.guided:
        said.append("replies are held to the contract's schema, so how many are the contract says nothing of the model")
    return said


# Scoring --------------------------------------------------------------------------------------------------------------


def scored(task: Task, read: Read, seen: Seen, notes: Sequence[str] = ()) -> list[Result]:
    """Each table of one benchmark, on all rows and, where some could not be read, on those that could."""
    task = replace(task, notes=(*task.notes, *notes, *_read_notes(read)))
    made: list[Result] = []
    if task.benchmark.classes:
        forms = {"": task.benchmark} if task.pairs or task.benchmark.name.startswith("run:") else None
        for table, form in (forms or benchmarks.tables_of(task.benchmark)).items():
            made += _both(task, read, lambda t, r, name, form=form: _labels(t, form, name, r, seen), table)  # type: ignore[misc]
    if task.benchmark.name == "dailydialog":
        made += _not_in_train(task, read, seen)
    if any(row.values for row in task.rows):
        made += _values(task, read)
    return made


def _both(task: Task, read: Read, table: Callable[[Task, Read, str], Result], name: str) -> list[Result]:
    made = [table(task, read, name)]
    if read.parsed.any() and not read.parsed.all():
        rows = tuple(row for row, fine in zip(task.rows, read.parsed, strict=True) if fine)
        said = f"only the {len(rows):,} rows whose reply could be read: easier than all, and no figure to compare models by"
        fewer = replace(task, rows=rows, notes=(said,))
        made.append(table(fewer, read.take(read.parsed), f"{name}, {PARSED}" if name else PARSED))
    return made


def _labels(task: Task, form: Benchmark, name: str, read: Read, seen: Seen) -> Result:
    """One table of labels; a reply that cannot be read has none."""
    rows, train = task.rows, task.train
    if task.benchmark.name == "goemotions":
        rows, train = benchmarks.regrouped(rows, form), benchmarks.regrouped(train, form)
    truth, picked = metrics.matrix(rows, form.classes), chosen(read.ranks, form)
    fresh = np.array([not seen.has(row) for row in rows])
    extra = rates(read.replies, read.parsed, read.strict)
    extra["value_of_strict_replies"] = _value(form, truth, picked & read.strict[:, None])
    told = [*task.notes, *seen.notes(fresh)]
    if silent := int((read.parsed & ~picked.any(axis=1)).sum()):
        told.append(
            f"replies that could be read, but no label in them stands for a class, so that they chose none: {silent:,}"
        )
    if impossible(form):
        can = [label not in impossible(form) for label in form.classes]
        extra["predictable_rows"] = float(truth[:, can].any(axis=1).mean())
        told += lost(form)
    if fresh.any() and not fresh.all():
        extra["value_on_unseen_rows"] = _value(form, truth[fresh], picked[fresh])
    floors = baselines.floors_of_folds(form, rows) if form.folds else baselines.floors(form, train, rows)
    return results.of_labels(form, truth, picked, table=name, extra=extra, baselines=floors, notes=tuple(told))


def chosen(ranks: Floats, form: Benchmark) -> Flags:
    """[rows, 28] -> [rows, classes]. Several labels a row: every class of which one was said. One: the class of the label
    said first that stands for any, of equal ones that which the map has first; none where no label does."""
    found = project(ranks, form)
    if form.multi:
        return np.asarray(found > 0)
    order = np.array([form.classes.index(name) for name in form.to28])
    first = metrics.one_hot(order[found[:, order].argmax(axis=1)], len(form.classes))
    said = np.asarray((found > 0).any(axis=1))
    return np.asarray(first & said[:, None])


def _value(form: Benchmark, truth: Flags, picked: Flags) -> float:
    counted = [form.classes.index(name) for name in form.counted]
    return float(metrics.scorer(form.metric, truth, picked, counted)(None))


def _not_in_train(task: Task, read: Read, seen: Seen) -> list[Result]:
    """DailyDialog again, without the rows that stand in its training part with the same turns before them."""
    doubled = benchmarks.repeats(task.train, task.rows, context=True)
    stay = [n for n, row in enumerate(task.rows) if row.id not in doubled]
    if not doubled or not stay:
        return []
    said = f"{len(doubled):,} test rows that stand in train with the same turns before them are left out"
    fewer = replace(task, rows=benchmarks.without(task.rows, doubled), notes=(*task.notes, said))
    return [_labels(fewer, task.benchmark, "not in train", read.take(stay), seen)]


# Values -----------------------------------------------------------------------------------------------------------------


def _values(task: Task, read: Read) -> list[Result]:
    """VAD from 0 to 1; a reply that cannot be read says the mean of the training part."""
    scale = _unit if not task.benchmark.classes else _same
    whole = np.array([bool(row.values) and all(np.isfinite(row.values)) for row in task.rows])
    if not whole.any():
        return []
    rows = tuple(row for row, fine in zip(task.rows, whole, strict=True) if fine)
    known = [row for row in task.train if row.values and all(np.isfinite(row.values))]
    mean = scale(metrics.values(known)).mean(axis=0) if known else scale(metrics.values(rows)).mean(axis=0)
    where = "of the training part" if known else "of the test rows, for there is no training part with values"
    some = replace(task, rows=rows, notes=(*task.notes, f"where nothing was said, the mean {where} stands"), pairs=())

    def table(fewer: Task, said: Read, name: str) -> Result:
        truth = scale(metrics.values(fewer.rows))
        return _vad(fewer, truth, np.where(np.isnan(said.vad), mean, said.vad), mean, said, name)

    made = _both(some, read.take(whole), table, "vad" if task.benchmark.classes else "")
    if task.pairs:
        made[0] = replace(made[0], extra={**made[0].extra, **flips(task.pairs, read.vad[:, 0])})
    return made


def _unit(values: Any) -> Floats:
    return (np.asarray(values, np.float64) - 1) / 4  # EmoBank's 1 to 5


def _same(values: Any) -> Floats:
    return np.asarray(values, np.float64)


def _vad(task: Task, truth: Floats, said: Floats, mean: Floats, read: Read, name: str) -> Result:
    """r, CCC, MAE, skill and 1-RMSE of each dimension, the last with that of the constant mean beside it."""
    off, constant = truth - said, truth - mean
    error, least = (off**2).mean(axis=0), (constant**2).mean(axis=0)
    extra = rates(read.replies, read.parsed, read.strict)
    for n, dimension in enumerate(DIMENSIONS):
        extra[f"mae_{dimension}"] = float(np.abs(off[:, n]).mean())
        extra[f"skill_{dimension}"] = float(1 - error[n] / least[n]) if least[n] > 0 else 0.0
        extra[f"1-rmse_{dimension}"] = float(1 - np.sqrt(error[n]))
        extra[f"1-rmse_of_the_mean_{dimension}"] = float(1 - np.sqrt(least[n]))
    extra["skill"] = float(1 - error.mean() / least.mean()) if least.any() else 0.0
    extra["1-rmse"] = float(1 - np.sqrt(error.mean()))
    extra["1-rmse_of_the_mean"] = float(1 - np.sqrt(least.mean()))
    form = replace(task.benchmark, metric="pearson")
    return results.of_values(form, truth, said, table=name, extra=extra, baselines={"mean": 0.0}, notes=task.notes)


def flips(pairs: Sequence[Pair], valence: Floats) -> dict[str, float]:
    """Share of pairs in which the model's valence lies on both sides of .5: of all (a reply that cannot be read does not), and
    of those that could be read."""
    one = np.array([valence[pair.one] for pair in pairs]) - 0.5
    other = np.array([valence[pair.other] for pair in pairs]) - 0.5
    told = ~(np.isnan(one) | np.isnan(other))
    turned = told & (np.nan_to_num(one) * np.nan_to_num(other) < 0)
    low, high = metrics.wilson(int(turned.sum()), len(pairs))
    made = {
        "flip_pairs": float(len(pairs)),
        "flip_consistency": float(turned.mean()),
        "flip_consistency_low": low,
        "flip_consistency_high": high,
    }
    return made | ({f"flip_consistency_{PARSED}": float(turned[told].mean())} if told.any() else {})


# What is told of the replies --------------------------------------------------------------------------------------------


def _read_notes(read: Read) -> list[str]:
    rows = len(read.parsed)
    low, high = metrics.wilson(int(read.parsed.sum()), rows)
    whole, tail = read.strict.mean(), (read.parsed & ~read.strict).mean()
    said = [
        f"{read.parsed.mean():.1%} of the {rows:,} replies are the contract (95%: {low:.1%} to {high:.1%}): {whole:.1%} as the "
        f"whole line, {tail:.1%} as the last JSON object in the text; the rest are wrong here",
        "seconds are from question to reply, in whatever batch it was",
    ]
    if cut := sum(reply.finish in ("length", "repetition") for reply in read.replies):
        said.append(f"replies that were cut off at {MAX_TOKENS} tokens, or ran in circles: {cut:,}")
    if none := sum(reply.finish == "error" for reply in read.replies):
        said.append(
            f"questions without any reply, which are wrong here: {none:,}; the same command asks for them again"
        )
    return said


def versions() -> dict[str, str]:
    """Of what a model in this process answers with, as far as it is installed."""
    found = {"factory": __version__, "python": platform.python_version()}
    for name in ("numpy", "torch", "transformers", "peft", "vllm"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
