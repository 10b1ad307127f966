"""Facts about the search for texts that stand twice."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.duplicates import NEAR, Finder, Twin
from factory.text import normal

LONG = (
    "The miller counted the sacks twice before the rain came and sent his boy for the cart that stood behind the "
    "church since nobody in the village had a better one to lend on market day"
)


def _found(texts: Sequence[str], at_once: int = 1000) -> dict[int, Twin]:
    with Finder() as finder:
        for start in range(0, len(texts), at_once):
            finder.add(texts[start : start + at_once])
        return finder.twins()


def _runs(text: str) -> set[tuple[str, ...]]:
    tokens = normal(text).split()
    return {tuple(tokens[i : i + 3]) for i in range(max(1, len(tokens) - 2))}


def _jaccard(a: str, b: str) -> float:
    return len(_runs(a) & _runs(b)) / len(_runs(a) | _runs(b))


_WORDS = st.lists(st.sampled_from("the a mill gate river ran fell lamp! Lamp, boy 7 é".split()), max_size=12)
_MANY = st.lists(
    _WORDS.map(" ".join) | st.sampled_from([LONG, LONG.upper(), LONG + " too", "", "!!", "..."]), max_size=30
)


@given(_MANY)
@settings(max_examples=150)
def test_equal_texts_leave_exactly_the_first(texts: list[str]) -> None:
    """Equal in normal form: the first of them stays or is itself nearly another one; none of the others does."""
    found, seen = _found(texts), set()
    for row, text in enumerate(texts):
        if normal(text) in seen:
            assert found[row].reason == "duplicate"
        elif row in found:
            assert found[row].reason == "near_duplicate"
        seen.add(normal(text))


@given(_MANY)
@settings(max_examples=150)
def test_a_twin_is_an_earlier_row_that_stays(texts: list[str]) -> None:
    """What is dropped can be found again under the id of its twin."""
    found = _found(texts)
    assert all(twin.row == row and twin.first < row and twin.first not in found for row, twin in found.items())


def test_the_first_of_equals_may_itself_be_nearly_another() -> None:
    """Then all of them point at the one that stays."""
    other = f"{LONG} either"
    assert _found([LONG, other, other]) == {
        1: Twin(1, 0, "near_duplicate"),
        2: Twin(2, 0, "duplicate"),
    }


@given(_MANY)
@settings(max_examples=150)
def test_what_is_called_near_is_near(texts: list[str]) -> None:
    """Every candidate is verified by its real overlap: no text is lost to a chance hash."""
    near = [twin for twin in _found(texts).values() if twin.reason == "near_duplicate"]
    assert all(_jaccard(texts[twin.row], texts[twin.first]) >= NEAR for twin in near)


@given(_MANY, st.integers(1, 7))
@settings(max_examples=100)
def test_the_size_of_the_portions_changes_nothing(texts: list[str], at_once: int) -> None:
    """Shards are portions, and the dataset does not depend on their size."""
    assert _found(texts, at_once) == _found(texts)


@pytest.mark.parametrize("change", [str.upper, lambda t: t + "!", lambda t: t.replace(" ", "  "), lambda t: f"“{t}”"])
def test_case_marks_and_spacing_make_no_other_text(change: "type[str]") -> None:
    """Duplicates in normal form are exact ones."""
    assert _found([LONG, change(LONG)]) == {1: Twin(1, 0, "duplicate")}


def test_a_long_text_with_one_word_changed_at_its_end_is_found() -> None:
    """Nearly all of its runs of three words are shared."""
    assert _found([LONG, "something else altogether", LONG.replace("market day", "market days")]) == {
        2: Twin(2, 0, "near_duplicate")
    }


@pytest.mark.parametrize("others", [["The rope broke at noon.", "The rope broke at dawn."], ["7", "8"], ["?", "!"]])
def test_short_texts_that_differ_in_one_word_stay(others: list[str]) -> None:
    """Also such as hold no letter at all."""
    assert _found(others) == {}


def test_nothing_has_no_twins() -> None:
    """A run without a row can be built."""
    with Finder() as finder:
        assert _found([]) == {} and len(finder) == 0
