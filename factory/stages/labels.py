"""Emo Pillars stage 3, soft labels: how strongly each emotion shows in the utterance alone, the passage removed.

The paper primes the labeller with the emotion asked for and scores one utterance a call; by default ours does
neither: it sees all utterances of an actor, and nothing of what they were made for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from factory.records import Batch, Fault, Labels, Score, Utterance
from factory.stages import Answer, Place, Stage, Tenths, most
from factory.stages.utterances import Emotion, numbered
from factory.taxonomy import ID, LABELS, resolve

_LONG = 100  # characters of a raw word that are kept


class Scored(Answer):
    label: Emotion
    score: Tenths


class Item(Answer):
    n: Place
    scores: Annotated[list[Scored], most(8)]


class Said(Answer):
    items: Annotated[list[Item], most(40)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftLabels(Stage):
    """`primed=True` is the paper's way: one utterance a call, with the emotion it was made for."""

    threshold: float = 0.3
    loose: bool = False
    primed: bool = False

    name: ClassVar[str] = "labels"
    said: ClassVar[type[Answer]] = Said
    record: ClassVar[type] = Labels
    tokens: ClassVar[int] = 1200
    temperature: ClassVar[float] = 0.0

    @property
    def prompt(self) -> str:
        return "labels_paper" if self.primed else "labels"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(("utterances", "emotion") if self.primed else ("utterances",))

    def feed(self, before: Any, rows: Sequence[Any]) -> Iterator[Batch]:
        one_by_one = [(row,) for row in rows]
        for some in one_by_one if self.primed else [tuple(rows)]:
            ident = some[0].id if self.primed else before.id
            yield Batch(id=ident, passage=before.passage, actor=before.actor, utterances=some)

    def ask(self, row: Batch) -> dict[str, str]:
        fields = {"utterances": numbered(u.text for u in row.utterances)}
        return fields | {"emotion": row.utterances[0].emotion} if self.primed else fields

    def rows(self, row: Batch, said: Said) -> Iterator[Labels | Fault]:
        for utterance, item in paired(row, said.items):
            if item is None:
                yield missing(utterance, row)
                continue
            labels = self.read(utterance, row.actor.name, item.scores)
            yield labels if labels.labels else self._unlabelled(labels)

    def read(self, utterance: Utterance, actor: str, scores: Sequence[Scored]) -> Labels:
        """Raw, mapped and kept side by side; of several raw words for one label the strongest counts."""
        mapped: dict[str, float] = {}
        unmapped: list[str] = []
        for one in scores:
            label = resolve(one.label, (actor,), self.loose).label
            if label is None:
                unmapped.append(one.label[:_LONG])
            else:
                mapped[label] = max(mapped.get(label, 0.0), round(one.score, 1))
        ranked = sorted(mapped.items(), key=lambda pair: (-pair[1], ID[pair[0]]))
        return Labels(
            id=utterance.id,
            source_id=utterance.source_id,
            passage_id=utterance.passage_id,
            raw=tuple(Score(one.label[:_LONG], one.score) for one in scores),
            mapped=tuple(Score(label, score) for label, score in ranked),
            labels=tuple(label for label, score in ranked if score >= self.threshold - 1e-9),
            intensities=tuple(mapped.get(label, 0.0) for label in LABELS),
            unmapped=tuple(unmapped),
        )

    def _unlabelled(self, labels: Labels) -> Fault:
        said = ", ".join(f"{s.label} {s.score:g}" for s in labels.raw) or "nothing"
        return Fault(id=labels.id, reason="no_label", detail=f"none reaches {self.threshold:g}: {said}", final=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipLabels(SoftLabels):
    """The same labeller on a flipped utterance, which must find the mirrored emotion without having seen it."""

    name: ClassVar[str] = "flip_labels"

    def feed(self, before: Any, rows: Sequence[Any]) -> Iterator[Batch]:
        for flip in rows:
            utterance = Utterance(**{f: getattr(flip, f) for f in Utterance.__dataclass_fields__})
            yield Batch(
                id=flip.id,
                passage=before.passage,
                actor=before.actor,
                utterances=(utterance,),
                targets=before.targets,
                valence=before.valence,
            )

    def rows(self, row: Batch, said: Said) -> Iterator[Labels | Fault]:
        for child in super(FlipLabels, self).rows(row, said):
            if isinstance(child, Labels) and row.targets[0] not in child.labels:
                detail = f"{row.targets[0]} is not among {', '.join(child.labels)}"
                yield Fault(id=child.id, reason="flip_not_confirmed", detail=detail, final=True)
            else:
                yield child


def paired(row: Batch, items: Sequence[Any]) -> Iterator[tuple[Utterance, Any]]:
    """Each utterance of the batch with the item that carries its number, or None; the first of equal numbers counts."""
    by_number: dict[int, Any] = {}
    for item in items:
        by_number.setdefault(item.n, item)
    for number, utterance in enumerate(row.utterances, 1):
        yield utterance, by_number.get(number)


def missing(utterance: Utterance, row: Batch, ident: str | None = None) -> Fault:
    number = row.utterances.index(utterance) + 1
    return Fault(id=ident or utterance.id, reason="missing", detail=f"number {number} is not in the answer")
