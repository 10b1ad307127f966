"""Section 3 of EC2ER, background (ours: out of the passage): what brings an actor to a counsellor, along dealt axes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from factory.checks import prose
from factory.deal import chosen, spread
from factory.records import Actor, Background, Case, Fault, Passage
from factory.requests import row_seed
from factory.stages import Answer, Stage, most
from factory.stages.actors import anchored
from factory.text import one_line

SHORTEST, LONGEST = 80, 500  # words

# The axes of EC2ER's second pipeline, in its words; the last one is ours: neutral, without the name of any people.
DOMAINS = (
    "career performance", "money", "caregiving burden", "friendship drift", "romantic trust or jealousy",
    "in-law tension", "online miscommunication", "cross-cultural misunderstanding",
)  # fmt: skip
RELATIONSHIPS = ("romantic", "family", "friend", "work", "social")
STAKES = ("low", "medium", "high")
MIXES = (
    "anger and hurt", "relief and guilt", "envy and admiration", "love and resentment", "shame and defiance",
    "worry and excitement",
)  # fmt: skip
COPINGS = ("avoidance", "over-fixing", "venting", "people pleasing", "intellectualising", "self-blame")
COMMUNICATIONS = (
    "withdrawn and indirect", "apologetic and soft", "sarcastic", "blunt", "conflict-avoidant and compliant",
)  # fmt: skip
CULTURES = (
    "a large family in which the eldest have the last word",
    "a city where neighbours hardly know each other",
    "a small place where everybody hears everything",
    "a household that came from another country one generation ago",
    "a community held together by its faith and its feast days",
    "an old trade with unwritten rules",
    "a people who do not speak of trouble outside the family",
    "a people for whom plain speech is a form of respect",
    "a people for whom a guest comes before everything else",
    "a farming district where the seasons order the days",
    "a circle of friends that has taken the place of a family",
    "a place where two languages and two sets of customs meet",
)
AXES = {
    "domain": DOMAINS, "relationship": RELATIONSHIPS, "stakes": STAKES, "mix": MIXES, "coping": COPINGS,
    "communication": COMMUNICATIONS, "culture": CULTURES,
}  # fmt: skip
SAID_AS = {
    "domain": "conflict domain", "relationship": "relationship", "stakes": "stakes", "mix": "emotion mix",
    "coping": "coping style", "communication": "communication style", "culture": "culture",
}  # fmt: skip

# A prime for each axis, whose root is its step. Any would do; over the corpora here these come out most level.
ROOTS = {
    "domain": 199, "relationship": 83, "stakes": 241, "mix": 107, "coping": 347, "communication": 41, "culture": 103,
}  # fmt: skip


class Said(Answer):
    background: Annotated[str, most(4000)]


def axes(passage_index: int, number: int, seed: int) -> dict[str, str]:
    """One value of each axis for a client, dealt evenly over the clients of a run and for each axis apart."""
    return {
        name: values[spread(name, values, ROOTS[name], passage_index, number, seed)] for name, values in AXES.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Backgrounds(Stage):
    """`share` of the actors become clients, as evenly over the passages as the share allows."""

    share: float = 0.5
    seed: int = 0

    name: ClassVar[str] = "background"
    said: ClassVar[type[Answer]] = Said
    record: ClassVar[type] = Background
    tokens: ClassVar[int] = 900
    temperature: ClassVar[float] = 0.9

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(("passage", "actor", "character", "axes"))

    def feed(self, before: Passage, rows: Sequence[Actor]) -> Iterator[Case]:
        clients = chosen(rows, self.share, "clients", before.index, self.seed)
        for number, place in enumerate(clients):
            actor = rows[place]
            yield Case(id=f"{actor.id}.b", passage=before, actor=actor, number=number)

    def ask(self, row: Case) -> dict[str, str]:
        dealt_ = axes(row.passage.index, row.number, self.seed)
        return {
            "passage": row.passage.text,
            "actor": row.actor.name,
            "character": row.actor.line,
            "axes": "\n".join(f"- {SAID_AS[name]}: {value}" for name, value in dealt_.items()),
        }

    def rows(self, row: Case, said: Said) -> Iterator[Background | Fault]:
        text = one_line(said.background)
        if found := _wrong(text, row):
            yield Fault(id=row.id, reason=found[0], detail=found[1], raw=text)
            return
        yield Background(
            id=row.id,
            source_id=row.source_id,
            passage_id=row.passage_id,
            actor_id=row.actor.id,
            actor=row.actor.name,
            line=row.actor.line,
            **axes(row.passage.index, row.number, self.seed),
            text=text,
            seed=row_seed(row.id, self.name, self.seed),
        )


def _wrong(text: str, row: Case) -> tuple[str, str] | None:
    count = len(text.split())
    if count < SHORTEST:
        return "too_short", f"{count} words; tell it in {SHORTEST} to {LONGEST} words"
    if count > LONGEST:
        return "too_long", f"{count} words; tell it in {SHORTEST} to {LONGEST} words"
    if not anchored(row.actor.name, text):
        return "actor_missing", f"{row.actor.name} is not named in it; tell what brings {row.actor.name} here"
    return prose(text, row.passage.text)
