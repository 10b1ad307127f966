"""Emo Pillars stage 5, cleaning: take out of a context whatever speaks of the row's emotions, and change nothing else."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from factory.checks import added, names, prose
from factory.records import Batch, Context, Fault, Labels, Utterance
from factory.stages import Answer, Stage
from factory.stages.context import Said
from factory.stages.labels import missing, paired
from factory.taxonomy import NEUTRAL
from factory.text import one_line

SHORTEST = 6  # words
NEW_WORDS = 0.1  # share of words that mending a cut sentence may bring in


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning(Stage):
    checked: bool = True

    name: ClassVar[str] = "cleaning"
    said: ClassVar[type[Answer]] = Said
    record: ClassVar[type] = Context
    tokens: ClassVar[int] = 900
    temperature: ClassVar[float] = 0.0

    def feed(self, before: Batch, rows: Sequence[Context]) -> Iterator[Batch]:
        yield replace(before.pick({row.utterance_id for row in rows}), contexts=tuple(rows))

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(("actor", "contexts"))

    def ask(self, row: Batch) -> dict[str, str]:
        parts = (
            f"{n}. ({', '.join(emotions(u, one))}) {context.text}"
            for n, (u, one, context) in enumerate(zip(row.utterances, row.labels, row.contexts, strict=True), 1)
        )
        return {"actor": row.actor.name, "contexts": "\n".join(parts)}

    def rows(self, row: Batch, said: Said) -> Iterator[Context | Fault]:
        for (utterance, item), one, raw in zip(paired(row, said.items), row.labels, row.contexts, strict=True):
            if item is None:
                yield missing(utterance, row, raw.id)
                continue
            text = one_line(item.context)
            if found := self._wrong(text, raw.text, emotions(utterance, one)):
                yield Fault(id=raw.id, reason=found[0], detail=found[1], raw=text)
            else:
                yield replace(raw, text=text)

    def _wrong(self, text: str, raw: str, labels: Iterable[str]) -> tuple[str, str] | None:
        count = len(text.split())
        if not self.checked:
            return None if count else ("too_short", "the context is empty")
        if count < SHORTEST:
            return "too_short", f"{count} words are left; keep what happened, delete only what speaks of the feeling"
        if found := names(text, labels):
            return found
        if added(text, raw) > NEW_WORDS:
            return "adds_words", "only delete; do not tell it in other words"
        return prose(text, raw)


def emotions(utterance: Utterance, labels: Labels) -> tuple[str, ...]:
    """All emotions of a row: the one asked for and the ones kept, neutral left out."""
    return tuple(label for label in dict.fromkeys((utterance.emotion, *labels.labels)) if label != NEUTRAL) or (
        NEUTRAL,
    )
