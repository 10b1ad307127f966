"""Small real things that many tests share: three tales of our own, an engine that counts, folders as bytes."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from factory import journal
from factory.engines.rehearsal import Rehearsal
from factory.requests import Identity, Reply, Request, key
from factory.store import Store

ROOT = Path(__file__).resolve().parent.parent

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks a hub; a name that is no folder is then refused without retries

TALES = (
    "Marta found the letter under the bread tin. Her brother Ilan watched her read it twice and said nothing, though "
    "he had known for a week that the mill would close.",
    "Old Tembo carried the goat across the river. On the far bank his granddaughter Sisi was already shouting that "
    "the water had taken the bridge and both of his boots.",
    "The nurse told Rafael that the scan was clean. Dolores, who had driven all night, sat down on the floor of the "
    "corridor and laughed until the porter brought her tea.",
    "Yusuf sold the boat on a Tuesday. His partner Anke heard it from the harbour master, and by evening she had "
    "packed the charts, the radio and the little brass bell.",
    "Priya burnt the rice again. Her uncle Dev ate two plates of it, praised the smoke, and told the neighbours that "
    "the girl would cook for ministers one day.",
    "The choir waited in the rain for Father Quill. When Bronagh climbed the wall to look, she saw his bicycle in the "
    "ditch and his lantern still burning beside it.",
)

Files = dict[str, bytes]


@dataclass
class Counting:
    """The rehearsal engine, with a list of the keys that it was asked for; `fault` may raise instead of answering."""

    delay_seconds: float = 0.0
    identity: Identity = field(default_factory=lambda: Rehearsal().identity)
    fault: Callable[[Request], None] | None = None
    keys: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._engine = Rehearsal()

    async def complete(self, request: Request) -> Reply:
        self.keys.append(key(self.identity, request))
        self.requests.append(request)
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if self.fault:
            self.fault(request)
        return await self._engine.complete(request)

    async def close(self) -> None: ...


@pytest.fixture
def counting() -> type[Counting]:
    return Counting


@pytest.fixture
def tales(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small corpus; `texts` are paragraphs, `ids` default to tale1, tale2, ..."""

    def write(
        count: int = 3, *, name: str = "tales", ids: Sequence[str] | None = None, texts: Sequence[str] | None = None
    ) -> Path:
        told = list(texts if texts is not None else TALES[:count])
        named = ids or [f"tale{n}" for n in range(1, len(told) + 1)]
        path = tmp_path / f"{name}.jsonl"
        lines = [json.dumps({"id": i, "text": t}) + "\n" for i, t in zip(named, told, strict=True)]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    return write


def folder_bytes(folder: Path) -> Files:
    """Every file below a folder, by its relative name."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def same(out: Path, wanted: Files) -> None:
    """Fails with the names of the dataset's files that differ, are missing or are too many."""
    found = folder_bytes(out / "dataset")
    assert sorted(n for n in found.keys() | wanted.keys() if found.get(n) != wanted.get(n)) == []


@pytest.fixture
def dataset() -> Callable[[Path], Files]:
    return lambda out: folder_bytes(out / "dataset")


@pytest.fixture
def whole() -> Callable[[Path], Files]:
    return folder_bytes


@pytest.fixture
def same_dataset() -> Callable[[Path, Files], None]:
    return same


@pytest.fixture
def paid() -> Callable[[Path], set[str]]:
    """Keys of all the replies that a run's folder holds, in journals and in tables."""

    def keys(out: Path) -> set[str]:
        store = Store(out)
        found: set[str] = set()
        for name in store.names():
            table = store.table(name, "replies", ["key"])
            found |= set(table["key"].to_pylist()) if table is not None else set()
        for path in (out / "journal").glob("*"):
            found |= {said.key for said in journal.read(path)}
        return found

    return keys


@pytest.fixture
def cli() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """The command line in a process of its own."""

    def run(*arguments: object, timeout: float = 60, **more: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "factory.cli", *map(str, arguments)]
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            command, capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT, **more
        )

    return run
