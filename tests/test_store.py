"""A run on disk: what counts as finished, what verify finds, what resume makes again."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import factory
from factory import run, show
from factory.errors import FactoryError
from factory.settings import Operation
from factory.store import Store

Files = dict[str, bytes]


@pytest.fixture
def finished(tales: Callable[..., Path], tmp_path: Path) -> Path:
    """A finished run of three tales, a shard each."""
    out = tmp_path / "run"
    run.synth(tales(), out=out, operation=Operation(shard_size=1))
    return out


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(bytes(data))


def flipped(path: Path) -> None:
    flip(path, path.stat().st_size // 2)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def deleted(path: Path) -> None:
    path.unlink() if path.is_file() else shutil.rmtree(path)


HARM = [flipped, truncated, emptied, deleted]
TABLES = ["passages.parquet", "labels.parquet", "rejects.parquet", "replies.parquet", "manifest.json"]


def found(out: Path) -> tuple[str, bool]:
    lines, fine = show.verified(Store(out))
    return "\n".join(map(str, lines)), fine


def test_a_finished_run_is_found_whole(finished: Path) -> None:
    """Nothing is reported where nothing is wrong."""
    assert found(finished)[1]


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_shard_file_is_named_and_made_again(
    finished: Path,
    whole: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
    table: str,
    harm: Callable[[Path], None],
) -> None:
    """Verify names the file, resume makes the same dataset again, and then verify finds nothing."""
    before = whole(finished / "dataset")
    name = Store(finished).names()[1]
    harm(finished / "shards" / name / table)
    said, fine = found(finished)
    assert (not fine, f"shards/{name}/{table}" in said) == (True, True)
    run.resume(finished)
    same_dataset(finished, before)
    assert found(finished)[1]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_deleted_shard_folder_is_named_and_made_again(
    finished: Path, whole: Callable[[Path], Files], same_dataset: Callable[[Path, Files], None], number: int
) -> None:
    """A whole shard that has gone, first, middle or last, is missed by verify and cut from the corpus again."""
    before = whole(finished / "dataset")
    names = Store(finished).names()
    shutil.rmtree(finished / "shards" / names[number])
    fine = found(finished)[1]
    run.resume(finished, operation=Operation(shard_size=1))
    same_dataset(finished, before)
    assert (Store(finished).names(), fine) == (names, False)


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", ["dataset/README.md", "dataset/contextless/train-00000-of-00001.parquet"])
def test_a_damaged_dataset_file_is_named_and_made_again(
    finished: Path,
    whole: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
    name: str,
    harm: Callable[[Path], None],
) -> None:
    """The same holds for the files of the dataset."""
    before = whole(finished / "dataset")
    harm(finished / name)
    said, fine = found(finished)
    assert (fine, name in said) == (False, True)
    run.resume(finished)
    same_dataset(finished, before)


@pytest.mark.parametrize("content", [None, b"", b"{", b"{}", b"[]", b'{"files": 3}'])
def test_a_dataset_without_its_list_of_files_is_not_called_whole(
    finished: Path, whole: Callable[[Path], Files], same_dataset: Callable[[Path, Files], None], content: bytes | None
) -> None:
    """Without dataset.json nothing says that the dataset is whole: verify says so, resume makes it again."""
    before = whole(finished / "dataset")
    path = finished / "dataset.json"
    path.unlink() if content is None else path.write_bytes(content)
    fine = found(finished)[1]
    run.resume(finished)
    same_dataset(finished, before)
    assert not fine


@pytest.mark.parametrize("table", ["passages", "replies", "labels"])
def test_a_flipped_bit_anywhere_in_a_table_does_no_harm(
    finished: Path, whole: Callable[[Path], Files], table: str
) -> None:
    """Whichever bit is spoilt, in data, page header or footer, after verify and resume the old bytes of it are back."""
    before = whole(finished)
    name = Store(finished).names()[1]
    path = finished / "shards" / name / f"{table}.parquet"
    draw = random.Random(table)
    for at in draw.sample(range(path.stat().st_size), 8):
        flip(path, at)
        assert not found(finished)[1]
        run.resume(finished)
        now = whole(finished)
        assert {n for n in before if n.startswith("dataset/") and now.get(n) != before[n]} == set()
        # Replies that were lost are asked again, and a new reply has its own duration: the rehearsal engine's is nought.
        assert now[f"shards/{name}/{table}.parquet"] == before[f"shards/{name}/{table}.parquet"]


def test_half_of_a_manifest_is_none(finished: Path) -> None:
    """However much of it is there, a torn manifest does not make a shard finished."""
    store = Store(finished)
    name = store.names()[0]
    path = finished / "shards" / name / "manifest.json"
    data = path.read_bytes()
    for end in range(0, len(data), 97):
        path.write_bytes(data[:end])
        assert store.finished(name) is None


def test_a_manifest_with_other_numbers_is_none(finished: Path) -> None:
    """A manifest carries its own checksum: a changed figure in it is damage."""
    store = Store(finished)
    name = store.names()[0]
    path = finished / "shards" / name / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"passages": 1', b'"passages": 2'))
    assert store.finished(name) is None


def test_the_sweep_takes_our_unfinished_files_and_no_others(tmp_path: Path) -> None:
    """Only what carries our mark goes, from the run's folder and its shards."""
    store = Store(tmp_path)
    shard = store.shards / "00000-0123456789ab"
    shard.mkdir(parents=True)
    for path in (tmp_path / ".dataset.tmp" / "x", shard / ".a.parquet.tmp", tmp_path / ".mine", shard / "b.tmp"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    store.sweep()
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [".mine", "b.tmp"]


def test_building_an_unfinished_run_is_refused_even_without_its_count(finished: Path) -> None:
    """`build` does not take a part for the whole where corpus.json is damaged."""
    shutil.rmtree(finished / "shards" / Store(finished).names()[1])
    (finished / "corpus.json").write_bytes(b"")
    (finished / "dataset.json").unlink()
    with pytest.raises(FactoryError):
        run.rebuild(finished)


def test_verify_of_what_is_no_run_is_refused(tmp_path: Path) -> None:
    """A folder that holds no run is a wrong request, not a fine run."""
    with pytest.raises(FactoryError, match="is no run"):
        factory.load(tmp_path)
