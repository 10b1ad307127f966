"""Several processes on one run: each drives whole shards with an event loop and an engine of its own.

For engines that this computer's cores hold back (the rehearsal engine); a model engine keeps one loop, whose waiting is
free. The parent opens shards, hands out their names, adds up the accounts and watches the limits; a worker writes its
shards itself, by the same code as ever. They talk in JSON lines over pipes: a worker whose parent is gone ends.
"""

import asyncio
import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from factory import errors
from factory.errors import FactoryError, Interrupted, Stopped
from factory.records import Count
from factory.runner import Limits, Runner, Tally, Work, watch
from factory.store import Store

# Two of everything: allocators that keep little for later halve what a worker holds.
_LEAN = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}
SNAPSHOT_SECONDS = 0.25
ENDING_SECONDS = 2.0  # for a worker to write what it is writing, after an interrupt


@dataclass
class Workers:
    """The parent's side: `task` is what a worker needs to make its Runner (see factory.run.worker_runner)."""

    task: dict[str, Any]
    count: int
    tally: Tally
    limits: Limits
    lock: int = -1  # the lock's file: workers hold it too, so a run is locked until the last of them is gone
    _seen: dict[int, dict[str, Any]] = field(default_factory=dict)

    async def run(self, shards: Iterator[Work]) -> None:
        """Work off all shards; raises what a worker raised, or Stopped at a limit of all of them together."""
        self._shards = shards
        self._base = {stage: Count(**asdict(count)) for stage, count in self.tally.counts.items()}
        with ThreadPoolExecutor(2 * self.count) as threads:  # a pipe is read in a thread, and a process waited for
            tasks = [asyncio.create_task(self._one(number, threads)) for number in range(self.count)]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, number: int, threads: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "factory.worker"],  # -P: nothing is imported from the current folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its workers in order
            env=os.environ | _LEAN | {"PYTHONPATH": _package_path()},
            pass_fds=[self.lock] if self.lock >= 0 else [],
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            _tell(process.stdin, self.task)
            while line := await loop.run_in_executor(threads, process.stdout.readline):
                said = orjson.loads(line)
                if "more" in said:
                    work = next(self._shards, None)
                    _tell(process.stdin, {"shard": work.name if work else None})
                elif "tally" in said:
                    self._add(number, said["tally"])
                elif "error" in said:
                    raise _error(said)
            if await loop.run_in_executor(threads, process.wait) != 0:
                raise Stopped("a worker process ended unexpectedly; run the same command again")
        finally:
            await asyncio.shield(loop.run_in_executor(threads, _ended, process))

    def _add(self, number: int, snapshot: dict[str, Any]) -> None:
        """The accounts of all workers together, and the limits on them."""
        self._seen[number] = snapshot
        totals = {stage: Count(**asdict(count)) for stage, count in self._base.items()}
        for one in self._seen.values():
            for stage, count in one["counts"].items():
                totals.setdefault(stage, Count()).add(Count(**count))
        for stage, count in totals.items():
            self.tally.counts[stage] = count
        self.tally.shards_written = sum(one["shards"] for one in self._seen.values())
        self.tally.passages_ended = sum(one["passages"] for one in self._seen.values())
        watch(self.tally, self.limits)


def _package_path() -> str:
    """Where this package lies, before whatever the path says already: a worker runs the code that its parent runs."""
    return os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))


def _tell(pipe: IO[bytes], message: Mapping[str, Any]) -> None:
    """A worker that is gone is noticed by the end of its own pipe."""
    with contextlib.suppress(BrokenPipeError):
        pipe.write(orjson.dumps(message) + b"\n")
        pipe.flush()


def _ended(process: subprocess.Popen[bytes]) -> None:
    """Close the talk, which asks a worker to end; kill one that does not. All it has been told is on the disk."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()  # type: ignore[union-attr]  # it was opened as a pipe
    try:
        process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()  # type: ignore[union-attr]


def _error(said: dict[str, str]) -> FactoryError:
    """The worker's error as the parent's own: the same class and sentence."""
    kind = getattr(errors, said["error"], Stopped)
    return kind(said["sentence"]) if issubclass(kind, FactoryError) else Stopped(said["sentence"])


class _Pipe:
    """The worker's side of the talk. A thread listens all the time, so the end of the pipe is heard at once."""

    def __init__(self, store: Store, asked: IO[str], said: IO[str], stop: Callable[[], None]) -> None:
        self._store, self._said = store, said
        self._heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(asked, stop), daemon=True).start()

    def _listen(self, asked: IO[str], stop: Callable[[], None]) -> None:
        for line in asked:
            self._heard.put(line)
        self._heard.put("")
        stop()

    def say(self, **message: Any) -> None:
        self._said.write(orjson.dumps(message).decode() + "\n")
        self._said.flush()

    def shards(self) -> Iterator[Work]:
        """Shards as the parent hands them out; the end of the pipe is an interrupt."""
        while True:
            self.say(more=1)
            line = self._heard.get()
            if not line:
                raise Interrupted("the parent process is gone")
            name = orjson.loads(line)["shard"]
            if name is None:
                return
            yield Work.opened(self._store, name)


async def _work(runner: Runner, store: Store, asked: IO[str], said: IO[str]) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def stop() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself, as the pipe did
            loop.call_soon_threadsafe(task.cancel)

    pipe = _Pipe(store, asked, said, stop)

    async def tell() -> None:
        while True:
            await asyncio.sleep(SNAPSHOT_SECONDS)
            pipe.say(tally=_snapshot(runner.tally))

    telling = asyncio.create_task(tell())
    try:
        await runner.run(pipe.shards())
        pipe.say(tally=_snapshot(runner.tally))
    except FactoryError as err:
        pipe.say(error=type(err).__name__, sentence=str(err))
    finally:
        telling.cancel()
        await runner.engine.close()


def _snapshot(tally: Tally) -> dict[str, Any]:
    counts = {stage: asdict(count) for stage, count in tally.counts.items()}
    return {"counts": counts, "shards": tally.shards_done, "passages": tally.passages_done}


def main() -> None:
    """Read the task, drive the shards, say how it ended; an ended pipe ends the worker."""
    from factory import run

    _die_with_parent()
    asked, said = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not land in the talk
    line = asked.readline()
    if not line:
        return
    task = orjson.loads(line)
    store = Store(Path(task["out"]))
    with run.rare_collections(), contextlib.suppress(asyncio.CancelledError, BrokenPipeError):
        run.in_loop(_work(run.worker_runner(store, task), store, asked, said))


def _die_with_parent() -> None:
    """Linux: the kernel ends a worker with its parent, also after kill -9. Elsewhere the pipe tells it a little later."""
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    main()
