"""Which emotions an actor is asked for: dealt like cards, so that counts over a run stay level.

A hash would leave the counts as uneven as dice. Here 27 passages share one shuffled deck of the 27 emotions; each
passage cuts it at another place and its actors take eight cards one after the other, so any number of actors covers
the deck as evenly as eights can. (Emo Pillars lets the model pick: its classes differ 12.9 times.)
"""

from functools import lru_cache

from factory.requests import draw
from factory.taxonomy import EMOTIONS

_DECK = len(EMOTIONS)
_CUT = 10  # prime to 27 and near its golden section: the cuts of any run of passages lie evenly over the deck


@lru_cache(maxsize=256)
def _deck(block: int, seed: int) -> tuple[str, ...]:
    return tuple(sorted(EMOTIONS, key=lambda emotion: draw("deck", seed, block, emotion)))


def deal(passage_index: int, actor_index: int, seed: int, count: int = 8) -> tuple[str, ...]:
    """`count` distinct emotions for one actor of one passage; `count` is at most 27."""
    block, place = divmod(passage_index, _DECK)
    start = place * _CUT + actor_index * count
    deck = _deck(block, seed)
    return tuple(deck[(start + i) % _DECK] for i in range(count))
