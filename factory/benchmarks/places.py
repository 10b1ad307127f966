"""Which benchmarks are asked for, where their files are, and what is in them."""

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from factory import benchmarks, files
from factory.benchmarks.report import Source
from factory.errors import WrongRequest

ALL = "all"
_TABLES = (".csv", ".tsv", ".txt")  # forms in which benchmarks are published
_MOST_FILES = 12  # that are listed one by one; IEMOCAP has hundreds


class Places(NamedTuple):
    """Benchmark -> the folder or file to read it from, and a sentence on each that is absent."""

    there: dict[str, Path]
    absent: tuple[str, ...]

    def why_none(self, data: Path) -> str:
        """The sentence for a person who asked for something of which nothing is there."""
        if not data.is_dir():
            return f"there is no folder {data}; give DATA the one that your benchmarks are in"
        names = ", ".join(dict.fromkeys(one.folder or one.name for one in benchmarks.ALL.values()))
        return f"{data} has no folder {names}; give DATA one with some of them, or say which it is (BENCHMARK=isear)"


def places(asked: str, data: Path) -> Places:
    """`asked` is "all", or names with commas, each of which may be name:path; `data` is a folder of folders of the usual
    names, the place of the one that is asked for, or itself name:path."""
    names = [one.strip() for one in asked.split(",") if one.strip()] or [ALL]
    given = None if data.exists() else _spec(str(data))
    if given:
        if names not in ([ALL], [given[0]]):
            raise WrongRequest(f"DATA={data} is {given[0]}, and {asked} was asked for; give a folder that holds it")
        return Places(dict([given]), ())
    usual = benchmarks.found(data)
    there: dict[str, Path] = {}
    absent = []
    for told in benchmarks.ALL if ALL in names else dict.fromkeys(names):
        name, path = _spec(told) or (benchmarks.of(told).name, usual.get(told))
        if path is None and names == [told]:
            path = data  # its reader says so if it is another's, or not there
        if path is None:
            absent.append(f"{name}: there is no folder {data / (benchmarks.of(name).folder or name)}")
        else:
            there[name] = path
    return Places(there, tuple(absent))


def _spec(told: str) -> tuple[str, Path] | None:
    """goemotions:path as its two parts."""
    name, colon, path = told.partition(":")
    return (name, Path(path).expanduser()) if colon and path and name in benchmarks.ALL else None


def source(name: str, place: Path) -> Source:
    """The file, or the tables below the folder; where there are very many, one digest over all names and digests."""
    found = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.suffix.lower() in _TABLES)
    each = {
        path.name if path == place else path.relative_to(place).as_posix(): files.sha256(path)
        for path in found
        if path.is_file()
    }
    if len(each) > _MOST_FILES:
        listed = "".join(f"{digest}  {path}\n" for path, digest in each.items())
        each = {f"{len(each):,} files, as sha256sum lists them": sha256(listed.encode()).hexdigest()}
    return Source(benchmark=name, path=str(place), files=each)
