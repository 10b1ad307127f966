"""The README.md of a model folder, written from its own record: nothing in it is typed by hand."""

from collections.abc import Mapping
from typing import Any

from factory.train.thresholds import Thresholds

_ALWAYS = ("base", "loss", "epochs", "batch", "learning_rate", "seed")


def written(record: Mapping[str, Any], kept: Thresholds) -> str:
    """Markdown with the head that a model hub reads."""
    results = record["results"]
    part = "test" if "test" in results else "validation"
    found = results[part]
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-classification",
        "tags: [emotion, multi-label]",
        "---",
        "",
        "# Emotion classifier",
        "",
        f"Trained by emotion-factory {record['factory']} on `{record['data']}` (fingerprint `{record['fingerprint']}`), from {record['base']}"
        + (f", going on from {record['init']}" if record["init"] else "")
        + ".",
        "",
        "## How good it is",
        "",
        f"Thresholds and temperature were found on {kept.tuned_on}; {part} was looked at once, afterwards.",
        "",
        "| measure | " + part + " | 95% |",
        "| --- | --- | --- |",
        *(_line(name, value) for name, value in found.items() if name != "per_class"),
        "",
        "| label | precision | recall | F1 | rows | threshold |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_label(one, dict(zip(kept.classes, kept.values().tolist(), strict=True))) for one in found["per_class"]),
        "",
        "A label with few rows has a wide interval: its F1 says little.",
        "",
        "## Settings",
        "",
        *(f"- {name}: {value}" for name, value in record["recipe"].items() if _worth_saying(name, value)),
        "",
        "## Data",
        "",
        *(f"- {name}: {count:,} rows" for name, count in record["rows"].items()),
        *(f"- {note}" for note in record["notes"]),
        f"- licence of the data: {record['licence']}",
        "",
        "## Use",
        "",
        "```python",
        "from transformers import pipeline",
        "",
        'classify = pipeline("text-classification", model=FOLDER, top_k=None)',
        "```",
        "",
        "The pipeline knows neither temperature nor thresholds: `thresholds.json` holds them, and `factory predict` uses them.",
        "",
    ]
    return "\n".join(lines)


def _line(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"| {name.replace('_', ' ')} | {value['value']:.3f} | {value['low']:.3f} to {value['high']:.3f} |"
    return f"| {name.replace('_', ' ')} | {value:.3f} | |"


def _label(one: Mapping[str, Any], limits: Mapping[str, float]) -> str:
    numbers = " | ".join(f"{one[name]:.2f}" for name in ("precision", "recall", "f1"))
    return f"| {one['label']} | {numbers} | {one['support']} | {limits[one['label']]:.2f} |"


def _worth_saying(name: str, value: Any) -> bool:
    return name in _ALWAYS or value not in ("", 0, 0.0, False, -1.0)
