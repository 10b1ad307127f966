"""Facts about the card of a classifier, by records made by hand: what stands beside its figures, and under which terms."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from factory.benchmarks import metrics
from factory.train import model_card
from factory.train.recipe import recipe
from factory.train.thresholds import Thresholds

scores = pytest.importorskip("sklearn.metrics")

CLASSES = ("joy", "anger", "fear")
TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0]], bool)
ONE = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], bool)


def _card(truth: Any = TRUTH, use: str = "per_class", part: str = "test", **given: Any) -> str:
    """Of a model that says nothing of anything; `given` is put over its record."""
    found = metrics.multilabel(truth, np.zeros_like(truth), np.full(truth.shape, 0.5), CLASSES)
    told = {"base": "minilm", "init": "", "factory": "0", "data": "d", "fingerprint": "f", "precision": "fp32"}
    record: dict[str, Any] = told | {
        "recipe": asdict(recipe()),
        "multi": use != "argmax",
        "notes": [],
        "licence": "CC BY 4.0",
        "results": {part: found},
        "rows": {part: len(truth)},
        "history": {"score": [], "best_epoch": 0},
    }
    kept = Thresholds(classes=CLASSES, per_class=(0.2, 0.3, 0.4), use=use, tuned_on="d validation")
    return model_card.written(record | given, kept)


def _constant(card: str, measure: str) -> float:
    (line,) = (line for line in card.splitlines() if line.startswith(f"| {measure} |"))
    return float(line.split("|")[4])


@pytest.mark.parametrize(
    ("truth", "use", "said"),
    [(TRUTH, "per_class", np.ones_like(TRUTH)), (ONE, "argmax", np.eye(3, dtype=bool)[[0] * 4])],
)
def test_a_model_that_reads_nothing_stands_beside_the_figures(truth: Any, use: str, said: Any) -> None:
    """All labels or, where a row has one, the most frequent; as scikit-learn scores them."""
    card = _card(truth, use)
    for measure in ("macro", "micro", "weighted"):
        wanted = scores.f1_score(truth, said, average=measure, zero_division=0)
        assert _constant(card, f"{measure} f1") == pytest.approx(wanted, abs=5e-4)


def test_the_card_says_what_validation_was_used_for() -> None:
    """Thresholds that are not tuned are not said to be, and no row of exactly one label has any."""
    assert "Temperature from d validation, thresholds from validation (per_class); test was" in _card()
    half = asdict(replace(recipe(), thresholds="half"))
    fixed = _card(use="half", recipe=half)
    assert "threshold 0.5 for all labels (half)" in fixed and "thresholds from validation" not in fixed
    one = _card(ONE, "argmax")
    assert "the most probable class of each row (argmax)" in one and "thresholds from validation" not in one
    assert "- thresholds:" not in one and "| threshold |" not in one and "| threshold |" in fixed


def test_a_card_without_a_test_part_says_what_its_rows_were_used_for() -> None:
    """No epoch is chosen where the last is kept."""
    assert "rows that chose temperature, thresholds and epoch, and" in _card(part="validation")
    last = asdict(replace(recipe(), thresholds="half", keep="last"))
    assert "rows that chose temperature, and" in _card(use="half", part="validation", recipe=last)


@pytest.mark.parametrize(
    ("licence", "base", "head"),
    [
        ("CC BY 4.0", "minilm", "license: cc-by-4.0"),
        ("CC BY-NC-SA 4.0", "minilm", "license: cc-by-nc-sa-4.0"),
        ("CC BY 4.0; CC BY-NC 4.0", "minilm", ""),
        ("that of the corpus and of the generator", "minilm", ""),
        ("CC BY 4.0", "somebody/encoder", ""),
    ],
)
def test_a_licence_stands_in_the_head_where_there_is_one_and_the_base_is_known(
    licence: str, base: str, head: str
) -> None:
    """Else the person who publishes has to say."""
    lines = _card(licence=licence, base=base).split("---")[1].splitlines()
    assert [line for line in lines if line.startswith("license:")] == ([head] if head else [])
