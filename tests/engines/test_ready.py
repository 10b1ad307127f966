"""Facts about the look at an engine before it is used: once, before a new run writes, later only when it is needed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from factory import run
from factory.engines.ready import Ready
from factory.engines.rehearsal import Rehearsal
from factory.errors import Stopped, Unreachable, WrongRequest
from factory.requests import Identity, Reply, Request
from factory.settings import Operation


@dataclass
class Server:
    """The rehearsal engine, as one that is looked at first; `fault` is raised by the look."""

    fault: Exception | None = None
    checks: int = 0
    asked: int = 0
    identity: Identity = field(default_factory=lambda: Rehearsal().identity)

    async def check(self) -> tuple[str, ...]:
        self.checks += 1
        await asyncio.sleep(0)
        if self.fault:
            raise self.fault
        return ("the server answers",)

    async def complete(self, request: Request) -> Reply:
        self.asked += 1
        return await Rehearsal().complete(request)

    async def close(self) -> None: ...


@dataclass
class Told:
    said: list[str] = field(default_factory=list)

    def start(self, tally: object, passages: int, *more: object) -> None: ...
    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def stop(self) -> None: ...


@pytest.mark.parametrize("fault", [WrongRequest("no such model"), Unreachable("nobody there")])
def test_a_new_run_that_nobody_would_answer_writes_nothing(
    tales: Callable[..., Path], tmp_path: Path, fault: Exception
) -> None:
    """A wrong model or a dead server is found before the first file, so the same OUT is free for the next try."""
    server = Server(fault=fault)
    with pytest.raises(type(fault)):
        run.synth(tales(), out=tmp_path / "run", engine=Ready(server, server))
    assert not (tmp_path / "run").exists() and server.asked == 0


def test_what_was_found_is_said_once(tales: Callable[..., Path], tmp_path: Path) -> None:
    """The look happens once for a run, however many requests follow, and what it found is told to the watcher."""
    server, told = Server(), Told()
    run.synth(tales(), out=tmp_path / "run", engine=Ready(server, server, told.say), watcher=told)
    assert server.checks == 1 and server.asked > 20
    assert told.said.count("the server answers") == 1


def test_a_run_whose_replies_are_all_there_needs_no_engine(tales: Callable[..., Path], tmp_path: Path) -> None:
    """Remembered replies cost nothing: a dead server does not stop the building of what is paid for."""
    corpus, out = tales(), tmp_path / "run"
    run.synth(corpus, out=out)
    (out / "dataset.json").unlink()
    dead = Server(fault=Unreachable("nobody there"))
    assert run.resume(out, engine=Ready(dead, dead)).did
    assert dead.checks == 0


def test_a_started_run_looks_when_it_first_has_to_ask(tales: Callable[..., Path], tmp_path: Path) -> None:
    """At a resume the look comes with the first request that is not remembered; many waiting units cause one look."""
    corpus, out, told = tales(), tmp_path / "run", Told()
    with pytest.raises(Stopped):
        run.synth(corpus, out=out, operation=Operation(max_tokens=4000, concurrency=1))
    server = Server()
    run.resume(out, operation=Operation(max_tokens=10**9), engine=Ready(server, server, told.say), watcher=told)
    assert server.checks == 1 and told.said.count("the server answers") == 1


def test_a_look_that_fails_at_a_resume_keeps_what_is_there(tales: Callable[..., Path], tmp_path: Path) -> None:
    """Unreachable ends the run as Stopped; the next start goes on."""
    corpus, out = tales(), tmp_path / "run"
    with pytest.raises(Stopped):
        run.synth(corpus, out=out, operation=Operation(max_tokens=4000, concurrency=1))
    dead = Server(fault=Unreachable("nobody there"))
    with pytest.raises(Stopped, match="nobody there"):
        run.resume(out, operation=Operation(max_tokens=10**9), engine=Ready(dead, dead))
    assert run.resume(out, operation=Operation(max_tokens=10**9)).did
