"""The dataset card: what the rows are, measured, with no figure that was not counted here and no times."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from factory.card_items import Items, Mean, Talks, blind, report, table
from factory.checks import dice
from factory.prompts import Book
from factory.records import Context, Count, Labels, Rewritten, Utterance
from factory.requests import Identity
from factory.settings import Content
from factory.sift import Screen
from factory.stages import Pipeline
from factory.taxonomy import EMOTIONS, LABELS, NEUTRAL
from factory.text import normal, one_line
from factory.views import ITEMS, Shard

_FIELDS = {
    "contextless": "one utterance a row: what an actor might think aloud, soft labels, VAD and appraisals",
    "contextual": "two rows a pair: the original and the rewritten utterance under one cleaned context",
    "dialogues": "one conversation a row: a character of the corpus, as the client of a counsellor",
    "mcq_eu": "one question a row in EmoBench's fields, on what somebody feels and why, with a rationale",
    "mcq_ea": "one question a row in EmoBench's fields, on what would help somebody most, with a rationale",
    "sft": "chat conversations whose answer is one line of JSON, for small language models (column `task`)",
}


_SAMPLE = 200_000  # pairs of words for distinct-2, which falls with the size of what is counted


@dataclass
class Measured:
    """Gathered shard by shard while the views are written."""

    distinct: float = 1.0
    screen: Screen | None = None  # scenarios of a benchmark that items were compared with
    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    sources: int = 0
    last_source: str = ""
    passages: int = 0
    actors: int = 0
    dealt: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    with_neutral: int = 0
    labelled: int = 0
    asked_kept: int = 0
    asked_first: int = 0
    unmapped: Counter[str] = field(default_factory=Counter)
    aliased: int = 0
    said: int = 0
    words: Mean = field(default_factory=Mean)
    read_entropy: Mean = field(default_factory=Mean)
    read_agreement: Mean = field(default_factory=Mean)
    read_little: Mean = field(default_factory=Mean)
    neutral_pairs: Mean = field(default_factory=Mean)
    cleaning: Mean = field(default_factory=Mean)
    rewriting: Mean = field(default_factory=Mean)
    reasons: Counter[str] = field(default_factory=Counter)
    seen: set[tuple[str, str]] = field(default_factory=set)
    grams: int = 0
    talks: Talks = field(default_factory=Talks)
    items: dict[str, Items] = field(default_factory=lambda: {view: Items(view) for view in ITEMS})

    def count(self, view: str, split: str, rows: pa.Table) -> None:
        """The rows of one shard that go into one file."""
        self.rows[view, split] = self.rows.get((view, split), 0) + rows.num_rows
        if view in self.items:
            self.items[view].answered(split, rows)

    def see(self, shard: Shard, parts: Mapping[str, pa.Table]) -> None:
        """Everything that the card says of one shard's rows, by view."""
        rows = parts["contextless"]
        passages = shard.tables["passages"]
        self.passages += passages.num_rows
        for source in passages["source_id"].to_pylist():  # a source's passages stand together
            self.sources += source != self.last_source
            self.last_source = source
        self.actors += shard.tables["actors"].num_rows
        self.dealt.update(shard.get("utterances", Utterance)["emotion"].to_pylist())
        original = rows.filter(pc.equal(rows["kind"], "original"))
        for emotion, labels in zip(original["emotion"].to_pylist(), original["labels"].to_pylist(), strict=True):
            self.kept.update(labels)
            self.with_neutral += NEUTRAL in labels
            self.asked_kept += emotion in labels
            self.asked_first += labels[0] == emotion
        self.labelled += original.num_rows
        for raw in rows["raw_labels"].to_pylist():
            self.said += len(raw)
            self.aliased += sum(one["label"] not in LABELS for one in raw)
        for words in shard.get("labels", Labels)["unmapped"].to_pylist():
            self.unmapped.update(words)
        self._readings(rows)
        self._texts(original)
        self._contexts(shard)
        self.talks.see(shard, parts["dialogues"])
        without = blind(shard)
        for view, items in self.items.items():
            items.see(parts[view], without)

    def _readings(self, rows: pa.Table) -> None:
        self.read_entropy.add(rows["read_entropy"].drop_null().to_pylist())
        self.read_agreement.add(rows["read_agreement"].drop_null().to_pylist())
        self.read_little.add(mass < 0.5 for mass in rows["read_mass"].drop_null().to_pylist())

    def _texts(self, rows: pa.Table) -> None:
        neutral: dict[str, str] = {}
        columns = zip(*(rows[c].to_pylist() for c in ("passage_id", "actor", "emotion", "utterance")), strict=True)
        for passage, actor, emotion, text in columns:
            self.words.add([len(text.split())])
            if self.grams < _SAMPLE:
                tokens = normal(text).split()
                self.grams += max(0, len(tokens) - 1)
                self.seen.update(zip(tokens, tokens[1:], strict=False))
            if emotion == NEUTRAL:
                other = neutral.setdefault(f"{passage} {actor}", text)
                if other is not text:
                    self.neutral_pairs.add([dice(text, other)])

    def _contexts(self, shard: Shard) -> None:
        raw, cleaned = shard.get("context", Context), shard.get("cleaning", Context)
        before = dict(zip(raw["id"].to_pylist(), raw["text"].to_pylist(), strict=True))
        for ident, text in zip(cleaned["id"].to_pylist(), cleaned["text"].to_pylist(), strict=True):
            self.cleaning.add([1.0 if text == before[ident] else dice(text, before[ident])])
        self.rewriting.add(shard.get("rewriting", Rewritten)["overlap"].to_pylist())


def write(
    found: Measured,
    units: Mapping[str, Count],
    content: Content,
    identity: Identity,
    book: Book,
    steps: Pipeline,
    views: Mapping[str, str],
) -> str:
    """The card as Markdown; its YAML makes `datasets.load_dataset(folder, view)` work."""
    rehearsal = identity.engine == "rehearsal"
    made = {step.stage.name for step in steps}
    parts = [
        _yaml(found, views, rehearsal),
        "# Synthetic emotion dataset",
        _opening(identity, rehearsal),
        "## Views\n\n" + _views(found, list(views)),
        *(["## Labels\n\n" + _labels(found, rehearsal), "## Text\n\n" + _text(found)] if "utterances" in made else []),
        *(
            ["## Dialogues and items\n\n" + report(found.talks, found.items, found.screen, rehearsal)]
            if "dialogue" in made
            else []
        ),
        "## What was thrown away\n\n" + _rejects(units, found),
        "## How it was made\n\n" + _settings(content, identity, book, steps),
        "## Limits\n\n" + _limits(rehearsal, "dialogue" in made),
    ]
    return "\n\n".join(parts) + "\n"


def _yaml(found: Measured, views: Mapping[str, str], rehearsal: bool) -> str:
    """What `load_dataset` goes by. It cannot load a split without rows, so those are not named; and its cache knows a
    dataset by this text and the folder's name alone, so the text says which files it is about."""
    lines = ["---", "pretty_name: Synthetic emotion dataset", "language: en", "tags:"]
    lines += [f"- {tag}" for tag in ("synthetic", "emotion", "emotion-factory", *(["rehearsal"] if rehearsal else []))]
    lines += ["task_categories:", "- text-classification"]
    lines += ["- multiple-choice"] if any(found.rows.get((view, "train")) for view in ITEMS) else []
    configs: list[str] = []
    for view, digest in views.items():
        splits = [split for split in ("train", "validation", "test") if found.rows.get((view, split))]
        if splits:
            configs += [f"- config_name: {view}", f"  description: files {digest[:16]}"]
            configs += (["  default: true"] if len(configs) == 2 else []) + ["  data_files:"]
        for split in splits:
            configs += [f"  - split: {split}", f"    path: {view}/{split}-*.parquet"]
    return "\n".join([*lines, *(["configs:", *configs] if configs else []), "---"])


def _opening(identity: Identity, rehearsal: bool) -> str:
    maker = " ".join(filter(None, (identity.engine, identity.model, identity.revision)))
    if rehearsal:
        return (
            f"Made by the rehearsal engine (`{maker}`): **template text, not a language model's**. It shows the shape of "
            "the data and exercises every step; use a real model for data to learn from."
        )
    return f"Texts, labels and questions were written by `{maker}` about the actors of a corpus of narratives."


def _views(found: Measured, views: Sequence[str]) -> str:
    rows = [
        [v, *(f"{found.rows.get((v, s), 0):,}" for s in ("train", "validation", "test")), _FIELDS[v]] for v in views
    ]
    shown = table(["view", "train", "validation", "test", "what"], rows)
    return (
        f"{shown}\n\nFrom {found.sources:,} source records, {found.passages:,} passages and {found.actors:,} actors. "
        "Splits are drawn by source record (80/10/10), so no narrative stands on two sides; records of equal text share "
        "one split. Columns are the same in every run; those that a run has no value for are null. A split without rows "
        "is a file without rows, which pandas and pyarrow read and `load_dataset` does not: it is not in the list above."
    )


def _labels(found: Measured, rehearsal: bool) -> str:
    labels = found.kept.total()
    dealt = [found.dealt[e] for e in EMOTIONS]
    spread = f"{max(dealt) / min(dealt):.2f}" if all(dealt) else "undefined (a class has no row)"
    counts = [found.kept[e] for e in LABELS]
    worst = f"{max(counts) / min(counts):.1f}" if all(counts) else "undefined (a label has no row)"
    by = (
        " (by construction: the rehearsal labeller reads the phrases that the rehearsal writer used)"
        if rehearsal
        else ""
    )
    n = max(1, found.labelled)
    facts = [
        f"labels a row: {labels / n:.2f}; most over least frequent label: {worst}",
        f"the 27 emotions asked for, most over least: {spread}",
        f"rows with the label neutral: {found.with_neutral / n:.1%}; asked for as neutral: "
        f"{found.dealt[NEUTRAL] / max(1, found.dealt.total()):.1%}",
        f"the emotion asked for is among the kept labels in {found.asked_kept / n:.1%} of rows, the strongest in "
        f"{found.asked_first / n:.1%}{by}",
        f"labels said in other words and mapped or left out: {found.aliased / max(1, found.said):.1%}; left out most: "
        + (
            ", ".join(f"{_word(w)} ({k})" for w, k in sorted(found.unmapped.items(), key=lambda u: (-u[1], u[0]))[:5])
            or "none"
        ),
    ]
    if found.read_little.n:
        facts.append(_reading(found, rehearsal))
    rows = [[label, f"{found.dealt[label]:,}", f"{found.kept[label]:,}"] for label in LABELS]
    return _bullets(facts) + "\n\n" + table(["label", "asked for", "kept"], rows)


def _reading(found: Measured, rehearsal: bool) -> str:
    little = found.read_little.total / found.read_little.n
    return (
        f"read from log-probabilities in {found.read_little.n:,} rows: mean entropy {found.read_entropy} (1: no label "
        f"likelier than another), mean agreement with the asked intensities {found.read_agreement} (1: the same); rows "
        f"whose codes hold less than half of the next token: {little:.1%}" + (" (by construction)" if rehearsal else "")
    )


def _word(said: str) -> str:
    """A model's own word, fit for Markdown."""
    return re.sub(r"[^\w' -]", "", one_line(said))[:40]


def _text(found: Measured) -> str:
    facts = [
        f"utterances distinct before duplicates were removed: {found.distinct:.1%} (case and punctuation aside)",
        f"words an utterance: {found.words}",
        f"distinct-2 of the first {found.grams:,} pairs of words: {len(found.seen) / max(1, found.grams):.3f}",
        f"overlap of the two neutral utterances of an actor: {found.neutral_pairs} (Dice over words)",
        f"overlap of raw and cleaned context: {found.cleaning}; of original and rewritten utterance: {found.rewriting}",
    ]
    return _bullets(facts)


def _rejects(units: Mapping[str, Count], found: Measured) -> str:
    rows = [
        [
            stage,
            f"{c.inputs:,}",
            f"{c.accepted:,}",
            f"{c.rejected:,}",
            f"{c.made:,}",
            f"{c.kept:,}",
            f"{c.dropped:,}",
            ", ".join(f"{r} {n:,}" for r, n in c.why()[:4]) or "-",
        ]
        for stage, c in units.items()
    ]
    shown = table(["stage", "inputs", "accepted", "rejected", "made", "kept", "dropped", "reasons"], rows)
    mended = Counter[str]()
    for count in units.values():
        mended.update(count.mended)
    said = ", ".join(f"{kind} {n:,}" for kind, n in sorted(mended.items(), key=lambda m: (-m[1], m[0])))
    mending = f" Replies were mended before they could be read: {said}." if said else ""
    later = ", ".join(f"{r} {n:,}" for r, n in sorted(found.reasons.items())) or "nothing"
    return (
        f"{shown}\n\nInputs are units, each accepted or rejected; made rows are kept or dropped one by one. Over the whole "
        f"run the build then dropped: {later} (`dropped.parquet`).{mending}"
    )


def _settings(content: Content, identity: Identity, book: Book, steps: Pipeline) -> str:
    hidden = ("text_column", "id_column", "separator")
    rows = [
        [f"`{k}`", f"{v:.4g}" if isinstance(v, float) else str(v) or "-"]
        for k, v in asdict(content).items()
        if k not in hidden
    ]
    prompts = table(["template", "sha256"], [[n, f"`{book[n].hash[:16]}`"] for n in steps.prompts()])
    return f"{table(['setting', 'value'], rows)}\n\n{prompts}"


def _limits(rehearsal: bool, talks: bool) -> str:
    facts = [
        "Labels are a model's opinion of text that a model wrote; measure on real data before you trust a classifier.",
        "The corpus decides world, culture and register, and its licence extends to what stays close to it "
        "(contexts above all): state it when you publish.",
        "English only; GoEmotions' 28 labels; utterances are thoughts spoken aloud, not dialogue.",
    ]
    if talks:
        facts.append(
            "Dialogues are invented talks of characters with a counsellor: no therapy, and nothing to learn therapy from. "
            "What somebody feels in a scene, and what would help them most, is a model's opinion, as are the rationales."
        )
    if rehearsal:
        facts.insert(
            0, "Template text: figures of agreement and balance hold by construction and say nothing about a model."
        )
    return _bullets(facts)


def _bullets(facts: Iterable[str]) -> str:
    return "\n".join(f"- {fact}" for fact in facts)
