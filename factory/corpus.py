"""Design sections 2 and 4: from files as people have them to source records, and from a record to passages.

Whatever stands in a file, reading ends in one of three ways: a Source, a Skipped that names its place, or a
WrongRequest where the request is wrong as a whole. docs/INPUT.md holds the table of which is which.
"""

import csv
import hashlib
import json
import math
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from factory.errors import WrongRequest
from factory.text import clean, looks_english, one_line, sentence_spans

_TEXT_NAMES = [
    "text",
    "narrative",
    "story",
    "plot",
    "content",
    "passage",
    "body",
    "document",
    "utterance",
    "sentence",
    "description",
    "summary",
]
_ID_NAMES = ["id", "_id", "uid", "uuid", "source_id", "doc_id", "record_id", "story_id", "plot_id", "key"]

_MIN_WORDS = 8
_NAMED_SKIPS = 20
_SAMPLE = 100  # records looked at to learn the columns of a JSONL file
_SAMPLE_BYTES = 1 << 20
_FIELD_LIMIT = 1 << 26  # characters: an unclosed quote must not gather the rest of a large file
_BATCH_ROWS = 64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHUNK = 1 << 20
_BALANCED_WORDS = 20_000  # what `cut` may hold back to spread words evenly
_LONG_WORD = 1_000
_LONGEST_ID = 120
_KEPT_OF_LONG_ID = 100

_WORD = re.compile(r"\S+")
_PIECE = re.compile(rf"\S{{1,{_LONG_WORD}}}")
_ENCODED = re.compile(rb"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Source:
    """One record of a corpus; `id` is encoded and safe in a path, `where` is for people ("tales.jsonl:12")."""

    id: str
    text: str
    where: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """One record that cannot be used: not_json, not_an_object, no_text, text_not_a_string, empty, too_short, not_utf8,
    duplicate_id or bad_row."""

    where: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over a corpus found; `skipped` holds the first 20 of `skipped_count`."""

    records: int
    skipped: tuple[Skipped, ...]
    skipped_count: int
    words: int
    english: bool


class _File(NamedTuple):
    path: Path
    name: str  # relative to the corpus, with slashes
    label: str  # what made ids start with


class _Raw(NamedTuple):
    where: str
    made_id: str
    id: object
    text: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A file or folder of narratives and how to read it; nothing is opened before it is asked for."""

    path: Path
    text_column: str | None = None
    id_column: str | None = None
    separator: str | None = None  # "blank": a .txt holds many records, blank lines between them

    def fingerprint(self) -> str:
        """Names and bytes of the files; where they lie and when they were written does not matter."""
        whole = hashlib.sha256()
        for file in self._files():
            with _translated(file.path), file.path.open("rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").digest()
            whole.update(os.fsencode(file.name) + b"\0" + digest)
        return whole.hexdigest()

    def records(self) -> Iterator[Source | Skipped]:
        """Streams in canonical order: files by name, then position; of two records with one id the first is kept."""
        seen: set[bytes] = set()
        for file in self._files():
            read = _READERS[file.path.suffix.lower()]
            with _translated(file.path):
                for raw in read(self, file):
                    record = _finished(raw) if isinstance(raw, _Raw) else raw
                    yield _first_only(record, seen) if isinstance(record, Source) else record

    def stem(self) -> str:
        """The name of the file or folder, safe as a folder name."""
        path = self.path.resolve()
        name = path.stem if path.suffix.lower() in _READERS else path.name
        return re.sub(r"[^\w-]+", "-", clean(name)).strip("-")[:80] or "corpus"

    def _files(self) -> list[_File]:
        if self.separator not in (None, "blank"):
            raise WrongRequest(f"no such separator: {self.separator!r}; SEPARATOR can only be 'blank'")
        if not os.path.exists(self.path):  # noqa: PTH110 - Path.exists raises for a name that is too long
            raise WrongRequest(
                f"no such file or folder: {_shown(self.path)}; give CORPUS a path to a file or folder of narratives"
            )
        if self.path.is_dir():
            return _labelled(self.path, _readable(self.path))
        if self.path.suffix.lower() not in _READERS:
            raise WrongRequest(f"cannot tell the format of {_shown(self.path)}; CORPUS must end in {_FORMATS}")
        return [_File(self.path, self.path.name, self.path.stem)]


def survey(corpus: Corpus, limit: int | None) -> Survey:
    """One streaming pass up to `limit` good records; raises WrongRequest for a corpus that is not worth starting on."""
    if limit is not None and limit < 1:
        raise WrongRequest(f"a limit of {limit} leaves no record; LIMIT must be at least 1")
    records = words = 0
    reasons: Counter[str] = Counter()
    skipped: list[Skipped] = []
    sample: list[str] = []
    for record in corpus.records():
        if isinstance(record, Skipped):
            reasons[record.reason] += 1
            skipped += [record] if len(skipped) < _NAMED_SKIPS or reasons[record.reason] == 1 else []
            continue
        records += 1
        words += _word_count(record.text)
        sample += [record.text[:4_000]] if len(sample) < 50 else []
        if records == limit:
            break
    _refuse_bad(corpus, records, reasons, skipped)
    return Survey(records, tuple(skipped[:_NAMED_SKIPS]), reasons.total(), words, looks_english(sample))


def cut(text: str, words: int = 400) -> Iterator[str]:
    """Passages at sentence ends, none over `words` words, as few as can be and as even as sentence ends allow.

    A longer sentence is cut between words, a "word" over 1,000 characters inside. In a record over 20,000 words only
    the last ones are spread evenly, so that no more than those are held.
    """
    if words < 1:
        raise WrongRequest(f"a passage needs at least one word, not {words}")
    held: deque[_Unit] = deque()
    total = 0
    for unit in _units(text, words):
        held.append(unit)
        total += unit.words
        if total > max(_BALANCED_WORDS, 2 * words):
            taken = _greedy(held, words)
            total -= sum(one.words for one in taken)
            yield text[taken[0].start : taken[-1].end]
    for start, end in _even(list(held), words):
        yield text[start:end]


class _Unit(NamedTuple):
    start: int
    end: int
    words: int


def _units(text: str, words: int) -> Iterator[_Unit]:
    """What is never cut again: sentences, and short runs of words where a sentence is too long."""
    for start, end in sentence_spans(text):
        count = _pieces(text, start, end, words + 1)
        if count <= words:
            yield _Unit(start, end, count)
            continue
        pieces = _PIECE.finditer(text, start, end)
        while run := list(islice(pieces, max(1, words // 16))):
            yield _Unit(run[0].start(), run[-1].end(), len(run))


def _pieces(text: str, start: int, end: int, enough: int) -> int:
    if end - start <= _LONG_WORD:  # no word can be too long: the common case, three times as fast
        return len(text[start:end].split())
    return sum(1 for _ in islice(_PIECE.finditer(text, start, end), enough))


def _greedy(held: deque[_Unit], words: int) -> list[_Unit]:
    taken: list[_Unit] = []
    while held and (words := words - held[0].words) >= 0:
        taken.append(held.popleft())
    return taken


def _even(units: Sequence[_Unit], words: int) -> Iterator[tuple[int, int]]:
    """The fewest passages that hold `units`, each as near to the mean of what is left as its sentence ends allow."""
    sums = [0, *accumulate(unit.words for unit in units)]
    reach = [0] * len(units)  # the furthest end of a passage that starts here
    needed = [0] * (len(units) + 1)  # the fewest passages from here on
    end = len(units)
    for start in reversed(range(len(units))):
        while sums[end] - sums[start] > words:
            end -= 1
        reach[start] = end
        needed[start] = 1 + needed[end]
    start, left = 0, needed[0]
    while start < len(units):
        target = sums[start] + (sums[-1] - sums[start]) / left
        ends = [end for end in range(start + 1, reach[start] + 1) if needed[end] < left]
        end = min(ends, key=lambda at: abs(sums[at] - target))
        yield units[start].start, units[end - 1].end
        start, left = end, left - 1


# Files ----------------------------------------------------------------------------------------------------------------


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise WrongRequest(f"cannot read {_shown(path)}: {err.strerror or one_line(str(err))}") from err


def _readable(folder: Path) -> list[str]:
    """Relative names of the files to read: formats we know, no README, nothing hidden."""
    names: list[str] = []
    with _translated(folder):
        for here, folders, files in os.walk(folder, onerror=_raise):
            folders[:] = [name for name in folders if not name.startswith(".")]
            names += [(Path(here) / name).relative_to(folder).as_posix() for name in files if _wanted(Path(here), name)]
    if not names:
        raise WrongRequest(f"nothing to read in {_shown(folder)}; it holds no file that ends in {_FORMATS}")
    return sorted(names)


def _raise(err: OSError) -> None:
    raise err


def _wanted(folder: Path, name: str) -> bool:
    skipped = name.startswith(".") or name.upper().startswith("README")
    return not skipped and Path(name).suffix.lower() in _READERS and (folder / name).is_file()


def _labelled(folder: Path, names: list[str]) -> list[_File]:
    """Made ids start with the file's stem, with more of its path where two files share a stem."""
    stems = Counter(Path(name).stem for name in names)
    paths = Counter(name.removesuffix(Path(name).suffix) for name in names)
    files = []
    for name in names:
        stem, path = Path(name).stem, name.removesuffix(Path(name).suffix)
        label = stem if stems[stem] == 1 else path if paths[path] == 1 else name
        files.append(_File(folder / name, name, label))
    return files


def _shown(name: object) -> str:
    """A name that can be printed anywhere, on one line."""
    return one_line(clean(str(name)))


# Formats: each yields what it finds; what that means is decided in `_finished` ---------------------------------------

_Reader = Callable[[Corpus, _File], Iterator[_Raw | Skipped]]


class _Scalar(Protocol):
    def as_py(self) -> object: ...


def _json_lines(corpus: Corpus, file: _File) -> Iterator[_Raw | Skipped]:
    columns = _json_columns(file.path)
    text_column, id_column = _text_column(corpus, columns, file), _id_column(corpus, columns, file)
    for position, (line, found) in enumerate(_json_objects(file.path), 1):
        where = f"{_shown(file.name)}:{line}"
        if isinstance(found, dict):
            found_id = None if id_column is None else found.get(id_column)
            yield _Raw(where, f"{file.label}-{position:06}", found_id, found.pop(text_column, None))
        else:
            yield Skipped(where, *found)


def _json_objects(path: Path) -> Iterator[tuple[int, dict[str, object] | tuple[str, str]]]:
    """Line numbers with their object, or with (reason, detail); blank lines are passed over."""
    with path.open("rb") as handle:
        if handle.peek(3).startswith(_BYTE_ORDER_MARK):
            handle.read(3)
        number = 0
        while handle.peek(1):
            number += 1
            found = _json_object(handle.readline())
            if found is not None:
                yield number, found
            del found  # a record can be 50 MB, and the next one is read before this name is bound again


def _json_object(line: bytes) -> dict[str, object] | tuple[str, str] | None:
    if line.isspace():
        return None
    try:
        text = line.decode("utf-8")
        del line  # the same reason
        value = json.loads(text)
    except UnicodeDecodeError as err:
        return "not_utf8", f"byte {err.start + 1} of the line"
    except json.JSONDecodeError as err:
        return "not_json", f"{err.msg} at character {err.pos + 1}"
    except (ValueError, RecursionError):
        return "not_json", "nested too deep, or a number too long"
    return value if isinstance(value, dict) else ("not_an_object", f"a JSON {_kind(value)} stands there")


def _json_columns(path: Path) -> dict[str, int]:
    """The keys of the first objects, each with how often a string stood under it."""
    columns: Counter[str] = Counter()
    objects = size = 0
    for _, found in _json_objects(path):
        if not isinstance(found, dict):
            continue
        objects += 1
        for key, value in found.items():
            columns[key] += isinstance(value, str)
            size += len(value) if isinstance(value, str) else 0
        if objects == _SAMPLE or size > _SAMPLE_BYTES:
            break
    return dict(columns)


def _table(delimiter: str) -> _Reader:
    def read(corpus: Corpus, file: _File) -> Iterator[_Raw | Skipped]:
        # Bytes that are not UTF-8 become surrogates, so that they cost their own record only.
        with file.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as handle:
            yield from _rows(corpus, file, handle, delimiter)

    return read


def _rows(corpus: Corpus, file: _File, handle: IO[str], delimiter: str) -> Iterator[_Raw | Skipped]:
    rows = _csv_rows(handle, delimiter)
    first = next(rows, None)
    if first is None:
        return
    header = _header(first[1], file)
    text_at = header.index(_text_column(corpus, dict.fromkeys(header, 1), file))
    id_column = _id_column(corpus, dict.fromkeys(header, 1), file)
    id_at = None if id_column is None else header.index(id_column)
    for position, (line, row) in enumerate(rows, 1):
        where = f"{_shown(file.name)}:{line}"
        if isinstance(row, csv.Error):
            yield Skipped(where, "bad_row", str(row))
        elif len(row) != len(header):
            yield Skipped(where, "bad_row", f"{len(row)} columns where the header has {len(header)}")
        elif any(_escaped(field) for field in row):
            yield Skipped(where, "not_utf8", "bytes that are not UTF-8")
        else:
            found_id = None if id_at is None else row[id_at]
            yield _Raw(where, f"{file.label}-{position:06}", found_id, row[text_at])


def _csv_rows(handle: IO[str], delimiter: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """The line each row starts on, and the row; strict, so that a stray quote is named and not guessed at."""
    csv.field_size_limit(_FIELD_LIMIT)
    reader = csv.reader(handle, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as err:
            yield line, err
            continue
        if row:
            yield line, row


def _header(row: list[str] | csv.Error, file: _File) -> list[str]:
    if isinstance(row, csv.Error):
        raise WrongRequest(f"{_shown(file.name)}: its first row, the column names, cannot be read: {row}")
    if any(_escaped(name) for name in row):
        raise WrongRequest(f"{_shown(file.name)} is not UTF-8: its column names cannot be read; save it as UTF-8")
    return [name.strip() for name in row]


def _escaped(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _parquet(corpus: Corpus, file: _File) -> Iterator[_Raw | Skipped]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file.path, buffer_size=_CHUNK) as table:
            columns = dict.fromkeys(table.schema_arrow.names, 1)
            text_column, id_column = _text_column(corpus, columns, file), _id_column(corpus, columns, file)
            wanted = [name for name in (text_column, id_column) if name is not None]
            position = 0
            for batch in table.iter_batches(_BATCH_ROWS, columns=wanted, use_threads=False):
                for row in range(batch.num_rows):
                    position += 1
                    found_id = _cell(batch.column(id_column)[row]) if id_column is not None else None
                    where = f"{_shown(file.name)}:{position}"
                    yield _Raw(where, f"{file.label}-{position:06}", found_id, _cell(batch.column(text_column)[row]))
    except (pa.ArrowException, OSError, KeyError) as err:
        raise WrongRequest(f"cannot read {_shown(file.path)} as Parquet: {one_line(str(err))[:200]}") from err


def _cell(scalar: _Scalar) -> object:
    """The Python value of an Arrow scalar: bytes where a string is not UTF-8, None where Python has no such value."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError as err:
        return err.object
    except (ValueError, OverflowError):
        return None


def _plain_text(corpus: Corpus, file: _File) -> Iterator[_Raw | Skipped]:
    name = _shown(file.name)
    with file.path.open("rb") as handle:
        if corpus.separator is None:
            yield _Raw(name, file.label, None, _decoded(handle.read().removeprefix(_BYTE_ORDER_MARK)))
            return
        for position, (line, block) in enumerate(_blocks(handle), 1):
            yield _Raw(f"{name}:{line}", f"{file.label}-{position:06}", None, _decoded(block))


def _blocks(handle: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines between blank lines, with the number of the first."""
    block: list[bytes] = []
    number = 0
    for number, line in enumerate(handle, 1):
        line = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        if not line.isspace():
            block.append(line)
        elif block:
            yield number - len(block), b"".join(block)
            block = []
    if block:
        yield number + 1 - len(block), b"".join(block)


_READERS: Mapping[str, _Reader] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".parquet": _parquet,
    ".txt": _plain_text,
}
_FORMATS = ".jsonl, .ndjson, .csv, .tsv, .parquet or .txt"


# Columns --------------------------------------------------------------------------------------------------------------


def _text_column(corpus: Corpus, columns: Mapping[str, int], file: _File) -> str:
    found = _column(corpus.text_column, "TEXT_COLUMN", _TEXT_NAMES, columns, file)
    if found is None and columns:
        raise WrongRequest(
            f"{_shown(file.name)} has no column that looks like text; its columns are: {_listed(columns)}; "
            "name the right one with TEXT_COLUMN"
        )
    return found or ""  # a file without one object has no columns and no use for a name


def _id_column(corpus: Corpus, columns: Mapping[str, int], file: _File) -> str | None:
    return _column(corpus.id_column, "ID_COLUMN", _ID_NAMES, columns, file)


def _column(
    named: str | None, option: str, guesses: Sequence[str], columns: Mapping[str, int], file: _File
) -> str | None:
    if named is not None:
        if columns and named not in columns:
            raise WrongRequest(
                f"{_shown(file.name)} has no column {_shown(named)!r} ({option}); its columns are: {_listed(columns)}"
            )
        return named
    found = [name for name in columns if name.lower() in guesses]
    most = max(columns.values(), default=0)
    # A name that few records use gives way to one that they all have.
    return min(found, key=lambda name: (2 * columns[name] < most, guesses.index(name.lower())), default=None)


def _listed(columns: Mapping[str, int]) -> str:
    shown = [_shown(name)[:40] or "(no name)" for name in islice(columns, 20)]
    return ", ".join(shown) + (" ..." if len(columns) > len(shown) else "")


# Records --------------------------------------------------------------------------------------------------------------


def _finished(raw: _Raw) -> Source | Skipped:
    text = raw.text
    if text is None:
        return Skipped(raw.where, "no_text", "nothing stands in the text column")
    if isinstance(text, bytes):
        text = _decoded(text)
    if isinstance(text, bytes):
        return Skipped(raw.where, "not_utf8", "bytes that are not UTF-8")
    if not isinstance(text, str):
        return Skipped(raw.where, "text_not_a_string", f"the text is a {_kind(text)}")
    text = clean(text)
    words = sum(1 for _ in islice(_WORD.finditer(text), _MIN_WORDS))
    if not words:
        return Skipped(raw.where, "empty", "the text has no character but white space")
    if words < _MIN_WORDS:
        return Skipped(raw.where, "too_short", f"{words} words, fewer than {_MIN_WORDS}")
    return Source(_encoded(_given_id(raw.id) or raw.made_id), text, raw.where)


def _decoded(data: bytes) -> str | bytes:
    """Text, or the bytes as they are where they are not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _given_id(value: object) -> str:
    """The id as text; empty where the record gives none that could be one."""
    if value is None or isinstance(value, bool | list | dict) or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
    return "" if text.isspace() else text


def _encoded(name: str) -> str:
    """Percent-encoded beyond letters, digits, '-' and '_'; a long one cut and told apart by its hash."""
    data = name.encode("utf-8", "surrogatepass")
    encoded = _ENCODED.sub(lambda found: b"%%%02X" % ord(found[0]), data[: _LONGEST_ID + 1]).decode("ascii")
    if len(encoded) <= _LONGEST_ID:
        return encoded
    return f"{encoded[:_KEPT_OF_LONG_ID]}-{hashlib.sha256(data).hexdigest()[:12]}"


def _first_only(source: Source, seen: set[bytes]) -> Source | Skipped:
    # Eight bytes an id: a corpus of any length fits, and two of a thousand million ids meet once in forty corpora.
    short = hashlib.sha256(source.id.encode()).digest()[:8]
    if short in seen:
        return Skipped(source.where, "duplicate_id", f"{source.id} stands on an earlier record")
    seen.add(short)
    return source


def _kind(value: object) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number" if isinstance(value, int | float) else type(value).__name__)


def _word_count(text: str) -> int:
    """len(text.split()) without ten million strings at once."""
    total = 0
    for start in range(0, len(text), _CHUNK):
        total += len(text[start : start + _CHUNK].split())
        total -= start > 0 and not text[start - 1].isspace() and not text[start].isspace()
    return total


def _refuse_bad(corpus: Corpus, records: int, reasons: Counter[str], skipped: list[Skipped]) -> None:
    path, bad = _shown(corpus.path), reasons.total()
    if not records and not bad:
        raise WrongRequest(f"{path} is empty: it holds no record; give CORPUS a path to a file or folder of narratives")
    if bad <= records:
        return
    [(reason, count)] = reasons.most_common(1)
    first = next(one for one in skipped if one.reason == reason)
    raise WrongRequest(
        f"{bad} of {records + bad} records of {path} cannot be used, {count} of them for {reason} "
        f"(the first at {first.where}: {first.detail}); mend them or choose another CORPUS"
    )
