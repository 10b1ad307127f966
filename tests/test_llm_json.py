"""Facts about reading real replies: those of three small models, and what a well-known repair library is tested with."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from json_repair import loads as library

from factory.errors import BadReply
from factory.mend import mended

DATA = Path(__file__).resolve().parents[1].parent / "shared/data/llm_json"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the replies of other projects are not here")


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


def ours(text: str) -> tuple[Any, str]:
    """What is read, or the reason why nothing is; any other error fails the test."""
    try:
        found = next(mended(text), None)
    except BadReply as err:
        return None, err.reason
    return (found.value, "read") if found else (None, "nothing")


def inside(raw: str) -> Any:
    """The valid JSON object of a reply, between its fences if it has any; None where the record ends before it does."""
    fenced = re.search(r"```\w*\n(.*?)```", raw, re.S)
    try:
        return json.loads(fenced[1] if fenced else raw)
    except json.JSONDecodeError:
        return None


def small_models() -> tuple[list[tuple[str, Any]], list[str], list[str]]:
    """The 204 replies: the whole ones with what they say, those of which the record ends early, those that are broken."""
    replies = rows("small_model_replies/replies.jsonl")
    whole = [(one["raw"], inside(one["raw"])) for one in replies if one["is_valid_json"]]
    broken = [one["raw"] for one in replies if not one["is_valid_json"]]
    return [one for one in whole if one[1] is not None], [raw for raw, said in whole if said is None], broken


def test_every_whole_reply_of_three_small_models_is_read_as_it_was_said() -> None:
    """163 of 163, fenced or bare, and so by the library alone."""
    whole, _, _ = small_models()
    assert len(whole) == 163
    assert [ours(raw) for raw, _ in whole] == [(said, "read") for _, said in whole]
    assert sum(library(raw) == said for raw, said in whole) == 163


def test_no_cut_off_reply_of_three_small_models_is_taken_for_whole() -> None:
    """12 that the models broke off and 29 that were recorded up to their 500th character; the library completes all."""
    _, recorded, broken = small_models()
    assert (len(recorded), len(broken)) == (29, 12)
    assert {ours(raw) for raw in recorded + broken} == {(None, "truncated")}
    assert sum(isinstance(library(raw), dict) for raw in recorded + broken) == 41


def pairs() -> list[tuple[str, Any]]:
    """Broken texts that the library reads as an object or array, with what it is to make of them.

    Left out are those for its own schemas and logs, and those of which it makes an empty text.
    """
    kept = []
    for one in rows("json_repair/pairs.jsonl"):
        said, options = one["expected"], one["kwargs"]
        if not (options.get("return_objects") or one["call"] == "loads"):
            said = json.loads(said) if isinstance(said, str) and said else said
        if isinstance(said, dict | list) and not {"schema", "logging"} & set(options):
            kept.append((one["input"], said))
    return kept


def test_of_the_library_s_own_pairs_ours_reads_what_is_there_and_refuses_what_is_not() -> None:
    """Of 208: 105 the same, 38 refused as cut off, 51 as guesses (a missing quote, value or name, dots, tuples); 14 differ.

    These are the library's rules, so it reads all of its own pairs but those of its streaming mode.
    """
    found = [(ours(text), said) for text, said in pairs()]
    same = sum(value == said for (value, _), said in found)
    reasons = [reason for (_, reason), _ in found]
    assert len(found) == 208
    assert same >= 105
    assert reasons.count("truncated") >= 38
    assert reasons.count("read") - same <= 14
    assert reasons.count("nothing") == 0
    assert sum(library(text) == said for text, said in pairs()) >= 200


def test_what_the_library_completes_is_a_cut_off_reply_here() -> None:
    """Of the pairs that are refused as cut off, none has its last bracket."""
    cut = [text.strip() for text, _ in pairs() if ours(text)[1] == "truncated"]
    assert sum(text[-1:] in "}]" for text in cut) <= 2
