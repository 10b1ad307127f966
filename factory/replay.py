"""Going through a shard again from what it remembers: the pure stages, no engine, nothing written.

For `trace`, and for what `rejects` can say of shards that are still open.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from factory.prompts import Book
from factory.records import Passage, Said
from factory.requests import Identity, Reply, Request, key
from factory.stages import Asking, Outcome, Pipeline, Stage


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit as it went: what was asked and said, and how it ended (None: it has not)."""

    stage: Stage
    row: Any
    said: tuple[tuple[Request, Said], ...]
    outcome: Outcome | None
    round: int


def units(
    passage: Passage,
    steps: Pipeline,
    asking: Asking,
    identity: Identity,
    remembered: dict[str, Said],
    rounds: dict[str, int],
    wanted: Callable[[Any], bool] = lambda row: True,
) -> Iterator[Unit]:
    """The units of one passage in order, depth first, as far as the replies go; only those whose row is wanted."""

    def go(after: str | None, before: Any, made: Sequence[Any]) -> Iterator[Unit]:
        for step in steps.following(after):
            for row in step.stage.feed(before, made):
                if not wanted(row):
                    continue
                unit = _unit(step.stage, row, asking, identity, remembered, rounds)
                yield unit
                if unit.outcome is not None and unit.outcome.accepted:
                    yield from go(step.stage.name, row, unit.outcome.rows)

    yield from go(None, passage, [passage])


def _unit(
    stage: Stage, row: Any, asking: Asking, identity: Identity, remembered: dict[str, Said], rounds: dict[str, int]
) -> Unit:
    round_ = rounds.get(f"{stage.name} {row.id}", 0)
    talk = stage.talk(row, asking, round_)
    said: list[tuple[Request, Said]] = []
    outcome: Outcome | None = None
    try:
        request = next(talk)
        while (reply := remembered.get(key(identity, request))) is not None:
            said.append((request, reply))
            request = talk.send(Reply.of(reply.text, reply.finish))
    except StopIteration as end:
        outcome = end.value
    finally:
        talk.close()
    return Unit(stage, row, tuple(said), outcome, round_)


def asking_of(book: Book, seed: int, repairs: int, preset: str) -> Asking:
    """What every unit of a run is asked with."""
    return Asking(book=book, seed=seed, repairs=repairs, greedy=preset == "paper")
