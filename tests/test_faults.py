"""Replies that are bad, engines that fail, and what is asked again on purpose."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory import run
from factory.errors import Stopped, Transient
from factory.records import Count
from factory.requests import Request
from factory.runner import Limits, Tally, watch
from factory.settings import Operation
from factory.store import Store, rejects

Files = dict[str, bytes]
CORPORA = Path(__file__).resolve().parent.parent / "corpora"
MIX = "malformed=0.08,truncated=0.07,wrong=0.05,refusal=0.05,error=0.05"


def accounts_hold(out: Path) -> dict[str, Count]:
    """In each shard and stage: inputs = accepted + rejected, made = kept + dropped, tables and rejects match them."""
    store, total = Store(out), dict[str, Count]()
    for name in store.names():
        manifest = store.finished(name)
        assert manifest is not None
        thrown = Counter((r.stage, r.level) for r in rejects(store, [name]))
        for stage, count in manifest.units.items():
            assert count.inputs == count.accepted + count.rejected
            assert count.made == count.kept + count.dropped
            assert (thrown[stage, "unit"], thrown[stage, "child"]) == (count.rejected, count.dropped)
            table = store.table(name, stage)
            assert table is not None
            assert table.num_rows == count.kept
            total.setdefault(stage, Count()).add(count)
    return total


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "faults", [MIX, "malformed=0.3", "truncated=0.3", "wrong=0.3", "refusal=0.3", "error=0.3", "malformed=1"]
)
def test_with_faults_the_run_ends_and_every_unit_is_accounted_for(tmp_path: Path, faults: str, workers: int) -> None:
    """Whatever goes wrong with the replies, nothing is lost from the accounts."""
    if workers == 2 and faults != MIX:
        pytest.skip("one mix is enough for several processes")
    out, corpus = tmp_path / "run", CORPORA / "family.jsonl"
    operation = Operation(faults=faults, max_rejects=1.0, shard_size=2, workers=workers)
    result = run.synth(corpus, out=out, operation=operation)
    total = accounts_hold(out)
    assert {s: (c.inputs, c.accepted) for s, c in result.tally.counts.items() if c.inputs} == {
        s: (c.inputs, c.accepted) for s, c in total.items() if c.inputs
    }
    assert (out / "dataset.json").exists()


def test_faults_do_not_depend_on_shards_or_concurrency(
    tmp_path: Path, dataset: Callable[[Path], Files], same_dataset: Callable[[Path, Files], None]
) -> None:
    """With the same replies, bad ones too, the dataset is the same however the work was divided."""
    for name, size, concurrency in (("a", 1, 64), ("b", 64, 1)):
        operation = Operation(faults=MIX, max_rejects=1.0, shard_size=size, concurrency=concurrency, workers=1)
        run.synth(CORPORA / "family.jsonl", out=tmp_path / name, operation=operation)
    same_dataset(tmp_path / "a", dataset(tmp_path / "b"))


def test_a_unit_that_fails_for_ever_costs_that_unit_only(
    tales: Callable[..., Path], tmp_path: Path, counting: Any
) -> None:
    """One passage whose engine always faults is rejected as engine_error; the other tales are all there."""

    def failing(request: Request) -> None:
        if request.unit.startswith("tale2."):
            raise Transient("503")

    out = tmp_path / "run"
    run.synth(tales(), out=out, engine=counting(fault=failing))
    thrown = [
        (r.id, r.reason) for r in rejects(Store(out), Store(out).names()) if r.level == "unit" and r.stage != "solve"
    ]
    assert thrown == [("tale2.p1", "engine_error")]
    accounts_hold(out)
    table = Store(out).table(Store(out).names()[0], "labels")
    assert table is not None
    assert set(table["source_id"].to_pylist()) == {"tale1", "tale3"}


def test_too_many_rejects_stop_the_run_and_name_the_stage_and_reason(tmp_path: Path, cli: Callable[..., Any]) -> None:
    """Over MAX_REJECTS, after fifty units, the run ends with exit 3; with a higher limit it goes on."""
    out = tmp_path / "run"
    faults = ["--faults", "refusal=0.95"]
    done = cli("synth", CORPORA, "--out", out, *faults)
    assert (done.returncode, "'actors'" in done.stderr, "refusal" in done.stderr) == (3, True, True)
    assert cli("synth", CORPORA, "--out", out, *faults, "--max-rejects", "1").returncode == 0


def test_the_reason_named_is_the_commonest_of_the_rejected_units() -> None:
    """Children that were dropped from accepted units do not count as reasons for the rejects."""
    tally = Tally()
    # 29 accepted units dropped two children each; 31 units were rejected as not_json.
    tally.counts["labels"] = Count(
        inputs=60,
        accepted=29,
        rejected=31,
        made=290,
        kept=232,
        dropped=58,
        reasons={"not_json": 31},
        drops={"no_label": 58},
    )
    with pytest.raises(Stopped, match="most as 'not_json'"):
        watch(tally, Limits())


def test_fewer_than_fifty_units_do_not_stop_a_run(tales: Callable[..., Path], tmp_path: Path) -> None:
    """A handful of bad replies at the start says nothing yet."""
    operation = Operation(faults="refusal=1", max_rejects=0.1)
    assert run.synth(tales(), out=tmp_path / "run", operation=operation).tally.counts["actors"].rejected == 3


def rejected(out: Path) -> set[tuple[str, str]]:
    """Units that a retry asks for again: all but those that the solver has judged."""
    store = Store(out)
    every = rejects(store, store.names())
    return {(r.stage, r.id) for r in every if r.level == "unit" and r.reason not in run.VERDICTS}


def test_a_retry_asks_for_the_rejected_units_only(
    tmp_path: Path, counting: Any, paid: Callable[[Path], set[str]]
) -> None:
    """What was accepted is neither asked again nor changed; what was rejected is asked anew, and the accepted grow."""
    out, corpus = tmp_path / "run", CORPORA / "family.jsonl"
    run.synth(corpus, out=out, operation=Operation(faults="malformed=0.6", max_rejects=1.0, shard_size=2, workers=1))
    failed, have, before = rejected(out), paid(out), accounts_hold(out)
    rows = {r["id"]: r for n in Store(out).names() for r in labels(out, n)}
    engine = counting()
    asked, _, _ = run.retry(out, engine=engine)
    assert asked == len(failed) > 3
    assert not set(engine.keys) & have
    first = {(r.stage, r.unit) for r in engine.requests if r.round == 1}
    assert first == failed
    # What follows from a unit that is now accepted is asked in round 0, for the first time.
    assert all(r.round in (0, 1) for r in engine.requests)
    after = accounts_hold(out)
    assert sum(c.accepted for c in after.values()) > sum(c.accepted for c in before.values())
    assert not rejected(out) & failed
    now = {r["id"]: r for n in Store(out).names() for r in labels(out, n)}
    assert {i: now.get(i) for i in rows} == rows
    assert paid(out) >= have  # what the rejects had said stays on record


def labels(out: Path, name: str) -> list[dict[str, Any]]:
    table = Store(out).table(name, "labels")
    assert table is not None
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_a_retry_that_finds_nothing_changes_nothing(
    tales: Callable[..., Path], tmp_path: Path, whole: Callable[[Path], Files]
) -> None:
    """Without rejects there is nobody to ask."""
    out = tmp_path / "run"
    run.synth(tales(), out=out)
    before = whole(out / "dataset")
    asked, still, result = run.retry(out)
    assert still == 0
    assert (asked, result.did, whole(out / "dataset") == before) == (0, False, True)


def test_a_retry_that_is_killed_and_asked_again_is_one_retry(
    tales: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
) -> None:
    """Stopped after its first shard, by resume or by the same command it ends as it would have ended alone."""
    operation = Operation(shard_size=1, faults="malformed=0.75", max_rejects=1.0, workers=1)
    corpus, real = tales(), Store.commit
    for name in ("alone", "resumed", "again"):
        run.synth(corpus, out=tmp_path / name, operation=operation)
    run.retry(tmp_path / "alone", operation=operation)
    for name in ("resumed", "again"):
        commits: list[int] = []

        def stopping(self: Store, *a: Any, commits: list[int] = commits, **more: Any) -> Any:
            commits.append(1)
            if len(commits) == 2:
                raise Stopped("killed")
            return real(self, *a, **more)

        with monkeypatch.context() as patch, pytest.raises(Stopped):
            patch.setattr(Store, "commit", stopping)
            run.retry(tmp_path / name, operation=operation)
    run.resume(tmp_path / "resumed", operation=operation)
    same_dataset(tmp_path / "resumed", dataset(tmp_path / "alone"))
    run.retry(tmp_path / "again", operation=operation)
    same_dataset(tmp_path / "again", dataset(tmp_path / "alone"))
