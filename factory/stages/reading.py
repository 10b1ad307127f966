"""Soft labels by reading (ours): how likely each label is as the model's next token, one request for each utterance.

Nothing is written: each label has a code of one token, and the engine gives the log-probabilities of these as the first
token of the answer. The distribution stands beside the asked intensities; neither is made from the other. As there,
neither the passage nor the emotion that was asked for is shown.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any, ClassVar

import orjson

from factory.errors import BadReply
from factory.records import Appraisal, Batch, Labels, Reading
from factory.requests import Request, Sampling, row_seed
from factory.stages import Asking, Outcome, Stage, Talk
from factory.text import one_line

# In taxonomy order. Words will not do: disappointment, disapproval and disgust begin with the same token. Letters, not
# digits, for the two after Z: tokenizers of the Llama 2 family have " a" as one token, but part " 1" into two.
CODES: tuple[str, ...] = (*ascii_uppercase, "a", "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings(Stage):
    """One unit for each labelled utterance; accepted with its one row, or rejected as `no_reading`.

    It has no schema and no repairs: the same question gives the same distribution.
    """

    name: ClassVar[str] = "reading"
    record: ClassVar[type] = Reading
    tokens: ClassVar[int] = 1
    temperature: ClassVar[float] = 1.0

    @property
    def prompt(self) -> str:
        return "reading"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(("utterance",))

    def feed(self, before: Batch, rows: Sequence[Any]) -> Iterator[Batch]:
        return alone(before, rows)

    def ask(self, row: Batch) -> dict[str, str]:
        return {"utterance": one_line(row.utterances[0].text)}

    def talk(self, row: Batch, asking: Asking, round_: int) -> Talk:
        reply = yield self.request(row, asking, round_)
        try:
            found = likelihoods(reply.text)
        except BadReply as err:
            return Outcome(reason=err.reason, detail=err.detail, raw=reply.text)
        return Outcome(rows=(read(row, found),))

    def request(self, row: Batch, asking: Asking, round_: int) -> Request:
        """The paper's decoding is not followed here: what is read is the distribution itself."""
        fields = self.ask(row)
        seed = row_seed(row.id, self.name, asking.seed, *([round_] if round_ else []))
        return Request(
            stage=self.name,
            unit=row.id,
            messages=asking.book[self.prompt].render(fields),
            schema="",
            sampling=Sampling(temperature=self.temperature, max_tokens=self.tokens, seed=seed),
            round=round_,
            read=CODES,
            fields=fields,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipReadings(Readings):
    """The same for flips that were confirmed; those that were not are no rows."""

    name: ClassVar[str] = "flip_reading"

    def feed(self, before: Batch, rows: Sequence[Appraisal]) -> Iterator[Batch]:
        confirmed = {row.id for row in rows}
        return alone(before, [labels for labels in before.labels if labels.id in confirmed])


def alone(before: Batch, rows: Sequence[Labels]) -> Iterator[Batch]:
    """A batch of its own for each utterance that has labels; its id is the utterance's."""
    labelled = {row.id: row for row in rows}
    for utterance in before.utterances:
        if utterance.id in labelled:
            yield replace(
                before,
                id=utterance.id,
                utterances=(utterance,),
                labels=(labelled[utterance.id],),
                appraisals=(),
                contexts=(),
            )


def read(row: Batch, found: Sequence[float]) -> Reading:
    """The row of one utterance from the likelihoods of the codes as the next token."""
    (utterance,), (labels,) = row.utterances, row.labels
    mass = math.fsum(found)
    probabilities = tuple(one / mass for one in found)
    return Reading(
        id=utterance.id,
        source_id=utterance.source_id,
        passage_id=utterance.passage_id,
        probabilities=probabilities,
        entropy=entropy(probabilities),
        mass=min(1.0, mass),
        agreement=agreement(probabilities, labels.intensities),
    )


def likelihoods(text: str) -> tuple[float, ...]:
    """The probability, 0 to 1, of each code as the next token, 0 where the engine could not read it.

    `text` is a reply to a request with `read`; BadReply where it is none, or holds none of the codes.
    """
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise BadReply("no_reading", "the reply is no JSON object of log-probabilities")
    found = tuple(_likelihood(said.get(code)) for code in CODES)
    if not any(found):
        raise BadReply("no_reading", "no code is among the log-probabilities of the next token")
    if math.fsum(found) > _MOST:
        raise BadReply("no_reading", f"the probabilities of the codes add up to {math.fsum(found):.3g}, more than 1")
    return tuple(min(1.0, one) for one in found)


_MOST = 1.01  # a sum of probabilities, with what engines round in half precision


def _likelihood(logarithm: object) -> float:
    """Servers write -9999 for a token that they did not rank: that is 0, as is what is no number; above 1 is wrong."""
    if isinstance(logarithm, bool):
        raise BadReply("no_reading", "true or false is no log-probability")
    if not isinstance(logarithm, int | float):
        return 0.0
    return math.exp(min(1.0, logarithm))


def entropy(probabilities: Sequence[float]) -> float:
    """In nats over the logarithm of their number: 0 where one has all, 1 where all have the same."""
    return _within(_nats(probabilities) / math.log(len(probabilities)))


def agreement(probabilities: Sequence[float], intensities: Sequence[float]) -> float | None:
    """1 less the Jensen-Shannon divergence in bits of two distributions, the second brought to the sum 1.

    1 where they are the same, 0 where they share no label; None where the intensities are all 0.
    """
    total = math.fsum(intensities)
    if not total:
        return None
    asked = [one / total for one in intensities]
    middle = [(one + other) / 2 for one, other in zip(probabilities, asked, strict=True)]
    divergence = _nats(middle) - (_nats(probabilities) + _nats(asked)) / 2
    return _within(1 - divergence / math.log(2))


def _nats(probabilities: Sequence[float]) -> float:
    return -math.fsum(one * math.log(one) for one in probabilities if one)


def _within(value: float) -> float:
    """Without what rounding put beyond 0 and 1."""
    return min(1.0, max(0.0, value))
