"""Facts about what needs no model."""

from dataclasses import replace

import numpy as np
import pytest

from factory import benchmarks
from factory.benchmarks import Row, baselines, metrics

DAILY = benchmarks.of("dailydialog")
GO = benchmarks.of("goemotions")


def _rows(*labels: str, text: str = "x") -> list[Row]:
    return [Row(str(n), text, tuple(label.split("+"))) for n, label in enumerate(labels)]


def test_the_best_constant_is_not_the_majority_where_that_does_not_count() -> None:
    """Always "no emotion" scores 0 on DailyDialog's metric; always happiness, chosen on train, scores by hand 4/13."""
    train = _rows(*["no emotion"] * 8, "happiness", "happiness", "anger")
    test = _rows(*["no emotion"] * 7, "happiness", "happiness", "anger")
    found = baselines.floors(DAILY, train, test)
    assert found["majority"] == 0
    assert found["constant"] == pytest.approx(4 / 13)


def test_every_class_always_is_a_floor_where_rows_have_several() -> None:
    """All 28 labels on every row: recall 1 and precision the share of each; single labels cannot do that."""
    rows = _rows("joy", "joy+love", "anger", "neutral")
    found = baselines.floors(GO, rows, rows)
    assert found["all"] == pytest.approx((2 * 2 / 6 + 3 * (2 * 1 / 5)) / 28)
    assert "all" not in baselines.floors(DAILY, _rows("anger"), _rows("anger"))


def test_the_prior_is_the_expected_score_of_random_choice() -> None:
    """Single labels are drawn one a row with the frequencies of train; accuracy comes near the sum of their squares."""
    rows = _rows(*["others"] * 800, *["sad"] * 200)
    form = replace(benchmarks.of("emocontext"), metric="accuracy")
    assert baselines.floors(form, rows, rows)["prior"] == pytest.approx(0.8**2 + 0.2**2, abs=0.01)
    chosen = baselines.prior(form, metrics.matrix(rows, form.classes), 1_000, 0)
    assert chosen.sum(axis=1).tolist() == [1] * 1_000


def test_the_prior_of_several_labels_draws_each_for_itself() -> None:
    """Rows get as many labels as train has on average, some none."""
    known = np.random.default_rng(0).random((5_000, 28)) < 0.05
    chosen = baselines.prior(GO, known, 5_000, 1)
    assert chosen.mean(axis=0) == pytest.approx(known.mean(axis=0), abs=0.02)


def test_keywords_name_classes_through_the_label_map() -> None:
    """Guilt is remorse in the 28, and the words of remorse say it; a text without such a word is of the frequent class."""
    isear = benchmarks.of("isear")
    test = [Row("1", "I felt so guilty and full of regret.", ("guilt",)), Row("2", "The bus was late.", ("joy",))]
    chosen = baselines.keyword(isear, _rows("anger", "anger", "joy"), test)
    assert [isear.classes[place] for place in chosen.argmax(axis=1)] == ["guilt", "anger"]
    assert chosen.sum(axis=1).tolist() == [1, 1]


def test_keywords_give_several_labels_or_neutral() -> None:
    """Each label whose word stands there; neutral where none does."""
    test = [Row("1", "Thanks, I love it", ("gratitude",)), Row("2", "At noon", ("neutral",))]
    chosen = baselines.keyword(GO, [], test)
    named = [{GO.classes[place] for place in np.flatnonzero(row)} for row in chosen]
    assert named == [{"gratitude", "love"}, {"neutral"}]


def test_equal_keywords_go_to_the_frequent_class() -> None:
    """Afraid and terrified both mean fear of the 28: train decides."""
    form, test = benchmarks.of("empathetic"), [Row("1", "I was terrified", ("terrified",))]
    for usual in ("afraid", "terrified"):
        chosen = baselines.keyword(form, _rows(usual, usual, "afraid", "terrified"), test)
        assert form.classes[int(chosen.argmax())] == usual


def test_without_a_training_part_only_keywords_are_left() -> None:
    """A constant chosen on the test part would be a leak."""
    assert set(baselines.floors(DAILY, [], _rows("anger"))) == {"keyword"}


def test_the_mean_has_no_correlation() -> None:
    """EmoBank's constant has r 0."""
    assert baselines.floors(benchmarks.of("emobank"), [], []) == {"mean": 0.0}
