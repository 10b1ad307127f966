"""What is left out of the items of a whole run: copies of a benchmark, repetitions, rationales of one mould, answers that
the train split gives away, crowded categories, shortcuts.

Items come in canonical order and each rule works in that order, so the same run always loses the same items. What a rule
takes away is no longer seen by the next one. A few dozen bytes an item are held; texts go through temporary files.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b, sha256
from itertools import chain
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from factory.duplicates import MOULDS, SCENES, Finder, masked, nameless
from factory.errors import WrongRequest
from factory.level import WHOLE, levelled, limits, places, ranks

CROWDED = 1.5  # times its even share: more than that of a category is left out
FEW = 10  # items of a category that are never too many
MOULD = 3  # rationales of one mould that may stay
TOLD = 7  # words of a right option that are no coincidence where it stands in train too

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
SIZES: Mapping[str, tuple[int, ...]] = {"mcq_eu": (6, 4), "mcq_ea": (4,)}  # options of each question
_KNOWN = ("id", "source_id", "scenario", "subject", "actor", "rationale")
COLUMNS = {view: [*_KNOWN, *CATEGORY[view], *(column for pair in OPTIONS[view] for column in pair)] for view in OPTIONS}


@dataclass(frozen=True, slots=True)
class Left:
    """Why an item is left out, and what it repeats: a row of the run by its number, or a benchmark's by its name."""

    reason: str
    first: int = -1
    twin: str = ""


@dataclass(frozen=True, slots=True)
class Tilt:
    """A length or a place of the option that is right too often in what is left."""

    question: str  # the column of its right option
    kind: str  # 'length' or 'place'
    rank: int  # 0 is the longest, or the first
    share: float  # of the items that it is right in
    chance: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The items of one view that are left out, by their number over the run."""

    left: Mapping[int, Left]
    rows: int
    tilts: tuple[Tilt, ...] = ()  # the worst of each question that is not level: of few items none goes for that

    @property
    def level(self) -> bool:
        """Whether no rank by length and no place is right too often."""
        return not self.tilts

    @property
    def kept(self) -> int:
        return self.rows - len(self.left)

    def named(self, ids: Mapping[int, str]) -> "Verdict":
        """The same with the rows that are repeated by their ids."""
        return replace(self, left={n: replace(one, twin=ids.get(one.first, one.twin)) for n, one in self.left.items()})

    def distinct(self) -> float:
        """Share of the items whose scenario does not stand earlier, exactly or nearly."""
        return 1 - sum(one.reason in ("duplicate", "near_duplicate") for one in self.left.values()) / max(1, self.rows)


def judge(
    view: str,
    tables: Iterable[pa.Table],
    folder: Path,
    screen: "Screen | None",
    split: Callable[[str], str] = lambda source: "train",
) -> Verdict:
    """Goes through the items of a view (`COLUMNS`, in canonical order) and says which are left out.

    `folder` is for temporary files; `screen` holds the texts of a benchmark, None where none is given; `split` says where
    the items of a source go.
    """
    left: dict[int, Left] = {}
    seen, numbers, row = _Seen(view, split), list[int](), 0
    with Finder(folder, SCENES) as finder, Finder(folder, MOULDS) as reasons:
        for table in tables:
            clean = []
            for item in table.to_pylist():
                if screen is not None and (source := screen.source_of(item["scenario"], *_people(item))):
                    left[row] = Left("contaminated", twin=source)
                else:
                    clean.append(item)
                    numbers.append(row)
                row += 1
            finder.add([item["scenario"] for item in clean], [_scene(item) for item in clean])
            reasons.add([item["rationale"] for item in clean], [_mould(view, item) for item in clean])
            seen.add(clean)
        twins = finder.twins()
        moulds = reasons.crowded(MOULD, out=twins)
    left |= {numbers[at]: Left(twin.reason, first=numbers[twin.first]) for at, twin in twins.items()}
    left |= {numbers[at]: Left("template_rationale", first=numbers[first]) for at, first in moulds.items()}
    rest = [at for at in range(len(numbers)) if at not in twins and at not in moulds]
    known = given_away(seen.answers[rest], seen.train[rest])
    left |= {numbers[rest[n]]: Left("answer_in_train", first=numbers[rest[first]]) for n, first in known.items()}
    rest = [at for n, at in enumerate(rest) if n not in known]
    gone, holds = _balanced(view, seen, rest, levels=True)
    if not holds:
        gone, _ = _balanced(view, seen, rest, levels=False)
    tilts = () if holds else _tilts(view, seen.shares[[at for at in rest if at not in gone]])
    return Verdict(left | {numbers[at]: one for at, one in gone.items()}, row, tilts)


def _balanced(view: str, seen: "_Seen", rest: list[int], *, levels: bool) -> tuple[dict[int, Left], bool]:
    """Which of the items that are left so far go for their category and, with `levels`, for length or place; and whether
    what is left is level then. What goes for one may make a category too large a part of what is left, so both are done
    until both hold."""
    gone: dict[int, Left] = {}
    shares, done = seen.shares, False
    while True:
        crowd = [rest[n] for n in crowded([seen.groups[at] for at in rest], CATEGORIES[view])]
        gone |= {at: Left("over_quota") for at in crowd}
        rest = [at for at in rest if at not in gone]
        if done and not crowd:
            return gone, levels
        done = True
        if not levels:
            continue
        level = levelled(shares[rest], limits(SIZES[view]) * 2)
        if not level.holds:
            return gone, False
        for n, column in level.gone.items():
            gone[rest[n]] = Left("length_shortcut") if column < sum(SIZES[view]) else Left("position_shortcut")
        rest = [at for at in rest if at not in gone]


def _tilts(view: str, shares: "np.ndarray[Any, np.dtype[np.int64]]") -> tuple[Tilt, ...]:
    """Of each question the length or place that is furthest above its limit."""
    mean = shares.mean(axis=0) / WHOLE
    over = mean - np.array(limits(SIZES[view]) * 2) / WHOLE
    columns = [
        (n, kind, rank) for kind in ("length", "place") for n, size in enumerate(SIZES[view]) for rank in range(size)
    ]
    found = []
    for number, (_, right) in enumerate(OPTIONS[view]):
        at = max((c for c, (n, *_) in enumerate(columns) if n == number), key=lambda c: over[c])
        if over[at] > 0:
            found.append(Tilt(right, *columns[at][1:], share=float(mean[at]), chance=chances(view)[number]))
    return tuple(found)


class _Seen:
    """What is remembered of each item: its category, its split, what its right options are, their lengths and places."""

    def __init__(self, view: str, split: Callable[[str], str]) -> None:
        self._view, self._split = view, split
        self._codes: dict[str, int] = {}
        self.groups: list[int] = []
        self._shares, self._answers, self._train = (list[Any](), list[Any](), list[bool]())

    def add(self, items: Sequence[Mapping[str, Any]]) -> None:
        for item in items:
            self.groups.append(self._codes.setdefault(category(self._view, item), len(self._codes)))
            self._train.append(self._split(item["source_id"]) == "train")
        if items:
            self._shares.append(
                np.array([[*chain(*lengths(self._view, item), *spots(self._view, item))] for item in items], np.int16)
            )
            self._answers.append(np.array([answers(self._view, item, TOLD) for item in items], np.uint64))

    @property
    def shares(self) -> "np.ndarray[Any, np.dtype[np.int64]]":
        return np.concatenate([np.empty((0, 2 * sum(SIZES[self._view])), np.int16), *self._shares])

    @property
    def answers(self) -> "np.ndarray[Any, np.dtype[np.uint64]]":
        return np.concatenate([np.empty((0, len(SIZES[self._view])), np.uint64), *self._answers])

    @property
    def train(self) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        return np.array(self._train, bool)


def category(view: str, item: Mapping[str, Any]) -> str:
    """What an item was dealt: its fine category, or category and question."""
    return ", ".join(item[name] for name in CATEGORY[view])


def lengths(view: str, item: Mapping[str, Any]) -> list[list[int]]:
    """For each question of an item how much of each rank by length is right, see `factory.level`."""
    return [ranks(item[choices], item[right]) for choices, right in OPTIONS[view]]


def spots(view: str, item: Mapping[str, Any]) -> list[list[int]]:
    """The same for the places of the options."""
    return [places(item[choices], item[right]) for choices, right in OPTIONS[view]]


def answers(view: str, item: Mapping[str, Any], least: int = 0) -> list[int]:
    """For each question of an item a hash of its right option, names left out; 0 where it has fewer words than `least`."""
    plain = [nameless(item[right], [item["subject"]]) for _, right in OPTIONS[view]]
    return [_hash(text) if len(text.split()) >= least else 0 for text in plain]


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _people(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["subject"], item["actor"]


def _scene(item: Mapping[str, Any]) -> str:
    """A scenario as it is compared with others of the run: the same scene with other names is the same."""
    return nameless(item["scenario"], _people(item))


def _mould(view: str, item: Mapping[str, Any]) -> str:
    """A rationale without what it takes from its own item: what other items may not have too."""
    options = chain.from_iterable(item[choices] for choices, _ in OPTIONS[view])
    return masked(item["rationale"], [item["scenario"], *_people(item), *options])


def chances(view: str) -> tuple[float, ...]:
    """How often a blind guess is right, for each question of an item."""
    return tuple(1 / size for size in SIZES[view])


def crowded(groups: Sequence[int], count: int) -> Iterator[int]:
    """Places of the items that are too many in their category: past 1.5 times what an even spread over `count` gives."""
    most = max(FEW, ceil(CROWDED * len(groups) / count))
    seen = Counter[int]()
    for at, group in enumerate(groups):
        seen[group] += 1
        if seen[group] > most:
            yield at


def given_away(
    answers: "np.ndarray[Any, np.dtype[np.uint64]]", train: "np.ndarray[Any, np.dtype[np.bool_]]"
) -> dict[int, int]:
    """Places of the items outside train that have a right option (a column of `answers`; 0 is none) of an item in train,
    each with the first such item."""
    found: dict[int, int] = {}
    inside, outside = np.flatnonzero(train), np.flatnonzero(~train)
    for own in answers.T:
        texts, firsts = np.unique(own[inside], return_index=True)
        for at in outside[np.isin(own[outside], texts) & (own[outside] > 0)].tolist():
            found.setdefault(at, int(inside[firsts[np.searchsorted(texts, own[at])]]))
    return found


# --- a benchmark's texts ---

FILES = ("EU.jsonl", "EA.jsonl")
_RUN, _SHORT = 13, 3  # words
_SHARE, _LEAST = 0.4, 5


@dataclass(frozen=True, slots=True)
class Screen:
    """The scenarios of a benchmark, and which of them a text repeats.

    Compared without names and in normal form: a copy is a text that shares a run of 13 words, or 0.4 of the runs of
    three words of the shorter text (scenarios of one benchmark that are not variants of each other share 0.13 at most, a
    copy in which every seventh word was changed 0.5).
    """

    digest: str = ""  # of the texts, wherever they lie
    names: tuple[str, ...] = ()
    files: tuple[tuple[str, int], ...] = ()  # read, with how many scenarios each
    languages: tuple[str, ...] = ()
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
            tokens = nameless(scenario, [subject]).split()
            for run in _runs(tokens, _RUN):
                long.setdefault(run, number)
            own = _runs(tokens, _SHORT)
            sizes.append(len(own))
            for run in own:
                short[run].append(number)
        digest = sha256(orjson.dumps(list(texts))).hexdigest()[:16]
        names = tuple(name for name, _, _ in texts)
        shared = {run: tuple(found) for run, found in short.items()}
        return Screen(digest, names, _sizes=tuple(sizes), _long=long, _short=shared)

    def told(self) -> str:
        """What was read: '800 scenarios of EmoBench (EU.jsonl 400, EA.jsonl 400; 2 languages)'."""
        read = ", ".join(f"{name} {count:,}" for name, count in self.files)
        spoken = f"{len(self.languages)} language{'s' * (len(self.languages) != 1)}"
        return f"{len(self.names):,} scenarios of EmoBench" + (f" ({read}; {spoken})" if read else "")

    def missing(self) -> str:
        """What was not compared with, as a sentence; '' where both files were read."""
        read = {name for name, _ in self.files}
        gone = [name for name in FILES if read and name not in read]
        return f"no {' and no '.join(gone)} was read: nothing was compared with its scenarios" if gone else ""

    def source_of(self, scenario: str, *people: str) -> str:
        """The name of the benchmark's text that this one (about these people) repeats; '' where it repeats none."""
        tokens = nameless(scenario, people).split()
        if copied := _runs(tokens, _RUN) & self._long.keys():
            return self.names[min(self._long[run] for run in copied)]
        own = _runs(tokens, _SHORT)
        shared = Counter(number for run in own for number in self._short.get(run, ()))
        for number, count in sorted(shared.items()):
            if count >= max(_LEAST, _SHARE * min(len(own), self._sizes[number])):
                return self.names[number]
        return ""


def screen(path: Path) -> Screen:
    """EmoBench as its authors publish it: a folder with EU.jsonl and EA.jsonl (a copy of the repository has them in `data`),
    one of the two, or one such file.

    WrongRequest where there is none, or a line has no scenario.
    """
    if path.is_dir():
        files = [
            f for f in (*(path / name for name in FILES), *(path / "data" / name for name in FILES)) if f.is_file()
        ]
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise WrongRequest(
            f"DECONTAMINATE={path} holds no EU.jsonl or EA.jsonl; give the folder with EmoBench's files, or one of them"
        )
    read = [list(_read(file)) for file in files]
    if empty := [str(file) for file, texts in zip(files, read, strict=True) if not texts]:
        raise WrongRequest(f"{' and '.join(empty)} has no row; give DECONTAMINATE the files as they were published")
    return replace(
        Screen.of([text for texts in read for _, text in texts]),
        files=tuple((file.name, len(texts)) for file, texts in zip(files, read, strict=True)),
        languages=tuple(sorted({language for texts in read for language, _ in texts})),
    )


def _read(path: Path) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """The language of each line, and (name, scenario, subject)."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as err:
        raise WrongRequest(f"{path} cannot be read ({err.strerror}); give DECONTAMINATE another path") from err
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
            language = str(row.get("language", ""))
            name = f"{path.stem} {language} {row.get('qid', number)}"
            yield language, (name, str(row["scenario"]), str(row.get("subject", "")))
        except (ValueError, KeyError, AttributeError, TypeError) as err:
            raise WrongRequest(
                f"{path}:{number} is no item of EmoBench (a JSON object with scenario and subject); give DECONTAMINATE "
                "the files as they were published"
            ) from err


def _runs(tokens: Sequence[str], length: int) -> set[str]:
    """The runs of so many words; a shorter text is one run."""
    return {" ".join(tokens[at : at + length]) for at in range(max(1, len(tokens) - length + 1))}
