"""Folders that cannot be written, and disks that fill up."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory import run
from factory.errors import Stopped, WrongRequest
from factory.settings import Operation

Files = dict[str, bytes]
ROOT = Path(__file__).resolve().parent.parent
SMALL = Operation(shard_size=2, workers=1)


@pytest.mark.parametrize("place", ["below a file", "in /proc", "the file itself", "a name too long"])
def test_an_out_that_cannot_be_written_is_a_wrong_request(
    tales: Callable[..., Path], tmp_path: Path, cli: Callable[..., Any], place: str
) -> None:
    """Exit 2 with one sentence, before anything is asked or written."""
    file = tmp_path / "file"
    file.write_bytes(b"mine")
    out = {
        "below a file": file / "run",
        "in /proc": Path("/proc/emotion"),
        "the file itself": file,
        "a name too long": tmp_path / ("x" * 300),
    }[place]
    done = cli("synth", tales(), "--out", out)
    assert (done.returncode, "Traceback" in done.stderr, file.read_bytes()) == (2, False, b"mine")
    assert str(out) in done.stderr.replace("\n", "")


@pytest.mark.parametrize("command", [["rejects", "--retry"], ["build"], ["verify"], ["resume"]])
def test_commands_on_a_run_that_became_read_only_say_so(
    tales: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Whoever cannot take the lock or write a mark says so in one sentence of ours, not with a traceback."""
    from factory import show
    from factory.store import Store

    out = tmp_path / "run"
    run.synth(tales(), out=out, operation=SMALL)
    (out / "dataset" / "README.md").write_text("other")
    (out / "shards" / Store(out).names()[0] / "labels.parquet").write_bytes(b"other")
    real = os.open

    def refused(path: Any, flags: int, *more: Any, **most: Any) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY and str(out) in str(path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *more, **most)

    work: dict[str, Callable[[], Any]] = {
        "rejects": lambda: run.retry(out),
        "build": lambda: run.rebuild(out),
        "verify": lambda: show.verified(Store(out)),
        "resume": lambda: run.resume(out),
    }
    monkeypatch.setattr(os, "open", refused)
    with pytest.raises((WrongRequest, Stopped)):
        work[command[0]]()


@pytest.mark.parametrize("taken", [0, 700, 9_000, 40_000, 90_000, 130_000])
def test_a_disk_that_fills_up_stops_the_run_and_it_can_be_resumed(
    tales: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
    taken: int,
) -> None:
    """However many bytes the disk still takes: Stopped (exit 3), nothing half-written counts, then the same dataset."""
    corpus, out, real, left = tales(), tmp_path / "run", os.write, [taken]

    def full(file: int, data: bytes) -> int:
        if str(out) not in str(Path(f"/proc/self/fd/{file}").readlink()):
            return real(file, data)
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = real(file, bytes(data)[: left[0]])
        left[0] -= count
        return count

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(Stopped) as error:
            run.synth(corpus, out=out, operation=SMALL)
    assert error.value.exit_code == 3
    run.synth(corpus, out=out, operation=SMALL)
    run.synth(corpus, out=tmp_path / "alone", operation=SMALL)
    same_dataset(out, dataset(tmp_path / "alone"))


@pytest.mark.parametrize("most", [60, 3_000, 6_000, 9_000, 12_000, 20_000])
@pytest.mark.parametrize("workers", [1, 2])
def test_files_that_cannot_grow_stop_the_run_and_it_can_be_resumed(
    tales: Callable[..., Path],
    tmp_path: Path,
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
    most: int,
    workers: int,
) -> None:
    """The same with a limit of the system on every file, which libraries below Python meet too: exit 3, no traceback."""
    if workers == 2 and most not in (6_000, 20_000):
        pytest.skip("two sizes are enough for several processes")
    corpus, out = tales(6), tmp_path / "run"
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)\n"
        "sys.dont_write_bytecode = True\nfrom factory.cli import main\nmain()\n"
    )
    command = [sys.executable, "-c", code, str(most), "synth", str(corpus), "--out", str(out)]
    command += ["--shard-size", "2", "--workers", str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert (done.returncode, "Traceback" in done.stderr, done.stderr[-600:]) == (3, False, done.stderr[-600:])
    assert not (out / "dataset.json").exists()
    run.synth(corpus, out=out, operation=SMALL)
    run.synth(corpus, out=tmp_path / "alone", operation=SMALL)
    same_dataset(out, dataset(tmp_path / "alone"))


def test_a_journal_that_cannot_be_flushed_stops_the_run(
    tales: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counting: Any
) -> None:
    """A disk that fails at the flush, as network disks do when full, is heard of at once, not at the shard's end."""
    engine, real = counting(delay_seconds=0.02), os.fsync

    def failing(file: int) -> None:
        if "/journal/" in str(Path(f"/proc/self/fd/{file}").readlink()):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(file)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(Stopped):
        run.synth(tales(), out=tmp_path / "run", engine=engine, operation=Operation(concurrency=1, fsync_seconds=0.05))
    assert len(engine.keys) < 20
