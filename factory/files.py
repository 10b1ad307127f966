"""Writing that is whole or absent, and the lock. Every write, flush and rename of the project goes through here."""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from factory.errors import Stopped, WrongRequest


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Translates what an operating system says of a full or broken disk, or of a path through a file, once."""
    try:
        yield
    except (NotADirectoryError, FileExistsError) as err:
        raise WrongRequest(f"cannot write {path}: a part of it is a file; give a folder") from err
    except OSError as err:
        raise Stopped(
            f"cannot write {path}: {err.strerror or err}; what is done is kept: make room (or mend the disk) "
            "and run the same command again"
        ) from err


def beside(path: Path) -> Path:
    """The unfinished form of a file; swept away at the next start if it stays."""
    return path.with_name(f".{path.name}.tmp")


def write_atomic(path: Path, data: bytes) -> None:
    """Write beside the target, flush it, rename it over, flush the folder: never half a file."""
    with writing(path):
        flush_bytes(beside(path), data)
        os.replace(beside(path), path)
        sync(path.parent)


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """As `write_atomic`, for what is too large to be held at once; an error among the pieces leaves nothing behind."""
    try:
        with writing(path):
            with beside(path).open("wb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside(path), path)
            sync(path.parent)
    finally:
        beside(path).unlink(missing_ok=True)


def flush_bytes(path: Path, data: bytes) -> None:
    """Write a file and flush it to the disk."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
    finally:
        os.close(file)


def sync(path: Path) -> None:
    """Make a file, or the renames in a folder, last through a power cut."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the lock file (yields its descriptor), or WrongRequest naming its holder; the kernel frees it when the
    process, and those that it handed the descriptor to, have died."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as err:
            raise WrongRequest(
                f"{path.parent} cannot be written ({err.strerror}); mend that or choose another OUT"
            ) from err
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 100, 0).decode(errors="replace").strip()
            os.close(file)
            raise WrongRequest(
                f"another process ({holder or 'unknown'}) works on {path.parent}; wait for it, or choose another OUT"
            ) from None
        if _same(file, path):  # the holder before us may have removed the file that we opened
            break
        os.close(file)
    try:
        with writing(path):
            os.truncate(file, 0)
            os.pwrite(file, f"pid {os.getpid()}\n".encode(), 0)
        yield file
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
