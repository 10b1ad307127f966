"""What a stage is, and how one unit of it is driven: asked, read, told what is wrong, asked again, ended.

A stage is pure: it sees no engine, clock, disk or randomness. Write `ask` and `rows`, name the prompt and the model
of the reply, and the driver below does the rest; a stage of several requests overrides `talk`.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import from_json
from typing_extensions import TypeAliasType

from factory.errors import BadReply, WrongRequest
from factory.fit import flagged
from factory.mend import LONGEST, mended
from factory.prompts import Book, neutral
from factory.records import Fault, Reject
from factory.requests import Finish, Message, Reply, Request, Sampling, row_seed


def most(count: int) -> Any:
    """How long a text (in characters) or a list may get: an engine that decodes under the schema is held to it, so that it
    comes to an end. It is no check: what is longer is read, and the stage says what is wrong with it."""
    return Field(
        json_schema_extra=lambda schema: schema.update({"maxItems" if "items" in schema else "maxLength": count})
    )


def in_steps(count: int) -> WithJsonSchema:
    """A number from 0 to 1 in so many steps: a decoder that could write any would sometimes write digits without end."""
    return WithJsonSchema({"type": "number", "enum": [round(n / count, 4) for n in range(count + 1)]})


# Named types stand once in a schema, however often they are used.
Tenths = TypeAliasType("Tenths", Annotated[float, Field(ge=0, le=1), in_steps(10)])
Hundredths = TypeAliasType("Hundredths", Annotated[float, Field(ge=0, le=1), in_steps(100)])
Place = Annotated[int, Field(json_schema_extra={"minimum": 1, "maximum": 40})]  # in a numbered list
Line = Annotated[str, most(200)]  # a name, a label, a sentence
Text = Annotated[str, most(600)]  # an utterance, a rationale


class Answer(BaseModel):
    """Base of what a model may say: unknown fields are refused, and so the schema says."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one unit ended: accepted with `rows` (and `faults` for the children that were dropped), or rejected."""

    rows: tuple[Any, ...] = ()
    faults: tuple[Fault, ...] = ()
    reason: str = ""
    detail: str = ""
    raw: str = ""
    repairs: int = 0
    mended: tuple[str, ...] = ()  # what had to be mended in the replies before they could be read, one word each time

    @property
    def accepted(self) -> bool:
        return not self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a unit needs besides its row, the same for all units of a run."""

    book: Book
    seed: int = 0
    repairs: int = 2
    greedy: bool = False  # the paper's decoding: temperature 0, repetition penalty 1.03


Talk = Generator[Request, Reply, Outcome]


@dataclass(frozen=True, slots=True)
class Agent:
    """Who is asked: its template and the fields of that, the model of the reply (None: nothing is written), the drawing."""

    prompt: str
    fields: frozenset[str] | None
    said: type[Answer] | None
    tokens: int
    temperature: float


class Stage:
    """Base of every stage. Subclasses are frozen dataclasses whose fields are the settings of the stage."""

    name: ClassVar[str]
    said: ClassVar[type[Answer]]
    record: ClassVar[type]  # what rows() returns; the stage's table has its columns
    tokens: ClassVar[int] = 500  # limit of one reply
    temperature: ClassVar[float] = 0.7
    merge: ClassVar[bool] = True  # children stand for slots that were asked for, so attempts can be put together

    @property
    def prompt(self) -> str:
        """Name of the template; the stage's own name unless it says otherwise."""
        return self.name

    @property
    def fields(self) -> frozenset[str] | None:
        """What `ask` gives, if it is said here: then a template that does not fit is found before a run begins."""
        return None

    @property
    def agents(self) -> tuple[Agent, ...]:
        """All who are asked within a unit, each with a template of its own; one unless the stage says otherwise."""
        said = getattr(self, "said", None)
        return (Agent(self.prompt, self.fields, said, tokens=self.tokens, temperature=self.temperature),)

    def feed(self, before: Any, rows: Sequence[Any]) -> Iterable[Any]:
        """The inputs of this stage, from an input of the stage before and the rows made of it."""
        return rows

    def ask(self, row: Any) -> dict[str, str]:
        """The fields of the template, exactly."""
        raise NotImplementedError

    def rows(self, row: Any, said: Any) -> Iterable[Any]:
        """Records and Faults, one for each child; raises BadReply where the whole reply is useless."""
        raise NotImplementedError

    def least(self, row: Any) -> int:
        """How many good children make the unit accepted."""
        return 1

    def clashes(self, good: Sequence[Any]) -> Iterable[Fault]:
        """Faults that show only when good children of several attempts are put together."""
        return ()

    def talk(self, row: Any, asking: Asking, round_: int) -> Talk:
        return drive(self, row, asking, round_)


_SCHEMAS: dict[type[BaseModel], str] = {}


def schema(said: type[BaseModel]) -> str:
    """The JSON schema of a reply as text; what the engine decodes under and what the key covers.

    Fields stand in the order of the class, for that is the order in which a decoder has them written.
    """
    if said not in _SCHEMAS:
        _SCHEMAS[said] = orjson.dumps(said.model_json_schema()).decode()
    return _SCHEMAS[said]


def drive(stage: Stage, row: Any, asking: Asking, round_: int) -> Talk:
    """One unit of one request: read the reply, list the violations, ask again at most `repairs` times.

    Where children stand for fixed slots (`merge`), one that is good in any attempt counts; elsewhere the best attempt
    does. What is still bad after the last one is dropped; with fewer than `least` good children the unit is rejected.
    """
    fields = stage.ask(row)
    base = request(stage, row.id, asking, fields, asking.book[stage.prompt].render(fields), round_)
    best, trouble, reply, attempt, ask = _Children(), None, Reply(text=""), 0, base
    mends: list[str] = []
    for attempt in range(asking.repairs + 1):
        reply = yield ask
        try:
            read = parse(stage.said, reply)
            mends += read.mended
            here = _Children.of(stage.rows(row, read.said))
        except BadReply as err:
            trouble, violations = err, [str(err)]
        else:
            trouble = None
            if not best.seen:
                best = here
            else:
                best = best.merged(here, stage.clashes) if stage.merge else max(best, here, key=_Children.worth)
            mistakes = [_line(f) for f in best.faults if not f.final]
            if best.seen and not mistakes:
                break
            violations = mistakes or ["empty: the answer holds nothing"]
        if attempt < asking.repairs:
            ask = repair(base, asking.book, attempt + 1, reply, violations)
    if len(best.good) >= max(1, stage.least(row)):
        return Outcome(rows=best.good, faults=best.faults, repairs=attempt, mended=tuple(mends))
    if trouble is None:
        counted = Counter(f.reason for f in best.faults).most_common(1)
        detail = best.faults[0].detail if len(best.faults) == 1 else "; ".join(map(_line, best.faults))
        trouble = BadReply(counted[0][0] if counted else "empty", detail)
    detail = trouble.detail[:500]
    return Outcome(reason=trouble.reason, detail=detail, raw=reply.text, repairs=attempt, mended=tuple(mends))


@dataclass(frozen=True, slots=True)
class _Children:
    """The children read so far, in the order in which they were first seen."""

    seen: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(children: Iterable[Any]) -> "_Children":
        return _Children({child.id: child for child in children})

    def merged(self, later: "_Children", clashes: Callable[[Sequence[Any]], Iterable[Fault]]) -> "_Children":
        """Good stays good, what was bad is taken from the later reply, and what does not go together is bad again."""
        kept = {i: c for i, c in self.seen.items() if not isinstance(c, Fault)}
        both = _Children(self.seen | later.seen | kept)
        return _Children(both.seen | {fault.id: fault for fault in clashes(both.good)})

    def worth(self) -> tuple[int, int]:
        """Of two attempts the one with more good children is better, then the one with less to repair."""
        return len(self.good), -len(self.faults)

    @property
    def good(self) -> tuple[Any, ...]:
        return tuple(c for c in self.seen.values() if not isinstance(c, Fault))

    @property
    def faults(self) -> tuple[Fault, ...]:
        return tuple(c for c in self.seen.values() if isinstance(c, Fault))


def request(
    stage: Stage, unit: str, asking: Asking, fields: dict[str, str], messages: tuple[Message, ...], round_: int
) -> Request:
    """The one question of a unit."""
    return _request(stage.name, stage.agents[0], unit, asking, fields, messages, round_, ())


@dataclass(slots=True)
class Exchange:
    """Several questions within one unit: each is read, checked and repaired by itself, and all are accounted together."""

    stage: str
    unit: str
    asking: Asking
    round_: int
    repairs: int = 0
    mended: list[str] = field(default_factory=list)
    raw: str = ""  # the last reply

    def hear(
        self,
        agent: Agent,
        turn: object,
        fields: dict[str, str],
        wrong: Callable[[Any], tuple[str, str] | None] = lambda said: None,
    ) -> Generator[Request, Reply, Any]:
        """What this agent says to these fields; BadReply where the last attempt was wrong too.

        `turn` tells the questions of a unit apart, so that two of the same words are drawn with seeds of their own.
        """
        assert agent.said is not None
        messages = self.asking.book[agent.prompt].render(fields)
        base = _request(self.stage, agent, self.unit, self.asking, fields, messages, self.round_, (turn,))
        ask = base
        for attempt in range(self.asking.repairs + 1):
            reply = yield ask
            self.raw = reply.text
            try:
                return self._read(agent.said, reply, wrong)
            except BadReply as err:
                if attempt == self.asking.repairs:
                    raise
                ask = repair(base, self.asking.book, attempt + 1, reply, [str(err)])
                self.repairs += 1

    def _read(self, said: type[Answer], reply: Reply, wrong: Callable[[Any], tuple[str, str] | None]) -> Any:
        read = parse(said, reply)
        self.mended += read.mended
        if found := wrong(read.said):
            raise BadReply(*found)
        return read.said

    def accepted(self, *rows: Any) -> Outcome:
        return Outcome(rows=rows, repairs=self.repairs, mended=tuple(self.mended))

    def rejected(self, reason: str, detail: str) -> Outcome:
        return Outcome(
            reason=reason, detail=detail[:500], raw=self.raw, repairs=self.repairs, mended=tuple(self.mended)
        )


def _request(
    stage: str,
    agent: Agent,
    unit: str,
    asking: Asking,
    fields: dict[str, str],
    messages: tuple[Message, ...],
    round_: int,
    turn: tuple[object, ...],
) -> Request:
    assert agent.said is not None
    return Request(
        stage=stage,
        unit=unit,
        messages=messages,
        schema=schema(agent.said),
        sampling=Sampling(
            temperature=0.0 if asking.greedy else agent.temperature,
            max_tokens=agent.tokens,
            seed=row_seed(unit, stage, asking.seed, *turn, *([round_] if round_ else [])),
            repetition_penalty=1.03 if asking.greedy else 1.0,
        ),
        round=round_,
        fields=fields,
    )


def repair(base: Request, book: Book, number: int, reply: Reply, violations: Sequence[str]) -> Request:
    """The same request with the violations listed; one that was cut off is asked again as it stood, with more room."""
    sampling = replace(base.sampling, seed=row_seed(base.sampling.seed, number))
    if reply.finish == "length":
        room = replace(sampling, max_tokens=base.sampling.max_tokens * 2**number)
        return replace(base, sampling=room, repair=number)
    (ask,) = book["repair"].render({"violations": "\n".join(f"- {v}" for v in violations)})
    # The answer before is shown as the assistant's turn: it is a reply, so as untrusted as any field.
    messages = (*base.messages, Message("assistant", neutral(reply.text[:_SHOWN])), ask)
    return replace(base, messages=messages, sampling=sampling, repair=number)


_SHOWN = 6000  # characters of a bad reply that are shown back to the model

# A reply that is no JSON declines in any of these words; a text inside a good reply only where it speaks of a task,
# for people in stories say "I can't help laughing" and "I'm sorry, I can't come".
_DECLINED = re.compile(
    r"\b(?:I(?:'m| am) (?:sorry|unable|not able)\b.{0,40}\b(?:can(?:'t|not)|unable|won't|assist|help|comply|able)"
    r"|I (?:can(?:'t|not)|won't|am unable to) (?:help|assist|comply|fulfil|provide|generate|create|continue|do that)"
    r"|as an? (?:AI|artificial|language model))\b",
    re.I,
)
_TASK = r"(?:request|task|prompt|content|text|output|utterance|role-?play)s?\b"
REFUSAL = re.compile(
    r"\bI(?:'m| am)? ?(?:can(?:'t|not)|won't|unable to|not able to) (?:assist (?:you )?with|comply\b"
    r"|help (?:you )?with (?:that|this)\s*(?:[.,;!]|$)"
    rf"|(?:help|fulfil|generate|do|provide|create|write|continue)(?: you)?(?: with)?(?: \w+){{0,4}} {_TASK})"
    r"|\bas an? (?:AI|artificial intelligence|language model)\b",
    re.I,
)


_ENDED: dict[Finish, tuple[str, str]] = {
    "length": ("truncated", "the answer was cut off by the token limit"),
    "repetition": ("repetition", "the answer ran in circles"),
    "filtered": ("refusal", "the server's content filter stepped in"),
    "error": ("not_json", "the engine broke off the answer"),
}


@dataclass(frozen=True, slots=True)
class Read:
    """A reply that could be read, and what had to be mended in it first: words of `factory.mend.KINDS`, each once."""

    said: Any
    mended: tuple[str, ...] = ()


def parse(said: type[Answer], reply: Reply) -> Read:
    """The reply as its model; BadReply says whether it was cut off, refused, no JSON at all, or JSON of another shape."""
    if reply.finish in _ENDED:
        raise BadReply(*_ENDED[reply.finish])
    if len(reply.text) > LONGEST:  # before pydantic makes a record of each mistake in it
        raise BadReply("not_json", f"the answer is longer than {LONGEST:,} characters")
    try:
        read = said.model_validate_json(reply.text)
    except ValidationError as err:
        return _mended(said, reply.text, err)
    if _FLAG.search(reply.text):
        _numbers(said, from_json(reply.text))
    return Read(read)


_FLAG = re.compile(r"true|false")


def _numbers(said: type[Answer], value: Any) -> None:
    """BadReply where true or false stands for a number: pydantic takes them for 1 and 0."""
    if place := flagged(value, orjson.loads(schema(said))):
        raise BadReply("schema", f"{place[:100]}: Input should be a number, not true or false")


def _mended(said: type[Answer], text: str, strict: ValidationError) -> Read:
    """The first way to mend the text that validates; `strict` is what was wrong with it as it stands."""
    kind, wrong = _violation(strict)
    if kind == "json_invalid":
        wrong = ""
    try:
        for one in mended(text, orjson.loads(schema(said))):
            if _declines(one.around):
                raise BadReply("refusal", "the model declined to answer")
            try:
                _numbers(said, one.value)
                return Read(said.model_validate(one.value), one.kinds)
            except ValidationError as err:
                wrong = wrong or _violation(err)[1]
            except BadReply as err:
                wrong = wrong or err.detail
    except BadReply as err:
        if err.reason == "refusal" or (not wrong and (err.reason == "truncated" or not _declines(text[:400]))):
            raise
    if wrong:
        raise BadReply("schema", wrong) from strict
    raise BadReply("refusal", "the model declined to answer") from strict


def _declines(words: str) -> bool:
    return _DECLINED.search(words.replace("’", "'")) is not None


_MOST_MISTAKES = 1000  # each that pydantic lists takes some thousand bytes, and it lists all or none


def _violation(err: ValidationError) -> tuple[str, str]:
    """The first thing that is wrong: pydantic's word for it, its place and sentence; of very many only their number."""
    if err.error_count() > _MOST_MISTAKES:
        return "", f"there are {err.error_count():,} mistakes in the answer"
    first = err.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))[:100]
    return first["type"], f"{place}: {first['msg']}"


def _line(fault: Fault) -> str:
    quoted_child = f" (you wrote: {fault.raw[:160]})" if fault.raw else ""
    return f"{fault.reason}: {fault.detail[:300]}{quoted_child}"


def thrown(stage: str, row: Any, outcome: Outcome, round_: int) -> list[Reject]:
    """What goes to the rejects: the unit itself, or the children that an accepted one lost."""
    whole = [("unit", "", outcome.reason, outcome.detail, outcome.raw)] if not outcome.accepted else []
    children = [("child", f.id, f.reason, f.detail, f.raw) for f in outcome.faults]
    return [
        Reject(
            id=row.id,
            source_id=row.source_id,
            passage_id=row.passage_id,
            stage=stage,
            level=level,
            child_id=child,
            reason=reason,
            detail=detail,
            raw=raw,
            repairs=outcome.repairs,
            round=round_,
        )
        for level, child, reason, detail, raw in whole or children
    ]


@dataclass(frozen=True, slots=True)
class Step:
    """A stage and what it follows: one stage, several whose rows it takes alike, or None for the passages."""

    stage: Stage
    after: str | tuple[str, ...] | None = None
    targets: frozenset[str] = frozenset()  # the views that need it; empty: all

    @property
    def parents(self) -> tuple[str, ...]:
        """Names of the stages that it follows."""
        return (self.after,) if isinstance(self.after, str) else self.after or ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages in order; what follows what is visible here and nowhere else."""

    steps: tuple[Step, ...]

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def plus(self, stage: Stage, after: str | tuple[str, ...] | None = None) -> "Pipeline":
        """This pipeline with a stage of your own behind others; it is asked for in every run that uses it."""
        known = {step.stage.name for step in self.steps}
        if not re.fullmatch(r"[a-z][a-z0-9_]*", stage.name) or stage.name in known | {"passages", "rejects", "replies"}:
            raise WrongRequest(f"a stage cannot be called {stage.name!r}; choose another name in lower case")
        step = Step(stage, after)
        for name in step.parents:
            if name not in known:
                raise WrongRequest(f"there is no stage {name!r} to follow; choose among {', '.join(sorted(known))}")
        return Pipeline((*self.steps, step))

    def following(self, name: str | None) -> tuple[Step, ...]:
        return tuple(s for s in self.steps if (name in s.parents if name is not None else not s.parents))

    def wanted(self, targets: Iterable[str]) -> "Pipeline":
        """Only the steps that these targets need, each with all it depends on."""
        asked = set(targets)
        keep: set[str] = set()
        for step in self.steps:
            if not step.targets or step.targets & asked:
                keep.update(self.lineage(step.stage.name))
        return Pipeline(tuple(s for s in self.steps if s.stage.name in keep))

    def lineage(self, name: str, through: Collection[str] = ()) -> tuple[str, ...]:
        """Names of the stages from the first to this one, in the order of the pipeline.

        A row of a stage that follows several went through one of them: name it in `through`. Else all of them count.
        """
        line = {name}
        for step in reversed(self.steps):
            if step.stage.name in line:
                line.update([one for one in step.parents if one in through] or step.parents)
        return tuple(s.stage.name for s in self.steps if s.stage.name in line)

    def prompts(self) -> tuple[str, ...]:
        return (*dict.fromkeys(agent.prompt for s in self.steps for agent in s.stage.agents), "repair")
