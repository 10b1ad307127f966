"""A run on disk (DESIGN section 3): shards, manifests, journals, and what counts as finished.

Finished means written down: tables first, the manifest last. What is damaged, torn or unknown counts as not there.
"""

import hashlib
import io
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from factory import arrow, journal
from factory.errors import WrongRequest
from factory.files import beside, flush_bytes, sha256, sync, write_atomic, writing
from factory.records import Count, Passage, Reject, Said

MANIFEST, DAMAGED, ROUNDS = "manifest.json", "damaged.json", "rounds.json"
REPLIES = "replies"
_OURS = frozenset(
    [
        "run.toml",
        "corpus.json",
        "starts.jsonl",
        "prompts",
        "lock",
        "journal",
        "shards",
        "dataset",
        "dataset.json",
        "retry.json",
        "report.html",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a finished shard holds; `units` are the accounts of its stages."""

    shard: str
    first: int  # index of its first passage in the corpus
    passages: int
    targets: tuple[str, ...]
    files: dict[str, dict[str, Any]]  # name -> sha256, size, rows
    units: dict[str, Count]
    prompts: str

    def content(self) -> str:
        """A digest of what decides the dataset: every table but the replies, which carry times."""
        parts = [f"{name} {one['sha256']}" for name, one in sorted(self.files.items()) if name != f"{REPLIES}.parquet"]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one table, each with the key of the reply that made it."""

    record: type
    rows: Sequence[Any]
    replies: Sequence[str]


class Store:
    """One run's folder. Knows files, nothing of engines or emotions."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.shards = out / "shards"
        self.journals = out / "journal"
        self.dataset = out / "dataset"

    # --- the run as a whole ---

    def strangers(self) -> list[str]:
        """What lies in the folder and is not ours; without a run.toml nothing is, but for the lock."""
        try:
            if not self.out.exists():
                return []
            if not self.out.is_dir():
                raise WrongRequest(f"{self.out} is a file; give OUT a folder")
            ours = _OURS if (self.out / "run.toml").exists() else frozenset(["lock"])
            return sorted(p.name for p in self.out.iterdir() if p.name not in ours and not p.name.startswith("."))
        except OSError as err:
            raise WrongRequest(f"{str(self.out)[:80]} cannot be read ({err.strerror}); choose another OUT") from err

    def sweep(self) -> None:
        """Remove unfinished files of a killed process; only those that carry our mark."""
        with writing(self.out):
            for folder in (self.out, *(p for p in self.shards.glob("*") if p.is_dir())):
                for path in folder.glob(".*.tmp"):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)

    def drop(self, name: str) -> None:
        """Remove a shard folder that is no part of the run any more, and its journal."""
        with writing(self.shards):
            shutil.rmtree(self.shards / name)
            self.journal_path(name).unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove everything of the run, its configuration last: killed half-way it is still a run, only emptier."""
        with writing(self.out):
            for name in ("dataset.json", "corpus.json", "starts.jsonl", "retry.json", "report.html"):
                (self.out / name).unlink(missing_ok=True)
            for folder in (self.dataset, self.shards, self.journals, self.out / "prompts"):
                shutil.rmtree(folder, ignore_errors=True)
            (self.out / "run.toml").unlink(missing_ok=True)

    def read_json(self, name: str) -> dict[str, Any] | None:
        return read_json(self.out / name)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        write_atomic(self.out / name, orjson.dumps(value, option=orjson.OPT_INDENT_2))

    # --- shards ---

    def names(self) -> list[str]:
        """Folders of opened shards by ordinal."""
        return sorted((p.name for p in self.shards.glob("*-????????????") if p.is_dir()), key=ordinal_of)

    def manifest(self, name: str) -> Manifest | None:
        """The manifest, or None where it is absent, torn, emptied or not the one that was written."""
        found = read_json(self.shards / name / MANIFEST)
        if found is None or found.pop("checksum", None) != _checksum(found):
            return None
        units = {stage: Count(**count) for stage, count in found.pop("units").items()}
        return Manifest(**(found | {"targets": tuple(found["targets"])}), units=units)

    def finished(self, name: str, targets: Iterable[str] = (), stages: Iterable[str] = ()) -> Manifest | None:
        """The manifest of a shard that is whole at a glance (presence and size) and has these targets and the tables of
        these stages, else None."""
        folder = self.shards / name
        manifest = self.manifest(name)
        if manifest is None or not set(targets) <= set(manifest.targets) or (folder / DAMAGED).exists():
            return None
        if not {f"{stage}.parquet" for stage in stages} <= manifest.files.keys():
            return None
        return manifest if not any(_differs(folder / f, one) for f, one in manifest.files.items()) else None

    def open(self, ordinal: int, passages: Sequence[Passage]) -> str:
        """Make the folder of a shard with its passages; doing it again changes nothing."""
        name = shard_name(ordinal, passages)
        folder = self.shards / name
        with writing(folder):
            for other in self.shards.glob(f"{ordinal:05d}-*"):  # the rest of a shard that was cut otherwise
                if other.name != name:
                    self.drop(other.name)
            folder.mkdir(parents=True, exist_ok=True)
            self.journals.mkdir(exist_ok=True)
            sync(self.shards)
        write_atomic(folder / "passages.parquet", _bytes(arrow.table(Passage, passages, [""] * len(passages))))
        return name

    def passages(self, name: str) -> tuple[Passage, ...]:
        """The passages of a shard; empty where they are missing, unreadable or known to be damaged."""
        table = read_table(self.shards / name / "passages.parquet")
        if table is None or "passages.parquet" in self.damaged(name):
            return ()
        return tuple(Passage(**row) for row in table.drop_columns(["reply"]).to_pylist())

    def remembered(self, name: str) -> dict[str, Said]:
        """Every reply that this shard has paid for, from its table (if it was finished once) and its journal."""
        found: dict[str, Said] = {}
        if f"{REPLIES}.parquet" not in self.damaged(name):
            table = read_table(self.shards / name / f"{REPLIES}.parquet")
            for row in table.drop_columns(["reply"]).to_pylist() if table is not None else []:
                found[row["key"]] = Said(**row)
        for said in journal.read(self.journal_path(name)):
            found.setdefault(said.key, said)
        return found

    def journal_path(self, name: str) -> Path:
        return self.journals / f"{name}.jsonl"

    def rounds(self, name: str) -> dict[str, int]:
        """How often each rejected unit of a shard is to be asked anew: 'stage unit' -> round."""
        return {k: int(v) for k, v in (read_json(self.shards / name / ROUNDS) or {}).items()}

    def retry(self, name: str, rounds: Mapping[str, int]) -> None:
        """Reopen a shard: these units are asked in a new round, everything else is read from its replies. Doing it again
        changes nothing, also when the shard has been finished with these rounds in between."""
        folder, data = self.shards / name, orjson.dumps(dict(sorted(rounds.items())))
        if self.rounds(name) != rounds:
            write_atomic(folder / ROUNDS, data)
        manifest = self.manifest(name)
        done = manifest is not None and manifest.files.get(ROUNDS, {}).get("sha256") == hashlib.sha256(data).hexdigest()
        if manifest is not None and not done:
            with writing(folder):
                (folder / MANIFEST).unlink()
                sync(folder)

    def commit(
        self,
        name: str,
        tables: Mapping[str, Rows],
        replies: Sequence[Said],
        units: Mapping[str, Count],
        *,
        first: int,
        passages: int,
        targets: Sequence[str],
        prompts: str,
    ) -> Manifest:
        """Write a shard for good: tables beside their targets, flushed, renamed; the folder flushed; the manifest last."""
        folder = self.shards / name
        whole = {stage: arrow.table(one.record, one.rows, one.replies) for stage, one in tables.items()}
        whole[REPLIES] = arrow.table(Said, replies, [""] * len(replies))
        files = {}
        with writing(folder):
            for stage, table in whole.items():
                data = _bytes(table)
                path = folder / f"{stage}.parquet"
                flush_bytes(beside(path), data)
                beside(path).replace(path)
                files[path.name] = _entry(data, table.num_rows)
            for kept in ("passages.parquet", ROUNDS):
                if (folder / kept).exists():
                    files[kept] = _entry((folder / kept).read_bytes(), passages)
            sync(folder)
        manifest = Manifest(
            shard=name,
            first=first,
            passages=passages,
            targets=tuple(targets),
            files=dict(sorted(files.items())),
            units=dict(units),
            prompts=prompts,
        )
        plain = orjson.loads(orjson.dumps(asdict(manifest)))
        write_atomic(
            folder / MANIFEST, orjson.dumps(plain | {"checksum": _checksum(plain)}, option=orjson.OPT_INDENT_2)
        )
        with writing(folder):
            (folder / DAMAGED).unlink(missing_ok=True)
            self.journal_path(name).unlink(missing_ok=True)
        return manifest

    def table(self, name: str, stage: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        return read_table(self.shards / name / f"{stage}.parquet", columns)

    # --- verify ---

    def damaged(self, name: str) -> tuple[str, ...]:
        """Files of a shard that verify found wrong and resume has not yet remade."""
        return tuple((read_json(self.shards / name / DAMAGED) or {}).get("files", ()))

    def verify(self, name: str) -> list[tuple[str, str]]:
        """Re-hash every file of a shard; marks the shard and returns (file, what is wrong with it)."""
        folder = self.shards / name
        manifest = self.manifest(name)
        if manifest is None:
            return [(MANIFEST, "is damaged")] if (folder / MANIFEST).exists() else []
        wrong = [(f, what) for f, one in manifest.files.items() if (what := _trouble(folder / f, one))]
        if wrong:
            write_atomic(folder / DAMAGED, orjson.dumps({"files": [f for f, _ in wrong]}))
        return wrong


def ordinal_of(name: str) -> int:
    """The number of a shard from its folder's name."""
    number = name.partition("-")[0]
    return int(number) if number.isdecimal() else -1


def shard_name(ordinal: int, passages: Sequence[Passage]) -> str:
    digest = hashlib.sha256()
    for passage in passages:
        digest.update(f"{passage.id}\x1f{passage.text}\x1e".encode("utf-8", "surrogatepass"))
    return f"{ordinal:05d}-{digest.hexdigest()[:12]}"


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where the file is absent, empty, torn or something else."""
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table | None:
    """A table, or None where it is absent or cannot be read."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read(columns=columns, use_threads=False)
    except (OSError, pa.ArrowException):
        return None


def rejects(store: Store, names: Iterable[str]) -> Iterator[Reject]:
    for name in names:
        table = store.table(name, "rejects")
        for row in table.drop_columns(["reply"]).to_pylist() if table is not None else []:
            yield Reject(**row)


def _bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    # Nearly every value of a shard is unique: dictionaries and statistics would be made for nothing.
    options = {"use_dictionary": False, "write_statistics": False, "compression_level": 1}
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True, **options)
    return sink.getvalue()


def _entry(data: bytes, rows: int) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "rows": rows}


def _checksum(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _differs(path: Path, entry: Mapping[str, Any]) -> bool:
    try:
        return path.stat().st_size != int(entry["size"])
    except OSError:
        return True


def _trouble(path: Path, entry: Mapping[str, Any]) -> str:
    try:
        if path.stat().st_size != entry["size"]:
            return f"has {path.stat().st_size} bytes instead of {entry['size']}"
        return "" if sha256(path) == entry["sha256"] else "has other bytes than were written"
    except FileNotFoundError:
        return "is missing"
    except OSError as err:
        return f"cannot be read ({err.strerror})"
