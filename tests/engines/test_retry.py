"""Asking again what may pass."""

import asyncio

import pytest

from factory.engines.retry import Retrying
from factory.errors import Busy, FactoryError, Refused, Stopped, Transient, Unreachable
from factory.requests import Identity, Message, Reply, Request, Sampling

REQUEST = Request(
    stage="s",
    unit="u",
    messages=(Message("user", "?"),),
    schema="{}",
    sampling=Sampling(temperature=0, max_tokens=1, seed=0),
)


class Failing:
    """Fails so many times, then answers."""

    identity = Identity(engine="failing", model="")

    def __init__(self, times: int, error: type[Exception] = Transient) -> None:
        self.times, self.error, self.asked = times, error, 0

    async def complete(self, request: Request) -> Reply:
        self.asked += 1
        if self.asked <= self.times:
            raise self.error(f"no {self.asked}")
        return Reply(text=f"answer {self.asked}")

    async def close(self) -> None: ...


def asked(engine: Failing, tries: int) -> int:
    with pytest.raises((Transient, Unreachable)):
        asyncio.run(Retrying(engine, tries=tries, wait_seconds=0).complete(REQUEST))
    return engine.asked


def test_what_passes_is_answered() -> None:
    """A fault that passes before the last try costs tries, not the reply."""
    assert asyncio.run(Retrying(Failing(2), tries=3, wait_seconds=0).complete(REQUEST)).text == "answer 3"


@pytest.mark.parametrize("tries", [1, 2, 3, 5])
def test_what_does_not_pass_is_asked_the_stated_number_of_times(tries: int) -> None:
    """`tries` counts the first one too; then the last fault is passed on."""
    assert asked(Failing(99), tries) == tries


def test_an_engine_that_nobody_reaches_is_asked_once() -> None:
    """Unreachable is not a passing fault: the run is to stop."""
    assert asked(Failing(99, Unreachable), 3) == 1


@pytest.mark.parametrize("error", [Refused, Stopped])
def test_what_will_never_be_answered_is_asked_once(error: type[FactoryError]) -> None:
    """A refusal rejects the unit, a stop the run; neither passes by asking again."""
    engine = Failing(99, error)
    with pytest.raises(error):
        asyncio.run(Retrying(engine, wait_seconds=0).complete(REQUEST))
    assert engine.asked == 1


class Mixed:
    """Fails with one error after the other, then answers."""

    identity = Identity(engine="mixed", model="")

    def __init__(self, *errors: Transient) -> None:
        self.errors, self.asked = errors, 0

    async def complete(self, request: Request) -> Reply:
        self.asked += 1
        if self.asked <= len(self.errors):
            raise self.errors[self.asked - 1]
        return Reply(text="at last")

    async def close(self) -> None: ...


def test_an_answer_that_asks_for_patience_is_asked_more_often() -> None:
    """Ten times, for it cost the server nothing; faults are counted apart, three of them end it."""
    engine = Failing(99, Busy)
    with pytest.raises(Busy):
        asyncio.run(Retrying(engine, wait_seconds=0).complete(REQUEST))
    assert engine.asked == 10
    busy, fault, last = Busy("429"), Transient("503"), Transient("the third")
    passing = Mixed(busy, fault, busy, busy, fault, busy, busy)
    assert asyncio.run(Retrying(passing, wait_seconds=0).complete(REQUEST)).text == "at last"
    with pytest.raises(Transient, match="the third"):
        asyncio.run(Retrying(Mixed(busy, fault, busy, fault, busy, last, busy), wait_seconds=0).complete(REQUEST))


def test_the_wait_is_the_one_that_the_server_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry-After is kept to the letter; without one the wait grows by itself."""
    waits: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    engine = Mixed(Busy("429", 7.5), Busy("429"), Busy("429", 2.5))
    asyncio.run(Retrying(engine, wait_seconds=0.001).complete(REQUEST))
    assert (waits[0], waits[2]) == (7.5, 2.5)
    assert waits[1] < 0.01


def test_there_is_a_wait_before_each_further_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """An overloaded server is not asked again at once: tries less one waits."""
    waits: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(Transient):
        asyncio.run(Retrying(Failing(99), tries=4, wait_seconds=1).complete(REQUEST))
    assert len(waits) == 3
