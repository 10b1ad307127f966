"""Section 3 of EC2ER, dialogue: a client and a counsellor in turn, and a supervisor who says when there is enough.

Three agents in one unit, each asked with a template of its own. A turn is one message; the client speaks first. The
supervisor judges after the client's messages, from the third turn on. Where all five of its answers are yes, or where
there is no room for a question, its answer and a closing, the counsellor closes the talk.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from factory import checks
from factory.errors import BadReply
from factory.records import Background, Case, Dialogue, Turn
from factory.requests import Reply, Request, row_seed
from factory.stages import Agent, Answer, Asking, Exchange, Stage, Talk, most
from factory.text import normal, one_line

ROOM = 3  # turns: a question, its answer, and the closing
SHORTEST, OPENING, LONGEST = 3, 12, 120  # words of a turn; of the first one at least OPENING
CLIENT_SEES, COUNSELLOR_SEES = 6, 8  # last turns
PHASES = (
    "Find out what happened: ask for the facts of one recent event, and keep apart what was seen and what was felt.",
    "Go deeper: ask about the beliefs behind it, what the people around expect, and what the thing or person means.",
    "Open it up: ask how it looks from another's side, and what the client could say or do next.",
)
CLOSING = (
    "Close the talk: say back in the client's own words what is felt, and why, as a gentle statement; "
    "no question, no advice."
)
ROLES = {"client": "Client", "counsellor": "Counsellor"}
# Before what is said; some of these words may stand before a colon elsewhere.
_LABEL = re.compile(
    r"\b(?:client|counsell?or|therapist|supervisor|psychologist|psychotherapist)\W{0,3}:"
    r"|(?:^|(?<=[.!?\"”] ))\W{0,3}(?:me|you|user|human|patient|assistant|system|doctor|narrator|ai|bot)\W{0,3}:",
    re.I,
)


class Spoken(Answer):
    text: Annotated[str, most(1000)]


class Verdict(Answer):
    """What the supervisor finds in the talk so far."""

    scenario_clear: bool
    emotions_present: bool
    causes_present: bool
    dilemma_present: bool
    rich_enough: bool

    @property
    def enough(self) -> bool:
        return all(getattr(self, name) for name in type(self).model_fields)


CLIENT = Agent("client", frozenset(("background", "actor", "manner", "talk")), Spoken, tokens=200, temperature=0.8)
COUNSELLOR = Agent("counsellor", frozenset(("actor", "phase", "talk")), Spoken, tokens=200, temperature=0.7)
SUPERVISOR = Agent("supervisor", frozenset(("actor", "talk")), Verdict, tokens=120, temperature=0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogues(Stage):
    """One dialogue of 4 to `turns` turns for each background, an even number of them: it ends with the counsellor's closing.

    An answer that no repair helps rejects the unit.
    """

    turns: int = 14
    seed: int = 0

    name: ClassVar[str] = "dialogue"
    record: ClassVar[type] = Dialogue

    @property
    def agents(self) -> tuple[Agent, ...]:
        return CLIENT, COUNSELLOR, SUPERVISOR

    def feed(self, before: Case, rows: Sequence[Background]) -> Iterator[Case]:
        for background in rows:
            yield replace(before, id=f"{background.id}.d", background=background)

    def talk(self, row: Case, asking: Asking, round_: int) -> Talk:
        exchange = Exchange(self.name, row.id, asking, round_)
        try:
            turns, stopped = yield from self._held(row, exchange)
        except BadReply as err:
            return exchange.rejected(err.reason, err.detail)
        return exchange.accepted(self._dialogue(row, turns, stopped))

    def _held(self, row: Case, exchange: Exchange) -> Generator[Request, Reply, tuple[list[Turn], str]]:
        """The turns, and why there are no more."""
        turns = [(yield from _client(row, exchange, []))]
        stopped = ""
        while not stopped:
            turns.append((yield from _counsellor(row, exchange, turns, _phase(turns))))
            turns.append((yield from _client(row, exchange, turns)))
            if len(turns) + ROOM > self.turns:
                stopped = "most_turns"
            elif (yield from _judged(row, exchange, turns)).enough:
                stopped = "supervisor"
        turns.append((yield from _counsellor(row, exchange, turns, CLOSING)))
        return turns, stopped

    def _dialogue(self, row: Case, turns: Sequence[Turn], stopped: str) -> Dialogue:
        assert row.background is not None
        return Dialogue(
            id=row.id,
            source_id=row.source_id,
            passage_id=row.passage_id,
            actor_id=row.actor.id,
            actor=row.actor.name,
            background=row.background.text,
            turns=tuple(turns),
            stop_reason=stopped,
            seed=row_seed(row.id, self.name, self.seed),
        )


def told(turns: Sequence[Turn]) -> str:
    """A talk as a prompt shows it: one line a turn."""
    return "\n".join(f"{ROLES[turn.role]}: {turn.text}" for turn in turns)


def _client(row: Case, exchange: Exchange, turns: Sequence[Turn]) -> Generator[Request, Reply, Turn]:
    background = row.background
    assert background is not None
    fields = {
        "background": background.text,
        "actor": row.actor.name,
        "manner": f"- coping style: {background.coping}\n- communication style: {background.communication}",
        "talk": told(turns[-CLIENT_SEES:]),
    }
    return (yield from _said(CLIENT, "client", row, exchange, turns, fields))


def _counsellor(row: Case, exchange: Exchange, turns: Sequence[Turn], phase: str) -> Generator[Request, Reply, Turn]:
    """A question sees the last turns; the closing sees them all, for it says back what was told."""
    seen = turns if phase == CLOSING else turns[-COUNSELLOR_SEES:]
    fields = {"actor": row.actor.name, "phase": phase, "talk": told(seen)}
    return (yield from _said(COUNSELLOR, "counsellor", row, exchange, turns, fields, closing=phase == CLOSING))


def _judged(row: Case, exchange: Exchange, turns: Sequence[Turn]) -> Generator[Request, Reply, Any]:
    fields = {"actor": row.actor.name, "talk": told(turns)}
    return (yield from exchange.hear(SUPERVISOR, f"verdict {len(turns)}", fields))


def _said(
    agent: Agent,
    role: str,
    row: Case,
    exchange: Exchange,
    turns: Sequence[Turn],
    fields: dict[str, str],
    closing: bool = False,
) -> Generator[Request, Reply, Turn]:
    """The next message, checked."""

    def wrong(said: Spoken) -> checks.Finding | None:
        text = one_line(said.text)
        return _wrong(text, role, row, turns) or (_asks(text) if closing else None)

    said: Any = yield from exchange.hear(agent, f"turn {len(turns) + 1}", fields, wrong)
    return Turn(role, one_line(said.text))


def _phase(turns: Sequence[Turn]) -> str:
    """What a question is for goes by the turns so far: 1, then 3, then more."""
    return PHASES[min(len(turns) // 2, len(PHASES) - 1)]


def _asks(text: str) -> checks.Finding | None:
    if "?" not in text:
        return None
    return "closing_asks", "a closing asks nothing: say back what was heard, as a statement, without a question mark"


def _wrong(text: str, role: str, row: Case, turns: Sequence[Turn]) -> checks.Finding | None:
    """What makes a text no next message of this role."""
    actor, count, least = row.actor.name, len(text.split()), SHORTEST if turns else OPENING
    if count < least:
        return "too_short", f"{count} words; say it in {least} to {LONGEST} words"
    if count > LONGEST:
        return "too_long", f"{count} words; say it in {least} to {LONGEST} words"
    if label := _labelled(text, actor):
        return "prompt_echo", f"'{label}' belongs to the prompt; give the words of the {role} alone, and of nobody else"
    found = checks.prose(text) or checks.markup(text) or checks.staged(text) or checks.script(text, row.passage.text)
    if found or (found := _repeated(text, role, turns)):
        return found
    if role == "client" and (about := checks.third_person(text, actor)):
        return "not_first_person", f"'{about}' speaks about {actor}; {actor} is the one who speaks"
    return None if turns else checks.announced(text)


def _labelled(text: str, actor: str) -> str | None:
    """The word for who speaks, or the actor's name, set before what is said."""
    if ":" not in text:
        return None
    match = _LABEL.search(text) or re.match(rf"\W{{0,3}}{re.escape(actor)}\W{{0,3}}:", text, re.I)
    return match.group().strip() if match else None


def _repeated(text: str, role: str, turns: Sequence[Turn]) -> checks.Finding | None:
    """In the words of anybody's earlier turn; or nearly in those of an own one, a number or a few words changed."""
    if normal(text) in {normal(turn.text) for turn in turns}:
        return "repeated_turn", "this was said before in the same words; go on from the last message"
    if any(turn.role == role and checks.dice(text, turn.text) >= checks.TWIN for turn in turns):
        return "repeated_turn", "this was said before in nearly the same words; go on from the last message"
    return None
