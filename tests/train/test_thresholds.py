"""Facts about thresholds, temperature and calibration."""

import numpy as np
import pytest

from factory.train import thresholds

DRAW = np.random.default_rng(0)
TRUTH = (DRAW.random((800, 5)) < np.array([0.5, 0.3, 0.1, 0.05, 0.01])).astype(float)
NOISY = 1 / (1 + np.exp(-(2.0 * (TRUTH - 0.6) + DRAW.normal(0, 1, TRUTH.shape))))
NAMES = tuple("abcde")


def _by_hand(threshold: float) -> float:
    metrics = pytest.importorskip("sklearn.metrics")
    return float(metrics.f1_score(TRUTH, threshold <= NOISY, average="macro", zero_division=0))


def test_the_shared_threshold_is_the_best_of_the_grid() -> None:
    """By scikit-learn's macro-F1 at every threshold of the grid."""
    found = thresholds.shared_threshold(NOISY, TRUTH >= 0.5)
    assert _by_hand(found) == pytest.approx(max(_by_hand(one) for one in thresholds.GRID), abs=1e-9)


def test_thresholds_of_a_class_lie_between_its_own_best_and_the_shared_one() -> None:
    """A label with few rows stays near the shared threshold, one with many goes its own way."""
    shared = thresholds.shared_threshold(NOISY, TRUTH >= 0.5)
    forced = 0.9  # far from any class's own
    found = thresholds.class_thresholds(NOISY, TRUTH >= 0.5, forced)
    away = np.abs(found - forced)
    assert away[0] > 0.3 > away[4] and shared < forced


def test_a_label_that_never_occurs_has_the_shared_threshold() -> None:
    """There is nothing to tune it by."""
    truth = TRUTH.copy()
    truth[:, 4] = 0
    assert thresholds.class_thresholds(NOISY, truth >= 0.5, 0.4)[4] == pytest.approx(0.4)


def test_tuning_beats_a_half_on_rows_it_has_not_seen() -> None:
    """Tuned on one half of the rows, measured on the other."""
    tuned = thresholds.tuned(NOISY[::2], TRUTH[::2], NAMES, "per_class", "here")
    plain = thresholds.tuned(NOISY[::2], TRUTH[::2], NAMES, "half", "here")
    rest, truth = NOISY[1::2], TRUTH[1::2]
    assert thresholds.macro_f1(tuned.keep(rest), truth) > thresholds.macro_f1(plain.keep(rest), truth)


def test_single_label_rows_have_exactly_their_most_probable_class() -> None:
    """`argmax` keeps one, whatever the probabilities."""
    kept = thresholds.tuned(NOISY, TRUTH, NAMES, "argmax", "here").keep(NOISY)
    assert (kept.sum(axis=1) == 1).all() and (kept.argmax(axis=1) == NOISY.argmax(axis=1)).all()


@pytest.mark.parametrize("wanted", [0.5, 1.0, 2.5])
def test_temperature_finds_what_logits_were_multiplied_by(wanted: float) -> None:
    """Labels drawn from sigmoid(z), logits given as wanted times z."""
    logits = DRAW.normal(0, 2, (4000, 4))
    truth = (DRAW.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    assert thresholds.temperature(wanted * logits, truth) == pytest.approx(wanted, rel=0.08)


def test_calibration_error_is_the_gap_between_said_and_true() -> None:
    """Always 0.8 where half is true: 0.3; a coin that says 0.5: nothing."""
    truth = np.array([[1.0], [0.0]] * 50)
    assert thresholds.calibration_error(np.full((100, 1), 0.8), truth) == pytest.approx(0.3)
    assert thresholds.calibration_error(np.full((100, 1), 0.5), truth) == pytest.approx(0.0)
