"""Facts about the scores: they are scikit-learn's, and the official ones of their tasks."""

import json
import time
from functools import partial

import numpy as np
import pytest

from factory import benchmarks
from factory.benchmarks import metrics
from factory.benchmarks.metrics import Flags, Floats

RANDOM = [(seed, multi) for seed in range(3) for multi in (True, False)]


def _drawn(seed: int, multi: bool, rows: int = 300, classes: int = 6) -> tuple[Flags, Flags, Floats]:
    """Truth, chosen and scores, with a class that nobody has and one that nobody chooses; scores have ties."""
    draw = np.random.default_rng(seed)
    scores = np.round(draw.random((rows, classes)), 1)
    if multi:
        truth, chosen = draw.random((rows, classes)) < 0.3, scores > 0.6
    else:
        truth = metrics.one_hot(draw.integers(0, classes, rows), classes)
        chosen = metrics.one_hot(scores.argmax(axis=1), classes)
    truth[:, 0] &= multi & False
    chosen[:, 1] = False
    if not multi:
        truth[~truth.any(axis=1), 2] = True
        chosen[~chosen.any(axis=1), 2] = True
    return truth, chosen, scores


@pytest.mark.parametrize(("seed", "multi"), RANDOM)
def test_f1_and_its_means_are_those_of_scikit_learn(seed: int, multi: bool) -> None:
    """Macro, micro, weighted, per class, precision, recall and accuracy; a class without rows and choices counts 0."""
    sklearn = pytest.importorskip("sklearn.metrics")
    truth, chosen, _ = _drawn(seed, multi)
    counts = metrics.tally(truth, chosen)
    for mean, mine in (("macro", metrics.macro_f1), ("micro", metrics.micro_f1), ("weighted", metrics.weighted_f1)):
        assert mine(counts) == pytest.approx(sklearn.f1_score(truth, chosen, average=mean, zero_division=0))
    each = sklearn.precision_recall_fscore_support(truth, chosen, zero_division=0)
    for wanted, found in zip(
        each, (metrics.precision(counts), metrics.recall(counts), metrics.f1(counts), counts.true), strict=True
    ):
        assert found == pytest.approx(wanted)
    assert metrics.accuracy(truth, chosen) == pytest.approx(sklearn.accuracy_score(truth, chosen))


@pytest.mark.parametrize(("seed", "multi"), RANDOM)
def test_weights_are_those_of_scikit_learn(seed: int, multi: bool) -> None:
    """A row of weight 2 counts as two rows, in every score that the bootstrap draws."""
    sklearn = pytest.importorskip("sklearn.metrics")
    truth, chosen, _ = _drawn(seed, multi)
    weights = np.random.default_rng(seed).integers(0, 4, (5, len(truth))).astype(float)
    names = {"macro_f1": "macro", "weighted_f1": "weighted"}
    for name, mean in names.items():
        found = metrics.scorer(name, truth, chosen, range(truth.shape[1]))(weights)
        wanted = [
            sklearn.f1_score(truth, chosen, average=mean, sample_weight=some, zero_division=0) for some in weights
        ]
        assert found == pytest.approx(np.array(wanted))
    found = metrics.accuracy(truth, chosen, weights)
    assert found == pytest.approx(np.array([sklearn.accuracy_score(truth, chosen, sample_weight=w) for w in weights]))


@pytest.mark.parametrize("seed", range(3))
def test_micro_f1_of_counted_classes_is_that_of_scikit_learn(seed: int) -> None:
    """`labels=` of scikit-learn: errors between a counted and another class count, rows of other classes alone do not."""
    sklearn = pytest.importorskip("sklearn.metrics")
    truth, chosen, _ = _drawn(seed, multi=False)
    wanted = sklearn.f1_score(truth.argmax(1), chosen.argmax(1), labels=[2, 3, 5], average="micro")
    assert metrics.scorer("micro_f1_of", truth, chosen, [2, 3, 5])(None) == pytest.approx(wanted)


@pytest.mark.parametrize(("seed", "multi"), RANDOM)
def test_measures_of_rank_are_those_of_scikit_learn(seed: int, multi: bool) -> None:
    """Average precision with ties, label ranking average precision with rows without labels, top-k accuracy."""
    sklearn = pytest.importorskip("sklearn.metrics")
    truth, _, scores = _drawn(seed, multi)
    found = metrics.average_precision(truth, scores)
    assert np.isnan(found[0])
    wanted = [sklearn.average_precision_score(truth[:, label], scores[:, label]) for label in range(1, truth.shape[1])]
    assert found[1:] == pytest.approx(np.array(wanted))
    wanted_ranking = sklearn.label_ranking_average_precision_score(truth, scores)
    assert metrics.ranking_precision(truth, scores) == pytest.approx(wanted_ranking)
    if not multi:
        for count in (1, 3):
            top = sklearn.top_k_accuracy_score(truth.argmax(1), scores, k=count, labels=range(truth.shape[1]))
            assert metrics.top_accuracy(truth, scores, count) == pytest.approx(top)


def test_emocontext_counts_three_classes_as_its_organisers_do() -> None:
    """By hand: 4 emotional rows, 3 emotional choices, 2 of them right: P 2/3, R 2/4, F1 4/7; others alone change nothing."""
    form = benchmarks.of("emocontext")
    others, happy, sad, angry = range(4)
    truth = metrics.one_hot([happy, sad, angry, angry, others, others], 4)
    chosen = metrics.one_hot([happy, sad, others, others, angry, others], 4)
    counted = [form.classes.index(label) for label in form.counted]
    assert counted == [happy, sad, angry]
    assert metrics.scorer(form.metric, truth, chosen, counted)(None) == pytest.approx(4 / 7)
    more = metrics.one_hot([others] * 50, 4)
    score = metrics.scorer(form.metric, np.concatenate([truth, more]), np.concatenate([chosen, more]), counted)
    assert score(None) == pytest.approx(4 / 7)


def test_daily_dialog_leaves_no_emotion_out() -> None:
    """By hand: 2 happy rows of 3 emotional ones in 10; always happiness has P 2/10, R 2/3, F1 4/13; no emotion has 0."""
    form = benchmarks.of("dailydialog")
    truth = metrics.one_hot([0] * 7 + [4, 4, 1], 7)
    counted = [form.classes.index(label) for label in form.counted]
    assert 0 not in counted
    assert metrics.scorer(form.metric, truth, metrics.one_hot([4] * 10, 7), counted)(None) == pytest.approx(4 / 13)
    assert metrics.scorer(form.metric, truth, metrics.one_hot([0] * 10, 7), counted)(None) == 0


def test_always_happiness_scores_as_known_on_the_published_counts() -> None:
    """The counts of DailyDialog's test part give .223 for the constant (METHODS 7.4)."""
    counts = {0: 6_321, 4: 1_019, 1: 118, 6: 116, 5: 102, 2: 47, 3: 17}
    truth = metrics.one_hot(np.repeat(list(counts), list(counts.values())), 7)
    chosen = metrics.one_hot([4] * len(truth), 7)
    assert metrics.scorer("micro_f1_of", truth, chosen, range(1, 7))(None) == pytest.approx(0.223, abs=5e-4)


def test_values_are_compared_as_scikit_learn_and_numpy_do() -> None:
    """Pearson's r by dimension, squared error, and Lin's coefficient from its definition."""
    sklearn = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    truth = 3 + draw.normal(size=(200, 3)) / 3
    said = truth + draw.normal(size=(200, 3)) * [0.1, 0.5, 2] + [0, 1, 0]
    assert metrics.pearson(truth, said) == pytest.approx(
        np.array([np.corrcoef(truth[:, d], said[:, d])[0, 1] for d in range(3)])
    )
    assert metrics.rmse(truth, said) == pytest.approx(
        np.array([sklearn.root_mean_squared_error(truth[:, d], said[:, d]) for d in range(3)])
    )
    apart = (truth.mean(0) - said.mean(0)) ** 2
    wanted = 2 * ((truth - truth.mean(0)) * (said - said.mean(0))).mean(0) / (truth.var(0) + said.var(0) + apart)
    assert metrics.concordance(truth, said) == pytest.approx(wanted)
    twice = metrics.pearson(truth, said, np.repeat([[2.0], [1.0]], 200, axis=1))
    assert twice == pytest.approx(np.array([metrics.pearson(truth, said)] * 2))


def test_a_weight_of_a_value_is_a_repeated_row() -> None:
    """r, CCC and RMSE with weights are those of the rows drawn that often."""
    draw = np.random.default_rng(1)
    truth, said = 3 + draw.normal(size=(50, 3)), 3 + draw.normal(size=(50, 3))
    times = draw.integers(0, 4, 50)
    for measure in (metrics.pearson, metrics.concordance, metrics.rmse):
        repeated = measure(np.repeat(truth, times, 0), np.repeat(said, times, 0))
        assert measure(truth, said, times.astype(float)) == pytest.approx(repeated)


def test_a_constant_goes_with_nothing() -> None:
    """r of a constant is 0, not NaN, so that the baseline of the mean has a figure."""
    truth = np.random.default_rng(0).normal(size=(20, 3))
    assert metrics.pearson(truth, np.full((20, 3), 3.1)).tolist() == [0, 0, 0]


def test_the_bootstrap_is_that_of_drawn_rows() -> None:
    """Percentiles over draws of rows, as a plain loop over the same draws finds them; the seed decides."""
    truth, chosen, _ = _drawn(0, multi=True, rows=40)
    found = metrics.bootstrap(metrics.scorer("macro_f1", truth, chosen, range(6)), 40, draws=150, seed=7)
    draw = np.random.default_rng(7)
    rows = np.concatenate([draw.integers(0, 40, (100, 40)), draw.integers(0, 40, (50, 40))])
    plain = [float(metrics.macro_f1(metrics.tally(truth[some], chosen[some]))) for some in rows]
    assert tuple(found) == pytest.approx(tuple(np.percentile(plain, [2.5, 97.5])))
    assert found == metrics.bootstrap(metrics.scorer("macro_f1", truth, chosen, range(6)), 40, draws=150, seed=7)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Of 200 samples with a known share, nine in ten intervals or more hold it."""
    draw, held = np.random.default_rng(3), 0
    for _ in range(200):
        right = (draw.random(400) < 0.3)[:, None]
        low, high = metrics.bootstrap(partial(metrics.accuracy, right, np.ones_like(right)), 400, draws=200)
        held += bool(low <= 0.3 <= high)
    assert 180 <= held <= 199


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    """Both systems see the same rows in a draw: the interval of a system against itself is nothing at all."""
    truth, chosen, _ = _drawn(0, multi=True)
    score = metrics.scorer("macro_f1", truth, chosen, range(6))
    low, high = metrics.bootstrap(lambda weights: score(weights) - score(weights), len(truth))
    assert float(low) == float(high) == 0
    better = chosen.copy()
    better[:30] = truth[:30]
    best = metrics.scorer("macro_f1", truth, better, range(6))
    low, high = metrics.bootstrap(lambda weights: best(weights) - score(weights), len(truth))
    assert 0 < low < high


def test_a_thousand_draws_of_goemotions_are_quick() -> None:
    """1,000 draws of 5,427 rows of 28 classes take under three seconds."""
    draw = np.random.default_rng(0)
    truth, chosen = draw.random((5_427, 28)) < 0.05, draw.random((5_427, 28)) < 0.05
    began = time.perf_counter()
    metrics.bootstrap(metrics.scorer("macro_f1", truth, chosen, range(28)), 5_427)
    assert time.perf_counter() - began < 3


def test_wilson_is_the_published_interval() -> None:
    """5 of 10 is .237 to .763; 0 of 10 begins at 0 and ends at .278; none of none says nothing."""
    assert metrics.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert metrics.wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert metrics.wilson(10, 10) == pytest.approx((0.7225, 1), abs=1e-4)
    assert metrics.wilson(0, 0) == (0, 1)


def test_what_is_told_of_any_rows_is_plain() -> None:
    """Numbers, one score with its ends, and each class with the interval of its F1, in types that JSON has."""
    truth, chosen, scores = _drawn(0, multi=True)
    found = metrics.multilabel(truth, chosen, scores, "abcdef")
    assert json.loads(json.dumps(found)) == found
    macro, classes = metrics.Score(**found["macro_f1"]), found["per_class"]
    assert macro.low < macro.value < macro.high
    assert macro.value == pytest.approx(np.mean([one["f1"] for one in classes]))
    assert [one["label"] for one in classes] == list("abcdef")
    assert [one["support"] for one in classes] == truth.sum(axis=0).tolist()
    assert all(one["low"] <= one["f1"] <= one["high"] for one in classes)
    assert found["ranking_precision"] == metrics.ranking_precision(truth, scores)
