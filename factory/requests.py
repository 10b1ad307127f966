"""What passes between a stage and an engine: one request, one reply, and the key that names the pair."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import orjson

Finish = Literal["stop", "length", "repetition", "filtered", "error"]
FINISHES = frozenset(("stop", "length", "repetition", "filtered", "error"))


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the engine draws: `max_tokens` bounds the reply, `seed` is the row's own."""

    temperature: float
    max_tokens: int
    seed: int
    top_p: float = 1.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to an engine.

    `fields` are what the messages were rendered from: only the engine that plays without a model reads them.
    `repair` counts the times the model was told of violations, `round` the times a reject was asked for again.
    With `read` nothing is written: the reply is the distribution of the next token over these one-token words.
    """

    stage: str
    unit: str
    messages: tuple[Message, ...]
    schema: str
    sampling: Sampling
    repair: int = 0
    round: int = 0
    read: tuple[str, ...] = ()
    fields: dict[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The raw text of one answer; `tokens_*` as the engine counted them, `tokens_cached` those of `tokens_in` that its
    prefix cache held.

    To a request with `read` the text is a JSON object from each word to its natural log-probability as the next token,
    at temperature 1 over the whole vocabulary; a word that the engine could not read is left out.
    """

    text: str
    finish: Finish = "stop"
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    seconds: float = 0.0

    @staticmethod
    def of(text: str, finish: str) -> "Reply":
        """A reply as it was journalled."""
        return Reply(text=text, finish=finish if finish in FINISHES else "stop")  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose words the replies are; part of every key and of every row."""

    engine: str
    model: str
    revision: str = ""


def key(identity: Identity, request: Request) -> str:
    """The name of a reply in the journal: sha256 over everything that decides it (DESIGN section 2), as canonical JSON.

    Transport retries and library versions are left out on purpose: they do not change what was asked. What requests
    share (engine, first message, schema) is written and hashed once; the bytes are those of `canonical`.
    """
    digest = _shared(identity, request.messages[0]).copy()
    digest.update(b"".join(b"," + orjson.dumps(message) for message in request.messages[1:]))
    digest.update(b"]," + _quoted(request.schema) + b",")
    rest = (request.sampling, request.repair, request.round)
    digest.update(orjson.dumps((*rest, request.read) if request.read else rest)[1:])
    return digest.hexdigest()


def canonical(identity: Identity, request: Request) -> bytes:
    """What `key` hashes, all at once."""
    parts = (identity, request.messages, request.schema, request.sampling, request.repair, request.round)
    return orjson.dumps((*parts, request.read) if request.read else parts)


@lru_cache(maxsize=64)
def _shared(identity: Identity, first: Message) -> "hashlib._Hash":
    """The hash of the beginning of the canonical bytes, up to the first message."""
    return hashlib.sha256(orjson.dumps((identity, (first,)))[:-2])


@lru_cache(maxsize=64)
def _quoted(schema: str) -> bytes:
    return orjson.dumps(schema)


def draw(*parts: object) -> float:
    """A number in [0, 1) from a hash of its arguments: what looks random is the same in every run and process."""
    return int.from_bytes(_digest(parts)[:7], "big") / 2**56


def row_seed(*parts: object) -> int:
    """A 31-bit seed from a hash of its arguments."""
    return int.from_bytes(_digest(parts)[:4], "big") >> 1


def _digest(parts: tuple[object, ...]) -> bytes:
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
