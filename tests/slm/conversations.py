"""Small dataset folders of our own, with the views that a language model learns from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from factory import contract, questions
from factory.taxonomy import ID
from factory.views import SCHEMAS

PARTS = ("train", "validation", "test")
SCENE = {
    "scenario": "Ama missed the last boat, and her sister laughed.",
    "subject": "Ama",
    "emotion_choices": ["Joy", "Anger"],
    "emotion_label": "Anger",
    "cause_choices": ["her sister laughed", "the boat was blue"],
    "cause_label": "her sister laughed",
    "rationale": "She was laughed at when she had lost her way home.",
}


@dataclass(frozen=True, kw_only=True)
class Said:
    """One row as two views hold it; `answer` and `turns` replace what a sound row would have."""

    id: str
    text: str
    source: str
    labels: Sequence[str] = ("joy",)
    vad: tuple[float | None, float | None, float | None] = (0.9, 0.5, 0.4)
    appraisals: tuple[float | None, ...] = (0.1, 0.2, None, 0.4)
    why: str = "It ended well."
    kind: str = "original"
    task: str = "emotion_json"
    engine: str = "toy"
    answer: str | None = None
    turns: tuple[tuple[str, str], ...] | None = None
    scored: bool = True  # whether contextless has it
    scored_labels: Sequence[str] | None = None

    def conversation(self) -> dict[str, Any]:
        v, a, d = (0.5 if one is None else one for one in self.vad)
        if self.task == "mcq_eu":
            turns = questions.understanding(SCENE | {"scenario": self.text}, True)
        else:
            line = contract.line(self.labels, v, a, d, self.why) if self.answer is None else ""
            turns = [("system", contract.SYSTEM), ("user", self.text), ("assistant", line)]
        if self.answer is not None:
            turns[-1] = ("assistant", self.answer)
        told = [{"role": role, "content": content} for role, content in self.turns or turns]
        made = {"id": self.id, "source_id": self.source, "passage_id": f"{self.source}.p1", "task": self.task}
        return made | {"messages": told, "engine": self.engine, "model": "test", "prompt_hash": "0", "seed": 1}

    def scores(self) -> dict[str, Any]:
        labels = list(self.labels if self.scored_labels is None else self.scored_labels)
        made: dict[str, Any] = dict.fromkeys(SCHEMAS["contextless"].names)
        names = ("goal_attainment", "controllability", "certainty", "fairness")
        made |= dict(zip(("valence", "arousal", "dominance"), self.vad, strict=True))
        made |= dict(zip(names, self.appraisals, strict=True))
        made |= {"id": self.id, "source_id": self.source, "utterance": self.text, "labels": labels, "kind": self.kind}
        made |= {"engine": self.engine, "intensities": [0.5] * len(ID)}
        return made | {"label_ids": [ID[label] for label in labels], "rationale": self.why}


def written(folder: Path, parts: Mapping[str, Sequence[Said]]) -> Path:
    """A dataset folder with these rows; a part that is not named has none."""
    for part in PARTS:
        rows = parts.get(part, ())
        scored = [row.scores() for row in rows if row.task == "emotion_json" and row.scored]
        for view, found in (("sft", [row.conversation() for row in rows]), ("contextless", scored)):
            path = folder / view / f"{part}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(pa.Table.from_pylist(found, schema=SCHEMAS[view]), path)
    return folder


def some(part: str, count: int, **more: Any) -> list[Said]:
    """So many rows of a part, two of each source, no two alike."""
    return [
        Said(id=f"{part}{n}", text=f"{part} saying number {n}", source=f"{part}-{n // 2}", **more) for n in range(count)
    ]


def sound(folder: Path, counts: tuple[int, int, int] = (8, 4, 4)) -> Path:
    return written(folder, {part: some(part, count) for part, count in zip(PARTS, counts, strict=True)})


def goemotions(folder: Path, told: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """A folder in the form of GoEmotions (text, label ids), as DATA= names it."""
    folder.mkdir(parents=True)
    for part in ("train", "dev", "test"):
        lines = [f"{text}\t{labels}\t{part}{n}\n" for n, (text, labels) in enumerate(told.get(part, ()))]
        (folder / f"{part}.tsv").write_text("".join(lines), encoding="utf-8")
    return f"goemotions:{folder}"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]
