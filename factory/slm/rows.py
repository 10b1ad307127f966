"""What a small language model learns from: conversations of runs, and benchmarks put into the one contract.

One pool for each part of `DATA=`. What stands in anybody's validation or test part is in nobody's training part.
"""

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from factory import benchmarks, contract
from factory.errors import WrongRequest
from factory.requests import Message
from factory.taxonomy import ID, LABELS
from factory.text import normal, one_line
from factory.train import data, leaks
from factory.train.records import PARTS, Dataset, Examples

TASKS = ("emotion_json", "mcq_eu", "mcq_ea")
WIDTH = 0.15  # how far a rationale may be from its row's VAD, as the standard deviation of a bell
FAR = 0.35  # such a rationale contradicts its row (METHODS 5.2)
WORDS = 2  # of a rationale that must be known before it is judged
TELLING = 1.5  # so many times the mean weight beside the VAD of other rows, or the words cannot tell (ours)
_ENOUGH = 30  # rationales from which a spread can be told
_ROLES = ("system", "user", "assistant")
_VAD = ("valence", "arousal", "dominance")
_APPRAISALS = ("goal_attainment", "controllability", "certainty", "fairness")
_ANSWERS = {"mcq_eu": {"emotion", "cause"}, "mcq_ea": {"answer"}}
_SFT = ("id", "source_id", "task", "messages")
_CONTEXTLESS = ("id", "label_ids", *_VAD, *_APPRAISALS, "kind")
_ROUNDED = 0.0051  # how far an answer's two decimals may be from their score: half a hundredth, and 32 bits' own error
_SHOWN = 80  # characters of a foreign text in a refusal

Triple = tuple[float | None, float | None, float | None]
Numbers = NDArray[Any]  # floating point of either width


class Words(Protocol):
    """Words with valence, arousal and dominance (`factory.vad.WordTable`)."""

    def read(self, text: str) -> tuple[Numbers | None, int]:
        """Mean [3] over the words of a text that are known, None for none, and how many these are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One conversation; the last message is the assistant's, and the target (a benchmark's row has it once it is `answered`).
    Values are from 0 to 1, None where unknown."""

    id: str
    task: str  # one of TASKS
    messages: tuple[Message, ...]
    hard: tuple[int, ...] = ()  # label ids of the 28, as the target lists them; () for items
    vad: Triple = (None, None, None)
    appraisals: tuple[float | None, ...] = (None,) * 4  # goal attainment, controllability, certainty, fairness
    rationale: str = ""  # what the target gives as one
    weight: float = 1.0  # in the loss: how well the rationale keeps to the VAD
    flipped: bool = False
    group: str = ""  # source: never on two sides

    @property
    def text(self) -> str:
        """The last question: of an `emotion_json` row the bare utterance."""
        return next((one.content for one in reversed(self.messages) if one.role == "user"), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Rows of one origin in their parts; `notes` says in sentences what was left out."""

    name: str
    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    test: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    licence: str = ""


def load(
    spec: str,
    *,
    tasks: Sequence[str] = TASKS,
    flips: bool = True,
    vad: bool = False,
    words: Words | None = None,
) -> tuple[Pool, ...]:
    """The pools that `DATA=` names, in its order: runs, dataset folders, benchmarks as name:path.

    `flips=False` takes valence-flip rows out of the training parts, and of those alone, so that with and without are
    measured on the same rows. `vad`: there is a model of it for benchmarks, whose rows have no VAD of their own and wait to be
    `answered`. With `words` every training row gets its weight. WrongRequest, in one sentence, where nothing can be learnt from
    what is named.
    """
    named = [part.strip() for part in spec.split(",") if part.strip()]
    if not named:
        raise WrongRequest("DATA is empty; give a run, a dataset folder, or a benchmark such as goemotions:path")
    if unknown := [task for task in tasks if task not in TASKS]:
        raise WrongRequest(f"{unknown[0]!r} is no task of the sft view; choose among {', '.join(TASKS)}")
    places = [_place(part) for part in named]
    if twice := [part for n, part in enumerate(named) if places[n] in places[:n]]:
        raise WrongRequest(f"DATA names {twice[0]} twice; leave one out")
    pools = [_one(part, tasks, vad) for part in named]
    pools = [pool if flips else _without_flips(pool) for pool in pools]
    pools = [_apart(pool, [other for other in pools if other is not pool]) for pool in pools]
    _check(pools, tasks)
    return tuple(pools if words is None else [_weighted(pool, words) for pool in pools])


def _place(spec: str) -> tuple[str, str]:
    """Where the rows of a part of DATA are, however its path is written: the benchmark if it is one, and the folder."""
    name, colon, path = spec.partition(":")
    if colon and name in benchmarks.ALL:
        return name, os.path.realpath(Path(path).expanduser())
    return "", os.path.realpath(dataset_of(Path(spec).expanduser()))


def _one(spec: str, tasks: Sequence[str], vad: bool) -> Pool:
    name, colon, _ = spec.partition(":")
    if colon and name in benchmarks.ALL:
        return _of_benchmark(spec, benchmarks.ALL[name], tasks, vad)
    path = Path(spec).expanduser()
    if not path.is_dir():
        known = ", ".join(sorted(benchmarks.ALL))
        raise WrongRequest(
            f"DATA={spec}: there is no such folder; give a run, a dataset folder, or one of {known} as name:path"
        )
    return _of_run(path, tasks)


def _check(pools: Sequence[Pool], tasks: Sequence[str]) -> None:
    for pool in pools:
        if not pool.train:
            raise WrongRequest(
                f"{pool.name} has no training row of {', '.join(tasks)} that stands in no validation or test part; finish the "
                "run, give a corpus of more sources, or choose other tasks"
            )
    if not any(pool.validation for pool in pools):
        raise WrongRequest(
            f"{', '.join(pool.name for pool in pools)}: there is no validation row, and nothing can be trained without one; "
            "give a corpus of ten sources or more (a split is by source)"
        )


# A run, or a folder in the form of its dataset ------------------------------------------------------------------------


class _Scores(NamedTuple):
    """What `contextless` knows of a row of `sft`."""

    labels: tuple[int, ...]
    vad: Triple
    appraisals: tuple[float | None, ...]
    flipped: bool


def _of_run(path: Path, tasks: Sequence[str]) -> Pool:
    folder = dataset_of(path)
    parts = {part: list(_conversations(folder, part, tasks)) for part in PARTS}
    kept = leaks.cleaned(
        Dataset(
            name=path.resolve().name,
            classes=LABELS,
            multi=True,
            train=_examples(parts["train"]),
            validation=_examples(parts["validation"]),
            test=_examples(parts["test"]),
            notes=data.rehearsed(folder, ["sft"], path.resolve().name),
        )
    )
    rows = {part: tuple(parts[part][int(place)] for place in getattr(kept, part).ids) for part in PARTS}
    licence = "that of the corpus and of the generator"
    return Pool(name=kept.name, notes=kept.notes, licence=licence, **rows)


def _examples(rows: Sequence[Row]) -> Examples:
    """What the rules against leaks look at: texts and groups; `ids` are places in `rows`."""
    nothing = np.zeros((len(rows), 1), np.float32)
    return Examples(
        texts=tuple(row.text for row in rows),
        contexts=("",) * len(rows),
        hard=nothing,
        soft=nothing,
        groups=tuple(row.group for row in rows),
        ids=tuple(str(n) for n in range(len(rows))),
    )


def _conversations(folder: Path, part: str, tasks: Sequence[str]) -> Iterator[Row]:
    found = (row for batch in batches(folder, "sft", part, _SFT) for row in batch.to_pylist())
    rows = [row for row in found if row["task"] in tasks]
    scored = any(row["task"] == "emotion_json" for row in rows)
    scores = _scores(batches(folder, "contextless", part, _CONTEXTLESS)) if scored else {}
    for row in rows:
        where = row_name(folder, part, row)
        made = conversation(row, where)
        yield _scored(made, scores.get(made.id), where) if made.task == "emotion_json" else made


def conversation(row: Mapping[str, Any], where: str) -> Row:
    """A row of the sft view as it stands there, with the VAD that its answer tells; WrongRequest, which says `where`, if it is
    no question with the answer of its task (one of TASKS)."""
    messages = turns(row["messages"], where)
    made = Row(id=row["id"], task=row["task"], messages=messages, group=row.get("source_id") or "")
    answer = messages[-1].content
    if made.task != "emotion_json":
        return replace(made, rationale=_reason(answer, made.task, where))
    said = contract.parsed(answer)
    if said.contract is None or said.how != "strict":
        raise WrongRequest(f"{where}: {_unlike(answer)}; build the dataset anew")
    vad = said.contract.vad
    labels = tuple(ID[label] for label in said.contract.labels)
    return replace(made, hard=labels, vad=(vad.v, vad.a, vad.d), rationale=said.contract.rationale)


def row_name(folder: Path, part: str, row: Mapping[str, Any]) -> str:
    """Which row of the sft view is spoken of."""
    return f"{folder}/sft/{part}: row {_shown(row['id'])}"


def _shown(text: object) -> str:
    """A foreign text within a sentence: one line, cut."""
    plain = one_line(str(text))
    return plain if len(plain) <= _SHOWN else plain[: _SHOWN - 1] + "…"


def dataset_of(path: Path) -> Path:
    """The folder with the views: of a run its dataset, else the folder itself."""
    return path / "dataset" if (path / "dataset").is_dir() else path


def batches(folder: Path, view: str, part: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of one part of a view in their order, a piece at a time; WrongRequest where it is not there or damaged."""
    files = sorted((folder / view).glob(f"{part}-*.parquet"))
    if not files:
        raise WrongRequest(f"{folder} has no {view}/{part}-*.parquet; finish the run (make resume OUT=...)")
    for file in files:
        try:
            with pq.ParquetFile(file) as opened:
                if missing := {*columns} - {*opened.schema_arrow.names}:
                    raise ValueError(f"no column {min(missing)}")
                if other := [name for name in columns if not _is_kind(name, opened.schema_arrow.field(name).type)]:
                    raise ValueError(f"its column {other[0]} is not {_KINDS[other[0]][0]}")
                yield from opened.iter_batches(columns=list(columns))
        except (OSError, ValueError, pa.ArrowException) as err:
            raise WrongRequest(
                f"{file} cannot be read as a view of a run ({str(err).splitlines()[0]}); run make verify, or build it anew"
            ) from err


def _is_kind(name: str, kind: pa.DataType) -> bool:
    """May a column of this name have this type? One of nothing but nulls has none."""
    return name not in _KINDS or pa.types.is_null(kind) or _KINDS[name][1](kind)


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_ids(kind: pa.DataType) -> bool:
    return _is_list(kind) and (pa.types.is_integer(kind.value_type) or pa.types.is_null(kind.value_type))


def _is_turns(kind: pa.DataType) -> bool:
    if not _is_list(kind) or not pa.types.is_struct(kind.value_type):
        return False
    fields = {field.name: field.type for field in kind.value_type.fields}
    return all(name in fields and _is_text(fields[name]) for name in ("role", "content"))


# What a column of a view is, in words and as a test of its type.
_KINDS: Mapping[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    **dict.fromkeys(("id", "source_id", "task", "engine", "model", "kind"), ("text", _is_text)),
    **dict.fromkeys((*_VAD, *_APPRAISALS), ("numbers", _is_number)),
    "label_ids": ("lists of whole numbers", _is_ids),
    "messages": ("lists of turns, each a role and a content of text", _is_turns),
}


def _scores(several: Iterable[pa.RecordBatch]) -> dict[str, _Scores]:
    return {
        row["id"]: _Scores(
            labels=tuple(row["label_ids"] or ()),
            vad=(row["valence"], row["arousal"], row["dominance"]),
            appraisals=tuple(row[name] for name in _APPRAISALS),
            flipped=row["kind"] == "flipped",
        )
        for batch in several
        for row in batch.to_pylist()
    }


def turns(said: Sequence[Mapping[str, str | None] | None] | None, where: str) -> tuple[Message, ...]:
    """The turns of a row: system words if any, a question, its answer; WrongRequest, which says `where`, if it has others."""
    told = [one or {} for one in said or ()]
    roles = [one.get("role") for one in told]
    if roles not in (list(_ROLES), list(_ROLES[1:])) or not all((one["content"] or "").strip() for one in told):
        shown = _shown(", ".join(map(str, roles))) or "none"
        raise WrongRequest(f"{where} is no question with an answer (its turns: {shown}); build the dataset anew")
    # The words of the system are the same in most rows: one copy of them is kept.
    return tuple(
        Message(one["role"], sys.intern(one["content"]) if one["role"] == "system" else one["content"])  # type: ignore[arg-type]
        for one in told
    )


def _scored(row: Row, scores: _Scores | None, where: str) -> Row:
    """The row with its scores in place of what its answer tells of them; WrongRequest where they are none of it."""
    if scores is None or scores.labels != row.hard:
        raise WrongRequest(
            f"{where} {'is not in contextless' if scores is None else 'has other labels in contextless'}, where its scores are "
            "from; build the dataset anew"
        )
    known = dict(zip((*_VAD, *_APPRAISALS), (*scores.vad, *scores.appraisals), strict=True))
    for name, value in known.items():
        if value is not None and not 0 <= value <= 1:  # nor is NaN
            raise WrongRequest(
                f"{where}: its {name} in contextless is {value:g}, not from 0 to 1; build the dataset anew"
            )
    for name, score, told in zip(_VAD, scores.vad, row.vad, strict=True):
        if score is not None and told is not None and abs(score - told) > _ROUNDED:
            raise WrongRequest(
                f"{where}: its {name} is {score:.3g} in contextless and {told:g} in its answer; build the dataset anew"
            )
    return replace(row, vad=scores.vad, appraisals=scores.appraisals, flipped=scores.flipped)


def _unlike(answer: str) -> str:
    """Why an answer is not the contract."""
    try:
        labels = json.loads(answer)["labels"]
        unknown = [label for label in labels if label not in ID]
    except (ValueError, KeyError, TypeError, RecursionError):
        unknown = []
    if unknown:
        return f"it has the label {str(unknown[0])[:60]!r}, which is none of the {len(LABELS)}"
    return f"its answer is not the one-line contract ({answer[:60]!r})"


def _reason(answer: str, task: str, where: str) -> str:
    """The rationale of an item's answer."""
    try:
        said = json.loads(answer)
        whole = all(isinstance(value, str) for value in said.values()) and _ANSWERS[task] == {*said} - {"rationale"}
    except (ValueError, AttributeError, RecursionError):
        whole = False
    if not whole:
        fields = " and ".join(sorted(_ANSWERS[task]))
        raise WrongRequest(f"{where}: its answer is not JSON with {fields} ({answer[:60]!r}); build the dataset anew")
    return str(said.get("rationale", ""))


# A benchmark ----------------------------------------------------------------------------------------------------------


def _of_benchmark(spec: str, benchmark: benchmarks.Benchmark, tasks: Sequence[str], vad: bool) -> Pool:
    """Each text as a question in the contract, with its labels as labels of the 28; `answered` gives VAD and the answer."""
    if "emotion_json" not in tasks:
        raise WrongRequest(
            f"{benchmark.name} becomes emotion_json rows, which the tasks leave out; add it or leave {spec} out"
        )
    if not vad:
        raise WrongRequest(
            f"{benchmark.name} has no valence, arousal and dominance, which the contract asks for; give VAD= a model of "
            "make train TASK=vad DATA=emobank:path"
        )
    found = data.load(spec, context=False)
    parts, dropped = {}, 0
    for part in PARTS:
        rows = list(_mapped(getattr(found, part), benchmark, found.classes))
        dropped += len(getattr(found, part)) - len(rows)
        parts[part] = tuple(rows)
    notes = [
        *found.notes,
        f"valence, arousal and dominance of {benchmark.title} are a model's, and there is no rationale",
    ]
    if dropped:
        notes.append(f"{dropped:,} rows of {benchmark.title} have a class that is none of the 28 and were left out")
    return Pool(name=benchmark.name, notes=tuple(notes), licence=found.licence, **parts)


def _mapped(part: Examples, benchmark: benchmarks.Benchmark, classes: Sequence[str]) -> Iterator[Row]:
    for n, (text, group, ident) in enumerate(zip(part.texts, part.groups, part.ids, strict=True)):
        own = [classes[place] for place in np.flatnonzero(part.hard[n])]
        labels = dict.fromkeys(ID[label] for name in own for label in benchmark.to28.get(name, ()))
        if labels and text.strip():
            yield Row(
                id=f"{benchmark.name}/{ident}",
                task="emotion_json",
                messages=(Message("system", contract.SYSTEM), Message("user", text)),
                hard=tuple(labels),
                group=f"{benchmark.name}/{group}",
            )


def answered(rows: Sequence[Row], vad: Callable[[Sequence[str]], Numbers]) -> list[Row]:
    """The rows, those of benchmarks with their answers: VAD by `vad`, which gives [texts, 3], labels, and no rationale.

    Apart from `load`, because a text is dear to rate and many may never be learnt from.
    """
    waiting = [n for n, row in enumerate(rows) if row.messages[-1].role != "assistant"]
    made = list(rows)
    values = vad([rows[n].text for n in waiting]) if waiting else np.zeros((0, 3))
    for n, (v, a, d) in zip(waiting, values.tolist(), strict=True):
        answer = contract.line([LABELS[label] for label in rows[n].hard], round(v, 2), round(a, 2), round(d, 2), "")
        made[n] = replace(rows[n], messages=(*rows[n].messages, Message("assistant", answer)), vad=(v, a, d))
    return made


# What is left out -----------------------------------------------------------------------------------------------------


def _without_flips(pool: Pool) -> Pool:
    kept = tuple(row for row in pool.train if not row.flipped)
    if len(kept) == len(pool.train):
        return pool
    note = f"{len(pool.train) - len(kept):,} valence-flip rows of {pool.name} were left out of the training part"
    return replace(pool, train=kept, notes=(*pool.notes, note))


class _Held(NamedTuple):
    """What rows of other pools have taken: texts in normal form, and sources."""

    texts: frozenset[str]
    groups: frozenset[str]

    @staticmethod
    def by(rows: Iterable[Row]) -> "_Held":
        held = list(rows)
        return _Held(frozenset(normal(row.text) for row in held), frozenset(row.group for row in held) - {""})

    def free(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        return tuple(row for row in rows if row.group not in self.groups and normal(row.text) not in self.texts)


def _apart(pool: Pool, others: Sequence[Pool]) -> Pool:
    """The pool without training rows of which others keep text or source for validation or test, and the like for
    validation and test."""
    tests = _Held.by(row for other in others for row in other.test)
    every = _Held.by(row for other in others for row in (*other.validation, *other.test))
    train, validation = every.free(pool.train), tests.free(pool.validation)
    notes = [
        f"{gone:,} {part} rows of {pool.name} share a text or a source with {held} of other data and were left out"
        for gone, part, held in (
            (len(pool.train) - len(train), "training", "validation or test"),
            (len(pool.validation) - len(validation), "validation", "test"),
        )
        if gone
    ]
    return replace(pool, train=train, validation=validation, notes=(*pool.notes, *notes))


# The weight of a row --------------------------------------------------------------------------------------------------


def preserved(read: Numbers | None, covered: int, target: Sequence[float | None]) -> float:
    """exp(-||m * (lex(r) - t)||^2 / (2 * 0.15^2)): how well a rationale keeps to the VAD of its row, from 0 to 1.

    `read` is lex(r), the mean VAD [3] of its `covered` words; m leaves out what the `target` t does not know. 1 where fewer
    than two words are known, for then nothing can be said. Ours, inspired by EmoLoom-2B (METHODS 5.2 a).
    """
    if read is None or covered < WORDS:
        return 1.0
    return math.exp(-_gap(read, target) / (2 * WIDTH**2))


def _gap(read: Numbers, target: Sequence[float | None]) -> float:
    """The squared distance in the dimensions that the target knows."""
    return sum((float(said) - known) ** 2 for said, known in zip(read, target, strict=True) if known is not None)


def _weighted(pool: Pool, words: Words) -> Pool:
    """The pool with the weights of its training rows; rows without a rationale keep 1.

    Where rationales agree with their rows hardly better than with others, distance is noise, and all keep 1 (ours).
    """
    judged = {
        n: words.read(row.rationale) for n, row in enumerate(pool.train) if row.task == "emotion_json" and row.rationale
    }
    read = {n: found for n, (found, covered) in judged.items() if found is not None and covered >= WORDS}
    if not read:
        return pool
    places = list(read)
    targets = [pool.train[n].vad for n in places]
    level = _levelled(np.asarray([read[n] for n in places]), targets)
    weights = [preserved(one, WORDS, target) for one, target in zip(level, targets, strict=True)]
    others = [preserved(one, WORDS, targets[n]) for one, n in zip(level, _elsewhere(len(places)), strict=True)]
    mean, control = float(np.mean(weights)), float(np.mean(others))
    which = f"rationales of {len(places):,} of {len(pool.train):,} training rows of {pool.name}"
    if mean <= TELLING * control:
        note = (
            f"{which} agree with their VAD hardly better than with that of other rows (mean weight {mean:.2f} against "
            f"{control:.2f}): the words cannot tell, so every row weighs 1"
        )
        return replace(pool, notes=(*pool.notes, note))
    train = list(pool.train)
    for n, weight in zip(places, weights, strict=True):
        train[n] = replace(train[n], weight=weight)
    far = sum(math.sqrt(_gap(one, target)) > FAR for one, target in zip(level, targets, strict=True))
    note = (
        f"{which} were compared with their VAD: mean weight {mean:.2f}, and {control:.2f} beside the VAD of other rows; "
        f"{far:,} are further away than {FAR}"
    )
    return replace(pool, train=tuple(train), notes=(*pool.notes, note))


def _elsewhere(count: int) -> list[int]:
    """For each of so many rows another one, always the same: the next in a drawn order, because neighbours tell of one story."""
    order = np.random.default_rng(0).permutation(count)
    found = np.empty(count, int)
    found[order] = np.roll(order, 1)
    return [int(n) for n in found]


def _levelled(read: Numbers, targets: Sequence[Triple]) -> Numbers:
    """What rationales say, [rows, 3], with the mean and spread that the targets have in each dimension (ours).

    A mean over words never leaves the middle of the scale as far as a text does: compared as it is, it would take weight
    from the rows that feel most. Too few rows are compared as they are.
    """
    made = read.astype(np.float64)
    for axis in range(3):
        known = [n for n, target in enumerate(targets) if target[axis] is not None]
        said, wanted = made[known, axis], np.asarray([targets[n][axis] for n in known], np.float64)
        if len(known) >= _ENOUGH and said.std() > 0:
            made[:, axis] = (made[:, axis] - said.mean()) / said.std() * wanted.std() + wanted.mean()
    return made.clip(0, 1)
