"""Every setting of a run, in two kinds: what decides rows, and what only decides how they are made.

`Content` is hashed and frozen in run.toml: with another value it is another dataset, so the same OUT refuses it.
`Operation` may differ at every start and is logged there.
"""

import json
import re
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin, get_type_hints
from urllib.parse import urlsplit

import orjson

from factory.errors import WrongRequest

ENGINES = ("rehearsal", "vllm", "openai", "transformers")
PRESETS = ("default", "paper")
LABELLERS = ("asked", "logprobs")
FORMATS = ("auto", "json_schema", "json_object", "text")
_SECRET = re.compile(r"key|token$|secret|password|passwd|^auth|credential", re.I)
_KEY = re.compile(
    r"\b(?:sk|gsk|hf|xai|nvapi|pplx|ghp)[-_][A-Za-z0-9_-]{12,}|\bBearer\s+\S", re.I
)  # as providers make them


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What decides the rows of a dataset."""

    engine: str = "rehearsal"
    model: str = ""  # of the engine: a folder, a hub id, or the server's name for it; the rehearsal engine has its own
    revision: str = ""  # of a hub model; a folder's is the hash of what is in it
    dtype: str = "auto"  # number format of a model in this process, as vLLM and transformers name them
    quantization: str = ""  # of a model that vLLM loads
    extra_body: dict[str, Any] = field(default_factory=dict)  # more fields for every request to a server
    labeller: str = "asked"  # 'logprobs': labels are also read from the log-probabilities of the label tokens
    preset: str = "default"  # 'paper': Emo Pillars as published, for comparison
    seed: int = 0
    threshold: float = 0.3  # a label is kept when its score reaches this
    loose_aliases: bool = False  # map words that depend on the text (hurt, pity) to labels too
    passage_words: int = 400  # a record is cut at sentence ends into passages of at most so many words
    actors: int = 6  # most actors of a passage
    emotions: int = 8  # utterances with an emotion, for each actor
    neutrals: int = 2  # and without one
    context_share: float = 1 / 3  # of the labelled utterances go on to context, cleaning and rewriting
    flip_share: float = 0.15  # most of the originals that are flipped
    dialogue_share: float = 0.5  # of the actors that become clients of a counsellor; of one actor it may leave none
    dialogue_turns: int = 14  # most turns of a dialogue, a turn being one message
    items: int = 3  # questions on understanding, and as many on what to do, of each dialogue
    shuffles: int = 3  # orders in which the solver answers each item; one guessed in all of them, unread, goes
    agreement: float = 0.67  # an item is kept when at least this share of the solver's answers is right
    sft_rationale: bool = True  # the answers to items in the view sft begin with the rationale
    repairs: int = 2  # times a faulty answer is asked for again with its violations listed
    text_column: str = ""
    id_column: str = ""
    separator: str = ""  # 'blank': records of a .txt are separated by blank lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What decides how rows are made, never which."""

    limit: int = 0  # corpus records; 0: all. May grow at a resume
    shard_size: int = 64  # passages of a new shard
    concurrency: int = 0  # requests in flight; 0: as many as pay (servers: found while running)
    base_url: str = ""  # of an OpenAI-compatible server, with its /v1
    api_key_env: str = "OPENAI_API_KEY"  # name of the environment variable that holds the key; the key itself nowhere
    response_format: str = "auto"  # 'json_schema', 'json_object', 'text': what a server is asked for; 'auto' probes
    timeout_seconds: float = 600.0  # for one reply of a server
    patience_seconds: float = 60.0  # a server that answers nobody for so long ends the run, which can be resumed
    engine_arguments: dict[str, Any] = field(default_factory=dict)  # for vLLM's engine: tensor_parallel_size and so on
    workers: int = 0  # processes of the rehearsal engine, which only this computer's cores hold back; 0: as many as pay
    max_rejects: float = 0.5  # share of a stage's units, after 50; 1: no limit
    max_tokens: int = 0  # tokens in and out of this run, all starts together; 0: no limit
    max_cost: float = 0.0  # in the currency of the prices, all starts together; 0: no limit
    price_in: float = 0.0  # of a million prompt tokens
    price_cached: float = -1.0  # of a million prompt tokens that the server had cached; -1: as price_in
    price_out: float = 0.0  # of a million tokens of replies
    currency: str = "USD"
    decontaminate: str = ""  # EmoBench's folder, or a file of it: items that repeat one of its scenarios are left out
    fsync_seconds: float = 1.0  # a power cut loses at most so much of the journal
    faults: str = ""  # 'malformed=0.1,error=0.05': spoils that share of the replies, for tests
    delay_ms: float = 0.0  # every rehearsal reply takes so long, for tests


def content_from(values: dict[str, Any]) -> Content:
    return _checked(_filled(Content, values))


def _filled(kind: type[Any], values: dict[str, Any]) -> Any:
    """The dataclass from loose values; a value of the wrong type is an error with its name."""
    hints = get_type_hints(kind)
    made = {}
    for name, value in values.items():
        wanted = get_origin(hints[name]) or hints[name]
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not wanted:
            raise WrongRequest(f"{name} = {value!r} is not of type {wanted.__name__}; change it in the configuration")
        made[name] = value
    return kind(**made)


def _checked(content: Content) -> Content:
    _one_of("ENGINE", content.engine, ENGINES)
    _one_of("PRESET", content.preset, PRESETS)
    _one_of("LABELLER", content.labeller, LABELLERS)
    _no_secrets("extra_body", content.extra_body)
    _no_secrets("MODEL", content.model)
    _plain_data("extra_body", content.extra_body)
    for name in ("extra_body",) if content.extra_body and content.engine != "openai" else ():
        raise WrongRequest(f"{name} goes to a server; leave it out, or say ENGINE=openai")
    for name in ("dtype", "quantization") if content.engine in ("rehearsal", "openai") else ():
        if getattr(content, name) != getattr(Content(), name):
            raise WrongRequest(f"{name} is for a model in this process; leave it out, or say ENGINE=vllm")
    _within("threshold", content.threshold, 0.0, 1.0)
    _within("passage_words", content.passage_words, 20, 4000)
    _within("actors", content.actors, 1, 50)
    _within("emotions", content.emotions, 1, 27)
    _within("neutrals", content.neutrals, 0, 10)
    _within("context_share", content.context_share, 0.0, 1.0)
    _within("flip_share", content.flip_share, 0.0, 0.15)
    _within("dialogue_share", content.dialogue_share, 0.0, 1.0)
    _within("dialogue_turns", content.dialogue_turns, 4, 40)
    _within("items", content.items, 1, 8)
    _within("shuffles", content.shuffles, 1, 12)
    _within("agreement", content.agreement, 0.0, 1.0)
    _within("repairs", content.repairs, 0, 5)
    if content.preset == "paper" and (content.emotions, content.neutrals) != (8, 2):
        raise WrongRequest("PRESET=paper asks for 8 emotions and 2 neutral utterances; leave emotions and neutrals out")
    if content.separator not in ("", "blank"):
        raise WrongRequest(f"SEPARATOR={content.separator} is unknown; leave it out or say SEPARATOR=blank")
    return content


def operation_from(values: dict[str, Any]) -> Operation:
    operation: Operation = _filled(Operation, values)
    _within("LIMIT", operation.limit, 0, 10**12)
    _within("SHARD_SIZE", operation.shard_size, 1, 100_000)
    _within("CONCURRENCY", operation.concurrency, 0, 10_000)
    _within("WORKERS", operation.workers, 0, 256)
    _within("MAX_REJECTS", operation.max_rejects, 0.0, 1.0)
    _within("MAX_TOKENS", operation.max_tokens, 0, 10**15)
    _within("MAX_COST", operation.max_cost, 0.0, 1e12)
    for name in ("price_in", "price_out"):
        _within(name, getattr(operation, name), 0.0, 1e9)
    _within("price_cached", operation.price_cached, -1.0, 1e9)
    if operation.max_cost and not (operation.price_in or operation.price_out):
        raise WrongRequest(
            f"MAX_COST={operation.max_cost:g} needs prices; give PRICE_IN and PRICE_OUT (per million tokens)"
        )
    _one_of("response_format", operation.response_format, FORMATS)
    _within("timeout_seconds", operation.timeout_seconds, 0.1, 86_400.0)
    _within("patience_seconds", operation.patience_seconds, 0.1, 86_400.0)
    for name in ("engine_arguments", "base_url", "api_key_env"):
        _no_secrets(name, getattr(operation, name))
    _plain_data("engine_arguments", operation.engine_arguments)
    _check_url(operation.base_url)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", operation.api_key_env):
        raise WrongRequest("api_key_env is the name of an environment variable, such as OPENAI_API_KEY, not the key")
    _within("fsync_seconds", operation.fsync_seconds, 0.01, 3600.0)
    _within("DELAY_MS", operation.delay_ms, 0.0, 600_000.0)
    return operation


def _no_secrets(name: str, value: Any) -> None:
    """Settings are written down; a key among them would be too."""
    if isinstance(value, dict):
        for inner, one in value.items():
            if _SECRET.search(str(inner)):
                raise _secret(f"{name}.{inner}")
            _no_secrets(f"{name}.{inner}", one)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            _no_secrets(f"{name}.{number}", one)
    elif isinstance(value, str) and _KEY.search(value):
        raise _secret(name)


def without_keys(text: str) -> str:
    """A text of foreign code for a person, without what looks like a key."""
    return re.sub(r"\b(?:sk|gsk|hf|xai|nvapi|pplx|ghp)[-_][A-Za-z0-9_-]{6,}|\bBearer\s+\S+", "[key]", text, flags=re.I)


def _secret(name: str) -> WrongRequest:
    return WrongRequest(
        f"{name} looks like a key, and settings are written into the run's folder; keys come from the environment alone "
        "(api_key_env names the variable)"
    )


def _plain_data(name: str, values: dict[str, Any]) -> None:
    """What can be sent and written down as JSON and comes back the same."""
    try:
        orjson.dumps(values)
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as err:
        raise WrongRequest(f"{name} holds what is no plain JSON ({err}); change it in the configuration") from err


def _check_url(url: str) -> None:
    """The address of a server and nothing else: what is in it is written down."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        raise WrongRequest("BASE_URL is no address of a server; say for example BASE_URL=http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise WrongRequest(
            "BASE_URL is written into the run's folder, so it must hold no user, password or query; put the key into the "
            "environment variable OPENAI_API_KEY"
        )


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise WrongRequest(f"{name}={value} is unknown; choose among {', '.join(known)}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise WrongRequest(
            f"{name}={_plain(value)} is out of range; choose a value from {_plain(low)} to {_plain(high)}"
        )


def _plain(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def from_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Content and operation values of a TOML file; an unknown name is an error with its place."""
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise WrongRequest(f"the configuration {path} cannot be read: {err}") from err
    known = {f.name for f in fields(Content)}, {f.name for f in fields(Operation)}
    for name in values:
        if name not in known[0] | known[1]:
            line = next((n for n, row in enumerate(text.splitlines(), 1) if row.strip().startswith(name)), 1)
            raise WrongRequest(
                f"{path}:{line}: there is no setting {name!r}; the settings are listed in docs/SETTINGS.md "
                f"(content: {', '.join(sorted(known[0]))})"
            )
    return ({k: v for k, v in values.items() if k in known[0]}, {k: v for k, v in values.items() if k in known[1]})


def with_given(base: dict[str, Any], **given: Any) -> dict[str, Any]:
    """Options that were given on the command line win over the file."""
    return base | {name: value for name, value in given.items() if value is not None}


def differing(old: Content, new: Content) -> list[str]:
    """Names (with both values) of the content settings in which two runs differ."""
    a, b = asdict(old), asdict(new)
    return [f"{name} ({a[name]!r} then, {b[name]!r} now)" for name in a if a[name] != b[name]]
