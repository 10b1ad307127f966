"""EmpatheticDialogues (Rashkin et al. 2019): a situation, told under one of 32 emotions. METHODS 7.4.

Files: the owner's train.csv, valid.csv, test.csv (eight columns without quoting, a comma inside a text written _comma_;
a row is an utterance, and we take the situation once per conversation); or situations_<part>.csv (text, aug_text, label),
the copy of LCL and HypEmo, whose ids follow ORDER as their code has it, unless a labels.txt beside them says otherwise.
"""

from pathlib import Path

from factory.benchmarks import tables
from factory.benchmarks.rows import Benchmark, Parts, Row
from factory.errors import WrongRequest

ORDER = (
    "sad", "trusting", "terrified", "caring", "disappointed", "faithful", "joyful", "jealous", "disgusted", "surprised",
    "ashamed", "afraid", "impressed", "sentimental", "devastated", "excited", "anticipating", "annoyed", "anxious",
    "furious", "content", "lonely", "angry", "confident", "apprehensive", "guilty", "embarrassed", "grateful", "hopeful",
    "proud", "prepared", "nostalgic",
)  # fmt: skip
NAMES = {
    "train": ("train.csv", "empatheticdialogues/train.csv", "situations_train.csv"),
    "dev": ("valid.csv", "empatheticdialogues/valid.csv", "situations_valid.csv", "situations_dev.csv"),
    "test": ("test.csv", "empatheticdialogues/test.csv", "situations_test.csv"),
}
PUBLISHED = {"train": 19_533, "dev": 2_770, "test": 2_547}
COLUMNS = ("conv_id", "utterance_idx", "context", "prompt", "speaker_idx", "utterance", "selfeval", "tags")
SITUATIONS = ("text", "aug_text", "label")
# Of several classes with one label the first is chosen: that which the label names best, loose ones last.
TO28: dict[str, tuple[str, ...]] = {
    "afraid": ("fear",),
    "terrified": ("fear",),
    "angry": ("anger",),
    "furious": ("anger",),
    "annoyed": ("annoyance",),
    "anxious": ("nervousness",),
    "apprehensive": ("nervousness",),
    "caring": ("caring",),
    "devastated": ("grief",),
    "disappointed": ("disappointment",),
    "disgusted": ("disgust",),
    "embarrassed": ("embarrassment",),
    "ashamed": ("embarrassment",),
    "excited": ("excitement",),
    "anticipating": ("excitement",),
    "grateful": ("gratitude",),
    "guilty": ("remorse",),
    "hopeful": ("optimism",),
    "confident": ("optimism",),
    "impressed": ("admiration",),
    "joyful": ("joy",),
    "content": ("joy",),
    "proud": ("pride",),
    "sad": ("sadness",),
    "lonely": ("sadness",),
    "nostalgic": ("sadness",),
    "surprised": ("surprise",),
    "faithful": (),
    "jealous": (),
    "prepared": (),
    "sentimental": (),
    "trusting": (),
}


def read(path: Path) -> Parts:
    return tables.parts(tables.files(path, NAMES), _rows, PUBLISHED)


def _rows(part: str, path: Path) -> list[Row]:
    first = tables.lines(path)[0][1]
    return _situations(part, path) if first.strip() == ",".join(SITUATIONS) else _conversations(path)


def _conversations(path: Path) -> list[Row]:
    rows: dict[str, Row] = {}
    for line, cells in tables.plain(path, ",", COLUMNS, optional=1):  # the ninth: candidates, in some copies
        name, label = cells[0], cells[2].strip()
        if label not in TO28:
            raise tables.wrong(path, line, f"{label[:40]!r} is none of the 32 emotions")
        rows.setdefault(name, Row(name, cells[3].replace("_comma_", ",").strip(), (label,), name))
    return list(rows.values())


def _situations(part: str, path: Path) -> list[Row]:
    order = _order(path.with_name("labels.txt"))
    rows: list[Row] = []
    for line, (text, label) in tables.columns(path, ("text", "label")):
        if not (label.isdecimal() and int(label) < len(order)):
            raise tables.wrong(path, line, f"{label[:40]!r} is no label id from 0 to {len(order) - 1}")
        rows.append(Row(f"{part}/{len(rows)}", text.strip(), (order[int(label)],)))
    return rows


def _order(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ORDER
    order = tuple(tables.text_of(path).split())
    if set(order) != set(ORDER) or len(order) != len(ORDER):
        raise WrongRequest(
            f"{path} does not list the 32 emotions once each; write them in the order of their ids, one a line"
        )
    return order


BENCHMARK = Benchmark(
    name="empathetic",
    title="EmpatheticDialogues (situations)",
    licence="CC BY-NC 4.0",
    source="https://github.com/facebookresearch/EmpatheticDialogues",
    classes=tuple(sorted(ORDER)),
    to28=TO28,
    multi=False,
    metric="accuracy",
    counted=tuple(sorted(ORDER)),
    read=read,
    folder="empatheticdialogues",
)
