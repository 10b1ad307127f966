"""Texts that stand twice in a run: exactly (in normal form) or nearly (MinHash, verified), the first one kept.

A run of millions fits: two dozen bytes a row in memory, everything else in temporary files.
Near means so much Jaccard overlap of the runs of three words: shared ones over all that one of the two texts has.
"""

import hashlib
import re
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import numpy as np

from factory.requests import row_seed
from factory.text import normal, sentence_spans


@dataclass(frozen=True, slots=True)
class Measure:
    """How much overlap makes two texts near, and how they are found: by `bands` of `rows` min-hashes each."""

    near: float
    bands: int
    rows: int
    before: int = 0  # earlier rows of one bucket that a row is compared with, besides the first of them all

    def found(self, overlap: float) -> float:
        """How likely a pair of so much overlap is compared: one min-hash is equal with just that likelihood, a band where
        all its `rows` are, and one equal band of the `bands` is enough."""
        return 1 - (1 - overlap**self.rows) ** self.bands


TEXTS = Measure(0.8, bands=8, rows=4)  # finds 0.985 of the pairs at 0.8
SCENES = Measure(0.5, bands=24, rows=3, before=2)  # finds 0.959 of those at 0.5, and 0.997 of those at 0.6
MOULDS = Measure(0.6, bands=24, rows=3, before=3)  # 0.997 of those at 0.6

Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]


_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_BEFORE = frozenset("a an the his her its their my your our".split())  # what stands before a name and goes with it
_SELF = frozenset(("i", "i'm", "i've", "i'd", "i'll"))


def nameless(text: str, names: Iterable[str] = ()) -> str:
    """The normal form of a text without its people: without these names, all words with a capital within a sentence, and
    the articles before them. The same scene told of others is the same scene."""
    gone = _capitals(text) | {_bare(word) for name in names for word in normal(name).split()} - _BEFORE
    left: list[str] = []
    for word in normal(text).split():
        if _bare(word) not in gone:
            left.append(word)
        elif left and left[-1] in _BEFORE:
            left.pop()
    return " ".join(left) or normal(text)


def _capitals(text: str) -> set[str]:
    """Words with a capital that open neither a sentence nor a quotation; none where all is in capitals."""
    if text.isupper():
        return set()
    found = set()
    for start, end in sentence_spans(text):
        for number, word in enumerate(_WORD.finditer(text, start, end)):
            if number and word[0][0].isupper() and text[word.start() - 1] not in "\"'“‘«([{":
                found.add(_bare(normal(word[0])))
    return found - _SELF


def masked(text: str, known: Iterable[str]) -> str:
    """The normal form of a text in which each stretch of words of these known texts is one mark: what stays of a mould
    when the things that it was filled with are taken out."""
    gone = {word for one in known for word in normal(one).split()}
    left: list[str] = []
    for word in normal(text).split():
        if word not in gone:
            left.append(word)
        elif left[-1:] != [_MARK]:
            left.append(_MARK)
    return " ".join(left)


_MARK = "*"  # no word of a normal form


def _bare(word: str) -> str:
    return word.removesuffix("'s")


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
    measure: Measure = TEXTS
    _exact: list[Hashes] = field(default_factory=list)
    _sizes: list[Hashes] = field(default_factory=list)
    _rows: int = 0

    def __post_init__(self) -> None:
        self._bands: IO[bytes] = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115  # closed by __exit__
        self._shingles: IO[bytes] = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115
        count = self.measure.bands * self.measure.rows
        self._seeds = np.array(
            [row_seed("minhash", i) << 32 | row_seed("minhash+", i) for i in range(count)], np.uint64
        )

    def add(self, texts: Sequence[str], forms: Sequence[str] = ()) -> None:
        """The next texts; a few thousand at a time make the arithmetic cheap. `forms` are what their overlap is measured
        on, where that is not their normal form."""
        if not texts:
            return
        plain = [normal(text) for text in texts]
        digests = b"".join(hashlib.blake2b(p.encode(), digest_size=8).digest() for p in plain)
        runs = [_runs(text) for text in forms or plain]
        flat = np.fromiter((run for some in runs for run in some), np.uint32)
        sizes = np.array([len(some) for some in runs], np.uint64)
        self._exact.append(np.frombuffer(digests, np.uint64))
        self._sizes.append(sizes)
        self._shingles.write(flat.tobytes())
        self._bands.write(self._signatures(flat, sizes).tobytes())
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
        is_near = self._nearness()
        for row, first in self._alike():
            if row not in found and first not in found and is_near(row, first):
                found[row] = Twin(row, first, "near_duplicate")
        # The first of equal texts may itself be nearly another one: what a twin points at is always a row that stays.
        firsts = {row: found[twin.first].first for row, twin in found.items() if twin.first in found}
        return found | {row: replace(found[row], first=first) for row, first in firsts.items()}

    def crowded(self, most: int, out: Container[int] = ()) -> dict[int, int]:
        """Rows that are near to at least so many earlier ones (of those that a bucket shows: `before` and the first), each
        with the first of these; rows that are `out` count for nothing."""
        if not len(self):
            return {}
        near: defaultdict[int, list[int]] = defaultdict(list)
        is_near = self._nearness()
        for row, first in self._alike():
            if row not in out and first not in out and is_near(row, first):
                near[row].append(first)
        return {row: min(firsts) for row, firsts in near.items() if len(firsts) >= most}

    def _nearness(self) -> Callable[[int, int], bool]:
        """Whether two rows overlap so much as the measure wants: all their runs of words are compared."""
        self._shingles.flush()
        runs = np.memmap(self._shingles, np.uint32, "r")
        ends = np.cumsum(np.concatenate(self._sizes)).tolist()

        def of(row: int) -> set[int]:
            return set(runs[ends[row - 1] if row else 0 : ends[row]].tolist())

        def is_near(row: int, first: int) -> bool:
            a, b = of(row), of(first)
            return len(a & b) >= self.measure.near * len(a | b)

        return is_near

    def _alike(self) -> Iterator[tuple[int, int]]:
        """Pairs (row, earlier row) that share a band, in order: each row with the first of its bucket, and with some just
        before it, for the first one may share the band by chance and hide a nearer one."""
        self._bands.flush()
        bands = np.memmap(self._bands, np.uint64, "r", shape=(len(self), self.measure.bands))
        packed = np.empty(0, np.uint64)
        for band in range(self.measure.bands):
            values = np.ascontiguousarray(bands[:, band])
            for rows, firsts in (_groups(values), *_neighbours(values, self.measure.before)):
                packed = np.union1d(packed, rows << np.uint64(32) | firsts)
        for start in range(0, len(packed), _CHUNK):
            some = packed[start : start + _CHUNK]
            yield from _pairs(some >> np.uint64(32), some & np.uint64(0xFFFFFFFF))

    def _signatures(self, flat: "np.ndarray[tuple[int], np.dtype[np.uint32]]", sizes: Hashes) -> Hashes:
        """For each text the hashes of its bands of min-hashes over its runs of words, one after the other."""
        starts, wide = (np.cumsum(sizes) - sizes).astype(np.int64), flat.astype(np.uint64)
        lowest = np.stack(
            [np.minimum.reduceat(_mixed(wide, seed), starts) for seed in self._seeds],
            axis=1,
        ).reshape(len(sizes), self.measure.bands, self.measure.rows)
        mixed = lowest[:, :, 0]
        for column in range(1, self.measure.rows):
            mixed = mixed * _ODD[0] + lowest[:, :, column]
        return mixed.reshape(-1)


_CHUNK = 100_000
_ODD = np.array([0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93], np.uint64)


def _mixed(values: Hashes, seed: np.uint64) -> Hashes:
    """Another hash of the same values. Its bits must depend on all bits of both: a product alone keeps most of the order
    of the values, and then all min-hashes of a text are of one and the same run of words."""
    mixed: Hashes = (values ^ seed) * _ODD[0]
    mixed ^= mixed >> np.uint64(32)
    mixed *= _ODD[1]
    mixed ^= mixed >> np.uint64(32)
    return mixed


def _groups(values: Hashes) -> tuple[Hashes, Hashes]:
    """Every row whose value stood before, and the first row that had it."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.r_[True, ordered[1:] != ordered[:-1]]
    firsts = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    return order[~starts].astype(np.uint64), firsts[~starts].astype(np.uint64)


def _neighbours(values: Hashes, count: int) -> Iterator[tuple[Hashes, Hashes]]:
    """Every row whose value stood before, and the row that had it so many places before: one, two, up to `count`."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    for back in range(1, count + 1):
        same = ordered[back:] == ordered[:-back]
        if not same.any():
            return
        yield order[back:][same].astype(np.uint64), order[:-back][same].astype(np.uint64)


def _pairs(rows: Hashes, firsts: Hashes) -> Iterator[tuple[int, int]]:
    return zip(rows.tolist(), firsts.tolist(), strict=True)


def _runs(plain: str) -> set[int]:
    """Hashes of the runs of three words."""
    tokens = plain.split()
    return {zlib.crc32(" ".join(tokens[i : i + 3]).encode()) for i in range(max(1, len(tokens) - 2))}
