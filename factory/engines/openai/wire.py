"""The words on the wire: a request as the body of a chat completion, what comes back as a reply or a fault.

Nothing is sent here. Field names are those of OpenAI's chat completions, read as loosely as other servers write them.
"""

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

import orjson

from factory.engines.openai.trouble import Server, fault, inner
from factory.errors import Refused, Transient, WrongRequest
from factory.requests import Finish, Reply, Request

RESERVED = ("model", "messages", "stream")
MOST_BYTES = 8 * 2**20  # of an answer; a reply of a thousand tokens has some four thousand
MOST_CHARACTERS, _KEPT = 400_000, 200_001  # of a reply; what is left of a longer one, more than is ever mended
_LIKELIEST = 20  # log-probabilities asked for; the most that OpenAI and vLLM give

_FINISHES: dict[str, Finish] = {
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "max_completion_tokens", "model_length"), "length"),
    **dict.fromkeys(("content_filter", "safety", "refusal", "recitation", "blocklist"), "filtered"),
    "repetition": "repetition",
}
_CUT = frozenset(("error", "abort", "aborted", "insufficient_system_resource"))  # the server gave up half way


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a server takes, as the probe found out; what is not taken is not sent."""

    response_format: str = "json_schema"
    bounds: bool = True  # on lengths and numbers in a schema
    limit: str = "max_tokens"  # name of the field that bounds a reply
    temperature: bool = True
    top_p: bool = True
    seed: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server sent: status, headers, bytes as they came."""

    status: int
    headers: Mapping[str, str]
    content_type: str
    data: bytes


def refuse_reserved(extra: Mapping[str, Any]) -> None:
    """WrongRequest where `extra_body` would replace what is ours to say."""
    taken = sorted(set(extra) & set(RESERVED))
    if taken:
        raise WrongRequest(f"extra_body cannot replace {', '.join(taken)}; leave it out (the model is given by MODEL)")


def body(request: Request, findings: Findings, model: str, extra: Mapping[str, Any]) -> bytes:
    """The body of one request; `extra` is merged last, but for what reading log-probabilities depends on."""
    sampling = request.sampling
    sent: dict[str, Any] = {"model": model, "messages": request.messages, "stream": False}
    if request.read:
        # Servers scale log-probabilities by the temperature or they do not: at 1 both say the same.
        own: dict[str, Any] = {findings.limit: 1, "logprobs": True, "top_logprobs": _LIKELIEST}
        if findings.temperature:
            own["temperature"] = 1.0
        if findings.seed:
            own["seed"] = sampling.seed
        unwanted = {"response_format", "top_p", "max_tokens", "max_completion_tokens"}
        return orjson.dumps(sent | {k: v for k, v in extra.items() if k not in unwanted} | own)
    sent[findings.limit] = sampling.max_tokens
    if findings.temperature:
        sent["temperature"] = sampling.temperature
    if findings.seed:
        sent["seed"] = sampling.seed
    if findings.top_p and sampling.top_p != 1:
        sent["top_p"] = sampling.top_p
    if sampling.repetition_penalty != 1:
        sent["repetition_penalty"] = sampling.repetition_penalty
    if request.schema and findings.response_format != "text":  # without a schema the reply is free text
        sent["response_format"] = _format(findings.response_format, request.stage, request.schema, findings.bounds)
    if extra:
        sent |= extra
    return orjson.dumps(sent)


@lru_cache(maxsize=256)
def _format(mode: str, stage: str, schema: str, bounds: bool) -> Any:
    """The same few bytes for every request of a stage."""
    if mode == "json_object":
        return orjson.Fragment(b'{"type":"json_object"}')
    whole = orjson.loads(schema)
    named = {"name": stage[:64], "schema": whole if bounds else _unbounded(whole), "strict": True}
    return orjson.Fragment(orjson.dumps({"type": "json_schema", "json_schema": named}))


_BOUNDS = frozenset(("minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum"))


def _unbounded(schema: Any, named: bool = False) -> Any:
    """A schema without its bounds; `named` where the keys are names of fields, not words of the schema."""
    if isinstance(schema, list):
        return [_unbounded(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = schema if named else {key: value for key, value in schema.items() if key not in _BOUNDS}
    return {key: _unbounded(value, not named and key in ("properties", "$defs")) for key, value in kept.items()}


def reply(answer: Answer, server: Server, read: tuple[str, ...] = (), seconds: float = 0.0, now: float = 0.0) -> Reply:
    """The reply in an answer; raises Transient, Busy, Refused or Stopped where there is none.

    `read` are the words of the request of that name; `now` is the time since 1970 in seconds.
    """
    found = _parsed(answer)
    if not 200 <= answer.status < 300:
        raise fault(server, answer.status, answer.headers, found, now)
    if not isinstance(found, dict):
        kind = server.quoted(answer.content_type) or "unnamed"
        _unusable(server, f"what is no JSON object (content type {kind})")
    if found.get("error"):
        raise inner(server, found, now)
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        _unusable(server, "no choice")
    if choice.get("error"):
        raise inner(server, choice, now)
    why = choice.get("finish_reason")
    why = why.lower() if isinstance(why, str) else "stop"
    if why in _CUT:
        _unusable(server, f"a reply that it gave up ({why})")
    finish: Finish = _FINISHES.get(why, "stop")
    if read:
        text = _read(choice, read)
    else:
        text, refusal = _text(choice, server)
        finish = "filtered" if refusal else finish
        if len(text) > MOST_CHARACTERS:
            text, finish = text[:_KEPT], "length"
    tokens_in, tokens_out, tokens_cached = _usage(found.get("usage"))
    return Reply(
        text=text,
        finish=finish,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        tokens_cached=tokens_cached,
        seconds=seconds,
    )


def _unusable(server: Server, what: str) -> NoReturn:
    raise Transient(f"{server.base_url} answered with {what}")


def _parsed(answer: Answer) -> Any:
    data = answer.data
    if answer.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        data = _unpacked(answer)
    try:
        return orjson.loads(data)
    except ValueError:
        try:  # looser: NaN, halves of surrogate pairs, bytes that are no UTF-8
            return json.loads(data.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None


def _unpacked(answer: Answer) -> bytes:
    """Packed although it was asked not to be: unpacked to at most 8 MiB; what is longer or otherwise packed is nothing."""
    kind = answer.headers["Content-Encoding"].lower()
    if kind not in ("gzip", "x-gzip", "deflate"):
        return b""
    unpacker = zlib.decompressobj(wbits=47 if kind != "deflate" else 15)
    try:
        data = unpacker.decompress(answer.data, MOST_BYTES)
    except zlib.error:
        return b""
    return b"" if unpacker.unconsumed_tail else data


def _text(choice: dict[str, Any], server: Server) -> tuple[str, bool]:
    """What the model said, and whether it is a refusal; what it thought on the way is never the reply."""
    message = choice.get("message")
    if not isinstance(message, dict):
        _unusable(server, "a choice without a message")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(filter(None, map(_part, content)))
    if content is not None and not isinstance(content, str):
        _unusable(server, "a message that is no text")
    refusal = message.get("refusal")
    if not content and isinstance(refusal, str) and refusal:
        return server.without_key(refusal), True
    return server.without_key(content or ""), False


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, dict) and part.get("type") in (None, "text", "output_text") else None
    return text if isinstance(text, str) else ""


def _usage(usage: Any) -> tuple[int, int, int]:
    """Tokens in, out, and those of the first that were cached, 0 where the server does not say."""
    if not isinstance(usage, dict):
        return 0, 0, 0
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    if cached is None:  # DeepSeek's name, Mistral's, Z.ai's
        cached = next(
            (usage[n] for n in ("prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens") if n in usage), 0
        )
    tokens_in = _count(usage.get("prompt_tokens"))
    return tokens_in, _count(usage.get("completion_tokens")), min(_count(cached), tokens_in)


def _count(value: Any) -> int:
    """A whole number, 0 for anything else; 1000.0 is one."""
    good = type(value) in (int, float) and 0 <= value < 2**40 and value == int(value)
    return int(value) if good else 0


def _read(choice: dict[str, Any], words: tuple[str, ...]) -> str:
    """Log-probabilities of the words as the next token; tokens that stand for one word are added up."""
    found: dict[str, dict[str, float]] = {}
    for token, logprob in _likeliest(choice.get("logprobs")):
        spelt = found.setdefault(token.lstrip(" ▁Ġ"), {})
        spelt[token] = max(logprob, spelt.get(token, logprob))  # the chosen one comes twice, at times rounded
    return orjson.dumps({w: _sum([*found[w].values()]) for w in words if w in found}).decode()


def _likeliest(logprobs: Any) -> list[tuple[str, float]]:
    try:
        first = logprobs["content"][0]
        entries = [*first["top_logprobs"], first]
    except (TypeError, KeyError, IndexError):
        raise Refused("no_logprobs", "the server gave no log-probabilities") from None
    good = []
    for entry in entries:
        token, logprob = (entry.get("token"), entry.get("logprob")) if isinstance(entry, dict) else (None, None)
        # vLLM writes -9999 for a token that cannot come; JSON's loose infinities are left out with it.
        if not isinstance(token, str) or not isinstance(logprob, int | float) or isinstance(logprob, bool):
            continue
        if -1000 < logprob <= 1e-3:
            good.append((token, float(logprob)))
    if not good:
        raise Refused("no_logprobs", "the server gave no log-probabilities")
    return good


def _sum(logprobs: list[float]) -> float:
    """The logarithm of the sum of the probabilities, at most 0."""
    top = max(logprobs)
    return min(0.0, top + math.log(sum(math.exp(p - top) for p in logprobs)))
