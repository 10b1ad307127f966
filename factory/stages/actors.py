"""Emo Pillars stage 1, actors: who acts in the passage, each with one line that says only what the passage says."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from factory.checks import strange
from factory.records import Actor, Fault, Passage
from factory.stages import Answer, Line, Stage, most
from factory.text import one_line, words


class Named(Answer):
    name: Line
    line: Line


class Said(Answer):
    actors: Annotated[list[Named], most(50)]


_ARTICLE = re.compile(r"^(?:the|a|an)\s+", re.I)
_NOBODY = frozenset(
    [
        "he",
        "she",
        "it",
        "they",
        "i",
        "we",
        "you",
        "him",
        "her",
        "them",
        "who",
        "everyone",
        "someone",
        "somebody",
        "nobody",
        "narrator",
        "author",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actors(Stage):
    """Actors are anchored: each name stands in the passage. At most `most` are kept, in the order of the answer."""

    most: int = 6

    name: ClassVar[str] = "actors"
    said: ClassVar[type[Answer]] = Said
    record: ClassVar[type] = Actor
    tokens: ClassVar[int] = 400
    temperature: ClassVar[float] = 0.2
    merge: ClassVar[bool] = False

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(("passage", "most"))

    def ask(self, row: Passage) -> dict[str, str]:
        return {"passage": row.text, "most": str(self.most)}

    def rows(self, row: Passage, said: Said) -> Iterator[Actor | Fault]:
        if not said.actors:
            yield Fault(id=f"{row.id}.a0", reason="no_actor", detail="nobody acts in the passage", final=True)
        seen: set[str] = set()
        for number, one in enumerate(said.actors[: self.most], 1):
            ident = f"{row.id}.a{number}"
            name, line = _ARTICLE.sub("", one_line(one.name)), one_line(one.line)
            if found := _wrong(name, line, row.text, seen):
                yield Fault(id=ident, reason=found[0], detail=found[1], raw=f"{name}: {line}")
                continue
            seen.add(name.casefold())
            yield Actor(id=ident, source_id=row.source_id, passage_id=row.id, name=name, line=line)


def _wrong(name: str, line: str, passage: str, seen: set[str]) -> tuple[str, str] | None:
    if not words(name) or len(name.split()) > 6 or name.casefold() in _NOBODY:
        return "not_a_name", f"'{name[:60]}' is no name; give the words by which the passage calls the person"
    if name.casefold() in seen:
        return "duplicate", f"{name} is listed twice"
    if not anchored(name, passage):
        return "not_in_passage", f"'{name}' does not stand in the passage"
    if not 2 <= len(line.split()) <= 40 or strange(line):
        return "bad_line", "describe the person in one line of 2 to 40 words"
    return None


def anchored(name: str, passage: str) -> bool:
    """Whether the name stands in the passage as whole words; line breaks count as spaces, case does not count."""
    pattern = r"\s+".join(map(re.escape, name.split()))
    return re.search(rf"(?<!\w){pattern}(?!\w)", passage, re.I) is not None
