"""The engine line: requests in, replies out. Retries, rate limits, batching and placement live behind it."""

from typing import Protocol, runtime_checkable

from factory.requests import Identity, Reply, Request


class Engine(Protocol):
    """Answers requests. Order is the caller's business; a cancelled request is gone."""

    @property
    def identity(self) -> Identity: ...

    async def complete(self, request: Request) -> Reply:
        """One reply; Transient where asking again may help, Refused where it never will, Unreachable where nobody
        answers at all."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Checked(Protocol):
    """An engine that can say before the first request whether it will answer."""

    async def check(self) -> tuple[str, ...]:
        """What was found, as sentences for a person; WrongRequest or Unreachable, each with its cure."""
        ...
