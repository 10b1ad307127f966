"""Texts that stand twice in a run: exactly (in normal form) or nearly (MinHash, verified), the first one kept.

Both passes hold a few dozen bytes a row, so a run of millions fits: hashes in memory, band signatures in a file.
Near means a Jaccard overlap of at least 0.8 of the runs of three words.
"""

import hashlib
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO

import numpy as np

from factory.requests import row_seed
from factory.text import normal

NEAR = 0.8
_BANDS, _ROWS = 8, 4
_PRIME = np.uint64((1 << 61) - 1)
_MIX = np.array([row_seed("minhash", i) | 1 for i in range(_BANDS * _ROWS)], np.uint64)
_ADD = np.array([row_seed("minhash+", i) for i in range(_BANDS * _ROWS)], np.uint64)


Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]


@dataclass(frozen=True, slots=True)
class Twin:
    """A row to drop, the row it repeats, and how."""

    row: int
    first: int
    reason: str  # duplicate, near_duplicate


@dataclass
class Finder:
    """Takes texts in canonical order and says which rows to drop."""

    _exact: list[Hashes] = field(default_factory=list)
    _bands: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    _rows: int = 0

    def add(self, texts: Sequence[str]) -> None:
        """The next texts; a few thousand at a time make the arithmetic cheap."""
        if not texts:
            return
        plain = [normal(text) for text in texts]
        digests = b"".join(hashlib.blake2b(p.encode(), digest_size=8).digest() for p in plain)
        self._exact.append(np.frombuffer(digests, np.uint64))
        self._bands.write(_signatures(plain).tobytes())
        self._rows += len(texts)

    def __len__(self) -> int:
        return self._rows

    def __del__(self) -> None:
        self._bands.close()  # else Python warns of a file left open, an error where warnings are

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
        # The first of equal texts may itself be nearly another one: what a twin points at is always a row that stays.
        firsts = {row: found[twin.first].first for row, twin in found.items() if twin.first in found}
        return found | {row: replace(found[row], first=first) for row, first in firsts.items()}

    def _equal(self) -> Iterator[tuple[int, int]]:
        return _groups(np.concatenate(self._exact)) if self._exact else iter(())

    def _alike(self) -> set[tuple[int, int]]:
        """Pairs (row, earlier row) that share a band; each row with the first of its bucket only."""
        if not len(self):
            return set()
        self._bands.flush()
        bands = np.memmap(self._bands, np.uint64, "r", shape=(len(self), _BANDS))
        return {pair for band in range(_BANDS) for pair in _groups(np.ascontiguousarray(bands[:, band]))}


def _groups(values: Hashes) -> Iterator[tuple[int, int]]:
    """(row, first row of equal value) for every row but the first of each value."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.empty(0, bool)
    firsts = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))] if len(order) else order
    yield from zip(order[~starts].tolist(), firsts[~starts].tolist(), strict=True)


def _shingles(plain: str) -> set[str]:
    tokens = plain.split()
    return {" ".join(tokens[i : i + 3]) for i in range(max(1, len(tokens) - 2))}


def _signatures(texts: Sequence[str]) -> "np.ndarray[tuple[int, int], np.dtype[np.uint64]]":
    """For each text eight band hashes of 32 min-hashes over its runs of words."""
    runs = [[zlib.crc32(s.encode()) for s in _shingles(text)] for text in texts]
    starts = np.cumsum([0, *map(len, runs[:-1])])
    hashes = np.fromiter((h for run in runs for h in run), np.uint64)
    lowest = np.stack(
        [np.minimum.reduceat((hashes * mix + add) % _PRIME, starts) for mix, add in zip(_MIX, _ADD, strict=True)],
        axis=1,
    ).reshape(len(texts), _BANDS, _ROWS)
    mixed = lowest[:, :, 0]
    for column in range(1, _ROWS):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + lowest[:, :, column]
    return mixed
