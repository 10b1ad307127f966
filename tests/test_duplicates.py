"""Facts about the search for texts that stand twice."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.duplicates import MOULDS, SCENES, TEXTS, Finder, Measure, Twin, masked, nameless
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
@settings(max_examples=150, deadline=None)
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
@settings(max_examples=150, deadline=None)
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
@settings(max_examples=150, deadline=None)
def test_what_is_called_near_is_near(texts: list[str]) -> None:
    """Every candidate is verified by its real overlap: no text is lost to a chance hash."""
    near = [twin for twin in _found(texts).values() if twin.reason == "near_duplicate"]
    assert all(_jaccard(texts[twin.row], texts[twin.first]) >= TEXTS.near for twin in near)


@given(_MANY, st.integers(1, 7))
@settings(max_examples=100, deadline=None)
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


# How many are found ------------------------------------------------------------------------------------------------------


def _pair(number: int, overlap: float) -> tuple[str, str]:
    """Two texts of fifty words that have this share of their runs of three words in common (Jaccard), or a little more."""
    drawn = random.Random(number)
    made = [f"w{drawn.randrange(10**9)}" for _ in range(150)]
    shared = next(n for n in range(49) if n / (2 * 48 - n) >= overlap)
    common, rest = made[: shared + 2], 48 - shared
    return " ".join(common + made[50 : 50 + rest]), " ".join(common + made[100 : 100 + rest])


@pytest.mark.parametrize("measure", [TEXTS, SCENES])
def test_nearly_all_pairs_of_just_enough_overlap_are_found(measure: Measure) -> None:
    """As many as the arithmetic of the bands says, and that is 95 of 100 or more; of more overlap nearly every one."""
    assert measure.found(measure.near) >= 0.95
    for overlap, pairs in ((measure.near, 800), (measure.near + 0.1, 200)):
        texts = [text for number in range(pairs) for text in _pair(number, overlap)]
        assert measure.near <= _jaccard(texts[0], texts[1]) < overlap + 0.03
        with Finder(measure=measure) as finder:
            finder.add(texts)
            found = len(finder.twins()) / pairs
        # three standard errors of a sample of so many
        expected = measure.found(overlap)
        assert found >= expected - 3 * (expected * (1 - expected) / pairs) ** 0.5


def test_min_hashes_of_one_text_are_of_different_runs() -> None:
    """Else all of them agree or none does, and many bands find no more than one: of the pairs of 0.5 a single min-hash is
    equal in half, and how many are equal in one pair hardly varies."""
    texts = [text for number in range(300) for text in _pair(number, 0.5)]
    with Finder(measure=Measure(0.5, bands=100, rows=1)) as finder:
        finder.add(texts)
        finder._bands.flush()
        hashes = np.memmap(finder._bands, np.uint64, "r", shape=(len(texts), 100))
        equal = (hashes[::2] == hashes[1::2]).mean(axis=1)
    assert equal.mean() == pytest.approx(0.5, abs=0.03) and equal.std() < 0.08


def test_a_near_text_is_found_behind_others_of_its_bucket() -> None:
    """Of three texts the first is not quite near the others, but shares nearly all bands that these share."""
    texts = []
    for number in range(200):
        made = [f"w{number}x{n}" for n in range(120)]
        for shared, start in ((32, 40), (34, 60), (34, 80)):  # runs of three: 30 of 48, 32 of 48, 32 of 48
            texts.append(" ".join(made[:shared] + made[start : start + 50 - shared]))
    assert _jaccard(texts[0], texts[1]) < SCENES.near <= _jaccard(texts[1], texts[2])
    with Finder(measure=SCENES) as finder:
        finder.add(texts)
        found = finder.twins()
    assert {row % 3 for row in found} == {2} and len(found) >= 0.93 * 200


def test_overlap_is_measured_on_the_form_that_is_given() -> None:
    """Texts of other words in one form are nearly the same; exactly the same are only equal texts."""
    with Finder(measure=SCENES) as finder:
        finder.add(["The fox ran.", "The hen ran.", "the FOX ran"], [LONG, LONG, LONG])
        assert finder.twins() == {1: Twin(1, 0, "near_duplicate"), 2: Twin(2, 0, "duplicate")}


# Names -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names", "left"),
    [
        ("Odile took the boat. It was Odile's.", ["Odile"], "took the boat it was"),
        ("The boat that Odile took was old. Odile knew.", [], "the boat that took was old knew"),
        ("At noon the Town Mouse met an old Frog.", ["the Town Mouse"], "at noon met an old"),
        ("The monster sang, and his Lion heard the monster.", ["the monster"], "sang and heard"),
        ("He said: 'You were late.' So I went, and I'm glad.", [], "he said you were late so i went and i'm glad"),
        ("ODILE TOOK THE BOAT", [], "odile took the boat"),
        ("Odile", ["Odile"], "odile"),
    ],
)
def test_a_text_without_its_people(text: str, names: list[str], left: str) -> None:
    """Given names and capitals within a sentence go, with the articles before them; what opens a sentence or a quotation
    stays, and so does a text that is nothing else."""
    assert nameless(text, names) == left


# Moulds ------------------------------------------------------------------------------------------------------------------


def test_what_a_mould_was_filled_with_is_one_mark() -> None:
    """A stretch of words of the item, however long; what is left is the mould's own."""
    known = ("The fox ran over the bridge.", "Fox")
    text = "It begins like this: the Fox ran over. Therefore the bridge! Relief."
    assert masked(text, known) == "it begins like this * therefore * relief"
    assert masked("The fox ran.", known) == "*" and masked("", known) == ""


def test_a_row_is_crowded_that_is_near_to_so_many_earlier_ones() -> None:
    """Equal or nearly; the first of them is named, and rows that are out count for nothing."""
    other = (
        "a boy drove nine geese along the dry bed of the brook and sang to them until the last house was out of sight"
    )
    texts = [LONG, other, LONG, f"{LONG} too", other, LONG, f"{LONG} again"]
    with Finder(measure=MOULDS) as finder:
        finder.add(texts)
        assert finder.crowded(3) == {5: 0, 6: 0}
        assert finder.crowded(3, out={0}) == {6: 2}
    with Finder(measure=MOULDS) as none:
        assert none.crowded(3) == {}


def test_hundreds_of_one_mould_leave_its_first_three() -> None:
    """However many there are, each is held against some just before it."""
    with Finder(measure=MOULDS) as finder:
        finder.add([f"{LONG} {n}" for n in range(300)])
        assert finder.crowded(3) == dict.fromkeys(range(3, 300), 0)
