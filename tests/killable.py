"""Run by the tests as a process of its own: a run whose engine writes down each key before it answers.

`killable.py run CORPUS OUT LOG DELAY_MS CONCURRENCY SHARD_SIZE` can be killed at any moment.
`killable.py crash CORPUS FOLDER WHAT FIRST STEP MOST` ends itself at file operations FIRST, FIRST + STEP, ..., goes on to the
end each time, and prints one JSON line for each: whether it crashed, and what differs from a run that was left alone.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from factory import run
from factory.engines.rehearsal import Rehearsal
from factory.requests import Reply, Request, key
from factory.settings import Operation

CRASHED = 77
OPERATIONS = ("write", "fsync", "replace", "rename", "unlink", "rmdir", "mkdir")
FAULTY = Operation(shard_size=1, faults="malformed=0.7", max_rejects=1.0, concurrency=8, workers=1)


class Logged:
    """Appends the key of every request to a file before it answers."""

    def __init__(self, log: Path, delay_seconds: float) -> None:
        self._engine = Rehearsal()
        self.identity = self._engine.identity
        self._delay_seconds = delay_seconds
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    async def complete(self, request: Request) -> Reply:
        os.write(self._log, key(self.identity, request).encode() + b"\n")
        await asyncio.sleep(self._delay_seconds)
        return await self._engine.complete(request)

    async def close(self) -> None: ...


def killable(corpus: str, out: str, log: str, delay_ms: str, concurrency: str, shard_size: str) -> None:
    operation = Operation(concurrency=int(concurrency), shard_size=int(shard_size))
    run.synth(corpus, out=out, operation=operation, engine=Logged(Path(log), float(delay_ms) / 1000))


def crash_at(point: int) -> Callable[[], int]:
    """Makes the process end before its point-th file operation; a write has a second point after half of its bytes.

    Returns how many points there were so far.
    """
    passed = 0

    def reached() -> bool:
        nonlocal passed
        passed += 1
        return passed - 1 == point

    def guard(name: str) -> None:
        real = getattr(os, name)

        def guarded(*args: Any, **more: Any) -> Any:
            if reached():
                os._exit(CRASHED)
            if name == "write" and reached():
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os._exit(CRASHED)
            return real(*args, **more)

        setattr(os, name, guarded)

    for name in OPERATIONS:
        guard(name)
    return lambda: passed


def child(work: Callable[[], Any], point: int = -1) -> int:
    """Does the work in a fork of this process, which has no threads, and gives its exit code (0: to the end)."""
    process = os.fork()
    if process == 0:
        try:
            if point >= 0:
                crash_at(point)
            work()
        except BaseException as err:  # noqa: BLE001 - whatever it is, the parent must hear of it and never run on in the child
            sys.stderr.write(f"point {point}: {type(err).__name__}: {err}\n")
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def dataset(out: Path) -> dict[str, bytes]:
    folder = out / "dataset"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def crashes(corpus: str, folder: str, what: str, first: str, step: str, most: str) -> None:
    out, begun, alone = (Path(folder) / name for name in ("out", "begun", "alone"))
    small = Operation(shard_size=2, concurrency=8, workers=1)
    begin: Callable[[Path], Any] = lambda where: None  # noqa: E731
    # What is struck by the crash, and what is done after it.
    work: Callable[[Path], Any] = lambda where: run.synth(corpus, out=where, operation=small)  # noqa: E731
    after = work
    if what == "build":

        def begin(where: Path) -> None:
            run.synth(corpus, out=where, operation=small)
            # A dataset of other shards lies there, so that the new one has to be swapped for it.
            (where / "dataset.json").write_bytes(b'{"inputs": "others", "files": {}}')

    if what in ("retry", "retry-again"):

        def begin(where: Path) -> None:
            run.synth(corpus, out=where, operation=FAULTY)

        def work(where: Path) -> None:
            run.retry(where, operation=FAULTY)

        def after(where: Path) -> None:
            if what == "retry-again":
                run.retry(where, operation=FAULTY)
            else:
                run.resume(where, operation=FAULTY)

    assert child(lambda: begin(begun)) == 0
    before = dataset(begun)
    if begun.exists():
        shutil.copytree(begun, alone)
    assert child(lambda: work(alone)) == 0
    wanted = dataset(alone)
    point, tried = int(first), 0
    while tried < int(most):
        shutil.rmtree(out, ignore_errors=True)
        if begun.exists():
            shutil.copytree(begun, out)
        struck = child(lambda: work(out), point)
        # A retry that was done but for its last breath is done: asking again would begin another round.
        done = what == "retry-again" and dataset(out) == wanted and not (out / "retry.json").exists()
        code = child(lambda: after(out)) if struck == CRASHED and not done else 0 if done else struck
        found = dataset(out)
        wrong = sorted(n for n in found.keys() | wanted.keys() if found.get(n) != wanted.get(n))
        left = [p.relative_to(out).as_posix() for p in sorted(out.rglob(".*")) if struck == CRASHED]
        line = {"point": point, "struck": struck, "code": code, "differs": wrong, "left": left}
        print(json.dumps(line | {"untouched": found == before}), flush=True)
        if struck != CRASHED:
            break
        point, tried = point + int(step), tried + 1


if __name__ == "__main__":
    {"run": killable, "crash": crashes}[sys.argv[1]](*sys.argv[2:])
