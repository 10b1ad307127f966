"""The one JSON contract of data, training and inference (DESIGN section 7): one line, labels, VAD, one short sentence."""

from collections.abc import Sequence
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from factory.taxonomy import LABELS

Label = Literal[LABELS]  # type: ignore[valid-type]  # mypy wants the words written out
Unit = Annotated[float, Field(ge=0, le=1)]

SYSTEM = (
    "You read one utterance and answer with one line of JSON: labels (one or more of the 28 GoEmotions labels, the "
    "strongest first), vad (valence v, arousal a and dominance d from 0.00 to 1.00) and rationale (one short sentence)."
)


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
