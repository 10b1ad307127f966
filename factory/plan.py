"""Which passages a run is about, and which shards they lie in: opened ones first, then new ones cut from the corpus."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from factory.corpus import Corpus, Skipped, cut
from factory.errors import Stopped
from factory.records import Passage
from factory.runner import Tally, Work
from factory.settings import Content
from factory.store import Store, ordinal_of
from factory.text import normal


def passages(corpus: Corpus, content: Content, limit: int) -> Iterator[Passage]:
    """Every passage of the first `limit` good records (0: all), numbered over the whole corpus."""
    index = 0
    good = (record for record in corpus.records() if not isinstance(record, Skipped))
    for record in islice(good, limit or None):
        digest = _digest(record.text)
        for number, text in enumerate(cut(record.text, content.passage_words), 1):
            yield Passage(
                id=f"{record.id}.p{number}",
                source_id=record.id,
                index=index,
                text=text,
                text_hash=digest,
                where=record.where,
            )
            index += 1


_LONG = 1_000_000  # characters from which a text's words are not held all at once


def _digest(text: str) -> str:
    """The same for texts that differ in case, marks and spacing only (long ones: to the letter)."""
    digest = hashlib.sha256()
    if len(text) <= _LONG:
        digest.update(normal(text).encode("utf-8", "surrogatepass"))
    for start in range(0, len(text), _LONG) if len(text) > _LONG else ():
        digest.update(text[start : start + _LONG].encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a shard lies in the corpus: its first passage and how many."""

    name: str
    first: int
    count: int


def extents(store: Store) -> list[Extent]:
    """The opened shards whose place in the corpus is known, from their manifests or their passages."""
    found = []
    for name in store.names():
        manifest = store.manifest(name)
        if manifest is not None:
            found.append(Extent(name, manifest.first, manifest.passages))
        elif some := store.passages(name):
            found.append(Extent(name, some[0].index, len(some)))
    return found


@dataclass
class Shards:
    """Walks over all shards of a run in corpus order and yields those with work to do.

    `corpus` is None where it has gone: opened shards are still worked off, and `missing` says what was left out.
    A shard folder that was deleted, or whose passages are damaged, is a gap, and is cut again from the corpus.
    """

    store: Store
    corpus: Corpus | None
    content: Content
    tally: Tally
    targets: Sequence[str]
    stages: Sequence[str]  # whose tables a finished shard has
    total: int  # passages of the whole run
    size: int
    limit: int
    missing: int = 0

    def __iter__(self) -> Iterator[Work]:
        fresh = passages(self.corpus, self.content, self.limit) if self.corpus else None
        at, ordinal, taken = 0, 0, 0
        for extent in extents(self.store):
            known = ordinal_of(extent.name)
            while at < extent.first:
                holes = max(1, known - ordinal)
                count = -(-(extent.first - at) // holes)
                yield from self._cut(fresh, ordinal, at, count, at - taken)
                taken = at = at + count
                ordinal += 1
            yield from self._opened(extent)
            at, ordinal = extent.first + extent.count, known + 1
        while at < self.total:
            count = min(self.size, self.total - at)
            yield from self._cut(fresh, ordinal, at, count, at - taken)
            taken = at = at + count
            ordinal += 1

    def _opened(self, extent: Extent) -> Iterator[Work]:
        done = self.store.finished(extent.name, self.targets, self.stages)
        if done is not None:
            self.tally.add(done.units)
            self.tally.shards_found += 1
            self.tally.passages_found += done.passages
            return
        some = self.store.passages(extent.name)
        if some:
            yield Work.opened(self.store, extent.name, some)
            return
        fresh = passages(self.corpus, self.content, self.limit) if self.corpus else None
        yield from self._cut(fresh, ordinal_of(extent.name), extent.first, extent.count, extent.first)

    def _cut(self, fresh: Iterator[Passage] | None, ordinal: int, first: int, count: int, skip: int) -> Iterator[Work]:
        if fresh is None:
            self.missing += count
            return
        some = tuple(islice(fresh, skip, skip + count))
        if len(some) != count or some[0].index != first:
            raise Stopped(
                f"the corpus ends before passage {first + count}; put back the corpus that this run began with"
            )
        yield Work.opened(self.store, self.store.open(ordinal, some), some)
