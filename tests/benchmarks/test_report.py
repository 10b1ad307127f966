"""Facts about results and their reports."""

import numpy as np
import pytest

from factory import benchmarks
from factory.benchmarks import metrics, report, results
from factory.benchmarks.report import Evaluation, Source
from factory.benchmarks.results import Result
from factory.errors import WrongRequest

EMO = benchmarks.of("emocontext")


def _result(times: int = 1, **more: float) -> Result:
    truth = metrics.one_hot([0, 1, 2, 3, 0, 1] * times, 4)
    chosen = metrics.one_hot([0, 1, 2, 0, 3, 1] * times, 4)
    return results.of_labels(
        EMO,
        truth,
        chosen,
        chosen + 0.1,
        table="mine",
        extra={"calibration_error": 0.25} | more,
        baselines={"majority": 0.0},
        notes=("One note.",),
    )


def _evaluation(*some: Result) -> Evaluation:
    return Evaluation(
        model="models/mine",
        fingerprint="0123456789abcdef",
        classes=("others", "happy"),
        thresholds="0.5 for all",
        versions={"factory": "1"},
        sources=(Source(benchmark="emocontext", path="data/emocontext", files={"test.txt": "ab12"}),),
        results=some,
        skipped=("isear: there is no folder data/isear",),
    )


def test_a_result_holds_the_official_metric_and_every_class() -> None:
    """Four emotional rows, four emotional choices, three right: .75, between its ends; classes stand in their order."""
    found = _result()
    assert found.value == pytest.approx(0.75)
    assert found.low <= found.value <= found.high
    assert [score.label for score in found.per_class] == list(EMO.classes)
    assert [score.support for score in found.per_class] == [2, 2, 1, 1]
    assert found.per_class[1].f1 == 1
    assert found.extra["accuracy"] == pytest.approx(4 / 6)
    assert found.extra["calibration_error"] == 0.25
    assert "ranking_precision" not in found.extra


def test_measures_of_rank_follow_the_kind_of_benchmark() -> None:
    """Several labels a row: ranking precision; 32 classes: top-5 accuracy."""
    draw = np.random.default_rng(0)
    go, many = benchmarks.of("goemotions"), benchmarks.of("empathetic")
    truth = draw.random((50, 28)) < 0.1
    truth[:, 0] = True
    assert "ranking_precision" in results.of_labels(go, truth, truth, draw.random((50, 28))).extra
    single = metrics.one_hot(draw.integers(0, 32, 50), 32)
    assert "top5_accuracy" in results.of_labels(many, single, single, draw.random((50, 32))).extra


def test_values_are_scored_by_dimension() -> None:
    """The metric is the mean of three correlations, each of which is reported with CCC and error."""
    truth = 3 + np.random.default_rng(0).normal(size=(50, 3))
    found = results.of_values(benchmarks.of("emobank"), truth, truth * [1, 1, -1])
    assert found.value == pytest.approx(1 / 3)
    assert found.extra["pearson_dominance"] == pytest.approx(-1)
    assert found.extra["rmse_valence"] == 0
    assert {"concordance_arousal", "rmse_dominance"} <= set(found.extra)


def test_nothing_to_score_is_refused() -> None:
    """An empty test part is a sentence, not a division by zero."""
    none = np.zeros((0, 4), bool)
    with pytest.raises(WrongRequest, match="no row of EmoContext"):
        results.of_labels(EMO, none, none)
    with pytest.raises(WrongRequest, match="no row of EmoBank"):
        results.of_values(benchmarks.of("emobank"), np.zeros((0, 3)), np.zeros((0, 3)))


def test_json_reads_back_to_the_same() -> None:
    """Every field and every class, and the same bytes again."""
    one = _evaluation(_result(), _result())
    assert report.of_json(report.to_json(one)) == one
    assert report.to_json(report.of_json(report.to_json(one))) == report.to_json(one)


def test_a_figure_that_is_none_comes_back_as_none() -> None:
    """NaN, which JSON does not have, survives as NaN."""
    one = Result(benchmark="x", table="", metric="accuracy", value=0.5, low=float("nan"), high=1, rows=3)
    (back,) = report.of_json(report.to_json(_evaluation(one))).results
    assert np.isnan(back.low)


@pytest.mark.parametrize("data", [b"", b"{}x", b'[{"benchmark": "x"}]', b"[1]", b"3", b'{"a": 1}'])
def test_other_json_is_refused(data: bytes) -> None:
    """What is no evaluation is one sentence."""
    with pytest.raises(WrongRequest, match="no results of an evaluation"):
        report.of_json(data)


def test_markdown_shows_the_interval_and_the_baselines_beside() -> None:
    """One line a result, then its figures, notes and classes."""
    one = _result(5)
    text = report.markdown(_evaluation(one))
    assert (
        f"| emocontext (mine) | micro-F1 of the counted classes | 30 | 0.750 | {one.low:.3f} to {one.high:.3f} | majority 0.000 |"
        in text
    )
    assert "| happy | 1.000 | 1.000 | 1.000 |" in text
    assert "- One note." in text
    assert "calibration error 0.250" in text
    rows = [line for line in text.split("### What was read")[0].splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {7}


def test_too_few_rows_have_no_interval() -> None:
    """Five wrong rows drawn again are five wrong rows: 0.000 to 0.000 would say that it is sure."""
    text = report.markdown(_evaluation(_result(4)))
    assert "| 24 | 0.750 | - |" in text and "| happy | 1.000 | 1.000 | 1.000 | - |" in text
    assert text.count("too few rows for an interval") == 1
    assert "too few rows for an interval" in report.summary([_result(4), _result(5)])
    assert "too few" not in report.summary([_result(5)])


def test_how_many_replies_are_in_form_stands_in_the_first_table() -> None:
    """Of a model that writes; a classifier's table has no such column, and its own lines none in a mixed one."""
    wrote, picked = _result(5, strict_rate=0.0, parse_rate=0.125), _result(5)
    head, _, one, other = report.summary([wrote, picked]).splitlines()
    assert "| 95% interval | strict | parsed | baselines |" in head
    assert "| 0.000 | 0.125 | majority" in one and "| - | - | majority" in other
    assert "strict" not in report.summary([picked])


def test_markdown_says_what_decides_the_figures() -> None:
    """Model, thresholds, versions, what was left out, and each file with its digest."""
    text = report.markdown(_evaluation(_result()))
    assert "fingerprint `0123456789abcdef`, 2 classes; 0.5 for all" in text
    assert "- versions: factory 1\n- isear: there is no folder data/isear\n" in text
    assert "| emocontext | data/emocontext: test.txt | `ab12` |" in text
    assert report.summary([_result()]) in text
