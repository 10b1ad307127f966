"""Texts that stand twice in a run: exactly (in normal form) or nearly (MinHash, verified), the first one kept.

A run of millions fits: two dozen bytes a row in memory, everything else in temporary files.
Near means a Jaccard overlap of at least 0.8 of the runs of three words.
"""

import hashlib
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
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

    folder: Path | None = None  # for the temporary files; None: where the system has them
    _exact: list[Hashes] = field(default_factory=list)
    _sizes: list[Hashes] = field(default_factory=list)
    _rows: int = 0

    def __post_init__(self) -> None:
        self._bands: IO[bytes] = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115  # closed by __exit__
        self._shingles: IO[bytes] = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115

    def add(self, texts: Sequence[str]) -> None:
        """The next texts; a few thousand at a time make the arithmetic cheap."""
        if not texts:
            return
        plain = [normal(text) for text in texts]
        digests = b"".join(hashlib.blake2b(p.encode(), digest_size=8).digest() for p in plain)
        runs = [_runs(text) for text in plain]
        flat = np.fromiter((run for some in runs for run in some), np.uint32)
        sizes = np.array([len(some) for some in runs], np.uint64)
        self._exact.append(np.frombuffer(digests, np.uint64))
        self._sizes.append(sizes)
        self._shingles.write(flat.tobytes())
        self._bands.write(_signatures(flat, sizes).tobytes())
        self._rows += len(texts)

    def __len__(self) -> int:
        return self._rows

    def __enter__(self) -> "Finder":
        return self

    def __exit__(self, *_: object) -> None:
        self._bands.close()
        self._shingles.close()

    def twins(self) -> dict[int, Twin]:
        """Rows to drop; near ones are verified on their runs of words before they are believed."""
        if not len(self):
            return {}
        found = {row: Twin(row, first, "duplicate") for row, first in _pairs(*_groups(np.concatenate(self._exact)))}
        self._shingles.flush()
        runs = np.memmap(self._shingles, np.uint32, "r")
        ends = np.cumsum(np.concatenate(self._sizes)).tolist()

        def of(row: int) -> set[int]:
            return set(runs[ends[row - 1] if row else 0 : ends[row]].tolist())

        for row, first in self._alike():
            if row not in found and first not in found:
                a, b = of(row), of(first)
                if len(a & b) >= NEAR * len(a | b):
                    found[row] = Twin(row, first, "near_duplicate")
        # The first of equal texts may itself be nearly another one: what a twin points at is always a row that stays.
        firsts = {row: found[twin.first].first for row, twin in found.items() if twin.first in found}
        return found | {row: replace(found[row], first=first) for row, first in firsts.items()}

    def _alike(self) -> Iterator[tuple[int, int]]:
        """Pairs (row, earlier row) that share a band, in order; each row with the first of its bucket only."""
        self._bands.flush()
        bands = np.memmap(self._bands, np.uint64, "r", shape=(len(self), _BANDS))
        packed = np.empty(0, np.uint64)
        for band in range(_BANDS):
            rows, firsts = _groups(np.ascontiguousarray(bands[:, band]))
            packed = np.union1d(packed, rows << np.uint64(32) | firsts)
        for start in range(0, len(packed), _CHUNK):
            some = packed[start : start + _CHUNK]
            yield from _pairs(some >> np.uint64(32), some & np.uint64(0xFFFFFFFF))


_CHUNK = 100_000


def _groups(values: Hashes) -> tuple[Hashes, Hashes]:
    """Every row whose value stood before, and the first row that had it."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.r_[True, ordered[1:] != ordered[:-1]]
    firsts = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    return order[~starts].astype(np.uint64), firsts[~starts].astype(np.uint64)


def _pairs(rows: Hashes, firsts: Hashes) -> Iterator[tuple[int, int]]:
    return zip(rows.tolist(), firsts.tolist(), strict=True)


def _runs(plain: str) -> set[int]:
    """Hashes of the runs of three words."""
    tokens = plain.split()
    return {zlib.crc32(" ".join(tokens[i : i + 3]).encode()) for i in range(max(1, len(tokens) - 2))}


def _signatures(flat: "np.ndarray[tuple[int], np.dtype[np.uint32]]", sizes: Hashes) -> Hashes:
    """For each text eight band hashes of 32 min-hashes over its runs of words, one after the other."""
    starts, wide = (np.cumsum(sizes) - sizes).astype(np.int64), flat.astype(np.uint64)
    lowest = np.stack(
        [np.minimum.reduceat((wide * mix + add) % _PRIME, starts) for mix, add in zip(_MIX, _ADD, strict=True)],
        axis=1,
    ).reshape(len(sizes), _BANDS, _ROWS)
    mixed = lowest[:, :, 0]
    for column in range(1, _ROWS):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + lowest[:, :, column]
    return mixed.reshape(-1)
