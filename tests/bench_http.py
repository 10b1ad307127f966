"""What the `openai` engine costs beside a bare asynchronous client, against a local mock server; `make bench PART=http`.

The server answers each request with what the rehearsal engine said to it when the corpus was run once before, after a
stated delay. The bare client sends the very same bodies, as many at a time, and reads the JSON of each answer.
"""

import argparse
import asyncio
import hashlib
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from bench import corpus

from factory import run
from factory.engines.rehearsal import Rehearsal
from factory.requests import Reply, Request
from factory.settings import Content, Operation

IN_FLIGHT = 64


def name_of(messages: Any) -> str:
    return hashlib.sha1(orjson.dumps(messages)).hexdigest()


class Recorded(Rehearsal):
    """The rehearsal engine, which remembers what it said to whom."""

    said: dict[str, str]

    async def complete(self, request: Request) -> Reply:
        reply = await super().complete(request)
        self.said[name_of(request.messages)] = reply.text
        return reply


def serve(answers: Path, delay: float) -> None:
    """The mock server, a process of its own; prints its port. GET /taken gives the bodies and arrival times, and forgets them."""
    said = orjson.loads(answers.read_bytes())
    times: list[float] = []
    bodies: list[bytes] = []

    async def chat(request: web.Request) -> web.Response:
        times.append(time.perf_counter())
        body = await request.read()
        if len(bodies) < 20_000:
            bodies.append(body)
        asked = orjson.loads(body)
        text = said.get(name_of(asked["messages"]))
        if text is None:  # the look at the start: an enum of one word
            text = orjson.dumps(_fitting(asked["response_format"]["json_schema"]["schema"])).decode()
        if delay:
            await asyncio.sleep(delay)
        answer = {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": len(body) // 4, "completion_tokens": len(text) // 4},
        }
        return web.Response(body=orjson.dumps(answer), content_type="application/json")

    async def taken(request: web.Request) -> web.Response:
        answer = orjson.dumps({"times": times, "bodies": [body.decode() for body in bodies]})
        times.clear()
        bodies.clear()
        return web.Response(body=answer, content_type="application/json")

    async def main() -> None:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/v1/chat/completions", chat)
        app.router.add_get("/taken", taken)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())


def _fitting(schema: dict[str, Any], whole: dict[str, Any] | None = None) -> Any:
    """Some value that a schema allows."""
    whole = whole or schema
    if "$ref" in schema:
        return _fitting(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    kinds: dict[str, Callable[[], Any]] = {
        "object": lambda: {name: _fitting(one, whole) for name, one in schema.get("properties", {}).items()},
        "array": lambda: [_fitting(schema["items"], whole)],
        "string": lambda: "word",
        "boolean": lambda: True,
    }
    return kinds.get(schema.get("type", ""), lambda: schema.get("minimum", 1))()


async def _bare(url: str, bodies: list[bytes]) -> None:
    """The least that a client can do: the same bodies, as many at a time, the text taken out of each answer."""
    waiting = iter(bodies)
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector, headers={"Content-Type": "application/json"}) as session:

        async def worker() -> None:
            for body in waiting:
                async with session.post(f"{url}/chat/completions", data=body) as answer:
                    orjson.loads(await answer.read())["choices"][0]["message"]["content"]

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _rate(times: list[float]) -> float:
    """Requests a second between the first tenth and the last, where all is in full swing."""
    low, high = len(times) // 10, len(times) * 9 // 10
    return (high - low) / (times[high] - times[low])


def _taken(port: str) -> dict[str, Any]:
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/taken") as answer:
        return json.loads(answer.read())  # type: ignore[no-any-return]


def compare(folder: Path, delay: float, limit: int, repeats: int) -> None:
    """One line of figures for this delay: rates and CPU of both, interleaved, medians."""
    source, answers = corpus(folder, 1), folder / "answers.json"
    recorded = Recorded()
    recorded.said = {}
    shutil.rmtree(folder / "recorded", ignore_errors=True)
    run.synth(source, out=folder / "recorded", engine=recorded, operation=Operation(limit=limit))
    answers.write_bytes(orjson.dumps(recorded.said))
    server = subprocess.Popen([sys.executable, __file__, "serve", str(answers), str(delay)], stdout=-1, text=True)
    assert server.stdout is not None
    try:
        port = server.stdout.readline().strip()
        url = f"http://127.0.0.1:{port}/v1"
        content = Content(engine="openai", model="mock")
        operation = Operation(limit=limit, base_url=url, concurrency=IN_FLIGHT)
        ratios, rates, bare_rates, added, whole = [], [], [], [], []
        for _ in range(repeats):
            out = folder / "http"
            shutil.rmtree(out, ignore_errors=True)
            before = _cpu()
            run.synth(source, out=out, content=content, operation=operation)
            ours_cpu = _cpu() - before
            mine = _taken(port)
            bodies = [body.encode() for body in mine["bodies"]]
            before = _cpu()
            asyncio.run(_bare(url, bodies))
            bare_cpu = _cpu() - before
            bare = _taken(port)
            rates.append(_rate(mine["times"]))
            bare_rates.append(_rate(bare["times"]))
            ratios.append(rates[-1] / bare_rates[-1])
            whole.append(ours_cpu / len(mine["times"]) * 1000)
            added.append(whole[-1] - bare_cpu / len(bodies) * 1000)
        print(
            f"| mock server of {delay * 1000:g} ms, {IN_FLIGHT} in flight, {len(bodies):,} requests: pipeline / bare client | "
            f"{statistics.median(rates):,.0f} / {statistics.median(bare_rates):,.0f} requests/s, ratio "
            f"{statistics.median(ratios):.2f}; CPU added {statistics.median(added):.2f} ms a request of "
            f"{statistics.median(whole):.2f} | ratios {' / '.join(f'{r:.2f}' for r in ratios)}; added "
            f"{' / '.join(f'{a:.2f}' for a in added)} |"
        )
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        serve(Path(sys.argv[2]), float(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=int, default=40, help="records of the corpus")
    given = parser.parse_args()
    print("| what | figure | runs |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        for delay in (0.05, 0.0):
            compare(Path(name), delay, given.limit, given.repeats)


if __name__ == "__main__":
    main()
