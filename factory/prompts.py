"""Templates under `prompts/`: exact words, strict fields, one hash each.

A template is a Markdown file: a comment that is not sent (what it is for, its size in tokens), then `## system` and
`## user`. `{{field}}` is replaced by the value of that field, once; values are never read as templates. Every value
is untrusted (a corpus, an earlier reply), so it cannot close a fence, open a chat turn or carry control characters.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from factory.errors import WrongRequest
from factory.requests import Message

_FIELD = re.compile(r"\{\{(\w+)\}\}")
_PART = re.compile(r"^## (system|user)\s*$", re.M)
_COMMENT = re.compile(r"<!--.*?-->", re.S)

# No angle bracket survives, so neither our fences nor <|im_start|>, <s>, <<SYS>> or <start_of_turn> can be written;
# the square-bracket families are named. Bidi and zero-width marks and control characters have no place in a prompt.
_BRACKETS = str.maketrans(
    {"<": "\u2039", ">": "\u203a"}
    | {chr(c): " " for c in (*range(9), 11, 12, *range(14, 32), *range(127, 160))}
    | {
        chr(c): None
        for c in (0xAD, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
    }
    | {chr(c): None for c in range(0xE0000, 0xE0080)}
)
_SQUARE = re.compile(
    r"\[(/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|PREFIX|SUFFIX|MIDDLE|THINK|ARGS|CALL_ID|TOOL_CONTENT|MODEL_SETTINGS|IMG|gMASK|CLS|SEP))\]",
    re.I,
)
_HAS_SQUARE = re.compile(r"\[[/A-Za-z]")


@lru_cache(maxsize=1024)
def neutral(text: str) -> str:
    """Text that can stand inside a prompt without changing its structure; the same length but for invisible marks."""
    text = text.translate(_BRACKETS)
    return _SQUARE.sub(r"(\1)", text) if _HAS_SQUARE.search(text) else text


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template; `hash` is over the bytes of its file."""

    name: str
    text: str
    hash: str
    system: tuple[str, ...]
    user: tuple[str, ...]
    fields: frozenset[str]

    def render(self, values: Mapping[str, str]) -> tuple[Message, ...]:
        """The messages for these fields; a missing or an unused field is an error that names it."""
        if values.keys() != self.fields:
            missing, unused = self.fields - values.keys(), values.keys() - self.fields
            raise WrongRequest(
                f"prompt {self.name!r}: missing fields {sorted(missing)}, unused fields {sorted(unused)}; "
                "make the template and the stage's ask() name the same fields"
            )
        safe = {name: neutral(value) for name, value in values.items()}
        return (*_system(self.system, safe), Message("user", _fill(self.user, safe)))


def _system(pieces: tuple[str, ...], values: Mapping[str, str]) -> tuple[Message, ...]:
    """One without fields is made once: it is most of a prompt."""
    return _plain_system(pieces[0]) if len(pieces) == 1 else (Message("system", _fill(pieces, values)),)


@lru_cache(maxsize=64)
def _plain_system(text: str) -> tuple[Message, ...]:
    return (Message("system", text),) if text else ()


def _fill(pieces: tuple[str, ...], values: Mapping[str, str]) -> str:
    """Odd pieces are field names (re.split keeps them), even ones literal text."""
    return "".join(values[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def parse(name: str, text: str) -> Template:
    """Read one template; WrongRequest names the file and the fault."""
    parts = _PART.split(_COMMENT.sub("", text))
    found = dict(zip(parts[1::2], (p.strip() for p in parts[2::2]), strict=True))
    if not found.get("user"):
        raise WrongRequest(f"prompt {name!r} has no '## user' part; see prompts/README.md for the form of a template")
    system, user = (tuple(_FIELD.split(found.get(part, ""))) for part in ("system", "user"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Template(name, text, digest, system, user, frozenset(system[1::2] + user[1::2]))


@dataclass(frozen=True, slots=True)
class Book:
    """The templates of a run, by name."""

    templates: dict[str, Template]

    def __getitem__(self, name: str) -> Template:
        try:
            return self.templates[name]
        except KeyError:
            raise WrongRequest(f"there is no prompt named {name!r}; add {name}.md to the prompts folder") from None

    def hash(self, names: Iterable[str]) -> str:
        """One hash over the ordered hashes of some templates (a row's `prompt_hash`)."""
        return hashlib.sha256("".join(self[n].hash for n in names).encode()).hexdigest()[:16]


def folder(given: Path | None = None) -> Path:
    """Where the templates are: the folder given, else the installed package's, else the checkout's."""
    if given is not None:
        if not given.is_dir():
            raise WrongRequest(f"no prompts folder {given}; give PROMPTS a folder that holds one .md file a stage")
        return given
    packaged = Path(__file__).parent / "_prompts"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "prompts"


def load(names: Iterable[str], given: Path | None = None) -> Book:
    """The named templates from the one place where they are looked for."""
    where = folder(given)
    templates = {}
    for name in dict.fromkeys(names):
        path = where / f"{name}.md"
        try:
            templates[name] = parse(name, path.read_bytes().decode())
        except FileNotFoundError:
            raise WrongRequest(
                f"no prompt {path}; copy it from the project's prompts folder and change it there"
            ) from None
        except (OSError, UnicodeDecodeError) as err:
            raise WrongRequest(f"the prompt {path} cannot be read ({err}); it must be a readable UTF-8 file") from err
    return Book(templates)
