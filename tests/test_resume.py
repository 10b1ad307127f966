"""Stopped anywhere and started again, a run ends with the bytes of one that was left alone, and pays for nothing twice."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import factory
from factory import run
from factory.errors import Stopped, WrongRequest
from factory.requests import Identity
from factory.settings import Content, Operation
from factory.store import Store

Files = dict[str, bytes]
ROOT = Path(__file__).resolve().parent.parent
SCRIPT = Path(__file__).with_name("killable.py")
CORPORA = ROOT / "corpora"


def lines(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


def killed(tmp_path: Path, kills: int, paid: Callable[[Path], set[str]], same: Callable[[Path, Files], None]) -> None:
    """Kills a run over the bundled corpora so many times at seeded random moments, and checks all that must hold."""
    corpus = CORPORA / "family.jsonl"
    alone, out, log = tmp_path / "alone", tmp_path / "run", tmp_path / "log"
    run.synth(corpus, out=alone, operation=Operation(shard_size=2, workers=1))
    wanted = {p.relative_to(alone / "dataset").as_posix(): p.read_bytes() for p in (alone / "dataset").rglob("*.*")}
    needed = paid(alone)
    draw, done, in_flight, struck = random.Random(kills), 0, 0, 0
    have: set[str] = set()  # what was journalled at the last kill
    command = [sys.executable, str(SCRIPT), "run", str(corpus), str(out), str(log), "8", "6", "2"]
    step = max(2, len(needed) // (kills + 1))
    for _ in range(kills):
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            goal = len(lines(log)) + draw.randrange(1, step)
            end = time.monotonic() + 30
            while len(lines(log)) < goal and process.poll() is None and time.monotonic() < end:
                time.sleep(0.001)
            time.sleep(draw.random() * 0.01)
            struck += process.poll() is None
            process.kill()
        asked = lines(log)
        assert not {*asked[done:]} & have
        assert have <= paid(out)
        have = paid(out)
        in_flight += len({*asked[done:]} - have)
        done = len(asked)
    subprocess.run(command, check=True, timeout=120)
    asked = lines(log)
    assert not {*asked[done:]} & have
    same(out, wanted)
    assert {*asked} == needed
    assert len(asked) - len(needed) <= in_flight
    assert struck >= kills * 0.8


def test_a_killed_run_resumes_to_the_same_bytes_and_pays_for_nothing_twice(
    tmp_path: Path, paid: Callable[[Path], set[str]], same_dataset: Callable[[Path, Files], None]
) -> None:
    """Eight kill -9 at random moments: the same dataset, no journalled reply asked again, at most the flight repeated."""
    killed(tmp_path, 8, paid, same_dataset)


@pytest.mark.slow
def test_a_run_that_is_killed_thirty_two_times_resumes_to_the_same_bytes(
    tmp_path: Path, paid: Callable[[Path], set[str]], same_dataset: Callable[[Path, Files], None]
) -> None:
    """The same with 32 kills."""
    killed(tmp_path, 32, paid, same_dataset)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_stops_a_run_at_once_and_it_can_be_resumed(
    tmp_path: Path,
    tales: Callable[..., Path],
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
    number: signal.Signals,
    workers: int,
) -> None:
    """While replies take 3 s each: exit 130 within 5 s, a word on how to go on; resumed, the same dataset."""
    corpus, out = tales(6), tmp_path / "run"
    operation = ["--delay-ms", "3000", "--shard-size", "1", "--workers", str(workers)]
    command = [sys.executable, "-m", "factory.cli", "synth", str(corpus), "--out", str(out), *operation]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        end = time.monotonic() + 20
        while not any((out / "journal").glob("*.jsonl")) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(1)
        began = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
        took = time.monotonic() - began
    assert (process.returncode, took < 5, "resume" in said, "Traceback" in said) == (130, True, True, False)
    run.resume(out)
    alone = tmp_path / "alone"
    run.synth(corpus, out=alone)
    same_dataset(out, dataset(alone))


def test_a_signal_while_the_corpus_is_counted_ends_the_same_way(tmp_path: Path) -> None:
    """SIGTERM before the first request, while a large corpus is read: exit 130 too, and nothing is harmed."""
    corpus = tmp_path / "large.jsonl"
    text = (CORPORA / "family.jsonl").read_text(encoding="utf-8").splitlines()[0]
    with corpus.open("w", encoding="utf-8") as file:
        for n in range(60_000):
            file.write(text.replace('"family-01"', f'"f{n}"') + "\n")
    command = [sys.executable, "-m", "factory.cli", "synth", str(corpus), "--out", str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        time.sleep(2)
        assert not (tmp_path / "run" / "run.toml").exists(), "the corpus is too small to strike while it is counted"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, "resume" in said or "same command" in said) == (130, True)


def test_a_second_process_is_refused_and_harms_nothing(
    tmp_path: Path,
    tales: Callable[..., Path],
    cli: Callable[..., Any],
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
) -> None:
    """While a run goes on, every other command that would write is exit 2; after kill -9 the lock is free."""
    corpus, out, log = tales(), tmp_path / "run", tmp_path / "log"
    command = [sys.executable, str(SCRIPT), "run", str(corpus), str(out), str(log), "2000", "4", "2"]
    with subprocess.Popen(command) as process:
        while not lines(log):
            time.sleep(0.02)
        for second in (["synth", corpus, "--out", out], ["synth", corpus, "--out", out, "--fresh"], ["resume", out]):
            done = cli(*second)
            assert (done.returncode, "another process" in done.stderr) == (2, True)
        assert cli("rejects", out, "--retry").returncode == 2
        assert process.poll() is None
        process.kill()
    run.synth(corpus, out=out)
    run.synth(corpus, out=tmp_path / "alone")
    same_dataset(out, dataset(tmp_path / "alone"))


@pytest.fixture
def finished(tales: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    corpus, out = tales(), tmp_path / "run"
    run.synth(corpus, out=out, operation=Operation(shard_size=2))
    return corpus, out


def test_a_finished_run_asked_again_does_nothing(
    finished: tuple[Path, Path], counting: Any, whole: Callable[[Path], Files]
) -> None:
    """No request, no file touched, and the result says so."""
    corpus, out = finished
    before, engine = whole(out), counting()
    assert (run.synth(corpus, out=out, engine=engine).did, run.resume(out, engine=engine).did) == (False, False)
    assert (engine.keys, whole(out) == before) == ([], True)


def test_a_finished_run_says_so_in_under_two_seconds(finished: tuple[Path, Path], cli: Callable[..., Any]) -> None:
    """By the command line, starting Python included."""
    corpus, out = finished
    best = 99.0
    for _ in range(2):  # the first start may have to compile
        began = sum(os.times()[2:4])  # the processor's: the machine may be busy
        done = cli("synth", corpus, "--out", out)
        best = min(best, sum(os.times()[2:4]) - began)
        assert (done.returncode, "nothing to do" in done.stdout) == (0, True)
    assert best < 2


def changed_prompts(folder: Path) -> Path:
    shutil.copytree(ROOT / "prompts", folder)
    (folder / "labels.md").write_text((folder / "labels.md").read_text().replace("## user", "## user\nTake care."))
    return folder


CHANGES: dict[str, Callable[[Path, Any], dict[str, Any]]] = {
    "seed": lambda _, __: {"content": Content(seed=7)},
    "threshold": lambda _, __: {"content": Content(threshold=0.5)},
    "preset": lambda _, __: {"content": Content(preset="paper")},
    "prompt labels": lambda path, _: {"prompts_folder": changed_prompts(path / "prompts")},
    "model": lambda _, engine: {"engine": engine(identity=Identity(engine="rehearsal", model="other"))},
    "engine": lambda _, engine: {"engine": engine(identity=other_engine(engine().identity))},
}


def other_engine(identity: Identity) -> Identity:
    return Identity(engine="other", model=identity.model, revision=identity.revision)


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_setting_is_refused_by_name(
    finished: tuple[Path, Path], tmp_path: Path, counting: Any, whole: Callable[[Path], Files], name: str
) -> None:
    """Another value on the same OUT is a wrong request that names what differs, and changes nothing."""
    corpus, out = finished
    before = whole(out)
    with pytest.raises(WrongRequest, match=rf"other settings.*\b{name}") as error:
        run.synth(corpus, out=out, **CHANGES[name](tmp_path, counting))
    assert (error.value.exit_code, whole(out) == before) == (2, True)


def test_a_changed_corpus_is_refused(finished: tuple[Path, Path], tales: Callable[..., Path]) -> None:
    """The same path with another text in it is another corpus."""
    _, out = finished
    with pytest.raises(WrongRequest, match="corpus"):
        run.synth(tales(4), out=out)


def test_fresh_starts_anew(
    finished: tuple[Path, Path],
    tmp_path: Path,
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
) -> None:
    """With --fresh other settings are taken, and nothing of the old run is left."""
    corpus, out = finished
    run.synth(corpus, out=out, content=Content(seed=7), fresh=True)
    run.synth(corpus, out=tmp_path / "alone", content=Content(seed=7))
    same_dataset(out, dataset(tmp_path / "alone"))


def test_stages_may_be_added_and_what_was_done_is_not_asked_again(
    tales: Callable[..., Path],
    tmp_path: Path,
    counting: Any,
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
) -> None:
    """Adding a target asks only for its own stages; the dataset is that of a run which had it from the start."""
    corpus, out = tales(), tmp_path / "run"
    first, second = counting(), counting()
    run.synth(corpus, out=out, stages=("contextless",), engine=first, operation=Operation(shard_size=2))
    run.synth(corpus, out=out, stages=("contextless", "contextual"), engine=second)
    assert not set(first.keys) & set(second.keys)
    run.synth(corpus, out=tmp_path / "alone", stages=("contextless", "contextual"))
    same_dataset(out, dataset(tmp_path / "alone"))


def test_stages_may_not_be_taken_away(finished: tuple[Path, Path]) -> None:
    """A run that has made a view keeps it."""
    corpus, out = finished
    with pytest.raises(WrongRequest, match=r"STAGES.*taken away"):
        run.synth(corpus, out=out, stages=("contextless",))


def test_limit_may_grow_and_not_shrink(
    tales: Callable[..., Path],
    tmp_path: Path,
    counting: Any,
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
) -> None:
    """A larger LIMIT asks only for the new records and gives the dataset of the larger one; a smaller is refused."""
    corpus, out = tales(5), tmp_path / "run"
    first, second = counting(), counting()
    run.synth(corpus, out=out, engine=first, operation=Operation(limit=3, shard_size=2))
    run.synth(corpus, out=out, engine=second, operation=Operation(limit=5, shard_size=2))
    assert not set(first.keys) & set(second.keys)
    run.synth(corpus, out=tmp_path / "alone")
    same_dataset(out, dataset(tmp_path / "alone"))
    with pytest.raises(WrongRequest, match="LIMIT=2"):
        run.synth(corpus, out=out, operation=Operation(limit=2))


def stopped(corpus: Path, out: Path, counting: Any, after: int, prompts: Path | None = None, **operation: Any) -> Any:
    """A run whose engine goes away after so many requests."""
    from factory.errors import Unreachable

    engine = counting()

    def gone(_: object) -> None:
        if len(engine.keys) > after:
            raise Unreachable("nobody answers")

    engine.fault = gone
    with pytest.raises(Stopped):
        run.synth(corpus, out=out, engine=engine, operation=Operation(**operation), prompts_folder=prompts)
    engine.fault = None
    return engine


@pytest.mark.parametrize("size", [1, 3, 64])
@pytest.mark.parametrize("concurrency", [1, 64])
def test_shard_size_and_concurrency_may_differ_at_a_resume(
    tales: Callable[..., Path],
    tmp_path: Path,
    counting: Any,
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
    size: int,
    concurrency: int,
) -> None:
    """Going on with other shards and more requests in flight changes no byte and asks nothing twice."""
    corpus, out = tales(6), tmp_path / "run"
    engine = stopped(corpus, out, counting, 40, shard_size=2, concurrency=4)
    run.synth(corpus, out=out, engine=engine, operation=Operation(shard_size=size, concurrency=concurrency))
    run.synth(corpus, out=tmp_path / "alone")
    same_dataset(out, dataset(tmp_path / "alone"))
    asked_twice = [k for k, n in Counter(engine.keys).items() if n > 1]
    assert len(asked_twice) <= 4  # in flight when the engine went


def test_a_shard_folder_that_was_only_just_made_is_no_shard(
    tales: Callable[..., Path],
    tmp_path: Path,
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
) -> None:
    """Killed between making a shard's folder and its passages, then resumed with another SHARD_SIZE: it is not built."""
    corpus, out = tales(4), tmp_path / "run"
    run.synth(corpus, out=out, operation=Operation(limit=2, shard_size=2))
    (out / "shards" / "00001-0123456789ab").mkdir()
    run.synth(corpus, out=out, operation=Operation(shard_size=1))
    run.synth(corpus, out=tmp_path / "alone")
    same_dataset(out, dataset(tmp_path / "alone"))


def test_a_run_goes_on_without_its_corpus_as_far_as_it_can(
    tales: Callable[..., Path],
    tmp_path: Path,
    counting: Any,
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
) -> None:
    """Open shards are finished, then exit 3 says that the corpus is needed; with it back the run completes."""
    corpus, out = tales(6), tmp_path / "run"
    stopped(corpus, out, counting, 20, shard_size=1, concurrency=2)
    away = corpus.rename(corpus.with_name("away.jsonl"))
    with pytest.raises(Stopped, match=r"corpus.*put it back"):
        run.resume(out)
    store = Store(out)
    assert store.names() and all(store.finished(name) for name in store.names())
    away.rename(corpus)
    run.resume(out)
    run.synth(corpus, out=tmp_path / "alone")
    same_dataset(out, dataset(tmp_path / "alone"))


def test_resume_keeps_the_limit_even_where_the_count_is_lost(tales: Callable[..., Path], tmp_path: Path) -> None:
    """A damaged corpus.json does not turn a run over one record into one over the whole corpus."""
    corpus, out = tales(5), tmp_path / "run"
    run.synth(corpus, out=out, operation=Operation(limit=1, shard_size=1))
    (out / "corpus.json").write_bytes(b"")
    run.resume(out)
    assert len(Store(out).names()) == 1


def test_resume_refuses_other_prompts_in_the_runs_own_folder(
    tales: Callable[..., Path], tmp_path: Path, counting: Any
) -> None:
    """The templates kept with the run must be those that it was made with: replies of two prompts never mix."""
    corpus, out = tales(), tmp_path / "run"
    stopped(corpus, out, counting, 30, shard_size=1, concurrency=2)
    path = out / "prompts" / "labels.md"
    path.write_text(path.read_text().replace("## user", "## user\nTake care."))
    with pytest.raises(WrongRequest, match="labels"):
        run.resume(out)


def test_the_journal_of_another_prompt_is_not_used(tales: Callable[..., Path], tmp_path: Path, counting: Any) -> None:
    """A reply belongs to the exact words that were asked: laid under a run with another prompt it is asked anew."""
    corpus, old, new = tales(1), tmp_path / "old", tmp_path / "new"
    first = stopped(corpus, old, counting, 12, concurrency=1)
    changed = changed_prompts(tmp_path / "prompts")
    second = stopped(corpus, new, counting, 0, changed, concurrency=1)
    for journal in (old / "journal").iterdir():
        shutil.copy(journal, new / "journal" / journal.name)
    run.synth(corpus, out=new, engine=second, prompts_folder=changed)
    labels = {k for k, r in zip(first.keys, first.requests, strict=True) if r.stage == "labels"}
    assert labels and not labels & set(second.keys)
    assert sum(r.stage == "labels" for r in second.requests) > 0


@pytest.mark.parametrize("ids", [["17", "007", "7"], ["1.0", "1", "01"]])
def test_ids_made_of_digits_stay_strings_and_apart(tales: Callable[..., Path], tmp_path: Path, ids: list[str]) -> None:
    """No id is read as a number: none is changed, none falls together with another."""
    out = tmp_path / "run"
    frame = factory.synth(tales(ids=ids), out).dataset()
    encoded = {i.replace(".", "%2E") for i in ids}
    assert (set(frame["source_id"]), frame["id"].is_unique) == (encoded, True)


def test_equal_texts_keep_their_own_replies(tales: Callable[..., Path], tmp_path: Path, counting: Any) -> None:
    """Two records of one text, side by side in one batch: each unit has its own request and its own rows."""
    engine, text = counting(), "Marta found the letter. Her brother Ilan watched her read it twice and said nothing."
    run.synth(tales(texts=[text, text], ids=["a", "b"]), out=tmp_path / "run", engine=engine)
    units = Counter((r.stage, r.repair, r.unit[0]) for r in engine.requests)
    assert len(set(engine.keys)) == len(engine.keys)
    for name in Store(tmp_path / "run").names():
        table = Store(tmp_path / "run").table(name, "utterances")
        assert table is not None
        replies = {}
        for row in table.to_pylist():
            replies.setdefault(row["source_id"], set()).add(row["reply"])
        assert not replies["a"] & replies["b"]
    assert units["actors", 0, "a"] == units["actors", 0, "b"] == 1


def test_the_environment_of_a_run_is_its_folder_alone(finished: tuple[Path, Path], tmp_path: Path) -> None:
    """A run's folder can be moved, and is still finished."""
    corpus, out = finished
    moved = out.rename(tmp_path / "elsewhere")
    assert not run.synth(corpus, out=moved).did
    assert list((moved / "journal").iterdir()) == []
