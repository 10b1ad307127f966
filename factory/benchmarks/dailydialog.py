"""DailyDialog (Li et al. 2017): everyday dialogues, each utterance with one of seven classes. METHODS 7.4.

Files: dialogues_<part>.txt (utterances that end in __eou__, a dialogue a line) and dialogues_emotion_<part>.txt (numbers
from 0 to 6), flat or in the folders train, validation and test; or dialogues_text.txt and dialogues_emotion.txt, unsplit.
"""

from collections.abc import Sequence
from pathlib import Path

from factory.benchmarks import tables
from factory.benchmarks.rows import Benchmark, Parts, Row
from factory.errors import WrongRequest
from factory.text import normal

CLASSES = ("no emotion", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
PUBLISHED = {"train": 87_170, "dev": 8_069, "test": 7_740}
_PARTS = {"train": ("train",), "dev": ("validation", "valid", "dev"), "test": ("test",)}
NAMES = {
    part: tuple(name for word in words for name in (f"dialogues_{word}.txt", f"{word}/dialogues_{word}.txt"))
    for part, words in _PARTS.items()
}
UNSPLIT = "dialogues_text.txt"
_MOST_UNEVEN = 0.01  # of the dialogues; the published files have one


def read(path: Path) -> Parts:
    whole = path if path.name == UNSPLIT else path / UNSPLIT
    notes: list[str] = []
    split = path.is_dir() and any((path / name).is_file() for names in NAMES.values() for name in names)
    if whole.is_file() and not split:
        notes.append(f"{UNSPLIT} has no split: every dialogue is in the training part and there is no test part")
        return Parts(tuple(_rows("train", whole, notes)), (), (), tuple(notes))
    found = tables.files(path, NAMES)
    made = tables.parts(found, lambda part, file: _rows(part, file, notes), PUBLISHED)
    return made._replace(notes=(*notes, *_doubled(made), *made.notes))


def _rows(part: str, path: Path, notes: list[str]) -> list[Row]:
    feelings = path.with_name(path.name.replace("dialogues_", "dialogues_emotion_", 1))
    if path.name == UNSPLIT:
        feelings = path.with_name("dialogues_emotion.txt")
    texts, numbers = tables.lines(path), tables.lines(feelings)
    if len(texts) != len(numbers):
        raise WrongRequest(
            f"{path} has {len(texts):,} dialogues and {feelings.name} {len(numbers):,}; {tables.AGAIN}, both of one release"
        )
    rows, uneven = [], []
    for place, ((line, text), (said, ids)) in enumerate(zip(texts, numbers, strict=True)):
        turns, labels = _turns(path, line, text), _labels(feelings, said, ids)
        if len(turns) != len(labels):
            uneven.append(f"{path.name} line {line} has {len(turns)} utterances and {len(labels)} labels")
        for turn, label in zip(range(len(turns)), labels, strict=False):
            group = f"{part}/{place}"
            rows.append(Row(f"{group}.{turn}", turns[turn], (label,), group, tables.before(turns, turn)))
    if len(uneven) > max(1, _MOST_UNEVEN * len(texts)):
        raise WrongRequest(
            f"{uneven[0]}, and {len(uneven) - 1} other dialogues too; {tables.AGAIN}, both of one release"
        )
    notes += [f"{one}: cut to what both have" for one in uneven]
    return rows


def _turns(path: Path, line: int, text: str) -> list[str]:
    *turns, rest = text.split("__eou__")
    if not turns or rest.strip():
        raise tables.wrong(path, line, "the last utterance does not end in __eou__: the file was cut or is another")
    return [turn.strip() for turn in turns]


def _labels(path: Path, line: int, ids: str) -> list[str]:
    places = ids.split()
    if not all(one.isdecimal() and int(one) < len(CLASSES) for one in places):
        raise tables.wrong(path, line, "not all of it are numbers from 0 to 6")
    return [CLASSES[int(one)] for one in places]


def _dialogues(rows: Sequence[Row]) -> list[str]:
    """Each dialogue as one text in normal form."""
    whole: dict[str, list[str]] = {}
    for row in rows:
        whole.setdefault(row.group, []).append(normal(row.text))
    return ["\n".join(turns) for turns in whole.values()]


def _doubled(made: Parts) -> list[str]:
    train = set(_dialogues(made.train))
    counts = {
        name: [one in train for one in _dialogues(rows)] for name, rows in (("dev", made.dev), ("test", made.test))
    }
    return [
        f"{sum(twice):,} of the {len(twice):,} {name} dialogues stand word for word in train"
        for name, twice in counts.items()
        if any(twice)
    ]


BENCHMARK = Benchmark(
    name="dailydialog",
    title="DailyDialog",
    licence="CC BY-NC-SA 4.0",
    source="http://yanran.li/dailydialog",
    classes=CLASSES,
    to28={
        "no emotion": ("neutral",),
        "anger": ("anger",),
        "disgust": ("disgust",),
        "fear": ("fear",),
        "happiness": ("joy",),
        "sadness": ("sadness",),
        "surprise": ("surprise",),
    },
    multi=False,
    metric="micro_f1_of",
    counted=CLASSES[1:],
    read=read,
)
