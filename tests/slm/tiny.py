"""Small language models of random weights that can be taught by heart, and a small dataset folder in the form of a run's."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from models import tiny as untaught
from pyarrow import parquet

from factory import views
from factory.taxonomy import ID, LABELS

KINDS = untaught.KINDS
# Weights so many times as large as an untaught model's: else its layers do nothing, and a frozen output layer is sure of nothing.
WIDE = 6.0
SIGNS = {"joy": "sunshine", "anger": "hammer", "fear": "cellar", "gratitude": "present"}
VALENCE = {"joy": 0.9, "anger": 0.1, "fear": 0.2, "gratitude": 0.85}
FILLERS = "the old man went down to the river and saw a boat with two people".split()
TEMPLATE = untaught.TEMPLATE


def make(folder: Path, kind: str = "qwen3", *, hidden: int = 64, layers: int = 2) -> Path:
    """A causal language model in float32 with a tokeniser and a chat template; the same call writes the same bytes."""
    import torch
    from transformers import AutoModelForCausalLM

    untaught.make(folder, kind, hidden=hidden, layers=layers)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.mul_(WIDE)
    model.save_pretrained(folder)
    return folder


def sayings(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of a contextless view, as far as a language model learns from them; all texts differ."""
    draw, rows = random.Random(seed), []
    for number in range(count):
        label = draw.choice(list(SIGNS))
        words = [*draw.sample(FILLERS, draw.randint(1, 8)), SIGNS[label], f"no{seed}x{number}"]
        draw.shuffle(words)
        scores = [0.0] * len(LABELS)
        scores[ID[label]] = 0.8
        rows.append({
            "id": f"r{seed}-{number}",
            "source_id": f"s{seed}-{number % 5}",
            "passage_id": "p",
            "split": "",
            "utterance": " ".join(words),
            "emotion": label,
            "labels": [label],
            "label_ids": [ID[label]],
            "intensities": scores,
            "valence": VALENCE[label],
            "arousal": 0.6,
            "dominance": 0.4,
            "goal_attainment": VALENCE[label],
            "controllability": 0.5,
            "certainty": 0.9,
            "fairness": 0.2,
            "rationale": f"The {SIGNS[label]} says it.",
            "kind": "original",
        })  # fmt: skip
    return rows


def dataset(folder: Path, counts: Sequence[int] = (24, 8, 8), first: int = 0) -> Path:
    """A dataset folder with the views `contextless` and `sft`; sources are of one part each. `first` seed: others for others."""
    for seed, (part, count) in enumerate(zip(("train", "validation", "test"), counts, strict=True), first):
        table = _table(sayings(count, seed))
        for view, made in (("contextless", table), ("sft", views.sft(table))):
            path = folder / view / f"{part}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(made, path)
    return folder


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    schema = views.SCHEMAS["contextless"]
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)
