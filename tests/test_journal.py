"""The reply journal: what was appended is there after any end, and what is spoilt costs its own line only."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory import journal
from factory.journal import Journal
from factory.records import Said


def said(number: int, text: str = "a reply") -> Said:
    return Said(
        key=f"{number:064x}",
        stage="labels",
        unit=f"tale.p{number}",
        repair=0,
        round=0,
        text=text,
        finish="stop",
        tokens_in=1,
        tokens_out=2,
        seconds=0.5,
    )


def written(path: Path, *some: Said) -> list[Said]:
    one = Journal(path)
    for reply in some:
        one.append(reply)
    one.close()
    return list(some)


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    """Replies come back as they were, in the order in which they were given, whatever stands in them."""
    some = written(tmp_path / "j", said(1, "two\nlines \u2028 and a \x00"), said(2, ""), said(3, "ünïcode 🐟"))
    assert list(journal.read(tmp_path / "j")) == some


def test_no_file_and_an_empty_file_hold_nothing(tmp_path: Path) -> None:
    """A journal that is missing or empty is one without replies, not an error."""
    (tmp_path / "empty").write_bytes(b"")
    assert [*journal.read(tmp_path / "absent"), *journal.read(tmp_path / "empty")] == []


def test_a_torn_last_line_is_ignored_wherever_it_is_torn(tmp_path: Path) -> None:
    """Whatever part of the last line is there, the lines before it are read and it is not."""
    path = tmp_path / "j"
    some = written(path, said(1), said(2))
    data = path.read_bytes()
    for end in range(data.index(b"\n") + 1, len(data) - 1):
        path.write_bytes(data[:end])
        assert list(journal.read(path)) == some[:1]


def test_a_line_after_a_torn_tail_stands_on_its_own(tmp_path: Path) -> None:
    """Going on after a kill in the middle of a line loses the torn reply and nothing that follows."""
    path = tmp_path / "j"
    data = b""
    for cut in (1, 5, 9, 40, 100):
        path.unlink(missing_ok=True)
        written(path, said(1), said(2))
        data = path.read_bytes()
        path.write_bytes(data[:-cut])
        written(path, said(3))
        kept = {one.key for one in journal.read(path)}
        assert {said(1).key, said(3).key} <= kept


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.integers(0, 3), at=st.floats(0, 1), bit=st.integers(0, 7))
def test_a_spoilt_byte_costs_its_own_line_at_most(tmp_path: Path, line: int, at: float, bit: int) -> None:
    """A flipped bit anywhere leaves every other line readable, and never gives a reply that was not written."""
    path = tmp_path / "j"
    path.unlink(missing_ok=True)
    some = written(path, *(said(n, f"reply {n}") for n in range(4)))
    lines = path.read_bytes().splitlines(keepends=True)
    spoilt = bytearray(lines[line])
    spoilt[int(at * (len(spoilt) - 2))] ^= 1 << bit
    path.write_bytes(b"".join([*lines[:line], bytes(spoilt), *lines[line + 1 :]]))
    assert list(journal.read(path)) in ([*some[:line], *some[line + 1 :]], some)


@pytest.mark.parametrize("line", [b"", b"zzzzzzzz {}", b"\x00" * 50, b"{}", b"0000000 {}", b"00000000 ", b"00000000"])
def test_a_line_of_something_else_is_skipped(tmp_path: Path, line: bytes) -> None:
    """Lines that no journal wrote, also one of noughts whose checksum happens to fit nothing, are passed over."""
    path = tmp_path / "j"
    written(path, said(1))
    path.write_bytes(line + b"\n" + path.read_bytes())
    assert list(journal.read(path)) == [said(1)]


def test_a_killed_process_loses_nothing_that_append_returned_for(tmp_path: Path) -> None:
    """After kill -9 each reply whose append had returned is in the file."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from factory.journal import Journal; from factory.records import Said\n"
        "j = Journal(Path(sys.argv[1]))\n"
        "for n in range(10**9):\n"
        "    j.append(Said(key=str(n), stage='s', unit='u', repair=0, round=0, text='x' * 300, finish='stop',"
        " tokens_in=0, tokens_out=0, seconds=0.0))\n"
        "    print(n, flush=True)\n"
    )
    root = str(Path(journal.__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "j"), root], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(500)]
        os.kill(process.pid, signal.SIGKILL)
        seen += process.stdout.readlines()
    returned = [int(n) for n in seen if n.endswith("\n")]
    assert [one.key for one in journal.read(tmp_path / "j")][: len(returned)] == [str(n) for n in returned]
