"""The engine of a server: what it sends, what it makes of each answer, and what it finds out beforehand."""

import asyncio
import contextlib
import gzip
import json
import logging
import math
import random
import traceback
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import orjson
import pytest
from aiohttp import web

from factory.engines.openai import OpenAI, wire
from factory.engines.openai.probe import MOST, Probe
from factory.engines.openai.trouble import Said, Server, retry_after
from factory.engines.openai.wire import Answer, Findings
from factory.errors import (
    Busy,
    Down,
    FactoryError,
    Refused,
    Stopped,
    Transient,
    Unreachable,
    WrongRequest,
)
from factory.requests import Reply, Request
from factory.settings import Content
from factory.stages import schema
from factory.steps import pipeline
from tests.engines.server import Handler, Local, ask, completion, good, in_turn, reset, says

KEY = "sk-test-0123456789abcdefXYZ"
SERVER = Server(model="m", base_url="http://h/v1", api_key=KEY)
NOW = 1_790_000_000.0


def engine(url: str, **more: Any) -> OpenAI:
    return OpenAI(**({"model": "m", "base_url": url, "api_key": KEY, "patience_seconds": 1.0} | more))


def completed(url: str, request: Request | None = None, **more: Any) -> Reply:
    async def main() -> Reply:
        one = engine(url, **more)
        try:
            return await one.complete(request or ask())
        finally:
            await one.close()

    return asyncio.run(main())


def checked(handler: Handler, **more: Any) -> tuple[OpenAI, tuple[str, ...], Local]:
    with Local(handler) as server:
        one = engine(server.url, **more)
        return one, asyncio.run(one.check()), server


def read(status: int, body: Any, headers: dict[str, str] | None = None, words: tuple[str, ...] = ()) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return wire.reply(Answer(status, headers or {}, "application/json", data), SERVER, words, 0.5, NOW)


def fault(status: int, body: Any, headers: dict[str, str] | None = None) -> FactoryError:
    with pytest.raises(FactoryError) as caught:
        read(status, body, headers)
    return caught.value


# What is sent ---------------------------------------------------------------------------------------------------------


def body(request: Request, findings: Findings | None = None, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    sent: dict[str, Any] = orjson.loads(wire.body(request, findings or Findings(), "m", extra or {}))
    return sent


def test_a_request_becomes_a_chat_completion_held_to_its_schema() -> None:
    """Model, messages, sampling and the strict schema under the stage's name; nothing that has its default value."""
    assert body(ask("hello", schema='{"type": "object"}')) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": False,
        "max_tokens": 64,
        "temperature": 0.7,
        "seed": 5,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "labels", "schema": {"type": "object"}, "strict": True},
        },
    }


def test_what_a_server_does_not_take_is_not_sent() -> None:
    """The findings decide about each field; a repetition penalty and a top_p go only where they change something."""
    bare = Findings(response_format="text", limit="max_completion_tokens", temperature=False, top_p=False, seed=False)
    assert set(body(ask(top_p=0.5), bare)) == {"model", "messages", "stream", "max_completion_tokens"}
    assert body(ask(top_p=0.5, repetition_penalty=1.03))["top_p"] == 0.5
    assert body(ask(repetition_penalty=1.03))["repetition_penalty"] == 1.03
    assert body(ask(), Findings(response_format="json_object"))["response_format"] == {"type": "json_object"}


def test_reading_asks_for_one_token_and_its_alternatives_at_temperature_one() -> None:
    """No format, no other temperature, whatever else goes along."""
    sent = body(ask(read=("joy",), temperature=0.0), extra={"temperature": 0.2, "top_k": 5, "response_format": {}})
    assert (sent["max_tokens"], sent["temperature"], sent["logprobs"], sent["top_logprobs"]) == (1, 1.0, True, 20)
    assert sent["top_k"] == 5
    assert "response_format" not in sent


def test_extra_fields_go_along_and_win() -> None:
    """extra_body is merged last."""
    sent = body(ask(), extra={"temperature": 0.1, "chat_template_kwargs": {"enable_thinking": False}})
    assert (sent["temperature"], sent["chat_template_kwargs"]) == (0.1, {"enable_thinking": False})


@pytest.mark.parametrize("name", ["model", "messages", "stream"])
def test_extra_fields_cannot_replace_what_is_asked(name: str) -> None:
    """Who is asked what is not for extra_body to say."""
    with pytest.raises(WrongRequest, match=name):
        engine("http://h/v1", extra_body={name: 1})


def test_every_stage_has_a_schema_that_strict_servers_take() -> None:
    """OpenAI's strict mode wants every object to forbid other properties and to require all of its own."""

    def objects(node: Any) -> list[dict[str, Any]]:
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        own = [node] if isinstance(node, dict) and node.get("type") == "object" else []
        return own + [found for one in inner for found in objects(one)]

    agents = [agent for step in pipeline(Content()) for agent in step.stage.agents]
    for said in {agent.said for agent in agents if agent.said is not None}:
        found = objects(orjson.loads(schema(said)))
        assert found
        assert all(one["additionalProperties"] is False for one in found)
        assert all(sorted(one["required"]) == sorted(one["properties"]) for one in found)


# What comes back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        *((w, "stop") for w in ("stop", "eos", "eos_token", None, "tool_calls", "function_call", "STOP", 7)),
        *((w, "length") for w in ("length", "max_tokens", "MAX_TOKENS", "model_length")),
        *((w, "filtered") for w in ("content_filter", "SAFETY")),
        ("repetition", "repetition"),
    ],
)
def test_finish_reasons_have_one_meaning_each(said: Any, finish: str) -> None:
    """Servers name the same ends differently."""
    assert read(200, completion("x", said)).finish == finish


@pytest.mark.parametrize("said", ["error", "abort", "insufficient_system_resource"])
def test_a_reply_that_the_server_gave_up_is_asked_for_again(said: str) -> None:
    """Half a reply is none."""
    assert type(fault(200, completion("half", said))) is Transient


@pytest.mark.parametrize(
    ("message", "text", "finish"),
    [
        ({"content": "hi"}, "hi", "stop"),
        ({"content": ""}, "", "stop"),
        ({"content": None}, "", "stop"),
        ({"content": None, "reasoning_content": "I think"}, "", "stop"),
        ({"content": None, "reasoning": "I think"}, "", "stop"),
        ({"content": "a", "reasoning": "I think"}, "a", "stop"),
        ({"content": None, "refusal": "I won't"}, "I won't", "filtered"),
        ({"content": "a", "refusal": None}, "a", "stop"),
        ({"content": "a", "refusal": "b"}, "a", "stop"),
        ({"content": [{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "4"}]}, "4", "stop"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, "c", 7]}, "abc", "stop"),
        ({"content": [{"type": "reasoning", "text": "hm"}, {"text": "a"}]}, "a", "stop"),
        ({"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}, "", "stop"),
    ],
)  # fmt: skip
def test_the_reply_is_what_was_said_and_not_what_was_thought(message: dict[str, Any], text: str, finish: str) -> None:
    """Content as text or parts, a refusal where there is no content, never the reasoning."""
    reply = read(200, {"choices": [{"message": message, "finish_reason": "stop"}]})
    assert (reply.text, reply.finish, reply.seconds) == (text, finish, 0.5)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 2}, (9, 2, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}, (9, 2, 8)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": None}}, (9, 2, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": -1}}, (9, 2, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": None}, (9, 2, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}, (9, 2, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "num_cached_tokens": 99}, (9, 2, 9)),
        ({"prompt_tokens": 1000.0, "completion_tokens": 2.0}, (1000, 2, 0)),
        ({"prompt_tokens": 9.5, "completion_tokens": float("nan")}, (0, 0, 0)),
        ({"prompt_tokens": "9", "completion_tokens": -2}, (0, 0, 0)),
        ({"prompt_tokens": True, "completion_tokens": 10**30}, (0, 0, 0)),
        (None, (0, 0, 0)),
        ([], (0, 0, 0)),
    ],
)
def test_tokens_are_counted_as_the_server_counts_them(usage: Any, tokens: tuple[int, int, int]) -> None:
    """What it does not say, or says wrongly, is 0."""
    reply = read(200, completion("x") | {"usage": usage})
    assert (reply.tokens_in, reply.tokens_out, reply.tokens_cached) == tokens


def test_a_reply_without_end_is_cut_and_read_as_cut_off() -> None:
    """Over 400,000 characters nobody looks at the rest; up to there a reply stays whole."""
    reply = read(200, completion("a" * 400_001))
    assert (len(reply.text), reply.finish) == (200_001, "length")
    whole = read(200, completion("a" * 400_000))
    assert (len(whole.text), whole.finish) == (400_000, "stop")


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"null", b"[]", b"7", b"{", b"{}", b'{"choices": []}', b'{"choices": null}', b'{"choices": [null]}'),
        *(b'{"choices": [{}]}', b'{"choices": [{"message": null}]}', b'{"choices": [{"message": {"content": 7}}]}'),
        *(b"<html>hello</html>", b"data: {}\n\ndata: [DONE]\n\n", b"\xff\xfe", b"[" * 100_000),
        *(
            b'{"choices": {"0": {}}}',
            b'{"error": {"message": "upstream"}}',
            b'{"error": "upstream"}',
            b'{"error": [7]}',
        ),
    ],
)
def test_a_200_without_a_reply_is_a_fault_that_may_pass(data: bytes) -> None:
    """Whatever it is that came, it is asked for again and never a crash."""
    with pytest.raises(Transient):
        read(200, data)


def test_loose_json_is_read() -> None:
    """NaN, halves of surrogate pairs and bytes that are no UTF-8 spoil no reply."""
    for loose in (b"NaN", b'"\\ud800"', b'"\xff"'):
        data = b'{"x": ' + loose + b', "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}'
        assert read(200, data).text == "hi"


@pytest.mark.parametrize(
    ("code", "kind"),
    [(429, Busy), ("429", Busy), ("rate_limit_exceeded", Busy), (502, Transient), ("insufficient_quota", Stopped),
     (401, Stopped), (400, Refused), ("context_length_exceeded", Refused), (None, Transient), ("odd", Transient)],
)  # fmt: skip
def test_an_error_inside_a_200_is_taken_by_its_code(code: Any, kind: type[FactoryError]) -> None:
    """OpenRouter answers 200 and puts the fault into the body or the choice."""
    error = {"error": {"message": "Provider returned error", "code": code}}
    assert type(fault(200, error)) is kind
    assert type(fault(200, {"choices": [error | {"message": {"content": ""}}]})) is kind


@pytest.mark.parametrize(
    ("status", "said", "kind", "words"),
    [
        *((s, "", Transient, str(s)) for s in (408, 409, 425, 500, 502, 503, 504, 529)),
        (429, "slow down", Busy, "slow down"),
        (429, {"message": "You exceeded", "code": "insufficient_quota"}, Stopped, "OPENAI_API_KEY"),
        (402, "pay", Stopped, "payment"),
        (401, "no", Stopped, "the key in OPENAI_API_KEY was refused"),
        (403, "no", Stopped, "the key in OPENAI_API_KEY was refused"),
        (403, "your input was flagged by moderation", Refused, "content_filter"),
        (404, "no such model", Stopped, "correct MODEL, or BASE_URL"),
        (302, "", Stopped, "BASE_URL"),
        (400, "This model's maximum context length is 4096 tokens", Refused, "context_too_long"),
        (400, "prompt is too long: 9 tokens > 8 maximum", Refused, "context_too_long"),
        (400, "the request exceeds the available context size", Refused, "context_too_long"),
        (413, "Request too large for model", Refused, "context_too_long"),
        (429, "Request too large for m on tokens per min: Limit 9, Requested 12", Refused, "context_too_long"),
        (422, "Too many tokens in the prompt", Refused, "context_too_long"),
        (400, {"message": "x", "code": "context_length_exceeded"}, Refused, "context_too_long"),
        (400, {"message": "x", "code": "content_filter"}, Refused, "content_filter"),
        (400, "violates our content policy", Refused, "content_filter"),
        (400, "top_k is unknown", Refused, "bad_request: top_k is unknown"),
        (422, "", Refused, "bad_request"),
        (418, "teapot", Refused, "bad_request: teapot"),
    ],
)
def test_each_status_has_its_fault(status: int, said: Any, kind: type[FactoryError], words: str) -> None:
    """What may pass, what rejects the unit, what ends the run; with the server's words or the cure."""
    error = fault(status, {"error": said if isinstance(said, dict) else {"message": said}})
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    "body",
    [{"error": {"message": "boo"}}, {"error": "boo"}, {"message": "boo"}, {"detail": "boo"}, [{"error": "boo"}],
     {"object": "error", "message": "boo", "code": 400}, {"error": [{"message": "boo"}]}, {"detail": [{"msg": "boo"}]}],
)  # fmt: skip
def test_the_words_of_a_server_are_found_in_any_of_the_usual_shapes(body: Any) -> None:
    """OpenAI's, Ollama's, Mistral's, FastAPI's, Google's lists."""
    error = fault(400, body)
    assert isinstance(body, list) or "boo" in str(error)


def test_a_page_of_a_proxy_is_no_message() -> None:
    """An HTML page with a 502 may pass, and is not shown."""
    error = fault(502, b"<html>Bad gateway</html>")
    assert type(error) is Transient
    assert "html" not in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"Retry-After": "99999"}, 120.0),
        ({"Retry-After": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"Retry-After": formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "nan"}, None),
        ({"x-ratelimit-reset-requests": "1s"}, 1.0),
        ({"x-ratelimit-reset-requests": "6m0s"}, 120.0),
        ({"x-ratelimit-reset-requests": "1m2.5s"}, 62.5),
        ({"x-ratelimit-reset-requests": "120ms"}, 0.12),
        ({"x-ratelimit-reset-requests": "a while"}, None),
        ({"Retry-After": "2", "x-ratelimit-reset-requests": "9s"}, 2.0),
        ({}, None),
    ],
)
def test_the_wait_that_a_server_asks_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """In seconds or as a date, at most two minutes; None where it cannot be read."""
    error = fault(429, {"error": "busy"}, headers)
    assert isinstance(error, Busy)
    assert error.retry_after_seconds == pytest.approx(seconds) if seconds is not None else True
    assert (retry_after(headers, NOW) is None) == (seconds is None)


def top(*entries: tuple[str, Any], chosen: tuple[str, Any] | None = None) -> dict[str, Any]:
    tops = [{"token": token, "logprob": logprob} for token, logprob in entries]
    first = {"token": (chosen or entries[0])[0], "logprob": (chosen or entries[0])[1], "top_logprobs": tops}
    return {"choices": [{"message": {"content": "x"}, "finish_reason": "length", "logprobs": {"content": [first]}}]}


def test_log_probabilities_are_read_and_tokens_of_one_word_added_up() -> None:
    """' joy' and 'joy' are one word; a token that is listed twice counts once; words that are not there are left out."""
    joy = ("joy", math.log(0.25))
    found = top(joy, (" joy", math.log(0.5)), ("Ġfear", math.log(0.125)), ("▁x", -1.0), chosen=joy)
    reply = read(200, found, words=("joy", "fear", "love"))
    assert orjson.loads(reply.text) == pytest.approx({"joy": math.log(0.75), "fear": math.log(0.125)})


def test_the_chosen_token_counts_once_though_its_number_differs() -> None:
    """A server may round the chosen token's number otherwise than the same token's in the list: the likelier is taken."""
    found = top(("joy", -0.7), (" joy", -3.0), chosen=("joy", -0.70001))
    both = math.log(math.exp(-0.7) + math.exp(-3.0))
    assert orjson.loads(read(200, found, words=("joy",)).text) == pytest.approx({"joy": both}, abs=1e-9)


def test_a_truth_value_is_no_log_probability() -> None:
    """false would be taken for 0, a certainty."""
    found = top(("joy", -0.5), ("fear", False))
    assert orjson.loads(read(200, found, words=("joy", "fear")).text) == {"joy": -0.5}


def test_impossible_log_probabilities_are_left_out() -> None:
    """vLLM writes -9999 for what cannot come; probabilities over 1 and words for numbers are nothing."""
    found = top(("joy", -0.5), ("fear", -9999.0), ("love", 3.0), ("grief", "x"), ("pride", None))
    assert orjson.loads(read(200, found, words=("joy", "fear", "love", "grief", "pride")).text) == {"joy": -0.5}


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}, {"content": [{"token": "x"}]}, 7])
def test_without_log_probabilities_a_reading_is_refused(logprobs: Any) -> None:
    """No number is made up."""
    with pytest.raises(Refused, match="no_logprobs"):
        read(200, {"choices": [{"message": {"content": "x"}, "logprobs": logprobs}]}, words=("joy",))


# Over the network -----------------------------------------------------------------------------------------------------


def test_a_reply_comes_over_http() -> None:
    """Text, finish, tokens and seconds; one POST, with the key, and none where there is no key."""
    with Local(says(200, completion("hello", "length"))) as server:
        reply = completed(server.url)
        completed(server.url, api_key="")
    assert (reply.text, reply.finish, reply.tokens_in, reply.tokens_out, reply.tokens_cached) == (
        "hello",
        "length",
        12,
        3,
        4,
    )
    assert 0 < reply.seconds < 5
    assert [h.get("Authorization") for h in server.headers] == [f"Bearer {KEY}", None]
    assert "Cookie" not in server.headers[0]


def test_a_server_that_is_not_there_is_down() -> None:
    """Refused connections and unknown names were no requests."""
    with Local() as server:
        url = server.url
    with pytest.raises(Down, match="connection refused"):
        completed(url)
    with pytest.raises(Down, match="name"):
        completed("http://no-such-host.invalid/v1")


def test_a_hang_ends_with_the_timeout() -> None:
    """Nothing waits longer than timeout_seconds."""

    async def hang(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(3)
        return web.Response()

    with Local(hang) as server, pytest.raises(Transient, match="in time"):
        completed(server.url, timeout_seconds=0.2)


def test_a_cancelled_request_is_gone() -> None:
    """Its connection is closed, so that the server can stop too."""
    gone: list[str] = []

    async def slow(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        assert request.transport
        for _ in range(100):
            await asyncio.sleep(0.02)
            if request.transport is None or request.transport.is_closing():
                gone.append("closed")
                break
        return web.Response()

    async def main(url: str) -> None:
        one = engine(url)
        task = asyncio.create_task(one.complete(ask()))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.2)
        await one.close()

    with Local(slow) as server:
        asyncio.run(main(server.url))
    assert gone == ["closed"]


def test_a_redirect_is_not_followed() -> None:
    """The key goes to nobody but the server that was named."""
    with Local() as other:

        async def elsewhere(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            raise web.HTTPTemporaryRedirect(f"{other.url}/chat/completions")

        with Local(elsewhere) as server, pytest.raises(Stopped, match="elsewhere"):
            completed(server.url)
    assert other.bodies == []


def test_a_body_without_end_is_not_listened_to() -> None:
    """Over 8 MiB is a fault, whether its length is said or not."""

    def flood(length: bool) -> Handler:
        async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            response = web.StreamResponse()
            if length:
                response.content_length = 40 * 2**20
            await response.prepare(request)
            for _ in range(40):
                await response.write(b" " * 2**20)
            return response

        return answer

    for length in (True, False):
        with Local(flood(length)) as server, pytest.raises(Transient, match="8 MiB"):
            completed(server.url)


def packed(data: bytes, encoding: str = "gzip") -> Handler:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=data, headers={"Content-Encoding": encoding, "Content-Type": "application/json"})

    return answer


def test_a_packed_answer_is_unpacked_to_a_bounded_size() -> None:
    """A server that packs unasked is understood; a bomb of a gigabyte costs 8 MiB."""
    whole = orjson.dumps(completion("packed"))
    with Local(packed(gzip.compress(whole))) as server:
        assert completed(server.url).text == "packed"
        assert server.headers[0]["Accept-Encoding"] == "identity"
    bomb = gzip.compress(whole + b" " * 2**26)
    for data, encoding in ((bomb, "gzip"), (gzip.compress(whole)[:40], "gzip"), (whole, "gzip"), (whole, "br")):
        with Local(packed(data, encoding)) as server, pytest.raises(Transient):
            completed(server.url)


def test_a_flood_of_headers_is_a_fault() -> None:
    """Too long and too many headers are the server's fault, and may pass."""
    for headers in ({"X-Long": "a" * 50_000}, {f"X-{n}": "a" * 500 for n in range(1000)}):
        with Local(says(200, completion("x"), headers)) as server, pytest.raises(Transient):
            completed(server.url)


def test_a_large_request_is_sent_whole() -> None:
    """A word of two million characters arrives."""
    with Local(says(200, completion("x"))) as server:
        completed(server.url, ask("a" * 2_000_000))
    assert len(server.bodies[0]["messages"][0]["content"]) == 2_000_000


# The key and the words of strangers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "echo", [KEY, f"Bearer {KEY}", KEY[:10] + "***" + KEY[-4:], KEY.upper(), f"'{KEY}'", f"[{KEY}]"]
)
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 302, 200])
def test_the_key_is_in_no_error(status: int, echo: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither whole nor in part, in no message, traceback or log, though the server repeats it."""
    caplog.set_level(logging.DEBUG)
    headers = {"Location": f"http://x/{echo}"} if status == 302 else {}
    with Local(says(status, {"error": {"message": f"bad key {echo} given", "param": echo}}, headers)) as server:
        try:
            completed(server.url)
        except FactoryError as err:
            shown = "".join(traceback.format_exception(err)) + repr(err) + repr(err.args) + caplog.text
            assert err.__context__ is None or KEY not in repr(err.__context__.args)
    assert KEY[:10].lower() not in shown.lower()
    assert KEY[-8:].lower() not in shown.lower()


@pytest.mark.parametrize("key", ["a-hosted-key-without-a-prefix", "gsk_0123456789abcdef", "abcd"])
def test_keys_of_any_form_are_hidden(key: str) -> None:
    """Not only OpenAI's; words that are no key stay."""
    server = Server(model="m", base_url="http://h/v1", api_key=key)
    quoted = server.quoted(f"Wrong API key {key}, ask again")
    assert key not in quoted
    assert quoted.startswith("Wrong API key [key]")
    assert quoted.endswith("ask again")


def test_what_looks_like_anybody_s_key_is_hidden() -> None:
    """A proxy may show its own."""
    quoted = Server(model="m", base_url="http://h/v1").quoted("sent sk-other-0123***89 as 'Bearer abc.def' to it")
    assert quoted == "sent [key] as '[key] to it"


def test_nothing_that_is_shown_of_an_engine_holds_its_key() -> None:
    """repr and str, of the engine and of what it knows of its server."""
    one = engine("http://h/v1")
    assert KEY not in f"{one!r}{one}{one._server!r}"


def test_a_fault_of_the_library_tells_its_kind_only() -> None:
    """Exceptions of the HTTP library carry the request's headers; none is chained to ours."""

    async def silent(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return reset(request)

    with Local(silent) as server, pytest.raises(Transient) as caught:
        completed(server.url)
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)


def test_a_reply_that_repeats_the_key_is_kept_without_it() -> None:
    """Replies are written down, so the key is taken out of them too."""
    assert read(200, completion(f"my key is {KEY}!")).text == "my key is [key]!"


@pytest.mark.parametrize(("key", "text"), [("k3y-8abc", "my key is [key]!"), ("seven77", "my key is seven77!")])
def test_keys_of_eight_characters_are_taken_out_of_replies(key: str, text: str) -> None:
    """Shorter ones are words that would be cut up."""
    data = orjson.dumps(completion(f"my key is {key}!"))
    short = Server(model="m", base_url="http://h/v1", api_key=key)
    assert wire.reply(Answer(200, {}, "application/json", data), short).text == text


def test_words_of_a_server_are_one_short_line() -> None:
    """No control characters, no more than 300 characters."""
    error = fault(400, {"error": {"message": "a\x00b\nc\x1b[31m\u202e\u2028" + "d" * 5000}})
    assert str(error).startswith("bad_request: ab c[31m dddd")
    assert len(str(error)) < 330
    assert str(error).isprintable()


@pytest.mark.parametrize("key", ["has space", "line\nbreak", "n\x00l", "é" * 9])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str) -> None:
    """The sentence names the variable and not what is in it."""
    with pytest.raises(WrongRequest) as caught:
        engine("http://h/v1", api_key=key)
    assert key not in str(caught.value)
    assert "OPENAI_API_KEY" in str(caught.value)


def test_a_key_with_a_line_end_is_taken_without_it() -> None:
    """`export KEY=$(cat file)` is not the only way to set one."""
    assert engine("http://h/v1", api_key=f" {KEY}\n").api_key == KEY


# The probe ------------------------------------------------------------------------------------------------------------


def picky(**refused: str) -> Handler:
    """Refuses requests that have one of these fields (or formats), with that message ('' for one that names nothing)."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        for name, message in refused.items():
            if name in body or name in orjson.dumps(body.get("response_format", {})).decode():
                return web.json_response({"error": {"message": message or "Bad Request"}}, status=400)
        return await good(request, body)

    return answer


def test_a_good_server_is_found_out_with_one_request() -> None:
    """It takes everything and holds to the schema."""
    one, (said,), server = checked(good)
    assert one._findings == Findings()
    assert len(server.bodies) == 1
    assert said == (
        f"{server.url} answers as m; replies are held to JSON schemas (json_schema); seed, temperature and top_p are taken"
    )


def test_a_server_that_counts_no_tokens_is_named() -> None:
    """Nothing that is counted in tokens can be held to a limit there."""
    answer = completion('{"word": "morvenquill"}')
    _, (said,), _ = checked(says(200, {name: value for name, value in answer.items() if name != "usage"}))
    assert said.endswith("; it counts no tokens, so costs and MAX_TOKENS cannot be watched")
    assert "counts no tokens" not in checked(good)[1][0]


def test_a_schema_loses_its_bounds_and_nothing_else() -> None:
    """Where a server takes no bounds, fields that are called like one stay, and so does the shape."""
    schema = {
        "$defs": {"maximum": {"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 9}}},
        "properties": {"minimum": {"$ref": "#/$defs/maximum"}, "n": {"type": "integer", "minimum": 1, "maximum": 4}},
        "required": ["minimum", "n"],
    }
    request = replace(ask(), schema=orjson.dumps(schema).decode())
    assert body(request)["response_format"]["json_schema"]["schema"] == schema
    assert body(request, Findings(bounds=False))["response_format"]["json_schema"]["schema"] == {
        "$defs": {"maximum": {"type": "array", "items": {"type": "string"}}},
        "properties": {"minimum": {"$ref": "#/$defs/maximum"}, "n": {"type": "integer"}},
        "required": ["minimum", "n"],
    }


@pytest.mark.parametrize(
    ("handler", "findings"),
    [
        (picky(max_tokens="Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
         Findings(limit="max_completion_tokens")),
        (picky(temperature="temperature does not support 0.7 with this model"), Findings(temperature=False)),
        (picky(seed="property 'seed' is unsupported"), Findings(seed=False)),
        (picky(top_p="temperature and top_p cannot both be specified"), Findings(top_p=False)),
        (picky(json_schema="response_format type json_schema is unavailable"), Findings(response_format="json_object")),
        (picky(response_format="unknown field response_format"), Findings(response_format="text")),
        (picky(max_tokens="max_tokens: use max_completion_tokens", temperature="temperature is fixed", seed="no seed"),
         Findings(limit="max_completion_tokens", temperature=False, seed=False)),
        (picky(maxLength="Invalid schema for response_format 'probe': 'maxLength' is not permitted"), Findings(bounds=False)),
        (picky(maxLength="Invalid schema for response_format 'probe'"), Findings(bounds=False)),
        (picky(maxLength=""), Findings(bounds=False)),
        (picky(maxLength="", seed="no seed"), Findings(bounds=False, seed=False)),
        (picky(json_schema=""), Findings(response_format="json_object")),
        (picky(seed="the request does not fit our schema"), Findings(seed=False)),
        (picky(response_format=""), Findings(response_format="text")),
        (picky(seed=""), Findings(seed=False)),
        (picky(temperature=""), Findings(temperature=False)),
        (picky(top_p=""), Findings(top_p=False)),
        (picky(json_schema="", seed=""), Findings(response_format="json_object", seed=False)),
        (picky(top_p="", temperature=""), Findings(top_p=False, temperature=False)),
    ],
)  # fmt: skip
def test_what_a_server_refuses_is_left_out_and_nothing_else(handler: Handler, findings: Findings) -> None:
    """Whether its message names the field or not; with at most a dozen requests, and it is said."""
    one, (said,), server = checked(handler)
    assert one._findings == findings
    assert len(server.bodies) <= MOST
    assert ("json_schema" in said.split(";")[1]) and ("not taken" in said) == (
        not (findings.seed and findings.temperature and findings.top_p)
    )


def test_what_is_lowered_is_said() -> None:
    """A person reads which of the formats is used."""
    _, (said,), _ = checked(picky(json_schema="no json_schema here"))
    assert (
        "it does not take json_schema: replies are asked for as plain JSON (json_object) and only checked here" in said
    )


def test_one_refusal_that_was_no_rule_lowers_nothing() -> None:
    """A 400 that names nothing and does not come again with the same request was an accident."""
    one, _, _ = checked(in_turn(says(400, {"error": "Bad Request"}), good))
    assert one._findings == Findings()


@pytest.mark.parametrize(
    "bad",
    [says(429, {"error": "busy"}), says(429, {}, {"Retry-After": "0.01"}), says(500, {}), says(503, {}), says(200, {}),
     says(200, {"choices": []}), says(200, completion("I'm sorry, but I can't help with that.")), says(200, completion("")),
     says(200, {"error": {"message": "json_schema response_format seed temperature", "code": 502}})],
)  # fmt: skip
@pytest.mark.parametrize("times", [1, 2])
def test_a_fault_that_passes_proves_nothing(bad: Handler, times: int) -> None:
    """The probe asks again and finds what the server takes when it is well."""
    one, (said,), _ = checked(in_turn(*[bad] * times, good), patience_seconds=10.0)
    assert one._findings == Findings()
    assert "held to JSON schemas" in said


def test_a_server_that_takes_the_schema_and_ignores_it_is_told_on() -> None:
    """json_schema stays asked for, and a person reads that it is not kept."""
    one, (said,), server = checked(says(200, completion("Whatever you say.")))
    assert one._findings == Findings()
    assert len(server.bodies) == 3
    assert "it takes json_schema but does not hold its replies to it" in said


def test_a_model_that_thinks_first_gets_more_room() -> None:
    """A reply that was cut off is asked for again with a higher limit."""

    async def thinking(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body["max_tokens"] < 500:
            return web.json_response(completion(None, "length", reasoning="Let me think"))
        return await good(request, body)

    _, (said,), server = checked(thinking)
    assert "held to JSON schemas" in said
    assert len(server.bodies) == 2


def test_a_format_that_was_set_is_only_verified() -> None:
    """response_format=json_object is used as it is; one that the server refuses is an error with its cure."""
    one, (said,), server = checked(picky(json_schema="no"), response_format="json_object")
    assert one._findings.response_format == "json_object"
    assert "does not take" not in said
    with pytest.raises(WrongRequest, match="leave response_format out"):
        checked(picky(json_schema="no json_schema"), response_format="json_schema")
    assert [b["response_format"]["type"] for b in server.bodies] == ["json_object"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (says(401, {"error": "no"}), "the key in OPENAI_API_KEY was refused"),
        (says(404, {"error": "no"}), "correct MODEL, or BASE_URL"),
        (says(400, {"error": "no"}), "refuses even a small request"),
        (says(402, {"error": "no"}), "payment"),
        (says(400, {"error": "maximum context length is 8 tokens"}), "context_too_long"),
    ],
)
def test_what_can_never_be_answered_is_a_wrong_request(answer: Handler, words: str) -> None:
    """Before a run, the same faults name their cure and nothing is begun."""
    with pytest.raises(WrongRequest, match=words):
        checked(answer)


def test_a_key_that_is_missing_is_named() -> None:
    """A server that wants a key says 401; the variable was not set."""
    with pytest.raises(WrongRequest, match="MY_KEY is not set"):
        checked(says(401, {}), api_key="", api_key_env="MY_KEY")


def test_nobody_there_is_unreachable_within_patience() -> None:
    """With the address and the cure."""
    with Local() as server:
        url = server.url
    with pytest.raises(Unreachable, match="start the server, or correct BASE_URL"):
        asyncio.run(engine(url, patience_seconds=0.3).check())


def test_a_server_that_only_fails_is_unreachable() -> None:
    """After five tries or its patience the check ends, with the last fault."""
    with pytest.raises(Unreachable, match="status 500"):
        checked(says(500, {}), patience_seconds=0.5)


def with_logprobs(request: web.Request, body: dict[str, Any]) -> Any:
    async def answer() -> web.StreamResponse:
        if body.get("logprobs"):
            return web.json_response(top(("yes", -0.1)))
        return await good(request, body)

    return answer()


def test_log_probabilities_are_looked_for_where_they_are_read() -> None:
    """With LABELLER=logprobs a server that gives none is refused, with the cure; else nobody asks."""
    _, (said,), server = checked(with_logprobs, reads=True)
    assert said.endswith("log-probabilities come")
    assert len(server.bodies) == 2
    for handler in (good, picky(logprobs="logprobs is not supported")):
        with pytest.raises(WrongRequest, match="LABELLER=asked"):
            checked(handler, reads=True)
    assert all("logprobs" not in b for b in checked(good)[2].bodies)


def test_a_check_in_one_loop_leaves_the_engine_for_another() -> None:
    """check() and complete() may run in loops of their own, one after the other, and nothing stays open."""
    with Local(says(200, completion("x"))) as server:
        one = engine(server.url)
        asyncio.run(one.check())

        async def twice() -> str:
            text = (await one.complete(ask())).text
            await one.close()
            return text

        assert (asyncio.run(twice()), asyncio.run(twice())) == ("x", "x")


@pytest.mark.parametrize("seed", range(30))
def test_a_probe_never_asks_more_than_a_dozen_times(seed: int) -> None:
    """Whatever a server makes up: refusals that name nothing, faults, replies without end, in any order."""
    asked: list[Findings] = []
    dice = random.Random(seed)

    async def strange(request: Request, findings: Findings) -> Reply:
        asked.append(findings)
        match dice.randrange(5):
            case 0:
                raise Transient("503")
            case 1:
                return Reply(text="no", finish="length")
            case 2:
                return Reply(text="no")
        raise Refused("bad_request", "")

    with contextlib.suppress(FactoryError):
        asyncio.run(Probe(strange, SERVER, reads=bool(seed % 2), wait_seconds=0.0).found())
    assert 1 < len(asked) <= MOST


def test_an_error_is_read_from_anything() -> None:
    """Said.of raises nothing, whatever JSON it is given."""
    for odd in (
        None,
        7,
        "x",
        [],
        {},
        {"error": {}},
        {"error": {"message": {"a": [1]}, "code": [2], "metadata": 7}},
        [[[]]],
    ):
        said = Said.of(odd)
        assert isinstance(said.all, str)
        assert said.status == 0


def test_the_address_may_be_given_whole() -> None:
    """With or without a slash or the path of the completions."""
    for url in ("http://h/v1", "http://h/v1/", "http://h/v1/chat/completions"):
        assert str(engine(url)._url) == "http://h/v1/chat/completions"
