"""What went wrong at a server, as one of our own faults; its words are untrusted text and may repeat the key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from factory.errors import Busy, FactoryError, Refused, Stopped, Transient

LONGEST_WAIT_SECONDS = 120.0  # of a Retry-After; a server that wants more is asked again then
_SHOWN = 300  # characters of a server's message
_SECRET = re.compile(r"\bsk-\S+|\bBearer\s+\S+", re.I)
_SHORTEST_KEY = 4  # characters; nobody guards less, and words would be cut up by it
_SHORTEST_IN_REPLIES = 8  # where the text is data, so a word must not be taken for a key

_CONTEXT = re.compile(
    r"context.?(?:length|window|size)|maximum context|max_model_len|too many (?:input |prompt )?tokens"
    r"|(?:prompt|input|request|entity|payload|content|messages?)\b.{0,40}\btoo (?:long|large)"
    r"|exceed\w*.{0,60}\b(?:context|tokens?|length)|(?:context|tokens?|length)\b.{0,60}\bexceed|reduce the length",
    re.I,
)
_CONTENT = re.compile(
    r"content.{0,3}(?:policy|filter|management|moderation)|moderation|flagged|usage polic|safety (?:system|setting|polic)"
    r"|responsible.?ai|data_inspection_failed",
    re.I,
)
_UNPAID = re.compile(r"insufficient.{0,2}(?:quota|balance|credit|fund)|billing.{0,2}(?:hard|limit|not.active)", re.I)
_NEVER = re.compile(r"request too large", re.I)  # OpenAI's 429 for one request that is over the limit by itself
_BUSY = re.compile(r"rate.?limit|too_many_requests", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Who is asked, and what must not be said of it."""

    model: str
    base_url: str
    api_key: str = field(default="", repr=False)
    api_key_env: str = "OPENAI_API_KEY"

    def hidden(self, text: str) -> str:
        """The text without the key, or any word that begins or ends as it does."""
        key = self.api_key
        if len(key) >= _SHORTEST_KEY:
            ends = f"{re.escape(key[:8])}|{re.escape(key[-8:])}"
            text = re.sub(rf"[^\s\"']*(?:{ends})[^\s\"']*", "[key]", text, flags=re.I)
        return _SECRET.sub("[key]", text)

    def without_key(self, text: str) -> str:
        """A reply as it came, but for the key, should a server put it there."""
        key = self.api_key
        return text.replace(key, "[key]") if len(key) >= _SHORTEST_IN_REPLIES and key in text else text

    def quoted(self, text: str) -> str:
        """Words of a server for a person: one line, no control characters, no key, at most 300 characters."""
        line = "".join(c if c.isprintable() else " " if c.isspace() else "" for c in text[: 20 * _SHOWN])
        line = " ".join(self.hidden(line).split())
        return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


@dataclass(frozen=True, slots=True)
class Said:
    """An error as the server told it, whichever of the usual shapes it has."""

    message: str = ""
    code: str = ""
    param: str = ""

    @staticmethod
    def of(body: Any) -> "Said":
        """From {"error": {...}}, {"error": "..."}, {"message": ...}, FastAPI's {"detail": ...}, or no object at all."""
        if not isinstance(body, dict):
            return Said()
        told = body.get("error") or body
        if isinstance(told, list) and told:
            told = told[0]
        if not isinstance(told, dict):
            return Said(message=_text(told))
        more = told.get("metadata")
        raw = more.get("raw") if isinstance(more, dict) else None
        message = " ".join(filter(None, map(_text, (told.get("message") or told.get("detail"), raw))))
        codes = (told.get("code"), told.get("type"))
        return Said(message=message, code=" ".join(filter(None, map(_text, codes))), param=_text(told.get("param")))

    @property
    def status(self) -> int:
        """The HTTP status that the code names, 0 where it names none."""
        first = self.code.partition(" ")[0]
        return int(first) if first.isdecimal() and len(first) == 3 else 0

    @property
    def all(self) -> str:
        return " ".join(filter(None, (self.code, self.message, self.param)))


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return ""
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def fault(server: Server, status: int, headers: Mapping[str, str], body: Any, now: float) -> FactoryError:
    """The fault of an answer that is none; `status` is HTTP's, or the one that an error inside a 200 names.

    `now` is the time since 1970 in seconds, against which a date in Retry-After is read.
    """
    said = Said.of(body)
    told = server.quoted(said.message)
    because = f" ({told})" if told else ""
    where = server.base_url
    if status == 403 and _CONTENT.search(said.all):
        return Refused("content_filter", told)
    if status in (401, 403):
        return Stopped(_no_entry(server, where, because))
    if status == 402 or (status == 429 and _UNPAID.search(said.all)):
        return Stopped(
            f"{where} asks for payment before it answers{because}; see to the account of the key in "
            f"{server.api_key_env}, or choose another server"
        )
    if status == 429 and _NEVER.search(said.message):
        return Refused("context_too_long", told)
    if status == 429:
        return Busy(f"{where} asks for fewer requests{because}", retry_after(headers, now))
    if status == 404:
        return Stopped(
            f"{where} does not know the model {server.model!r} or the path /chat/completions{because}; correct MODEL, "
            "or BASE_URL (most end in /v1)"
        )
    if 300 <= status < 400:
        return Stopped(
            f"{where} sends its callers elsewhere, which is not followed, for the key would travel along; "
            f"give BASE_URL the final address ({server.quoted(_header(headers, 'location')) or 'not said'})"
        )
    if status in (408, 409, 425) or not 400 <= status < 500:
        return Transient(f"{where} answered with status {status}{because}")
    if _CONTEXT.search(said.all):
        return Refused("context_too_long", told)
    if _CONTENT.search(said.all):
        return Refused("content_filter", told)
    param = server.quoted(said.param)
    return Refused("bad_request", f"{told} [{param}]" if param and param not in told else told or f"status {status}")


def inner(server: Server, body: Any, now: float) -> FactoryError:
    """The fault that an error object inside a 200 stands for: by the status or word of its code, else one that may pass."""
    said = Said.of(body)
    if said.status >= 400:
        return fault(server, said.status, {}, body, now)
    for status, pattern in ((429, _UNPAID), (429, _BUSY), (400, _CONTEXT), (400, _CONTENT)):
        if pattern.search(said.code):
            return fault(server, status, {}, body, now)
    told = server.quoted(said.message)
    return Transient(f"{server.base_url} answered with an error{f' ({told})' if told else ''}")


def _no_entry(server: Server, where: str, because: str) -> str:
    name = server.api_key_env
    if not server.api_key:
        return f"{where} wants a key, and {name} is not set{because}; put the key into {name} and run the same command"
    return f"the key in {name} was refused by {where}{because}; put one that is valid there into {name}"


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the server asked to wait, at most 120; None where it said nothing that can be read."""
    asked = _header(headers, "retry-after").strip()
    seconds = _number(asked)
    if seconds is None and asked:
        seconds = _until(asked, now)
    if seconds is None:
        seconds = _span(_header(headers, "x-ratelimit-reset-requests").strip())
    return None if seconds is None else min(max(0.0, seconds), LONGEST_WAIT_SECONDS)


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,12}(?:\.\d{1,12})?", text, re.A) else None


def _until(date: str, now: float) -> float | None:
    try:
        when: datetime = parsedate_to_datetime(date[:100])
        return when.timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def _span(text: str) -> float | None:
    """'6m0s', '1s', '120ms', '7.66s' in seconds."""
    parts = re.findall(r"(\d{1,9}(?:\.\d{1,9})?)(ms|[dhms])", text[:60], re.A)
    if not parts or "".join(map("".join, parts)) != text:
        return _number(text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
