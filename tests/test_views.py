"""Facts about the views: their columns and types, and what their rows say of each other."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import factory
from factory import arrow, contract, views
from factory.api import Run
from factory.records import Dialogue, EaItem, EuItem, Passage, Solved, Turn, Vote
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
ITEM = {"qid": TEXT, "language": TEXT}
SCENE = {"scenario": TEXT, "subject": TEXT}
REASONED = {"rationale": TEXT, "dialogue_id": TEXT}
MANY = pa.list_(TEXT)
COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "contextless": EVERY | SPOKEN | LABELLED | MADE,
    "contextual": EVERY | SPOKEN | CONTEXT | LABELLED | MADE,
    "dialogues": EVERY
    | {
        "actor": TEXT,
        "background": TEXT,
        "turns": pa.list_(pa.struct({"role": TEXT, "text": TEXT})),
        "stop_reason": TEXT,
    }
    | MADE,
    "mcq_eu": EVERY
    | ITEM
    | {"coarse_category": TEXT, "finegrained_category": TEXT}
    | SCENE
    | {"emotion_choices": MANY, "emotion_label": TEXT, "cause_choices": MANY, "cause_label": TEXT}
    | REASONED
    | {"solver_votes": pa.list_(pa.struct({"emotion": TEXT, "cause": TEXT})), "solver_agreement": F32}
    | MADE,
    "mcq_ea": EVERY
    | ITEM
    | {"category": TEXT, "question_type": TEXT}
    | SCENE
    | {"choices": MANY, "label": TEXT}
    | REASONED
    | {"solver_votes": MANY, "solver_agreement": F32}
    | MADE,
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
    kinds = ("original", "flipped", "contextual", "dialogue", "mcq_eu", "mcq_ea")
    hashes = dict(zip(kinds, ("o", "f", "c", "d", "eu", "ea"), strict=True))
    return views.Origin(engine="toy", model="m", prompt_hash=hashes)


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


# Dialogues and items ---------------------------------------------------------------------------------------------------


def _table(record: type, *rows: object) -> pa.Table:
    return arrow.table(record, rows, ["k"] * len(rows))


EMOTIONS, CAUSES = ("Joy", "Remorse", "Fear", "Envy", "Pity", "Love"), ("he fell", "she hid it", "it broke", "all left")
CHOICES = ("Tell her", "Wait", "Leave", "Laugh")
REASON = 'He hid the "napkin".'


def _eu(passage: str, number: int) -> EuItem:
    return EuItem(
        id=f"{passage}.a1.b.d.eu{number}", source_id=passage[0], passage_id=passage, dialogue_id=f"{passage}.a1.b.d",
        actor="Tomás", coarse_category="complex_emotions", finegrained_category="emotion_transition",
        scenario=f"Tomás hid it {number} times.", subject="Tomás", emotion_choices=EMOTIONS, emotion_label="Remorse",
        emotion="remorse", cause_choices=CAUSES, cause_label="all left", rationale=REASON, seed=number,
    )  # fmt: skip


def _ea(passage: str, number: int, asked: str = "Action") -> EaItem:
    return EaItem(
        id=f"{passage}.a1.b.d.ea{number}", source_id=passage[0], passage_id=passage, dialogue_id=f"{passage}.a1.b.d",
        actor="Tomás", category="Personal-Self", question_type=asked, scenario=f"Tomás waits {number} days.",
        subject="Tomás", choices=CHOICES, label="Leave", rationale=REASON, seed=number,
    )  # fmt: skip


def _solved(item: EuItem | EaItem) -> Solved:
    eu = isinstance(item, EuItem)
    return Solved(
        id=item.id, source_id=item.source_id, passage_id=item.passage_id, dialogue_id=item.dialogue_id,
        kind="eu" if eu else "ea", eu_votes=(Vote("Remorse", "all left"), Vote("Joy", "he fell")) if eu else (),
        ea_votes=() if eu else ("Leave", "Leave", "Wait"), agreement=0.5 if eu else 0.75, blind=0.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def talked() -> views.Shard:
    """Two passages that stand against the order of their ids; the solver turned one item of each kind down."""
    passages = [Passage(id=p, source_id=p[0], index=n, text="x") for n, p in enumerate(("z.p1", "a.p1"))]
    eu = [_eu("a.p1", 1), _eu("a.p1", 2), _eu("z.p1", 1)]
    ea = [_ea("a.p1", 1), _ea("z.p1", 1), _ea("z.p1", 2, "Response")]
    turns = (Turn("client", "I hid it."), Turn("counsellor", "When?"))
    talk = {"actor_id": "x", "actor": "Tomás", "background": "A bakery.", "turns": turns, "stop_reason": "supervisor"}
    talks = [
        Dialogue(id=f"{p.id}.a1.b.d", source_id=p.source_id, passage_id=p.id, seed=3, **talk)  # type: ignore[arg-type]
        for p in reversed(passages)
    ]
    solved = [_solved(one) for one in (*ea[1:], *reversed(eu[1:]))]
    tables = {"dialogue": talks, "mcq_eu": eu, "mcq_ea": ea, "solve": solved, "passages": passages}
    kinds = {"dialogue": Dialogue, "mcq_eu": EuItem, "mcq_ea": EaItem, "solve": Solved, "passages": Passage}
    return views.Shard({name: _table(kinds[name], *rows) for name, rows in tables.items()})


def test_only_solved_items_are_rows(talked: views.Shard, origin: views.Origin) -> None:
    """In corpus order, then by id; each with its own votes, of its kind."""
    eu, ea = (views.items(talked, view, origin) for view in ("mcq_eu", "mcq_ea"))
    assert eu["qid"].to_pylist() == eu["id"].to_pylist() == ["z.p1.a1.b.d.eu1", "a.p1.a1.b.d.eu2"]
    assert ea["id"].to_pylist() == ["z.p1.a1.b.d.ea1", "z.p1.a1.b.d.ea2"]
    votes = [{"emotion": "Remorse", "cause": "all left"}, {"emotion": "Joy", "cause": "he fell"}]
    assert (eu["solver_votes"].to_pylist(), eu["solver_agreement"].to_pylist()) == ([votes] * 2, [0.5] * 2)
    assert ea["solver_votes"].to_pylist() == [["Leave", "Leave", "Wait"]] * 2
    assert {*eu["language"].to_pylist(), *ea["language"].to_pylist()} == {"en"}
    assert {*eu["prompt_hash"].to_pylist()} == {"eu"} and {*ea["prompt_hash"].to_pylist()} == {"ea"}


def test_items_are_judged_in_the_order_of_their_view(talked: views.Shard, origin: views.Origin) -> None:
    """Row numbers must mean the same in both."""
    for view in views.ITEMS:
        columns = ["id", "scenario"]
        assert views.posed(talked, view, columns).equals(views.items(talked, view, origin).select(columns))


def test_every_dialogue_is_a_row(talked: views.Shard, origin: views.Origin) -> None:
    """Its turns in order, whether or not an item came of it."""
    rows = views.dialogues(talked, origin).to_pylist()
    assert [row["id"] for row in rows] == ["z.p1.a1.b.d", "a.p1.a1.b.d"]
    assert rows[0]["turns"] == [{"role": "client", "text": "I hid it."}, {"role": "counsellor", "text": "When?"}]
    assert rows[0]["prompt_hash"] == "d"


def test_the_tables_of_dialogues_and_items_have_their_columns(talked: views.Shard, origin: views.Origin) -> None:
    """Also where a run has none."""
    empty = views.Shard({"passages": talked.tables["passages"]})
    for shard, few in ((talked, 2), (empty, 0)):
        made = {view: views.items(shard, view, origin) for view in views.ITEMS}
        made |= {"dialogues": views.dialogues(shard, origin)}
        assert all(table.schema.equals(views.SCHEMAS[view]) for view, table in made.items())
        assert {table.num_rows for table in made.values()} == {few}


@pytest.mark.parametrize("rationale", [True, False])
def test_an_item_is_a_conversation_that_ends_with_its_letters(
    talked: views.Shard, origin: views.Origin, rationale: bool
) -> None:
    """Options in the order that was dealt; the rationale comes first, or not at all."""
    eu, ea = (views.sft_items(view, views.items(talked, view, origin), rationale).to_pylist() for view in views.ITEMS)
    assert ({one["task"] for one in eu}, {one["task"] for one in ea}) == ({"mcq_eu"}, {"mcq_ea"})
    first, other = eu[0]["messages"], ea[1]["messages"]
    assert [turn["role"] for turn in first] == ["system", "user", "assistant"]
    why = {"rationale": REASON} if rationale else {}
    assert list(json.loads(first[2]["content"]).items()) == [*why.items(), ("emotion", "B"), ("cause", "D")]
    assert list(json.loads(other[2]["content"]).items()) == [*why.items(), ("answer", "C")]
    assert all("\n" not in one["messages"][2]["content"] for one in (*eu, *ea))
    assert "Tomás hid it 1 times." in first[1]["content"] and "F. Love" in first[1]["content"]
    assert (
        "way for Tomás to respond" in other[1]["content"] and "thing for Tomás to do" in ea[0]["messages"][1]["content"]
    )
    assert [("rationale" in one["messages"][0]["content"]) for one in (*eu, *ea)] == [rationale] * 4


def test_conversations_of_all_tasks_stand_in_one_order(talked: views.Shard, origin: views.Origin) -> None:
    """Corpus order, then id."""
    made = [views.sft_items(view, views.items(talked, view, origin), True) for view in views.ITEMS]
    assert views.together(talked, made)["id"].to_pylist() == [
        "z.p1.a1.b.d.ea1", "z.p1.a1.b.d.ea2", "z.p1.a1.b.d.eu1", "a.p1.a1.b.d.eu2"
    ]  # fmt: skip


# Origins ---------------------------------------------------------------------------------------------------------------


def test_each_kind_of_row_names_the_prompts_it_went_through(contextless: pa.Table, contextual: pa.Table) -> None:
    """A flip and a pair have been through more templates than their original."""
    pairs = {(row["kind"], row["prompt_hash"]) for row in contextless.select(["kind", "prompt_hash"]).to_pylist()}
    assert pairs == {("original", "o"), ("flipped", "f")} and set(contextual["prompt_hash"].to_pylist()) == {"c"}


def test_a_contextual_row_names_the_prompts_of_its_context_too(run: Run) -> None:
    """Cleaning and rewriting templates decided it, so another hash than that of the contextless row."""
    one, other = (set(run.dataset(view)["prompt_hash"]) for view in ("contextless", "contextual"))
    assert not one & other
