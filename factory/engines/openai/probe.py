"""What a server takes, found out once before the first request with at most a dozen small ones.

A fault that may pass is asked again and proves nothing. Only what the server itself refuses (400, 422), and answers once
it is left out, counts as not taken.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

import orjson

from factory.engines.openai.trouble import Server
from factory.engines.openai.wire import Findings
from factory.errors import Busy, Down, FactoryError, Refused, Stopped, Transient, Unreachable, WrongRequest
from factory.requests import Message, Reply, Request, Sampling

MOST = 12  # requests of a probe
TRIES = 5  # of one of them, while its faults may pass
NONCE = "morvenquill"  # the only word that the schema allows and no model would say of itself
SCHEMA = orjson.dumps(
    {
        "type": "object",
        "properties": {"word": {"type": "string", "enum": [NONCE], "maxLength": 40}},  # bounded, as those of the stages
        "required": ["word"],
        "additionalProperties": False,
    }
).decode()
_ASKED = (Message("user", 'Name a word of your choice. Answer in JSON with the one field "word".'),)
_SHORT, _LONG = 64, 512  # tokens; the second for a model that thinks before it speaks
_WORDS = ("yes", "no", "Yes", "No")
_CLEAN_TRIES = 3  # replies that break the schema before it is said that the server does not hold them to it

# How servers name what they do not take; the first that fits is left out.
_NAMES = (
    ("limit", r"max_(?:completion_)?tokens"),
    ("bounds", r"max_?length|max_?items|['\"`](?:minimum|maximum)['\"`]"),
    ("response_format", r"response.?format|json.?schema|json.?object|structured|grammar|guided"),
    ("top_p", r"top.?p\b"),  # before the temperature: servers that take only one of the two name both
    ("temperature", r"temperature"),
    ("seed", r"\bseed\b"),
    ("response_format", r"schema"),
)
_OPTIONAL = ("response_format", "top_p", "seed", "temperature")  # left out in this order where nothing is named

Ask = Callable[[Request, Findings], Awaitable[Reply]]


@dataclass
class Probe:
    """One probe of one server. `ask` sends one request; `mode` is the setting response_format, `reads` whether
    log-probabilities are needed."""

    ask: Ask
    server: Server
    mode: str = "auto"
    reads: bool = False
    patience_seconds: float = 60.0
    wait_seconds: float = 0.25

    def __post_init__(self) -> None:
        self._sent = 0
        self._began = time.monotonic()
        self._limit = _SHORT

    async def found(self) -> tuple[Findings, tuple[str, ...]]:
        """What the server takes, and the same in a sentence; WrongRequest or Unreachable, each with its cure."""
        self._began = time.monotonic()
        first = Findings(response_format="json_schema" if self.mode == "auto" else self.mode)
        findings, reply = await self._settled(first)
        held = findings.response_format != "json_schema" or await self._held(findings, reply)
        said = _named(self.server, findings, self.mode, held)
        if not (reply.tokens_in or reply.tokens_out):
            said += "; it counts no tokens, so costs and MAX_TOKENS cannot be watched"
        if self.reads:
            await self._logprobs(findings)
            said += "; log-probabilities come"
        return findings, (said,)

    async def _settled(self, findings: Findings) -> tuple[Findings, Reply]:
        """The most that the server takes, and its reply to that.

        Where it says the same again though all that it names was left out, it named the wrong thing.
        """
        said, whole = "", findings
        while True:
            try:
                return findings, await self._clean(_plain(self._limit), findings)
            except Refused as err:
                self._may_not_be_settings(err)
                if err.detail != said:
                    said, whole = err.detail, findings
                name = _culprit(err.detail, findings)
                refused = err
            if not name:
                return await self._searched(whole, refused)
            findings = self._without(findings, name, refused)

    async def _searched(self, findings: Findings, refused: Refused) -> tuple[Findings, Reply]:
        """A refusal that names nothing: leave out one thing after the other, then put back each that was not the cause."""
        bare, left = findings, list[str]()
        reply: Reply | None = None
        for name in _OPTIONAL:
            if not _asks(findings, name) or (name == "response_format" and self.mode != "auto"):
                continue
            bare, left = _less(bare, name), [*left, name]
            reply = await self._tried(bare)
            if reply:
                break
        if reply is None:
            raise self._wrong(refused)
        for name in left[:-1]:
            fuller = _like(bare, findings, name)
            again = await self._tried(fuller)
            bare, reply = (fuller, again) if again else (bare, reply)
        again = await self._tried(_like(bare, findings, left[-1]))
        if again:
            return _like(bare, findings, left[-1]), again  # it was no cause after all
        if "response_format" in left and bare.response_format == "text" and findings.response_format == "json_schema":
            for less in (_unbounded(bare), replace(bare, response_format="json_object")):
                again = await self._tried(less)
                if again:
                    return less, again
        return bare, reply

    async def _tried(self, findings: Findings) -> Reply | None:
        """The reply, or None where the server refuses the request as it stands."""
        try:
            return await self._clean(_plain(self._limit), findings)
        except Refused as err:
            self._may_not_be_settings(err)
            return None

    def _without(self, findings: Findings, name: str, refused: Refused) -> Findings:
        if name == "response_format" and findings.response_format == "json_schema" and findings.bounds:
            return _unbounded(findings)
        if name == "response_format" and self.mode != "auto":
            raise WrongRequest(
                f"{self.server.base_url} does not take response_format={self.mode} ({refused.detail}); leave "
                "response_format out, then what it takes is found out"
            )
        if name == "response_format" and findings.response_format == "json_schema":
            return replace(findings, response_format="json_object", bounds=True)
        return _less(findings, name)

    async def _held(self, findings: Findings, reply: Reply) -> bool:
        """Whether replies hold to a schema: no, where three clean ones in a row do not."""
        for _ in range(_CLEAN_TRIES - 1):
            if _obeys(reply.text) or self._sent >= MOST - self.reads:
                break
            reply = await self._clean(_plain(self._limit), findings)
        return _obeys(reply.text)

    async def _logprobs(self, findings: Findings) -> None:
        try:
            await self._clean(_reading(), findings)
        except Refused:
            raise WrongRequest(
                f"{self.server.base_url} gives no log-probabilities, which LABELLER=logprobs reads; say LABELLER=asked, "
                "or choose a server that gives them, such as vllm serve"
            ) from None

    async def _clean(self, request: Request, findings: Findings) -> Reply:
        """A reply, however often the server fails on the way (within reason); Refused where it refuses.

        A reply that is cut off at the longer limit counts: the server took what it was asked with.
        """
        fault: FactoryError | None = None
        cut: Reply | None = None
        for wait in self._waits():
            if fault is not None:
                await asyncio.sleep(self._bounded(fault, wait))
            if self._sent >= (MOST if request.read else MOST - self.reads):
                break
            self._sent += 1
            try:
                reply = await self.ask(request, findings)
            except Stopped as err:
                raise WrongRequest(str(err)) from None
            except Refused as err:
                if cut:  # the longer limit is more than it has room for
                    return cut
                if err.reason != "content_filter":
                    raise
                fault = err
            except Transient as err:
                fault = err
            else:
                done = bool(reply.text.strip()) and reply.finish in ("stop", "repetition")
                if request.read or done or (reply.finish == "length" and request.sampling.max_tokens == _LONG):
                    return reply
                fault = Transient(f"the reply was empty or cut off ({reply.finish})")
                if reply.finish == "length":
                    cut, self._limit, request = reply, _LONG, _plain(_LONG)
            if time.monotonic() - self._began > self.patience_seconds:
                break
        if cut:
            return cut
        raise self._unreachable(fault)

    def _waits(self) -> Iterator[float]:
        return (min(2.0, self.wait_seconds * 2**n) * random.uniform(0.75, 1.25) for n in range(-1, TRIES - 1))

    def _bounded(self, fault: FactoryError, wait: float) -> float:
        asked = fault.retry_after_seconds if isinstance(fault, Busy) else None
        left = self.patience_seconds - (time.monotonic() - self._began)
        return max(0.0, min(wait if asked is None else asked, left))

    def _unreachable(self, fault: FactoryError | None) -> Unreachable:
        where, why = self.server.base_url, f" ({fault})" if fault else ""
        if isinstance(fault, Down):
            return Unreachable(f"{fault}; start the server, or correct BASE_URL or the network")
        return Unreachable(
            f"{where} gave no good answer to a first small request{why}; look at the server and try again"
        )

    def _may_not_be_settings(self, refused: Refused) -> None:
        """No field is at fault where the server says that the request is too long."""
        if refused.reason != "bad_request":
            raise self._wrong(refused)

    def _wrong(self, refused: Refused) -> WrongRequest:
        return WrongRequest(
            f"{self.server.base_url} refuses even a small request ({refused}); see to MODEL, BASE_URL and extra_body"
        )


def _plain(most: int) -> Request:
    # A top_p of 1 is not sent, so that whether it is taken shows only with another.
    sampling = Sampling(temperature=0.7, max_tokens=most, seed=7, top_p=0.95)
    return Request(stage="probe", unit="probe", messages=_ASKED, schema=SCHEMA, sampling=sampling)


def _reading() -> Request:
    asked = (Message("user", "Is water wet? Answer with one word, yes or no."),)
    return replace(_plain(1), messages=asked, read=_WORDS)


def _unbounded(findings: Findings) -> Findings:
    """Schemas without bounds: the next best, for replies still have their shape."""
    return replace(findings, response_format="json_schema", bounds=False)


def _asks(findings: Findings, name: str) -> bool:
    if name == "bounds" and findings.response_format != "json_schema":
        return False
    value = getattr(findings, name)
    return value is True or value in ("json_schema", "json_object", "max_tokens")


def _less(findings: Findings, name: str) -> Findings:
    """The findings without one thing, or with the other name of the limit."""
    other: dict[str, str | bool] = {"response_format": "text", "limit": "max_completion_tokens"}
    return replace(findings, **{name: other.get(name, False)})  # type: ignore[arg-type]


def _like(findings: Findings, other: Findings, name: str) -> Findings:
    return replace(findings, **{name: getattr(other, name)})


def _culprit(detail: str, findings: Findings) -> str:
    """What a refusal names among that which was asked for, '' for nothing; a field in brackets or quotes goes first."""
    marked = " ".join(re.findall(r"[\[\"'`]([\w.]+)[\]\"'`]", detail))
    for text in (marked, detail):
        for name, pattern in _NAMES:
            if _asks(findings, name) and re.search(pattern, text, re.I):
                return name
    return ""


def _obeys(text: str) -> bool:
    try:
        return bool(json.loads(text) == {"word": NONCE})
    except (ValueError, RecursionError):
        return False


def _named(server: Server, findings: Findings, mode: str, held: bool) -> str:
    """The findings as a sentence for a person."""
    taken = [n for n in ("seed", "temperature", "top_p") if getattr(findings, n)]
    missing = [n for n in ("seed", "temperature", "top_p") if not getattr(findings, n)]
    formats = {
        "json_schema": "replies are held to JSON schemas (json_schema)",
        "json_object": "replies are asked for as plain JSON (json_object) and only checked here",
        "text": "replies are asked for as text and only checked here",
    }
    shown = formats[findings.response_format]
    if not findings.bounds:
        shown += ", but for bounds on lengths, which it does not take"
    if not held:
        shown = "it takes json_schema but does not hold its replies to it: they are only checked here"
    if mode == "auto" and findings.response_format != "json_schema":
        refused = "json_schema" if findings.response_format == "json_object" else "json_schema or json_object"
        shown = f"it does not take {refused}: {shown}"
    parts = [f"{server.base_url} answers as {server.model}; {shown}"]
    if taken:
        parts.append(f"{_listed(taken)} {'is' if len(taken) == 1 else 'are'} taken")
    if missing:
        parts.append(f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} not taken and not sent")
    if findings.limit != "max_tokens":
        parts.append(f"the limit of a reply is called {findings.limit}")
    return "; ".join(parts)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
