"""The reply journal: one file for each open shard, one line for each reply, written before the reply is used.

A line is `<crc32 of the rest, 8 hex> <json>`. A torn or spoilt line is skipped, and only that line; whatever follows
a torn tail starts on a new line. A reply counts as journalled when `append` has returned.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import orjson

from factory.errors import Stopped
from factory.files import writing
from factory.records import Said


class Journal:
    """Append-only; unbuffered, so that a killed process loses nothing that was appended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dirty = False
        with writing(path):
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            size = os.fstat(self._file).st_size
            if size and os.pread(self._file, 1, size - 1) != b"\n":
                os.write(self._file, b"\n")

    def append(self, said: Said) -> None:
        line = _line(said)
        with writing(self.path):
            written = os.write(self._file, line)
        if written != len(line):  # a disk that fills up takes part of a line; the reader skips it
            raise Stopped(f"the disk is full: {self.path} took half a line; make room and run the same command again")
        self.dirty = True

    def sync(self) -> None:
        if self.dirty:
            self.dirty = False
            with writing(self.path):
                os.fsync(self._file)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def read(path: Path) -> Iterator[Said]:
    """The whole lines of a journal; none where there is no file."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        said = _read_line(line)
        if said is not None:
            yield said


def _line(said: Said) -> bytes:
    body = orjson.dumps(said)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _read_line(line: bytes) -> Said | None:
    mark, _, body = line.partition(b" ")
    try:
        if not body or len(mark) != 8 or int(mark, 16) != zlib.crc32(body):
            return None
        return Said(**orjson.loads(body))
    except (ValueError, TypeError):
        return None
