"""Emo Pillars stage 2, utterances: what an actor might think aloud under each of eight emotions, and twice under none."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import WithJsonSchema

from factory import checks
from factory.deal import deal
from factory.records import Actor, Fault, Passage, Utterance
from factory.requests import row_seed
from factory.stages import Answer, Stage, Text, most
from factory.taxonomy import DEFINITIONS, LABELS, NEUTRAL, resolve
from factory.text import one_line, words

# The engine decodes under the closed list; a server that cannot may say anything, which is then the child's fault.
Emotion = Annotated[str, WithJsonSchema({"type": "string", "enum": list(LABELS)})]


class Spoken(Answer):
    emotion: Emotion
    text: Text


class Said(Answer):
    utterances: Annotated[list[Spoken], most(40)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """One actor and the emotions dealt to it, `neutral` last; empty where the model picks them."""

    id: str
    passage: Passage
    actor: Actor
    asked: tuple[str, ...]

    @property
    def source_id(self) -> str:
        return self.passage.source_id

    @property
    def passage_id(self) -> str:
        return self.passage.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterances(Stage):
    """`dealt=False` and `checked=False` are the paper's way: the model picks its emotions and nothing is looked at."""

    emotions: int = 8
    neutrals: int = 2
    seed: int = 0
    dealt: bool = True
    checked: bool = True

    name: ClassVar[str] = "utterances"
    said: ClassVar[type[Answer]] = Said
    record: ClassVar[type] = Utterance
    tokens: ClassVar[int] = 900
    temperature: ClassVar[float] = 0.8

    @property
    def prompt(self) -> str:
        return "utterances" if self.dealt else "utterances_paper"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(("passage", "actor", *(("character", "emotions") if self.dealt else ())))

    def feed(self, before: Passage, rows: Sequence[Actor]) -> Iterator[Speaker]:
        for number, actor in enumerate(rows):
            asked: tuple[str, ...] = ()
            if self.dealt:
                asked = deal(before.index, number, self.seed, self.emotions) + (NEUTRAL,) * self.neutrals
            yield Speaker(id=actor.id, passage=before, actor=actor, asked=asked)

    def ask(self, row: Speaker) -> dict[str, str]:
        fields = {"passage": row.passage.text, "actor": row.actor.name}
        if not self.dealt:
            return fields
        asked = "\n".join(f"{n}. {label}: {DEFINITIONS[label]}" for n, label in enumerate(row.asked, 1))
        return fields | {"character": row.actor.line, "emotions": asked}

    def least(self, row: Speaker) -> int:
        """Six of ten, or the same share of another number."""
        return max(1, round(0.6 * (self.emotions + self.neutrals)))

    def rows(self, row: Speaker, said: Said) -> Iterator[Utterance | Fault]:
        if not self.dealt:
            yield from self._as_said(row, said)
            return
        waiting = [(resolve(one.emotion).label, one_line(one.text)) for one in said.utterances]
        seen: list[set[str]] = []
        for number, emotion in enumerate(row.asked, 1):
            text = _take(waiting, emotion)
            yield self._one(row, number, emotion, text, seen)

    def clashes(self, good: Sequence[Utterance]) -> Iterator[Fault]:
        """An attempt cannot see what an earlier one said, and may say it again under another emotion."""
        seen: list[set[str]] = []
        for one in good if self.checked else ():
            own = set(words(one.text))
            if any(checks.twins(own, other) for other in seen):
                detail = f"{one.emotion}: says the same as another one; make each its own"
                yield Fault(id=one.id, reason="duplicate", detail=detail, raw=one.text)
            else:
                seen.append(own)

    def _as_said(self, row: Speaker, said: Said) -> Iterator[Utterance | Fault]:
        for number, one in enumerate(said.utterances[: self.emotions + self.neutrals], 1):
            label = resolve(one.emotion).label
            if label is None:
                yield Fault(
                    id=f"{row.id}.u{number}", reason="wrong_emotion", detail=f"'{one.emotion}' is not in the list"
                )
            else:
                yield self._one(row, number, label, one_line(one.text), [])

    def _one(
        self, row: Speaker, number: int, emotion: str, text: str | None, seen: list[set[str]]
    ) -> Utterance | Fault:
        ident = f"{row.id}.u{number}"
        if text is None:
            return Fault(id=ident, reason="missing", detail=f"number {number}, {emotion}, is not in the answer")
        tokens = words(text)
        if self.checked and (found := self._wrong(text, row.actor.name, tokens, seen)):
            return Fault(id=ident, reason=found[0], detail=f"number {number}, {emotion}: {found[1]}", raw=text)
        if not text:
            return Fault(id=ident, reason="too_short", detail=f"number {number}, {emotion}, is empty")
        seen.append(set(tokens))
        return Utterance(
            id=ident,
            source_id=row.source_id,
            passage_id=row.passage_id,
            actor_id=row.actor.id,
            actor=row.actor.name,
            character=row.actor.line,
            emotion=emotion,
            text=text,
            seed=row_seed(row.id, self.name, self.seed),
        )

    @staticmethod
    def _wrong(text: str, actor: str, tokens: list[str], seen: list[set[str]]) -> tuple[str, str] | None:
        if found := checks.utterance(text, actor, tokens):
            return found
        own = set(tokens)
        if any(checks.twins(own, other) for other in seen):
            return "duplicate", "says the same as another one; make each its own"
        return None


def _take(waiting: list[tuple[str | None, str]], emotion: str) -> str | None:
    """The next text said for this emotion, once: equal labels (neutral twice) take one each."""
    for place, (label, text) in enumerate(waiting):
        if label == emotion:
            del waiting[place]
            return text
    return None


def numbered(texts: Iterable[str]) -> str:
    """'1. ...' one a line: how a prompt shows an actor's utterances."""
    return "\n".join(f"{n}. {one_line(text)}" for n, text in enumerate(texts, 1))
