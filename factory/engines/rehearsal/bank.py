"""The phrase bank: templates by label, filled from a scene, and recognised again by their own words."""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from factory.taxonomy import LABELS, NEUTRAL

_HERE = Path(__file__).parent
_SLOT = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
KINDS = ("leads", "lines", "tails", "rationales", "asides")


@dataclass(frozen=True, slots=True, eq=False)
class Phrase:
    """A template cut at its slots: odd pieces are slot names. `needs` are the slots in lower case."""

    pieces: tuple[str, ...]
    needs: frozenset[str]

    @staticmethod
    def parse(text: str) -> "Phrase":
        pieces = tuple(_SLOT.split(text))
        return Phrase(pieces, frozenset(name.lower() for name in pieces[1::2]))

    def fill(self, values: Mapping[str, str]) -> str:
        return "".join(_slot(piece, values) if i % 2 else piece for i, piece in enumerate(self.pieces))


def _slot(name: str, values: Mapping[str, str]) -> str:
    value = values[name.lower()]
    return value[:1].upper() + value[1:] if name[0].isupper() else value


@dataclass(frozen=True, slots=True)
class Prototype:
    """How an utterance of a label is usually appraised, and which labels stand near it."""

    scores: Mapping[str, float]
    neighbours: Mapping[str, float]
    words: tuple[str, ...]


@cache
def _files() -> dict[str, dict[str, Any]]:
    return {label: tomllib.loads((_HERE / "bank" / f"{label}.toml").read_text("utf-8")) for label in LABELS}


@cache
def phrases(label: str, kind: str) -> tuple[Phrase, ...]:
    return tuple(map(Phrase.parse, _files()[label][kind]))


@lru_cache(maxsize=8192)
def fitting(label: str, kind: str, have: frozenset[str], anchored: bool = False) -> tuple[Phrase, ...]:
    """The phrases whose slots a scene can fill; `anchored`: those that have any, if there are such."""
    fit = tuple(p for p in phrases(label, kind) if p.needs <= have)
    return (tuple(p for p in fit if p.needs) or fit) if anchored else fit


@cache
def prototypes() -> dict[str, Prototype]:
    table = tomllib.loads((_HERE / "labels.toml").read_text("utf-8"))
    return {
        label: Prototype(
            {name: value for name, value in row.items() if isinstance(value, float)},
            row["neighbours"],
            tuple(row["words"]),
        )
        for label, row in table.items()
    }


@cache
def revision() -> str:
    """A hash over the bank's files: a changed bank is another engine."""
    digest = hashlib.sha256()
    for path in sorted(_HERE.rglob("*.toml")) + sorted(_HERE.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


@lru_cache(maxsize=16384)
def recognise(text: str) -> str:
    """The label whose phrases share the most runs of two and three words with a text; neutral where none does."""
    votes: dict[str, float] = {}
    index = _index()
    tokens = _WORD.findall(text.lower())
    for run in (
        *map(" ".join, zip(tokens, tokens[1:], tokens[2:], strict=False)),
        *map(" ".join, zip(tokens, tokens[1:], strict=False)),
    ):
        for label, weight in index.get(run, ()):
            votes[label] = total = votes.get(label, 0.0) + weight
            if total >= _SURE:
                return label
    return max(votes, key=lambda label: (votes[label], -LABELS.index(label))) if votes else NEUTRAL


_SURE = 20.0  # five runs of three words that no other label has


@cache
def _index() -> dict[str, tuple[tuple[str, float], ...]]:
    """Runs of words of lines and tails -> labels that have them, each with a weight; shared runs weigh less."""
    owners: dict[str, set[str]] = {}
    for label in LABELS:
        for kind in ("lines", "tails", "leads"):
            for phrase in phrases(label, kind):
                for piece in phrase.pieces[::2]:
                    for run in _runs(_WORD.findall(piece.lower())):
                        owners.setdefault(run, set()).add(label)
    return {
        run: tuple((label, run.count(" ") ** 2 / len(labels) ** 2) for label in sorted(labels))
        for run, labels in owners.items()
        if len(labels) <= 4
    }


def _runs(tokens: Sequence[str]) -> Iterable[str]:
    for size in (2, 3):
        for start in range(len(tokens) - size + 1):
            yield " ".join(tokens[start : start + size])
