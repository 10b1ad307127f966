"""From settings to the engine that answers, wrapped in what stands before every engine."""

from factory.engines import Engine
from factory.engines.faults import Faulty, parse
from factory.engines.retry import Retrying
from factory.errors import WrongRequest
from factory.settings import Content, Operation


def open_engine(content: Content, operation: Operation) -> Engine:
    """The engine of a run; transport retries, and faults where they are asked for, come with it."""
    from factory.engines.rehearsal import MODEL, Rehearsal

    if content.model not in ("", MODEL):
        raise WrongRequest(
            f"the rehearsal engine has no MODEL={content.model}; leave MODEL out, or choose another ENGINE"
        )
    engine: Engine = Rehearsal(delay_ms=operation.delay_ms)
    rates = parse(operation.faults)
    if rates:
        engine = Faulty(engine, rates, slow_seconds=max(0.02, operation.delay_ms / 100))
        return Retrying(engine, wait_seconds=0.01)
    return Retrying(engine)
