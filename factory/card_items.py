"""The card's figures of dialogues and items: how even, how alike, how answerable without reading."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase as LETTERS

import pyarrow as pa

from factory import sift
from factory.records import Background, Solved
from factory.views import Shard

AXES = ("domain", "relationship", "stakes", "mix", "coping", "communication", "culture")
_ASKED = {"emotion_label": "emotion", "cause_label": "cause", "label": "answer"}
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
    rows: int = 0
    left: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    long: list[float] = field(default_factory=list)  # by question: how often the longest option is right
    places: list[Counter[str]] = field(default_factory=list)  # by question: letters of the right option
    words: Mean = field(default_factory=Mean)
    reasons: Mean = field(default_factory=Mean)
    agreement: Mean = field(default_factory=Mean)
    blind: Mean = field(default_factory=Mean)

    def judged(self, verdict: sift.Verdict) -> None:
        self.made, self.distinct = verdict.rows, verdict.distinct()
        self.left.update(one.reason for one in verdict.left.values())

    def see(self, rows: pa.Table, blind: Mapping[str, float]) -> None:
        """The rows that stay; `blind` by id: the share of right answers without the scenario."""
        asked = sift.OPTIONS[self.view]
        self.long = self.long or [0.0] * len(asked)
        self.places = self.places or [Counter() for _ in asked]
        every = rows.to_pylist()
        self.rows += len(every)
        self.words.add(len(row["scenario"].split()) for row in every)
        self.reasons.add(len(row["rationale"].split()) for row in every)
        self.agreement.add(row["solver_agreement"] for row in every)
        self.blind.add(blind[row["id"]] for row in every)
        for row in every:
            self.groups[sift.category(self.view, row)] += 1
            for n, ((choices, right), own) in enumerate(zip(asked, sift.lengths(self.view, row), strict=True)):
                self.long[n] += own
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
    """By item: the share of right answers of a solver that was not given the scenario."""
    solved = shard.get("solve", Solved)
    return dict(zip(solved["id"].to_pylist(), solved["blind"].to_pylist(), strict=True))


def report(talks: Talks, items: Mapping[str, Items], screened: int | None, rehearsal: bool) -> str:
    """The section as Markdown: facts, then a table of shortcuts and one of categories."""
    return "\n\n".join(
        [
            "\n".join(f"- {fact}" for fact in _facts(talks, items, screened, rehearsal)),
            table(
                ["question", "options", "chance", "longest option right", "most frequent place of the right one"],
                [line for one in items.values() if one.rows for line in _shortcuts(one)],
            ),
            table(
                ["category", "items", "share of an even spread"],
                [line for one in items.values() if one.rows for line in _balance(one)],
            ),
        ]
    )


def _facts(talks: Talks, items: Mapping[str, Items], screened: int | None, rehearsal: bool) -> Iterator[str]:
    ends = ", ".join(f"{reason} {n:,}" for reason, n in sorted(talks.ends.items())) or "none"
    yield f"dialogues: {talks.rows:,}; messages each: {talks.turns}; words a message: {talks.words}; ended by: {ends}"
    spread = ", ".join(f"{axis} {_over(counter)}" for axis, counter in talks.axes.items())
    yield f"what backgrounds were dealt, most over least: {spread}"
    for one in items.values():
        name = _NAMES[one.view]
        left = ", ".join(f"{reason} {n:,}" for reason, n in sorted(one.left.items())) or "none"
        yield f"items of {name}: {one.made:,} solved, {one.rows:,} kept; left out: {left}"
        yield (
            f"scenarios of {name} that do not repeat an earlier one: {one.distinct:.1%}; words a scenario: {one.words}, "
            f"a rationale: {one.reasons}"
        )
        agreed = "by construction (the rehearsal solver knows the bank that the items came from)"
        share = agreed if rehearsal else f"{one.agreement} of its votes on kept items are right"
        yield f"solver agreement of {name}: {share}; right without the scenario, up to the first wrong answer: {one.blind}"
    if screened is None:
        yield "no benchmark was given to compare scenarios with (`DECONTAMINATE`)"
    else:
        gone = sum(one.left["contaminated"] for one in items.values())
        yield f"compared with {screened:,} scenarios of a benchmark: {gone:,} items repeated one and were left out"


def _shortcuts(one: Items) -> Iterator[list[str]]:
    for n, ((_, right), chance) in enumerate(zip(sift.OPTIONS[one.view], sift.chances(one.view), strict=True)):
        place, times = min(one.places[n].items(), key=lambda p: (-p[1], p[0]))
        yield [
            f"{one.view} {_ASKED[right]}",
            f"{1 / chance:.0f}",
            f"{chance:.1%}",
            f"{one.long[n] / one.rows:.1%}",
            f"{place} {times / one.rows:.1%}",
        ]


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
