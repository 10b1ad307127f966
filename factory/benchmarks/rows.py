"""What a benchmark is, and what its reader returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One text as its benchmark publishes it; `id` stands once in its part."""

    id: str
    text: str
    labels: tuple[str, ...]  # in the benchmark's own classes; () where it has values instead
    group: str = ""  # respondent, conversation, dialogue: never on two sides of a split; "" where rows stand alone
    context: str = ""  # the turns before, one a line
    values: tuple[float, ...] = ()  # EmoBank: valence, arousal, dominance from 1 to 5


class Parts(NamedTuple):
    """The official parts, in the order of their files; `notes` says in sentences what was mended, dropped or is absent."""

    train: tuple[Row, ...]
    dev: tuple[Row, ...]
    test: tuple[Row, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One public test: how it is read, which of the 28 labels stand for its classes, and how it is scored."""

    name: str
    title: str
    licence: str
    source: str  # where its owner publishes it
    classes: tuple[str, ...]  # () where it has values
    to28: Mapping[str, tuple[str, ...]]  # own class -> labels of the 28; () where none says it
    multi: bool  # may a row have several labels?
    metric: str  # the official one: macro_f1, micro_f1_of, weighted_f1, accuracy, pearson
    counted: tuple[str, ...]  # the classes that the metric counts
    read: Callable[[Path], Parts]  # a folder or one of its files; WrongRequest with file, line and cure
    folds: int = 0  # of a cross-validation, where there is no official split
    folder: str = ""  # its usual name among several benchmarks; "" as `name`
