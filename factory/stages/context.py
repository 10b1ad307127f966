"""Emo Pillars stage 4, context: what had happened up to the moment of the utterance, and nothing after it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from factory.checks import prose
from factory.records import Batch, Context, Fault, Labels
from factory.requests import draw
from factory.stages import Answer, Place, Stage, most
from factory.stages.labels import missing, paired
from factory.stages.utterances import numbered
from factory.text import normal, one_line

SHORTEST, LONGEST = 8, 150  # words


class Item(Answer):
    n: Place
    context: Annotated[str, most(1500)]


class Said(Answer):
    items: Annotated[list[Item], most(40)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts(Stage):
    """`share` of the labelled utterances, chosen by hash, go on to context, cleaning and rewriting."""

    share: float = 1 / 3
    seed: int = 0
    checked: bool = True

    name: ClassVar[str] = "context"
    said: ClassVar[type[Answer]] = Said
    record: ClassVar[type] = Context
    tokens: ClassVar[int] = 900
    temperature: ClassVar[float] = 0.5

    def feed(self, before: Batch, rows: Sequence[Labels]) -> Iterator[Batch]:
        chosen = [row for row in rows if draw(row.id, "context", self.seed) < self.share]
        if chosen:
            yield replace(before.pick({row.id for row in chosen}), labels=tuple(chosen))

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(("passage", "actor", "utterances"))

    def ask(self, row: Batch) -> dict[str, str]:
        said = numbered(u.text for u in row.utterances)
        return {"passage": row.passage.text, "actor": row.actor.name, "utterances": said}

    def rows(self, row: Batch, said: Said) -> Iterator[Context | Fault]:
        for utterance, item in paired(row, said.items):
            ident = f"{utterance.id}.c"
            if item is None:
                yield missing(utterance, row, ident)
                continue
            text = one_line(item.context)
            if found := self._wrong(text, utterance.text, row.passage.text):
                yield Fault(id=ident, reason=found[0], detail=found[1], raw=text)
                continue
            yield Context(
                id=ident,
                source_id=utterance.source_id,
                passage_id=utterance.passage_id,
                utterance_id=utterance.id,
                text=text,
            )

    def _wrong(self, text: str, utterance: str, story: str) -> tuple[str, str] | None:
        count = len(text.split())
        if not self.checked:
            return None if count else ("too_short", "the context is empty")
        if count < SHORTEST:
            return "too_short", f"{count} words; tell the situation in {SHORTEST} to {LONGEST} words"
        if count > LONGEST:
            return "too_long", f"{count} words; tell the situation in {SHORTEST} to {LONGEST} words"
        if normal(utterance) in normal(text):
            return "quotes_utterance", "the context holds the utterance itself; end just before it is said"
        return prose(text, story)
