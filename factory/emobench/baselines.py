"""What needs no model: every figure of a report stands beside these. METHODS 4.2.

In the published order the longest cause is right in 51 of 100 English items and the first emotion in 36; other orders take
the advantage of a place away, and that of length stays.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from factory.emobench.items import PARTS, Item, orders

WHOLE = "all"  # the item: all its parts
Pick = Callable[[Sequence[str]], int]  # the choices as shown -> the place of one


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Shares that are right, by part and for the whole item (WHOLE): in the published order, and as the mean over the orders
    that the model was asked in."""

    name: str
    published: Mapping[str, float]
    turned: Mapping[str, float]


def first(choices: Sequence[str]) -> int:
    return 0


def longest(choices: Sequence[str]) -> int:
    """The most characters; of equally long ones the first."""
    return max(range(len(choices)), key=lambda place: len(choices[place]))


def floors(items: Sequence[Item], count: int) -> tuple[Baseline, ...]:
    """Of items of one task, asked in `count` orders: `uniform` is exact, `best fixed letter` is chosen in hindsight."""
    if not items:
        return ()
    parts = len(items[0].labels)
    named: dict[str, tuple[Pick, ...]] = {"always A": (first,) * parts, "longest option": (longest,) * parts}
    if items[0].task == "EU":
        named["emotion A, longest cause"] = (first, longest)
    made = [Baseline(name="uniform", published=_chance(items), turned=_chance(items))]
    for name, picks in named.items():
        made.append(Baseline(name=name, published=_right(items, picks, 1), turned=_right(items, picks, count)))
    made.append(Baseline(name="best fixed letter", published=_best_letter(items, 1), turned=_best_letter(items, count)))
    return tuple(made)


def _chance(items: Sequence[Item]) -> dict[str, float]:
    shares = [[1 / len(choices) for choices in item.choices] for item in items]
    return _means(items[0], [(*each, _product(each)) for each in shares])


def _right(items: Sequence[Item], picks: Sequence[Pick], count: int) -> dict[str, float]:
    """Shares of (item, order) in which what `picks` choose is right."""
    found: list[tuple[float, ...]] = []
    for item in items:
        for order in zip(*(orders(count, len(choices)) for choices in item.choices), strict=True):
            hits = [
                float(
                    turned[place] == label if (place := pick([choices[one] for one in turned])) < len(turned) else False
                )
                for pick, turned, choices, label in zip(picks, order, item.choices, item.labels, strict=True)
            ]
            found.append((*hits, _product(hits)))
    return _means(items[0], found)


def _best_letter(items: Sequence[Item], count: int) -> dict[str, float]:
    """The best that one letter is worth for each part, and one combination of letters for the whole."""
    most = [max(len(item.choices[part]) for item in items) for part in range(len(items[0].labels))]
    found = [
        _right(items, [_letter(place) for place in places], count) for places in product(*(range(n) for n in most))
    ]
    return {name: max(one[name] for one in found) for name in found[0]}


def _letter(place: int) -> Pick:
    """An item with fewer choices has no such letter, and is wrong."""
    return lambda choices: place


def _means(item: Item, rows: Sequence[Sequence[float]]) -> dict[str, float]:
    names = (*PARTS[item.task], WHOLE)
    return {name: sum(row[n] for row in rows) / len(rows) for n, name in enumerate(names)}


def _product(some: Sequence[float]) -> float:
    whole = 1.0
    for one in some:
        whole *= one
    return whole
