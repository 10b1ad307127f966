"""The engine line: requests in, replies out. Retries, rate limits, batching and placement live behind it."""

from typing import Protocol

from factory.requests import Identity, Reply, Request


class Engine(Protocol):
    """Answers requests. Order is the caller's business; a cancelled request is gone."""

    @property
    def identity(self) -> Identity: ...

    async def complete(self, request: Request) -> Reply:
        """One reply; Transient where asking again may help, Unreachable where nobody answers at all."""
        ...

    async def close(self) -> None: ...
