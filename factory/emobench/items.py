"""EmoBench's items as their authors publish them (Sabour et al. 2024; github.com/Sahandfer/EmoBench, MIT). METHODS 4.1.

EU.jsonl (emotional understanding: two questions, emotion and cause) and EA.jsonl (emotional application: one question),
each with 200 items in English and as many in Chinese.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson

from factory.benchmarks import tables
from factory.errors import WrongRequest
from factory.files import sha256

Task = Literal["EU", "EA"]
Language = Literal["en", "zh"]
TASKS: tuple[Task, ...] = ("EU", "EA")
LANGUAGES: tuple[Language, ...] = ("en", "zh")
PARTS: Mapping[str, tuple[str, ...]] = {"EU": ("emotion", "cause"), "EA": ("answer",)}
PUBLISHED = 200  # items of each task in each language
KINDS = ("Action", "Response")
_MOST = 26  # choices: one for each letter


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One scene with its questions: `choices` and `labels` (the place of the right choice) have one entry for each part
    of PARTS, EU's emotion and cause, EA's answer."""

    task: Task
    language: Language
    qid: str  # unique in its task and language
    category: str  # EU: the coarse one
    fine: str  # EU: the fine category; EA: Action or Response
    scenario: str
    subject: str
    choices: tuple[tuple[str, ...], ...]
    labels: tuple[int, ...]


class Bench(NamedTuple):
    """What was read: items in the order of the files, name -> SHA-256 of each file, and what its reader must know."""

    items: tuple[Item, ...]
    files: dict[str, str]
    notes: tuple[str, ...]

    def of(self, task: str, language: str) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.task == task and item.language == language)


def read(path: Path) -> Bench:
    """EmoBench from a folder with EU.jsonl and EA.jsonl (in it or in its `data`), one of the two, or one such file.

    WrongRequest with file, line and cure where there is none, or a line is no item; fewer items than were published are
    told in a note, since a file may be a part on purpose.
    """
    found = places(path)
    items: list[Item] = []
    notes: list[str] = []
    for task, file in found.items():
        mine = list(_items(file, task))
        items += mine
        for language in LANGUAGES:
            count = sum(item.language == language for item in mine)
            if count != PUBLISHED:
                notes.append(f"{file.name} holds {count} items in {language}, the published file {PUBLISHED}")
    return Bench(tuple(items), {file.name: sha256(file) for file in found.values()}, tuple(notes))


def places(path: Path) -> dict[Task, Path]:
    """Task -> file."""
    if path.is_file():
        named: list[Task] = [task for task in TASKS if path.name.upper().startswith(task)]
        if not named:
            raise WrongRequest(
                f"{path} is neither EU.jsonl nor EA.jsonl; give EmoBench's folder, or one of its two files"
            )
        return {named[0]: path}
    found: dict[Task, Path] = {}
    for task in TASKS:
        there = [place for place in (path / f"{task}.jsonl", path / "data" / f"{task}.jsonl") if place.is_file()]
        if there:
            found[task] = there[0]
    if not found:
        what = "holds no EU.jsonl or EA.jsonl" if path.is_dir() else "does not exist"
        raise WrongRequest(f"{path} {what}; give the folder with EmoBench's files as their authors publish them")
    return found


def orders(count: int, choices: int) -> tuple[tuple[int, ...], ...]:
    """`count` fixed orders of so many choices: the original, then it turned on by equal steps; what is shown at place j is
    the choice order[j].

    Over as many orders as choices each choice stands once at each place, so that a fixed letter is worth exactly chance;
    with six choices and four orders it has four of the six places. The authors' own permutations were in files that
    they have withdrawn.
    """
    shifts = (number * choices // count for number in range(count))
    return tuple(tuple((place + shift) % choices for place in range(choices)) for shift in shifts)


# Reading --------------------------------------------------------------------------------------------------------------


def _items(path: Path, task: Task) -> Iterator[Item]:
    seen: dict[tuple[str, str], int] = {}
    for line, text in tables.lines(path):
        try:
            said = orjson.loads(text)
        except orjson.JSONDecodeError as err:
            raise tables.wrong(path, line, f"it is no whole line of JSON ({err})") from err
        if not isinstance(said, dict):
            raise tables.wrong(path, line, "it is no JSON object")
        try:
            item = (_understanding if task == "EU" else _application)(said)
        except _Odd as err:
            raise tables.wrong(path, line, str(err)) from err
        key = (item.qid, item.language)
        if key in seen:
            raise tables.wrong(
                path, line, f"qid {item.qid[:40]!r} in {item.language} stands on line {seen[key]} already"
            )
        seen[key] = line
        yield item


class _Odd(ValueError):
    """What is wrong with one line."""


def _understanding(said: Mapping[str, Any]) -> Item:
    emotions, causes = _choices(said, "emotion_choices"), _choices(said, "cause_choices")
    return Item(
        **_shared(said, "EU"),
        category=_text(said, "coarse_category"),
        fine=_text(said, "finegrained_category"),
        choices=(emotions, causes),
        labels=(_label(said, "emotion_label", emotions), _label(said, "cause_label", causes)),
    )


def _application(said: Mapping[str, Any]) -> Item:
    choices = _choices(said, "choices")
    kind = _text(said, "question type")
    if kind not in KINDS:
        raise _Odd(f"question type {kind[:40]!r} is none of {', '.join(KINDS)}")
    return Item(
        **_shared(said, "EA"),
        category=_text(said, "category"),
        fine=kind,
        choices=(choices,),
        labels=(_label(said, "label", choices),),
    )


def _shared(said: Mapping[str, Any], task: Task) -> dict[str, Any]:
    language = _text(said, "language")
    if language not in LANGUAGES:
        raise _Odd(f"language {language[:40]!r} is none of {', '.join(LANGUAGES)}")
    qid = said.get("qid")
    return {
        "task": task,
        "language": language,
        "qid": str(qid) if isinstance(qid, int) and not isinstance(qid, bool) else _text(said, "qid"),
        "scenario": _text(said, "scenario"),
        "subject": _text(said, "subject"),
    }


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _Odd(f"there is no {name}" if name not in said else f"its {name} is no text")
    return value.strip()


def _choices(said: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = said.get(name)
    if not isinstance(value, Sequence) or isinstance(value, str) or not 2 <= len(value) <= _MOST:
        raise _Odd(f"its {name} are no list of 2 to {_MOST} choices")
    choices = tuple(one.strip() if isinstance(one, str) else "" for one in value)
    if not all(choices) or len(set(choices)) < len(choices):
        raise _Odd(f"its {name} hold an empty choice, or one twice")
    return choices


def _label(said: Mapping[str, Any], name: str, choices: Sequence[str]) -> int:
    label = _text(said, name)
    if label not in choices:
        raise _Odd(f"its {name} {label[:60]!r} is none of its choices")
    return choices.index(label)
