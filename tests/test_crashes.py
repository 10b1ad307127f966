"""A crash before any file operation, or in the middle of a write, costs nothing but what was in flight."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killable.py")
KINDS = ["synth", "build", "retry", "retry-again"]


def crashed(corpus: Path, folder: Path, what: str, first: int, step: int, most: int) -> list[dict[str, object]]:
    folder.mkdir(exist_ok=True)
    numbers = [str(n) for n in (first, step, most)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "crash", str(corpus), str(folder), what, *numbers],
        capture_output=True,
        text=True,
        timeout=1500,
        check=True,
    )
    assert done.stderr == "" or "Error" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(lines: list[dict[str, object]], least: int) -> None:
    """Enough points were struck, each went on to the end, and each ended with the bytes of a run left alone."""
    struck = [line for line in lines if line["struck"] == 77]
    assert len(struck) >= least
    assert [line["point"] for line in lines if line["code"] or line["differs"] or line["left"]] == []


@pytest.mark.parametrize(("what", "first", "step"), [("synth", 3, 41), ("build", 1, 9), ("retry-again", 5, 53)])
def test_a_crash_at_some_file_operations_ends_with_the_same_bytes(
    tales: Callable[..., Path], tmp_path: Path, what: str, first: int, step: int
) -> None:
    """Struck at every so-many-th operation (a run of three tales has about 370) and started again: the same dataset."""
    check(crashed(tales(), tmp_path / "runs", what, first, step, 9), least=4)


@pytest.mark.slow
@pytest.mark.parametrize("what", KINDS)
def test_a_crash_at_any_file_operation_ends_with_the_same_bytes(
    tales: Callable[..., Path], tmp_path: Path, what: str
) -> None:
    """Every seventh operation of a run and of a retry, every one of the build's swap; synth's all with STEP 1."""
    step = 1 if what == "build" else 7
    lines = crashed(tales(), tmp_path / "runs", what, 0, step, 10_000)
    if what == "retry":
        # Before the retry itself was written down there is nothing to go on with: the old dataset is still whole.
        lines = [line for line in lines if not (line["untouched"] and not line["code"])]
    check(lines, least=40)
