"""Asks again what may pass, a stated number of times, with growing jittered waits."""

from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from factory.engines import Engine
from factory.errors import Busy, Transient
from factory.requests import Identity, Reply, Request


@dataclass
class Retrying:
    """`tries` counts the first one, `busy_tries` the answers that ask for patience (they cost the server nothing); the
    last fault is passed on to the runner, which rejects that unit only."""

    engine: Engine
    tries: int = 3
    wait_seconds: float = 0.5
    busy_tries: int = 10

    @property
    def identity(self) -> Identity:
        return self.engine.identity

    async def complete(self, request: Request) -> Reply:
        try:
            return await self.engine.complete(request)
        except Transient as err:  # only now, for most requests never need the machinery
            first: Transient | None = err

            async def attempt() -> Reply:
                nonlocal first
                if first is not None:  # the try that has just failed counts, and a wait follows it
                    failed, first = first, None
                    raise failed
                return await self.engine.complete(request)

            patience = _Patience(self)
            again = AsyncRetrying(
                stop=patience.ended, wait=patience.wait, retry=retry_if_exception_type(Transient), reraise=True
            )
            return await again(attempt)

    async def close(self) -> None:
        await self.engine.close()


class _Patience:
    """What is left of the tries of one request; the two kinds of fault are counted apart."""

    def __init__(self, of: Retrying) -> None:
        self._left = {True: of.busy_tries, False: of.tries}
        self._jittered = wait_random_exponential(multiplier=of.wait_seconds, max=60 * of.wait_seconds)

    def ended(self, state: RetryCallState) -> bool:
        busy = isinstance(_fault(state), Busy)
        self._left[busy] -= 1
        return self._left[busy] <= 0

    def wait(self, state: RetryCallState) -> float:
        """What the server asked for, else a random time that grows."""
        fault = _fault(state)
        asked = fault.retry_after_seconds if isinstance(fault, Busy) else None
        return self._jittered(state) if asked is None else asked


def _fault(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
