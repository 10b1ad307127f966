"""Every setting of a run, in two kinds: what decides rows, and what only decides how they are made.

`Content` is hashed and frozen in run.toml: with another value it is another dataset, so the same OUT refuses it.
`Operation` may differ at every start and is logged there.
"""

import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from factory.errors import WrongRequest

ENGINES = ("rehearsal",)
COMING = ("vllm", "openai", "transformers")
PRESETS = ("default", "paper")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What decides the rows of a dataset."""

    engine: str = "rehearsal"
    model: str = ""  # of the engine; the rehearsal engine has its own
    revision: str = ""
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
    repairs: int = 2  # times a faulty answer is asked for again with its violations listed
    text_column: str = ""
    id_column: str = ""
    separator: str = ""  # 'blank': records of a .txt are separated by blank lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What decides how rows are made, never which."""

    limit: int = 0  # corpus records; 0: all. May grow at a resume
    shard_size: int = 64  # passages of a new shard
    concurrency: int = 64  # requests in flight
    workers: int = 0  # processes of the rehearsal engine, which only this computer's cores hold back; 0: as many as pay
    max_rejects: float = 0.5  # share of a stage's units, after 50; 1: no limit
    max_tokens: int = 0  # tokens in and out of this run, all starts together; 0: no limit
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
        wanted = hints[name]
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not wanted:
            raise WrongRequest(f"{name} = {value!r} is not of type {wanted.__name__}; change it in the configuration")
        made[name] = value
    return kind(**made)


def _checked(content: Content) -> Content:
    if content.engine in COMING:
        raise WrongRequest(
            f"ENGINE={content.engine} comes with the next release; this one has {', '.join(ENGINES)} only"
        )
    _one_of("ENGINE", content.engine, ENGINES)
    _one_of("PRESET", content.preset, PRESETS)
    _within("threshold", content.threshold, 0.0, 1.0)
    _within("passage_words", content.passage_words, 20, 4000)
    _within("actors", content.actors, 1, 50)
    _within("emotions", content.emotions, 1, 27)
    _within("neutrals", content.neutrals, 0, 10)
    _within("context_share", content.context_share, 0.0, 1.0)
    _within("flip_share", content.flip_share, 0.0, 0.15)
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
    _within("CONCURRENCY", operation.concurrency, 1, 10_000)
    _within("WORKERS", operation.workers, 0, 256)
    _within("MAX_REJECTS", operation.max_rejects, 0.0, 1.0)
    _within("MAX_TOKENS", operation.max_tokens, 0, 10**15)
    _within("fsync_seconds", operation.fsync_seconds, 0.01, 3600.0)
    _within("DELAY_MS", operation.delay_ms, 0.0, 600_000.0)
    return operation


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
