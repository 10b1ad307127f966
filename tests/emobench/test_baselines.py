"""Facts about what can be had without a model: the figures of METHODS 4.2, from the published files."""

from pathlib import Path

import pytest
from emobench import fake

from factory.emobench.baselines import WHOLE, Baseline, floors, longest
from factory.emobench.items import Bench, read


def _named(bench: Bench, task: str, language: str = "en", orders: int = 4) -> dict[str, Baseline]:
    return {one.name: one for one in floors(bench.of(task, language), orders)}


def test_the_published_order_gives_away_causes_and_emotions(real: Bench) -> None:
    """The longest cause is right in 51%, the first emotion in 36% (72 of 200), both together in 18% (36)."""
    found = _named(real, "EU")
    assert found["always A"].published["emotion"] * 200 == pytest.approx(72)
    assert found["longest option"].published["cause"] == pytest.approx(0.51)
    assert found["emotion A, longest cause"].published[WHOLE] * 200 == pytest.approx(36)
    assert found["best fixed letter"].published["emotion"] == pytest.approx(0.36)
    assert found["best fixed letter"].published["cause"] == pytest.approx(0.275)


def test_chance_is_that_of_each_item(real: Bench) -> None:
    """3.75% of understanding, 16.7% of its emotions, 22.5% of its causes, 25% of application."""
    chance = _named(real, "EU")["uniform"].published
    assert chance[WHOLE] == pytest.approx(0.0375)
    assert chance["emotion"] == pytest.approx(1 / 6)
    assert chance["cause"] == pytest.approx(0.225)
    assert _named(real, "EA")["uniform"].published[WHOLE] == pytest.approx(0.25)


def test_application_has_its_shortcuts_too(real: Bench) -> None:
    """The longest choice is right in 31%, the letter C in 37%, the letter A in 13.5%."""
    found = _named(real, "EA")
    assert found["longest option"].published[WHOLE] == pytest.approx(0.31)
    assert found["best fixed letter"].published[WHOLE] == pytest.approx(0.37)
    assert found["always A"].published[WHOLE] == pytest.approx(0.135)


def test_the_first_chinese_cause_is_right_in_two_of_three(real: Bench) -> None:
    """132 of 200."""
    assert _named(real, "EU", "zh")["always A"].published["cause"] * 200 == pytest.approx(132)


def test_other_orders_take_the_place_away_and_leave_the_length(real: Bench) -> None:
    """Over four orders a letter is worth chance where there are four choices; the longest cause is right in half still."""
    assert _named(real, "EA")["best fixed letter"].turned[WHOLE] == pytest.approx(0.25)
    found = _named(real, "EU")
    assert found["always A"].turned["emotion"] < 0.19
    assert found["longest option"].turned["cause"] > 0.49


def test_a_baseline_is_what_its_name_says(tmp_path: Path) -> None:
    """Worked by hand on four items whose answers are A, B, C, D in turn: a letter has one of four, the longest one of four."""
    bench = read(fake.write(tmp_path, [fake.understanding(0)], [fake.application(n) for n in range(4)]))
    found = _named(bench, "EA", orders=1)
    assert {name: one.turned[WHOLE] for name, one in found.items()} == {
        "uniform": 0.25,
        "always A": 0.25,
        "longest option": 0.25,
        "best fixed letter": 0.25,
    }
    only = _named(bench, "EU", orders=1)
    assert only["always A"].published == {"emotion": 1.0, "cause": 1.0, WHOLE: 1.0}
    assert only["emotion A, longest cause"].published == {"emotion": 1.0, "cause": 0.0, WHOLE: 0.0}


def test_of_equally_long_choices_the_first_counts() -> None:
    """The same choice in every run."""
    assert longest(["ab", "abc", "xyz"]) == 1


def test_a_letter_that_an_item_has_not_is_wrong_in_it(tmp_path: Path) -> None:
    """Of two items one has six causes and E is right there: the letter E has one of two, not more."""
    rows = [fake.understanding(0), fake.understanding(2, cause_label=fake.CAUSES["en"][4])]
    (tmp_path / "x").mkdir()
    bench = read(fake.write(tmp_path / "x", rows, [fake.application(0)]))
    assert _named(bench, "EU", orders=1)["best fixed letter"].published["cause"] == 0.5


def test_no_items_have_no_baselines() -> None:
    """An empty task is nobody's division by zero."""
    assert floors([], 4) == ()
