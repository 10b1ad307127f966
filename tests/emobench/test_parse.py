"""Facts about how replies are read: the published parsers with their quirks, and the lenient one."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.emobench import parse
from factory.emobench.parse import NONE

FEELINGS = ("Relief", "Pride & Guilt", "Envy", "Dread", "Calm", "Longing")
ACTIONS = ("Wait outside", "Ask how she is", "Write a bill.", "Sing")


def _eu(text: str, language: str = "en") -> int:
    return parse.v1(text, FEELINGS, "EU", language)


def _ea(text: str, language: str = "en") -> int:
    return parse.v1(text, ACTIONS, "EA", language)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("(b)", 1),
        ("（Ｂ）".replace("Ｂ", "b"), 1),
        ("[c]", 2),
        ("The answer is: d", 3),
        ("Option B", 1),
        ("I take choice (a) here", 0),
        ("选项 c", 2),
        ("选项 (d)", 3),
        ("b", 1),
        ("b) Ask how she is", 1),
        ("B: because", 1),
        ("c.", 2),
        ("She should sing", 3),
        ("", NONE),
        ("nothing of the kind", NONE),
        ("b  so", NONE),
    ],
)
def test_v1_reads_each_of_its_forms(text: str, place: int) -> None:
    """Brackets, a colon, the word option or choice, the choice's own text, a bare letter, a letter with a mark behind."""
    assert _ea(text) == place


def test_v1_reads_lines_from_the_last_up() -> None:
    """A conclusion counts before what was weighed."""
    assert _ea("(a) is tempting\nbut in the end\n(c)") == 2
    assert _ea("(c)\n\nI hope that this helps!") == 2


def test_v1_takes_the_earliest_letter_of_a_line_and_the_earliest_form() -> None:
    """A line that names two choices gives the earlier letter, and brackets go before a colon whatever is meant."""
    assert _ea("not (d) but (b)") == 1
    assert _ea("answer: c, not (d)") == 3


def test_v1_finds_a_letter_in_a_word_behind_a_colon() -> None:
    """ ": annoyed" holds ": a"."""
    assert _ea("the person is: annoyed") == 0
    assert _ea("feeling: delighted") == 3


def test_v1_knows_six_letters_for_understanding_and_four_for_application() -> None:
    """A seventh choice cannot be said; a letter beyond the choices is a wrong answer, not an unread one."""
    assert _eu("(f)") == 5
    assert _ea("(f)") == NONE
    assert parse.v1("(g)", tuple("mnopqrs"), "EU", "en") == NONE
    assert parse.v1("(f)", tuple("mnop"), "EU", "en") == 5


def test_v1_looks_for_a_mixed_feeling_with_and_in_its_place() -> None:
    """An "&" of a choice becomes "and", or its Chinese word, so that its own text is not found."""
    assert _eu("She feels pride and guilt") == 1
    assert _eu("She feels pride & guilt") == NONE
    assert parse.v1("自豪和内疚", ("宽慰", "自豪 & 内疚"), "EU", "zh") == 1


def test_v1_drops_full_stops_of_the_reply_but_not_of_the_choice() -> None:
    """A choice that ends in a full stop is never found by its text."""
    assert _ea("Write a bill.") == NONE


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ('{"answer": "B"}', 1, 1),
        ('  {"answer": "B", "reasoning": "long"}\n', 1, 1),
        ('```json\n{"answer": "B"}\n```', 1, 1),
        ('Here it is:\n```json\n{"answer": "B"}\n```\nGood luck!', 1, 1),
        ('{"answer": "B) Ask how she is"}', NONE, 1),
        ('{"answer": "B)"}', NONE, 1),
        ('{"answer": "b"}', NONE, 1),
        ('{"answer": "(B)"}', NONE, 1),
        ('{"answer": "B."}', NONE, 1),
        ('{"answer": "Ask how she is"}', NONE, 1),
        ('{"answer": "B Ask how she is"}', NONE, 1),
        ('The answer is {"answer": "B"}', NONE, 1),
        ('```\n{"answer": "B"}\n```', NONE, 1),
        ('```json\n{"answer": "B"}', NONE, 1),
        ('{"answer": "B) Ask how', NONE, 1),
        ("{'answer': 'B'}", NONE, 1),
        ("answer: B", NONE, 1),
        ("B) Ask how she is", NONE, 1),
        ("**B**", NONE, 1),
        ("（Ｂ）", NONE, 1),
        ('{"answer": "Z"}', NONE, NONE),
        ('{"answer": "E"}', NONE, NONE),
        ('{"answer": ["B"]}', NONE, NONE),
        ('{"answer": 1}', NONE, NONE),
        ('{"answer": ""}', NONE, NONE),
        ('["B"]', NONE, 1),
        ("A person should wait", NONE, NONE),
        ("A or B", NONE, NONE),
        ("e.g. a walk", NONE, NONE),
        ("I would sing to her", NONE, NONE),
        ("", NONE, NONE),
    ],
)
def test_v2_is_strict_and_ours_reads_the_first_letter(text: str, strict: int, lenient: int) -> None:
    """Only one upper-case letter in JSON, whole or in a json block, counts under the protocol; "B)", "b", "B) text", prose
    before and other fences are read by ours, and what names no letter is by neither."""
    assert parse.v2(text, ("answer",), (len(ACTIONS),)) == (strict,)
    assert parse.lenient(text, ("answer",), (ACTIONS,)) == (lenient,)


def test_v2_reads_both_questions_of_understanding() -> None:
    """Each field by itself: one may be read where the other is not."""
    keys, choices = ("answer_q1", "answer_q2"), (FEELINGS, ACTIONS)
    text = '{"answer_q1": "F", "answer_q2": "b) Ask"}'
    assert parse.v2(text, keys, (6, 4)) == (5, NONE)
    assert parse.lenient(text, keys, choices) == (5, 1)
    assert parse.lenient("C and then D", keys, choices) == (NONE, NONE)
    assert parse.lenient('{"answer_q1": "C) Envy", "answer_q2": "D) Si', keys, choices) == (2, 3)


def test_the_last_object_with_all_fields_counts() -> None:
    """A model that repeats the form before it fills it is read by what it says last."""
    text = '{"answer": "(letter)"} ... {"answer": "C"} {"note": 1}'
    assert parse.lenient(text, ("answer",), (ACTIONS,)) == (2,)


def test_a_choice_that_begins_with_a_letter_is_not_that_letter() -> None:
    """ "A dog barked" as a whole reply is the choice of that text, wherever it stands."""
    choices = ("It rained", "The lamp was lit", "A dog barked")
    assert parse.first_letter("A dog barked", choices) == 2
    assert parse.first_letter("C a dog barked.", choices) == 2
    assert parse.first_letter("A dog slept", choices) == NONE


@given(st.text(max_size=60), st.sampled_from(("EU", "EA")))
def test_no_reply_raises(text: str, task: str) -> None:
    """Whatever a model says is a place or none."""
    choices = FEELINGS if task == "EU" else ACTIONS
    assert NONE <= parse.v1(text, choices, task, "en") < 6
    for said in (text, f'{{"answer": {json.dumps(text)}}}', f"```json\n{text}"):
        (strict,), (loose,) = parse.v2(said, ("answer",), (4,)), parse.lenient(said, ("answer",), (choices,))
        assert NONE <= strict < 4
        assert NONE <= loose < len(choices)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 100_000,
        '{"answer":' * 50_000,
        "```json" + " " * 100_000,
        '"answer": "' + "." * 100_000 + "a",
        "*" * 100_000 + " a",
        "answer" + '" ' * 50_000,
        '{"answer": ' + "1" * 100_000 + "}",
    ],
    ids=["braces", "nested", "open fence", "marks", "stars", "quotes", "number"],
)
def test_a_reply_made_to_be_slow_is_read_at_once(text: str) -> None:
    """A model that repeats itself to the end of its tokens costs no time and breaks nothing."""
    began = time.monotonic()
    parse.v1(text, ACTIONS, "EA", "en")
    parse.v2(text, ("answer",), (4,))
    parse.lenient(text, ("answer",), (ACTIONS,))
    assert time.monotonic() - began < 2
