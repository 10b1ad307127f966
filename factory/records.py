"""The records of the pipeline: frozen, typed, and the source of every Parquet column.

Ids grow along the way (`tale.p3`, `tale.p3.a2`, `tale.p3.a2.u7`) but are opaque: parents are fields of their own.
"""

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, NamedTuple, Self, TypeVar

LABEL_COUNT = 28
T = TypeVar("T")


class Score(NamedTuple):
    """One word of the labeller and how strongly it holds, 0 to 1."""

    label: str
    score: float


class Turn(NamedTuple):
    """One message of a dialogue; `role` is client or counsellor."""

    role: str
    text: str


class Vote(NamedTuple):
    """What the solver chose for an EU item, as the texts of the options."""

    emotion: str
    cause: str


class Fixed(NamedTuple):
    """Marks a tuple field as a fixed-size list column of that length."""

    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """At most `passage_words` words of one source record; `index` counts passages over the whole corpus."""

    id: str
    source_id: str
    index: int
    text: str
    text_hash: str = ""  # of the whole source record: identical records share a split
    where: str = ""

    @property
    def passage_id(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Somebody who acts in the passage; `name` stands there word for word."""

    id: str
    source_id: str
    passage_id: str
    name: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """What an actor might think aloud when feeling `emotion` (the one asked for)."""

    id: str
    source_id: str
    passage_id: str
    actor_id: str
    actor: str
    character: str
    emotion: str
    text: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """The utterance after its event was turned round; `emotion` is the mirrored feeling to confirm."""

    id: str
    source_id: str
    passage_id: str
    actor_id: str
    actor: str
    character: str
    emotion: str
    text: str
    seed: int
    pair_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Soft labels of one utterance: raw as said, mapped to the taxonomy, kept at the threshold, side by side."""

    id: str
    source_id: str
    passage_id: str
    raw: tuple[Score, ...]
    mapped: tuple[Score, ...]
    labels: tuple[str, ...]
    intensities: Annotated[tuple[float, ...], Fixed(LABEL_COUNT)]
    unmapped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How likely each of the 28 labels was as the next token after the question, in taxonomy order, summing to 1.

    `mass` is the probability, 0 to 1, that the next token was any of them; `entropy` is 0 for one sure label and 1 for
    none in particular; `agreement` with the asked intensities goes from 0 to 1, None where those are all 0.
    """

    id: str
    source_id: str
    passage_id: str
    probabilities: Annotated[tuple[float, ...], Fixed(LABEL_COUNT)]
    entropy: float
    mass: float
    agreement: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraisal:
    """Valence, arousal, dominance and four appraisals, each 0 to 1, with one sentence why."""

    id: str
    source_id: str
    passage_id: str
    valence: float
    arousal: float
    dominance: float
    goal_attainment: float
    controllability: float
    certainty: float
    fairness: float
    rationale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What had happened up to the moment of the utterance; made raw, then cleaned of the row's emotions."""

    id: str
    source_id: str
    passage_id: str
    utterance_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """The utterance made ambiguous for a reader who does not know its context."""

    id: str
    source_id: str
    passage_id: str
    utterance_id: str
    text: str
    overlap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """An actor's utterances and, in the same order, what is known of each: the input of every stage after `utterances`."""

    id: str
    passage: Passage
    actor: Actor
    utterances: tuple[Utterance, ...]
    labels: tuple[Labels, ...] = ()
    appraisals: tuple[Appraisal, ...] = ()
    contexts: tuple[Context, ...] = ()
    targets: tuple[str, ...] = ()  # a flip's own: the mirrored labels, the feeling to confirm first
    valence: float | None = None  # and the valence of its original

    @property
    def source_id(self) -> str:
        return self.passage.source_id

    @property
    def passage_id(self) -> str:
        return self.passage.id

    def pick(self, wanted: set[str]) -> Self:
        """The same batch with only the wanted utterances (by id) and what belongs to them."""
        keep = [i for i, u in enumerate(self.utterances) if u.id in wanted]

        def some(rows: tuple[T, ...]) -> tuple[T, ...]:
            return tuple(rows[i] for i in keep) if rows else ()

        return replace(
            self,
            utterances=some(self.utterances),
            labels=some(self.labels),
            appraisals=some(self.appraisals),
            contexts=some(self.contexts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What an actor brings to a counsellor: told out of its passage, along seven axes that were dealt."""

    id: str
    source_id: str
    passage_id: str
    actor_id: str
    actor: str
    line: str
    domain: str
    relationship: str
    stakes: str
    mix: str
    coping: str
    communication: str
    culture: str
    text: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """The talk of a client with a counsellor, the client first; `stop_reason` is supervisor or most_turns."""

    id: str
    source_id: str
    passage_id: str
    actor_id: str
    actor: str
    background: str
    turns: tuple[Turn, ...]
    stop_reason: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EuItem:
    """A question on what somebody feels and why, in EmoBench's fields: six emotions, four causes, one of each right.

    `emotion` is what `emotion_label` stands for in the taxonomy, two labels joined by " & ".
    """

    id: str
    source_id: str
    passage_id: str
    dialogue_id: str
    actor: str
    coarse_category: str
    finegrained_category: str
    scenario: str
    subject: str
    emotion_choices: tuple[str, ...]
    emotion_label: str
    emotion: str
    cause_choices: tuple[str, ...]
    cause_label: str
    rationale: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EaItem:
    """A question on what would help somebody most, in EmoBench's fields; `question_type` is Action or Response."""

    id: str
    source_id: str
    passage_id: str
    dialogue_id: str
    actor: str
    category: str
    question_type: str
    scenario: str
    subject: str
    choices: tuple[str, ...]
    label: str
    rationale: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """What the solver chose for one item, once for each order of its options; the votes of the other kind are empty.

    `agreement` is the share of right votes, 0 to 1. `blind` counts the answers that were right without the scenario up to
    the first wrong one, as a share of the orders: 1 would be an item that needs no reading.
    """

    id: str
    source_id: str
    passage_id: str
    dialogue_id: str
    kind: str  # eu, ea
    eu_votes: tuple[Vote, ...]
    ea_votes: tuple[str, ...]
    agreement: float
    blind: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An actor who comes to a counsellor and what is known of it so far: the input of the stages up to the items."""

    id: str
    passage: Passage
    actor: Actor
    number: int  # among the clients of its passage, from 0: what is dealt to it goes by this
    background: Background | None = None
    dialogue: Dialogue | None = None

    @property
    def source_id(self) -> str:
        return self.passage.source_id

    @property
    def passage_id(self) -> str:
        return self.passage.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One item as the solver gets it."""

    id: str
    item: EuItem | EaItem

    @property
    def source_id(self) -> str:
        return self.item.source_id

    @property
    def passage_id(self) -> str:
        return self.item.passage_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One child of a reply that failed a check; `id` is the row it would have become.

    A `final` fault is a finding, not a mistake (no label reached the threshold): asking again would only press for
    another answer, so it is dropped without a repair.
    """

    id: str
    reason: str
    detail: str = ""
    raw: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """What was thrown away and why: a whole unit (stage, input) or one child of an accepted one."""

    id: str
    source_id: str
    passage_id: str
    stage: str
    level: str  # unit, child
    child_id: str
    reason: str
    detail: str
    raw: str
    repairs: int
    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One journalled reply with its key and the unit that asked."""

    key: str
    stage: str
    unit: str
    repair: int
    round: int
    text: str
    finish: str
    tokens_in: int
    tokens_out: int
    seconds: float
    tokens_cached: int = 0


@dataclass(slots=True)
class Count:
    """Accounts of one stage; `inputs == accepted + rejected` and `made == kept + dropped` hold whenever a unit ends."""

    inputs: int = 0
    accepted: int = 0
    rejected: int = 0
    made: int = 0
    kept: int = 0
    dropped: int = 0
    asked: int = 0
    remembered: int = 0
    repairs: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    seconds: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)  # of rejected units
    drops: dict[str, int] = field(default_factory=dict)  # of dropped children
    mended: dict[str, int] = field(default_factory=dict)  # what had to be mended before a reply could be read

    def add(self, other: "Count") -> None:
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in ((self.reasons, other.reasons), (self.drops, other.drops), (self.mended, other.mended)):
            for reason, n in theirs.items():
                mine[reason] = mine.get(reason, 0) + n

    def spent(self, said: Said) -> None:
        """One reply more, with its tokens and seconds."""
        self.asked += 1
        self.tokens_in += said.tokens_in
        self.tokens_out += said.tokens_out
        self.tokens_cached += said.tokens_cached
        self.seconds += said.seconds

    def why(self) -> list[tuple[str, int]]:
        """All reasons, of units and children, the commonest first."""
        every = Counter(self.reasons) + Counter(self.drops)
        return sorted(every.items(), key=lambda r: (-r[1], r[0]))


_SUMS = tuple(f.name for f in fields(Count) if f.name not in ("reasons", "drops", "mended"))
