"""The views of a dataset (DESIGN section 5): their columns, and how a shard's tables become their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from factory import arrow, contract, questions
from factory.records import (
    Appraisal,
    Context,
    Dialogue,
    EaItem,
    EuItem,
    Flip,
    Labels,
    Reading,
    Rewritten,
    Solved,
    Utterance,
)
from factory.stages.appraisal import DIMENSIONS
from factory.taxonomy import ID, LABELS

_SCORE = pa.struct([("label", pa.string()), ("score", pa.float32())])
_TURN = pa.struct([("role", pa.string()), ("content", pa.string())])

_EVERY = [(name, pa.string()) for name in ("id", "source_id", "passage_id")]
_ORIGIN = [
    ("engine", pa.string()),
    ("model", pa.string()),
    ("prompt_hash", pa.string()),
    ("seed", pa.int64()),
]
_READ = [
    ("read_probabilities", pa.list_(pa.float32(), len(LABELS))),
    ("read_entropy", pa.float32()),
    ("read_mass", pa.float32()),
    ("read_agreement", pa.float32()),
]
_LABELLED = [
    ("labels", pa.list_(pa.string())),
    ("label_ids", pa.list_(pa.int8())),
    ("intensities", pa.list_(pa.float32(), len(LABELS))),
    ("raw_labels", pa.list_(_SCORE)),
    *((name, pa.float32()) for name in DIMENSIONS),
    ("rationale", pa.string()),
    *_READ,
    ("label_model", pa.string()),
    ("kind", pa.string()),
    ("pair_id", pa.string()),
]
_ITEM = [("qid", pa.string()), ("language", pa.string())]
_SCENE = [("scenario", pa.string()), ("subject", pa.string())]
_CHOICES = pa.list_(pa.string())
_REASONED = [("rationale", pa.string()), ("dialogue_id", pa.string())]
_VOTE = pa.struct([("emotion", pa.string()), ("cause", pa.string())])
_SPOKEN = [("actor", pa.string()), ("utterance", pa.string()), ("emotion", pa.string())]

SCHEMAS: dict[str, pa.Schema] = {
    "contextless": pa.schema([*_EVERY, *_SPOKEN, *_LABELLED, *_ORIGIN]),
    "contextual": pa.schema(
        [
            *_EVERY,
            *_SPOKEN,
            ("context", pa.string()),
            ("raw_context", pa.string()),
            ("character", pa.string()),
            *_LABELLED,
            *_ORIGIN,
        ]
    ),
    "dialogues": pa.schema(
        [
            *_EVERY,
            ("actor", pa.string()),
            ("background", pa.string()),
            ("turns", pa.list_(pa.struct([("role", pa.string()), ("text", pa.string())]))),
            ("stop_reason", pa.string()),
            *_ORIGIN,
        ]
    ),
    "mcq_eu": pa.schema(
        [
            *_EVERY,
            *_ITEM,
            ("coarse_category", pa.string()),
            ("finegrained_category", pa.string()),
            *_SCENE,
            ("emotion_choices", _CHOICES),
            ("emotion_label", pa.string()),
            ("cause_choices", _CHOICES),
            ("cause_label", pa.string()),
            *_REASONED,
            ("solver_votes", pa.list_(_VOTE)),
            ("solver_agreement", pa.float32()),
            *_ORIGIN,
        ]
    ),
    "mcq_ea": pa.schema(
        [
            *_EVERY,
            *_ITEM,
            ("category", pa.string()),
            ("question_type", pa.string()),
            *_SCENE,
            ("choices", _CHOICES),
            ("label", pa.string()),
            *_REASONED,
            ("solver_votes", pa.list_(pa.string())),
            ("solver_agreement", pa.float32()),
            *_ORIGIN,
        ]
    ),
    "sft": pa.schema([*_EVERY, ("task", pa.string()), ("messages", pa.list_(_TURN)), *_ORIGIN]),
}
ITEMS: Mapping[str, type] = {"mcq_eu": EuItem, "mcq_ea": EaItem}  # views of items, and what each is made of
DROPPED = pa.schema([*_EVERY, ("view", pa.string()), ("reason", pa.string()), ("twin", pa.string())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What every row says of where it came from; hashes by kind of row."""

    engine: str
    model: str
    prompt_hash: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Shard:
    """The tables of one finished shard; a stage that was not asked for has an empty one."""

    tables: Mapping[str, pa.Table]

    def get(self, stage: str, record: type) -> pa.Table:
        found = self.tables.get(stage)
        return found if found is not None else arrow.schema(record).empty_table()

    def rank(self, passage_ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """The place of each passage in the corpus, for sorting."""
        return pc.index_in(passage_ids, self.tables["passages"]["id"].combine_chunks())


def spoken(shard: Shard) -> pa.Table:
    """Id and utterance of the rows of `contextless`, in the same order: enough to look for duplicates."""
    parts = []
    for stage, record, labels in (("utterances", Utterance, "labels"), ("flip", Flip, "flip_appraisal")):
        table = (
            shard.get(stage, record)
            .select(["id", "passage_id", "text"])
            .rename_columns(["id", "passage_id", "utterance"])
        )
        parts.append(table.filter(pc.is_in(table["id"], shard.get(labels, Labels)["id"].combine_chunks())))
    return _sorted(shard, pa.concat_tables(parts))


def contextless(shard: Shard, origin: Origin) -> pa.Table:
    """Labelled originals and confirmed flips, in canonical order (corpus order, then id)."""
    originals = _labelled(
        shard.get("utterances", Utterance),
        shard.get("labels", Labels),
        shard.get("appraisal", Appraisal),
        shard.get("reading", Reading),
    )
    flipped = _labelled(
        shard.get("flip", Flip),
        shard.get("flip_labels", Labels),
        shard.get("flip_appraisal", Appraisal),
        shard.get("flip_reading", Reading),
        need_appraisal=True,
    )
    rows = pa.concat_tables(
        [
            _marked(originals, "original", pa.nulls(originals.num_rows, pa.string()), origin),
            _marked(flipped, "flipped", flipped["pair_id"] if "pair_id" in flipped.column_names else None, origin),
        ]
    )
    return _sorted(shard, rows).select(SCHEMAS["contextless"].names).cast(SCHEMAS["contextless"])


def contextual(shard: Shard, rows: pa.Table, prompt_hash: str | None = None) -> tuple[pa.Table, list[str]]:
    """Two rows for each rewritten utterance among `rows` (originals of the contextless view), and the utterances whose
    pair stayed incomplete. `prompt_hash` covers the stages of the pairs too; None leaves that of the originals."""
    rewritten, cleaned = shard.get("rewriting", Rewritten), shard.get("cleaning", Context)
    raw = shard.get("context", Context)
    known = _places(rows["id"])
    pairs = [(i, known[u]) for i, u in enumerate(rewritten["utterance_id"].to_pylist()) if u in known]
    of_cleaned, of_raw = _places(cleaned["utterance_id"]), _places(raw["utterance_id"])
    done = set(rewritten["utterance_id"].to_pylist())
    incomplete = [u for u in raw["utterance_id"].to_pylist() if u in known and u not in done]
    if not pairs:
        return SCHEMAS["contextual"].empty_table(), incomplete
    new = rewritten.take([i for i, _ in pairs])
    ids = new["utterance_id"].to_pylist()
    base = rows.take([j for _, j in pairs])
    told = cleaned.take([of_cleaned[u] for u in ids])
    people = _places(shard.get("utterances", Utterance)["id"])
    character = shard.get("utterances", Utterance)["character"].take(pa.array([people[u] for u in ids]))
    both = _with(
        base,
        context=told["text"],
        raw_context=raw.take([of_raw[u] for u in ids])["text"],
        character=character,
        pair_id=base["id"],
        prompt_hash=base["prompt_hash"] if prompt_hash is None else _same(prompt_hash, len(ids)),
    )
    first = _with(both, id=told["id"])
    second = _with(both, id=new["id"], utterance=new["text"], kind=pa.array(["rewritten"] * len(ids)))
    table = pa.concat_tables([first, second])
    return _sorted(shard, table).select(SCHEMAS["contextual"].names).cast(SCHEMAS["contextual"]), incomplete


def sft(rows: pa.Table) -> pa.Table:
    """Training conversations under the one contract: every contextless row with labels, VAD and rationale."""
    whole = rows.filter(pc.and_(pc.is_valid(rows["valence"]), pc.is_valid(rows["rationale"])))
    columns = ("utterance", "labels", "valence", "arousal", "dominance", "rationale")
    messages = [
        [
            ("system", contract.SYSTEM),
            ("user", utterance),
            ("assistant", contract.line(labels, round(v, 2), round(a, 2), round(d, 2), why)),
        ]
        for utterance, labels, v, a, d, why in zip(*(whole[c].to_pylist() for c in columns), strict=True)
    ]
    made = _with(
        whole,
        task=pa.array(["emotion_json"] * len(messages), pa.string()),
        messages=pa.array(messages, SCHEMAS["sft"].field("messages").type),
    )
    return made.select(SCHEMAS["sft"].names).cast(SCHEMAS["sft"])


def dialogues(shard: Shard, origin: Origin) -> pa.Table:
    """Every dialogue of the shard, in canonical order; also those that no item came of."""
    rows = _made(shard.get("dialogue", Dialogue), "dialogue", origin)
    return _sorted(shard, rows).select(SCHEMAS["dialogues"].names).cast(SCHEMAS["dialogues"])


def items(shard: Shard, view: str, origin: Origin) -> pa.Table:
    """The solved items of one kind (`mcq_eu`, `mcq_ea`) in canonical order, with what the solver said."""
    made, solved = shard.get(view, ITEMS[view]), shard.get("solve", Solved)
    votes = _places(solved["id"])
    made = made.filter(pc.is_in(made["id"], solved["id"].combine_chunks()))
    said = solved.take(pa.array([votes[one] for one in made["id"].to_pylist()], pa.int64()))
    rows = _with(
        _made(made, view, origin),
        qid=made["id"],
        language=_same("en", made.num_rows),
        solver_votes=said["eu_votes" if view == "mcq_eu" else "ea_votes"],
        solver_agreement=said["agreement"],
    )
    return _sorted(shard, rows).select(SCHEMAS[view].names).cast(SCHEMAS[view])


def posed(shard: Shard, view: str, columns: Sequence[str]) -> pa.Table:
    """Some columns of the rows of `items`, in the same order: enough to judge them over the run."""
    made = shard.get(view, ITEMS[view])
    made = made.filter(pc.is_in(made["id"], shard.get("solve", Solved)["id"].combine_chunks()))
    return _sorted(shard, made).select(columns)


def sft_items(view: str, rows: pa.Table, rationale: bool) -> pa.Table:
    """Training conversations of items: the answer is a letter for each question, after the rationale where wanted."""
    chat = questions.understanding if view == "mcq_eu" else questions.application
    messages = [chat(row, rationale) for row in rows.to_pylist()]
    made = _with(
        rows,
        task=_same(view, rows.num_rows),
        messages=pa.array(messages, SCHEMAS["sft"].field("messages").type),
    )
    return made.select(SCHEMAS["sft"].names).cast(SCHEMAS["sft"])


def together(shard: Shard, tables: Sequence[pa.Table]) -> pa.Table:
    """Rows of one view from several sources, in canonical order."""
    return _sorted(shard, pa.concat_tables(tables))


def _made(rows: pa.Table, kind: str, origin: Origin) -> pa.Table:
    n = rows.num_rows
    made = _same(origin.engine, n), _same(origin.model, n), _same(origin.prompt_hash[kind], n)
    return _with(rows, **dict(zip(("engine", "model", "prompt_hash"), made, strict=True)))


def _labelled(
    spoken: pa.Table, labels: pa.Table, appraisals: pa.Table, readings: pa.Table, need_appraisal: bool = False
) -> pa.Table:
    """Utterances that have labels, with both; appraisals and readings are null where there are none."""
    place, scored, known = _places(spoken["id"]), _places(appraisals["id"]), _places(readings["id"])
    ids = [i for i in labels["id"].to_pylist() if not need_appraisal or i in scored]
    which = _places(labels["id"])
    base = spoken.take(pa.array([place[i] for i in ids], pa.int64()))
    said = labels.take(pa.array([which[i] for i in ids], pa.int64()))
    scores = appraisals.take(pa.array([scored.get(i) for i in ids], pa.int64()))
    read = readings.take(pa.array([known.get(i) for i in ids], pa.int64()))
    own = {name: scores[name] for name in (*DIMENSIONS, "rationale")}
    own |= {name: read[name.removeprefix("read_")] for name, _ in _READ}
    return _with(
        base.rename_columns({"text": "utterance"}),
        labels=said["labels"],
        label_ids=pa.array([[ID[x] for x in row] for row in said["labels"].to_pylist()], pa.list_(pa.int8())),
        intensities=said["intensities"],
        raw_labels=said["raw"],
        **own,
    )


def _marked(rows: pa.Table, kind: str, pairs: pa.Array | pa.ChunkedArray | None, origin: Origin) -> pa.Table:
    n = rows.num_rows
    marked = _with(
        rows,
        kind=_same(kind, n),
        pair_id=pairs if pairs is not None else pa.nulls(n, pa.string()),
        engine=_same(origin.engine, n),
        model=_same(origin.model, n),
        label_model=_same(f"{origin.engine}:{origin.model}", n),
        prompt_hash=_same(origin.prompt_hash[kind], n),
    )
    return marked.select(SCHEMAS["contextless"].names).cast(SCHEMAS["contextless"])


def _same(value: str, n: int) -> pa.Array:
    return pa.array([value] * n, pa.string())


def _sorted(shard: Shard, rows: pa.Table) -> pa.Table:
    ranked = _with(rows, _rank=shard.rank(rows["passage_id"]))
    return rows.take(pc.sort_indices(ranked, sort_keys=[("_rank", "ascending"), ("id", "ascending")]))


def _places(ids: pa.ChunkedArray) -> dict[str, int]:
    return {one: i for i, one in enumerate(ids.to_pylist())}


def _with(table: pa.Table, **columns: pa.Array | pa.ChunkedArray | Sequence[object]) -> pa.Table:
    for name, column in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, column) if at >= 0 else table.append_column(name, column)
    return table
