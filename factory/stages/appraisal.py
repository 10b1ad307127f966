"""Appraisal: valence, arousal, dominance, four appraisals and one sentence why, for each labelled utterance.

Dimensions after EmoLoom-2B's contract and verifier (goal attainment, controllability, certainty, fairness). The
labels are not shown: the scores are a second, independent look.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from factory.checks import prose
from factory.records import Appraisal, Batch, Fault, Labels
from factory.stages import Answer, Hundredths, Place, Stage, Text, most
from factory.stages.labels import missing, paired
from factory.stages.utterances import numbered
from factory.text import one_line

DIMENSIONS = ("valence", "arousal", "dominance", "goal_attainment", "controllability", "certainty", "fairness")


class Item(Answer):
    n: Place
    valence: Hundredths
    arousal: Hundredths
    dominance: Hundredths
    goal_attainment: Hundredths
    controllability: Hundredths
    certainty: Hundredths
    fairness: Hundredths
    rationale: Text


class Said(Answer):
    items: Annotated[list[Item], most(40)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraisals(Stage):
    name: ClassVar[str] = "appraisal"
    said: ClassVar[type[Answer]] = Said
    record: ClassVar[type] = Appraisal
    tokens: ClassVar[int] = 1800
    temperature: ClassVar[float] = 0.0

    @property
    def prompt(self) -> str:
        return "appraisal"

    def feed(self, before: Batch, rows: Sequence[Labels]) -> Iterator[Batch]:
        labelled = before.pick({row.id for row in rows})
        yield replace(labelled, labels=tuple(rows))

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(("passage", "actor", "utterances"))

    def ask(self, row: Batch) -> dict[str, str]:
        said = numbered(u.text for u in row.utterances)
        return {"passage": row.passage.text, "actor": row.actor.name, "utterances": said}

    def rows(self, row: Batch, said: Said) -> Iterator[Appraisal | Fault]:
        for utterance, item in paired(row, said.items):
            if item is None:
                yield missing(utterance, row)
                continue
            rationale = one_line(item.rationale)
            if not 3 <= len(rationale.split()) <= 40 or prose(rationale):
                detail = "give the rationale as one sentence of 3 to 40 words about the person who speaks"
                yield Fault(id=utterance.id, reason="bad_rationale", detail=detail, raw=rationale)
                continue
            yield Appraisal(
                id=utterance.id,
                source_id=utterance.source_id,
                passage_id=utterance.passage_id,
                rationale=rationale,
                **{name: round(getattr(item, name), 2) for name in DIMENSIONS},
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipAppraisals(Appraisals):
    """The last word on a flip: its valence must lie on the other side of 0.5 than its original's."""

    name: ClassVar[str] = "flip_appraisal"

    def rows(self, row: Batch, said: Said) -> Iterator[Appraisal | Fault]:
        before = row.valence if row.valence is not None else 0.5
        for child in super(FlipAppraisals, self).rows(row, said):
            if isinstance(child, Appraisal) and (child.valence - 0.5) * (before - 0.5) >= 0:
                detail = f"valence went from {before:g} to {child.valence:g} without crossing 0.5"
                yield Fault(id=child.id, reason="flip_not_confirmed", detail=detail, final=True)
            else:
                yield child
