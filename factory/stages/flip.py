"""Valence flip (ours, after EmoLoom-2B's mirrored pairs): the event turns round, and the feeling with it.

A flip ends the line: it is labelled again by the labeller that does not see the target, appraised, and kept only
where the mirrored emotion was found and valence crossed 0.5. It is never flipped again and gets no context.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from factory import checks
from factory.records import Appraisal, Batch, Fault, Flip
from factory.requests import draw, row_seed
from factory.stages import Answer, Stage, Text
from factory.taxonomy import flip
from factory.text import normal, one_line

FAR = 0.15  # Dice overlap below which nothing of the original is left


class Said(Answer):
    text: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips(Stage):
    """At most `share` of the originals, by hash; rows of mixed valence, neutral and caring rows have no mirror."""

    share: float = 0.15
    seed: int = 0

    name: ClassVar[str] = "flip"
    said: ClassVar[type[Answer]] = Said
    record: ClassVar[type] = Flip
    tokens: ClassVar[int] = 200
    temperature: ClassVar[float] = 0.7

    def feed(self, before: Batch, rows: Sequence[Appraisal]) -> Iterator[Batch]:
        valence = {row.id: row.valence for row in rows}
        for utterance, one in zip(before.utterances, before.labels, strict=True):
            if utterance.id not in valence or draw(utterance.id, "flip", self.seed) >= self.share:
                continue
            mirrored = flip(one.labels)
            if mirrored is None or valence[utterance.id] == 0.5:
                continue
            targets = tuple(label for label in mirrored if label not in one.labels)
            if targets:
                yield Batch(
                    id=f"{utterance.id}.f",
                    passage=before.passage,
                    actor=before.actor,
                    utterances=(utterance,),
                    labels=(one,),
                    targets=targets,
                    valence=valence[utterance.id],
                )

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(("actor", "utterance", "emotions", "targets"))

    def ask(self, row: Batch) -> dict[str, str]:
        (utterance,), (labels,) = row.utterances, row.labels
        return {
            "actor": row.actor.name,
            "utterance": one_line(utterance.text),
            "emotions": ", ".join(labels.labels),
            "targets": ", ".join(row.targets),
        }

    def rows(self, row: Batch, said: Said) -> Iterator[Flip | Fault]:
        (original,) = row.utterances
        text = one_line(said.text)
        if found := _wrong(text, original.text, row.actor.name):
            yield Fault(id=row.id, reason=found[0], detail=found[1], raw=text)
            return
        yield Flip(
            id=row.id,
            source_id=original.source_id,
            passage_id=original.passage_id,
            actor_id=original.actor_id,
            actor=original.actor,
            character=original.character,
            emotion=row.targets[0],
            text=text,
            seed=row_seed(row.id, self.name, self.seed),
            pair_id=original.id,
        )


def _wrong(text: str, original: str, actor: str) -> tuple[str, str] | None:
    if found := checks.utterance(text, actor):
        return found
    if normal(text) == normal(original):
        return "unchanged", "the text is the original; turn the event round"
    if checks.dice(text, original) < FAR:
        return "too_far", "nothing of the original is left; change the event and keep the rest"
    return None
