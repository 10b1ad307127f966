"""Facts about the way from the 28 labels to the classes of a benchmark."""

from dataclasses import replace

import numpy as np
import pytest

from factory import benchmarks
from factory.benchmarks.projection import chosen, fits, impossible, lost, onto, own, project
from factory.taxonomy import EKMAN, ID, LABELS

IEMOCAP, EMPATHETIC, MELD = (benchmarks.of(name) for name in ("iemocap4", "empathetic", "meld"))
EKMAN_TABLE = benchmarks.tables_of(benchmarks.of("goemotions"))["ekman"]


def _said(**labels: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    row = np.zeros((1, len(LABELS)))
    for label, value in labels.items():
        row[0, ID[label]] = value
    return row


def test_a_class_has_the_highest_of_its_labels() -> None:
    """Happy of IEMOCAP in four classes is joy or excitement, whichever is more probable."""
    (found,) = project(_said(joy=0.2, excitement=0.7, anger=0.4), IEMOCAP).tolist()
    assert dict(zip(IEMOCAP.classes, found, strict=True)) == {"happy": 0.7, "sad": 0, "neutral": 0, "angry": 0.4}


def test_a_flag_is_set_where_any_label_is() -> None:
    """What passed a threshold counts for its group, whatever the others do."""
    (found,) = project(_said(annoyance=1, pride=1) > 0, EKMAN_TABLE).tolist()
    assert [name for name, flag in zip(EKMAN, found, strict=True) if flag] == ["anger", "joy"]


def test_a_class_without_a_label_has_nothing() -> None:
    """Jealous stays at 0 when every label is certain."""
    found = project(np.ones((2, len(LABELS))), EMPATHETIC)
    zero = [name for name, value in zip(EMPATHETIC.classes, found[0], strict=True) if value == 0]
    assert zero == ["faithful", "jealous", "prepared", "sentimental", "trusting"]


def test_a_model_of_the_benchmarks_classes_needs_no_map() -> None:
    """Columns are matched by name: the order of a model is its own."""
    classes = tuple(reversed(MELD.classes))
    assert own(classes, MELD) and fits(classes, MELD)
    assert onto(np.arange(7, dtype=np.float64)[None], classes, MELD).tolist() == [[6, 5, 4, 3, 2, 1, 0]]


def test_the_28_are_matched_by_name_too() -> None:
    """A model with the 28 in another order gives the same classes."""
    said = _said(joy=0.9, anger=0.1)
    assert onto(said[:, ::-1], LABELS[::-1], IEMOCAP).tolist() == project(said, IEMOCAP).tolist()


def test_other_classes_do_not_fit() -> None:
    """Neither some of the 28 nor some of the benchmark's, nor anything for a benchmark of values."""
    assert not fits(LABELS[:27], MELD)
    assert not fits(MELD.classes[:6], MELD)
    assert not fits((*MELD.classes, "joy"), MELD)
    assert not fits(LABELS, benchmarks.of("emobank"))
    assert not fits((), benchmarks.of("emobank"))


def test_one_label_a_row_is_the_most_probable_class_whatever_passed() -> None:
    """Thresholds choose several labels; of one they say nothing."""
    scores = np.array([[0.1, 0.3, 0.2, 0.0], [0.2, 0.2, 0.1, 0.1]])
    passed = np.array([[True, False, False, False], [False, False, False, False]])
    assert chosen(scores, passed, IEMOCAP).argmax(axis=1).tolist() == [1, 0]
    assert chosen(scores, passed, IEMOCAP).sum(axis=1).tolist() == [1, 1]
    assert chosen(scores, passed, replace(IEMOCAP, multi=True)).tolist() == passed.tolist()


def test_classes_that_cannot_be_right_are_named() -> None:
    """Without a label, or with no label that an earlier class does not have; a larger earlier class hides a smaller one."""
    found = impossible(EMPATHETIC)
    assert {name for name, earlier in found.items() if not earlier} == {
        *("faithful", "jealous", "prepared", "sentimental", "trusting")
    }
    assert found["terrified"] == "afraid" and found["lonely"] == "sad"
    assert not {"afraid", "sad", "excited", "hopeful", "joyful"} & found.keys()
    assert impossible(IEMOCAP) == {} == impossible(EKMAN_TABLE)
    happy: dict[str, tuple[str, ...]] = {"happy": ("joy", "excitement")}
    glad: dict[str, tuple[str, ...]] = {"glad": ("joy",)}
    assert impossible(replace(IEMOCAP, classes=("glad", "happy"), to28=happy | glad)) == {"glad": "happy"}
    assert impossible(replace(IEMOCAP, classes=("glad", "happy"), to28=glad | happy)) == {}


def test_no_row_is_ever_given_an_impossible_class() -> None:
    """Whatever a model of the 28 says, the named classes are never chosen, and each other one is by some row."""
    scores = project(np.random.default_rng(0).random((4000, len(LABELS))), EMPATHETIC)
    seen = chosen(scores, scores > 0.5, EMPATHETIC).sum(axis=0).tolist()
    never = {name for name, count in zip(EMPATHETIC.classes, seen, strict=True) if not count}
    assert never == set(impossible(EMPATHETIC))


def test_what_is_lost_is_a_sentence() -> None:
    """Both kinds are told; a map that loses nothing says nothing."""
    none, same = lost(EMPATHETIC)
    assert "faithful, jealous, prepared, sentimental, trusting" in none
    assert "terrified (as afraid)" in same
    assert lost(MELD) == []


@pytest.mark.parametrize("name", [name for name, one in benchmarks.ALL.items() if one.classes])
def test_every_benchmark_of_classes_takes_the_28(name: str) -> None:
    """A model of ours can be scored on each of them."""
    assert fits(LABELS, benchmarks.of(name))
