"""481 recorded answers of other people's servers, served once more and read through the engine."""

import asyncio
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from factory.engines.openai import OpenAI
from factory.errors import Busy, FactoryError, Refused, Stopped, Transient
from factory.requests import Reply
from tests.engines.server import Local, ask

RECORDED = Path(__file__).resolve().parents[2] / "../shared/data/llm_json/openai_compatible_exchanges/exchanges.jsonl"


@cache
def exchanges() -> tuple[dict[str, Any], ...]:
    if not RECORDED.exists():
        pytest.skip("the recorded exchanges are not here")
    return tuple(json.loads(line) for line in RECORDED.read_text("utf-8").splitlines())


@cache
def ended() -> tuple[Reply | BaseException, ...]:
    """What the engine makes of each answer, in order."""
    rows = exchanges()

    async def again(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        row = rows[int(body["messages"][0]["content"])]
        text = row["response_text"] if row["response_text"] is not None else json.dumps(row["response"])
        return web.Response(body=text.encode(), status=row["status"], headers={"Content-Type": row["content_type"]})

    async def main(url: str) -> list[Reply | BaseException]:
        engine = OpenAI(model="m", base_url=url, timeout_seconds=10)
        found = [await asyncio.gather(engine.complete(ask(str(n))), return_exceptions=True) for n in range(len(rows))]
        await engine.close()
        return [one for (one,) in found]

    with Local(again) as server:
        return tuple(asyncio.run(main(server.url)))


def pairs(kind: str) -> list[tuple[dict[str, Any], Reply | BaseException]]:
    """Answers of a kind with what came of them: 'good', 'bad' (a status that is no 200), 'stream', 'other'."""
    found = []
    for row, end in zip(exchanges(), ended(), strict=True):
        streamed = row["response_text"] is not None
        this = (
            "stream"
            if streamed
            else "bad"
            if row["status"] != 200
            else "good"
            if row["response"].get("choices")
            else "other"
        )
        if this == kind:
            found.append((row, end))
    return found


def content(message: dict[str, Any]) -> str:
    said = message.get("content") or ""
    return said if isinstance(said, str) else "".join(part["text"] for part in said if part["type"] == "text")


def test_nothing_but_our_own_faults_is_raised() -> None:
    """481 answers of eleven providers: each is a reply or a fault with a handler."""
    assert len(ended()) == 481
    assert all(isinstance(end, Reply | FactoryError) for end in ended())


def test_what_was_said_is_read_as_it_was_said() -> None:
    """Text as a string, as parts, as nothing (then a tool was called): never the reasoning."""
    found = pairs("good")
    assert len(found) == 401
    for row, reply in found:
        assert isinstance(reply, Reply), (row["cassette"], reply)
        message = row["response"]["choices"][0]["message"]
        assert reply.text == (content(message) or message.get("refusal") or "")


def test_finish_reasons_come_out_right() -> None:
    """232 stops, 156 calls of tools and 7 that say nothing are stops; 6 were cut off."""
    finishes = [reply.finish for _, reply in pairs("good") if isinstance(reply, Reply)]
    assert (finishes.count("length"), finishes.count("stop"), len(finishes)) == (6, 395, 401)
    for row, reply in pairs("good"):
        assert isinstance(reply, Reply)
        assert (reply.finish == "length") == (row["response"]["choices"][0].get("finish_reason") == "length")


def test_tokens_come_out_right() -> None:
    """In, out and cached, under whatever name a provider gives the last."""
    cached = 0
    for row, reply in pairs("good"):
        assert isinstance(reply, Reply)
        usage = row["response"].get("usage") or {}
        assert (reply.tokens_in, reply.tokens_out) == (usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))
        known = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        wanted = known if known is not None else usage.get("num_cached_tokens") or usage.get("cached_tokens") or 0
        assert reply.tokens_cached == min(wanted, reply.tokens_in)
        cached += reply.tokens_cached > 0
    assert cached > 20


def test_errors_come_out_right() -> None:
    """A model that is not there stops the run, a request that is refused rejects its unit, too many wait."""
    kinds = {404: Stopped, 400: Refused, 429: Busy}
    found = pairs("bad")
    assert len(found) == 11
    for row, error in found:
        assert type(error) is kinds[row["status"]]
        told = row["response"]["error"]["message"]
        assert " ".join(told.split())[:60] in str(error)


def test_a_stream_that_nobody_asked_for_is_a_fault_and_no_crash() -> None:
    """67 recorded texts that are no JSON, nearly all streams, and two objects that are no completion."""
    found = pairs("stream") + pairs("other")
    assert len(found) == 69
    assert {type(error) for _, error in found} == {Transient}
