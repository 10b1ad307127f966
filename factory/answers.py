"""What an evaluation asks of a model, whoever that is (`factory.answerers`), and the record of its replies.

Questions go in all at once and replies come back in their order. Every reply is written down when it comes, under the
model's fingerprint and the question, so that the same evaluation started again asks only for what it does not have.
"""

import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import orjson

from factory import files, journal
from factory.errors import WrongRequest
from factory.records import Said
from factory.requests import Identity, Message, Reply, Request, Sampling, key

Likelihood = tuple[float, int]  # sum of natural log-probabilities, tokens
NO_REPLY = Reply(text="", finish="error")
RECORD = "replies.journal"
_FSYNC_SECONDS = 5.0


class NotOffered(WrongRequest):
    """This answerer cannot do what was asked of it; another one, or another protocol, can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One chat to be answered. `schema` is JSON that the reply is held to, '' where it is free; `task` is the schema's name.

    At temperature 0 the reply is the greedy one; else it is drawn by the seed.
    """

    unit: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    top_p: float = 1.0
    schema: str = ""
    task: str = "question"

    def request(self) -> Request:
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_tokens, seed=self.seed, top_p=self.top_p)
        return Request(
            stage=f"answer_{self.task}",  # no stage of a run
            unit=self.unit,
            messages=self.messages,
            schema=self.schema,
            sampling=sampling,
            fields={"text": self.messages[-1].content},
        )


class Answerer(Protocol):
    """What an evaluation asks. No bad reply ever raises: it is an empty text, or a likelihood of -inf."""

    @property
    def name(self) -> str: ...

    def answers(self, questions: Sequence[Question]) -> list[str]: ...

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        """The same with tokens and seconds; `finish` is "error" where no reply came."""
        ...

    def likelihoods(self, questions: Sequence[Question], options: Sequence[Sequence[str]]) -> list[list[Likelihood]]:
        """For each option as the assistant's whole reply: sum of log-probabilities and tokens; NotOffered."""
        ...


class Source(Protocol):
    """A model behind an `Answerer`: `heard` is told of each question by its place as soon as its reply is there."""

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> Identity: ...
    @property
    def troubles(self) -> Counter[str]: ...
    def replies(self, questions: Sequence[Question], heard: Callable[[int, Reply], None]) -> None: ...
    def likelihoods(
        self,
        questions: Sequence[Question],
        options: Sequence[Sequence[str]],
        heard: Callable[[int, list[Likelihood]], None],
    ) -> None: ...
    def close(self) -> None: ...


# What is remembered ---------------------------------------------------------------------------------------------------


@dataclass
class Remembering:
    """An answerer with a record of every reply. A question that was answered is not asked again, and of two that are the
    same one is. What failed is not written down: the same command asks for it once more."""

    source: Source
    record: Path | None = None  # None: nothing is kept
    says: Callable[[str], None] = lambda sentence: None

    def __post_init__(self) -> None:
        self._known: dict[str, Said] = {}
        self._journal: journal.Journal | None = None
        if self.record is not None:
            self._known = {said.key: said for said in journal.read(self.record)}

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def troubles(self) -> Counter[str]:
        """Why there was no reply, and how often."""
        return self.source.troubles

    @property
    def fingerprint(self) -> str:
        return source_fingerprint(self.source)

    def answers(self, questions: Sequence[Question]) -> list[str]:
        return [reply.text for reply in self.replies(questions)]

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        identity = self.source.identity
        keys = [key(identity, question.request()) for question in questions]

        def ask(left: Sequence[int], heard: Callable[[int, Reply], None]) -> None:
            self.source.replies([questions[n] for n in left], lambda place, reply: heard(place, _writable(reply)))

        found: dict[str, Reply] = {one: _reply(self._known[one]) for one in keys if one in self._known}
        self._asked(keys, found, ask, lambda place, reply: _said(keys[place], questions[place], reply))
        return [found.get(one, NO_REPLY) for one in keys]

    def likelihoods(self, questions: Sequence[Question], options: Sequence[Sequence[str]]) -> list[list[Likelihood]]:
        identity = self.source.identity
        keys = [
            key(identity, question.request()) + hashlib.sha256(orjson.dumps(list(several))).hexdigest()
            for question, several in zip(questions, options, strict=True)
        ]

        def ask(left: Sequence[int], heard: Callable[[int, list[Likelihood]], None]) -> None:
            self.source.likelihoods([questions[n] for n in left], [options[n] for n in left], heard)

        def said(place: int, likely: list[Likelihood]) -> Said | None:
            text = json.dumps([[value if value > float("-inf") else None, count] for value, count in likely])
            return _said(keys[place], questions[place], Reply(text=text)) if likely else None

        found: dict[str, list[Likelihood]] = {
            one: [
                (float("-inf") if value is None else value, count) for value, count in json.loads(self._known[one].text)
            ]
            for one in keys
            if one in self._known
        }
        self._asked(keys, found, ask, said)
        nothing = [[(float("-inf"), 1)] * len(several) for several in options]
        return [found.get(one) or none for one, none in zip(keys, nothing, strict=True)]

    def _asked(
        self,
        keys: Sequence[str],
        found: dict[str, Any],
        ask: Callable[[Sequence[int], Callable[[int, Any], None]], None],
        said: Callable[[int, Any], Said | None],
    ) -> None:
        """Asks for what is not in `found`, each key once; puts what comes into it and into the record."""
        left = list({one: place for place, one in reversed(list(enumerate(keys))) if one not in found}.values())[::-1]
        if not left:
            return
        if found:
            self.says(f"{sum(one in found for one in keys):,} of {len(keys):,} replies are there already")
        pace = _Pace(len(left), self.says)

        def heard(place: int, reply: Any) -> None:
            found[keys[left[place]]] = reply
            pace.one()
            if (line := said(left[place], reply)) is not None:
                self._keep(line)

        try:
            ask(left, heard)
        finally:
            if self._journal is not None:
                self._journal.sync()

    def _keep(self, said: Said) -> None:
        self._known[said.key] = said
        if self.record is None:
            return
        if self._journal is None:
            with files.writing(self.record):
                self.record.parent.mkdir(parents=True, exist_ok=True)
            self._journal, self._synced = journal.Journal(self.record), time.monotonic()
        self._journal.append(said)
        if time.monotonic() - self._synced > _FSYNC_SECONDS:
            self._journal.sync()
            self._synced = time.monotonic()

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def source_fingerprint(source: Source) -> str:
    """What the replies of this model are remembered under, beside the question."""
    return hashlib.sha256(orjson.dumps(source.identity)).hexdigest()[:16]


def _writable(reply: Reply) -> Reply:
    """JSON can hold half of a surrogate pair, and no file can."""
    return replace(reply, text=reply.text.encode("utf-8", "replace").decode())


def _said(name: str, question: Question, reply: Reply) -> Said | None:
    """A reply as it is remembered; None for one that never came."""
    if reply.finish == "error":
        return None
    return Said(
        key=name,
        stage=question.task,
        unit=question.unit,
        repair=0,
        round=0,
        text=reply.text,
        finish=reply.finish,
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
        seconds=reply.seconds,
        tokens_cached=reply.tokens_cached,
    )


def _reply(said: Said) -> Reply:
    whole = Reply.of(said.text, said.finish)
    return Reply(
        text=whole.text,
        finish=whole.finish,
        tokens_in=said.tokens_in,
        tokens_out=said.tokens_out,
        tokens_cached=said.tokens_cached,
        seconds=said.seconds,
    )


class _Pace:
    """A line on how far it is, every ten seconds; the clock starts with the first reply, when the model has been loaded."""

    def __init__(self, wanted: int, says: Callable[[str], None]) -> None:
        self.wanted, self.says, self.done = wanted, says, 0
        self.began = self.last = 0.0

    def one(self) -> None:
        now = time.monotonic()
        self.done += 1
        self.began, self.last = self.began or now, self.last or now
        if now - self.last > 10:
            self.last = now
            left = (now - self.began) / self.done * (self.wanted - self.done)
            self.says(f"{self.done:,} of {self.wanted:,} answered, about {left / 60:.0f} min left")


@contextmanager
def opened(
    source: Source, out: Path | None, says: Callable[[str], None] = lambda sentence: None, *, fresh: bool = False
) -> Iterator[Remembering]:
    """The answerer of a source that remembers in `out`, which one process uses at a time; all is closed at the end.

    With `fresh` what is there is forgotten. A folder in which nothing was written is not left behind.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(source.close)
        if out is not None:
            with files.writing(out):
                out.mkdir(parents=True, exist_ok=True)
            stack.callback(_unless_used, out)
            stack.enter_context(files.locked(out / ".evaluating"))
            if fresh:
                (out / RECORD).unlink(missing_ok=True)
        answerer = Remembering(source, out / RECORD if out is not None else None, says)
        stack.callback(answerer.close)
        yield answerer


def _unless_used(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
