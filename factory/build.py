"""From finished shards to the dataset: checks that need the whole run, splits by source, Parquet files, the card.

The dataset is a function of (corpus, content settings, replies, round): rows in canonical order, fixed rows a file and
a row group, no times. It is made beside its place and renamed, so a killed build leaves the old one or none.
"""

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from factory import card, card_items, sift, views
from factory.duplicates import Finder, Twin
from factory.files import sha256, sync, write_atomic, writing
from factory.prompts import Book
from factory.records import Count
from factory.requests import Identity, draw
from factory.settings import Content
from factory.stages import Pipeline
from factory.store import Manifest, Store

ROWS_PER_FILE, ROWS_PER_GROUP = 100_000, 4_000
SPLITS = ("train", "validation", "test")
T = TypeVar("T")
FORMAT = 5  # raised when the same shards are to give another dataset


def build(
    store: Store,
    content: Content,
    identity: Identity,
    steps: Pipeline,
    book: Book,
    say: Callable[[str], None],
    screen: sift.Screen | None = None,
) -> None:
    """Make dataset/ from all shards, unless it is there and made from the same ones.

    `screen` holds the scenarios of a benchmark that no item may repeat; with others the dataset is made anew.
    """
    if is_current(store, _digest_of(screen)):
        return
    names = store.names()
    origin = _origin(identity, steps, book)
    say("building the dataset: looking for texts that stand twice")
    twins = _twins(store, names)
    splits = _Splits(store, names, content.seed)
    verdicts = {view: _judged(store, names, view, screen, splits) for view in views.ITEMS}
    say("building the dataset: writing the views")
    partial = store.out / ".dataset.tmp"
    with writing(store.dataset):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    writer = _Writer(partial)
    measured = card.Measured(distinct=twins.distinct(), screen=screen)
    for view, verdict in verdicts.items():
        measured.items[view].judged(verdict)
    chosen = _Chosen(origin, twins, verdicts, content.sft_rationale)
    for shard in _ahead(lambda name: _shard(store, name), names):
        parts, dropped = chosen.of(shard)
        writer.drop(dropped)
        for view, table in parts.items():
            for split, part in splits.of(table):
                writer.add(view, split, part)
                measured.count(view, split, part)
        measured.see(shard, parts)
        measured.reasons.update(r["reason"] for r in dropped)
    writer.close()
    digests = {view: _digest(partial / view) for view in views.SCHEMAS}
    text = card.write(measured, _units(store, steps), content, identity, book, steps, digests)
    write_atomic(partial / "README.md", text.encode())
    tilted = [card_items.unlevel(view, one) for view, one in verdicts.items() if one.tilts]
    _put(store, partial, _digest_of(screen), tilted)
    if screen is not None:
        _say_screened(screen, measured.reasons["contaminated"], say)


def _say_screened(screen: sift.Screen, gone: int, say: Callable[[str], None]) -> None:
    """Which files a benchmark was read from: a folder that holds one of the two is no error, and easily overlooked."""
    say(f"items were compared with {screen.told()}: {gone:,} repeated one and were left out")
    if missing := screen.missing():
        say(f"{missing}; give DECONTAMINATE the folder that holds {' and '.join(sift.FILES)}")


def _units(store: Store, steps: Pipeline) -> dict[str, Count]:
    """The accounts of the run by stage, in the order of the pipeline."""
    units: dict[str, Count] = {}
    for manifest in _manifests(store):
        for stage, count in manifest.units.items():
            units.setdefault(stage, Count()).add(count)
    order = {step.stage.name: n for n, step in enumerate(steps)}
    return dict(sorted(units.items(), key=lambda u: order.get(u[0], len(order))))


def _digest(folder: Path) -> str:
    """One hash over the files of a view: in the card's YAML it keeps `datasets` from showing another run's cached rows."""
    from hashlib import sha256 as digest

    return digest("".join(f"{path.name} {sha256(path)}\n" for path in sorted(folder.iterdir())).encode()).hexdigest()


def _digest_of(screen: sift.Screen | None) -> str:
    return screen.digest if screen is not None else ""


def is_current(store: Store, screened: str | None = None) -> bool:
    """Whether dataset/ is there, of the right sizes, and made from the shards as they are; with `screened` (the digest of
    a screen, '' for none) also whether it was made with that one."""
    found = _mark(store)
    if found is None or found["inputs"] != _inputs(store):
        return False
    if screened is not None and found.get("screen", "") != screened:
        return False
    return all(_size(store.dataset / name) == one["size"] for name, one in found["files"].items())


def _mark(store: Store) -> dict[str, Any] | None:
    """dataset.json as it was written, or None where it is absent, torn or something else."""
    found = store.read_json("dataset.json")
    try:
        fine = found is not None and isinstance(found["inputs"], str) and len(found["shards"]) >= 0
        fine = fine and found is not None and all(one["size"] >= 0 and one["sha256"] for one in found["files"].values())
    except (KeyError, TypeError, AttributeError):
        return None
    return found if fine else None


def verify(store: Store) -> list[tuple[str, str]]:
    """Files of the dataset that are not as they were written; a bad dataset is unmarked, so that resume makes it anew."""
    found = _mark(store)
    if found is None:
        whole = sum(m.passages for m in _manifests(store)) >= (store.read_json("corpus.json") or {}).get("passages", 1)
        return [("dataset.json", "is missing or damaged")] if whole or (store.out / "dataset.json").exists() else []
    present = {m.shard for m in _manifests(store)}
    wrong = [
        (f"shards/{name}/manifest.json", "is missing or damaged") for name in found["shards"] if name not in present
    ]
    for name, one in found["files"].items():
        path = store.dataset / name
        if not path.exists():
            wrong.append((f"dataset/{name}", "is missing"))
        elif sha256(path) != one["sha256"]:
            wrong.append((f"dataset/{name}", "has other bytes than were written"))
    if any(path.startswith("dataset/") for path, _ in wrong):
        (store.out / "dataset.json").unlink()
    return wrong


def notes(store: Store) -> tuple[str, ...]:
    """What a person should know of the dataset as it was built: kinds of items that are not level."""
    return tuple((_mark(store) or {}).get("notes", ()))


def _put(store: Store, partial: Path, screened: str, told: Sequence[str]) -> None:
    """Swap the folders; dataset.json, written last, says that it is whole."""
    files = {
        path.relative_to(partial).as_posix(): {"sha256": sha256(path), "size": path.stat().st_size}
        for path in sorted(partial.rglob("*"))
        if path.is_file()
    }
    old = store.out / ".dataset.old.tmp"
    with writing(store.dataset):
        for path in sorted(partial.rglob("*")):
            sync(path)
        (store.out / "dataset.json").unlink(missing_ok=True)
        shutil.rmtree(old, ignore_errors=True)
        if store.dataset.exists():
            store.dataset.rename(old)
        partial.rename(store.dataset)
        sync(store.out)
        shutil.rmtree(old, ignore_errors=True)
    mark = {"inputs": _inputs(store), "shards": store.names(), "files": files}
    more = {"screen": screened, "notes": list(told)}
    store.write_json("dataset.json", mark | {name: value for name, value in more.items() if value})


def _inputs(store: Store) -> str:
    """What the dataset is made from: the format of this file and the content of every shard."""
    from hashlib import sha256 as digest

    parts = [str(FORMAT), *(m.content() for m in _manifests(store))]
    return digest("\n".join(parts).encode()).hexdigest()


def _manifests(store: Store) -> Iterator[Manifest]:
    for name in store.names():
        manifest = store.manifest(name)
        if manifest is not None:
            yield manifest


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _origin(identity: Identity, steps: Pipeline, book: Book) -> views.Origin:
    """Every row's provenance: the engine, and a hash over the templates of all the stages that its kind went through."""
    present = {step.stage.name: [agent.prompt for agent in step.stage.agents] for step in steps}

    def hashed(*ends: str, more: Sequence[str] = ()) -> str:
        line = [stage for end in ends if end in present for stage in steps.lineage(end)]
        return book.hash([*(prompt for stage in dict.fromkeys(line) for prompt in present[stage]), *more])

    def item(view: str) -> str:
        """The solver has a template for each kind of item."""
        return hashed(view, more=[p for p in present.get("solve", ()) if p.endswith(view.removeprefix("mcq"))])

    return views.Origin(
        engine=identity.engine,
        model=" ".join(filter(None, (identity.model, identity.revision))),
        prompt_hash={
            "original": hashed("labels", "reading", "appraisal"),
            "flipped": hashed("flip_appraisal", "flip_reading"),
            "contextual": hashed("labels", "reading", "appraisal", "rewriting"),
            "dialogue": hashed("dialogue"),
            "mcq_eu": item("mcq_eu"),
            "mcq_ea": item("mcq_ea"),
        },
    )


_STAGES = ("actors", "utterances", "labels", "reading", "appraisal", "context", "cleaning", "rewriting")
TALKS = ("background", "dialogue", "mcq_eu", "mcq_ea", "solve")
_FLIPS = ("flip", "flip_labels", "flip_appraisal", "flip_reading")


def _shard(store: Store, name: str) -> views.Shard:
    tables = {stage: store.table(name, stage) for stage in ("passages", *_STAGES, *_FLIPS, *TALKS)}
    return views.Shard({stage: table for stage, table in tables.items() if table is not None})


def _spoken(store: Store, name: str) -> pa.Table:
    """Only what the search for duplicates needs, read from as few columns."""
    text, ident = ("id", "passage_id", "text"), ("id",)
    wanted = {"passages": ident, "utterances": text, "labels": ident, "flip": text, "flip_appraisal": ident}
    tables = {stage: store.table(name, stage, columns) for stage, columns in wanted.items()}
    return views.spoken(views.Shard({stage: table for stage, table in tables.items() if table is not None}))


def _posed(store: Store, name: str, view: str) -> pa.Table:
    """Only what the items of a shard are judged by."""
    columns = [*dict.fromkeys((*sift.COLUMNS[view], "passage_id"))]
    wanted = {"passages": ("id",), view: columns, "solve": ("id",)}
    tables = {stage: store.table(name, stage, only) for stage, only in wanted.items()}
    shard = views.Shard({stage: table for stage, table in tables.items() if table is not None})
    return views.posed(shard, view, sift.COLUMNS[view])


def _judged(store: Store, names: list[str], view: str, screen: sift.Screen | None, splits: "_Splits") -> sift.Verdict:
    """Which items of a view go, each with its twin by name where it has one."""
    with writing(store.out):
        posed = _ahead(lambda name: _posed(store, name, view), names)
        verdict = sift.judge(view, posed, store.out, screen, splits.split)
    firsts = {one.first for one in verdict.left.values() if one.first >= 0}
    every = chain.from_iterable(_posed(store, name, view)["id"].to_pylist() for name in names) if firsts else ()
    return verdict.named({row: ident for row, ident in enumerate(every) if row in firsts})


def _left_out(view: str, rows: pa.Table, start: int, verdict: sift.Verdict) -> tuple[list[bool], list[dict[str, str]]]:
    """Which items stay, and an entry for each that goes."""
    keep, dropped = [], []
    columns = zip(*(rows[c].to_pylist() for c in ("id", "source_id", "passage_id")), strict=True)
    for number, (ident, source, passage) in enumerate(columns, start):
        one = verdict.left.get(number)
        keep.append(one is None)
        if one is not None:
            entry = {"id": ident, "source_id": source, "passage_id": passage}
            dropped.append(entry | {"view": view, "reason": one.reason, "twin": one.twin})
    return keep, dropped


@dataclass(frozen=True, slots=True)
class _Twins:
    """Rows (by their number over the run) that repeat an earlier one, each with the id of that one."""

    dropped: Mapping[int, tuple[Twin, str]]
    rows: int

    def distinct(self) -> float:
        """Share of the rows whose text does not stand earlier, case and marks aside."""
        return 1 - sum(twin.reason == "duplicate" for twin, _ in self.dropped.values()) / max(1, self.rows)


def _twins(store: Store, names: list[str]) -> _Twins:
    with writing(store.out), Finder(store.out) as finder:
        for table in _ahead(lambda name: _spoken(store, name), names):
            finder.add(table["utterance"].to_pylist())
        twins = finder.twins()
    firsts = {twin.first for twin in twins.values()}
    every = chain.from_iterable(_spoken(store, name)["id"].to_pylist() for name in names) if firsts else ()
    ids = {row: ident for row, ident in enumerate(every) if row in firsts}
    return _Twins({row: (twin, ids[twin.first]) for row, twin in twins.items()}, len(finder))


def _ahead(read: Callable[[str], T], names: Iterable[str]) -> Iterator[T]:
    """What is read of each shard, the next one read in a thread while the last is worked on."""
    with ThreadPoolExecutor(1) as reader:
        waiting: deque[Future[T]] = deque()
        for name in names:
            waiting.append(reader.submit(read, name))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _sifted(
    rows: pa.Table, start: int, found: Mapping[int, tuple[Twin, str]]
) -> tuple[list[bool], list[dict[str, str]]]:
    """Which rows stay, and an entry for each that goes; a flip goes with its original."""
    gone: dict[str, str] = {}
    keep, dropped = [], []
    columns = zip(*(rows[c].to_pylist() for c in ("id", "source_id", "passage_id", "pair_id")), strict=True)
    for number, (ident, source, passage, pair) in enumerate(columns, start):
        twin = found.get(number)
        reason, first = (twin[0].reason, twin[1]) if twin else ("original_dropped", pair) if pair in gone else ("", "")
        keep.append(not reason)
        if reason:
            gone[ident] = reason
            entry = {"id": ident, "source_id": source, "passage_id": passage}
            dropped.append(entry | {"view": "contextless", "reason": reason, "twin": first})
    return keep, dropped


class _Chosen:
    """What of each shard goes into which view, the shards taken in order."""

    def __init__(
        self, origin: views.Origin, twins: _Twins, verdicts: Mapping[str, sift.Verdict], rationale: bool
    ) -> None:
        self._origin, self._twins, self._verdicts, self._rationale = origin, twins, verdicts, rationale
        self._past = dict.fromkeys(("contextless", *verdicts), 0)  # rows of the shards before

    def of(self, shard: views.Shard) -> tuple[dict[str, pa.Table], list[dict[str, str]]]:
        """The rows of every view, and what was dropped, in canonical order."""
        parts, dropped = self._spoken(shard)
        parts["dialogues"] = views.dialogues(shard, self._origin)
        talks = [views.sft(parts["contextless"])]
        for view, verdict in self._verdicts.items():
            rows = views.items(shard, view, self._origin)
            keep, gone = _left_out(view, rows, self._past[view], verdict)
            self._past[view] += rows.num_rows
            parts[view] = rows.filter(pa.array(keep, pa.bool_()))
            talks.append(views.sft_items(view, parts[view], self._rationale))
            dropped += gone
        parts["sft"] = views.together(shard, talks)
        rank = {p: i for i, p in enumerate(shard.tables["passages"]["id"].to_pylist())}
        return parts, sorted(dropped, key=lambda d: (rank[d["passage_id"]], d["id"], d["view"]))

    def _spoken(self, shard: views.Shard) -> tuple[dict[str, pa.Table], list[dict[str, str]]]:
        """Utterances, and those of them that have a context."""
        rows = views.contextless(shard, self._origin)
        keep, dropped = _sifted(rows, self._past["contextless"], self._twins.dropped)
        self._past["contextless"] += rows.num_rows
        rows = rows.filter(pa.array(keep, pa.bool_()))
        pairs, incomplete = views.contextual(
            shard, rows.filter(pc.equal(rows["kind"], "original")), self._origin.prompt_hash["contextual"]
        )
        dropped += [_drop(one, shard, "contextual", "pair_incomplete", "") for one in incomplete]
        return {"contextless": rows, "contextual": pairs}, dropped


def _drop(ident: str, shard: views.Shard, view: str, reason: str, twin: str) -> dict[str, str]:
    spoken = shard.tables["utterances"]
    at = spoken["id"].to_pylist().index(ident)
    return {
        "id": ident,
        "source_id": spoken["source_id"][at].as_py(),
        "passage_id": spoken["passage_id"][at].as_py(),
        "view": view,
        "reason": reason,
        "twin": twin,
    }


class _Splits:
    """80/10/10 by a hash of (source id, seed); sources of equal text take the split of the first of them."""

    def __init__(self, store: Store, names: list[str], seed: int) -> None:
        self._seed = seed
        self._first: dict[str, str] = {}  # source id -> the first source of the same text, where there is one
        hashes = [np.empty(0, np.uint64)]
        for _, texts in _sources(store, names):
            hashes.append(np.array([int(text, 16) for text in texts], np.uint64))
        values, counts = np.unique(np.concatenate(hashes), return_counts=True)
        twice = set(values[counts > 1].tolist())
        seen: dict[str, str] = {}
        for sources, texts in _sources(store, names) if twice else ():
            for source, text in zip(sources, texts, strict=True):
                if int(text, 16) in twice and (first := seen.setdefault(text, source)) != source:
                    self._first[source] = first

    def of(self, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        sources = table["source_id"].to_pylist()
        known = {source: self.split(source) for source in set(sources)}
        which = pa.array([known[source] for source in sources], pa.string())
        for split in SPLITS:
            part = table.filter(pc.equal(which, split))
            if part.num_rows:
                yield split, part

    def split(self, source: str) -> str:
        at = draw("split", self._first.get(source, source), self._seed)
        return "train" if at < 0.8 else "validation" if at < 0.9 else "test"


def _sources(store: Store, names: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Source ids and text hashes, shard by shard, each source once."""
    last = ""
    for name in names:
        table = store.table(name, "passages", ["source_id", "text_hash"])
        assert table is not None  # a finished shard has its passages
        ids, texts = [], []
        for source, text in zip(table["source_id"].to_pylist(), table["text_hash"].to_pylist(), strict=True):
            if source != last:
                ids.append(source)
                texts.append(text)
            last = source
        yield ids, texts


@dataclass
class _Part:
    """One split of one view: rows waiting for a full group, and the files written so far."""

    folder: Path
    split: str
    shape: pa.Schema
    waiting: list[pa.Table] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    writer: pq.ParquetWriter | None = None
    in_file: int = 0

    def add(self, table: pa.Table) -> None:
        self.waiting.append(table)
        while sum(t.num_rows for t in self.waiting) >= ROWS_PER_GROUP:
            whole = pa.concat_tables(self.waiting)
            self._group(whole.slice(0, ROWS_PER_GROUP))
            self.waiting = [whole.slice(ROWS_PER_GROUP)]

    def _group(self, rows: pa.Table) -> None:
        if self.writer is None:
            self.files.append(self.folder / f"{self.split}-{len(self.files):05d}.parquet")
            self.writer = pq.ParquetWriter(self.files[-1], self.shape, compression="zstd", write_page_checksum=True)
        # Copied, so that the bytes do not depend on how the rows were sliced before.
        self.writer.write_table(rows.take(pa.array(range(rows.num_rows), pa.int64())).combine_chunks())
        self.in_file += rows.num_rows
        if self.in_file >= ROWS_PER_FILE:
            self._end()

    def _end(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer, self.in_file = None, 0

    def close(self) -> None:
        rest = pa.concat_tables(self.waiting) if self.waiting else self.shape.empty_table()
        if rest.num_rows or not self.files:
            self._group(rest)
        self._end()
        for path in self.files:
            path.rename(path.with_name(f"{path.stem}-of-{len(self.files):05d}.parquet"))


class _Writer:
    """All views and splits at once, in canonical order; all three split files of every view always exist.

    Encoding is done in a thread, one piece behind: compression lets other work go on beside it.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._parts = {}
        for view, shape in views.SCHEMAS.items():
            with writing(out):
                (out / view).mkdir()
            for split in SPLITS:
                self._parts[view, split] = _Part(out / view, split, shape)
        self._dropped = pq.ParquetWriter(out / "dropped.parquet", views.DROPPED, compression="zstd")
        self._waiting_drops: list[dict[str, str]] = []
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()

    def add(self, view: str, split: str, rows: pa.Table) -> None:
        self._waiting.append(self._thread.submit(self._parts[view, split].add, rows))
        while len(self._waiting) > _BEHIND:
            self._wait()

    def _wait(self) -> None:
        with writing(self._out):
            self._waiting.popleft().result()

    def drop(self, rows: list[dict[str, str]]) -> None:
        self._waiting_drops += rows
        while len(self._waiting_drops) >= ROWS_PER_GROUP:
            self._write_drops()

    def _write_drops(self) -> None:
        some, self._waiting_drops = self._waiting_drops[:ROWS_PER_GROUP], self._waiting_drops[ROWS_PER_GROUP:]
        with writing(self._out):
            self._dropped.write_table(pa.Table.from_pylist(some, schema=views.DROPPED))

    def close(self) -> None:
        while self._waiting:
            self._wait()
        self._thread.shutdown()
        with writing(self._out):
            for part in self._parts.values():
                part.close()
            self._write_drops()
            self._dropped.close()


_BEHIND = 18  # one shard's views and splits
