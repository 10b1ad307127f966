"""Writing that is whole or absent, and the lock."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from factory.errors import Stopped, WrongRequest
from factory.files import beside, locked, write_atomic

ROOT = Path(__file__).resolve().parent.parent


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """After a write the file holds the new bytes and nothing lies beside it."""
    path = tmp_path / "f"
    write_atomic(path, b"old")
    write_atomic(path, b"new and longer")
    assert (path.read_bytes(), [p.name for p in tmp_path.iterdir()]) == (b"new and longer", ["f"])


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
    """However many bytes the disk still takes, the target keeps its old bytes, and the error says how to go on."""
    path = tmp_path / "f"
    write_atomic(path, b"old")
    real, left = os.write, [taken]

    def full(file: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = real(file, bytes(data)[: left[0]])
        left[0] -= count
        return count

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Stopped, match=r"No space left.*run the same command again"):
        write_atomic(path, b"new and longer")
    assert path.read_bytes() == b"old"


def test_a_write_is_flushed_before_it_is_renamed_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut finds the old file or the whole new one: flush, rename, flush the folder, in this order."""
    done: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real, name=name: (done.append(name), real(*a))[1])
    write_atomic(tmp_path / "f", b"x")
    assert done == ["fsync", "replace", "fsync"]


def test_the_lock_keeps_a_second_one_out_and_names_its_holder(tmp_path: Path) -> None:
    """While it is held nobody else gets it; afterwards anybody does, and no file stays."""
    with (
        locked(tmp_path / "lock"),
        pytest.raises(WrongRequest, match=rf"pid {os.getpid()}.*another OUT"),
        locked(tmp_path / "lock"),
    ):
        pass
    with locked(tmp_path / "lock"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    """A lock file that a kill -9 left behind does not lock."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from factory.files import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock"), str(ROOT)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(WrongRequest), locked(tmp_path / "lock"):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert (tmp_path / "lock").exists()
    with locked(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES])
def test_a_lock_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """On a folder that cannot be written the lock says so as one of our own errors."""

    def refused(*_: object, **__: object) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises((WrongRequest, Stopped)), locked(tmp_path / "lock"):
        pass


def test_the_unfinished_form_of_a_file_carries_our_mark(tmp_path: Path) -> None:
    """Its name starts with a dot and ends in .tmp, which is what the sweep removes."""
    assert beside(tmp_path / "a.parquet").name == ".a.parquet.tmp"
