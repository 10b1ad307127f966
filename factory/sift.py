"""What is left out of the items of a whole run: copies of a benchmark, repetitions, crowded categories, shortcuts.

Items come in canonical order and each rule works in that order, so the same run always loses the same items. What a rule
takes away is no longer seen by the next one. A few dozen bytes an item are held; texts go through temporary files.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from factory.duplicates import Finder
from factory.errors import WrongRequest
from factory.text import normal

CROWDED = 1.5  # times its even share: more than that of a category is left out
FEW = 10  # items of a category that are never too many
MARGIN = 0.03  # the longest option may be right so much more often than chance

# The options of an item: their column, and that of the right one.
OPTIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "mcq_eu": (("emotion_choices", "emotion_label"), ("cause_choices", "cause_label")),
    "mcq_ea": (("choices", "label"),),
}
# What an item is dealt by, and how many of these there are.
CATEGORY: Mapping[str, tuple[str, ...]] = {
    "mcq_eu": ("finegrained_category",),
    "mcq_ea": ("category", "question_type"),
}
CATEGORIES: Mapping[str, int] = {"mcq_eu": 11, "mcq_ea": 8}
COLUMNS = {
    view: ["id", "scenario", "subject", *CATEGORY[view], *(column for pair in OPTIONS[view] for column in pair)]
    for view in OPTIONS
}


@dataclass(frozen=True, slots=True)
class Left:
    """Why an item is left out, and what it repeats: a row of the run by its number, or a benchmark's by its name."""

    reason: str  # contaminated, duplicate, near_duplicate, over_quota, length_shortcut
    first: int = -1
    twin: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The items of one view that are left out, by their number over the run."""

    left: Mapping[int, Left]
    rows: int

    def named(self, ids: Mapping[int, str]) -> "Verdict":
        """The same with the rows that are repeated by their ids."""
        return replace(self, left={n: replace(one, twin=ids.get(one.first, one.twin)) for n, one in self.left.items()})

    def distinct(self) -> float:
        """Share of the items whose scenario does not stand earlier, exactly or nearly."""
        return 1 - sum(one.first >= 0 for one in self.left.values()) / max(1, self.rows)


def judge(view: str, tables: Iterable[pa.Table], folder: Path, screen: "Screen | None") -> Verdict:
    """Goes through the items of a view (`COLUMNS`, in canonical order) and says which are left out.

    `folder` is for temporary files; `screen` holds the texts of a benchmark, None where none is given.
    """
    left: dict[int, Left] = {}
    codes, groups = dict[str, int](), list[int]()
    weights, numbers, row = [np.empty((0, len(OPTIONS[view])))], list[int](), 0
    with Finder(folder) as finder:
        for table in tables:
            clean = []
            for item in table.to_pylist():
                if screen is not None and (source := screen.source_of(item["scenario"], item["subject"])):
                    left[row] = Left("contaminated", twin=source)
                else:
                    clean.append(item)
                    numbers.append(row)
                row += 1
            finder.add([item["scenario"] for item in clean])
            groups += [codes.setdefault(category(view, item), len(codes)) for item in clean]
            if clean:
                weights.append(np.array([list(lengths(view, item)) for item in clean]))
        twins = finder.twins()
    left |= {numbers[at]: Left(twin.reason, first=numbers[twin.first]) for at, twin in twins.items()}
    rest = [at for at in range(len(numbers)) if at not in twins]
    crowd = set(crowded([groups[at] for at in rest], CATEGORIES[view]))
    left |= {numbers[rest[n]]: Left("over_quota") for n in crowd}
    rest = [at for n, at in enumerate(rest) if n not in crowd]
    long = leaning(np.concatenate(weights)[rest], chances(view))
    left |= {numbers[rest[n]]: Left("length_shortcut") for n in long}
    return Verdict(left, row)


def category(view: str, item: Mapping[str, Any]) -> str:
    """What an item was dealt: its fine category, or category and question."""
    return ", ".join(item[name] for name in CATEGORY[view])


def lengths(view: str, item: Mapping[str, Any]) -> tuple[float, ...]:
    """For each question of an item how often its longest option is right."""
    return tuple(longest(item[choices], item[right]) for choices, right in OPTIONS[view])


def chances(view: str) -> tuple[float, ...]:
    """How often a blind guess is right, for each question of an item."""
    return (1 / 6, 1 / 4) if view == "mcq_eu" else (1 / 4,)


def longest(choices: Sequence[str], right: str) -> float:
    """How often somebody who always takes the longest option is right here: between several of one length they guess."""
    most = max(map(len, choices))
    return 1 / sum(len(one) == most for one in choices) if len(right) == most else 0.0


def crowded(groups: Sequence[int], count: int) -> Iterator[int]:
    """Places of the items that are too many in their category: past 1.5 times what an even spread over `count` gives."""
    most = max(FEW, ceil(CROWDED * len(groups) / count))
    seen = Counter[int]()
    for at, group in enumerate(groups):
        seen[group] += 1
        if seen[group] > most:
            yield at


def leaning(weights: "np.ndarray[Any, np.dtype[np.float64]]", chance: Sequence[float]) -> list[int]:
    """Places of the items to leave out, the first ones first, so that for each question (a column of `weights`, see
    `longest`) taking the longest option is right at most `MARGIN` more often than chance."""
    keep = np.ones(len(weights), bool)
    changed = True
    while changed:  # an item left out for one question changes the share of the other
        changed = False
        for own, limit in zip(weights.T, (one + MARGIN for one in chance), strict=True):
            over = float((own[keep] - limit).sum())
            if over <= 1e-9:
                continue
            at = np.flatnonzero(keep & (own > limit))
            done = np.flatnonzero(np.cumsum(own[at] - limit) >= over - 1e-9)
            keep[at[: done[0] + 1]] = False
            changed = True
    return [int(at) for at in np.flatnonzero(~keep)]


# --- a benchmark's texts ---

_RUN, _SHORT = 13, 3  # words
_SHARE, _LEAST = 0.4, 5


@dataclass(frozen=True, slots=True)
class Screen:
    """The scenarios of a benchmark, and which of them a text repeats.

    Compared without the subject's name and in normal form: a copy is a text that shares a run of 13 words, or 0.4 of
    the runs of three words of the shorter text (scenarios of one benchmark that are not variants of each other share
    0.13 at most, a copy in which every seventh word was changed 0.5).
    """

    digest: str = ""  # of the texts, wherever they lie
    names: tuple[str, ...] = ()
    _sizes: tuple[int, ...] = ()
    _long: Mapping[str, int] = field(default_factory=dict)
    _short: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @staticmethod
    def of(texts: Sequence[tuple[str, str, str]]) -> "Screen":
        """From (name, scenario, subject)."""
        long: dict[str, int] = {}
        short: defaultdict[str, list[int]] = defaultdict(list)
        sizes = []
        for number, (_, scenario, subject) in enumerate(texts):
            tokens = _nameless(scenario, subject)
            for run in _runs(tokens, _RUN):
                long.setdefault(run, number)
            own = _runs(tokens, _SHORT)
            sizes.append(len(own))
            for run in own:
                short[run].append(number)
        digest = sha256(orjson.dumps(list(texts))).hexdigest()[:16]
        names = tuple(name for name, _, _ in texts)
        return Screen(digest, names, tuple(sizes), long, {run: tuple(found) for run, found in short.items()})

    def source_of(self, scenario: str, subject: str) -> str:
        """The name of the benchmark's text that this one repeats; '' where it repeats none."""
        tokens = _nameless(scenario, subject)
        if copied := _runs(tokens, _RUN) & self._long.keys():
            return self.names[min(self._long[run] for run in copied)]
        own = _runs(tokens, _SHORT)
        shared = Counter(number for run in own for number in self._short.get(run, ()))
        for number, count in sorted(shared.items()):
            if count >= max(_LEAST, _SHARE * min(len(own), self._sizes[number])):
                return self.names[number]
        return ""


def screen(path: Path) -> Screen:
    """EmoBench as its authors publish it: a folder with EU.jsonl and EA.jsonl (or one of them), or one such file.

    WrongRequest where there is none, or a line has no scenario.
    """
    if path.is_dir():
        files = [f for f in (path / "EU.jsonl", path / "EA.jsonl", *_inner(path)) if f.is_file()]
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise WrongRequest(
            f"DECONTAMINATE={path} holds no EU.jsonl or EA.jsonl; give the folder with EmoBench's files, or one of them"
        )
    return Screen.of([text for file in files for text in _read(file)])


def _inner(path: Path) -> tuple[Path, ...]:
    """A copy of the repository keeps its files in `data`."""
    return (path / "data/EU.jsonl", path / "data/EA.jsonl")


def _read(path: Path) -> Iterator[tuple[str, str, str]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as err:
        raise WrongRequest(f"{path} cannot be read ({err.strerror}); give DECONTAMINATE another path") from err
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
            name = f"{path.stem} {row.get('language', '')} {row.get('qid', number)}"
            yield name, str(row["scenario"]), str(row.get("subject", ""))
        except (ValueError, KeyError, AttributeError, TypeError) as err:
            raise WrongRequest(
                f"{path}:{number} is no item of EmoBench (a JSON object with scenario and subject); give DECONTAMINATE "
                "the files as they were published"
            ) from err


def _nameless(scenario: str, subject: str) -> list[str]:
    """The words in normal form without the subject's name: a copy is most often given another one."""
    own = set(normal(subject).split())
    return [word for word in normal(scenario).split() if word.removesuffix("'s") not in own]


def _runs(tokens: Sequence[str], length: int) -> set[str]:
    """The runs of so many words; a shorter text is one run."""
    return {" ".join(tokens[at : at + length]) for at in range(max(1, len(tokens) - length + 1))}
