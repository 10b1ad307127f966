"""Asks again what may pass, a stated number of times, with growing jittered waits."""

from dataclasses import dataclass

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from factory.engines import Engine
from factory.errors import Transient
from factory.requests import Identity, Reply, Request


@dataclass
class Retrying:
    """`tries` counts the first one; the last Transient is passed on to the runner, which rejects that unit only."""

    engine: Engine
    tries: int = 3
    wait_seconds: float = 0.5

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

            again = AsyncRetrying(
                stop=stop_after_attempt(self.tries),
                wait=wait_random_exponential(multiplier=self.wait_seconds, max=60 * self.wait_seconds),
                retry=retry_if_exception_type(Transient),
                reraise=True,
            )
            return await again(attempt)

    async def close(self) -> None:
        await self.engine.close()
