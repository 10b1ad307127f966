"""Rows to learn from, and the three parts that they come in."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from factory.text import normal

Floats = NDArray[np.float32]
PARTS = ("train", "validation", "test")
REHEARSAL = "template text of the rehearsal engine, not a language model's"  # of notes that a card shows first, in bold


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Rows of one part. `hard` and `soft` are [rows, classes]: labels as 0 and 1, and how strongly each is there."""

    texts: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()  # '' where a row has none
    hard: Floats
    soft: Floats
    groups: tuple[str, ...] = ()  # source, respondent, conversation: never on two sides
    ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()  # of a run's rows: original, flipped, rewritten; none of a benchmark's

    def __len__(self) -> int:
        return len(self.texts)

    def keys(self) -> list[str]:
        """What makes two rows the same for a reader: context and text in normal form."""
        return [
            f"{normal(context)}\x1f{normal(text)}" if context else normal(text)
            for text, context in zip(self.texts, self.contexts, strict=True)
        ]

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> "Examples":
        at = [int(row) for row in rows]
        return Examples(
            texts=tuple(self.texts[n] for n in at),
            contexts=tuple(self.contexts[n] for n in at),
            hard=self.hard[at],
            soft=self.soft[at],
            groups=tuple(self.groups[n] for n in at),
            ids=tuple(self.ids[n] for n in at),
            kinds=tuple(self.kinds[n] for n in at) if self.kinds else (),
        )

    @staticmethod
    def joined(several: Sequence["Examples"]) -> "Examples":
        return Examples(
            texts=tuple(text for one in several for text in one.texts),
            contexts=tuple(text for one in several for text in one.contexts),
            hard=np.concatenate([one.hard for one in several]),
            soft=np.concatenate([one.soft for one in several]),
            groups=tuple(group for one in several for group in one.groups),
            ids=tuple(ident for one in several for ident in one.ids),
            kinds=tuple(kind for one in several for kind in one.kinds) if all(one.kinds for one in several) else (),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Three parts, the classes of their columns, and what was mended, in sentences."""

    name: str
    classes: tuple[str, ...]
    multi: bool  # rows may have several labels
    train: Examples
    validation: Examples
    test: Examples
    notes: tuple[str, ...] = ()
    licence: str = ""
    official: bool = False  # its split was made by others, and is kept whatever stands on two sides of it

    @property
    def contextual(self) -> bool:
        return any(self.train.contexts)

    def fingerprint(self) -> str:
        """Of everything a model can learn from here or be chosen by."""
        digest = sha256("\x1f".join((*self.classes, str(self.multi))).encode())
        for part in (self.train, self.validation, self.test):
            digest.update(
                "\x1e".join("\x1f".join(pair) for pair in zip(part.contexts, part.texts, strict=True)).encode()
            )
            digest.update(part.hard.tobytes() + part.soft.tobytes())
        return digest.hexdigest()[:16]
