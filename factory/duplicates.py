"""Texts that stand twice in a run: exactly (in normal form) or nearly (MinHash, verified), the first one kept.

Both passes hold a few dozen bytes a row, so a run of millions fits: hashes in memory, band signatures in a file.
Near means a Jaccard overlap of at least 0.8 of the runs of three words.
"""

import hashlib
import tempfile
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from factory.requests import row_seed
from factory.text import normal

NEAR = 0.8
_BANDS, _ROWS = 8, 4
_PRIME = np.uint64((1 << 61) - 1)
_MIX = np.array([row_seed("minhash", i) | 1 for i in range(_BANDS * _ROWS)], np.uint64)
_ADD = np.array([row_seed("minhash+", i) for i in range(_BANDS * _ROWS)], np.uint64)


@dataclass(frozen=True, slots=True)
class Twin:
    """A row to drop, the row it repeats, and how."""

    row: int
    first: int
    reason: str  # duplicate, near_duplicate


@dataclass
class Finder:
    """Takes texts in canonical order and says which rows to drop; `shares` are measured before anything is dropped."""

    _exact: array = field(default_factory=lambda: array("Q"))  # type: ignore[type-arg]
    _bands: object = field(default_factory=tempfile.TemporaryFile)

    def add(self, text: str) -> None:
        plain = normal(text)
        self._exact.append(int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest(), "big"))
        self._bands.write(_signature(plain).tobytes())  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self._exact)

    def twins(self, texts: Callable[[], Iterable[str]]) -> dict[int, Twin]:
        """Rows to drop; `texts` goes through the same texts again, for the verification of near ones."""
        found = {row: Twin(row, first, "duplicate") for row, first in self._equal()}
        pairs = sorted(p for p in self._alike() if p[0] not in found and p[1] not in found)
        wanted = {row for pair in pairs for row in pair}
        shingles = {row: _shingles(normal(text)) for row, text in enumerate(texts()) if row in wanted} if wanted else {}
        for row, first in pairs:
            if row in found or first in found:
                continue
            a, b = shingles[row], shingles[first]
            if len(a & b) >= NEAR * len(a | b):
                found[row] = Twin(row, first, "near_duplicate")
        return found

    def _equal(self) -> Iterator[tuple[int, int]]:
        yield from _groups(np.frombuffer(self._exact, np.uint64) if self._exact else np.empty(0, np.uint64))

    def _alike(self) -> set[tuple[int, int]]:
        """Pairs (row, earlier row) that share a band; each row with the first of its bucket only."""
        self._bands.flush()  # type: ignore[attr-defined]
        if not len(self):
            return set()
        bands = np.memmap(self._bands, np.uint64, "r", shape=(len(self), _BANDS))  # type: ignore[call-overload]
        return {pair for band in range(_BANDS) for pair in _groups(np.ascontiguousarray(bands[:, band]))}


def _groups(values: "np.ndarray[tuple[int], np.dtype[np.uint64]]") -> Iterator[tuple[int, int]]:
    """(row, first row of equal value) for every row but the first of each value."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.empty(0, bool)
    firsts = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))] if len(order) else order
    for row, first in zip(order[~starts].tolist(), firsts[~starts].tolist(), strict=True):
        yield row, first


def _shingles(plain: str) -> set[str]:
    tokens = plain.split()
    return {" ".join(tokens[i : i + 3]) for i in range(max(1, len(tokens) - 2))}


def _signature(plain: str) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """Eight band hashes of 32 min-hashes."""
    hashes = np.fromiter((zlib.crc32(s.encode()) for s in _shingles(plain)), np.uint64)
    lowest = ((hashes[:, None] * _MIX + _ADD) % _PRIME).min(axis=0).reshape(_BANDS, _ROWS)
    mixed = lowest[:, 0]
    for column in range(1, _ROWS):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + lowest[:, column]
    return mixed
