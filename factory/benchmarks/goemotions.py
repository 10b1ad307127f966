"""GoEmotions (Demszky et al. 2020): Reddit comments with the 28 labels, several a row. METHODS 7.3.

Files: train.tsv, dev.tsv, test.tsv (text, label ids with commas, comment id; texts quoted as in CSV; no header).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from factory.benchmarks import tables
from factory.benchmarks.rows import Benchmark, Parts, Row
from factory.errors import WrongRequest
from factory.taxonomy import EKMAN, LABELS, SENTIMENT

NAMES = {
    "train": ("train.tsv", "data/train.tsv"),
    "dev": ("dev.tsv", "data/dev.tsv"),
    "test": ("test.tsv", "data/test.tsv"),
}
PUBLISHED = {"train": 43_410, "dev": 5_426, "test": 5_427}


def read(path: Path) -> Parts:
    _check_order(path if path.is_dir() else path.parent)
    return tables.parts(tables.files(path, NAMES), _rows, PUBLISHED)


def _check_order(folder: Path) -> None:
    """Ids are places in the published order; a folder that says another one would be read wrongly."""
    listed = folder / "emotions.txt"
    if listed.is_file() and tuple(tables.text_of(listed).split()) != LABELS:
        raise WrongRequest(f"{listed} lists other labels than the 28, or another order; {tables.AGAIN}")


def _rows(part: str, path: Path) -> list[Row]:
    rows = []
    for line, cells in tables.quoted(path, "\t"):
        if len(cells) != 3:
            raise tables.wrong(path, line, f"{len(cells)} columns where 3 should be (text, label ids, comment id)")
        text, ids, name = cells
        places = [int(one) if one.isdecimal() else -1 for one in ids.split(",")]
        if not all(0 <= place < len(LABELS) for place in places):
            raise tables.wrong(path, line, f"{ids[:40]!r} is not a list of label ids from 0 to 27")
        rows.append(Row(name, text.strip(), tuple(LABELS[place] for place in sorted(set(places)))))
    return rows


def _itself(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {label: (label,) for label in labels}


BENCHMARK = Benchmark(
    name="goemotions",
    title="GoEmotions",
    licence="CC BY 4.0",
    source="https://github.com/google-research/google-research/tree/master/goemotions",
    classes=LABELS,
    to28=_itself(LABELS),
    multi=True,
    metric="macro_f1",
    counted=LABELS,
    read=read,
)


def regrouped(rows: Sequence[Row], groups: Mapping[str, tuple[str, ...]]) -> tuple[Row, ...]:
    """The same rows with the groups that their labels belong to, in the order of `groups`."""
    return tuple(
        row._replace(labels=tuple(group for group, labels in groups.items() if set(labels) & set(row.labels)))
        for row in rows
    )


def _grouped(title: str, groups: Mapping[str, tuple[str, ...]]) -> Benchmark:
    def read_grouped(path: Path) -> Parts:
        train, dev, test, notes = read(path)
        return Parts(regrouped(train, groups), regrouped(dev, groups), regrouped(test, groups), notes)

    return replace(BENCHMARK, title=title, classes=tuple(groups), to28=groups, counted=tuple(groups), read=read_grouped)


# One run of a model, scored three times.
TABLES: dict[str, Benchmark] = {
    "28": BENCHMARK,
    "ekman": _grouped("GoEmotions, Ekman's six and neutral", EKMAN),
    "sentiment": _grouped("GoEmotions, sentiment", SENTIMENT),
}
