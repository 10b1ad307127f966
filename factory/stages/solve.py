"""Solve (ours): an independent pass answers each item without rationale and label, over several orders of its options.

EC2ER's items were looked at by hand, fifty of them. Here an item that the solver does not agree with is rejected, and so
is one that it answers without the scenario every time: then the options alone give the answer away.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from factory.errors import BadReply
from factory.questions import LETTERS, lettered
from factory.records import Case, EaItem, EuItem, Question, Solved, Vote
from factory.requests import Reply, Request, draw
from factory.stages import Agent, Answer, Asking, Exchange, Outcome, Stage, Talk

BLIND = "(not given)"
T = TypeVar("T")


class EuAnswer(Answer):
    emotion: Literal["A", "B", "C", "D", "E", "F"]
    cause: Literal["A", "B", "C", "D"]


class EaAnswer(Answer):
    answer: Literal["A", "B", "C", "D"]


EU = Agent("solve_eu", frozenset(("scenario", "subject", "emotions", "causes")), EuAnswer, tokens=40, temperature=0.0)
EA = Agent("solve_ea", frozenset(("scenario", "subject", "kind", "choices")), EaAnswer, tokens=40, temperature=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Solves(Stage):
    """An item is kept where at least `agreement` of `shuffles` votes are right, compared in hundredths: 2 of 3 is 0.67."""

    shuffles: int = 3
    agreement: float = 0.67
    seed: int = 0

    name: ClassVar[str] = "solve"
    record: ClassVar[type] = Solved

    @property
    def agents(self) -> tuple[Agent, ...]:
        return EU, EA

    def feed(self, before: Case, rows: Sequence[EuItem | EaItem]) -> Iterator[Question]:
        for item in rows:
            yield Question(id=item.id, item=item)

    def talk(self, row: Question, asking: Asking, round_: int) -> Talk:
        exchange = Exchange(self.name, row.id, asking, round_)
        try:
            return (yield from self._judged(row.item, exchange))
        except BadReply as err:
            return exchange.rejected(err.reason, err.detail)

    def _judged(self, item: EuItem | EaItem, exchange: Exchange) -> Generator[Request, Reply, Outcome]:
        """All votes with the scenario; then without it, one after the other, up to the first wrong one."""
        right = _right(item)
        votes: list[Vote | str] = []
        for number in range(self.shuffles):
            votes.append((yield from self._vote(item, number, item.scenario, exchange)))
        agreement = sum(vote == right for vote in votes) / self.shuffles
        if round(agreement, 2) < round(self.agreement, 2):
            return exchange.rejected(
                "solver_disagrees", f"right is {_said(right)}; chosen: {'; '.join(map(_said, votes))}"
            )
        blind = 0
        while blind < self.shuffles:
            if (yield from self._vote(item, blind, BLIND, exchange)) != right:
                break
            blind += 1
        if blind == self.shuffles:
            return exchange.rejected(
                "answerable_without_reading", f"{_said(right)} was chosen without the scenario too"
            )
        return exchange.accepted(_solved(item, votes, agreement, blind / self.shuffles))

    def _vote(
        self, item: EuItem | EaItem, number: int, scenario: str, exchange: Exchange
    ) -> Generator[Request, Reply, Vote | str]:
        """What is chosen in one order of the options, as the texts of the choices."""
        fields = {"scenario": scenario, "subject": item.subject}
        turn = f"{'blind' if scenario == BLIND else 'vote'} {number + 1}"
        said: Any
        if isinstance(item, EuItem):
            emotions, causes = (self._order(item.id, number, c) for c in (item.emotion_choices, item.cause_choices))
            fields |= {"emotions": lettered(emotions), "causes": lettered(causes)}
            said = yield from exchange.hear(EU, turn, fields)
            return Vote(_chosen(emotions, said.emotion), _chosen(causes, said.cause))
        choices = self._order(item.id, number, item.choices)
        fields |= {"kind": item.question_type.lower(), "choices": lettered(choices)}
        said = yield from exchange.hear(EA, turn, fields)
        return _chosen(choices, said.answer)

    def _order(self, ident: str, number: int, choices: Sequence[str]) -> tuple[str, ...]:
        """One of the orders: a drawn one, turned on by one place each time, so that every option changes its letter."""
        block, turn = divmod(number, len(choices))
        drawn = sorted(choices, key=lambda text: draw(ident, self.name, self.seed, block, text))
        return (*drawn[turn:], *drawn[:turn])


def _chosen(choices: Sequence[str], letter: str) -> str:
    return choices[LETTERS.index(letter)]


def _right(item: EuItem | EaItem) -> Vote | str:
    return Vote(item.emotion_label, item.cause_label) if isinstance(item, EuItem) else item.label


def _said(vote: Vote | str) -> str:
    return vote if isinstance(vote, str) else f"{vote.emotion} ({vote.cause})"


def _solved(item: EuItem | EaItem, votes: Sequence[Vote | str], agreement: float, blind: float) -> Solved:
    return Solved(
        id=item.id,
        source_id=item.source_id,
        passage_id=item.passage_id,
        dialogue_id=item.dialogue_id,
        kind="eu" if isinstance(item, EuItem) else "ea",
        eu_votes=tuple(vote for vote in votes if isinstance(vote, Vote)),
        ea_votes=tuple(vote for vote in votes if isinstance(vote, str)),
        agreement=agreement,
        blind=blind,
    )
