"""Asking again what may pass."""

import asyncio

import pytest

from factory.engines.retry import Retrying
from factory.errors import Transient, Unreachable
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
