"""EC2ER's extraction of items from a dialogue, what its two kinds share: one call gives the items of one dialogue.

The model gives scene, reasoning, the right option and wrong ones; it never sees a letter. Code deals where the right
option stands: in EmoBench's English files the right emotion is the first one in 36 of 100.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pydantic import Field

from factory import items
from factory.checks import Finding
from factory.deal import dealt
from factory.records import Case, Dialogue, Fault
from factory.requests import draw, row_seed
from factory.stages import Stage
from factory.stages.dialogue import told
from factory.text import one_line


def exactly(count: int) -> Any:
    """A list of so many: an engine that decodes under the schema is held to it. More are read, and cut."""
    return Field(json_schema_extra={"minItems": count, "maxItems": count})


@dataclass(frozen=True, slots=True, kw_only=True)
class Items(Stage):
    """`items` slots for each dialogue, of the kinds that were dealt to it."""

    items: int = 3
    seed: int = 0

    short: ClassVar[str]  # the items' part of an id
    kinds: ClassVar[tuple[tuple[str, str], ...]]  # what is asked for, and one sentence on it
    tokens: ClassVar[int] = 3000
    temperature: ClassVar[float] = 0.4

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(("actor", "background", "talk", "wanted"))

    def feed(self, before: Case, rows: Sequence[Dialogue]) -> Iterator[Case]:
        for dialogue in rows:
            yield replace(before, id=dialogue.id, dialogue=dialogue)

    def ask(self, row: Case) -> dict[str, str]:
        assert row.dialogue is not None
        asked = (": ".join(self.kinds[place]) for place in self.asked(row))
        return {
            "actor": row.actor.name,
            "background": row.dialogue.background,
            "talk": told(row.dialogue.turns),
            "wanted": "\n".join(f"{n}. {line}" for n, line in enumerate(asked, 1)),
        }

    def asked(self, row: Case) -> tuple[int, ...]:
        """Places in `kinds`, one for each slot."""
        return dealt(self.name, self.kinds, row.passage.index, row.number, self.seed, self.items)

    def rows(self, row: Case, said: Any) -> Iterator[Any]:
        found: dict[int, Any] = {}
        for one in said.items:
            found.setdefault(one.n, one)
        seen: list[Any] = []
        for number, place in enumerate(self.asked(row), 1):
            child = self._child(row, number, place, found.get(number), seen)
            if not isinstance(child, Fault):
                seen.append(child)
            yield child

    def _child(self, row: Case, number: int, place: int, one: Any, seen: Sequence[Any]) -> Any:
        ident = f"{row.id}.{self.short}{number}"
        if one is None:
            return Fault(id=ident, reason="missing", detail=f"number {number} is not in the answer")
        item = self.item(row, ident, number, place, one)
        if finding := self.wrong(item, one) or clash(item, seen):
            detail = f"number {number}: {finding[1]}"
            return Fault(id=ident, reason=finding[0], detail=detail, raw=f"{item.scenario} | {item.rationale}")
        return item

    def clashes(self, good: Sequence[Any]) -> Iterator[Fault]:
        """An attempt cannot see what an earlier one told, and may tell it again under another number."""
        for place, item in enumerate(good):
            if finding := clash(item, good[:place]):
                number = item.id.rpartition(self.short)[2]
                yield Fault(id=item.id, reason=finding[0], detail=f"number {number}: {finding[1]}", raw=item.scenario)

    def item(self, row: Case, ident: str, number: int, place: int, one: Any) -> Any:
        """The record of one slot, before anything of it is checked."""
        raise NotImplementedError

    def wrong(self, item: Any, one: Any) -> Finding | None:
        """What is wrong with it by itself."""
        raise NotImplementedError

    def shared(self, row: Case, ident: str, one: Any) -> dict[str, Any]:
        """The columns that both kinds of items have."""
        assert row.dialogue is not None
        return {
            "id": ident,
            "source_id": row.source_id,
            "passage_id": row.passage_id,
            "dialogue_id": row.dialogue.id,
            "actor": row.actor.name,
            "scenario": one_line(one.scenario),
            "subject": one_line(one.subject),
            "rationale": one_line(one.rationale),
            "seed": row_seed(row.id, self.name, self.seed),
        }

    def placed(self, row: Case, what: str, number: int, right: str, wrong: Sequence[str]) -> tuple[str, ...]:
        """The options with the right one where it was dealt, the others in an order that was drawn."""
        count = len(wrong) + 1
        places = dealt(f"{what} place", range(count), row.passage.index, row.number, self.seed, self.items)
        at = places[number - 1]
        others = sorted(wrong, key=lambda text: draw(row.id, what, number, self.seed, text))
        return (*others[:at], right, *others[at:])


def clash(item: Any, others: Sequence[Any]) -> Finding | None:
    """What two items of one batch must not share: the scene, and how the reasoning opens."""
    if found := items.alike(item.scenario, [other.scenario for other in others]):
        return found
    begun = items.opening(item.rationale, item.subject)
    if any(items.opening(other.rationale, other.subject) == begun for other in others):
        return (
            "template_rationale",
            f"'{begun} ...' opens the rationale of another number too; no two begin alike",
        )
    return None
