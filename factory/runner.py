"""The one event loop: keeps the engine full across stages and shards, and writes a shard when its last unit has ended.

There is no barrier between stages. Units wait in a heap, first shard first and deepest stage first, so that shards
finish one after the other and few are open at a time; memory is bounded by them, however long the corpus.
"""

import asyncio
import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.cost import Prices
from factory.engines import Engine
from factory.errors import FactoryError, Refused, Stopped, Transient, Unreachable
from factory.journal import Journal
from factory.records import Count, Passage, Reject, Said
from factory.requests import Reply, Request, key
from factory.settings import without_keys
from factory.stages import Asking, Outcome, Pipeline, Step, thrown
from factory.store import Rows, Store, ordinal_of
from factory.text import one_line

OPEN_SHARDS = 2  # one being worked off, one begun: more only cost memory
LEAST_UNITS = 50  # of a stage before its share of rejects can stop a run
LEAST_ANSWERED = 3  # units of a stage, of which an engine in order answers at least one
# What is a result, not a failure: a solver that is asked until it agrees has agreed to nothing.
VERDICTS = frozenset(("solver_disagrees", "answerable_without_reading"))

Order = tuple[int, ...]


@dataclass
class Work:
    """One open shard: its passages, what it remembers, and the rows, rejects and accounts gathered so far."""

    ordinal: int
    name: str
    passages: tuple[Passage, ...]
    remembered: dict[str, Said]
    rounds: dict[str, int]
    journal: Journal | None = None
    left: int = 0
    left_of: Counter[int] = field(default_factory=Counter)  # units still to end, by passage
    rows: dict[str, list[tuple[Order, Any, str]]] = field(default_factory=lambda: defaultdict(list))
    rejects: list[tuple[Order, Reject]] = field(default_factory=list)
    replies: dict[str, tuple[Order, Said]] = field(default_factory=dict)
    counts: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))

    @staticmethod
    def opened(store: Store, name: str, passages: tuple[Passage, ...] = ()) -> "Work":
        """An opened shard with all it remembers."""
        return Work(
            ordinal=ordinal_of(name),
            name=name,
            passages=passages or store.passages(name),
            remembered=store.remembered(name),
            rounds=store.rounds(name),
        )

    def superseded(self) -> list[Said]:
        """Replies of an earlier round, which made rejects that were asked for again: they stay on record and are paid."""
        return [self.remembered[key] for key in sorted(self.remembered.keys() - self.replies.keys())]


@dataclass
class Tally:
    """Accounts of the whole run, finished shards included; the display and the limits read them."""

    counts: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))
    shards_found: int = 0  # finished before this start
    shards_written: int = 0
    passages_found: int = 0
    passages_ended: int = 0
    known: int = 0  # replies of shards that were finished before this start
    faults: dict[str, str] = field(default_factory=dict)  # by stage: why there was no reply, the first time

    def add(self, units: dict[str, Count]) -> None:
        for stage, count in units.items():
            self.counts[stage].add(count)
            self.known += count.asked

    @property
    def shards_done(self) -> int:
        return self.shards_found + self.shards_written

    @property
    def passages_done(self) -> int:
        return self.passages_found + self.passages_ended

    def tokens(self) -> int:
        return sum(c.tokens_in + c.tokens_out for c in self.counts.values())

    def cost(self, prices: Prices) -> float:
        return sum(prices.of_count(c) for c in self.counts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where a run stops by itself: a share of rejects, tokens, money (0: no limit of those)."""

    max_rejects: float = 0.5
    max_tokens: int = 0
    max_cost: float = 0.0
    prices: Prices = field(default_factory=Prices)

    @property
    def spending(self) -> bool:
        return bool(self.max_tokens or self.max_cost)


def watch(tally: Tally, limits: Limits) -> None:
    """Stopped where a stage rejects more than its share, the engine answers nobody, or tokens or money are used up."""
    for stage, count in tally.counts.items():
        if count.inputs >= LEAST_ANSWERED and count.reasons.get("engine_error", 0) == count.inputs:
            fault = f" (the first time: {tally.faults[stage]})" if stage in tally.faults else ""
            raise Stopped(
                f"the engine answered none of the first {count.inputs} units of stage {stage!r}{fault}; look at it (make "
                "doctor), then run the same command again"
            )
        if count.inputs >= LEAST_UNITS and count.rejected > limits.max_rejects * count.inputs:
            reason = max(count.reasons, key=lambda r: count.reasons[r])
            cure = "bad luck a higher MAX_REJECTS and then `make rejects RETRY=1`"
            if reason in VERDICTS:  # a retry leaves these as they are
                cure = "verdicts that you trust a higher MAX_REJECTS: RETRY=1 does not ask the solver again"
            raise Stopped(
                f"{count.rejected} of {count.inputs} units of stage {stage!r} were rejected, most as {reason!r}, more "
                f"than MAX_REJECTS={limits.max_rejects:g} allows; look at them with `make rejects`; a prompt or model that is at "
                f"fault needs a new OUT, {cure}"
            )
    if limits.max_tokens and tally.tokens() > limits.max_tokens:
        raise Stopped(
            f"MAX_TOKENS={limits.max_tokens} is used up; what is done is kept: run the same command with a larger one"
        )
    if limits.max_cost and (spent := tally.cost(limits.prices)) > limits.max_cost:
        raise Stopped(
            f"MAX_COST={limits.max_cost:g} is used up ({limits.prices.shown(spent)}); what is done is kept: run the same "
            "command with a larger one"
        )


@dataclass
class Runner:
    """Drives units of a pipeline through an engine into a store, until all shards are done or a limit is reached."""

    pipeline: Pipeline
    engine: Engine
    asking: Asking
    store: Store
    tally: Tally
    targets: tuple[str, ...] = ()
    prompts: str = ""
    concurrency: int = 64
    limits: Limits = field(default_factory=Limits)
    fsync_seconds: float = 1.0

    def __post_init__(self) -> None:
        self._heap: list[tuple[int, int, int, Work, Step, Any, Order]] = []
        self._serial = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._depth = {s.stage.name: len(self.pipeline.lineage(s.stage.name)) for s in self.pipeline}
        self._after = {s.stage.name: self.pipeline.following(s.stage.name) for s in self.pipeline}
        self._place = {s.stage.name: n for n, s in enumerate(self.pipeline)}
        self._open: dict[int, Work] = {}
        self._ending = False
        self._writing: set[asyncio.Future[None]] = set()
        self._identity = self.engine.identity

    async def run(self, shards: Iterator[Work]) -> None:
        """Work off all shards; raises Stopped at a limit, and whatever ended the engine. Cancel it to interrupt."""
        sync = asyncio.create_task(self._sync())
        try:
            await self._loop(shards, sync)
        finally:
            self._ending = True
            for task in (*self._tasks, sync):
                task.cancel()
            await asyncio.gather(*self._tasks, sync, *self._writing, return_exceptions=True)
            for work in self._open.values():
                if work.journal:
                    work.journal.close()

    async def _loop(self, shards: Iterator[Work], sync: asyncio.Task[None]) -> None:
        """Until the last unit has ended, or one has failed."""
        self._shards: Iterator[Work] | None = shards
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sync.add_done_callback(self._ended)
        self._fill()
        await self._end

    def _fill(self) -> None:
        """As many lines of units as there may be, taken from as many shards as there may be open."""
        while self._shards and len(self._open) < OPEN_SHARDS and len(self._heap) < self.concurrency:
            opened = next(self._shards, None)
            if opened is None:
                self._shards = None
            else:
                self._begin(opened)
        while self._heap and len(self._tasks) < self.concurrency:
            self._spawn(self._line(*self._next()))
        if not self._tasks:
            self._end.set_result(None)

    def _next(self) -> tuple[Work, Step, Any, Order]:
        *_, work, step, row, order = heapq.heappop(self._heap)
        return work, step, row, order

    async def _line(self, work: Work, step: Step, row: Any, order: Order) -> None:
        """One unit after the other. The next one asks before the loop turns to other replies: a burst of them would
        otherwise all be read before the engine is given anything new to do."""
        while True:
            await self._unit(work, step, row, order)
            if not self._heap:
                return
            work, step, row, order = self._next()
            self._fill()

    def _spawn(self, unit: Any) -> None:
        task = asyncio.create_task(unit)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # Looked at in any case, or asyncio complains of it. Nobody but `run` cancels a unit, so one that was is lost.
        failed = Stopped("a unit was cancelled from outside") if task.cancelled() else task.exception()
        if self._ending or self._end.done():
            return
        try:
            if failed is None:
                self._fill()
        except Exception as err:  # noqa: BLE001  # whatever the opening of a shard raises ends the run
            failed = err
        if failed is not None:
            self._end.set_exception(failed)

    def _begin(self, work: Work) -> None:
        self._open[work.ordinal] = work
        work.journal = Journal(self.store.journal_path(work.name))
        for passage in work.passages:
            self._feed(work, None, passage, [passage], (passage.index,))
        if not work.left:
            self._spawn(self._finish(work))

    def _feed(self, work: Work, after: str | None, before: Any, rows: Sequence[Any], order: Order) -> None:
        """Queue the inputs that the next stages make of these rows."""
        for step in self._after[after] if after else self.pipeline.following(None):
            for number, row in enumerate(step.stage.feed(before, rows)):
                at = (*order, self._place[step.stage.name], number)
                work.left += 1
                work.left_of[order[0]] += 1
                depth = -self._depth[step.stage.name]
                heapq.heappush(self._heap, (work.ordinal, depth, next(self._serial), work, step, row, at))

    async def _unit(self, work: Work, step: Step, row: Any, order: Order) -> None:
        stage = step.stage
        count, total = work.counts[stage.name], self.tally.counts[stage.name]
        round_ = work.rounds.get(f"{stage.name} {row.id}", 0)
        talk = stage.talk(row, self.asking, round_)
        name = ""
        asks = -1
        try:
            request = next(talk)
            while True:
                asks += 1
                name = key(self._identity, request)
                reply = await self._reply(work, name, request, order, (count, total))
                request = talk.send(reply)
        except StopIteration as end:
            outcome: Outcome = end.value
        except Transient as err:
            self.tally.faults.setdefault(stage.name, str(err))
            outcome = Outcome(reason="engine_error", detail=str(err), repairs=max(0, asks))
        except Refused as err:
            outcome = Outcome(reason=err.reason, detail=err.detail[:500], repairs=max(0, asks))
        finally:
            talk.close()
        self._settle(work, step, row, order, outcome, name, round_, (count, total))
        work.left -= 1
        work.left_of[order[0]] -= 1
        self.tally.passages_ended += not work.left_of[order[0]]
        if not work.left:
            await self._finish(work)

    async def _reply(self, work: Work, name: str, request: Request, order: Order, counts: tuple[Count, Count]) -> Reply:
        """The remembered reply, or a new one, journalled before anybody uses it."""
        said = work.remembered.get(name)
        if said is None:
            try:
                reply = await self.engine.complete(request)
                reply = _sound(reply)
            except asyncio.CancelledError:
                if self._ending:
                    raise
                raise Transient("the request was cancelled inside the engine") from None
            except Unreachable as err:
                raise Stopped(f"{err}; what is done is kept, run the same command again when it answers") from err
            except FactoryError:
                raise
            except Exception as err:  # an engine is foreign code: what it throws costs this unit only
                told = without_keys(one_line(f"{type(err).__name__} inside the engine: {err}"))
                raise Transient(told[:300]) from err
            said = Said(
                key=name,
                stage=request.stage,
                unit=request.unit,
                repair=request.repair,
                round=request.round,
                text=reply.text,
                finish=reply.finish,
                tokens_in=reply.tokens_in,
                tokens_out=reply.tokens_out,
                tokens_cached=reply.tokens_cached,
                seconds=reply.seconds,
            )
            assert work.journal is not None
            work.journal.append(said)
            work.remembered[name] = said
        else:
            reply = Reply.of(said.text, said.finish)
            for one in counts:
                one.remembered += 1
        work.replies[name] = ((*order, request.round, request.repair), said)
        for one in counts:
            one.spent(said)
            one.repairs += request.repair > 0
        return reply

    def _settle(
        self,
        work: Work,
        step: Step,
        row: Any,
        order: Order,
        outcome: Outcome,
        reply: str,
        round_: int,
        counts: tuple[Count, Count],
    ) -> None:
        """One unit has ended: as exactly one of accepted or rejected, its children kept or dropped."""
        stage = step.stage.name
        for one in counts:
            one.inputs += 1
            one.accepted += outcome.accepted
            one.rejected += not outcome.accepted
            if outcome.accepted:
                one.made += len(outcome.rows) + len(outcome.faults)
                one.kept += len(outcome.rows)
                one.dropped += len(outcome.faults)
            if not outcome.accepted:
                one.reasons[outcome.reason] = one.reasons.get(outcome.reason, 0) + 1
            for fault in outcome.faults:
                one.drops[fault.reason] = one.drops.get(fault.reason, 0) + 1
            for kind in outcome.mended:
                one.mended[kind] = one.mended.get(kind, 0) + 1
        work.rejects += [((*order, number), one) for number, one in enumerate(thrown(stage, row, outcome, round_))]
        if outcome.accepted:
            for number, child in enumerate(outcome.rows):
                work.rows[stage].append(((*order, number), child, reply))
            self._feed(work, stage, row, list(outcome.rows), order)
        if self.limits.spending or not outcome.accepted:
            watch(self.tally, self.limits)

    async def _finish(self, work: Work) -> None:
        """Write the shard in a thread: encoding and flushing are done beside the loop, not in it."""
        for said in work.superseded():
            for one in (work.counts[said.stage], self.tally.counts[said.stage]):
                one.spent(said)
        writing = asyncio.get_running_loop().run_in_executor(None, self._commit, work)
        self._writing.add(writing)
        await asyncio.shield(writing)  # an interrupt lets a shard that is being written get finished
        self._writing.discard(writing)
        del self._open[work.ordinal]
        self.tally.shards_written += 1

    def _commit(self, work: Work) -> None:
        tables = {}
        for step in self.pipeline:
            rows = sorted(work.rows[step.stage.name], key=lambda r: r[0])
            tables[step.stage.name] = Rows(step.stage.record, [r[1] for r in rows], [r[2] for r in rows])
        thrown = [r for _, r in sorted(work.rejects, key=lambda r: r[0])]
        tables["rejects"] = Rows(Reject, thrown, [""] * len(thrown))
        used = [said for _, said in sorted(work.replies.values(), key=lambda r: r[0])]
        if work.journal:
            work.journal.sync()
        self.store.commit(
            work.name,
            tables,
            [*used, *work.superseded()],
            work.counts,
            first=work.passages[0].index,
            passages=len(work.passages),
            targets=self.targets,
            prompts=self.prompts,
        )
        if work.journal:
            work.journal.close()
            work.journal = None

    async def _sync(self) -> None:
        """Flush the journals now and then: a power cut loses at most this interval."""
        while True:
            await asyncio.sleep(self.fsync_seconds)
            for journal in [w.journal for w in self._open.values() if w.journal]:
                await asyncio.to_thread(journal.sync)


def _sound(reply: Reply) -> Reply:
    """A reply that can be written down: text in UTF-8, counts that are counts. Transient where it is none at all."""
    if not isinstance(reply, Reply):
        raise Transient(f"the engine's complete returned {type(reply).__name__}, which is no Reply")
    if not isinstance(reply.text, str):
        raise Transient(f"the engine returned a Reply whose text is {type(reply.text).__name__}, which is no str")
    return Reply(
        text=reply.text.encode("utf-8", "replace").decode() if not reply.text.isascii() else reply.text,
        finish=reply.finish,
        tokens_in=_counted(reply.tokens_in),
        tokens_out=_counted(reply.tokens_out),
        tokens_cached=_counted(reply.tokens_cached),
        seconds=reply.seconds if isinstance(reply.seconds, int | float) and 0 <= reply.seconds < 1e9 else 0.0,
    )


def _counted(tokens: object) -> int:
    return tokens if isinstance(tokens, int) and 0 <= tokens < 2**53 else 0
