"""EmoBank (Buechel and Hahn 2017): sentences with valence, arousal and dominance from 1 to 5. METHODS 5.3 and 7.4.

File: emobank.csv (id, split, V, A, D, text).
"""

from pathlib import Path

from factory.benchmarks import tables
from factory.benchmarks.rows import Benchmark, Parts, Row

NAMES = {"test": ("emobank.csv", "corpus/emobank.csv")}
PUBLISHED = {"train": 8_062, "dev": 1_000, "test": 1_000}
COLUMNS = ("id", "split", "V", "A", "D", "text")
DIMENSIONS = ("valence", "arousal", "dominance")


def read(path: Path) -> Parts:
    (file,) = tables.files(path, NAMES).values()
    split: dict[str, list[Row]] = {part: [] for part in PUBLISHED}
    for line, (name, part, *said, text) in tables.columns(file, COLUMNS):
        if part not in split:
            raise tables.wrong(file, line, f"split {part[:40]!r} is none of train, dev, test")
        split[part].append(Row(name, text.strip(), (), values=tuple(_value(file, line, one) for one in said)))
    found = {part: file for part, rows in split.items() if rows}
    return tables.parts(found, lambda part, _: split[part], PUBLISHED)


def _value(path: Path, line: int, said: str) -> float:
    try:
        value = float(said)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 5:
        raise tables.wrong(path, line, f"{said[:40]!r} is no value from 1 to 5")
    return value


BENCHMARK = Benchmark(
    name="emobank",
    title="EmoBank",
    licence="CC BY-SA 4.0",
    source="https://github.com/JULIELab/EmoBank",
    classes=(),
    to28={},
    multi=False,
    metric="pearson",
    counted=(),
    read=read,
)
