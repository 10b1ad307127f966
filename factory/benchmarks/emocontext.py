"""EmoContext (SemEval-2019 task 3): the third turn of a dialogue, with the two before it. METHODS 7.4.

Files: train.txt, dev.txt, test.txt, tab-separated (id, turn1, turn2, turn3, label). The official test is Test2 (test.txt);
`devwithoutlabels.txt` and `testwithoutlabels.txt` hold nothing that can be scored.
"""

from pathlib import Path

from factory.benchmarks import tables
from factory.benchmarks.rows import Benchmark, Parts, Row

NAMES = {"train": ("train.txt",), "dev": ("dev.txt",), "test": ("test.txt",)}
UNLABELLED = ("devwithoutlabels.txt", "testwithoutlabels.txt")
PUBLISHED = {"train": 30_160, "dev": 2_755, "test": 5_509}
COLUMNS = ("id", "turn1", "turn2", "turn3", "label")
CLASSES = ("others", "happy", "sad", "angry")


def read(path: Path) -> Parts:
    found = tables.files(path, NAMES)
    notes = [
        f"{name} has no labels and is not used"
        for name in UNLABELLED
        if path.is_dir() and (path / name).is_file() and name.removesuffix("withoutlabels.txt") not in found
    ]
    return tables.parts(found, _rows, PUBLISHED, notes)


def _rows(part: str, path: Path) -> list[Row]:
    first = tables.lines(path)[0][1].rstrip()
    if first == "\t".join(COLUMNS[:-1]):
        raise tables.wrong(path, 1, "this file has no labels", "give the file with them (dev.txt, test.txt)")
    rows = []
    for line, (name, *turns, label) in tables.plain(path, "\t", COLUMNS):
        label = label.strip()
        if label not in CLASSES:
            raise tables.wrong(path, line, f"{label[:40]!r} is none of {', '.join(CLASSES)}")
        one, two, three = (turn.strip() for turn in turns)
        rows.append(Row(f"{part}/{name}", three, (label,), context=f"{one}\n{two}"))
    return rows


BENCHMARK = Benchmark(
    name="emocontext",
    title="EmoContext (SemEval-2019 task 3)",
    licence="terms of the task: for its participants, not to be redistributed (check)",
    source="https://competitions.codalab.org/competitions/19790",
    classes=CLASSES,
    to28={"others": ("neutral",), "happy": ("joy",), "sad": ("sadness",), "angry": ("anger",)},
    multi=False,
    metric="micro_f1_of",
    counted=("happy", "sad", "angry"),
    read=read,
)
