"""Facts about the one-line contract of data, training and inference."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from factory.contract import Contract, line
from factory.taxonomy import LABELS

_LABELS = st.lists(st.sampled_from(LABELS), min_size=1, max_size=6, unique=True)
_UNIT = st.floats(0, 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(_LABELS, _UNIT, _UNIT, _UNIT, _TEXT)
def test_what_is_written_is_read_again(labels: list[str], v: float, a: float, d: float, why: str) -> None:
    """The line parses as the contract and says what was put in, numbers to two decimals."""
    said = Contract.model_validate_json(line(labels, v, a, d, why))
    assert (said.labels, said.rationale) == (labels, why)
    pairs = zip((said.vad.v, said.vad.a, said.vad.d), (v, a, d), strict=True)
    assert all(math.isclose(x, y, abs_tol=0.00501) for x, y in pairs)


@given(_LABELS, _UNIT, _TEXT)
def test_it_is_one_line_of_json(labels: list[str], v: float, why: str) -> None:
    """Whatever the rationale holds: a line break in it is written as an escape."""
    said = line(labels, v, v, v, why)
    assert "\n" not in said and "\r" not in said
    assert list(json.loads(said)) == ["labels", "vad", "rationale"]


def test_it_looks_as_the_design_shows_it() -> None:
    """Two decimals always, spaces after colons and commas, characters beyond ASCII as they are."""
    assert line(["joy", "relief"], 0.9, 0.5, 0, 'The café "opened".') == (
        '{"labels": ["joy", "relief"], "vad": {"v": 0.90, "a": 0.50, "d": 0.00}, "rationale": "The café \\"opened\\"."}'
    )


@pytest.mark.parametrize(
    "said",
    [
        '{"labels": ["bliss"], "vad": {"v": 0.5, "a": 0.5, "d": 0.5}, "rationale": "x"}',
        '{"labels": ["Joy"], "vad": {"v": 0.5, "a": 0.5, "d": 0.5}, "rationale": "x"}',
        '{"labels": [], "vad": {"v": 0.5, "a": 0.5, "d": 0.5}, "rationale": "x"}',
        '{"labels": ["joy"], "vad": {"v": 1.01, "a": 0.5, "d": 0.5}, "rationale": "x"}',
        '{"labels": ["joy"], "vad": {"v": -0.1, "a": 0.5, "d": 0.5}, "rationale": "x"}',
        '{"labels": ["joy"], "vad": {"v": 0.5, "a": 0.5}, "rationale": "x"}',
        '{"labels": ["joy"], "vad": {"v": 0.5, "a": 0.5, "d": 0.5}}',
        '{"labels": ["joy"], "vad": {"v": 0.5, "a": 0.5, "d": 0.5}, "rationale": "x", "note": 1}',
        '{"labels": ["joy"], "vad": {"v": NaN, "a": 0.5, "d": 0.5}, "rationale": "x"}',
    ],
)
def test_another_shape_is_refused(said: str) -> None:
    """A label outside the taxonomy, none at all, a number out of range, a missing or an unknown field."""
    with pytest.raises(ValidationError):
        Contract.model_validate_json(said)


@pytest.mark.parametrize(("labels", "v"), [(["gloomth"], 0.5), ([], 0.5), (["joy"], 1.2), (["joy"], math.nan)])
def test_no_wrong_line_can_be_written(labels: list[str], v: float) -> None:
    """The writer validates with the same model, so no target breaks the contract."""
    with pytest.raises(ValidationError):
        line(labels, v, 0.5, 0.5, "why")
