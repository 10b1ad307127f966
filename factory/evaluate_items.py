"""The held-out items of a run: questions on feelings, causes and help, each asked in its own words and read by its letters.

A reply is read as JSON: the whole text, or else the last object in it; what cannot be read so is wrong.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from factory import contract, files
from factory.answers import Question
from factory.benchmarks import metrics
from factory.benchmarks.metrics import Flags
from factory.benchmarks.report import Source
from factory.benchmarks.results import Result
from factory.errors import WrongRequest
from factory.questions import LETTERS
from factory.requests import Message, Reply
from factory.slm import rows

PARTS: Mapping[str, tuple[str, ...]] = {"mcq_eu": ("emotion", "cause"), "mcq_ea": ("answer",)}  # task -> its letters
MAX_TOKENS = 512  # of a reply: a rationale and the letters
_MOST_CHARACTERS = 1_200  # of a rationale under guidance, which cannot run on
_CHOICE = re.compile(r"([A-Z])\. ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item: what is asked, the letter that is right for each part of PARTS, and how many choices each has."""

    id: str
    messages: tuple[Message, ...]
    right: tuple[str, ...]
    choices: tuple[int, ...]
    reasons: bool  # its answer begins with a rationale


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """All held-out items of one task of a run."""

    run: str  # as results name it
    task: str
    items: tuple[Item, ...]
    source: Source
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.run}, {self.task}"


def of_run(path: Path, name: str) -> tuple[Items, ...]:
    """The items in the test part of the sft view, by task; () where the run has none."""
    folder = rows.dataset_of(path)
    there = sorted((folder / "sft").glob("test-*.parquet"))
    if not there:
        return ()
    found: dict[str, list[Item]] = {task: [] for task in PARTS}
    for batch in rows.batches(folder, "sft", "test", ("id", "task", "messages")):
        for row in batch.to_pylist():
            if row["task"] in found:
                found[row["task"]].append(_item(row, rows.row_name(folder, "test", row)))
    source = Source(
        benchmark=name, path=str(path), files={one.relative_to(path).as_posix(): files.sha256(one) for one in there}
    )
    note = "items of the run's own test part, each asked in the words of the training data, at temperature 0"
    return tuple(
        Items(run=name, task=task, items=tuple(items), source=source, notes=(note,))
        for task, items in found.items()
        if items
    )


def _item(row: Mapping[str, Any], where: str) -> Item:
    """WrongRequest where a row is no question with the letters of its task for an answer."""
    *asked, answer = rows.turns(row["messages"], where)
    parts, said = PARTS[row["task"]], _object(answer.content)
    counts = _counts(asked[-1].content)[-len(parts) :]
    right = tuple(str((said or {}).get(part)) for part in parts)
    if len(counts) < len(parts) or any(one not in LETTERS[:count] for one, count in zip(right, counts, strict=True)):
        raise WrongRequest(f"{where}: its answer is not the letters of {' and '.join(parts)}; build the dataset anew")
    return Item(
        id=row["id"], messages=tuple(asked), right=right, choices=tuple(counts), reasons="rationale" in (said or {})
    )


def _counts(page: str) -> list[int]:
    """How many choices each list of a question has: lines that begin with A., B. and so on."""
    found: list[int] = []
    for line in page.split("\n"):
        letter = match[1] if (match := _CHOICE.match(line)) else ""
        if letter == "A":
            found.append(1)
        elif letter and found and letter == LETTERS[found[-1]]:
            found[-1] += 1
    return found


def limited(task: Items, limit: int) -> Items:
    """At most so many, drawn by a fixed seed, so that fewer are a part of more."""
    if not limit or limit >= len(task.items):
        return task
    kept = sorted(np.random.default_rng(0).permutation(len(task.items))[:limit].tolist())
    said = f"LIMIT: {limit:,} of {len(task.items):,} items, drawn by a fixed seed; the figures are of these alone"
    return replace(task, items=tuple(task.items[place] for place in kept), notes=(*task.notes, said))


# Asking and reading -----------------------------------------------------------------------------------------------------


def questions(task: Items, guided: bool) -> list[Question]:
    """One for each item; `guided`: under a schema of its own letters."""
    return [
        Question(
            unit=f"{task.run}/{task.task}/{item.id}",
            messages=item.messages,
            max_tokens=MAX_TOKENS,
            schema=_schema(task.task, item) if guided else "",
            task=task.task,
        )
        for item in task.items
    ]


def _schema(task: str, item: Item) -> str:
    reason = {"rationale": {"type": "string", "maxLength": _MOST_CHARACTERS}} if item.reasons else {}
    letters = {
        part: {"type": "string", "enum": list(LETTERS[:count])}
        for part, count in zip(PARTS[task], item.choices, strict=True)
    }
    fields: dict[str, Any] = reason | letters
    whole = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return orjson.dumps(whole).decode()


def read(text: str, task: str, item: Item) -> tuple[tuple[str, ...] | None, bool]:
    """The letters that a reply says, None where it does not say one of the choices for each part; and whether it is the whole
    reply that says so."""
    for told, strict in ((text, True), (contract.last_object(text), False)):
        said = _object(told)
        letters = tuple(said.get(part) for part in PARTS[task]) if said else ()
        if letters and all(
            isinstance(one, str) and len(one) == 1 and one in LETTERS[:count]
            for one, count in zip(letters, item.choices, strict=True)
        ):
            return tuple(map(str, letters)), strict
    return None, False


def _object(text: str) -> dict[str, Any] | None:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


# Scoring ----------------------------------------------------------------------------------------------------------------


def scored(task: Items, replies: Sequence[Reply], guided: bool = False) -> Result:
    """Accuracy over items, which are right where all their letters are, beside chance and the best fixed letters."""
    heard = [read(reply.text, task.task, item) for reply, item in zip(replies, task.items, strict=True)]
    parsed = np.array([letters is not None for letters, _ in heard])
    hits = np.array([
        [said == right for said, right in zip(letters or ("",) * len(item.right), item.right, strict=True)]
        for (letters, _), item in zip(heard, task.items, strict=True)
    ])  # fmt: skip
    right: Flags = np.asarray(hits.all(axis=1))
    low, high = metrics.bootstrap(
        lambda weights: np.asarray(right.mean() if weights is None else weights @ right / weights.sum(axis=-1)),
        len(right),
    )
    extra = rates(replies, parsed, np.array([strict for _, strict in heard]))
    if len(PARTS[task.task]) > 1:
        extra |= {f"{part}_accuracy": float(hits[:, n].mean()) for n, part in enumerate(PARTS[task.task])}
    notes = [*task.notes, "a reply without a letter of the choices for each question is wrong"]
    if guided:
        notes.append("replies are held to a schema of the letters, so how many can be read says nothing of the model")
    if none := sum(reply.finish == "error" for reply in replies):
        notes.append(
            f"questions without any reply, which are wrong here: {none:,}; the same command asks for them again"
        )
    return Result(
        benchmark=task.run,
        table=task.task,
        metric="accuracy",
        value=float(right.mean()),
        low=float(low),
        high=float(high),
        rows=len(right),
        extra=extra,
        baselines=floors(task.items),
        notes=tuple(notes),
    )


def floors(items: Sequence[Item]) -> dict[str, float]:
    """What needs no model: chance, and the letters that are right most often, chosen in hindsight."""
    best = Counter(item.right for item in items).most_common(1)[0][1]
    chance = float(np.mean([prod(1 / count for count in item.choices) for item in items]))
    return {"chance": chance, "best_fixed_letter": best / len(items)}


def rates(replies: Sequence[Reply], parsed: Flags, strict: Flags) -> dict[str, float]:
    """How many replies are in form, and what one costs; means over rows."""
    came = [reply for reply in replies if reply.finish != "error"]
    found = {
        "parse_rate": float(parsed.mean()),
        "strict_rate": float(strict.mean()),
        "tail_rate": float((parsed & ~strict).mean()),
    }
    if came:
        found["seconds_per_row"] = float(np.mean([reply.seconds for reply in came]))
        found["tokens_in_per_row"] = float(np.mean([reply.tokens_in for reply in came]))
        found["tokens_out_per_row"] = float(np.mean([reply.tokens_out for reply in came]))
    return found
