"""How EmoBench is asked, as one record, and what came of it. METHODS 4.3, 4.4."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from factory.emobench.items import Language, Task
from factory.emobench.words import OURS
from factory.errors import WrongRequest

Protocol = Literal["likelihood", "letters", "v1", "v2"]
PROTOCOLS: tuple[Protocol, ...] = ("likelihood", "letters", "v1", "v2")
# What is made of the same replies; the first is the protocol's own figure.
READINGS: Mapping[str, tuple[str, ...]] = {
    "likelihood": ("normalised", "raw"),
    "letters": ("letter",),
    "v1": ("strict", "lenient"),
    "v2": ("strict", "lenient"),
}
Places = tuple[int, ...]  # one published place for each part, NONE where nothing could be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Everything that decides how one task is asked in one language; two results are compared only where it is the same."""

    protocol: Protocol
    task: Task
    language: Language
    cot: bool = False
    guided: bool = False  # v2: replies are decoded under the schema
    faithful: bool = False  # v1: after an emotion that could not be read, the last one is told, as in the authors' code
    orders: int = 1
    repeats: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 0  # of a reply; 0 where none is written
    wording: str = OURS
    no_think: bool = False  # v2 without reasoning: /no_think stands before everything, as for a model called qwen

    @property
    def official(self) -> bool:
        """As published, but for the wording where that is ours; v1's chain is so in its faithful mode alone."""
        if self.protocol not in ("v1", "v2") or self.guided:
            return False
        chain = self.protocol == "v1" and self.task == "EU"
        return (self.orders, self.repeats, self.temperature) == _USUAL[self.protocol][:3] and self.faithful >= chain


@dataclass(frozen=True, slots=True)
class Reading:
    """What one way of reading makes of an item's replies: a choice for each order, and one for all orders together."""

    orders: tuple[Places, ...]
    voted: Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One item: what was right and what the model chose, as published places; `replies` as they came, order by order."""

    qid: str
    category: str
    labels: Places
    readings: Mapping[str, Reading]
    replies: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()  # of each reply: one of HEARD

    def right(self, reading: str) -> tuple[bool, ...]:
        """Order by order: an item is right where all its parts are."""
        return tuple(places == self.labels for places in self.readings[reading].orders)


HEARD = ("strict", "lenient", "unread", "empty")  # by which reading all that was asked of a reply could be read

_USUAL: Mapping[str, tuple[int, int, float, float]] = {  # orders, repeats, temperature, top_p
    "likelihood": (4, 1, 0.0, 1.0),
    "letters": (4, 1, 0.0, 1.0),
    "v1": (4, 5, 0.6, 0.9),
    "v2": (1, 1, 0.6, 1.0),
}
_TOKENS: Mapping[str, tuple[int, int]] = {
    "likelihood": (0, 500),
    "letters": (0, 500),
    "v1": (75, 500),
    "v2": (50, 2048),
}


def asking(
    protocol: str,
    task: Task,
    language: Language,
    *,
    cot: bool = False,
    guided: bool = False,
    faithful: bool = False,
    orders: int | None = None,
    repeats: int | None = None,
    temperature: float | None = None,
    wording: str = OURS,
    no_think: bool = False,
) -> Ask:
    """The protocol's own settings where none are given; WrongRequest for what has no meaning in it. `no_think`: the model is
    one that the authors' code tells not to think, which v2 does where it is not to reason."""
    if protocol not in PROTOCOLS:
        raise WrongRequest(f"PROTOCOL={protocol} is not known; choose one of {', '.join(PROTOCOLS)}")
    if guided and protocol != "v2":
        raise WrongRequest(
            f"decoding under a schema is for PROTOCOL=v2, whose replies are JSON; leave it out of {protocol}"
        )
    if faithful and protocol != "v1":
        raise WrongRequest(f"the faithful mode is one of PROTOCOL=v1; leave it out of {protocol}")
    if temperature is not None and not cot and protocol in ("likelihood", "letters"):
        raise WrongRequest(f"PROTOCOL={protocol} draws nothing without COT=1; leave out the temperature")
    usual = _USUAL[protocol]
    made = Ask(
        protocol=protocol,
        task=task,
        language=language,
        cot=cot,
        guided=guided,
        faithful=faithful,
        orders=usual[0] if orders is None else orders,
        repeats=usual[1] if repeats is None else repeats,
        temperature=usual[2] if temperature is None else temperature,
        top_p=usual[3],
        max_tokens=_TOKENS[protocol][cot],
        wording=wording if protocol == "v2" else OURS,
        no_think=no_think and protocol == "v2" and not cot,
    )
    if not 1 <= made.orders <= 24 or not 1 <= made.repeats <= 100 or not 0 <= made.temperature <= 2:
        raise WrongRequest("give 1 to 24 orders, 1 to 100 repeats and a temperature from 0 to 2")
    if made.repeats > 1 and protocol != "v1":
        raise WrongRequest(f"PROTOCOL={protocol} asks once; repeats that are voted on are for v1")
    return made
