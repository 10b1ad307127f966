"""Files of benchmarks, read strictly: a row that cannot be right ends the reading with its file, its line and a cure."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from factory.benchmarks.rows import Parts, Row
from factory.errors import WrongRequest

AGAIN = "fetch the file again from its owner"
TURNS = (
    10  # of context: what came longer ago says little, and a model that cuts long pairs would lose the nearest turns
)
_PARTS = ("train", "dev", "test")
_ALIASES = {"train": "train", "dev": "dev", "val": "dev", "test": "test"}
_C1 = re.compile("[\x80-\x9f]")


def wrong(path: Path, line: int, what: str, cure: str = AGAIN) -> WrongRequest:
    """One sentence with the place; `line` counts from 1."""
    return WrongRequest(f"{path} line {line}: {what}; {cure}")


def text_of(path: Path, legacy: bool = False) -> str:
    """The whole file as UTF-8; with `legacy` as Windows-1252 where it is none."""
    try:
        data = path.read_bytes()
    except OSError as err:
        raise WrongRequest(
            f"{path} cannot be read ({err.strerror or err}); give the folder or file as its owner publishes it"
        ) from err
    if not data.strip():
        raise WrongRequest(f"{path} is empty; {AGAIN}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        if legacy:
            return data.decode("cp1252", "replace")
        line = data.count(b"\n", 0, err.start) + 1
        raise wrong(path, line, "it is not UTF-8", "save it as UTF-8 (iconv -f cp1252 -t utf-8), or " + AGAIN) from err


def mended(text: str) -> str:
    """Control characters that are Windows-1252 marks read as Latin-1 (an apostrophe as \\x92) become those marks."""
    return _C1.sub(lambda found: found[0].encode("latin-1").decode("cp1252", "ignore"), text)


def lines(path: Path, legacy: bool = False) -> list[tuple[int, str]]:
    """Lines with their numbers from 1, blank ones left out; cut at line feeds only: texts hold other line characters."""
    several = text_of(path, legacy).split("\n")
    return [(number, line.rstrip("\r")) for number, line in enumerate(several, 1) if line.strip()]


def plain(path: Path, separator: str, columns: Sequence[str], optional: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Cells of a table without quoting whose first line is `columns`; a row may have `optional` cells more."""
    (first, header), *rest = lines(path)
    if [cell.strip() for cell in header.split(separator)][: len(columns)] != list(columns):
        raise wrong(path, first, f"the columns are not {', '.join(columns)}")
    for number, line in rest:
        cells = line.split(separator)
        if not len(columns) <= len(cells) <= len(columns) + optional:
            raise wrong(path, number, f"{len(cells)} columns where {len(columns)} should be")
        yield number, cells


def quoted(path: Path, separator: str = ",", legacy: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Cells of a CSV table, line by line as they end; an open quote is an error and does not gather the rest of the file."""
    reader = csv.reader(io.StringIO(text_of(path, legacy), newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as err:
        raise wrong(path, reader.line_num, f"it is no whole CSV table ({err})") from err


def columns(path: Path, wanted: Sequence[str], legacy: bool = False) -> Iterator[tuple[int, list[str]]]:
    """The `wanted` cells of each row of a CSV table with a header, in the order of `wanted`."""
    table = quoted(path, legacy=legacy)
    first, header = next(table, (1, []))
    absent = [name for name in wanted if name not in header]
    if absent:
        raise wrong(path, first, f"there is no column {', '.join(absent)}")
    at = [header.index(name) for name in wanted]
    for line, cells in table:
        if len(cells) != len(header):
            raise wrong(path, line, f"{len(cells)} columns where {len(header)} should be")
        yield line, [cells[place] for place in at]


def files(path: Path, names: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    """Part -> file. A folder has some of `names` (the first that is there counts); a single file is the part that its name
    says, or else the test part."""
    if path.is_file():
        said = [part for word, part in _ALIASES.items() if word in path.name.lower()]
        return {said[0] if said else "test": path}
    found = {part: path / name for part in _PARTS for name in reversed(names.get(part, ())) if (path / name).is_file()}
    if not found:
        expected = ", ".join(names[part][0] for part in _PARTS if names.get(part))
        what = "holds none of the files" if path.is_dir() else "does not exist"
        raise WrongRequest(f"{path} {what}; give the folder with {expected} as the owner publishes them")
    return found


def parts(
    found: Mapping[str, Path],
    rows: Callable[[str, Path], Sequence[Row]],
    published: Mapping[str, int],
    notes: Sequence[str] = (),
) -> Parts:
    """Each part read by `rows`, with a note on each that is absent or has another size than `published`."""
    read = {part: tuple(rows(part, path)) for part, path in found.items()}
    said = [
        f"{found[part].name} holds {len(read[part]):,} rows, the published {part} part {count:,}"
        for part, count in published.items()
        if part in read and len(read[part]) != count
    ]
    said += [f"there is no {part} part" for part in published if part not in read]
    return Parts(read.get("train", ()), read.get("dev", ()), read.get("test", ()), (*notes, *said))


def before(turns: Sequence[str], place: int) -> str:
    """The context of the turn at `place`: up to ten turns before it, one a line."""
    return "\n".join(turns[max(0, place - TURNS) : place])
