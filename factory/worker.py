"""Several processes on one run: each drives whole shards with an event loop and an engine of its own.

For engines that this computer's cores hold back (the rehearsal engine); a model engine keeps one loop, whose waiting is
free. The parent opens shards, hands out their names, adds up the accounts and watches the limits; a worker writes its
shards itself, by the same code as ever. They talk in JSON lines over pipes: a worker whose parent is gone ends.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import orjson

from factory import errors
from factory.errors import FactoryError, Interrupted, Stopped
from factory.records import Count
from factory.runner import Runner, Tally, Work, watch
from factory.store import Store

# Two of everything: allocators that keep little for later halve what a worker holds.
_LEAN = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}
SNAPSHOT_SECONDS = 0.25
ENDING_SECONDS = 4.0  # for a worker to write what it is writing, after an interrupt


@dataclass
class Workers:
    """The parent's side: `task` is what a worker needs to make its Runner (see factory.run.worker_runner)."""

    task: dict[str, Any]
    count: int
    tally: Tally
    max_rejects: float
    max_tokens: int
    lock: int = -1  # the lock's file: workers hold it too, so a run is locked until the last of them is gone
    _seen: dict[int, dict[str, Any]] = field(default_factory=dict)

    async def run(self, shards: Iterator[Work]) -> None:
        """Work off all shards; raises what a worker raised, or Stopped at a limit of all of them together."""
        self._shards = shards
        self._base = {stage: Count(**asdict(count)) for stage, count in self.tally.counts.items()}
        tasks = [asyncio.create_task(self._one(number)) for number in range(self.count)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, number: int) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "factory.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its workers in order
            env=os.environ | _LEAN,
            pass_fds=[self.lock] if self.lock >= 0 else [],
            limit=1 << 24,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(orjson.dumps(self.task) + b"\n")
            async for line in process.stdout:
                said = orjson.loads(line)
                if "more" in said:
                    work = next(self._shards, None)
                    process.stdin.write(orjson.dumps({"shard": work.name if work else None}) + b"\n")
                elif "tally" in said:
                    self._add(number, said["tally"])
                elif "error" in said:
                    raise _error(said)
            if await process.wait() != 0:
                raise Stopped("a worker process ended unexpectedly; run the same command again")
        finally:
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), ENDING_SECONDS)
            except (TimeoutError, asyncio.CancelledError):
                process.kill()
                await process.wait()

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
        watch(self.tally, self.max_rejects, self.max_tokens)


def _error(said: dict[str, str]) -> FactoryError:
    """The worker's error as the parent's own: the same class and sentence."""
    kind = getattr(errors, said["error"], Stopped)
    return kind(said["sentence"]) if issubclass(kind, FactoryError) else Stopped(said["sentence"])


class _Pipe:
    """The worker's side of the talk."""

    def __init__(self, store: Store, asked: TextIO, said: TextIO) -> None:
        self._store, self._asked, self._said = store, asked, said

    def say(self, **message: Any) -> None:
        self._said.write(orjson.dumps(message).decode() + "\n")
        self._said.flush()

    def shards(self) -> Iterator[Work]:
        """Shards as the parent hands them out; the end of the pipe is an interrupt."""
        while True:
            self.say(more=1)
            line = self._asked.readline()
            if not line:
                raise Interrupted("the parent process is gone")
            name = orjson.loads(line)["shard"]
            if name is None:
                return
            yield Work.opened(self._store, name)


async def _work(runner: Runner, pipe: _Pipe) -> None:
    async def tell() -> None:
        while True:
            await asyncio.sleep(SNAPSHOT_SECONDS)
            pipe.say(tally=_snapshot(runner.tally))

    telling = asyncio.create_task(tell())
    try:
        await runner.run(pipe.shards())
    finally:
        telling.cancel()
        await runner.engine.close()
    pipe.say(tally=_snapshot(runner.tally))


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
    pipe = _Pipe(store, asked, said)
    try:
        with run.rare_collections():
            asyncio.run(_work(run.worker_runner(store, task), pipe))
    except Interrupted:
        return
    except FactoryError as err:
        pipe.say(error=type(err).__name__, sentence=str(err))


def _die_with_parent() -> None:
    """Linux: the kernel ends a worker with its parent, also after kill -9. Elsewhere the pipe tells it a little later."""
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    main()
