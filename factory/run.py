"""A run from its command to its dataset: what is asked, what is there already, what is left to do.

Everything that can be wrong with a request is found before anything is written.
"""

import asyncio
import gc
import os
import signal
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import orjson
import tomli_w

from factory import __version__, build, prompts, sift
from factory import frozen as frozen_file
from factory.corpus import Corpus, survey
from factory.cost import Prices
from factory.engines import Checked, Engine
from factory.engines.open import in_flight, open_engine
from factory.errors import Interrupted, Stopped, WrongRequest
from factory.files import locked, write_atomic, writing
from factory.frozen import Frozen, need
from factory.plan import Shards, extents, passages
from factory.replay import asking_of
from factory.runner import VERDICTS as VERDICTS
from factory.runner import Limits, Runner, Tally
from factory.settings import Content, Operation, operation_from
from factory.stages import Pipeline
from factory.steps import TARGETS, pipeline
from factory.store import Store
from factory.worker import Workers

T = TypeVar("T")


class Watcher(Protocol):
    """Whoever shows the progress of long work."""

    def start(self, tally: Tally, passages: int, prices: Prices) -> None: ...
    def say(self, sentence: str) -> None: ...
    def stop(self) -> None: ...


class Silent:
    """Shows nothing."""

    def start(self, tally: Tally, passages: int, prices: Prices) -> None: ...
    def say(self, sentence: str) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a run ended: where it is, its accounts, what was skipped of the corpus, and whether there was anything to do."""

    out: Path
    tally: Tally
    frozen: Frozen
    corpus: dict[str, Any]
    did: bool
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that a start of a run works with; `old` is what run.toml said before it."""

    store: Store
    source: Corpus | None  # None where it has gone
    frozen: Frozen
    old: Frozen | None
    operation: Operation
    engine: Engine
    steps: Pipeline
    book: prompts.Book
    watcher: Watcher
    screen: sift.Screen | None = None  # a benchmark that no item may repeat
    fresh: bool = False
    spread: bool = False  # nothing of it is an object that a worker process could not make again
    notes: tuple[str, ...] = ()


def synth(
    corpus: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    content: Content | None = None,
    operation: Operation | None = None,
    stages: Sequence[str] | None = None,
    prompts_folder: Path | None = None,
    fresh: bool = False,
    engine: Engine | None = None,
    line: Pipeline | None = None,
    watcher: Watcher | None = None,
) -> Result:
    """Generate a dataset from a corpus, or go on with it: the same command resumes. Raises only FactoryError."""
    content, operation = content or Content(), _findable(operation or Operation())
    source = corpus_of(Path(corpus), content)
    store = Store(Path(out) if out is not None else Path("outputs") / source.stem())
    # What a worker process can make again by itself, where a core more is an engine more.
    spread = engine is None and line is None and content.engine == "rehearsal"
    old = None if fresh else frozen_file.read(store)
    frozen_file.refuse_strangers(store)
    _refuse_inside(store.out, Path(corpus))
    targets = _targets(stages)
    steps = (line or pipeline(content)).wanted(targets)
    watcher = watcher or Silent()
    engine = engine or open_engine(content, operation, watcher.say)
    book = prompts.load(steps.prompts(), prompts_folder)
    frozen_file.refuse_misfits(steps, book)
    screen = _screen(operation.decontaminate)
    frozen = Frozen(
        content=_settled(content, engine),
        targets=targets,
        identity=engine.identity,
        corpus=str(Path(corpus).resolve()),
        fingerprint=source.fingerprint(),
        prompts={name: book[name].hash for name in steps.prompts()},
        stages=frozen_file.stages(steps),
    )
    if old is not None:
        frozen_file.refuse_changed(store, old, frozen)
    return _go(
        Job(
            store=store,
            source=source,
            frozen=frozen,
            old=old,
            operation=operation,
            engine=engine,
            steps=steps,
            book=book,
            watcher=watcher,
            screen=screen,
            fresh=fresh,
            spread=spread,
        )
    )


def resume(out: str | os.PathLike[str], **how: Any) -> Result:
    """Go on with a run from what is in its folder, wherever its corpus has gone; see `_resumed` for what may be given."""
    return _go(_resumed(out, **how))


def _resumed(
    out: str | os.PathLike[str],
    *,
    operation: Operation | None = None,
    engine: Engine | None = None,
    line: Pipeline | None = None,
    watcher: Watcher | None = None,
) -> Job:
    """The job of going on with a run; everything that can be wrong with it is found here, before anything is written."""
    store = Store(Path(out))
    frozen = need(store)
    watcher = watcher or Silent()
    operation = _as_before(store, _findable(operation or Operation()))
    spread = engine is None and line is None and frozen.content.engine == "rehearsal"
    steps = (line or pipeline(frozen.content)).wanted(frozen.targets)
    if engine is None and frozen.identity.engine == frozen.content.engine:
        engine = open_engine(frozen.content, operation, watcher.say)
    if engine is None or engine.identity != frozen.identity:
        given = frozen_file.named(engine.identity) if engine else frozen.content.engine
        raise WrongRequest(
            f"{store.out} was made with {frozen_file.named(frozen.identity)}, not {given}; "
            "resume it with that engine, or make a new run on another OUT"
        )
    source: Corpus | None = Corpus(path=Path(frozen.corpus), **_columns(frozen.content))
    notes = []
    if not Path(frozen.corpus).exists():
        source = None
        notes.append(f"the corpus {frozen.corpus} is gone: going on with the shards that are open")
    elif source is not None and source.fingerprint() != frozen.fingerprint:
        source = None
        notes.append(f"the corpus {frozen.corpus} has changed: going on with the shards that are open")
    book = prompts.load(steps.prompts(), store.out / "prompts")
    frozen_file.refuse_other(store, frozen, steps, book)
    return Job(
        store=store,
        source=source,
        frozen=frozen,
        old=frozen,
        operation=operation,
        engine=engine,
        steps=steps,
        book=book,
        watcher=watcher,
        screen=_screen(operation.decontaminate),
        spread=spread,
        notes=tuple(notes),
    )


RETRY = "retry.json"


def retry(out: str | os.PathLike[str], stage: str = "", reason: str = "", **how: Any) -> tuple[int, int, Result]:
    """Ask again, in a new round, for every unit that was rejected; returns how many there were, how many of them are
    rejected still, and the run. Children that an accepted unit dropped are no units, so they are not asked for; items that
    the solver did not agree with are, only where their `reason` is given.

    What is to be asked is written down first: a killed retry goes on where it was, in the same round.
    """
    job = _resumed(out, **how)
    store = job.store
    with locked(store.out / "lock"):
        plan = store.read_json(RETRY)
        if plan is None:
            every = {name: _rejected(store, name, stage, reason) for name in store.names()}
            plan = {
                name: store.rounds(name) | again
                for name, units in every.items()
                if (again := _unsettled(units, reason))
            }
            settled = sum(len(units) - len(_unsettled(units, reason)) for units in every.values())
            job = replace(job, notes=(*job.notes, *([_left_alone(settled)] if settled else [])))
            if plan:
                store.write_json(RETRY, plan)
    asked = {(name, unit) for name in plan for unit, n in plan[name].items() if n > store.rounds(name).get(unit, 0)}
    result = _go(job)
    still = sum((name, unit) in asked for name in plan for unit in _rejected(store, name))
    return len(asked), still, result


def _unsettled(units: Mapping[str, tuple[int, str]], reason: str) -> dict[str, int]:
    """The next rounds of units that are asked again: all of those that were rejected for the reason that is given, else those
    that had no verdict."""
    return {unit: round_ for unit, (round_, why) in units.items() if reason or why not in VERDICTS}


def _left_alone(count: int) -> str:
    return (
        f"{count:,} items that the solver did not agree with, or answered without reading, are not asked again: asking until "
        f"one agrees would make agreement mean nothing (REASON={' or REASON='.join(sorted(VERDICTS))} asks all the same)"
    )


def _rejected(store: Store, name: str, stage: str = "", reason: str = "") -> dict[str, tuple[int, str]]:
    """The rejected units of a finished shard (of one stage, for one reason), each with its next round and its reason."""
    table = store.table(name, "rejects", ["stage", "id", "level", "round", "reason"])
    if store.finished(name) is None or table is None:
        return {}
    return {
        f"{r['stage']} {r['id']}": (r["round"] + 1, r["reason"])
        for r in table.to_pylist()
        if r["level"] == "unit" and stage in ("", r["stage"]) and reason in ("", r["reason"])
    }


def _reopen(store: Store) -> None:
    """Open the shards of a pending retry that have not been worked off."""
    for name, rounds in (store.read_json(RETRY) or {}).items():
        store.retry(name, rounds)


def _covered(store: Store, frozen: Frozen, steps: Pipeline, total: int) -> bool:
    """Whether finished shards hold every passage of the run: nothing is built, and nothing cleared away, before."""
    at = 0
    for one in extents(store):
        if one.first == at and store.finished(one.name, frozen.targets, names(steps)):
            at += one.count
    return at >= total


def _tidy(store: Store, frozen: Frozen, steps: Pipeline) -> None:
    """All shards are finished: a folder that is no shard of the run goes."""
    for name in store.names():
        if store.finished(name, frozen.targets, names(steps)) is None:
            store.drop(name)


def names(steps: Pipeline) -> tuple[str, ...]:
    return tuple(step.stage.name for step in steps)


def _go(job: Job) -> Result:
    began = time.monotonic()
    store, frozen, operation = job.store, job.frozen, job.operation
    with _quick_interrupt():
        counted = _count(job)
    if job.old is not None and not job.fresh and _all_done(job, counted):
        return _result(job, _found(store), counted, began, did=False)
    workers = _workers(operation, counted["passages"]) if job.spread else 1
    if (job.old is None or job.fresh) and isinstance(job.engine, Checked):
        for sentence in _checked(job.engine):
            job.watcher.say(sentence)
    with _begun(store), locked(store.out / "lock") as lock:
        _prepare(job, counted)
        tally = Tally()
        shards = Shards(
            store=store,
            corpus=job.source,
            content=frozen.content,
            tally=tally,
            targets=frozen.targets,
            stages=names(job.steps),
            total=counted["passages"],
            size=operation.shard_size,
            limit=operation.limit,
        )
        loop: Runner | Workers
        if workers > 1:
            task = {"out": str(store.out), "operation": asdict(operation)}
            loop = Workers(task, workers, tally, _limits(operation), lock)
        else:
            loop = _runner(store, frozen, operation, job.engine, job.steps, job.book, tally)
        job.watcher.start(tally, counted["passages"], Prices.of(operation))
        try:
            _drive(loop, shards, job.engine)
            if shards.missing:
                raise Stopped(
                    f"{shards.missing} passages are still to be cut from the corpus; put it back at {frozen.corpus} "
                    "and run the same command again"
                )
            if not _covered(store, frozen, job.steps, counted["passages"]):
                raise Stopped(
                    "a shard was damaged while the run went on; the same command makes it anew from its replies"
                )
            with _quick_interrupt():
                _tidy(store, frozen, job.steps)
                build.build(store, frozen.content, frozen.identity, job.steps, job.book, job.watcher.say, job.screen)
                with writing(store.out):  # last of all: a retry that was killed anywhere goes on in the same round
                    (store.out / RETRY).unlink(missing_ok=True)
        finally:
            job.watcher.stop()
    return _result(job, tally, counted, began, did=True)


def _result(job: Job, tally: Tally, counted: dict[str, Any], began: float, *, did: bool) -> Result:
    return Result(
        out=job.store.out,
        tally=tally,
        frozen=job.frozen,
        corpus=counted,
        did=did,
        seconds=time.monotonic() - began,
        notes=(*job.notes, *build.notes(job.store)),
    )


def _found(store: Store) -> Tally:
    """The accounts of a finished run."""
    tally = Tally()
    for manifest in map(store.finished, store.names()):
        assert manifest is not None
        tally.add(manifest.units)
        tally.shards_found += 1
        tally.passages_found += manifest.passages
    return tally


def _runner(
    store: Store,
    frozen: Frozen,
    operation: Operation,
    engine: Engine,
    steps: Pipeline,
    book: prompts.Book,
    tally: Tally,
) -> Runner:
    return Runner(
        pipeline=steps,
        engine=engine,
        asking=asking_of(book, frozen.content.seed, frozen.content.repairs, frozen.content.preset),
        store=store,
        tally=tally,
        targets=frozen.targets,
        prompts=book.hash(steps.prompts()),
        concurrency=in_flight(frozen.content, operation),
        limits=_limits(operation),
        fsync_seconds=operation.fsync_seconds,
    )


def _limits(operation: Operation) -> Limits:
    return Limits(
        max_rejects=operation.max_rejects,
        max_tokens=operation.max_tokens,
        max_cost=operation.max_cost,
        prices=Prices.of(operation),
    )


def worker_runner(store: Store, task: dict[str, Any]) -> Runner:
    """What a worker process drives: everything from the run's own folder; the limits are its parent's to watch."""
    frozen = need(store)
    operation = replace(operation_from(task["operation"]), max_rejects=1.0, max_tokens=0, max_cost=0.0)
    steps = pipeline(frozen.content).wanted(frozen.targets)
    book = prompts.load(steps.prompts(), store.out / "prompts")
    return _runner(store, frozen, operation, open_engine(frozen.content, operation), steps, book, Tally())


def _workers(operation: Operation, passages: int) -> int:
    """As many processes as there are cores, where there are shards enough to keep them busy."""
    shards = passages // operation.shard_size
    return operation.workers or max(1, min(os.cpu_count() or 1, shards // 2))


def rebuild(out: str | os.PathLike[str], watcher: Watcher | None = None) -> None:
    """Make the dataset of a run anew from its finished shards, without the benchmark's copies as at the last start."""
    store = Store(Path(out))
    frozen = need(store)
    steps = pipeline(frozen.content).wanted(frozen.targets)
    book = prompts.load(steps.prompts(), store.out / "prompts")
    frozen_file.refuse_other(store, frozen, steps, book)
    total = (store.read_json("corpus.json") or {}).get("passages")
    done = sum(e.count for e in extents(store) if store.finished(e.name, frozen.targets, names(steps)))
    if total is None or done < total:
        raise Stopped(f"{store.out} is not finished; go on with `factory resume {store.out}`, which builds at its end")
    screen = _screen(last_start(store).get("decontaminate", ""))
    with locked(store.out / "lock"), _quick_interrupt():
        build.build(store, frozen.content, frozen.identity, steps, book, (watcher or Silent()).say, screen)
        for note in build.notes(store):
            (watcher or Silent()).say(note)


def _findable(operation: Operation) -> Operation:
    """The same, with a path that a later start finds from another folder too."""
    given = operation.decontaminate
    return replace(operation, decontaminate=str(Path(given).resolve())) if given else operation


def _screen(path: str) -> sift.Screen | None:
    return sift.screen(Path(path)) if path else None


def _drive(work: Runner | Workers, shards: Shards, engine: Engine) -> None:
    """Run the loop until it ends or a signal asks it to stop; a second signal is not needed, it takes seconds."""

    async def main() -> None:
        try:
            await _until_signal(work.run(iter(shards)))
        finally:
            await engine.close()

    with rare_collections():
        _alone(main())


def _checked(engine: Checked) -> tuple[str, ...]:
    """What an engine says of itself before a new run writes anything."""
    return _alone(_until_signal(engine.check()))


async def _until_signal(work: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    caught = []

    def stop(name: str) -> None:
        caught.append(name)
        task.cancel()

    handled = (signal.SIGINT, signal.SIGTERM)
    if main_thread():
        for number in handled:
            loop.add_signal_handler(number, stop, number.name)
    try:
        return await work
    except asyncio.CancelledError:
        if caught:
            raise Interrupted(f"interrupted by {caught[0]}; what is done is kept") from None
        raise
    finally:
        if main_thread():
            for number in handled:
                loop.remove_signal_handler(number)


def _alone(work: Coroutine[Any, Any, T]) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return in_loop(work)
    with ThreadPoolExecutor(1) as thread:  # called from a notebook, whose loop is busy with us: ours runs in a thread
        return thread.submit(in_loop, work).result()


def in_loop(work: Coroutine[Any, Any, T]) -> T:
    """asyncio.run on uvloop, which spends an eighth of a millisecond less on each request to a server."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Rows stay until their shard is written and none is in a cycle: looking for cycles again and again costs a tenth."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def main_thread() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()


@contextmanager
def _quick_interrupt() -> Iterator[None]:
    """Outside the loop a signal ends the work at once: what is being built is made again."""
    if not main_thread():
        yield
        return

    def stop(number: int, _: Any) -> None:
        raise Interrupted(f"interrupted by {signal.Signals(number).name}; what is done is kept")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _count(job: Job) -> dict[str, Any]:
    """Records, passages and what is wrong with the corpus; remembered in corpus.json for the next start."""
    store, source, frozen, limit = job.store, job.source, job.frozen, job.operation.limit
    known = None if job.fresh else store.read_json("corpus.json")
    mark = {
        "fingerprint": frozen.fingerprint,
        "limit": limit,
        "passage_words": frozen.content.passage_words,
        "columns": list(_columns(frozen.content).values()),
    }
    if known is not None and (source is None or all(known.get(k) == v for k, v in mark.items())):
        return known
    if source is None:
        raise WrongRequest(f"the corpus {frozen.corpus} is gone and {store.out} holds no count of it; put it back")
    found = survey(source, limit or None)
    total = sum(1 for _ in passages(source, frozen.content, limit))
    if known and known.get("fingerprint") == frozen.fingerprint and total < known.get("passages", 0):
        raise WrongRequest(
            f"LIMIT={limit} is less than this run was begun with ({known.get('limit') or 'no limit'}); "
            "give at least as much, or make a new run on another OUT"
        )
    return mark | {
        "records": found.records,
        "passages": total,
        "words": found.words,
        "english": found.english,
        "skipped_count": found.skipped_count,
        "skipped": [asdict(one) for one in found.skipped],
    }


def _all_done(job: Job, counted: dict[str, Any]) -> bool:
    store, frozen = job.store, job.frozen
    if job.old is None or set(frozen.targets) - set(job.old.targets) or (store.out / RETRY).exists():
        return False
    done = [e.count for e in extents(store) if store.finished(e.name, frozen.targets, names(job.steps))]
    return (
        sum(done) == counted["passages"]
        and len(done) == len(store.names())
        and build.is_current(store, job.screen.digest if job.screen is not None else "")
        and store.read_json("corpus.json") == counted
    )


# --- what is on disk, and whether it fits ---


def _prepare(job: Job, counted: dict[str, Any]) -> None:
    """Under the lock: templates and configuration at the first start, the count of the corpus, a line for this start."""
    store = job.store
    if not job.fresh and frozen_file.read(store) != job.old:
        raise WrongRequest(f"another process has just begun a run on {store.out}; look at it and run the command again")
    if job.fresh:
        store.forget()
    _write_if_new(store.out / "run.toml", tomli_w.dumps(frozen_file.toml(job.frozen)).encode())
    with writing(store.out):
        for folder in (store.shards, store.journals, store.out / "prompts"):
            folder.mkdir(parents=True, exist_ok=True)
    for name, template in job.book.templates.items():
        _write_if_new(store.out / "prompts" / f"{name}.md", template.text.encode())
    store.write_json("corpus.json", counted)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    start = {"time": now, "factory": __version__, **asdict(job.operation)}
    with writing(store.out), (store.out / "starts.jsonl").open("ab") as file:
        file.write(orjson.dumps(start) + b"\n")
    store.sweep()
    _reopen(store)


# What `resume` takes from the last start where nothing else is given: nothing but the folder is needed.
_KEPT = (
    *("limit", "concurrency", "base_url", "api_key_env", "response_format", "timeout_seconds", "patience_seconds"),
    *("engine_arguments", "price_in", "price_cached", "price_out", "currency", "max_rejects", "max_tokens", "max_cost"),
    "decontaminate",
)


def _as_before(store: Store, operation: Operation) -> Operation:
    """The settings of a start, those that are at their defaults as they were at the last one."""
    plain, before = asdict(Operation()), last_start(store)
    values = asdict(operation)
    kept = {name: before[name] for name in _KEPT if name in before and values[name] == plain[name]}
    try:
        whole = operation_from(values | kept)
    except WrongRequest as err:
        raise WrongRequest(f"{store.out / 'starts.jsonl'}: {err}") from err
    if kept.get("base_url") and os.environ.get(whole.api_key_env) and not _here(whole.base_url):
        raise WrongRequest(
            f"the key in {whole.api_key_env} would go to {whole.base_url}, as a file in {store.out} says; if that is where it "
            f"belongs, give BASE_URL={whole.base_url}"
        )
    return whole


def _here(url: str) -> bool:
    """Whether an address is this computer's own: what is sent there goes nowhere."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def last_prices(out: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings of the prices as they were at the last start: MAX_COST alone is enough to go on with."""
    store = Store(Path(out))
    need(store)
    return {k: v for k, v in last_start(store).items() if k in ("price_in", "price_cached", "price_out", "currency")}


def last_start(store: Store) -> dict[str, Any]:
    """The operational settings of the last start, from its line in starts.jsonl (the last whole one)."""
    try:
        lines = (store.out / "starts.jsonl").read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    for line in reversed(lines):
        try:
            found = orjson.loads(line)
            if isinstance(found, dict) and "limit" in found:
                return found
        except ValueError:
            continue
    return {}


def _write_if_new(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        write_atomic(path, data)


def _settled(content: Content, engine: Engine) -> Content:
    """The settings with what the engine is: a model that was left out, the revision that was found."""
    identity = engine.identity
    return replace(content, model=content.model or identity.model, revision=identity.revision)


def _targets(stages: Sequence[str] | None) -> tuple[str, ...]:
    if stages is None:
        return TARGETS
    return tuple(t for t in TARGETS if t in stages)


def _refuse_inside(out: Path, corpus: Path) -> None:
    """A run inside its own corpus would be read as part of it; a path that is no text cannot be written down."""
    try:
        str(out).encode()
        str(corpus).encode()
    except UnicodeEncodeError:
        raise WrongRequest("the names of CORPUS and OUT must be UTF-8; rename the file or folder") from None
    if corpus.is_dir() and out.resolve().is_relative_to(corpus.resolve()):
        raise WrongRequest(f"OUT {out} lies in the corpus {corpus} and would be read with it; give OUT a place outside")


def corpus_of(path: Path, content: Content) -> Corpus:
    """The corpus at a path, read as the settings say; WrongRequest where nothing can be read there."""
    try:
        kind = "file" if path.is_file() else "folder" if path.is_dir() else "other" if path.exists() else "none"
    except OSError as err:
        raise WrongRequest(f"{str(path)[:80]} cannot be read ({err.strerror}); give CORPUS another path") from err
    if kind == "none":
        raise WrongRequest(f"no such file or folder: {path}; give CORPUS a path to your narratives")
    if kind == "other":
        raise WrongRequest(f"{path} is neither a file nor a folder; give CORPUS a path to your narratives")
    return Corpus(path=path, **_columns(content))


def _columns(content: Content) -> dict[str, Any]:
    return {
        "text_column": content.text_column or None,
        "id_column": content.id_column or None,
        "separator": content.separator or None,
    }


@contextmanager
def _begun(store: Store) -> Iterator[None]:
    """The folder of a run that can be written; WrongRequest where it cannot."""
    try:
        store.out.mkdir(parents=True, exist_ok=True)
        probe = store.out / f".{os.getpid()}.tmp"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as err:
        raise WrongRequest(f"{store.out} cannot be written ({err.strerror}); choose another OUT") from err
    yield
