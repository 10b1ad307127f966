"""Hugging Face transformers in this process, for a machine without vLLM: batches decoded under the stage's schema.

Slow beside vLLM, for a batch ends with its longest row. What a row says depends on its own seed, not on who else is in
the batch.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, cast

from factory.engines import local
from factory.errors import EngineFault, FactoryError, Stopped, Transient
from factory.requests import Finish, Identity, Reply, Request

EXTRA = "run it through make (which installs it), or in the project's folder pip install '.[transformers]'"
COMPANY_SECONDS = 0.02  # a request waits so long for others to share its batch
_PACKAGES = ("torch", "transformers", "llguidance")


@dataclass
class Transformers:
    """The model is loaded at the first request; `batch` is how many are decoded together at most."""

    model: str
    revision: str = ""
    dtype: str = "auto"
    batch: int = 32
    say: Callable[[str], None] = lambda sentence: None

    def __post_init__(self) -> None:
        self._model = local.Model("transformers", self.model, self.revision)
        self._loaded: Loaded | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: deque[_Row] = deque()
        self._working: list[_Row] = []
        self._worker: asyncio.Task[None] | None = None

    @property
    def identity(self) -> Identity:
        return Identity(engine="transformers", model=self._model.name, revision=self._model.commit)

    async def check(self) -> tuple[str, ...]:
        """Looks at the packages and the model's files; loads nothing. WrongRequest."""
        local.needs("transformers", _PACKAGES, f"it needs the transformers extra: {EXTRA}")
        return self._model.check()

    async def complete(self, request: Request) -> Reply:
        """One reply; Refused where the prompt leaves no room, Stopped where the model cannot be loaded or memory ends."""
        row = _Row(request, asyncio.get_running_loop().create_future())
        self._waiting.append(row)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            return await row.reply
        finally:
            row.gone = True  # where this was cancelled, the row ends at its next token

    async def unfinished(self) -> int:
        """Requests that wait or are worked on, and that somebody still waits for."""
        return sum(not row.gone for row in (*self._waiting, *self._working))

    async def close(self) -> None:
        """Drops the model and what waits; the next request would load it again."""
        for row in (*self._waiting, *self._working):
            row.gone = True
            row.reply.cancel()
        self._waiting.clear()
        worker, self._worker = self._worker, None
        if worker is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await worker
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
        self._thread = self._loaded = None

    async def _work(self) -> None:
        """Batch after batch, in the order in which the requests came, until none waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            if len(self._waiting) < self.batch:
                await asyncio.sleep(COMPANY_SECONDS)
            rows = [self._waiting.popleft() for _ in range(min(self.batch, len(self._waiting)))]
            self._working = rows = [row for row in rows if not row.gone]
            if not rows:
                continue
            self._thread = self._thread or ThreadPoolExecutor(1, "transformers")
            try:
                replies = await loop.run_in_executor(self._thread, self._answered, rows)
            except Exception as err:  # noqa: BLE001 - whoever waits for these rows must hear of it
                replies = [err] * len(rows)
            self._working = []
            for row, reply in zip(rows, replies, strict=True):
                if row.reply.done():
                    continue
                if isinstance(reply, Reply):
                    row.reply.set_result(reply)
                else:
                    row.reply.set_exception(reply)

    def _answered(self, rows: Sequence["_Row"]) -> list[Reply | Exception]:
        """In the worker thread."""
        try:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded.answered(rows)
        except FactoryError:
            raise
        except Exception as err:
            raise translated(err) from err

    def _load(self) -> "Loaded":
        self._model.check()
        self.say(f"loading {self._model.name} into transformers")
        began = time.monotonic()
        model, chat = loaded(self._model, self.dtype)
        self.say(f"loaded on {model.device.type} in {time.monotonic() - began:.0f} s")
        return Loaded(model, chat)


def loaded(model: local.Model, dtype: str = "auto") -> tuple[Any, local.Chat]:
    """The weights, on the accelerator where there is one, and the chat; Stopped where they cannot be loaded."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # the run has a display of its own
    where: dict[str, Any] = {"device_map": "auto"} if torch.cuda.device_count() > 1 else {}
    try:
        made = AutoModelForCausalLM.from_pretrained(
            model.place,
            revision=model.pinned,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            **where,
        ).eval()
        if torch.cuda.device_count() == 1:
            made = made.to("cuda")
        return made, local.Chat.of(model)
    except Exception as err:
        raise Stopped(
            f"transformers could not load {model.name}: {local.short(err)}; where memory is short, take a smaller "
            "model, or dtype = 'bfloat16' in a file given as CONFIG=file"
        ) from err


@dataclass(eq=False)
class _Row:
    """One request on its way; `gone` where nobody waits for it any more."""

    request: Request
    reply: "asyncio.Future[Reply]"
    gone: bool = False


@dataclass
class _Prompt:
    """A row that can be answered: its place among the rows, its tokens, how long its answer may get."""

    place: int
    row: _Row
    tokens: list[int]
    limit: int


@dataclass
class Loaded:
    """A model, its tokenizer, and the grammars compiled so far. One thread uses it.

    Without `cache` every token is written from the whole text before it: slow, and only for comparison.
    """

    model: Any
    chat: local.Chat
    cache: bool = True
    _grammars: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.model.config.get_text_config()
        self._size = int(config.vocab_size)
        self._most = int(config.max_position_embeddings)
        ends = self.model.generation_config.eos_token_id
        named = ends if isinstance(ends, list) else [ends]
        self._ends = frozenset(end for end in (*named, self.chat.tokenizer.eos_token_id) if end is not None)
        self._words: dict[str, int] = {}

    @cached_property
    def _guide(self) -> Any:
        import llguidance.hf

        return llguidance.hf.from_tokenizer(self.chat.tokenizer, n_vocab=max(self._size, len(self.chat.tokenizer)))

    @property
    def ends(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return self._ends

    def replies(self, requests: Sequence[Request]) -> list[Reply | Exception]:
        """For a caller with no loop: one batch of requests, each with its reply or what went wrong; Stopped, Transient."""
        try:
            return self.answered([_Row(request, cast("asyncio.Future[Reply]", None)) for request in requests])
        except FactoryError:
            raise
        except Exception as err:
            raise translated(err) from err

    def answered(self, rows: Sequence[_Row]) -> list[Reply | Exception]:
        """A reply or what went wrong for each row; all that are to be read in one pass, all others in one batch."""
        began, found, prompts = time.perf_counter(), [Transient("no answer")] * len(rows), []
        replies: list[Reply | Exception] = list(found)
        for place, row in enumerate(rows):
            try:
                tokens = self.chat.tokens(row.request.messages)
                limit = local.room(len(tokens), 1 if row.request.read else row.request.sampling.max_tokens, self._most)
                prompts.append(_Prompt(place, row, tokens, limit))
            except FactoryError as err:
                replies[place] = err
        for answer, some in (
            (self._read, [p for p in prompts if p.row.request.read]),
            (self._written, [p for p in prompts if not p.row.request.read]),
        ):
            for prompt, reply in zip(some, answer(some, began) if some else [], strict=True):
                replies[prompt.place] = reply
        return replies

    def _padded(self, prompts: Sequence[_Prompt]) -> tuple[Any, Any]:
        """Token ids and mask, padded on the left, where the model looks away."""
        import torch

        longest = max(len(prompt.tokens) for prompt in prompts)
        filler = min(self._ends)
        ids = [[filler] * (longest - len(p.tokens)) + p.tokens for p in prompts]
        mask = [[0] * (longest - len(p.tokens)) + [1] * len(p.tokens) for p in prompts]
        return torch.tensor(ids, device=self.model.device), torch.tensor(mask, device=self.model.device)

    def _read(self, prompts: Sequence[_Prompt], began: float) -> list[Reply | Exception]:
        import torch

        ids, mask = self._padded(prompts)
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        with torch.inference_mode():
            last = self.model(input_ids=ids, attention_mask=mask, position_ids=places, logits_to_keep=1).logits[:, -1]
            likely = last.float().log_softmax(-1).cpu()
        replies: list[Reply | Exception] = []
        for prompt, row in zip(prompts, likely, strict=True):
            words, seconds = prompt.row.request.read, time.perf_counter() - began
            try:
                found = [float(row[self._word(word)]) for word in words]
                replies.append(local.reading(words, found, len(prompt.tokens), 0, seconds))
            except FactoryError as err:
                replies.append(err)
        return replies

    def _word(self, word: str) -> int:
        if word not in self._words:
            self._words[word] = self.chat.word(word)
        return self._words[word]

    def _written(self, prompts: Sequence[_Prompt], began: float) -> list[Reply | Exception]:
        import torch
        from transformers import GenerationConfig

        ids, mask = self._padded(prompts)
        writers = [self._writer(prompt) for prompt in prompts]
        # Greedy over what the drawing made of the logits: that is sampling, with each row's own seed.
        config = GenerationConfig(
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,  # not the model's own on top of ours
            max_new_tokens=max(prompt.limit for prompt in prompts),
            pad_token_id=min(self._ends),
            eos_token_id=sorted(self._ends),
            use_cache=self.cache,
        )
        with torch.inference_mode():
            self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=config,
                logits_processor=[partial(_drawn, writers)],
                stopping_criteria=[partial(_ended, writers)],
            )
        seconds = time.perf_counter() - began
        return [self._reply(prompt, writer, seconds) for prompt, writer in zip(prompts, writers, strict=True)]

    def _reply(self, prompt: _Prompt, writer: "_Writer", seconds: float) -> Reply:
        said = [token for token in writer.said if token not in self._ends]
        finish: Finish = "stop" if writer.whole else "length"
        return Reply(
            text=self.chat.tokenizer.decode(said, skip_special_tokens=True),
            finish=finish,
            tokens_in=len(prompt.tokens),
            tokens_out=len(writer.said),
            seconds=seconds,
        )

    def _writer(self, prompt: _Prompt) -> "_Writer":
        matcher = self._matcher(prompt.row.request.schema)
        return _Writer(prompt, matcher, self._ends, self._size, self.model.device)

    def _matcher(self, schema: str) -> Any:
        """A matcher at the beginning of the schema's grammar; None without a schema."""
        if not schema:
            return None
        from llguidance import LLMatcher

        if schema not in self._grammars:
            first = LLMatcher(self._guide, local.grammar(schema))
            if fault := first.get_error():
                raise Stopped(f"the schema of a stage cannot be decoded under: {fault}; take out what llguidance lacks")
            self._grammars[schema] = first
        return self._grammars[schema].deep_copy()


class _Writer:
    """One row while it is written: its grammar, its own random numbers, and what it has said."""

    def __init__(self, prompt: _Prompt, matcher: Any, ends: frozenset[int], size: int, device: Any) -> None:
        import torch

        self.row, self.limit, self.matcher, self.ends, self.size = prompt.row, prompt.limit, matcher, ends, size
        self.sampling = prompt.row.request.sampling
        self.random = torch.Generator().manual_seed(self.sampling.seed)
        self.seen = torch.zeros(size, dtype=torch.bool, device=device)
        self.seen[torch.tensor([token for token in prompt.tokens if token < size], device=device)] = True
        self.said: list[int] = []
        self.whole = False  # said to its end

    @property
    def done(self) -> bool:
        return self.whole or self.row.gone or len(self.said) >= self.limit

    def drawn(self, logits: Any) -> Any:
        """Logits (vocabulary) whose greatest is the next token: penalty, grammar, temperature, top-p, Gumbel noise."""
        import torch

        sampling, logits = self.sampling, logits.float()
        if sampling.repetition_penalty != 1.0:
            by = torch.where(logits > 0, 1 / sampling.repetition_penalty, sampling.repetition_penalty)
            logits = torch.where(self.seen[: len(logits)], logits * by, logits)
        if self.matcher is not None:
            logits = logits.masked_fill(~self._allowed(len(logits), logits.device), float("-inf"))
        if sampling.temperature <= 0:
            return logits
        logits = logits / sampling.temperature
        if sampling.top_p < 1:
            ranked, order = logits.sort(descending=True)
            shares = ranked.softmax(-1)
            beyond = shares.cumsum(-1) - shares >= sampling.top_p  # the token that reaches the share is in
            logits = logits.masked_fill(torch.zeros_like(beyond).scatter(0, order, beyond), float("-inf"))
        # Drawn on the CPU, so that a seed means the same on every device.
        noise = torch.rand(len(logits), generator=self.random, dtype=torch.float64).clamp_(min=1e-300)
        return logits - (-noise.log()).log().float().to(logits.device)

    def _allowed(self, size: int, device: Any) -> Any:
        """Which tokens the grammar takes next, unpacked from 32 to the word."""
        import torch

        packed = torch.frombuffer(bytearray(self.matcher.compute_bitmask()), dtype=torch.int32)
        bits = (packed.unsqueeze(-1) >> torch.arange(32, dtype=torch.int32)) & 1
        allowed = bits.bool().view(-1)[:size]
        return torch.nn.functional.pad(allowed, (0, size - len(allowed))).to(device)

    def heard(self, token: int) -> None:
        """The token that was taken."""
        if self.done:
            return
        self.said.append(token)
        if token < self.size:
            self.seen[token] = True
        if token in self.ends:
            self.whole = True
        elif self.matcher is not None:
            self.matcher.consume_token(token)
            self.whole = self.matcher.is_stopped()


def _drawn(writers: Sequence[_Writer], ids: Any, scores: Any) -> Any:
    """A logits processor: each row's scores (rows, vocabulary) with its own draw; rows at their end are left alone."""
    import torch

    return torch.stack(
        [scores[n].float() if writer.done else writer.drawn(scores[n]) for n, writer in enumerate(writers)]
    )


def _ended(writers: Sequence[_Writer], ids: Any, scores: Any, **more: Any) -> Any:
    """A stopping criterion: whether each row is at its end, after the token it has just been given."""
    import torch

    for writer, token in zip(writers, ids[:, -1].tolist(), strict=True):
        writer.heard(token)
    return torch.tensor([writer.done for writer in writers], device=ids.device)


def translated(err: Exception) -> EngineFault | Stopped:
    """What torch or transformers raised, as one of ours."""
    import torch

    if isinstance(err, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(err):
        return Stopped(
            f"memory is used up ({local.short(err)}); give a smaller CONCURRENCY (rows decoded together), a smaller model, or "
            "dtype = 'bfloat16' in a file given as CONFIG=file"
        )
    return Transient(f"transformers: {local.short(err)}")
