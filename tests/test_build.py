"""Facts about the dataset that `build` makes: splits, files, duplicates, the card, and the same bytes every time."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import factory
from factory import build, views
from factory import run as running
from factory.api import Run
from factory.engines.rehearsal import Rehearsal
from factory.requests import Identity, Reply, Request
from factory.stages.utterances import numbered
from factory.store import Store
from factory.taxonomy import EMOTIONS, LABELS

CORPORA = Path(__file__).resolve().parent.parent / "corpora"
SPLITS = ("train", "validation", "test")
VIEWS = tuple(views.SCHEMAS)
FAULTS = "malformed=0.1,wrong=0.15,truncated=0.1"
TALE = (
    "Nadia carried the brass kettle across the yard to Omar. Omar had waited at the gate since noon with the broken cart. "
    "Nadia set the kettle down and looked at the wheel. Omar asked her to hold the lantern while he hammered the rim."
)
OTHER = (
    "Bronagh climbed the wall to look for Father Quill. His bicycle lay in the ditch and his lantern burnt beside it. "
    "Father Quill had walked to the mill, where the choir was waiting for him in the rain with wet song books."
)


def _corpus(folder: Path, texts: dict[str, str]) -> Path:
    path = folder / "tales.jsonl"
    path.write_text("".join(json.dumps({"id": ident, "text": text}) + "\n" for ident, text in texts.items()))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("build")


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """Thirty narratives, a third of the answers spoilt, so that something is thrown away everywhere."""
    return factory.synth(CORPORA, folder / "run", limit=30, faults=FAULTS)


@pytest.fixture(scope="module")
def bare(folder: Path) -> Run:
    """Only what the first target needs."""
    return factory.synth(CORPORA, folder / "bare", limit=12, stages=["contextless"])


@pytest.fixture(scope="module")
def single(folder: Path) -> Run:
    """One source record: two of the three splits are empty."""
    return factory.synth(_corpus(folder, {"only": TALE}), folder / "single")


def _bytes(run: Run) -> dict[str, bytes]:
    dataset = run.out / "dataset"
    return {p.relative_to(dataset).as_posix(): p.read_bytes() for p in sorted(dataset.rglob("*")) if p.is_file()}


def _table(run: Run, view: str, split: str) -> pa.Table:
    files = sorted((run.out / "dataset" / view).glob(f"{split}-*.parquet"))
    return pa.concat_tables([pq.read_table(path) for path in files])


def _all(run: Run, view: str) -> pa.Table:
    return pa.concat_tables([_table(run, view, split) for split in SPLITS])


def _dropped(run: Run) -> list[dict[str, str]]:
    return pq.read_table(run.out / "dataset" / "dropped.parquet").to_pylist()  # type: ignore[no-any-return]


# Same bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", [{"shard_size": 3}, {"concurrency": 1}, {"shard_size": 3, "workers": 2}, {"shard_size": 1, "workers": 1}]
)
def test_how_a_run_is_driven_leaves_no_trace_in_the_dataset(run: Run, tmp_path: Path, how: dict[str, int]) -> None:
    """Shard size, concurrency and processes: every file under dataset/ is the same, byte for byte."""
    other = _bytes(factory.synth(CORPORA, tmp_path / "run", limit=30, faults=FAULTS, **how))
    wanted = _bytes(run)
    assert [name for name in wanted.keys() | other.keys() if wanted.get(name) != other.get(name)] == []


def test_building_again_gives_the_same_bytes(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also much later and in another place: no time and no path stands in a file."""
    shutil.copytree(run.out, tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "dataset")
    monkeypatch.setattr("time.time", lambda: 4e9)
    running.rebuild(tmp_path / "moved")
    assert _bytes(factory.load(tmp_path / "moved")) == _bytes(run)


def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "ROWS_PER_GROUP", 20)
    monkeypatch.setattr(build, "ROWS_PER_FILE", 100)


def test_row_groups_and_files_do_not_follow_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fixed rows a group and a file, however the rows came in."""
    _small_files(monkeypatch)
    made = [factory.synth(CORPORA, tmp_path / f"{n}", limit=12, shard_size=n, workers=1) for n in (2, 5, 64)]
    assert _bytes(made[0]) == _bytes(made[1]) == _bytes(made[2])
    files = sorted((made[0].out / "dataset" / "contextless").glob("train-*"))
    assert len(files) > 2 and [path.name for path in files] == [
        f"train-{n:05d}-of-{len(files):05d}.parquet" for n in range(len(files))
    ]
    groups = [[group.num_rows for group in _groups(path)] for path in files]
    assert groups[:-1] == [[20] * 5] * (len(files) - 1) and all(rows == 20 for rows in groups[-1][:-1])


def _groups(path: Path) -> Iterator[pq.RowGroupMetaData]:
    found = pq.read_metadata(path)
    return (found.row_group(n) for n in range(found.num_row_groups))


def test_a_finished_dataset_is_not_made_again(run: Run) -> None:
    """Asked for again, not a file is touched."""
    before = {path: path.stat().st_mtime_ns for path in run.out.rglob("*") if path.is_file()}
    running.rebuild(run.out)
    assert {path: path.stat().st_mtime_ns for path in run.out.rglob("*") if path.is_file()} == before


def test_a_dataset_with_a_missing_file_is_made_again(run: Run, tmp_path: Path) -> None:
    """As it was."""
    shutil.copytree(run.out, tmp_path / "run")
    (tmp_path / "run" / "dataset" / "dropped.parquet").unlink()
    running.rebuild(tmp_path / "run")
    assert _bytes(factory.load(tmp_path / "run")) == _bytes(run)


# Files and columns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_all_three_splits_of_every_view_always_exist(run: Run, bare: Run, single: Run, view: str) -> None:
    """With one source, with few targets: files with all columns and perhaps no row."""
    for one in (run, bare, single):
        for split in SPLITS:
            assert _table(one, view, split).schema.equals(views.SCHEMAS[view])


def test_one_source_leaves_two_splits_empty(single: Run) -> None:
    """Its rows are all in one."""
    rows = [_table(single, "contextless", split).num_rows for split in SPLITS]
    assert sorted(rows)[:2] == [0, 0] and sum(rows) > 0


def test_a_run_of_one_target_has_typed_nulls(bare: Run) -> None:
    """Columns without a value are there; views without a row too."""
    rows = _all(bare, "contextless")
    empty = [
        "valence",
        "arousal",
        "dominance",
        "goal_attainment",
        "controllability",
        "certainty",
        "fairness",
        "rationale",
    ]
    assert rows.num_rows and all(rows[name].null_count == rows.num_rows for name in empty)
    assert _all(bare, "contextual").num_rows == _all(bare, "sft").num_rows == 0


@pytest.mark.parametrize("view", VIEWS)
def test_files_of_runs_with_other_targets_concatenate(run: Run, bare: Run, view: str) -> None:
    """Without any promotion of types."""
    both = pa.concat_tables([_all(run, view), _all(bare, view)], promote_options="none")
    assert both.num_rows == _all(run, view).num_rows + _all(bare, view).num_rows


@pytest.mark.parametrize("view", VIEWS)
def test_pandas_reads_every_file(run: Run, single: Run, view: str) -> None:
    """One by one, empty ones too."""
    for one in (run, single):
        for split in SPLITS:
            (path,) = (one.out / "dataset" / view).glob(f"{split}-*.parquet")
            assert list(pd.read_parquet(path).columns) == views.SCHEMAS[view].names


_LOAD = """
import json, sys
from datasets import concatenate_datasets, get_dataset_config_names, load_dataset
found = {}
for folder in sys.argv[1:]:
    for view in get_dataset_config_names(folder):
        loaded = load_dataset(folder, view)
        for split, rows in loaded.items():
            found[f"{folder} {view} {split}"] = [rows.num_rows, rows.features.arrow_schema.remove_metadata().to_string()]
        assert concatenate_datasets(list(loaded.values())).num_rows == sum(one.num_rows for one in loaded.values())
    default, named = load_dataset(folder), load_dataset(folder, "contextless")
    assert {k: v.num_rows for k, v in default.items()} == {k: v.num_rows for k, v in named.items()}
print(json.dumps(found))
"""


def _check_loaded(cache: Path, *runs: Run) -> None:
    """Loads all views of these runs, one after the other, in a fresh process that has no network."""
    pytest.importorskip("datasets", reason="the extra `test` is not installed")
    folders = [str(one.out / "dataset") for one in runs]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(cache)}
    command = [sys.executable, "-c", _LOAD, *folders]
    said = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert said.returncode == 0, said.stderr[-2000:]
    wanted = {
        f"{folder} {view} {split}": [rows, views.SCHEMAS[view].to_string()]
        for folder, one in zip(folders, runs, strict=True)
        for view in VIEWS
        for split in SPLITS
        if (rows := _table(one, view, split).num_rows)
    }
    assert json.loads(said.stdout) == wanted


@pytest.mark.parametrize("which", ["run", "bare", "single"])
def test_load_dataset_reads_every_view_and_split(which: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Offline, with the columns and types of the design. A split without rows stops the library (its pull request 8401),
    so the card does not name it: the others load all the same."""
    _check_loaded(tmp_path, request.getfixturevalue(which))


def test_load_dataset_tells_two_runs_apart(run: Run, bare: Run, tmp_path: Path) -> None:
    """Its cache goes by the card's YAML and the folder's name, `dataset` for all: so the YAML differs with the rows."""
    _check_loaded(tmp_path, run, bare)


# Rows ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["contextless", "contextual"])
def test_no_label_column_holds_a_word_outside_the_taxonomy(run: Run, view: str) -> None:
    """Although the labeller said other words; these stand in raw_labels alone."""
    rows = _all(run, view)
    assert set(pc.list_flatten(rows["labels"]).to_pylist()) | set(rows["emotion"].to_pylist()) <= set(LABELS)
    assert {one["label"] for raw in rows["raw_labels"].to_pylist() for one in raw} - set(LABELS)


def test_a_pair_has_exactly_two_rows(run: Run) -> None:
    """In one split, for each pair of the contextual view."""
    for split in SPLITS:
        counts = Counter(_table(run, "contextual", split)["pair_id"].to_pylist())
        assert set(counts.values()) <= {2}
    assert _all(run, "contextual").num_rows


def test_every_pair_stands_beside_its_contextless_row(run: Run) -> None:
    """And in the same split; so do flips and their originals, conversations and their rows, items and their dialogues."""
    for split in SPLITS:
        rows = _table(run, "contextless", split)
        ids = set(rows["id"].to_pylist())
        assert set(_table(run, "contextual", split)["pair_id"].to_pylist()) <= ids
        items = {one for view in views.ITEMS for one in _table(run, view, split)["id"].to_pylist()}
        assert set(_table(run, "sft", split)["id"].to_pylist()) <= ids | items
        assert set(rows["pair_id"].drop_null().to_pylist()) <= ids
        talks = set(_table(run, "dialogues", split)["id"].to_pylist())
        assert all(set(_table(run, view, split)["dialogue_id"].to_pylist()) <= talks for view in views.ITEMS)


def test_every_row_names_its_origin(run: Run) -> None:
    """Engine, model, templates, seed and labeller; the rehearsal engine is never passed off as a model."""
    for view in VIEWS:
        rows = _all(run, view)
        assert set(rows["engine"].to_pylist()) == {"rehearsal"}
        assert not any(rows[name].null_count for name in ("model", "prompt_hash", "seed", "source_id", "passage_id"))
    assert all(one.startswith("rehearsal:") for one in _all(run, "contextless")["label_model"].to_pylist())


def test_at_most_fifteen_of_a_hundred_rows_have_a_flip(run: Run) -> None:
    """Over the originals of the run."""
    kinds = Counter(_all(run, "contextless")["kind"].to_pylist())
    assert 0 < kinds["flipped"] <= 0.15 * kinds["original"]


def test_rows_of_a_split_stand_in_canonical_order(run: Run, tmp_path: Path) -> None:
    """Corpus order, then id; also where the ids of the records fall."""
    corpus = _corpus(tmp_path, {f"t{n}": f"{TALE} It was day {n}." for n in range(20, 0, -1)})
    falling = factory.synth(corpus, tmp_path / "run", shard_size=7, stages=["contextless"], actors=1, workers=1)
    for one in (run, falling):
        place = {ident: n for n, ident in enumerate(one.table("passages")["id"].to_pylist())}
        for view in VIEWS:
            for split in SPLITS:
                rows = _table(one, view, split)
                keys = list(
                    zip((place[p] for p in rows["passage_id"].to_pylist()), rows["id"].to_pylist(), strict=True)
                )
                assert keys == sorted(set(keys))


def test_the_emotions_asked_for_are_level_over_the_run(run: Run) -> None:
    """Thirty passages, none of whose utterances was lost more than by chance: no emotion twice as often as another."""
    rows = _all(run, "contextless")
    asked = Counter(rows.filter(pc.equal(rows["kind"], "original"))["emotion"].to_pylist())
    assert max(asked[emotion] for emotion in EMOTIONS) < 2 * min(asked[emotion] for emotion in EMOTIONS)


# Splits ----------------------------------------------------------------------------------------------------------------


def test_no_source_stands_in_two_splits(run: Run) -> None:
    """In no view, and a source has the same split in all of them."""
    split_of: dict[str, str] = {}
    for view in VIEWS:
        for split in SPLITS:
            for source in _table(run, view, split)["source_id"].to_pylist():
                assert split_of.setdefault(source, split) == split


def test_splits_are_about_eighty_ten_and_ten(run: Run) -> None:
    """By the hash of (source id, seed) alone, over many ids; another seed draws others."""
    store = Store(run.out)
    drawn = {seed: [build._Splits(store, [], seed).split(f"tale{n}") for n in range(4000)] for seed in (0, 1)}
    for found in drawn.values():
        share = {split: n / 4000 for split, n in Counter(found).items()}
        assert share == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.02)
    assert drawn[0] != drawn[1]


def test_identical_texts_share_a_split(tmp_path: Path) -> None:
    """Under other ids, in other shards, with other marks and case; else a test row would have been trained on."""
    texts = {f"t{n}": f"{TALE} It was day {n // 4}." for n in range(48)}
    texts |= {f"t{n}": text.upper().replace(".", " .") for n, text in enumerate(texts.values()) if n % 4 == 3}
    made = factory.synth(_corpus(tmp_path, texts), tmp_path / "run", shard_size=5, stages=["contextless"], actors=1)
    split_of = {s: split for split in SPLITS for s in _table(made, "contextless", split)["source_id"].to_pylist()}
    groups = [{split_of[f"t{n}"] for n in range(first, first + 4) if f"t{n}" in split_of} for first in range(0, 48, 4)]
    assert all(len(group) == 1 for group in groups) and len(set().union(*groups)) > 1


# What is dropped -------------------------------------------------------------------------------------------------------


def test_dropped_rows_name_their_reason_and_stand_in_no_view(run: Run) -> None:
    """With the view that they are missing from; a twin is named where there is one."""
    dropped = _dropped(run)
    shares = ("over_quota", "length_shortcut", "position_shortcut")  # of the whole run: there is no twin
    assert {(one["view"], one["reason"]) for one in dropped} <= {
        ("contextless", "duplicate"), ("contextless", "near_duplicate"), ("contextless", "original_dropped"),
        ("contextual", "pair_incomplete"),
        *((view, why) for view in views.ITEMS for why in ("duplicate", "near_duplicate", "answer_in_train", *shares)),
    }  # fmt: skip
    alone = ("pair_incomplete", *shares)
    for one in dropped:
        assert bool(one["twin"]) == (one["reason"] not in alone)
    for view in ("contextless", *views.ITEMS):
        gone = {one["id"] for one in dropped if one["view"] == view}
        assert not gone & set(_all(run, view)["id"].to_pylist())
    pairs = set(_all(run, "contextual")["pair_id"].to_pylist())
    incomplete = {one["id"] for one in dropped if one["reason"] == "pair_incomplete"}
    assert incomplete and not incomplete & pairs


def test_every_row_made_is_in_a_view_or_dropped(run: Run) -> None:
    """Labelled originals and confirmed flips; pairs that were begun for a row that is kept; solved items."""
    rows = set(_all(run, "contextless")["id"].to_pylist())
    gone = {one["id"] for one in _dropped(run) if one["view"] == "contextless"}
    assert rows | gone == {*run.table("labels")["id"].to_pylist(), *run.table("flip_appraisal")["id"].to_pylist()}
    pairs = set(_all(run, "contextual")["pair_id"].to_pylist())
    incomplete = {one["id"] for one in _dropped(run) if one["view"] == "contextual"}
    assert pairs | incomplete == set(run.table("context")["utterance_id"].to_pylist()) & rows and not pairs & incomplete
    for view in views.ITEMS:
        rows = set(_all(run, view)["id"].to_pylist())
        gone = {one["id"] for one in _dropped(run) if one["view"] == view}
        assert rows | gone == set(run.table("solve")["id"].to_pylist()) & set(run.table(view)["id"].to_pylist())


@dataclass
class Parrot:
    """The rehearsal engine without chance: the same actor says the same under the same emotion, wherever."""

    identity: Identity = field(default_factory=lambda: Identity(engine="parrot", model="test"))

    async def complete(self, request: Request) -> Reply:
        calm = replace(request, sampling=replace(request.sampling, seed=0))
        if request.stage != "utterances":
            return await Rehearsal().complete(calm)
        said = []
        for emotion in re.findall(r"^\d+\. (.*)$", request.fields["emotions"], re.M):
            reply = await Rehearsal().complete(replace(calm, fields=request.fields | {"emotions": numbered([emotion])}))
            said += orjson.loads(reply.text)["utterances"]
        return Reply(text=orjson.dumps({"utterances": said}).decode())

    async def close(self) -> None: ...


@pytest.fixture(scope="module")
def parrots(folder: Path) -> Run:
    """Three records of which the last repeats the first, all emotions asked for, each in a shard of its own."""
    corpus = _corpus(folder, {"first": TALE, "second": OTHER, "third": TALE})
    return factory.synth(
        corpus, folder / "parrots", engine=Parrot(), shard_size=1, emotions=27, neutrals=1, context_share=1.0
    )


def test_what_an_earlier_shard_said_is_dropped_later(parrots: Run) -> None:
    """The whole third record repeats the first; a dropped original takes its flip and its pair along."""
    dropped = _dropped(parrots)
    sources = Counter(_all(parrots, "contextless")["source_id"].to_pylist())
    assert sources["first"] > 20 and sources["second"] > 20 and sources["third"] == 0
    assert set(_all(parrots, "contextual")["source_id"].to_pylist()) == {"first", "second"}
    reasons = Counter(one["reason"] for one in dropped if one["source_id"] == "third")
    assert reasons["duplicate"] > 20 and reasons["original_dropped"] > 0


def test_the_twin_of_a_duplicate_stands_in_the_dataset(run: Run, parrots: Run) -> None:
    """What was dropped can be looked up: the named twin is a row that stayed."""
    for one in (run, parrots):
        rows = set(_all(one, "contextless")["id"].to_pylist())
        twins = {
            drop["twin"]
            for drop in _dropped(one)
            if drop["reason"] in ("duplicate", "near_duplicate") and drop["view"] == "contextless"
        }
        assert twins and twins <= rows


def test_no_utterance_stands_twice(run: Run, parrots: Run) -> None:
    """Case and marks aside."""
    for one in (run, parrots):
        texts = [
            re.sub(r"\W+", " ", text).casefold().strip() for text in _all(one, "contextless")["utterance"].to_pylist()
        ]
        assert len(set(texts)) == len(texts)


# Card ------------------------------------------------------------------------------------------------------------------


def _cells(card: str, first: str) -> list[str]:
    """The cells of the card's line that begins with this one."""
    line = next(line for line in card.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def _figure(card: str, pattern: str) -> str:
    found = re.search(pattern, card)
    assert found, pattern
    return found[1]


@pytest.fixture
def card(run: Run) -> str:
    return (run.out / "dataset" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("view", VIEWS)
def test_the_card_counts_the_rows_of_the_files(run: Run, card: str, view: str) -> None:
    """View by view and split by split."""
    assert _cells(card, view)[1:4] == [f"{_table(run, view, split).num_rows:,}" for split in SPLITS]


def test_the_card_counts_sources_passages_and_actors(run: Run, card: str) -> None:
    """As the run's tables hold them."""
    counts = (30, run.table("passages").num_rows, run.table("actors").num_rows)
    assert "From {:,} source records, {:,} passages and {:,} actors".format(*counts) in card


def test_the_card_counts_labels_asked_for_and_kept(run: Run, card: str) -> None:
    """Over the originals, for all 28."""
    rows = _all(run, "contextless")
    originals = rows.filter(pc.equal(rows["kind"], "original"))
    asked = Counter(run.table("utterances")["emotion"].to_pylist())
    kept = Counter(pc.list_flatten(originals["labels"]).to_pylist())
    assert [_cells(card, label)[1:] for label in LABELS] == [[f"{asked[x]:,}", f"{kept[x]:,}"] for x in LABELS]
    assert float(_figure(card, r"labels a row: ([\d.]+)")) == round(kept.total() / originals.num_rows, 2)
    assert (
        _figure(card, r"most over least: ([\d.]+)")
        == f"{max(asked[e] for e in EMOTIONS) / min(asked[e] for e in EMOTIONS):.2f}"
    )


def test_the_card_accounts_for_every_unit(run: Run, card: str) -> None:
    """Inputs = accepted + rejected and made = kept + dropped, and they are those of the run's tables."""
    thrown = list(run.rejects())
    for stage in (
        "actors",
        "utterances",
        "labels",
        "context",
        "cleaning",
        "rewriting",
        "appraisal",
        "flip",
        "flip_labels",
    ):
        lines = [line for line in card.splitlines() if line.startswith(f"| {stage} |") and line.count("|") == 9]
        _, inputs, accepted, rejected, made, kept, gone, _ = [
            c.strip() for c in lines[0].replace(",", "").strip("|").split("|")
        ][:8]
        assert int(inputs) == int(accepted) + int(rejected) and int(made) == int(kept) + int(gone)
        assert int(kept) == run.table(stage).num_rows
        mine = Counter(one.level for one in thrown if one.stage == stage)
        assert (int(rejected), int(gone)) == (mine["unit"], mine["child"])
    reasons = Counter(one["reason"] for one in _dropped(run))
    assert ", ".join(f"{reason} {n:,}" for reason, n in sorted(reasons.items())) in card


def test_the_card_knows_no_time(card: str) -> None:
    """No date, clock, duration, cost or path in it: it is a function of the rows."""
    text = card.partition("# Synthetic")[2]
    assert not re.search(
        r"\b20\d\d-\d\d|\d:\d\d|\b\d+(?:\.\d+)? ?(?:ms|s|sec|seconds|minutes|hours)\b|€|\$|/tmp|/home", text
    )
    assert not re.search(r"\b(?:tokens?|took|elapsed|today)\b", text)


def test_the_card_says_that_rehearsal_text_is_no_models(card: str) -> None:
    """In a tag and in its first sentence."""
    assert "- rehearsal" in card.partition("# Synthetic")[0] and "not a language model's" in card


def test_the_card_names_every_view_and_split_that_can_be_loaded(run: Run, single: Run) -> None:
    """Its YAML is what load_dataset reads; a split without rows is not in it."""
    for one in (run, single):
        head = (one.out / "dataset" / "README.md").read_text(encoding="utf-8").split("---")[1]
        named = set(re.findall(r"path: (\w+)/(\w+)-\*\.parquet", head))
        assert named == {(view, split) for view in VIEWS for split in SPLITS if _table(one, view, split).num_rows}
        assert set(re.findall(r"- split: (\w+)", head)) == {split for _, split in named}


# Crash and damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", ["contextless/train-00000-of-00001.parquet", "README.md", "dropped.parquet"])
def test_a_damaged_dataset_is_found_and_made_again(run: Run, tmp_path: Path, last: str) -> None:
    """A flipped byte is named; the next build gives the old bytes back."""
    shutil.copytree(run.out, tmp_path / "run")
    path = tmp_path / "run" / "dataset" / last
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert [name for name, _ in build.verify(Store(tmp_path / "run"))] == [f"dataset/{last}"]
    running.rebuild(tmp_path / "run")
    assert _bytes(factory.load(tmp_path / "run")) == _bytes(run)


def _failing(path: str) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt(path)

    return fail


@pytest.mark.parametrize("at", ["factory.build._put", "factory.card.write", "factory.build._Writer.close"])
def test_a_build_that_dies_leaves_the_old_dataset(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Whole, as it was; nothing half-made stands in its place."""
    shutil.copytree(run.out, tmp_path / "run")
    (tmp_path / "run" / "dataset.json").unlink()
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(at, _failing(at))
        running.rebuild(tmp_path / "run")
    assert _bytes(factory.load(tmp_path / "run")) == _bytes(run)
