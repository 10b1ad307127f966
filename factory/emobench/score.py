"""How much was right, how sure that is, and whether two models differ. METHODS 4.6.

The headline is the mean over the option orders, and what could not be read is wrong. Intervals are Wilson's over the items:
the orders of one item are not independent, so more orders make the figure steadier and the interval no narrower.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import comb

import numpy as np
from numpy.typing import NDArray

from factory.benchmarks import metrics
from factory.emobench.ask import HEARD, READINGS, Answered, Ask, Places
from factory.emobench.baselines import Baseline
from factory.emobench.items import PARTS
from factory.emobench.parse import NONE
from factory.errors import WrongRequest


@dataclass(frozen=True, slots=True)
class Figure:
    """A share with its 95% Wilson interval over so many items."""

    value: float
    low: float
    high: float
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One reading of one task in one language; what could not be read is wrong in all but `given_parsed`.

    `accuracy` is the mean over orders and `voted` that of one decision for each item, voted over the orders; `parse_ok` is
    the share of (item, order) of which every part could be read, and `given_parsed` the accuracy over those.
    """

    reading: str
    accuracy: Figure
    voted: Figure
    parse_ok: float
    given_parsed: Figure
    parts: Mapping[str, Figure]
    categories: Mapping[str, Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One task in one language; `heard` counts replies by how they could be read."""

    ask: Ask
    scores: tuple[Score, ...]
    baselines: tuple[Baseline, ...]
    heard: Mapping[str, int]
    answered: tuple[Answered, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models on the same items asked in the same way.

    `difference` is the first's accuracy less the other's (means over orders) with the ends of its 95% interval by paired
    bootstrap over items; `only_one` and `only_other` are the items that only that model has right, by the decision voted
    over the orders, and `p` is McNemar's exact two-sided one for these.
    """

    task: str
    language: str
    reading: str
    items: int
    one: float
    other: float
    difference: float
    low: float
    high: float
    only_one: int
    only_other: int
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is known of the model beside its name; '' where it is not.

    `base` is the name of the model that it was made from ('': it is none's), `fingerprint` what its replies are remembered
    under, `decoding` its number format, `versions` those of the libraries that answer.
    """

    base: str = ""
    fingerprint: str = ""
    decoding: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One model on EmoBench; what decides its figures stands beside them."""

    model: str
    base: str = ""  # the fields of About
    fingerprint: str = ""
    decoding: str = ""
    versions: Mapping[str, str]
    files: Mapping[str, str]  # name -> SHA-256
    results: tuple[Result, ...]
    notes: tuple[str, ...] = ()
    against: str = ""  # the model that it is compared with
    comparisons: tuple[Comparison, ...] = ()


def result(ask: Ask, answered: Sequence[Answered], baselines: Sequence[Baseline]) -> Result:
    """All figures of what was answered, in READINGS' order."""
    counted = Counter(how for one in answered for how in one.heard)
    return Result(
        ask=ask,
        scores=tuple(_score(answered, reading, ask) for reading in READINGS[ask.protocol]),
        baselines=tuple(baselines),
        heard={how: counted[how] for how in HEARD if counted[how]},
        answered=tuple(answered),
    )


def _score(answered: Sequence[Answered], reading: str, ask: Ask) -> Score:
    rights = np.array([one.right(reading) for one in answered], bool)  # [items, orders]
    read = np.array([[NONE not in places for places in one.readings[reading].orders] for one in answered], bool)
    categories = np.array([one.category for one in answered])
    return Score(
        reading=reading,
        accuracy=_figure(rights),
        voted=_figure(np.array([[one.readings[reading].voted == one.labels] for one in answered], bool)),
        parse_ok=float(read.mean()),
        given_parsed=share(float((rights & read).sum()) / ask.orders, float(read.sum()) / ask.orders),
        parts={
            name: _figure(np.array([_part(one, reading, part) for one in answered], bool))
            for part, name in enumerate(PARTS[ask.task])
        },
        categories={name: _figure(rights[categories == name]) for name in dict.fromkeys(categories.tolist())},
    )


def _part(one: Answered, reading: str, part: int) -> list[bool]:
    return [places[part] == one.labels[part] for places in one.readings[reading].orders]


def _figure(rights: NDArray[np.bool_]) -> Figure:
    """The mean over [items, orders], as sure as so many items make it."""
    return share(float(rights.mean(axis=1).sum()), len(rights))


def share(hits: float, items: float) -> Figure:
    """So many of so many with the Wilson interval; 0 of 0 is 0, and anything is possible."""
    low, high = metrics.wilson(hits, items)
    return Figure(hits / items if items else 0.0, low, high, round(items))


# Two models ------------------------------------------------------------------------------------------------------------------


def compare(one: Outcome, other: Outcome) -> tuple[Comparison, ...]:
    """Each task, language and reading that both have; WrongRequest as `refuse_another`."""
    refuse_another(other, one.model, [(result.ask, _items(result)) for result in one.results])
    theirs = {_key(result.ask): result for result in other.results}
    return tuple(
        _compared(result, theirs[_key(result.ask)], score.reading)
        for result in one.results
        if _key(result.ask) in theirs
        for score in result.scores
    )


Items = list[tuple[str, Places]]  # qid and labels


def refuse_another(other: Outcome, model: str, asked: Sequence[tuple[Ask, Items]]) -> None:
    """WrongRequest where figures of these questions cannot stand beside the other's: they were asked in other ways
    (protocols are never mixed), are about other items, or have no task in a language in common."""
    theirs = {_key(result.ask): result for result in other.results}
    both = [(ask, items, theirs[_key(ask)]) for ask, items in asked if _key(ask) in theirs]
    if not both:
        raise WrongRequest(
            f"{model} and {other.model} were asked about no task in the same language; evaluate one of them again"
        )
    for ask, items, result in both:
        refuse_other_way(ask, result.ask)
        if items != _items(result):
            raise WrongRequest(
                f"the items of {ask.task} in {ask.language} are not the same; evaluate both models on the same files and LIMIT"
            )


def _key(ask: Ask) -> tuple[str, str]:
    return ask.task, ask.language


def _items(result: Result) -> Items:
    return [(each.qid, each.labels) for each in result.answered]


def refuse_other_way(one: Ask, other: Ask) -> None:
    """WrongRequest where the same task was asked for in another way, naming what differs."""
    mine, theirs = asdict(one), asdict(other)
    if differ := [f"{name} {mine[name]} and {theirs[name]}" for name in mine if mine[name] != theirs[name]]:
        raise WrongRequest(
            f"figures of {one.task} in {one.language} that were asked for in different ways are not compared: "
            f"{', '.join(differ)}; evaluate both models with the same settings"
        )


def _compared(one: Result, other: Result, reading: str) -> Comparison:
    mine, theirs = (np.array([np.mean(each.right(reading)) for each in result.answered]) for result in (one, other))
    apart = mine - theirs
    low, high = metrics.bootstrap(
        lambda weights: np.asarray(apart.mean() if weights is None else weights @ apart / weights.sum(axis=-1)),
        len(apart),
    )
    first, second = (_decisions(result, reading) for result in (one, other))
    only_one = sum(a and not b for a, b in zip(first, second, strict=True))
    only_other = sum(b and not a for a, b in zip(first, second, strict=True))
    return Comparison(
        task=one.ask.task,
        language=one.ask.language,
        reading=reading,
        items=len(apart),
        one=float(mine.mean()),
        other=float(theirs.mean()),
        difference=float(apart.mean()),
        low=float(low),
        high=float(high),
        only_one=only_one,
        only_other=only_other,
        p=mcnemar(only_one, only_other),
    )


def _decisions(one: Result, reading: str) -> list[bool]:
    voted: list[Places] = [each.readings[reading].voted for each in one.answered]
    return [places == each.labels for places, each in zip(voted, one.answered, strict=True)]


def mcnemar(only_one: int, only_other: int) -> float:
    """Exact two-sided p of so many discordant pairs (McNemar 1947, as the binomial test at one half); 1 where there is none."""
    pairs, fewer = only_one + only_other, min(only_one, only_other)
    tail = sum(comb(pairs, n) for n in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << pairs))
