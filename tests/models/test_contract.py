"""One contract over all engines: the rehearsal, vLLM, transformers, and a server that speaks OpenAI's API."""

import asyncio
import json
import math
import multiprocessing
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from factory.engines import Engine
from factory.engines.rehearsal import Rehearsal
from factory.errors import Refused, WrongRequest
from factory.requests import Message, Reply, Request
from factory.settings import Content
from factory.stages import parse, schema
from factory.stages.reading import CODES
from factory.steps import pipeline

ENGINES = ("rehearsal", "vllm", "transformers", "openai")
WITH_MODEL = ENGINES[1:]
HERE = ("vllm", "transformers")
STAGES = tuple(step.stage.name for step in pipeline(Content()))
SAID = {schema(agent.said): agent.said for step in pipeline(Content()) for agent in step.stage.agents if agent.said}
Asking = Callable[..., Request]
Asked = dict[str, list[Request]]


@pytest.fixture
def engine(name: str, request: pytest.FixtureRequest) -> Any:
    """The engine of that name, loaded at most once."""
    return request.getfixturevalue(name)


@pytest.fixture
def ask(engine: Engine, loop: Any) -> Callable[[list[Request]], list[Reply]]:
    """All of these requests at once; the replies in their order."""

    async def all_of(requests: list[Request]) -> list[Reply]:
        return list(await asyncio.gather(*map(engine.complete, requests)))

    return lambda requests: loop.run(all_of(requests))


def only(word: str) -> str:
    """A schema under which nothing but {"word": word} can be said."""
    return json.dumps(
        {
            "type": "object",
            "properties": {"word": {"type": "string", "enum": [word]}},
            "required": ["word"],
            "additionalProperties": False,
        }
    )


@pytest.mark.parametrize("name", WITH_MODEL)
def test_each_of_many_requests_at_once_gets_its_own_reply(ask: Any, asking: Asking) -> None:
    """Forty requests, each of which can be answered with one word alone."""
    words = [f"word{n * 37:03d}" for n in range(40)]
    replies = ask([asking(f"Say {word}.", only(word), seed=n) for n, word in enumerate(words)])
    assert [json.loads(reply.text) for reply in replies] == [{"word": word} for word in words]
    assert {reply.finish for reply in replies} == {"stop"}


@pytest.mark.parametrize("name", ["rehearsal"])
def test_the_rehearsal_answers_each_of_many_at_once_as_it_does_alone(ask: Any, asked: Asked) -> None:
    """It knows nothing but the stages' own requests."""
    requests = [one for some in asked.values() for one in some]
    assert ask(requests) == [ask([one])[0] for one in requests]


@pytest.mark.parametrize("name", ENGINES)
def test_every_stages_reply_that_came_to_its_end_is_of_its_schema(ask: Any, asked: Asked) -> None:
    """Two real requests of every stage that has a schema; what was cut off is no reply and says so."""
    assert asked.keys() >= set(STAGES)
    requests = [shorter(one) for stage in STAGES for one in asked[stage]]
    replies = ask(requests)
    for one, reply in zip(requests, replies, strict=True):
        if reply.finish == "stop":
            parse(SAID[one.schema], reply)
    assert sum(reply.finish == "stop" for reply in replies) >= len(replies) / 4


def shorter(request: Request) -> Request:
    """Nonsense of a thousand tokens shows no more than nonsense of three hundred."""
    return replace(request, sampling=replace(request.sampling, max_tokens=min(300, request.sampling.max_tokens)))


@pytest.mark.parametrize("name", WITH_MODEL)
def test_a_reply_that_reaches_its_limit_says_length(ask: Any, asking: Asking) -> None:
    """Five tokens are no object; with room the same request comes to its end."""
    schema = only("a word that needs far more than five tokens to be said in full")
    short, long = ask([asking("Go on.", schema, tokens=5), asking("Go on.", schema, tokens=200)])
    assert (short.finish, short.tokens_out) == ("length", 5)
    assert (long.finish, 5 < long.tokens_out < 200) == ("stop", True)


@pytest.mark.parametrize("name", ENGINES)
def test_tokens_and_seconds_are_counted(ask: Any, asked: Asked, name: str, model: Path) -> None:
    """In, as the tokenizer counts the rendered chat; out, more than none; cached, at most those in."""
    one = asked["labels"][0]
    (reply,) = ask([one])
    assert reply.tokens_out > 0
    assert reply.seconds > 0
    assert 0 <= reply.tokens_cached <= reply.tokens_in
    if name in WITH_MODEL:
        assert reply.tokens_in == counted(model, one, thinks=name == "openai")


def counted(model: Path, request: Request, *, thinks: bool) -> int:
    """A server renders the chat itself, without the switch that an engine in this process sets."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    turns = [{"role": message.role, "content": message.content} for message in request.messages]
    more = {} if thinks else {"enable_thinking": False}
    return len(tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False, **more))


@pytest.mark.parametrize("name", ["vllm", "openai"])
def test_what_prompts_share_is_cached(ask: Any, asked: Asked, name: str) -> None:
    """The second request of a stage finds the first one's system turn in the cache; a server may not say so."""
    first, second = asked["labels"]
    ask([first])
    (reply,) = ask([second])
    if name == "vllm":
        assert reply.tokens_cached > 0.3 * reply.tokens_in


@pytest.mark.parametrize("name", ENGINES)
def test_a_cancelled_request_is_gone(
    engine: Any, loop: Any, asking: Asking, asked: Asked, name: str, request: pytest.FixtureRequest
) -> None:
    """Soon after its task was cancelled, the engine works on nothing any more; others are answered."""
    long = {"type": "array", "items": {"type": "integer"}, "minItems": 3000}
    one = asked["labels"][0] if name == "rehearsal" else asking("Count.", json.dumps(long), tokens=4000)

    async def cancelled() -> None:
        tasks = [asyncio.create_task(engine.complete(replace(one, unit=str(n)))) for n in range(8)]
        await asyncio.sleep(0.01 if name == "rehearsal" else 1)
        assert not any(task.done() for task in tasks), "they were over too soon for anything to be cancelled"
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended)

    loop.run(cancelled())
    end = time.monotonic() + 10
    while (left := unfinished(engine, loop, name, request)) and time.monotonic() < end:
        time.sleep(0.2)
    assert left == 0
    after = asked["labels"][1] if name == "rehearsal" else asking("Say it.", only("it"))
    assert loop.run(engine.complete(after)).finish == "stop"


def unfinished(engine: Any, loop: Any, name: str, request: pytest.FixtureRequest) -> int:
    if name in HERE:
        return int(loop.run(engine.unfinished()))
    if name == "openai":
        address = request.getfixturevalue("server").removesuffix("/v1") + "/metrics"
        with urllib.request.urlopen(address, timeout=5) as page:
            lines = page.read().decode().splitlines()
        return sum(int(float(x.split()[-1])) for x in lines if x.startswith("vllm:num_requests_") and "reason" not in x)
    return 0


@pytest.mark.parametrize("name", ENGINES)
def test_two_engines_over_the_same_model_are_the_same(engine: Engine, name: str) -> None:
    """Identity depends on the model alone, before and after it is loaded."""
    again = replace(engine) if name != "rehearsal" else Rehearsal()  # type: ignore[type-var]
    assert again.identity == engine.identity
    assert (engine.identity.engine, bool(engine.identity.model)) == (name, True)


@pytest.mark.parametrize("name", ENGINES)
def test_reading_gives_log_probabilities(ask: Any, asked: Asked, name: str) -> None:
    """Of each code as the next token: none above 0, together at most 1; engines in this process know them all."""
    for one, reply in zip(asked["reading"], ask(asked["reading"]), strict=True):
        found = orjson.loads(reply.text)
        assert found.keys() <= set(one.read)
        assert name == "openai" or list(found) == list(CODES)
        assert all(value <= 0 for value in found.values())
        assert sum(map(math.exp, found.values())) <= 1 + 1e-6
        assert reply.tokens_out == 1


@pytest.mark.parametrize("name", HERE)
def test_a_word_of_several_tokens_cannot_be_read(ask: Any, asked: Asked) -> None:
    """The error names the word; it ends the run, for every request would say so."""
    with pytest.raises(WrongRequest, match="'unbelievable words'"):
        ask([replace(asked["reading"][0], read=("A", "unbelievable words"))])


@pytest.mark.parametrize("name", WITH_MODEL)
def test_a_prompt_without_room_is_refused_by_reason(ask: Any, asking: Asking) -> None:
    """Longer than the model's context: refused, whatever else is asked meanwhile."""
    with pytest.raises(Refused) as refused:
        ask([asking("one " * 9000, only("it"))])
    assert refused.value.reason == "context_too_long"
    assert ask([asking("Say it.", only("it"))])[0].finish == "stop"


@pytest.mark.parametrize("name", HERE)
def test_an_answer_gets_the_room_that_is_left(ask: Any, asking: Asking, model: Path) -> None:
    """A limit beyond the context is brought down to it, and the reply then says that it was cut off."""
    one = asking(
        "one " * 7700, json.dumps({"type": "array", "items": {"type": "integer"}, "minItems": 3000}), tokens=4000
    )
    (reply,) = ask([one])
    assert reply.finish in ("length", "repetition")
    assert reply.tokens_in + reply.tokens_out <= 8192
    assert reply.tokens_in == counted(model, one, thinks=False)


@pytest.mark.parametrize("name", HERE)
def test_a_seed_of_its_own_gives_each_row_its_own_text(ask: Any, asking: Asking) -> None:
    """Sixteen seeds give sixteen texts; the same seed alone gives the same one twice."""
    seeded = [asking("Say anything.", seed=n, tokens=20, heat=1.0) for n in range(16)]
    assert len({reply.text for reply in ask(seeded)}) == 16
    assert ask([seeded[0]])[0].text == ask([seeded[0]])[0].text


@pytest.mark.parametrize("name", ENGINES)
def test_an_assistants_turn_and_a_second_question_are_taken(ask: Any, asked: Asked, name: str) -> None:
    """What a repair sends: the answer before, and what was wrong with it."""
    first = asked["labels"][0]
    again = (Message("assistant", '{"items": []}'), Message("user", "empty: the answer holds nothing"))
    (reply,) = ask([replace(first, messages=(*first.messages, *again), repair=1)])
    assert reply.finish in ("stop", "length")
    assert name == "rehearsal" or reply.tokens_in > 0


@pytest.mark.parametrize("name", ENGINES)
def test_a_closed_engine_leaves_nothing_and_can_be_used_again(
    engine: Any, loop: Any, ask: Any, asking: Asking, asked: Asked, name: str
) -> None:
    """No process of it is left; the next request loads the model anew, and it is the same one."""
    one = asked["labels"][0] if name == "rehearsal" else asking("Say it.", only("it"))
    before = engine.identity
    assert ask([one])[0].finish == "stop"
    children = multiprocessing.active_children() if name == "vllm" else []
    cores = [psutil.Process(child.pid) for child in children if "EngineCore" in child.name]
    processes = [one for core in cores for one in (core, *core.children(recursive=True))]
    assert bool(processes) is (name == "vllm")
    loop.run(engine.close())
    assert psutil.wait_procs(processes, timeout=5)[1] == []
    assert ask([one])[0].finish == "stop"
    assert engine.identity == before
