"""The README.md of a language model's folder, written from its own record: nothing in it is typed by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

_ALWAYS = ("mode", "epochs", "batch", "lora_rank", "lora_alpha", "lora_targets", "learning_rate", "seed")


def written(record: Mapping[str, Any]) -> str:
    """Markdown with the head that a model hub reads."""
    lines = [
        "---",
        f"base_model: {record['base']}",
        "library_name: peft",
        "pipeline_tag: text-generation",
        "tags: [emotion, lora]",
        "---",
        "",
        "# Emotion language model",
        "",
        f"A LoRA adapter for `{record['base']}` (at `{record['base_commit']}`), trained by emotion-factory "
        f"{record['factory']} on `{record['data']}` (fingerprint `{record['fingerprint']}`), in {record['precision']}. It "
        "answers with one line of JSON: labels of GoEmotions' 28, valence, arousal and dominance from 0 to 1, and a sentence.",
        "",
        "## What was measured while it was trained",
        "",
        "How little the answers of held-out rows surprise it. That says nothing of how often it obeys the contract or is right: "
        "`factory evaluate` measures that.",
        "",
        "| part | nats a token | probability of a token | macro-F1 of the label head |",
        "| --- | --- | --- | --- |",
        *(_line(part, found) for part, found in record["results"].items()),
        "",
        "## Settings",
        "",
        *_settings(record["recipe"]),
        "",
        "## Data",
        "",
        *(f"- {name}: {_counts(parts)}" for name, parts in record["pools"].items()),
        *(f"- {note}" for note in record["notes"]),
        f"- licence of the data: {record['licence'] or 'not known'}",
        "- licence of the base: see where it comes from; it binds the merged model too",
        "",
        "## Use",
        "",
        "```python",
        "from peft import AutoPeftModelForCausalLM",
        "from transformers import AutoTokenizer",
        "",
        "model = AutoPeftModelForCausalLM.from_pretrained(FOLDER)",
        "tokenizer = AutoTokenizer.from_pretrained(FOLDER)",
        "```",
        "",
        "The prompt is the `sft` view's: the contract's system words, then the utterance. The terms of the loss beside plain "
        "language modelling are ours, inspired by EmoLoom-2B.",
        "",
    ]
    return "\n".join(lines)


def of_seeds(records: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """seeds.json and README.md over several models that differ in their seed."""
    part = "test" if "test" in records[0]["results"] else "validation"
    found = [record["results"][part] for record in records]
    name = "surprise" if "surprise" in found[0] else "macro_f1"
    scores = [one[name] if name == "surprise" else one[name]["value"] for one in found]
    mean = sum(scores) / len(scores)
    spread = (sum((one - mean) ** 2 for one in scores) / (len(scores) - 1)) ** 0.5
    seeds = [record["recipe"]["seed"] for record in records]
    told = {"seeds": seeds, "part": part, name: scores, "mean": mean, "standard_deviation": spread}
    lines = [
        "# Models of several seeds",
        "",
        f"`{records[0]['base']}` on `{records[0]['data']}`; {name.replace('_', ' ')} on {part}:",
        "",
        "| model | " + name.replace("_", " ") + " |",
        "| --- | --- |",
        *(f"| [seed {seed}](seed-{seed}/README.md) | {score:.4f} |" for seed, score in zip(seeds, scores, strict=True)),
        f"| mean | {mean:.4f} |",
        f"| standard deviation | {spread:.4f} |",
        "",
    ]
    return {"README.md": "\n".join(lines).encode(), "seeds.json": orjson.dumps(told, option=orjson.OPT_INDENT_2)}


def _line(part: str, found: Mapping[str, Any]) -> str:
    head = f"{found['label_head_macro_f1']:.3f}" if "label_head_macro_f1" in found else ""
    return f"| {part} | {found['surprise']:.4f} | {found['probability']:.4f} | {head} |"


def _settings(recipe: Mapping[str, Any]) -> list[str]:
    off = ("", 0, 0.0, False)
    return [f"- {name}: {value}" for name, value in recipe.items() if name in _ALWAYS or value not in off]


def _counts(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{part} {count:,}" for part, count in parts.items()) + " rows"
