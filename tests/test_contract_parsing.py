"""Facts about reading the contract out of what a model answered: strictly, in the tail, or not at all."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.contract import line, parsed
from factory.taxonomy import LABELS

GOOD = line(["joy", "relief"], 0.9, 0.5, 0.4, "It ended well.")
OTHER = line(["anger"], 0.1, 0.8, 0.6, "It was taken away.")


@given(
    st.lists(st.sampled_from(LABELS), min_size=1, max_size=6, unique=True),
    st.floats(0, 1),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_every_line_that_is_written_is_read_strictly(labels: list[str], v: float, why: str) -> None:
    """Whatever the rationale holds, braces and line breaks too, for JSON escapes what would end the line."""
    said = parsed(line(labels, v, v, v, why))
    assert said.contract is not None and said.how == "strict"
    assert (said.contract.labels, said.contract.rationale) == (labels, why)


def test_the_line_alone_is_strict_and_white_space_around_it_is_no_fault() -> None:
    """A model may end its line."""
    for text in (GOOD, f"{GOOD}\n", f"  {GOOD} \n\n"):
        assert parsed(text).how == "strict"


@pytest.mark.parametrize(
    "text",
    [
        f"Sure! {GOOD}",
        f"{GOOD} I hope this helps.",
        f"```json\n{GOOD}\n```",
        f"<think>\nIs it {OTHER}?\n</think>\n\n{GOOD}",
        f"{OTHER}\n{GOOD}",
        json.dumps(json.loads(GOOD), indent=2),
        f'{{"labels": ["joy", {GOOD}',
        f"{{ {{{{ }} {GOOD} }}",
    ],
    ids=["before", "behind", "fence", "thought", "two", "pretty", "begun anew", "braces"],
)
def test_the_last_object_in_the_text_is_found(text: str) -> None:
    """Words around it, a fence, a thought, a first try, several lines: found, and told apart from the strict line."""
    said = parsed(text)
    assert said.how == "tail"
    assert said.contract is not None and said.contract.labels == ["joy", "relief"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "joy",
        GOOD[:-1],
        f'{GOOD} {{"note": 1}}',
        f"[{GOOD[1:]}",
        GOOD.replace("0.90", '"0.90"'),
        GOOD.replace("0.90", "true"),
        GOOD.replace("0.90", "1.90"),
        GOOD.replace("0.90", "NaN"),
        GOOD.replace("joy", "bliss"),
        GOOD.replace('"joy", "relief"', ""),
        GOOD.replace('"rationale"', '"reason"'),
        GOOD.replace("It ended", "\ud800"),
        GOOD.replace('"', "'"),
    ],
)
def test_what_is_not_the_contract_is_none(text: str) -> None:
    """Cut off, another object last, a number as text, out of range, a label outside the taxonomy: nothing is mended."""
    assert parsed(text) == (None, "none")


def test_a_part_of_a_broken_object_is_not_taken_for_an_object() -> None:
    """The vad inside a cut line is a whole object, and no contract."""
    assert parsed(GOOD[: GOOD.index(', "rationale"')]).contract is None


def test_an_object_inside_another_is_not_looked_at() -> None:
    """A contract that is only quoted in a larger answer is not the answer."""
    assert parsed(f'{{"answer": {GOOD}}}').contract is None


@pytest.mark.parametrize(
    "text", ['{"\\"' * 50_000, "{" * 200_000, '{"a":' * 50_000, "{}" * 100_000, '{"a":[1,' * 50_000]
)
def test_hostile_text_costs_no_time(text: str) -> None:
    """No reply, however long and nested, holds up an evaluation."""
    began = time.process_time()
    assert parsed(text).contract is None
    assert time.process_time() - began < 1
