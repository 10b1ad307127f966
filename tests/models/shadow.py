"""Engines between a model of random weights and a pipeline that such a model's nonsense would never get far into."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from factory.engines import Engine
from factory.engines.rehearsal import Rehearsal
from factory.requests import Identity, Reply, Request, key


@dataclass
class Shadow:
    """Lets the model write every reply, with its tokens and seconds, and hands on the rehearsal's text in its place."""

    engine: Engine
    asked: list[Request] = field(default_factory=list)

    @property
    def identity(self) -> Identity:
        return self.engine.identity

    async def complete(self, request: Request) -> Reply:
        self.asked.append(request)
        reply = await self.engine.complete(request)
        return replace(reply, text=(await Rehearsal().complete(request)).text, finish="stop")

    async def close(self) -> None:
        await self.engine.close()


@dataclass
class Relay:
    """Lets the model answer all stages but those that are `rehearsed`; `log` gets the key of every request first."""

    engine: Engine
    rehearsed: Collection[str] = ("actors", "utterances")
    log: Path | None = None
    replies: list[tuple[Request, Reply]] = field(default_factory=list)  # the model's

    def __post_init__(self) -> None:
        self._log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if self.log else -1

    @property
    def identity(self) -> Identity:
        return self.engine.identity

    async def complete(self, request: Request) -> Reply:
        if self._log >= 0:
            os.write(self._log, key(self.identity, request).encode() + b"\n")
        if request.stage in self.rehearsed:
            return await Rehearsal().complete(request)
        reply = await self.engine.complete(request)
        self.replies.append((request, reply))
        return reply

    async def close(self) -> None:
        await self.engine.close()
