"""Facts about the views: their columns and types, and what their rows say of each other."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import factory
from factory import contract, views
from factory.api import Run
from factory.store import Store
from factory.taxonomy import ID, LABELS

CORPORA = Path(__file__).resolve().parent.parent / "corpora"

TEXT, F32 = pa.string(), pa.float32()
EVERY = {"id": TEXT, "source_id": TEXT, "passage_id": TEXT}
MADE = {"engine": TEXT, "model": TEXT, "prompt_hash": TEXT, "seed": pa.int64()}
LABELLED = {
    "labels": pa.list_(TEXT),
    "label_ids": pa.list_(pa.int8()),
    "intensities": pa.list_(F32, 28),
    "raw_labels": pa.list_(pa.struct({"label": TEXT, "score": F32})),
    "valence": F32,
    "arousal": F32,
    "dominance": F32,
    "goal_attainment": F32,
    "controllability": F32,
    "certainty": F32,
    "fairness": F32,
    "rationale": TEXT,
    "read_probabilities": pa.list_(F32, 28),
    "read_entropy": F32,
    "read_mass": F32,
    "read_agreement": F32,
    "label_model": TEXT,
    "kind": TEXT,
    "pair_id": TEXT,
}
SPOKEN = {"actor": TEXT, "utterance": TEXT, "emotion": TEXT}
CONTEXT = {"context": TEXT, "raw_context": TEXT, "character": TEXT}
COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "contextless": EVERY | SPOKEN | LABELLED | MADE,
    "contextual": EVERY | SPOKEN | CONTEXT | LABELLED | MADE,
    "sft": EVERY | {"task": TEXT, "messages": pa.list_(pa.struct({"role": TEXT, "content": TEXT}))} | MADE,
}
READ = [name for name in LABELLED if name.startswith("read_")]
SCORES = [name for name, kind in LABELLED.items() if kind == F32]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Twelve narratives with all stages, the labels also read, a few answers spoilt."""
    out, faults = tmp_path_factory.mktemp("views") / "run", "wrong=0.1,malformed=0.05"
    return factory.synth(CORPORA, out, limit=12, labeller="logprobs", faults=faults)


@pytest.fixture(scope="module")
def shard(run: Run) -> views.Shard:
    store = Store(run.out)
    (name,) = store.names()
    stages = [path.stem for path in (store.shards / name).glob("*.parquet")]
    return views.Shard({stage: table for stage in stages if (table := store.table(name, stage)) is not None})


@pytest.fixture(scope="module")
def origin() -> views.Origin:
    return views.Origin(engine="toy", model="m", prompt_hash={"original": "o", "flipped": "f", "contextual": "c"})


@pytest.fixture(scope="module")
def contextless(shard: views.Shard, origin: views.Origin) -> pa.Table:
    return views.contextless(shard, origin)


@pytest.fixture(scope="module")
def contextual(shard: views.Shard, contextless: pa.Table, origin: views.Origin) -> pa.Table:
    originals = contextless.filter(pc.equal(contextless["kind"], "original"))
    return views.contextual(shard, originals, origin.prompt_hash["contextual"])[0]


@pytest.mark.parametrize("view", COLUMNS)
def test_a_view_has_exactly_the_columns_of_the_design(view: str) -> None:
    """By name and type; people build on them."""
    assert dict(zip(views.SCHEMAS[view].names, views.SCHEMAS[view].types, strict=True)) == COLUMNS[view]


def test_the_tables_made_have_these_columns(contextless: pa.Table, contextual: pa.Table) -> None:
    """Whatever the stages' own tables look like."""
    assert contextless.schema.equals(views.SCHEMAS["contextless"]) and contextless.num_rows
    assert contextual.schema.equals(views.SCHEMAS["contextual"]) and contextual.num_rows
    assert views.sft(contextless).schema.equals(views.SCHEMAS["sft"])


def test_columns_stand_where_no_stage_gave_them_a_value(shard: views.Shard, origin: views.Origin) -> None:
    """Scores of a run without appraisal are typed nulls, and the views that need more are empty with all columns."""
    bare = views.Shard({name: shard.tables[name] for name in ("passages", "actors", "utterances", "labels")})
    rows = views.contextless(bare, origin)
    assert rows.schema.equals(views.SCHEMAS["contextless"]) and rows.num_rows
    assert all(rows[name].null_count == rows.num_rows for name in (*SCORES, *READ, "rationale", "pair_id"))
    pairs, incomplete = views.contextual(bare, rows)
    assert (pairs.num_rows, views.sft(rows).num_rows, incomplete) == (0, 0, [])
    assert pairs.schema.equals(views.SCHEMAS["contextual"]) and views.sft(rows).schema.equals(views.SCHEMAS["sft"])


def test_no_passage_gives_no_row(shard: views.Shard, origin: views.Origin) -> None:
    """A shard whose passages had no actor is a shard like any other."""
    empty = views.Shard({name: table.slice(0, 0) for name, table in shard.tables.items()})
    assert views.contextless(empty, origin).schema.equals(views.SCHEMAS["contextless"])


def test_every_labelled_utterance_is_a_row(shard: views.Shard, contextless: pa.Table) -> None:
    """And every confirmed flip; nothing else."""
    wanted = shard.tables["labels"]["id"].to_pylist() + shard.tables["flip_appraisal"]["id"].to_pylist()
    assert sorted(contextless["id"].to_pylist()) == sorted(wanted)


def test_rows_stand_in_canonical_order(shard: views.Shard, contextless: pa.Table, contextual: pa.Table) -> None:
    """Corpus order, then id."""
    place = {ident: n for n, ident in enumerate(shard.tables["passages"]["id"].to_pylist())}
    for table in (contextless, contextual):
        keys = [(place[row["passage_id"]], row["id"]) for row in table.select(["passage_id", "id"]).to_pylist()]
        assert keys == sorted(keys) and len(set(keys)) == len(keys)


def test_the_search_for_duplicates_sees_the_same_rows(shard: views.Shard, contextless: pa.Table) -> None:
    """Row numbers must mean the same in both."""
    assert views.spoken(shard).select(["id", "utterance"]).equals(contextless.select(["id", "utterance"]))


def test_labels_ids_and_intensities_agree(contextless: pa.Table) -> None:
    """Ids are positions in the taxonomy, intensities stand at them, kept ones reach the threshold, strongest first."""
    for row in contextless.to_pylist():
        assert row["labels"] and set(row["labels"]) <= set(LABELS)
        assert row["label_ids"] == [ID[label] for label in row["labels"]]
        kept = [row["intensities"][i] for i in row["label_ids"]]
        assert kept == sorted(kept, reverse=True) and min(kept) >= 0.3 - 1e-6
        assert {i for i, x in enumerate(row["intensities"]) if x >= 0.3 - 1e-6} == set(row["label_ids"])


def test_some_row_says_more_than_it_keeps(contextless: pa.Table) -> None:
    """Intensities below the threshold are there: soft targets, not the labels again."""
    rows = contextless.select(["intensities", "labels"]).to_pylist()
    assert any(sum(x > 0 for x in row["intensities"]) > len(row["labels"]) for row in rows)


def test_scores_lie_within_zero_and_one(contextless: pa.Table) -> None:
    """All seven, and the three of a reading, where they are."""
    for name in SCORES:
        found = pc.min_max(contextless[name]).as_py()
        assert 0 <= found["min"] <= found["max"] <= 1


def test_a_row_has_its_own_reading_or_none(shard: views.Shard, contextless: pa.Table) -> None:
    """Originals and flips alike; where the reading was rejected the row stays, with typed nulls in all four columns."""
    tables = [shard.tables[name] for name in ("reading", "flip_reading")]
    known = {row["id"]: row for table in tables for row in table.to_pylist()}
    rows = contextless.select(["id", "kind", *READ]).to_pylist()
    for row in rows:
        found = known.get(row["id"], {})
        assert [row[name] for name in READ] == [found.get(name.removeprefix("read_")) for name in READ]
    assert {(row["kind"], row["read_mass"] is None) for row in rows} >= {
        ("original", True),
        ("original", False),
        ("flipped", False),
    }


def test_both_rows_of_a_pair_have_the_reading_of_their_original(contextless: pa.Table, contextual: pa.Table) -> None:
    """As they have its labels."""
    known = {row["id"]: row for row in contextless.select(["id", *READ]).to_pylist()}
    rows = contextual.select(["pair_id", *READ]).to_pylist()
    assert any(row["read_mass"] for row in rows)
    assert all(row[name] == known[row["pair_id"]][name] for row in rows for name in READ)


def test_a_flipped_row_names_its_original(contextless: pa.Table) -> None:
    """Which stands in the view, on the other side of valence; the mirrored feeling is among its labels."""
    rows = {row["id"]: row for row in contextless.to_pylist()}
    flipped = [row for row in rows.values() if row["kind"] == "flipped"]
    assert flipped and {row["kind"] for row in rows.values()} == {"original", "flipped"}
    for row in flipped:
        original = rows[row["pair_id"]]
        assert (row["valence"] - 0.5) * (original["valence"] - 0.5) < 0 and row["emotion"] in row["labels"]
    assert all(row["pair_id"] is None for row in rows.values() if row["kind"] == "original")
    assert len(flipped) <= 0.15 * len(rows)


def test_a_pair_is_an_original_and_its_rewrite(contextless: pa.Table, contextual: pa.Table) -> None:
    """Exactly two rows a pair, alike in everything but their text, kind and id."""
    pairs: dict[str, list[dict[str, object]]] = {}
    for row in contextual.to_pylist():
        pairs.setdefault(row["pair_id"], []).append(row)
    said = dict(zip(contextless["id"].to_pylist(), contextless["utterance"].to_pylist(), strict=True))
    for ident, (first, *rest) in pairs.items():
        (second,) = rest
        assert [first["kind"], second["kind"]] == ["original", "rewritten"]
        assert first["utterance"] == said[ident] != second["utterance"]
        assert {k for k in first if first[k] != second[k]} == {"id", "utterance", "kind"}


def test_contexts_stand_raw_and_cleaned_beside_the_character(shard: views.Shard, contextual: pa.Table) -> None:
    """Each of the row's own."""
    tables = shard.tables
    raw, cleaned = ({r["utterance_id"]: r["text"] for r in tables[t].to_pylist()} for t in ("context", "cleaning"))
    people = {row["id"]: row["line"] for row in tables["actors"].to_pylist()}
    actor = {row["id"]: row["actor_id"] for row in tables["utterances"].to_pylist()}
    for row in contextual.to_pylist():
        pair = row["pair_id"]
        assert (row["raw_context"], row["context"]) == (raw[pair], cleaned[pair])
        assert row["character"] == people[actor[pair]]


def test_a_pair_without_its_rewrite_is_named_and_left_out(shard: views.Shard, contextless: pa.Table) -> None:
    """Never half a pair."""
    rewritten = shard.tables["rewriting"]
    gone = rewritten["utterance_id"][0].as_py()
    less = views.Shard({**shard.tables, "rewriting": rewritten.slice(1)})
    pairs, incomplete = views.contextual(less, contextless)
    assert gone in incomplete and gone not in pairs["pair_id"].to_pylist()
    assert set(pc.value_counts(pairs["pair_id"]).field("counts").to_pylist()) == {2}


def test_training_conversations_hold_the_contract(contextless: pa.Table) -> None:
    """System, user with the utterance, assistant with the one line, which parses."""
    rows = {row["id"]: row for row in contextless.to_pylist() if row["valence"] is not None}
    said = views.sft(contextless).to_pylist()
    assert [one["id"] for one in said] == list(rows) and {one["task"] for one in said} == {"emotion_json"}
    for one in said:
        row = rows[one["id"]]
        system, user, assistant = one["messages"]
        assert [turn["role"] for turn in one["messages"]] == ["system", "user", "assistant"]
        assert (system["content"], user["content"]) == (contract.SYSTEM, row["utterance"])
        parsed = contract.Contract.model_validate_json(assistant["content"])
        assert parsed.labels == row["labels"] and parsed.rationale == row["rationale"]
        wanted = [round(row[name], 2) for name in ("valence", "arousal", "dominance")]
        assert [parsed.vad.v, parsed.vad.a, parsed.vad.d] == wanted
        assert assistant["content"] == contract.line(row["labels"], *wanted, row["rationale"])


def test_each_kind_of_row_names_the_prompts_it_went_through(contextless: pa.Table, contextual: pa.Table) -> None:
    """A flip and a pair have been through more templates than their original."""
    pairs = {(row["kind"], row["prompt_hash"]) for row in contextless.select(["kind", "prompt_hash"]).to_pylist()}
    assert pairs == {("original", "o"), ("flipped", "f")} and set(contextual["prompt_hash"].to_pylist()) == {"c"}


def test_a_contextual_row_names_the_prompts_of_its_context_too(run: Run) -> None:
    """Cleaning and rewriting templates decided it, so another hash than that of the contextless row."""
    one, other = (set(run.dataset(view)["prompt_hash"]) for view in ("contextless", "contextual"))
    assert not one & other
