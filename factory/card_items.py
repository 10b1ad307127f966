"""The card's figures of dialogues and items: how even, how alike, how answerable without reading."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from string import ascii_uppercase as LETTERS

import pyarrow as pa

from factory import level, sift
from factory.records import Background, Solved
from factory.views import Shard

AXES = ("domain", "relationship", "stakes", "mix", "coping", "communication", "culture")
_ASKED = {"emotion_label": "emotion", "cause_label": "cause", "label": "answer"}
_RANKS = ("longest", "2nd longest", "3rd", "4th", "5th", "6th")
_NAMES = {"mcq_eu": "understanding (EU)", "mcq_ea": "application (EA)"}


@dataclass
class Mean:
    """Over values added one or many at a time."""

    total: float = 0.0
    n: int = 0

    def add(self, values: Iterable[float]) -> None:
        for value in values:
            self.total += value
            self.n += 1

    def __str__(self) -> str:
        return f"{self.total / self.n:.3f}" if self.n else "none"


@dataclass
class Items:
    """What is counted of one view of items, row by row."""

    view: str
    made: int = 0  # solved items before the build left some out
    distinct: float = 1.0
    unlevel: str = ""  # a sentence on lengths and places, where they tell too much
    rows: int = 0
    left: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    ranks: list[list[int]] = field(default_factory=list)  # by question and rank of length: how much is right, in 300ths
    places: list[Counter[str]] = field(default_factory=list)  # by question: letters of the right option
    words: Mean = field(default_factory=Mean)
    reasons: Mean = field(default_factory=Mean)
    agreement: Mean = field(default_factory=Mean)
    blind: Mean = field(default_factory=Mean)  # whether the first answer without the scenario was right
    trained: set[tuple[int, int]] = field(default_factory=set)  # question and right option, of train
    tested: list[list[int]] = field(default_factory=list)  # right options of the questions of one item each, of test

    def judged(self, verdict: sift.Verdict) -> None:
        self.made, self.distinct, self.unlevel = verdict.rows, verdict.distinct(), unlevel(self.view, verdict)
        self.left.update(one.reason for one in verdict.left.values())

    def answered(self, split: str, rows: pa.Table) -> None:
        """The rows that stay, once for each split: what their right options are."""
        if split not in ("train", "test"):
            return
        for row in rows.to_pylist():
            found = sift.answers(self.view, row)
            if split == "train":
                self.trained.update(enumerate(found))
            else:
                self.tested.append(found)

    def told(self, question: int) -> str:
        """The share of test items whose right option stands among train's."""
        known = sum((question, found[question]) in self.trained for found in self.tested)
        return f"{known / len(self.tested):.1%}" if self.tested else "none"

    def see(self, rows: pa.Table, blind: Mapping[str, float]) -> None:
        """The rows that stay; `blind` by id: right answers without the scenario up to the first wrong one."""
        asked = sift.OPTIONS[self.view]
        self.ranks = self.ranks or [[0] * size for size in sift.SIZES[self.view]]
        self.places = self.places or [Counter() for _ in asked]
        every = rows.to_pylist()
        self.rows += len(every)
        self.words.add(len(row["scenario"].split()) for row in every)
        self.reasons.add(len(row["rationale"].split()) for row in every)
        self.agreement.add(row["solver_agreement"] for row in every)
        self.blind.add(blind[row["id"]] > 0 for row in every)
        for row in every:
            self.groups[sift.category(self.view, row)] += 1
            for n, ((choices, right), own) in enumerate(zip(asked, sift.lengths(self.view, row), strict=True)):
                self.ranks[n] = [total + part for total, part in zip(self.ranks[n], own, strict=True)]
                self.places[n][LETTERS[row[choices].index(row[right])]] += 1


@dataclass
class Talks:
    """What is counted of dialogues."""

    rows: int = 0
    turns: Mean = field(default_factory=Mean)
    words: Mean = field(default_factory=Mean)
    ends: Counter[str] = field(default_factory=Counter)
    axes: dict[str, Counter[str]] = field(default_factory=lambda: {axis: Counter() for axis in AXES})

    def see(self, shard: Shard, rows: pa.Table) -> None:
        self.rows += rows.num_rows
        self.ends.update(rows["stop_reason"].to_pylist())
        turns = rows["turns"].to_pylist()
        self.turns.add(len(some) for some in turns)
        self.words.add(len(turn["text"].split()) for some in turns for turn in some)
        told = shard.get("background", Background)
        for axis, counter in self.axes.items():
            counter.update(told[axis].to_pylist())


def blind(shard: Shard) -> dict[str, float]:
    """By item: how many answers of a solver that was not given the scenario were right up to the first wrong one, as a
    share of the orders that it may be asked in."""
    solved = shard.get("solve", Solved)
    return dict(zip(solved["id"].to_pylist(), solved["blind"].to_pylist(), strict=True))


def report(talks: Talks, items: Mapping[str, Items], screen: sift.Screen | None, rehearsal: bool) -> str:
    """The section as Markdown: facts, then tables of places and lengths of the right options, and of categories."""
    return "\n\n".join(
        [
            "\n".join(f"- {fact}" for fact in _facts(talks, items, screen, rehearsal)),
            table(
                ["question", "options", "chance", "most frequent place of the right one", "right in test and in train"],
                [line for one in items.values() if one.rows for line in _shortcuts(one)],
            ),
            "How often the option of each length is right (of several of one length each has its part); the last of a "
            "question is its shortest:",
            table(
                ["question", *_RANKS],
                [line for one in items.values() if one.rows for line in _lengths(one)],
            ),
            table(
                ["category", "items", "share of an even spread"],
                [line for one in items.values() if one.rows for line in _balance(one)],
            ),
        ]
    )


def _facts(talks: Talks, items: Mapping[str, Items], screen: sift.Screen | None, rehearsal: bool) -> Iterator[str]:
    ends = ", ".join(f"{reason} {n:,}" for reason, n in sorted(talks.ends.items())) or "none"
    yield f"dialogues: {talks.rows:,}; messages each: {talks.turns}; words a message: {talks.words}; ended by: {ends}"
    spread = ", ".join(f"{axis} {_over(counter)}" for axis, counter in talks.axes.items())
    yield f"what backgrounds were dealt, most over least: {spread}"
    for one in items.values():
        yield from _told(one, rehearsal)
    if screen is None:
        yield "no benchmark was given to compare scenarios with (`DECONTAMINATE`)"
    else:
        gone = sum(one.left["contaminated"] for one in items.values())
        yield f"compared with {screen.told()}: {gone:,} items repeated one and were left out"
        if missing := screen.missing():
            yield missing


def _told(one: Items, rehearsal: bool) -> Iterator[str]:
    """What there is to say of the items of one kind."""
    name = _NAMES[one.view]
    left = ", ".join(f"{reason} {n:,}" for reason, n in sorted(one.left.items())) or "none"
    yield f"items of {name}: {one.made:,} solved, {one.rows:,} kept; left out: {left}"
    if one.unlevel:
        yield one.unlevel.replace("not level", "**not level**")
    yield (
        f"scenarios of {name} that do not repeat an earlier one (half of the runs of three words shared, names left out): "
        f"{one.distinct:.1%}; words a scenario: {one.words}, a rationale: {one.reasons}"
    )
    agreed = "by construction (the rehearsal solver knows the bank that the items came from)"
    yield f"solver agreement of {name}: {agreed if rehearsal else f'{one.agreement} of its votes on kept items are right'}"
    if one.blind.n:
        yield (
            f"the solver's first answer without the scenario was right for {one.blind.total / one.blind.n:.1%} of the kept "
            f"items of {name} (a guess: {prod(sift.chances(one.view)):.1%}); it was asked on until it was wrong, and items "
            "that it never got wrong are not kept"
        )


def unlevel(view: str, verdict: sift.Verdict) -> str:
    """That the items of a view are not level, as a sentence: of each question the worst, with its share and chance. ''
    where they are."""
    told = "; ".join(
        f"the right {_ASKED[tilt.question]} is {_rank(tilt, view)} in {tilt.share:.1%} (chance {tilt.chance:.1%})"
        for tilt in verdict.tilts
    )
    if not told:
        return ""
    return (
        f"the right options of {_NAMES[view]} are not level in length and place: {told}. Of {verdict.kept:,} items no level "
        f"set of at least {level.LEAST} was found, so none was left out for it"
    )


def _rank(tilt: sift.Tilt, view: str) -> str:
    """'the longest', 'the 2nd longest', 'the 3rd by length', 'the shortest', 'option A'."""
    if tilt.kind == "place":
        return f"option {LETTERS[tilt.rank]}"
    size = sift.SIZES[view][[right for _, right in sift.OPTIONS[view]].index(tilt.question)]
    if tilt.rank == size - 1:
        return "the shortest"
    return f"the {_RANKS[tilt.rank]}" + (" by length" if tilt.rank > 1 else "")


def _shortcuts(one: Items) -> Iterator[list[str]]:
    for n, (question, chance) in enumerate(zip(_questions(one), sift.chances(one.view), strict=True)):
        place, times = min(one.places[n].items(), key=lambda p: (-p[1], p[0]))
        options = f"{1 / chance:.0f}"
        yield [question, options, f"{chance:.1%}", f"{place} {times / one.rows:.1%}", one.told(n)]


def _lengths(one: Items) -> Iterator[list[str]]:
    for question, ranks in zip(_questions(one), one.ranks, strict=True):
        shares = [f"{right / level.WHOLE / one.rows:.1%}" for right in ranks]
        yield [question, *shares, *["-"] * (len(_RANKS) - len(shares))]


def _questions(one: Items) -> list[str]:
    return [f"{one.view} {_ASKED[right]}" for _, right in sift.OPTIONS[one.view]]


def _balance(one: Items) -> Iterator[list[str]]:
    even = one.rows / sift.CATEGORIES[one.view]
    for group, n in sorted(one.groups.items()):
        yield [f"{one.view} {group}", f"{n:,}", f"{n / even:.2f}"]


def _over(counter: Counter[str]) -> str:
    return f"{max(counter.values()) / min(counter.values()):.2f}" if counter else "none"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of the card."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
