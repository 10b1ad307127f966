"""A chat completions server on this computer, for tests: in a thread with a handler, or as a process that can be killed.

`server.py PORT REPLIES LOG` answers what the file REPLIES holds (made by `write_replies`) and writes down each request.
"""

import asyncio
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from factory.engines import Checked, Engine
from factory.engines.rehearsal import Rehearsal
from factory.requests import Identity, Message, Reply, Request, Sampling

Handler = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def ask(content: str = "?", *, read: tuple[str, ...] = (), schema: str = "{}", **more: Any) -> Request:
    """A small request; `more` goes to the sampling."""
    sampling = Sampling(**({"temperature": 0.7, "max_tokens": 64, "seed": 5} | more))
    return Request(
        stage="labels", unit="u", messages=(Message("user", content),), schema=schema, sampling=sampling, read=read
    )


def completion(text: str | None, finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    """The body of a good answer; `message` adds fields to its message."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text} | message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
    }


def obeying(body: dict[str, Any]) -> str:
    """What a server that holds replies to schemas says to the probe; 'fine' where no schema was given."""
    shape = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    words = {name: one["enum"][0] for name, one in shape.get("properties", {}).items() if "enum" in one}
    return orjson.dumps(words).decode() if words else '{"word": "fine"}'


async def good(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(completion(obeying(body)))


def says(status: int, body: Any, headers: dict[str, str] | None = None) -> Handler:
    """A handler that gives the same answer to everybody."""

    async def answer(request: web.Request, sent: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return answer


def in_turn(*handlers: Handler) -> Handler:
    """The first handler for the first request and so on; the last for all that follow."""
    left = list(handlers)

    async def answer(request: web.Request, sent: dict[str, Any]) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request, sent)

    return answer


@dataclass
class Local:
    """`with Local(handler) as server:` serves in a thread at `server.url`; `bodies` are what it was sent, in order."""

    handler: Handler = good
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> "Local":
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # cancels whoever still hangs
            runner.run(self._main())

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        runner = await serving(self._answer, 0)
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        return await self.handler(request, body)


async def serving(answer: Callable[[web.Request], Awaitable[web.StreamResponse]], port: int) -> web.AppRunner:
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


# --- a server that answers as the rehearsal engine would ---


def mark(messages: Sequence[Any], seed: int) -> str:
    """What a server sees of a request, enough to know it by."""
    return orjson.dumps([messages, seed]).decode()


@dataclass
class Prompted:
    """Before an engine: puts what the rehearsal engine would say into `book`, for the server behind that engine to say.

    A server sees only rendered messages, the rehearsal engine reads what they were rendered from.
    """

    engine: Engine
    book: dict[str, str] = field(default_factory=dict)
    asks: Counter[tuple[object, ...]] = field(default_factory=Counter)  # by question: a unit may have several

    @property
    def identity(self) -> Identity:
        return self.engine.identity

    async def check(self) -> tuple[str, ...]:
        return await self.engine.check() if isinstance(self.engine, Checked) else ()

    async def complete(self, request: Request) -> Reply:
        self.asks[request.stage, request.unit, request.round, *sorted(request.fields.items())] += 1
        said = await Rehearsal().complete(request)
        self.book[mark(request.messages, request.sampling.seed)] = said.text
        return await self.engine.complete(request)

    async def close(self) -> None:
        await self.engine.close()


def from_book(book: dict[str, str]) -> Handler:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        text = book.get(mark(body["messages"], body["seed"]))
        return web.json_response(completion(obeying(body) if text is None else text))

    return answer


def reset(request: web.Request) -> web.Response:
    """Close the connection without a word; what is returned goes nowhere."""
    if request.transport:
        request.transport.abort()
    return web.Response()


FAULTS = ("429", "429 after", "500", "503", "reset", "hang", "half", "invalid", "type", "empty", "refusal")


@dataclass
class Troubled:
    """Spoils a share of the answers of a handler, each kind of fault as often as the next."""

    handler: Handler
    share: float = 0.3
    seed: int = 0
    kinds: Sequence[str] = FAULTS
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    async def __call__(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        kind = self._dice.choice(self.kinds) if self._dice.random() < self.share else "good"
        self.done[kind] += 1
        return await (self.handler(request, body) if kind == "good" else _fault(kind, request))


async def _fault(kind: str, request: web.Request) -> web.StreamResponse:
    if kind in ("429", "429 after"):
        headers = {"Retry-After": "0.05"} if kind == "429 after" else {}
        return web.json_response({"error": {"message": "slow down"}}, status=429, headers=headers)
    if kind in ("500", "503"):
        return web.Response(status=int(kind), text="<html><body>oops</body></html>", content_type="text/html")
    if kind == "hang":
        await asyncio.sleep(5)
    if kind in ("reset", "hang"):
        return reset(request)
    if kind == "half":
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "400"})
        await response.prepare(request)
        await response.write(b'{"choices": [{"message": {"content": "half a')
        reset(request)
        return response
    if kind == "invalid":
        return web.Response(text='{"choices": [{"mess', content_type="application/json")
    if kind == "type":
        return web.Response(text="<html>Welcome to the proxy</html>", content_type="text/html")
    if kind == "empty":
        return web.json_response({"choices": [], "usage": None})
    return web.json_response(completion("I'm sorry, but I can't help with that."))


# --- as a process of its own ---


def write_replies(path: Path, book: dict[str, str]) -> None:
    path.write_bytes(orjson.dumps(book))


async def main(port: int, replies: Path, log: Path) -> None:
    answer = from_book(orjson.loads(replies.read_bytes()))
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    async def logged(request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        os.write(written, mark(body["messages"], body.get("seed", 0)).encode() + b"\n")
        await asyncio.sleep(0.01)
        return await answer(request, body)

    runner = await serving(logged, port)
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
