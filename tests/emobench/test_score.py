"""Facts about figures: worked by hand, and those that METHODS 3.6 re-made from published predictions."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from factory.emobench import score
from factory.emobench.ask import Answered, Ask, Places, Reading, asking
from factory.emobench.parse import NONE
from factory.emobench.score import Outcome, Result, compare, mcnemar, share
from factory.errors import WrongRequest

V2 = asking("v2", "EA", "en")


def _answered(number: int, *orders: Places, category: str = "Social-Self", labels: Places = (1,)) -> Answered:
    voted = orders[0]
    reading = Reading(orders, voted)
    return Answered(qid=str(number), category=category, labels=labels, readings={"strict": reading, "lenient": reading})


def _result(places: Sequence[int], ask: Ask = V2) -> Result:
    """Items whose right answer is 1, answered with these places."""
    return score.result(ask, [_answered(n, (place,)) for n, place in enumerate(places)], ())


def _outcome(*results: Result, model: str = "one") -> Outcome:
    return Outcome(model=model, versions={}, files={}, results=results)


@pytest.mark.parametrize(
    ("hits", "low", "high"), [(81, 0.339, 0.474), (125, 0.556, 0.689), (21, 0.070, 0.155), (31, 0.111, 0.212)]
)
def test_intervals_are_wilsons(hits: int, low: float, high: float) -> None:
    """Those of METHODS 3.6, of 200 items."""
    found = share(hits, 200)
    assert (round(found.low, 3), round(found.high, 3)) == (low, high)


def test_wilson_by_hand() -> None:
    """5 of 10: .5 +- 1.959964 sqrt(.025 + .0096036) / 1.3841459; none of 10 ends at z2 / (10 + z2); 0 of 0 may be anything."""
    half = share(5, 10)
    assert (half.low, half.high) == pytest.approx((0.236593, 0.763407), abs=1e-6)
    none = share(0, 10)
    assert (none.value, none.low, none.high) == pytest.approx((0, 0, 0.277533), abs=1e-6)
    assert (share(0, 0).value, share(0, 0).low, share(0, 0).high) == (0, 0, 1)


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [(1, 7, 18 / 256), (7, 1, 18 / 256), (0, 5, 2 / 32), (3, 3, 1.0), (0, 0, 1.0), (2, 12, 212 / 16384)],
)
def test_mcnemar_by_hand(one: int, other: int, p: float) -> None:
    """Twice the tail of a fair coin, never above 1."""
    assert mcnemar(one, other) == pytest.approx(p)


def test_mcnemar_is_the_binomial_test() -> None:
    """As scipy has it, up to counts that no benchmark reaches."""
    stats = pytest.importorskip("scipy.stats")
    for one, other in ((4, 9), (30, 61), (250, 300), (2_000, 2_100)):
        assert mcnemar(one, other) == pytest.approx(stats.binomtest(one, one + other).pvalue)


def test_figures_of_a_model_that_breaks_the_format() -> None:
    """METHODS 3.6, base Mistral on EA: 123 of 200 read and 81 right are .405 strict and .659 given parsed."""
    places = [1] * 81 + [0] * 42 + [NONE] * 77
    strict = _result(places).scores[0]
    assert strict.accuracy.value == pytest.approx(0.405)
    assert strict.parse_ok == pytest.approx(0.615)
    assert round(strict.given_parsed.value, 3) == 0.659
    assert strict.given_parsed.items == 123


def test_the_headline_is_the_mean_over_orders_and_as_sure_as_its_items() -> None:
    """Two items, right in 3 and 1 of 4 orders: one half, with the interval of one of two."""
    ask = replace(V2, orders=4)
    found = score.result(ask, [_answered(0, (1,), (1,), (1,), (0,)), _answered(1, (0,), (NONE,), (1,), (2,))], ())
    strict = found.scores[0]
    assert strict.accuracy == share(1, 2)
    assert strict.voted.value == 0.5
    assert strict.parse_ok == 7 / 8
    assert strict.given_parsed.value == pytest.approx(4 / 7)
    assert found.scores[1].reading == "lenient"


def test_an_item_is_right_where_all_its_parts_are() -> None:
    """Emotion in two of three, cause in two of three, both in one."""
    ask = asking("v2", "EU", "en")
    said: tuple[Places, ...] = ((1, 2), (1, 0), (0, 2))
    strict = score.result(ask, [_answered(n, one, labels=(1, 2)) for n, one in enumerate(said)], ()).scores[0]
    assert strict.accuracy.value == pytest.approx(1 / 3)
    assert {name: figure.value for name, figure in strict.parts.items()} == pytest.approx(
        {"emotion": 2 / 3, "cause": 2 / 3}
    )


def test_categories_are_scored_apart() -> None:
    """In the order in which they come."""
    some = [_answered(n, (n % 2,), category="b" if n < 2 else "a") for n in range(3)]
    strict = score.result(V2, some, ()).scores[0]
    assert {name: (figure.value, figure.items) for name, figure in strict.categories.items()} == {
        "b": (0.5, 2),
        "a": (0, 1),
    }
    assert list(strict.categories) == ["b", "a"]


# Two models -----------------------------------------------------------------------------------------------------------


def test_two_models_are_compared_item_by_item() -> None:
    """Of ten items seven are right in the first alone and one in the other alone: p = 18/256, and the difference is .6."""
    one, other = _result([1] * 8 + [0, 0]), _result([1] + [0] * 7 + [1, 0])
    strict, lenient = compare(_outcome(one), _outcome(other, model="other"))
    assert (strict.only_one, strict.only_other, strict.items) == (7, 1, 10)
    assert strict.p == pytest.approx(18 / 256)
    assert (strict.one, strict.other, strict.difference) == pytest.approx((0.8, 0.2, 0.6))
    assert strict.low < 0.6 < strict.high <= 1
    assert lenient.reading == "lenient"


def test_a_model_does_not_differ_from_itself() -> None:
    """No pair is discordant and the interval is the point 0: both models see the same rows in each draw."""
    mine = _outcome(_result([1, 0, 1, 1, 0]))
    found = compare(mine, mine)[0]
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"protocol": "v1"}, "protocol v2 and v1"),
        ({"cot": True}, "cot False and True"),
        ({"guided": True}, "guided False and True"),
        ({"wording": "authors"}, "wording ours and authors"),
        ({"no_think": True}, "no_think False and True"),
        ({"orders": 4}, "orders 1 and 4"),
    ],
)
def test_figures_that_were_asked_for_differently_are_never_compared(changed: dict[str, object], said: str) -> None:
    """Above all v1 with v2."""
    one = _result([1, 0])
    other = replace(one, ask=replace(V2, **changed))  # type: ignore[arg-type]
    with pytest.raises(
        WrongRequest, match=f"EA in en that were asked for in different ways are not compared: .*{said}"
    ):
        compare(_outcome(one), _outcome(other))


@pytest.mark.parametrize("change", [lambda one: one[:-1], lambda one: one[::-1]], ids=["fewer", "another order"])
def test_other_items_are_not_compared(change: Callable[[tuple[Answered, ...]], tuple[Answered, ...]]) -> None:
    """Pairs need the same items."""
    one = _result([1, 0, 1])
    with pytest.raises(WrongRequest, match="the items of EA in en are not the same"):
        compare(_outcome(one), _outcome(replace(one, answered=change(one.answered))))


def test_outcomes_with_nothing_in_common_are_not_compared() -> None:
    """English with Chinese is nothing."""
    one, other = _result([1]), _result([1], asking("v2", "EA", "zh"))
    with pytest.raises(WrongRequest, match="were asked about no task in the same language"):
        compare(_outcome(one), _outcome(other))
