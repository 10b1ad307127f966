"""The one JSON contract of data, training and inference (DESIGN section 7): one line, labels, VAD, one short sentence."""

from collections.abc import Sequence
from json import JSONDecoder
from typing import Annotated, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field

from factory.taxonomy import LABELS

Label = Literal[LABELS]  # type: ignore[valid-type]  # mypy wants the words written out
Unit = Annotated[float, Field(ge=0, le=1)]

SYSTEM = (
    "You read one utterance and answer with one line of JSON: labels (one or more of the 28 GoEmotions labels, the "
    "strongest first), vad (valence v, arousal a and dominance d from 0.00 to 1.00) and rationale (one short sentence)."
)


_TAIL = (
    5_000  # characters of a reply that are searched: a contract has under a thousand, and odd replies take their square
)
_JSON = JSONDecoder()


class Vad(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    v: Unit
    a: Unit
    d: Unit


class Contract(BaseModel):
    """The answer that a model is trained to give and measured by."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    labels: Annotated[list[Label], Field(min_length=1)]
    vad: Vad
    rationale: str


def line(labels: Sequence[str], v: float, a: float, d: float, rationale: str) -> str:
    """The contract as its one line, numbers with two decimals."""
    said = Contract(labels=list(labels), vad=Vad(v=v, a=a, d=d), rationale=rationale)
    named = '", "'.join(said.labels)
    why = orjson.dumps(said.rationale).decode()
    return f'{{"labels": ["{named}"], "vad": {{"v": {v:.2f}, "a": {a:.2f}, "d": {d:.2f}}}, "rationale": {why}}}'


class Said(NamedTuple):
    """What a model answered, and how it was found: `strict` (the whole line), `tail` (the last object in the text), `none`."""

    contract: Contract | None
    how: Literal["strict", "tail", "none"]


def parsed(text: str) -> Said:
    """Reads an answer without mending it: first as the one line that it should be, then the last JSON object in it.

    White space around the line is no fault. Where the last object is something else, an earlier one is not taken instead.
    """
    whole = text.strip()
    if "\n" not in whole and "\r" not in whole and (found := _contract(whole)):
        return Said(found, "strict")
    if found := _contract(last_object(text)):
        return Said(found, "tail")
    return Said(None, "none")


def _contract(text: str) -> Contract | None:
    try:
        return Contract.model_validate_json(text, strict=True)
    except ValueError:  # pydantic's own is one; half a character cannot even be read
        return None


def last_object(text: str) -> str:
    """The last JSON object that stands inside no other, as text; '' where there is none."""
    text = text[-_TAIL:]
    start, last = text.find("{"), ""
    while start >= 0:
        try:
            end = _JSON.raw_decode(text, start)[1]
        except (ValueError, RecursionError):
            end = start + 1
        else:
            last = text[start:end]
        start = text.find("{", end)
    return last
