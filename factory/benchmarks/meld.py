"""MELD (Poria et al. 2019): utterances of a television series with one of seven emotions. METHODS 7.4.

Files: train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv; dialogue ids start anew in each.
"""

from pathlib import Path

from factory.benchmarks import tables
from factory.benchmarks.rows import Benchmark, Parts, Row

CLASSES = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
NAMES = {part: (f"{part}_sent_emo.csv", f"MELD/{part}_sent_emo.csv") for part in ("train", "dev", "test")}
PUBLISHED = {"train": 9_989, "dev": 1_109, "test": 2_610}
COLUMNS = ("Dialogue_ID", "Utterance_ID", "Utterance", "Emotion")


def read(path: Path) -> Parts:
    return tables.parts(tables.files(path, NAMES), _rows, PUBLISHED)


def _rows(part: str, path: Path) -> list[Row]:
    said: dict[str, list[tuple[int, str, str]]] = {}
    for line, (dialogue, place, text, label) in tables.columns(path, COLUMNS, legacy=True):
        label = label.strip().lower()
        if label not in CLASSES:
            raise tables.wrong(path, line, f"{label[:40]!r} is none of {', '.join(CLASSES)}")
        if not place.strip().isdecimal():
            raise tables.wrong(path, line, f"Utterance_ID {place[:40]!r} is no number")
        said.setdefault(dialogue.strip(), []).append((int(place), tables.mended(text).strip(), label))
    rows = []
    for dialogue, several in said.items():
        ordered = sorted(several)
        turns = [text for _, text, _ in ordered]
        for n, (number, text, label) in enumerate(ordered):
            group = f"{part}/{dialogue}"
            rows.append(Row(f"{group}.{number}", text, (label,), group, tables.before(turns, n)))
    return rows


BENCHMARK = Benchmark(
    name="meld",
    title="MELD",
    licence="GPL-3.0 as stated by its owner; transcripts of a television series, not to be redistributed",
    source="https://github.com/declare-lab/MELD",
    classes=CLASSES,
    to28={label: (label,) for label in CLASSES},
    multi=False,
    metric="weighted_f1",
    counted=CLASSES,
    read=read,
)
