"""Lets requests through to a server: as many at a time as pay, none while it asks for patience or is gone.

What is allowed is decided in `pace`; here requests wait for it.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from factory.engines import Engine
from factory.engines.pace import Breaker, Slots
from factory.errors import Busy, Down, Refused, Transient, Unreachable
from factory.requests import Identity, Reply, Request


@dataclass
class Flow:
    """Admission to one engine, first come first served: `most` requests at a time, all of them at once where `fixed`.

    A server that answers nobody for `patience_seconds`, or says for `busy_seconds` (or its patience, if that is longer)
    only that it wants fewer requests, is Unreachable for everybody who waits.
    """

    engine: Engine
    most: int
    fixed: bool = False
    patience_seconds: float = 60.0
    busy_seconds: float = 900.0
    say: Callable[[str], None] = lambda sentence: None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.slots = Slots(self.most, self.fixed)
        self.breaker = Breaker(self.patience_seconds)
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._paused_until = 0.0
        self._busy_row = 0  # requests for patience without a reply between them
        self._busy_at = 0.0
        self._busy_since = 0.0  # when the row began
        self._busy_said = False  # somebody was told of the row
        self._last = ""  # what the last failure said

    @property
    def identity(self) -> Identity:
        return self.engine.identity

    async def complete(self, request: Request) -> Reply:
        """One reply. A request that found nobody costs no try: it waits and goes again, until patience is over.

        Nor does one that is told to wait after others were, with no reply between: that says nothing of this request.
        """
        while True:
            trial = False
            if self._waiting or self.breaker.open or self.in_flight >= self.slots.count or self._paused_until:
                trial = await self._turn()
            else:
                self.in_flight += 1
            began = self.clock()
            try:
                reply = await (self._trial(request, began) if trial else self.engine.complete(request))
            except Down as err:
                self._failed(err, trial)
            except Busy as err:
                self._last = str(err)
                self._patience_asked(began, err.retry_after_seconds)
                if self._busy_row < 2:
                    raise
                if self.clock() >= self._busy_end:
                    raise self._give_up_busy() from None
            except Transient as err:
                self._failed(err, trial)
                raise
            except Refused:
                self.breaker.answered(0.0)
                self._busy_row = 0
                raise
            else:
                self._answered(reply, began)
                return reply
            finally:
                self._left(trial)

    async def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        await self.engine.close()

    async def _trial(self, request: Request, began: float) -> Reply:
        """A request while the server seems gone: it ends with everybody's patience, should it hang."""
        try:
            async with asyncio.timeout(max(0.0, self.breaker.end - began)) as limit:
                return await self.engine.complete(request)
        except TimeoutError:
            if not limit.expired():
                raise
        raise self._give_up()

    def _answered(self, reply: Reply, began: float) -> None:
        now = self.clock()
        if self.breaker.open:
            self.say("it answers again")
        self.breaker.answered(now - began)
        self._busy_row = 0
        full = bool(self._waiting) or self.in_flight >= self.slots.count
        self.slots.answered(now, now - began, 1 + reply.tokens_out, full)

    def _failed(self, fault: Transient, trial: bool) -> None:
        self._last = str(fault)
        was_open = self.breaker.open
        self.breaker.failed(self.clock(), down=isinstance(fault, Down), trial=trial)
        if self.breaker.open and not was_open:
            self.say(f"{self._last}; waiting for it, at most {self.patience_seconds:g} s")

    def _patience_asked(self, began: float, seconds: float | None) -> None:
        """Everybody waits. Requests that were sent before the last such answer tell nothing new of the server."""
        now = self.clock()
        self.breaker.answered(0.0)
        if began >= self._busy_at:
            if not self._busy_row:
                self._busy_since, self._busy_said = now, False
            self._busy_row += 1
            self._busy_at = now
            self.slots.busy(now)
            if seconds is None:
                seconds = min(30.0, 0.05 * 2.0 ** min(self._busy_row, 20)) * random.uniform(0.5, 1.5)
            # "Now", said again and again, is not believed: it would be a storm.
            seconds = max(seconds, min(1.0, 0.01 * 2.0 ** min(self._busy_row, 20)))
            self._say_busy(seconds)
        if seconds is not None:
            # However long it wants, it is asked once more when the time for that is over.
            self._paused_until = max(self._paused_until, min(now + seconds, max(now, self._busy_end)))

    @property
    def _busy_end(self) -> float:
        return self._busy_since + max(self.patience_seconds, self.busy_seconds)

    def _say_busy(self, seconds: float) -> None:
        """Once in a row, with its first wait that a person would notice."""
        if seconds >= 1.0 and not self._busy_said:
            self._busy_said = True
            self.say(f"the server asks for fewer requests; waiting {seconds:.0f} s")

    async def _turn(self) -> bool:
        """Wait for a slot; True where this request is the trial of a server that seems gone."""
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._wake()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self._left(turn.result())  # the slot had just been given
            raise

    def _left(self, trial: bool) -> None:
        self.in_flight -= 1
        if trial:
            self.breaker.trying = False
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        """Let in whoever may go, and come back when that changes by time alone."""
        now = self.clock()
        if now < self._paused_until:
            self._come_back(self._paused_until - now)
            return
        self._paused_until = 0.0
        if self.breaker.open:
            self._wake_one(now)
            return
        while self.in_flight < self.slots.count and (turn := self._next()):
            self.in_flight += 1
            turn.set_result(False)

    def _wake_one(self, now: float) -> None:
        """While the server seems gone: the next trial when it is due, nobody when patience is over."""
        if now >= self.breaker.end:
            self._give_up()
            return
        if not self.breaker.trying and now >= self.breaker.next_trial and (turn := self._next()):
            self.breaker.tries(now)
            self.in_flight += 1
            turn.set_result(True)
        due = self.breaker.end if self.breaker.trying else min(self.breaker.end, self.breaker.next_trial)
        self._come_back(due - now)

    def _next(self) -> "asyncio.Future[bool] | None":
        """The one that has waited longest and still does."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                return turn
        return None

    def _come_back(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds) + 0.001, self._wake)

    def _give_up(self) -> Unreachable:
        """Patience is over for everybody who waits."""
        return self._unreachable(f"has not answered for {self.patience_seconds:g} s", "start the server again")

    def _give_up_busy(self) -> Unreachable:
        """The same where the server is there and has room for nobody."""
        seconds = self._busy_end - self._busy_since
        return self._unreachable(
            f"has asked for fewer requests for {seconds:g} s and answered none",
            "run the same command when it has room again",
        )

    def _unreachable(self, what: str, cure: str) -> Unreachable:
        why = f" ({self._last})" if self._last else ""
        sentence = f"{self.identity.model or self.identity.engine} {what}{why}; {cure}"
        while turn := self._next():
            turn.set_exception(Unreachable(sentence))
        self.breaker.forget()
        return Unreachable(sentence)
