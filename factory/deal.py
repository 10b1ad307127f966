"""What is dealt like cards, so that counts over a run stay level: emotions, axes of a dialogue, categories, positions.

A hash would leave the counts as uneven as dice. Here as many passages as a deck has cards share one shuffled deck (27
passages the 27 emotions); each passage cuts it at another place and its actors take their cards one after the other, so
any number of actors covers the deck as evenly as their hands can. (Emo Pillars lets the model pick: its classes differ
12.9 times.)
"""

from collections.abc import Sequence
from functools import lru_cache
from math import floor, gcd, sqrt
from typing import TypeVar

from factory.requests import draw
from factory.taxonomy import EMOTIONS

T = TypeVar("T")


def deal(passage_index: int, actor_index: int, seed: int, count: int = 8) -> tuple[str, ...]:
    """`count` distinct emotions for one actor of one passage; `count` is at most 27."""
    places = dealt("deck", EMOTIONS, passage_index, actor_index, seed, count)
    return tuple(EMOTIONS[place] for place in places)


def dealt(
    name: str, cards: Sequence[object], passage_index: int, actor_index: int, seed: int, count: int = 1
) -> tuple[int, ...]:
    """`count` places in `cards` for one actor of one passage, distinct while there are cards.

    Decks of other names are shuffled apart, so that what two of them deal has nothing to do with each other.
    """
    block, place = divmod(passage_index, len(cards))
    start = place * _cut(len(cards)) + actor_index * count
    deck = _deck(name, tuple(map(str, cards)), block, seed)
    return tuple(deck[(start + i) % len(deck)] for i in range(count))


def spread(name: str, cards: Sequence[object], root: int, passage_index: int, client: int, seed: int) -> int:
    """A place in `cards` for one client of one passage, where passages have none to a few and nobody knows how many.

    The passages step round a circle by the root of a prime: a root of its own for each deck, so that no deck keeps step
    with another, nor with `chosen`, which goes by the golden section. Clients of one passage stand apart on it: 0, 1/2, 1/4.
    """
    apart = sum((client >> bit & 1) / 2 ** (bit + 1) for bit in range(16))
    at = (draw(name, seed) + passage_index * (sqrt(root) % 1.0) + apart) % 1.0
    deck = _deck(name, tuple(map(str, cards)), 0, seed)
    return deck[int(at * len(deck))]


def chosen(rows: Sequence[T], share: float, name: str, passage_index: int, seed: int) -> tuple[int, ...]:
    """Places of the share of a passage's rows that go on, in order; which ones is drawn, how many is not.

    The number is the share rounded up or down, in turn over the passages: a run has its share, and no passage more.
    """
    step = 0.6180339887498949  # of the golden section: any stretch of passages lies evenly over the unit
    turn = (draw(name, seed) + passage_index * step) % 1.0
    count = min(len(rows), floor(len(rows) * share + turn))
    ranked = sorted(range(len(rows)), key=lambda place: draw(name, seed, passage_index, place))
    return tuple(sorted(ranked[:count]))


@lru_cache(maxsize=64)
def _cut(size: int) -> int:
    """Prime to the size of the deck and near its golden section: the cuts of any run of passages lie evenly over it."""
    return min((cut for cut in range(1, size + 1) if gcd(cut, size) == 1), key=lambda cut: abs(cut - 0.382 * size))


@lru_cache(maxsize=1024)
def _deck(name: str, cards: tuple[str, ...], block: int, seed: int) -> tuple[int, ...]:
    return tuple(sorted(range(len(cards)), key=lambda place: draw(name, seed, block, cards[place])))
