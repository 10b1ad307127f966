"""Looks whether an engine will answer: before a new run writes anything, else before the first request that needs it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from factory.engines import Checked, Engine
from factory.requests import Identity, Reply, Request


@dataclass
class Ready:
    """`say` is told what the check found. A run whose replies are all remembered never asks for it."""

    engine: Engine
    checked: Checked
    say: Callable[[str], None] = lambda sentence: None

    def __post_init__(self) -> None:
        self._done = False
        self._turn: asyncio.Lock | None = None

    @property
    def identity(self) -> Identity:
        return self.engine.identity

    async def check(self) -> tuple[str, ...]:
        found = await self.checked.check()
        self._done = True
        return found

    async def complete(self, request: Request) -> Reply:
        if not self._done:
            await self._once()
        return await self.engine.complete(request)

    async def _once(self) -> None:
        self._turn = self._turn or asyncio.Lock()
        async with self._turn:
            if not self._done:
                for sentence in await self.check():
                    self.say(sentence)

    async def close(self) -> None:
        await self.engine.close()
