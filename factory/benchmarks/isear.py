"""ISEAR (Scherer and Wallbott 1994): situations in which people felt one of seven emotions. METHODS 7.4.

Files: isear.csv, as published (fields between |, the text in SIT, the emotion in Field1), or a cleaned table (emotion, text,
mykey; tabs). There is no official split: five folds, with all answers of a respondent and all copies of a text on one side.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from factory.benchmarks import tables
from factory.benchmarks.rows import Benchmark, Parts, Row

CLASSES = ("joy", "fear", "anger", "sadness", "disgust", "shame", "guilt")
NAMES = {"train": ("isear.csv", "isear.tsv", "isear_clean.tsv")}
PUBLISHED = 7_666
CLEAN = ("emotion", "text", "mykey")
_RAW = ("ID", "Field1", "MYKEY", "SIT")
# As whole answers only: "Nothing." is none, "Nothing I did was right." is one.
_NO_ANSWER = re.compile(
    r"(?:no (?:re?sponse|reponse|description|answer)|none|nothing|blank|never|n/?a|not applicable(?: to myself)?"
    r"|do(?:es)?(?:n't| not) (?:apply|know|remember(?: any)?(?: such)?(?: situation)?(?: of that kind)?)"
    r"|(?:i )?ca(?:n't|nnot|n not) (?:think of|remember|recall)(?: (?:any|one|anything|such|a|situation|feelings|just|now))*"
    r"|never (?:felt|experienced|really had)(?: the (?:emotion|experience))?(?: just yet - n/?a)?"
    r"|i have not felt this emotion(?: yet)?|(?:the )?(?:same )?as (?:in|above)\b.{0,60})\.?",
    re.IGNORECASE,
)


def read(path: Path) -> Parts:
    (file,) = tables.files(path, NAMES).values()
    first = tables.lines(file)[0][1]
    found = list(_raw(file) if "|" in first else _clean(file))
    silent = [row.text for row in found if _NO_ANSWER.fullmatch(row.text)]
    kept = tuple(row for row in found if not _NO_ANSWER.fullmatch(row.text))
    notes = [f"{len(silent)} answers that tell no situation ({silent[0]!r} ...) are left out"] if silent else []
    if len(found) != PUBLISHED:
        notes.append(f"{file.name} holds {len(found):,} answers, the published file {PUBLISHED:,}")
    return Parts(kept, (), (), tuple(notes))


def _clean(path: Path) -> Iterator[Row]:
    for line, (emotion, text, key) in tables.plain(path, "\t", CLEAN):
        yield _row(path, line, emotion, text, key)


def _raw(path: Path) -> Iterator[Row]:
    """SIT may hold stray |, so the fields before it are counted from the left and those after it from the right."""
    (first, head), *rest = tables.lines(path)
    header = head.split("|")
    if any(name not in header for name in _RAW):
        raise tables.wrong(path, first, f"there is no column {', '.join(n for n in _RAW if n not in header)}")
    emotion, key, text = (header.index(name) for name in ("Field1", "MYKEY", "SIT"))
    after = len(header) - text - 1
    for line, said in rest:
        cells = said.split("|")
        if len(cells) < len(header):
            raise tables.wrong(path, line, f"{len(cells)} fields where {len(header)} should be")
        yield _row(path, line, cells[emotion], _mended(" ".join(cells[text : len(cells) - after])), cells[key])


def _mended(text: str) -> str:
    """Line ends of the old file stand as á, opening quotes as a backslash and closing ones as \\", the whole then quoted."""
    text = " ".join(text.replace("á", " ").split())
    if "\\" in text:
        text = text.removesuffix('"').replace('\\"', '"').replace("\\", '"')
    return text[1:-1].strip() if text.startswith("[") and text.endswith("]") else text


def _row(path: Path, line: int, emotion: str, text: str, key: str) -> Row:
    key = key.strip()
    if emotion not in CLASSES:
        raise tables.wrong(path, line, f"{emotion[:40]!r} is none of {', '.join(CLASSES)}")
    if not key.isdecimal():
        raise tables.wrong(path, line, f"the key {key[:40]!r} is no number")
    return Row(key, text.strip(), (emotion,), group=key[:-1].lstrip("0"))  # the last digit is the number of the emotion


BENCHMARK = Benchmark(
    name="isear",
    title="ISEAR",
    licence="no licence text; research use with citation, as its owners ask (check)",
    source="https://www.unige.ch/cisa/research/materials-and-online-research/research-material/",
    classes=CLASSES,
    to28={
        "joy": ("joy",),
        "fear": ("fear",),
        "anger": ("anger",),
        "sadness": ("sadness",),
        "disgust": ("disgust",),
        "shame": ("embarrassment",),
        "guilt": ("remorse",),
    },
    multi=False,
    metric="macro_f1",
    counted=CLASSES,
    read=read,
    folds=5,
)
