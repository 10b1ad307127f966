"""How many requests go to a server at a time, and what happens when it asks for patience or is gone."""

import asyncio
import contextlib
import heapq
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from factory.engines.flow import Flow
from factory.engines.pace import FIRST, Breaker, Slots
from factory.engines.retry import Retrying
from factory.errors import Busy, Down, FactoryError, Refused, Stopped, Transient
from factory.requests import Identity, Message, Reply, Request, Sampling

REQUEST = Request(
    stage="s",
    unit="u",
    messages=(Message("user", "?"),),
    schema="{}",
    sampling=Sampling(temperature=0, max_tokens=1, seed=0),
)


# Slots, on a clock of their own ---------------------------------------------------------------------------------------


@dataclass
class World:
    """A server that answers `together` requests at a time, each in `seconds(in flight)`, and turns away those over
    `limit`; somebody always waits for a slot. Time passes only here."""

    slots: Slots
    seconds: Callable[[int], float]
    together: int = 10**6
    limit: int = 10**6
    pause_seconds: float = 0.5
    now: float = 0.0
    replies: int = 0
    refused: int = 0
    seen: list[int] = field(default_factory=list)

    def run(self, seconds: float) -> float:
        """Replies per second over so long."""
        end, before = self.now + seconds, self.replies
        free = [self.now] * min(self.together, 4096)
        flying: list[tuple[float, int, float]] = []
        serial, paused_until, busy_at = itertools.count(), 0.0, -1.0
        while self.now < end:
            while len(flying) < self.slots.count and self.now >= paused_until:
                if len(flying) >= self.limit:
                    self.refused += 1
                    if self.now > busy_at:
                        self.slots.busy(self.now)
                        busy_at = self.now
                    paused_until = self.now + self.pause_seconds
                    break
                begin = max(self.now, heapq.heappop(free))
                done = begin + self.seconds(len(flying) + 1)
                heapq.heappush(free, done)
                heapq.heappush(flying, (done, next(serial), self.now))
            self.seen.append(self.slots.count)
            if not flying:
                self.now = paused_until
                continue
            self.now, _, began = heapq.heappop(flying)
            self.replies += 1
            self.slots.answered(self.now, self.now - began, 1.0, True)
        return (self.replies - before) / seconds


def test_a_quick_server_gets_sixty_four_at_a_time_within_a_second() -> None:
    """Doubled each round from eight: at 50 ms a reply, 64 slots are there after a few tenths of a second."""
    world = World(Slots(64), lambda n: 0.05)
    world.run(0.5)
    assert world.slots.count == 64
    assert world.run(5) > 0.98 * 64 / 0.05


def test_the_slots_are_as_many_as_a_server_works_on_and_not_many_more() -> None:
    """With 32 at a time in a server and 256 allowed: never idle, and at most some two rounds waiting."""
    world = World(Slots(256), lambda n: 0.5, together=32)
    world.run(20)
    assert world.run(60) > 0.97 * 32 / 0.5
    assert 32 <= world.slots.count <= 96


def test_a_server_that_slows_with_its_batch_keeps_a_large_one() -> None:
    """Where latency rises but each request more still pays, what was cut for slowness comes back."""
    for slower in (0.003, 0.006, 0.02):
        world = World(Slots(256), lambda n, slower=slower: 1 + slower * n)  # type: ignore[misc]
        world.run(120)
        assert world.run(300) > 0.96 * 256 / (1 + slower * 256)


def test_noise_does_not_keep_the_slots_few() -> None:
    """Replies of very different lengths, as real ones: the rate comes near that of all slots."""
    dice = random.Random(1)
    world = World(Slots(128), lambda n: dice.lognormvariate(0, 0.8))
    world.run(60)
    assert world.run(120) > 0.93 * 128 / 1.377  # the mean of that distribution


def test_a_server_with_a_limit_is_seldom_over_it() -> None:
    """One that turns away the twenty-first: few are turned away, and most of what it can do is used."""
    world = World(Slots(256), lambda n: 0.5, limit=20)
    world.run(20)
    before = world.refused
    rate = world.run(200)
    assert world.refused - before < 0.02 * rate * 200
    assert rate > 0.6 * 20 / 0.5
    assert world.slots.count <= 30


def test_slots_are_never_fewer_than_one() -> None:
    """However often a server asks for fewer."""
    slots = Slots(256)
    for n in range(50):
        slots.busy(float(n))
    assert slots.count == 1


def test_each_request_for_patience_takes_a_quarter() -> None:
    """Multiplicative decrease."""
    slots = Slots(256)
    slots.count = 100
    slots.busy(1.0)
    assert slots.count == 75


def test_a_fixed_number_stays() -> None:
    """CONCURRENCY is what the person said, whatever the server says."""
    world = World(Slots(40, fixed=True), lambda n: 0.5, limit=30)
    world.run(20)
    assert set(world.seen) == {40}


def test_slots_that_nobody_needs_do_not_grow() -> None:
    """Without somebody waiting, a higher number would be a guess."""
    slots = Slots(64)
    for n in range(1000):
        slots.answered(n * 0.1, 0.05, 1.0, False)
    assert slots.count == FIRST


# The breaker ----------------------------------------------------------------------------------------------------------


def test_the_first_that_finds_nobody_opens_the_breaker_and_an_answer_closes_it() -> None:
    """A server that is down is tried one request at a time."""
    breaker = Breaker(60)
    breaker.failed(10.0, down=True, trial=False)
    assert (breaker.open, breaker.next_trial, breaker.end) == (True, 10.25, 70.0)
    breaker.answered(0.1)
    assert not breaker.open


def test_eight_failures_in_a_row_open_the_breaker_and_seven_do_not() -> None:
    """Some failures are the way of servers; a row of them is an outage."""
    breaker = Breaker(60)
    for n in range(7):
        breaker.failed(float(n), down=False, trial=False)
    assert not breaker.open
    breaker.answered(0.1)
    for n in range(8):
        assert not breaker.open
        breaker.failed(100.0 + n, down=False, trial=False)
    assert (breaker.open, breaker.end) == (True, 160.0)


def test_trials_come_ever_slower_and_only_they_count() -> None:
    """A quarter of a second, doubled to five; what fails beside a trial changes nothing."""
    breaker, waits = Breaker(60), []
    breaker.failed(0.0, down=True, trial=False)
    for _ in range(8):
        now = breaker.next_trial
        breaker.failed(now, down=True, trial=False)
        breaker.failed(now, down=True, trial=True)
        waits.append(breaker.next_trial - now)
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0]


def test_a_server_whose_replies_are_slow_has_time_for_its_trial() -> None:
    """Patience runs out at once where a trial finds nobody, but a trial under way may take as long as two replies did."""
    breaker = Breaker(60)
    breaker.answered(100.0)
    breaker.failed(0.0, down=True, trial=False)
    assert breaker.end == 60.0
    breaker.tries(50.0)
    assert breaker.end == 250.0


# Flow -----------------------------------------------------------------------------------------------------------------

Does = Callable[[int], Awaitable[None]]


@dataclass
class Playing:
    """An engine that does what it is told with its n-th request, and counts."""

    does: Does
    identity: Identity = field(default_factory=lambda: Identity(engine="playing", model="toy"))
    asked: int = 0
    flying: int = 0
    most: int = 0
    order: list[str] = field(default_factory=list)

    async def complete(self, request: Request) -> Reply:
        self.asked += 1
        self.flying += 1
        self.most = max(self.most, self.flying)
        self.order.append(request.unit)
        try:
            await self.does(self.asked)
            return Reply(text="ok", tokens_out=5)
        finally:
            self.flying -= 1

    async def close(self) -> None: ...


async def quick(number: int) -> None:
    await asyncio.sleep(0.002)


def many(flow: Flow, count: int) -> list[Reply | BaseException]:
    async def main() -> list[Reply | BaseException]:
        try:
            jobs = (flow.complete(replace(REQUEST, unit=str(n))) for n in range(count))
            return await asyncio.gather(*jobs, return_exceptions=True)
        finally:
            await flow.close()

    return asyncio.run(asyncio.wait_for(main(), 20))


def kinds(found: list[Reply | BaseException]) -> set[str]:
    return {type(one).__name__ for one in found}


def test_no_more_than_allowed_are_in_flight_and_all_are_answered_in_order() -> None:
    """First come, first served."""
    engine = Playing(quick)
    assert kinds(many(Flow(engine, most=10, fixed=True), 200)) == {"Reply"}
    assert engine.most == 10
    assert engine.order == [str(n) for n in range(200)]


def test_slots_grow_while_work_waits() -> None:
    """From eight to what is allowed."""
    engine = Playing(quick)
    flow = Flow(engine, most=64)
    many(flow, 2400)
    assert 32 < engine.most <= 64
    assert flow.in_flight == 0


def test_when_one_is_told_to_wait_everybody_waits() -> None:
    """After a 429 with a Retry-After nobody asks until then; the request itself is passed up."""
    times: list[float] = []

    async def does(number: int) -> None:
        times.append(time.monotonic())
        await asyncio.sleep(0.002)
        if number == 1:
            raise Busy("429", 0.3)

    flow = Flow(Playing(does), most=4, fixed=True)
    found = many(flow, 20)
    assert [type(one) for one in found if not isinstance(one, Reply)] == [Busy]
    began = times[0]
    assert sum(t - began < 0.29 for t in times) == 4
    assert min(t - began for t in times[4:]) >= 0.3


def test_a_burst_of_busy_answers_is_one_request_for_patience() -> None:
    """All that were in flight together say the same: the slots shrink once, the wait grows once."""

    async def does(number: int) -> None:
        await asyncio.sleep(0.001)
        if number <= 16:
            raise Busy("429")

    flow = Flow(Playing(does), most=16)
    flow.slots.count = 16
    found = many(flow, 16)
    assert kinds(found) == {"Busy"}
    assert flow.slots.count == 12
    assert flow._busy_row == 1


def test_a_server_that_comes_back_costs_nobody_a_try() -> None:
    """Requests that found nobody wait and go again, one trial first."""
    back = time.monotonic() + 0.6

    async def does(number: int) -> None:
        await asyncio.sleep(0.001)
        if time.monotonic() < back:
            raise Down("connection refused")

    engine = Playing(does)
    flow = Flow(engine, most=16, patience_seconds=10)
    assert kinds(many(flow, 50)) == {"Reply"}
    assert engine.asked <= 50 + 8 + 4  # the first eight, and the trials at 0.25 s and 0.75 s


def test_a_server_that_stays_away_is_unreachable_for_everybody_within_patience() -> None:
    """All who wait hear of it, with the last fault and the cure; trials were few."""

    async def does(number: int) -> None:
        raise Down("http://h/v1 takes no connection (connection refused)")

    engine = Playing(does)
    began = time.monotonic()
    found = many(Flow(engine, most=16, patience_seconds=0.6), 40)
    assert kinds(found) == {"Unreachable"}
    why = "http://h/v1 takes no connection (connection refused)"
    assert str(found[0]) == f"toy has not answered for 0.6 s ({why}); start the server again"
    assert 0.6 <= time.monotonic() - began < 2.5
    assert engine.asked <= 8 + 3


def test_a_server_that_hangs_is_given_up_too() -> None:
    """A trial that never ends does not keep everybody waiting."""

    async def does(number: int) -> None:
        if number <= 8:
            raise Transient("503")
        await asyncio.sleep(30)

    began = time.monotonic()
    found = many(Flow(Playing(does), most=8, fixed=True, patience_seconds=0.7), 20)
    assert kinds(found[8:]) == {"Unreachable"}
    assert time.monotonic() - began < 3


def test_while_a_server_fails_one_request_at_a_time_is_tried() -> None:
    """After eight failures in a row; each costs its request a try and no other."""

    async def does(number: int) -> None:
        await asyncio.sleep(0.001)
        if number <= 10:
            raise Transient("503")

    engine = Playing(does)
    found = many(Flow(engine, most=8, fixed=True, patience_seconds=10), 30)
    assert sum(isinstance(one, Transient) for one in found) == 10
    assert sum(isinstance(one, Reply) for one in found) == 20
    assert engine.asked == 30


@pytest.mark.parametrize("sign", [Refused("bad_request"), Busy("429", 0.0)])
def test_an_answer_of_any_kind_is_a_sign_of_life(sign: FactoryError) -> None:
    """A refusal or a 429 between failures: the server is there."""

    async def does(number: int) -> None:
        if number % 5 == 0:
            raise sign
        raise Transient("503")

    flow = Flow(Playing(does), most=4, fixed=True, patience_seconds=0.2)
    assert "Unreachable" not in kinds(many(flow, 30))


@pytest.mark.parametrize("asked_seconds", [None, 0.0, 0.05])
def test_a_server_that_only_asks_for_patience_is_unreachable_in_the_end(asked_seconds: float | None) -> None:
    """However long it wants to be left alone: all who wait hear of it within the bound, nobody is rejected, and the
    server is not stormed meanwhile."""

    async def does(number: int) -> None:
        await asyncio.sleep(0.001)
        raise Busy("http://h/v1 asks for fewer requests (slow down)", asked_seconds)

    engine = Playing(does)
    flow = Flow(engine, most=8, patience_seconds=0.1, busy_seconds=0.8)
    retrying = Retrying(flow, wait_seconds=0.001, busy_tries=2)

    async def main() -> list[Reply | BaseException]:
        jobs = (retrying.complete(REQUEST) for _ in range(20))
        return await asyncio.gather(*jobs, return_exceptions=True)

    began = time.monotonic()
    found = asyncio.run(asyncio.wait_for(main(), 20))
    assert 0.8 <= time.monotonic() - began < 2.5
    assert kinds(found) == {"Unreachable"}
    assert str(found[0]) == (
        "toy has asked for fewer requests for 0.8 s and answered none "
        "(http://h/v1 asks for fewer requests (slow down)); run the same command when it has room again"
    )
    assert engine.asked < 60


def test_a_server_that_wants_a_long_rest_is_asked_once_more_at_the_end() -> None:
    """A Retry-After beyond the bound does not stretch it."""

    async def does(number: int) -> None:
        raise Busy("429", 60.0)

    engine = Playing(does)
    began = time.monotonic()
    assert kinds(many(Flow(engine, most=1, patience_seconds=0.1, busy_seconds=0.5), 5)) == {"Busy", "Unreachable"}
    assert 0.5 <= time.monotonic() - began < 2
    assert engine.asked == 2


def test_a_reply_between_requests_for_patience_begins_a_new_row() -> None:
    """A server that answers now and then is there, however long it takes in all."""

    async def does(number: int) -> None:
        if number % 3:
            raise Busy("429", 0.1)

    began = time.monotonic()
    found = many(Flow(Playing(does), most=1, patience_seconds=0.1, busy_seconds=0.5), 10)
    assert time.monotonic() - began > 0.5
    assert kinds(found) == {"Busy", "Reply"}


def test_a_row_of_requests_for_patience_is_said_once() -> None:
    """With the first wait in it that somebody would notice; the next row is said again."""
    said: list[str] = []

    async def does(number: int) -> None:
        if number in (1, 2, 3, 5):
            raise Busy("429", 1.1 if number > 1 else 0.1)

    flow = Flow(Playing(does), most=1, say=said.append)
    many(flow, 5)
    assert said == ["the server asks for fewer requests; waiting 1 s"] * 2


def test_what_ends_the_run_goes_through() -> None:
    """Stopped (a key that is refused) is nobody's to catch here."""

    async def does(number: int) -> None:
        raise Stopped("the key was refused")

    assert kinds(many(Flow(Playing(does), most=4), 10)) == {"Stopped"}


def test_after_giving_up_a_new_request_tries_anew() -> None:
    """The engine is as good as new for whoever asks later."""
    gone = [True]

    async def does(number: int) -> None:
        if gone[0]:
            raise Down("no")

    flow = Flow(Playing(does), most=4, patience_seconds=0.3)
    assert kinds(many(flow, 3)) == {"Unreachable"}
    gone[0] = False
    assert kinds(many(flow, 3)) == {"Reply"}


@pytest.mark.parametrize("seed", range(5))
def test_cancelled_requests_leave_their_slots(seed: int) -> None:
    """Cancelled at any moment, flying or waiting or just let in: the others are all answered and no slot is lost."""
    dice = random.Random(seed)

    async def does(number: int) -> None:
        await asyncio.sleep(dice.uniform(0, 0.004))
        if dice.random() < 0.1:
            raise dice.choice([Transient("503"), Busy("429", 0.005), Down("no")])

    engine = Playing(does)
    flow = Flow(engine, most=4, fixed=True, patience_seconds=20)
    flow.breaker.first_wait_seconds = 0.01

    async def main() -> None:
        tasks = [asyncio.create_task(flow.complete(REQUEST)) for _ in range(200)]
        for _ in range(40):
            await asyncio.sleep(0.003)
            for task in dice.sample(tasks, 4):
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (flow.in_flight, engine.flying, flow.breaker.trying) == (0, 0, False)
        for _ in range(50):  # it still works
            with contextlib.suppress(Transient):
                await flow.complete(REQUEST)
                break
        await flow.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_requests_that_are_told_to_wait_are_asked_again_and_answered() -> None:
    """With the retries in front: a server that takes four at a time gets all done, nobody is lost."""
    flying = 0

    async def does(number: int) -> None:
        nonlocal flying
        flying += 1
        try:
            if flying > 4:
                raise Busy("429")
            await asyncio.sleep(0.003)
        finally:
            flying -= 1

    flow = Flow(Playing(does), most=64)
    retrying = Retrying(flow, wait_seconds=0.01)

    async def main() -> list[Reply]:
        return await asyncio.gather(*(retrying.complete(REQUEST) for _ in range(150)))

    assert len(asyncio.run(asyncio.wait_for(main(), 20))) == 150


def test_the_way_in_costs_little() -> None:
    """Where slots are free, admission takes no lock, no task and some millionths of a second."""

    async def now(number: int) -> None: ...

    engine = Playing(now)
    flow = Flow(engine, most=8)

    async def main(one: Flow | Playing) -> float:
        began = time.process_time()
        for _ in range(5000):
            await one.complete(REQUEST)
        return (time.process_time() - began) / 5000

    best = min(asyncio.run(main(flow)) - asyncio.run(main(engine)) for _ in range(3))
    assert best < 0.00005
