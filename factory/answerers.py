"""Who answers in an evaluation: any engine, or a causal language model in this process, asked in the same way."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from factory.answers import NO_REPLY, Likelihood, NotOffered, Question
from factory.engines import Checked, Engine
from factory.engines.local import Model, fingerprint
from factory.errors import Refused, Transient, WrongRequest
from factory.requests import Identity, Reply, Request

MERGED = "merged"  # in the folder of an adapter: the model with its base
BATCH = 16  # questions that a model in this process answers together
_MODES = ("generate", "classify")
# Files that decide what a model says; what was measured of it may lie beside them.
_TELLING = (
    "config.json", "generation_config.json", "adapter_config.json", "slm.json", "tokenizer*", "special_tokens_map.json",
    "vocab.*", "merges.txt", "*.jinja", "*.model", "*.safetensors",
)  # fmt: skip

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
