"""Who answers in an evaluation: any engine, or a causal language model in this process, asked in the same way.

Questions go in all at once and replies come back in their order. Every reply is written down when it comes, under the
model's fingerprint and the question, so that the same evaluation started again asks only for what it does not have.
"""

import asyncio
import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from factory import files, journal
from factory.engines import Checked, Engine
from factory.engines.local import Model, fingerprint
from factory.errors import Refused, Transient, WrongRequest
from factory.records import Said
from factory.requests import Identity, Message, Reply, Request, Sampling, key

Likelihood = tuple[float, int]  # sum of natural log-probabilities, tokens
NO_REPLY = Reply(text="", finish="error")
RECORD = "replies.journal"
MERGED = "merged"  # in the folder of an adapter: the model with its base
BATCH = 16  # questions that a model in this process answers together
_FSYNC_SECONDS = 5.0
_MODES = ("generate", "classify")
# Files that decide what a model says; what was measured of it may lie beside them.
_TELLING = (
    "config.json", "generation_config.json", "adapter_config.json", "slm.json", "tokenizer*", "special_tokens_map.json",
    "vocab.*", "merges.txt", "*.jinja", "*.model", "*.safetensors",
)  # fmt: skip


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


# An engine -------------------------------------------------------------------------------------------------------------


class EngineAnswerer:
    """An engine of generation, asked from a world without a loop; `most` questions are in flight at a time.

    `more` is what decides the replies beside the engine's identity: its number format, extra fields of a request.
    """

    def __init__(self, engine: Engine, most: int = 64, more: str = "") -> None:
        self.engine, self.most, self.more = engine, most, more
        self.troubles: Counter[str] = Counter()
        self._runner = asyncio.Runner()  # one loop for all calls: a vLLM engine lives on the one that it began on

    @property
    def name(self) -> str:
        told = self.engine.identity
        return f"{told.engine}:{told.model}"

    @property
    def identity(self) -> Identity:
        told = self.engine.identity
        return Identity(engine=told.engine, model=told.model, revision=f"{told.revision}{self.more}")

    def check(self) -> tuple[str, ...]:
        """What the engine finds out before the first question; WrongRequest or Unreachable."""
        return self._runner.run(self.engine.check()) if isinstance(self.engine, Checked) else ()

    def replies(self, questions: Sequence[Question], heard: Callable[[int, Reply], None]) -> None:
        self._runner.run(self._all([question.request() for question in questions], heard))

    def likelihoods(
        self,
        questions: Sequence[Question],
        options: Sequence[Sequence[str]],
        heard: Callable[[int, list[Likelihood]], None],
    ) -> None:
        """By the log-probabilities of the next token, which is all that an engine tells: options of one token alone."""
        if self.engine.identity.engine == "rehearsal":
            raise NotOffered("the rehearsal engine has no likelihoods; give a model folder, or another protocol")
        if any(len(option.strip()) != 1 for several in options for option in several):
            raise NotOffered(
                f"{self.name} tells how likely one token is, not a whole answer; give a model folder, or ask it for letters"
            )
        wanted = [tuple(several) for several in options]
        asked = [replace(question.request(), read=read) for question, read in zip(questions, wanted, strict=True)]

        def read(place: int, reply: Reply) -> None:
            told = json.loads(reply.text) if reply.finish != "error" else {}
            heard(place, [(float(told.get(word, float("-inf"))), 1) for word in wanted[place]] if told else [])

        self._runner.run(self._all(asked, read))

    async def _all(self, requests: Sequence[Request], heard: Callable[[int, Reply], None]) -> None:
        waiting = iter(enumerate(requests))

        async def work() -> None:
            for place, request in waiting:
                heard(place, await self._one(request))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.most, len(requests))):
                    group.create_task(work())
        except BaseExceptionGroup as several:
            raise _first(several) from None

    async def _one(self, request: Request) -> Reply:
        try:
            return await self.engine.complete(request)
        except (Refused, Transient) as err:  # after the engine's own tries
            self.troubles[err.reason if isinstance(err, Refused) else str(err)] += 1
            return NO_REPLY

    def close(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            self._runner.run(self.engine.close())
        self._runner.close()


def _first(several: BaseExceptionGroup[Any]) -> BaseException:
    one: BaseException = several
    while isinstance(one, BaseExceptionGroup):
        one = one.exceptions[0]
    return one


# A model in this process -----------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """A causal language model: the base, the adapter over it (None: the base alone), and what its maker says of it."""

    base: Model
    adapter: Path | None
    told: dict[str, Any]


def find(given: str, revision: str = "") -> Found:
    """What a folder or hub name is. WrongRequest where it is no causal language model; nothing is loaded."""
    folder = Path(given).expanduser()
    if not folder.is_dir():
        if "/" in given and folder.parent.is_dir():
            raise WrongRequest(f"there is no folder {given}; give the folder of a model, or its hub name")
        return Found(Model("transformers", given, revision), None, {})
    told = _json(folder / "slm.json")
    if told.get("mode", "generate") not in _MODES:
        raise WrongRequest(f"{folder / 'slm.json'} has a mode that is not known; train the model again")
    if told.get("mode") == "classify":
        raise WrongRequest(
            f"{folder} was trained to classify, so it writes nothing; merge it, and give that folder as MODEL without ENGINE"
        )
    if (folder / "adapter_config.json").is_file():
        adapter = _json(folder / "adapter_config.json")
        base = str(told.get("base") or adapter.get("base_model_name_or_path") or "")
        if not base:
            raise WrongRequest(f"{folder} does not say which model it is an adapter for; train it again, or merge it")
        commit = str(told.get("revision") or adapter.get("revision") or "")
        return Found(Model("transformers", base, commit), folder, told)
    named = _json(folder / "config.json").get("architectures")
    kinds = [str(one) for one in named] if isinstance(named, list) else []
    if kinds and not any("CausalLM" in one or "LMHead" in one for one in kinds):
        raise WrongRequest(f"{folder} is {kinds[0]}, which writes nothing; give a causal language model")
    return Found(Model("transformers", str(folder)), None, told)


def told_of(folder: Path) -> dict[str, Any]:
    """The `slm.json` of a folder that make train wrote, or merged; an older merged one has it in the folder around it. {} where
    it is nobody's of ours."""
    told = _json(folder / "slm.json")
    return told or (_json(folder.parent / "slm.json") if folder.name == MERGED else {})


def base_of(given: str) -> str:
    """The model beneath: what a folder of make train was made from, through all its stages; '' where it is made from none."""
    found, after = given.rstrip("/"), set[Path]()
    while (folder := Path(found).expanduser().resolve()) not in after:
        after.add(folder)
        told = told_of(Path(found).expanduser())
        adapter = {} if told else _json(Path(found).expanduser() / "adapter_config.json")
        found = str(told.get("base") or adapter.get("base_model_name_or_path") or found).rstrip("/")
    return found if found != given.rstrip("/") else ""


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, TypeError, RecursionError) as err:
        raise WrongRequest(f"{path} cannot be read ({err}); copy the model anew, or train it again") from err


class FolderAnswerer:
    """A causal language model with what stands before its name: an adapter over its base, a folder, or a hub name.

    Loaded at the first question. Without `cache` nothing of a prompt is remembered between two tokens, nor between two
    options of a question.
    """

    def __init__(
        self,
        given: str,
        revision: str = "",
        *,
        cache: bool = True,
        batch: int = BATCH,
        dtype: str = "auto",
        says: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.given, self.cache, self.batch, self.dtype, self.says = given, cache, batch, dtype, says
        self.found = find(given, revision)
        self.troubles: Counter[str] = Counter()
        self._loaded: Any = None
        self._identity: Identity | None = None

    @property
    def name(self) -> str:
        return self.given if self.found.adapter else self.found.base.name

    @property
    def identity(self) -> Identity:
        """By what is in the files, the number format and the cache: each decides what is said."""
        if self._identity is None:
            parts = [_of(self.found.base), self.dtype]
            parts += [fingerprint(self.found.adapter, _TELLING)] if self.found.adapter else []
            parts += [] if self.cache else ["no cache"]
            self._identity = Identity(engine="transformers", model=self.name, revision=" ".join(parts))
        return self._identity

    def check(self) -> tuple[str, ...]:
        """Looks at the files; WrongRequest where the model is not whole."""
        return self.found.base.check()

    def replies(self, questions: Sequence[Question], heard: Callable[[int, Reply], None]) -> None:
        """In batches of like length, the longest first: where memory ends, it ends at once."""
        loaded = self._ready()
        order = sorted(range(len(questions)), key=lambda n: -sum(len(m.content) for m in questions[n].messages))
        for start in range(0, len(order), self.batch):
            places = order[start : start + self.batch]
            said = loaded.replies([questions[place].request() for place in places])
            for place, reply in zip(places, said, strict=True):
                heard(place, self._taken(reply))

    def _taken(self, reply: Reply | Exception) -> Reply:
        if isinstance(reply, Reply):
            return reply
        if not isinstance(reply, Refused | Transient):
            raise reply
        self.troubles[reply.reason if isinstance(reply, Refused) else str(reply)] += 1
        return NO_REPLY

    def likelihoods(
        self,
        questions: Sequence[Question],
        options: Sequence[Sequence[str]],
        heard: Callable[[int, list[Likelihood]], None],
    ) -> None:
        from factory.engines.likelihood import likelihoods

        loaded, step = self._ready(), 8 * self.batch
        order = sorted(range(len(questions)), key=lambda n: -sum(len(m.content) for m in questions[n].messages))
        for start in range(0, len(order), step):
            places = order[start : start + step]
            found = likelihoods(loaded, [questions[n].messages for n in places], [options[n] for n in places])
            for place, likely in zip(places, found, strict=True):
                if isinstance(likely, Exception):
                    self._taken(likely)
                    likely = []
                heard(place, likely)

    def _ready(self) -> Any:
        if self._loaded is None:
            self.says(f"loading {self.given}")
            began = time.monotonic()
            self._loaded = self._load()
            self.says(f"loaded on {self._loaded.model.device.type} in {time.monotonic() - began:.0f} s")
        return self._loaded

    def _load(self) -> Any:
        from factory.engines.transformers import Loaded, loaded

        if self.found.adapter is None:
            self.found.base.check()
            model, chat = loaded(self.found.base, self.dtype)
            return Loaded(model, chat, self.cache)
        from factory.engines.local import Chat
        from factory.slm import base

        device, dtype = _where(self.dtype)
        based = base.adapted(self.found.adapter, device=device, dtype=dtype)
        return Loaded(based.model, Chat(based.tokenizer), self.cache)

    def close(self) -> None:
        self._loaded = None


def _where(dtype: str) -> tuple[str, Any]:
    """The device, and the number format as torch has it; None: that of the files."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu", None if dtype == "auto" else getattr(torch, dtype, None)


def _of(base: Model) -> str:
    return fingerprint(base.folder, _TELLING) if base.folder else base.commit


# Which one -------------------------------------------------------------------------------------------------------------


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
