"""Facts about the bundled narratives under corpora/."""

import json
import re
from pathlib import Path
from statistics import median

import pytest

from factory.corpus import Corpus, Source, cut, survey
from factory.engines.rehearsal.scene import read_scene
from factory.text import looks_english, normal

CORPORA = Path(__file__).resolve().parents[1] / "corpora"
FILES = sorted(CORPORA.glob("*.jsonl"))
RECORDS = [json.loads(line) for path in FILES for line in path.read_text("utf-8").splitlines()]

by_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
by_record = pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["id"])


def _size(record: dict[str, str]) -> int:
    return len(record["text"].split())


def test_there_are_enough_narratives_of_enough_domains() -> None:
    """At least 48 narratives over at least 6 domains."""
    assert len(RECORDS) >= 48
    assert len({record["domain"] for record in RECORDS}) >= 6


@by_record
def test_a_narrative_is_a_short_scene(record: dict[str, str]) -> None:
    """120 to 250 words in one paragraph, so each is one passage."""
    assert 120 <= _size(record) <= 250
    assert "\n" not in record["text"]
    assert len(list(cut(record["text"], 400))) == 1


def test_narratives_have_people_who_can_think_aloud() -> None:
    """The rehearsal engine finds somebody in each, and two or more in nineteen of twenty: a first run has many voices."""
    found = [len(read_scene(record["text"]).people) for record in RECORDS]
    assert min(found) >= 1
    assert sum(n >= 2 for n in found) >= 0.95 * len(found)


def test_ids_and_texts_are_unique() -> None:
    """No id and no text stands twice over all files."""
    assert len({record["id"] for record in RECORDS}) == len(RECORDS)
    assert len({normal(record["text"]) for record in RECORDS}) == len(RECORDS)
    assert len({record["title"] for record in RECORDS}) == len(RECORDS)


@by_file
def test_a_record_names_its_file(path: Path) -> None:
    """Ids are the domain and a running number, and the domain is the name of the file."""
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [r["id"] for r in records] == [f"{path.stem}-{n:02}" for n in range(1, len(records) + 1)]
    assert {r["domain"] for r in records} == {path.stem}
    assert all(set(r) == {"id", "title", "domain", "setting", "text"} and all(r.values()) for r in records)


def test_the_folder_is_read_whole_and_without_a_skip() -> None:
    """`CORPUS=corpora` gives every record under its own id; the README and nothing else is passed over."""
    found = survey(Corpus(path=CORPORA), None)
    assert (found.records, found.skipped_count, found.english) == (len(RECORDS), 0, True)
    read = [r for r in Corpus(path=CORPORA).records() if isinstance(r, Source)]
    assert [r.id for r in read] == [r["id"] for r in RECORDS]
    assert [r.text for r in read] == [r["text"] for r in RECORDS]


def test_each_narrative_is_english() -> None:
    """Prompts and checks are English, so is what they are first tried on."""
    assert [r["id"] for r in RECORDS if not looks_english([r["text"]])] == []


def test_the_readme_counts_what_the_files_hold() -> None:
    """Every row of the README's table is what a count of the files gives."""
    readme = (CORPORA / "README.md").read_text("utf-8")
    stated = {
        row[0]: [float(cell) for cell in row[1:]]
        for row in re.findall(r"^\| `?(\w+)`? \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", readme, re.M)
    }
    groups = {path.stem: [r for r in RECORDS if r["domain"] == path.stem] for path in FILES} | {"all": RECORDS}
    counted = {
        name: [len(some), min(sizes), median(sizes), max(sizes)]
        for name, some in groups.items()
        if (sizes := [_size(r) for r in some])
    }
    assert stated == counted
