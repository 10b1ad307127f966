"""Public benchmarks as their owners publish them: nothing is bundled, nothing fetched. Design section 8, METHODS 7."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from factory.benchmarks import dailydialog, emobank, emocontext, empathetic, goemotions, iemocap, isear, meld
from factory.benchmarks.rows import Benchmark, Parts, Row
from factory.benchmarks.splits import folds, repeats, without
from factory.errors import WrongRequest

__all__ = [
    "ALL",
    "Benchmark",
    "Parts",
    "Row",
    "folds",
    "found",
    "of",
    "read",
    "regrouped",
    "repeats",
    "tables_of",
    "without",
]

_MODULES = (goemotions, isear, emocontext, iemocap, empathetic, dailydialog, meld, emobank)
_EACH = (*(module.BENCHMARK for module in _MODULES), iemocap.FOUR_WAY)
ALL: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _EACH}


def of(name: str) -> Benchmark:
    """The benchmark of that name; WrongRequest with the names there are."""
    if name not in ALL:
        raise WrongRequest(f"there is no benchmark {name!r}; choose one of {', '.join(ALL)}")
    return ALL[name]


def read(spec: str) -> tuple[Benchmark, Parts]:
    """What "goemotions:path" names, and what its files hold."""
    name, colon, path = spec.partition(":")
    if not colon or not path:
        raise WrongRequest(f"{spec!r} names no benchmark and place; write it as goemotions:path/to/its/folder")
    benchmark = of(name)
    return benchmark, benchmark.read(Path(path).expanduser())


def tables_of(benchmark: Benchmark) -> Mapping[str, Benchmark]:
    """The tables that one run of a model fills: GoEmotions three ("28", "ekman", "sentiment"), every other one its own ("")."""
    return goemotions.TABLES if benchmark.name == "goemotions" else {"": benchmark}


def regrouped(rows: Sequence[Row], form: Benchmark) -> tuple[Row, ...]:
    """GoEmotions' rows with the classes of one of its tables."""
    return goemotions.regrouped(rows, form.to28)


def found(data: Path) -> dict[str, Path]:
    """Benchmarks with a folder of their usual name in `data`, in our order; that it can be read is not looked at."""
    places = {name: data / (benchmark.folder or name) for name, benchmark in ALL.items()}
    return {name: place for name, place in places.items() if place.is_dir()}
