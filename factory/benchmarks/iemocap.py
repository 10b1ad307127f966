"""IEMOCAP (Busso et al. 2008): acted dialogues, each turn with the emotion that most annotators gave. METHODS 7.4.

Files: the owner's tree, Session1 to Session5 with dialog/EmoEvaluation/*.txt and dialog/transcriptions/*.txt. Session 5 is
the test part, as others have it; its speakers stand nowhere else. There is no official dev part. The labels here are those
of the owner's files; papers that use the feature files of others report other counts (7,433 turns of six classes, METHODS
7.1), so their rows may not be exactly these. Rows without a majority label are left out.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from factory.benchmarks import tables
from factory.benchmarks.rows import Benchmark, Parts, Row
from factory.errors import WrongRequest

SIX = {"hap": "happy", "exc": "excited", "sad": "sad", "neu": "neutral", "ang": "angry", "fru": "frustrated"}
FOUR = {"hap": "happy", "exc": "happy", "sad": "sad", "neu": "neutral", "ang": "angry"}
SESSIONS = 5
_LABEL = re.compile(r"\[\s*[\d.]+\s*-\s*[\d.]+\s*\]\s+(?P<turn>Ses\w+)\s+(?P<emotion>[a-z]{3})\s+\[")
_SAID = re.compile(r"(?P<turn>Ses\w+)\s*(?:\[[^\]]*\])?\s*:(?P<text>.*)")


def read(classes: Mapping[str, str], path: Path) -> Parts:
    root = next((one for one in (path, path / "IEMOCAP_full_release") if (one / "Session1").is_dir()), None)
    if root is None:
        raise WrongRequest(f"{path} has no Session1; give the folder IEMOCAP_full_release as its owner hands it out")
    notes: list[str] = []
    rows = {n: _session(root / f"Session{n}", classes, notes) for n in range(1, SESSIONS + 1)}
    train = tuple(row for n in range(1, SESSIONS) for row in rows[n])
    return Parts(train, (), tuple(rows[SESSIONS]), tuple(notes))


def _session(folder: Path, classes: Mapping[str, str], notes: list[str]) -> list[Row]:
    # A copy made on a Mac has a file ._Ses01... beside each.
    files = sorted((folder / "dialog/EmoEvaluation").glob("Ses*.txt"))
    if not files:
        raise WrongRequest(f"{folder} has no dialog/EmoEvaluation/Ses*.txt; give the whole release, all five sessions")
    return [row for file in files for row in _dialogue(file, classes, notes)]


def _dialogue(path: Path, classes: Mapping[str, str], notes: list[str]) -> list[Row]:
    given = {
        found["turn"]: found["emotion"] for _, line in tables.lines(path, legacy=True) if (found := _LABEL.match(line))
    }
    if not given:
        raise tables.wrong(path, 1, "no line has the form [start - end] turn emotion [values]")
    said = _transcript(path.parents[1] / "transcriptions" / path.name)
    mute = [turn for turn in given if turn not in said]
    if mute:
        notes.append(f"{path.name}: {len(mute)} labelled turns have no transcript and are left out")
    turns = list(said.values())
    return [
        Row(turn, text, (classes[given[turn]],), path.stem, tables.before(turns, place))
        for place, (turn, text) in enumerate(said.items())
        if given.get(turn) in classes
    ]


def _transcript(path: Path) -> dict[str, str]:
    """Turn -> what is said, in the order of the file, which is that of time."""
    found = [match for _, line in tables.lines(path, legacy=True) if (match := _SAID.match(line))]
    if not found:
        raise tables.wrong(path, 1, "no line has the form turn [start-end]: text")
    return {match["turn"]: match["text"].strip() for match in found}


_TO28 = {
    "happy": ("joy",),
    "excited": ("excitement",),
    "sad": ("sadness",),
    "neutral": ("neutral",),
    "angry": ("anger",),
    "frustrated": ("annoyance",),
}


def _benchmark(name: str, title: str, own: Mapping[str, str], to28: Mapping[str, tuple[str, ...]]) -> Benchmark:
    classes = tuple(to28)
    return Benchmark(
        name=name,
        title=title,
        licence="signed licence of the University of Southern California; not to be redistributed (check)",
        source="https://sail.usc.edu/iemocap/",
        classes=classes,
        to28=to28,
        multi=False,
        metric="weighted_f1",
        counted=classes,
        read=partial(read, own),
        folder="iemocap",
    )


_HAPPY = {"happy": ("joy", "excitement")}
BENCHMARK = _benchmark("iemocap6", "IEMOCAP, six classes", SIX, _TO28)
FOUR_WAY = _benchmark(
    "iemocap4", "IEMOCAP, four classes", FOUR, {c: _HAPPY.get(c, _TO28[c]) for c in dict.fromkeys(FOUR.values())}
)
