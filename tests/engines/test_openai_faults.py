"""Whole runs against servers that fail: every unit ends, nothing is asked too often, a dead server stops the run."""

import asyncio
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from factory import run
from factory.engines.flow import Flow
from factory.engines.openai import OpenAI
from factory.engines.openai.probe import MOST
from factory.engines.ready import Ready
from factory.engines.rehearsal import Rehearsal
from factory.engines.retry import Retrying
from factory.errors import Stopped, WrongRequest
from factory.settings import Content, Operation
from factory.store import Store, rejects
from tests.engines.server import (
    FAULTS,
    Local,
    Prompted,
    Troubled,
    completion,
    from_book,
    good,
    obeying,
    says,
    write_replies,
)

Files = dict[str, bytes]
ROOT = Path(__file__).resolve().parents[2]
FAMILY = ROOT / "corpora/family.jsonl"
KEY = "hosted-0123456789abcdefXYZ"
EVERYTHING = Operation(max_rejects=1.0, shard_size=2)


def stack(url: str, said: list[str], **more: Any) -> tuple[Prompted, OpenAI]:
    """The engine of a run as `open_engine` puts it together, with short waits, before a server that rehearses."""
    openai = OpenAI(model="rehearsing", base_url=url, api_key=KEY, timeout_seconds=0.5, patience_seconds=20, **more)
    flow = Flow(openai, most=64, patience_seconds=20)
    return Prompted(Ready(Retrying(flow, wait_seconds=0.02), openai, said.append)), openai


def counts(out: Path) -> Counter[str]:
    """Units, and how they ended, over all stages of all shards."""
    total = Counter[str]()
    for name in Store(out).names():
        manifest = Store(out).finished(name)
        assert manifest is not None
        for stage, count in manifest.units.items():
            assert count.inputs == count.accepted + count.rejected, stage
            assert count.made == count.kept + count.dropped, stage
            total.update(inputs=count.inputs, accepted=count.accepted, rejected=count.rejected, asked=count.asked)
    return total


@pytest.mark.parametrize("seed", [0, 1])
def test_with_a_third_of_faults_every_unit_ends_and_nobody_is_stormed(tmp_path: Path, seed: int) -> None:
    """429, 500, 503, resets, hangs, half a body, no JSON, no choice, a refusal, at 30 % of requests: the run ends, units
    are accepted or rejected, no question is asked more than three times, the server at most twice as often as the units ask,
    and the probe is not fooled."""
    book: dict[str, str] = {}
    troubled = Troubled(from_book(book), seed=seed)
    with Local(troubled) as server:
        engine, openai = stack(server.url, [])
        engine.book = book
        run.synth(FAMILY, out=tmp_path / "run", engine=engine, operation=EVERYTHING)
    assert openai._findings.response_format == "json_schema"
    assert set(troubled.done) == {*FAULTS, "good"}
    assert sum(troubled.done.values()) - troubled.done["good"] > 0.25 * len(server.bodies)
    ends = counts(tmp_path / "run")
    assert ends["inputs"] > 100
    assert ends["accepted"] > 0.8 * ends["inputs"]
    assert max(engine.asks.values()) <= 3
    asks = sum(engine.asks.values())
    assert len(server.bodies) - MOST <= 2 * asks
    assert (tmp_path / "run/dataset.json").exists()


def test_a_server_without_faults_is_asked_exactly_as_often_as_units_ask(tmp_path: Path) -> None:
    """Nothing is sent twice where nothing fails; each request has the schema, its seed and the room of its stage."""
    book: dict[str, str] = {}
    with Local(from_book(book)) as server:
        engine, _ = stack(server.url, [])
        engine.book = book
        run.synth(FAMILY, out=tmp_path / "run", engine=engine, operation=EVERYTHING)
    assert len(server.bodies) == 1 + sum(engine.asks.values())
    assert all(b["response_format"]["json_schema"]["strict"] is True for b in server.bodies)
    assert {b["response_format"]["json_schema"]["name"] for b in server.bodies} > {"actors", "utterances", "labels"}
    assert len({b["seed"] for b in server.bodies}) > 0.9 * len(server.bodies)


def test_a_server_that_is_wrong_leaves_nothing_behind(tmp_path: Path) -> None:
    """The check comes before the folder: a refused key is a wrong request and nothing is written."""
    with Local(says(401, {"error": "no"})) as server:
        engine, _ = stack(server.url, [])
        with pytest.raises(WrongRequest, match="the key in OPENAI_API_KEY was refused"):
            run.synth(FAMILY, out=tmp_path / "run", engine=engine)
    assert not (tmp_path / "run").exists()


def test_the_key_is_nowhere_in_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], whole: Callable[[Path], Files]
) -> None:
    """Not in the folder, on the screen or in an engine's repr, though the server repeats it in errors and replies."""
    monkeypatch.setenv("MY_KEY", KEY)
    number = 0

    async def echo(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        nonlocal number
        number += 1
        sent = request.headers["Authorization"]
        if number == 1:
            return await good(request, body)
        match number % 5:
            case 0:
                return web.json_response({"error": {"message": f"bad header {sent}", "param": sent}}, status=400)
            case 1:
                return web.json_response({"error": {"message": f"{sent} is busy", "code": 502}})
            case 2:
                return web.json_response(completion(f"you sent {sent}"), headers={"Set-Cookie": f"key={KEY}"})
            case 3:
                raise web.HTTPServiceUnavailable(text=sent, reason=f"sent {KEY}")
        return web.json_response(completion(obeying(body)))

    content = Content(engine="openai", model="echo", repairs=1)
    with Local(echo) as server:
        operation = Operation(base_url=server.url, api_key_env="MY_KEY", max_rejects=1.0, shard_size=2, concurrency=16)
        run.synth(FAMILY, out=tmp_path / "run", content=content, operation=operation)
    assert all(h["Authorization"] == f"Bearer {KEY}" for h in server.headers)
    assert {r.reason for r in rejects(Store(tmp_path / "run"), Store(tmp_path / "run").names())} >= {"bad_request"}
    for name, data in whole(tmp_path / "run").items():
        assert KEY.encode() not in data, name
    tables = [Store(tmp_path / "run").table(n, "replies") for n in Store(tmp_path / "run").names()]
    assert "[key]" in str([t.to_pylist() for t in tables if t])
    assert KEY not in str([t.to_pylist() for t in tables if t])
    assert KEY not in "".join(capfd.readouterr())


# A server that dies ---------------------------------------------------------------------------------------------------


@contextmanager
def process(port: int, replies: Path, log: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """The test server as a process of its own; its port (0: any) when it listens."""
    command = [sys.executable, "-m", "tests.engines.server", str(port), str(replies), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        try:
            assert child.stdout
            yield child, int(child.stdout.readline())
        finally:
            child.kill()


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


def test_a_dead_server_stops_the_run_which_goes_on_when_it_is_back(
    tmp_path: Path, paid: Callable[[Path], set[str]], dataset: Callable[[Path], Files], same_dataset: Any
) -> None:
    """Killed in the midst: exit 3 within patience. Back on its port: the same command completes, asks for nothing that is
    journalled, and ends with the dataset of a run that was left alone."""
    rehearsed = Prompted(Rehearsal())
    run.synth(FAMILY, out=tmp_path / "rehearsed", engine=rehearsed, operation=EVERYTHING)
    replies = tmp_path / "replies.json"
    write_replies(replies, rehearsed.book)
    content, out = Content(engine="openai", model="rehearsing"), tmp_path / "run"
    died = []

    def synth(port: int, where: Path) -> None:
        url = f"http://127.0.0.1:{port}/v1"
        operation = Operation(base_url=url, patience_seconds=1.0, max_rejects=1.0, shard_size=2, concurrency=16)
        run.synth(FAMILY, out=where, content=content, operation=operation)

    with process(0, replies, tmp_path / "log1") as (child, port):

        def kill() -> None:
            while len(lines(tmp_path / "log1")) < 60:
                time.sleep(0.005)
            child.kill()
            died.append(time.monotonic())

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(Stopped, match=r"has not answered for 1 s .*start the server again") as caught:
            synth(port, out)
        took = time.monotonic() - died[0]
        killer.join()
    assert caught.value.exit_code == 3
    assert 0.9 < took < 4
    have = len(paid(out))
    assert 30 < have < len(rehearsed.book)
    with process(port, replies, tmp_path / "log2"):
        synth(port, out)
        asked = [line for line in lines(tmp_path / "log2") if line in rehearsed.book]
        assert len(asked) == len(set(asked)) == len(rehearsed.book) - have
        synth(port, tmp_path / "alone")
    same_dataset(out, dataset(tmp_path / "alone"))


def test_a_server_that_is_away_for_a_moment_costs_nothing(tmp_path: Path) -> None:
    """Within patience a run waits and goes on: no unit is lost, no reject is made."""
    rehearsed = Prompted(Rehearsal())
    run.synth(FAMILY, out=tmp_path / "rehearsed", engine=rehearsed, operation=EVERYTHING)
    replies, log = tmp_path / "replies.json", tmp_path / "log"
    write_replies(replies, rehearsed.book)
    done = threading.Event()
    with process(0, replies, log) as (child, port):
        url = f"http://127.0.0.1:{port}/v1"

        def away() -> None:
            while len(lines(log)) < 60:
                time.sleep(0.005)
            child.kill()
            time.sleep(0.5)
            with process(port, replies, log):
                done.wait(60)

        other = threading.Thread(target=away)
        other.start()
        content = Content(engine="openai", model="rehearsing")
        operation = Operation(base_url=url, patience_seconds=20.0, shard_size=2, concurrency=8)
        try:
            run.synth(FAMILY, out=tmp_path / "run", content=content, operation=operation)
        finally:
            done.set()
            other.join()
    assert counts(tmp_path / "run") == counts(tmp_path / "rehearsed")


def test_the_engine_is_closed_with_the_run() -> None:
    """No connection and no timer is left, in this loop or another."""

    async def main(url: str) -> None:
        engine = OpenAI(model="m", base_url=url)
        flow = Flow(engine, most=4)
        await engine.check()
        await flow.close()
        await flow.close()
        assert [t for t in asyncio.all_tasks() if t is not asyncio.current_task()] == []

    with Local(good) as server:
        asyncio.run(main(server.url))
