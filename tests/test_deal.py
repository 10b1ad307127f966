"""Facts about the deal: which emotions an actor is asked for, and how level they come out over a run."""

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.deal import chosen, deal, dealt, spread
from factory.requests import draw
from factory.taxonomy import EMOTIONS

Cast = Callable[[int, int], int]  # (passage index, seed) -> how many actors

CASTS: dict[str, Cast] = {
    "one": lambda passage, seed: 1,
    "two": lambda passage, seed: 2,
    "six": lambda passage, seed: 6,
    "any": lambda passage, seed: 1 + int(6 * draw("any", passage, seed)),
    "mostly two": lambda passage, seed: (
        2 if draw("two", passage, seed) < 0.7 else 1 + int(6 * draw("n", passage, seed))
    ),
    "one or six": lambda passage, seed: 6 if draw("six", passage, seed) < 0.5 else 1,
    "chapters of a like cast": lambda passage, seed: 1 + int(6 * draw("chapter", passage // 30, seed)),
    "slow waves": lambda passage, seed: 1 + round(2.5 + 2.5 * math.sin(passage / 40 + seed)),
    "in step with the deck": lambda passage, seed: 1 + passage % 27 % 6,
    "one after the other": lambda passage, seed: 1 + passage % 6,
}


def _spread(passages: int, cast: Cast, seed: int, start: int = 0) -> float:
    """The most dealt emotion over the least."""
    dealt: Counter[str] = Counter(dict.fromkeys(EMOTIONS, 0))
    for passage in range(start, start + passages):
        for actor in range(cast(passage, seed)):
            dealt.update(deal(passage, actor, seed))
    return max(dealt.values()) / max(1, min(dealt.values()))


@pytest.mark.parametrize("seed", [0, 1, 2, 12345])
@pytest.mark.parametrize("cast", CASTS.values(), ids=list(CASTS))
def test_a_thousand_passages_deal_each_emotion_equally_often(cast: Cast, seed: int) -> None:
    """The counts of the 27 emotions differ by at most 5%, however many actors the passages have."""
    assert _spread(1000, cast, seed) <= 1.05


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("cast", CASTS.values(), ids=list(CASTS))
def test_sixty_passages_deal_each_emotion_nearly_equally_often(cast: Cast, seed: int) -> None:
    """A first small run is level too: at most 1.3 times."""
    assert _spread(60, cast, seed) <= 1.3


def test_a_corpus_whose_cast_grows_from_one_to_six_is_dealt_level() -> None:
    """A trend along the corpus is not a trend of the emotions."""
    assert _spread(1000, lambda passage, seed: 1 + passage * 6 // 1000, seed=0) <= 1.05


def test_any_stretch_of_a_corpus_is_dealt_level() -> None:
    """Wherever a run of passages begins; LIMIT and splits cut the corpus anywhere."""
    assert all(_spread(60, CASTS["mostly two"], seed=0, start=start) <= 1.4 for start in range(0, 500, 7))


@given(st.integers(0, 10**7), st.integers(0, 49), st.integers(0, 2**40), st.integers(1, 27))
def test_an_actor_gets_distinct_emotions(passage: int, actor: int, seed: int, count: int) -> None:
    """As many as asked for, all of the 27, neutral never."""
    dealt = deal(passage, actor, seed, count)
    assert len(dealt) == len(set(dealt)) == count and set(dealt) <= set(EMOTIONS)


def test_the_deal_depends_on_nothing_but_its_arguments() -> None:
    """Another process, another hash seed and another order of asking give the same cards."""
    places = [(passage, actor) for passage in (90, 3, 3000, 0) for actor in (2, 0, 1)]
    code = f"from factory.deal import deal; print([deal(p, a, 7) for p, a in {places[::-1]}][::-1])"
    environment = {"PYTHONHASHSEED": "99", "PYTHONPATH": ":".join(sys.path)}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.strip() == str([deal(passage, actor, 7) for passage, actor in places])


def test_another_seed_deals_otherwise() -> None:
    """Two runs of one corpus differ where their seeds do."""
    one, other = ([deal(passage, 0, seed) for passage in range(100)] for seed in (0, 1))
    assert sum(a == b for a, b in zip(one, other, strict=True)) < 5


def test_actors_of_one_passage_share_no_emotion_while_cards_last() -> None:
    """Three actors take 24 of the 27: a scene is told in many feelings."""
    dealt = [emotion for actor in range(3) for emotion in deal(11, actor, 0)]
    assert len(set(dealt)) == 24


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 8, 11, 12])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("cast", CASTS.values(), ids=list(CASTS))
def test_a_deck_of_any_size_is_dealt_level(cast: Cast, count: int, size: int) -> None:
    """Axes, categories and positions: over 600 passages each card comes within 15% of its share."""
    cards = [f"card {n}" for n in range(size)]
    counts: Counter[int] = Counter()
    for passage in range(600):
        for actor in range(cast(passage, 0)):
            counts.update(dealt("axis", cards, passage, actor, 0, count))
    assert max(counts.values()) <= 1.15 * counts.total() / size
    assert min(counts[n] for n in range(size)) >= 0.85 * counts.total() / size


def test_decks_of_different_names_have_nothing_to_do_with_each_other() -> None:
    """Of 36 pairs of two axes of six each comes up about as often as any other."""
    cards = [f"card {n}" for n in range(6)]
    pairs = Counter(
        (dealt("mix", cards, passage, actor, 0), dealt("coping", cards, passage, actor, 0))
        for passage in range(900)
        for actor in range(2)
    )
    assert len(pairs) == 36
    assert max(pairs.values()) < 3 * min(pairs.values())


def test_more_cards_than_there_are_come_round_again() -> None:
    """Five positions of a deck of four: each at least once."""
    assert Counter(dealt("place", range(4), 3, 1, 0, 5)).most_common(2)[0][1] == 2


@given(st.integers(0, 10**6), st.integers(0, 50), st.floats(0, 1), st.integers(0, 2**40))
def test_a_share_of_a_passage_is_rounded_up_or_down(passage: int, size: int, share: float, seed: int) -> None:
    """Never more than one away from it, all different, in order."""
    found = chosen(range(size), share, "clients", passage, seed)
    assert abs(len(found) - share * size) <= 1 and list(found) == sorted(set(found))
    assert all(0 <= place < size for place in found)


ROOTS = (41, 83, 103, 107, 199, 241, 347)


@pytest.mark.parametrize("size", [3, 5, 6, 8, 12])
@pytest.mark.parametrize("root", ROOTS)
def test_the_clients_of_passages_that_have_some_or_none_are_spread_level(size: int, root: int) -> None:
    """A third of 1,500 passages has no client, a third one, a third two: each card comes within 15% of its share."""
    cards = [f"card {n}" for n in range(size)]
    counts: Counter[int] = Counter()
    for passage in range(1500):
        for client in range(int(3 * draw("clients", passage))):
            counts[spread("axis", cards, root, passage, client, 0)] += 1
    assert max(counts.values()) <= 1.15 * counts.total() / size
    assert min(counts[n] for n in range(size)) >= 0.85 * counts.total() / size


def test_what_is_spread_keeps_no_step_with_who_is_chosen() -> None:
    """Passages whose share is rounded up get each card as often as the others do."""
    up: Counter[int] = Counter()
    for passage in range(1000):
        if len(chosen(range(1), 0.5, "clients", passage, 0)):
            up[spread("axis", range(8), 199, passage, 0, 0)] += 1
    assert max(up.values()) <= 1.15 * min(up[n] for n in range(8))


@given(st.integers(0, 10**6), st.integers(0, 2**40), st.sampled_from(ROOTS), st.integers(4, 12))
def test_the_first_four_clients_of_a_passage_get_cards_of_their_own(
    passage: int, seed: int, root: int, size: int
) -> None:
    """They stand a quarter of the circle apart."""
    assert len({spread("axis", range(size), root, passage, client, seed) for client in range(4)}) == 4
