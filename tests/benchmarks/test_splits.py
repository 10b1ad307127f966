"""Facts about folds and repeated texts."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import benchmarks
from factory.benchmarks import Row, folds, repeats, without
from factory.errors import WrongRequest
from factory.text import normal

DATA = Path(__file__).resolve().parents[2].parent / "shared/data"
_ROWS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12), st.sampled_from("ab")), min_size=20, max_size=60)


@given(_ROWS, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_folds_keep_groups_and_texts_together(drawn: list[tuple[int, int, str]], seed: int) -> None:
    """Every row is in one test part, and no group and no text, whatever its case and marks, is on both sides."""
    rows = [
        Row(str(n), f"Text {text}{'!' * (n % 2)}", (label,), f"g{group}" if group else "")
        for n, (text, group, label) in enumerate(drawn)
    ]
    try:
        pairs = folds(rows, 3, seed)
    except WrongRequest:
        return  # all rows hang together
    assert sorted(row.id for _, test in pairs for row in test) == sorted(row.id for row in rows)
    for train, test in pairs:
        assert len(train) + len(test) == len(rows)
        assert not {row.group for row in train} & {row.group for row in test} - {""}
        assert not {normal(row.text) for row in train} & {normal(row.text) for row in test}


def test_a_chain_of_groups_and_texts_is_one_cluster() -> None:
    """A shares a text with B's group, B another with C's: all three stay together."""
    chain = [
        Row("1", "x", ("a",), "A"),
        Row("2", "x", ("a",), "B"),
        Row("3", "y", ("a",), "B"),
        Row("4", "y", ("a",), "C"),
    ]
    rows = [*chain, Row("5", "C's", ("a",), "C"), *(Row(f"o{n}", f"other {n}", ("a",)) for n in range(5))]
    sides = [{row.id for row in test} & {"1", "2", "3", "4", "5"} for _, test in folds(rows, 2, 0)]
    assert sorted(map(len, sides)) == [0, 5]


def test_folds_are_even_in_size_and_labels() -> None:
    """Rows that stand alone are dealt so that each fold has its share of each label; the seed moves rows."""
    rows = [Row(str(n), f"text {n}", ("rare" if n % 10 == 0 else "common",)) for n in range(200)]
    pairs = folds(rows, 5, 0)
    assert [Counter(row.labels[0] for row in test) for _, test in pairs] == [{"rare": 4, "common": 36}] * 5
    assert pairs == folds(rows, 5, 0)
    assert pairs != folds(rows, 5, 1)


def test_too_few_clusters_are_refused() -> None:
    """Five folds of four rows would have an empty one."""
    with pytest.raises(WrongRequest, match="too few for 5 folds"):
        folds([Row(str(n), f"text {n}", ("a",)) for n in range(4)], 5, 0)


def test_the_real_isear_folds_are_disjoint_and_even() -> None:
    """No respondent and no text on both sides, and sizes within three rows of each other."""
    if not (DATA / "isear").exists():
        pytest.skip("shared/data/isear is not there")
    isear = benchmarks.of("isear")
    pairs = folds(isear.read(DATA / "isear").train, isear.folds, 0)
    for train, test in pairs:
        assert not {row.group for row in train} & {row.group for row in test}
        assert not {normal(row.text) for row in train} & {normal(row.text) for row in test}
    sizes = [len(test) for _, test in pairs]
    assert max(sizes) - min(sizes) <= 3


def test_repeats_are_found_in_normal_form() -> None:
    """A test row whose text stands in train, in other case and marks, is named and can be left out."""
    train = [Row("a", "Thank you!", ("joy",)), Row("b", "No.", ("anger",), context="Well?")]
    test = (Row("1", "thank you", ("joy",)), Row("2", "no", ("anger",), context="Why?"), Row("3", "maybe", ("joy",)))
    assert repeats(train, test) == {"1", "2"}
    assert repeats(train, test, context=True) == {"1"}
    assert without(test, repeats(train, test)) == (test[2],)
