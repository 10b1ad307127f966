"""Emo Pillars stage 6, rewriting: the utterance becomes ambiguous unless its context is known."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from factory.checks import dice, explicitness, names, prose
from factory.records import Batch, Context, Fault, Rewritten
from factory.stages import Answer, Place, Stage, Text, most
from factory.stages.cleaning import emotions
from factory.stages.labels import missing, paired
from factory.text import normal, one_line

NEAR = 0.3  # Dice overlap with the original


class Item(Answer):
    n: Place
    text: Text


class Said(Answer):
    items: Annotated[list[Item], most(40)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting(Stage):
    checked: bool = True

    name: ClassVar[str] = "rewriting"
    said: ClassVar[type[Answer]] = Said
    record: ClassVar[type] = Rewritten
    tokens: ClassVar[int] = 500
    temperature: ClassVar[float] = 0.5

    def feed(self, before: Batch, rows: Sequence[Context]) -> Iterator[Batch]:
        yield replace(before.pick({row.utterance_id for row in rows}), contexts=tuple(rows))

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(("actor", "utterances"))

    def ask(self, row: Batch) -> dict[str, str]:
        parts = (
            f"{n}. ({', '.join(emotions(u, one))}) {one_line(u.text)}"
            for n, (u, one) in enumerate(zip(row.utterances, row.labels, strict=True), 1)
        )
        return {"actor": row.actor.name, "utterances": "\n".join(parts)}

    def rows(self, row: Batch, said: Said) -> Iterator[Rewritten | Fault]:
        for (utterance, item), one in zip(paired(row, said.items), row.labels, strict=True):
            ident = f"{utterance.id}.r"
            if item is None:
                yield missing(utterance, row, ident)
                continue
            text = one_line(item.text)
            if found := self._wrong(text, utterance.text, emotions(utterance, one)):
                yield Fault(id=ident, reason=found[0], detail=found[1], raw=text)
                continue
            yield Rewritten(
                id=ident,
                source_id=utterance.source_id,
                passage_id=utterance.passage_id,
                utterance_id=utterance.id,
                text=text,
                overlap=round(dice(text, utterance.text), 3),
            )

    def _wrong(self, text: str, original: str, labels: Iterable[str]) -> tuple[str, str] | None:
        if not text:
            return "too_short", "the text is empty"
        if not self.checked:
            return None
        if normal(text) == normal(original):
            return "unchanged", "the text is the original; make its feeling less plain"
        if len(text.split()) > len(original.split()) + 2:
            return "too_long", "stay as short as the original"
        if found := names(text, labels):
            return found
        if dice(text, original) < NEAR:
            return "too_far", "stay near the words of the original"
        if not _quieter(text, original):
            return "not_less_explicit", "take out what shows the feeling: strong words, exclamations, outbursts"
        return prose(text)


def _quieter(text: str, original: str) -> bool:
    """Fewer loud words, or as few and a shorter text."""
    loud, before = explicitness(text), explicitness(original)
    return loud < before or (loud == before and len(text) < len(original))
