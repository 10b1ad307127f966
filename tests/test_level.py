"""Facts about levelling: which items go so that neither the length nor the place of an option tells that it is right."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.level import LEAST, MARGIN, WHOLE, Counts, Levelled, levelled, limits, places, ranks

SIZES = (6, 4)


@pytest.mark.parametrize(
    ("choices", "right", "own"),
    [
        (["aaa", "b", "cc"], "aaa", [1, 0, 0]),
        (["aaa", "b", "cc"], "b", [0, 0, 1]),
        (["aa", "bb", "c", "dd"], "bb", [1 / 3, 1 / 3, 1 / 3, 0]),
        (["aaa", "b", "c", "dd"], "c", [0, 0, 1 / 2, 1 / 2]),
    ],
)
def test_a_rank_is_right_as_often_as_its_taker_would_be(choices: list[str], right: str, own: list[float]) -> None:
    """Between several of one length they have to guess."""
    assert ranks(choices, right) == [round(share * WHOLE) for share in own]


def test_a_place_is_right_or_it_is_not() -> None:
    """Whatever its length."""
    assert places(["aaa", "b", "cc"], "b") == [0, WHOLE, 0]


def _items(right: Sequence[Sequence[int]]) -> Counts:
    """Items of which the option at these ranks is right, one rank for each question."""
    rows = np.zeros((len(right), sum(SIZES)), np.int64)
    for row, (first, second) in zip(rows, right, strict=True):
        row[first] = row[SIZES[0] + second] = WHOLE
    return rows


def _drawn(count: int, seed: int, causes: Sequence[float]) -> Counts:
    drawn = random.Random(seed)
    return _items([(drawn.randrange(6), drawn.choices(range(4), causes)[0]) for _ in range(count)])


def _holds(rows: Counts) -> bool:
    return bool((rows.sum(axis=0) <= len(rows) * np.array(limits(SIZES))).all())


BIASES = [(0.6, 0.2, 0.1, 0.1), (0.26, 0.45, 0.22, 0.07), (0.1, 0.1, 0.1, 0.7), (0.25, 0.25, 0.25, 0.25)]


@pytest.mark.parametrize("causes", BIASES)
def test_every_rank_of_every_question_holds(causes: tuple[float, ...]) -> None:
    """Whichever rank is right too often: the longest, the second, the shortest. Only items at such a rank go."""
    rows = _drawn(600, 1, causes)
    found = levelled(rows, limits(SIZES))
    assert found.holds and _holds(np.delete(rows, list(found.gone), axis=0))
    assert all(rows[at, column] for at, column in found.gone.items())


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=200))
@settings(max_examples=100, deadline=None)
def test_it_ends_and_no_item_goes_in_vain(right: list[tuple[int, int]]) -> None:
    """Whatever the items: all holds, thirty at least are left and none of those left out could come back; or none goes."""
    rows = _items(right)
    found = levelled(rows, limits(SIZES))
    kept = np.delete(rows, list(found.gone), axis=0)
    assert found.holds == _holds(kept)
    if found.holds:
        assert not any(_holds(np.vstack([kept, rows[at]])) for at in found.gone)
        assert len(kept) >= min(LEAST, len(rows))
    else:
        assert found.gone == {}


def test_what_went_in_vain_comes_back() -> None:
    """Where both questions lean heavily, items that went for one of them could stay when the other is level."""
    drawn = random.Random(0)
    lean = (0.5, 0.2, 0.1, 0.1, 0.05, 0.05), (0.7, 0.1, 0.1, 0.1)
    rows = _items([(drawn.choices(range(6), lean[0])[0], drawn.choices(range(4), lean[1])[0]) for _ in range(200)])
    found = levelled(rows, limits(SIZES))
    kept = np.delete(rows, list(found.gone), axis=0)
    assert found.holds and _holds(kept) and len(kept) > 50
    assert not any(_holds(np.vstack([kept, rows[at]])) for at in found.gone)


def test_fewer_than_thirty_items_are_not_levelled() -> None:
    """Three points of them are less than an item."""
    rows = _items([(n % 6, 0) for n in range(LEAST - 1)])
    assert levelled(rows, limits(SIZES)) == Levelled({}, holds=False)
    assert levelled(rows[:0], limits(SIZES)) == Levelled({}, holds=True)


@pytest.mark.parametrize("count", [LEAST, 36, 200])
def test_what_cannot_be_level_stays_whole(count: int) -> None:
    """The longest always right, or nearly so: no item is given up for a set that is not level, or is a handful."""
    always = _items([(n % 6, 0) for n in range(count)])
    nearly = _items([(n % 6, 0 if n >= 12 else 1 + n % 3) for n in range(count)])  # 16 of the 36 could be level
    assert levelled(always, limits(SIZES)) == levelled(nearly, limits(SIZES)) == Levelled({}, holds=False)


@pytest.mark.parametrize(("count", "longest"), [(30, 9), (36, 15)])
def test_a_level_set_of_29_is_none(count: int, longest: int) -> None:
    """The last item that would have to go takes it below thirty: then all stay."""
    rows = _items([(n % 6, 0 if n < longest else 1 + n % 3) for n in range(count)])
    assert levelled(rows, limits(SIZES)) == Levelled({}, holds=False)


@pytest.mark.parametrize(
    ("causes", "share"),
    [((0.25, 0.25, 0.25, 0.25), 1.0), ((0.31, 0.23, 0.23, 0.23), 0.958), ((0.45, 0.25, 0.2, 0.1), 0.625)],
)
def test_hardly_more_go_than_must(causes: tuple[float, ...], share: float) -> None:
    """Of one question the most that can stay is known (each rank as many as it has, or 0.28 of what stays): it is reached
    within one of a hundred, with the other question level too."""
    counts = [round(2000 * one) for one in causes]
    rows = _items([(n % 6, rank) for rank, count in enumerate(counts) for n in range(count)])
    kept = 2000 - len(levelled(rows, limits(SIZES)).gone)
    assert share * 2000 - 20 <= kept <= share * 2000 + 1


def test_the_first_items_go() -> None:
    """Of items that do equally well, in canonical order."""
    rows = _items([(n % 6, min(3, n % 5)) for n in range(300)])  # the shortest is right in two of five
    gone = sorted(levelled(rows, limits(SIZES)).gone)
    short = np.flatnonzero(rows[:, -1])
    assert gone and set(gone) <= set(short.tolist()) and gone[-1] <= short[len(gone) + 6]


def test_a_share_is_an_exact_number() -> None:
    """Three points and all parts of an item are whole 300ths: what holds on paper holds here."""
    assert all(WHOLE % size == 0 for size in range(1, 7)) and MARGIN / WHOLE == 0.03
    assert limits((6, 4)) == [59] * 6 + [84] * 4
    even = _items(
        [(n % 6, 0 if n < 84 else 1 + n % 3) for n in range(300)]
    )  # the longest cause is right in 0.28 exactly
    assert even[:, 6].sum() == 84 * WHOLE and levelled(even, limits(SIZES)).gone == {}
