"""From settings to the engine that answers, wrapped in what stands before every engine."""

import os
from collections.abc import Callable

from factory.engines import Engine
from factory.engines.faults import Faulty, parse
from factory.engines.ready import Ready
from factory.engines.retry import Retrying
from factory.errors import WrongRequest
from factory.settings import Content, Operation

IN_FLIGHT = {"rehearsal": 64, "openai": 256, "vllm": 512, "transformers": 64}  # where CONCURRENCY is left out


def in_flight(content: Content, operation: Operation) -> int:
    """Units that are worked on at a time; an engine may send fewer requests at once."""
    return operation.concurrency or IN_FLIGHT[content.engine]


def open_engine(content: Content, operation: Operation, say: Callable[[str], None] = lambda sentence: None) -> Engine:
    """The engine of a run; transport retries, and faults where they are asked for, come with it.

    Nothing is loaded or asked yet. `say` is told what the engine finds when it is first needed.
    """
    opened = {"rehearsal": _rehearsal, "openai": _openai, "vllm": _vllm, "transformers": _transformers}
    return opened[content.engine](content, operation, say)


def _spoilt(engine: Engine, operation: Operation) -> Engine:
    """The engine, with the faults that were asked for; they pass quickly."""
    rates = parse(operation.faults)
    if not rates:
        return Retrying(engine)
    return Retrying(Faulty(engine, rates, slow_seconds=max(0.02, operation.delay_ms / 100)), wait_seconds=0.01)


def _rehearsal(content: Content, operation: Operation, say: Callable[[str], None]) -> Engine:
    from factory.engines.rehearsal import MODEL, Rehearsal

    if content.model not in ("", MODEL):
        raise WrongRequest(
            f"the rehearsal engine has no MODEL={content.model}; leave MODEL out, or choose another ENGINE"
        )
    return _spoilt(Rehearsal(delay_ms=operation.delay_ms), operation)


def _openai(content: Content, operation: Operation, say: Callable[[str], None]) -> Engine:
    from factory.engines.flow import Flow
    from factory.engines.openai import OpenAI

    if not operation.base_url:
        raise WrongRequest(
            "ENGINE=openai needs BASE_URL, the address of a server: http://127.0.0.1:11434/v1 for Ollama, "
            "http://127.0.0.1:8000/v1 for vllm serve, https://api.openai.com/v1 for OpenAI"
        )
    _needs_model(content)
    server = OpenAI(
        model=content.model,
        revision=content.revision,
        base_url=operation.base_url,
        api_key=os.environ.get(operation.api_key_env, ""),
        api_key_env=operation.api_key_env,
        response_format=operation.response_format,
        extra_body=content.extra_body,
        reads=content.labeller == "logprobs",
        timeout_seconds=operation.timeout_seconds,
        patience_seconds=operation.patience_seconds,
        connections=in_flight(content, operation),
    )
    flow = Flow(
        server,
        most=in_flight(content, operation),
        fixed=operation.concurrency > 0,
        patience_seconds=operation.patience_seconds,
        say=say,
    )
    return Ready(_spoilt(flow, operation), server, say)


def _vllm(content: Content, operation: Operation, say: Callable[[str], None]) -> Engine:
    from factory.engines.vllm import VLLM

    _needs_model(content)
    model = VLLM(
        model=content.model,
        revision=content.revision,
        dtype=content.dtype,
        quantization=content.quantization,
        arguments=operation.engine_arguments,
        say=say,
    )
    return Ready(_spoilt(model, operation), model, say)


def _transformers(content: Content, operation: Operation, say: Callable[[str], None]) -> Engine:
    from factory.engines.transformers import Transformers

    _needs_model(content)
    model = Transformers(
        model=content.model,
        revision=content.revision,
        dtype=content.dtype,
        batch=min(32, in_flight(content, operation)),
        say=say,
    )
    return Ready(_spoilt(model, operation), model, say)


def _needs_model(content: Content) -> None:
    if not content.model:
        raise WrongRequest(
            f"ENGINE={content.engine} needs MODEL, the name or folder of a model; for example Qwen/Qwen3-0.6B"
        )
