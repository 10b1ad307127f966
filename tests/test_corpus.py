"""Facts about reading corpora and cutting records."""

import csv
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from factory.corpus import Corpus, Skipped, Source, cut, survey
from factory.errors import WrongRequest

LINE = "Ama carried the blue lamp down to the empty harbour{}."
NARRATIVES = Path(__file__).resolve().parents[1].parent / "shared/data/narratives"


def _text(number: int = 0) -> str:
    return LINE.format(f" {number}" if number else "")


def _lines(path: Path, *records: object) -> Path:
    """A JSONL file: what is no string or bytes is dumped."""
    raw = [r if isinstance(r, bytes) else (r if isinstance(r, str) else json.dumps(r)).encode() for r in records]
    path.write_bytes(b"".join(line + b"\n" for line in raw))
    return path


def _read(path: Path, **options: str) -> list[Source | Skipped]:
    return list(Corpus(path=path, **options).records())


def _ids(path: Path, **options: str) -> list[str]:
    return [record.id for record in _read(path, **options) if isinstance(record, Source)]


def _skips(path: Path, **options: str) -> list[tuple[str, str]]:
    return [(record.where, record.reason) for record in _read(path, **options) if isinstance(record, Skipped)]


def _refusal(path: Path, limit: int | None = None, **options: str) -> str:
    with pytest.raises(WrongRequest) as caught:
        survey(Corpus(path=path, **options), limit)
    sentence = str(caught.value)
    assert "\n" not in sentence
    sentence.encode()
    return sentence


def _csv(path: Path, rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, delimiter=delimiter).writerows(rows)
    return path


# Formats


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".JSONL"])
def test_the_same_records_come_from_every_format(tmp_path: Path, suffix: str) -> None:
    """Ids and texts do not depend on the format they were kept in; quotes and line breaks survive."""
    texts = [_text(1), f'He said "no, {_text(2)}"\nand left.']
    path = tmp_path / f"tales{suffix}"
    if suffix in (".csv", ".tsv"):
        _csv(path, [["id", "text"], *zip(["a", "b"], texts, strict=True)], "," if suffix == ".csv" else "\t")
    elif suffix == ".parquet":
        parquet.write_table(pa.table({"id": ["a", "b"], "text": texts}), path)
    else:
        _lines(path, *({"id": one, "text": text} for one, text in zip(["a", "b"], texts, strict=True)))
    records = _read(path)
    assert [(record.id, record.text) for record in records if isinstance(record, Source)] == list(
        zip(["a", "b"], texts, strict=True)
    )


def test_a_text_file_is_one_record_named_after_it(tmp_path: Path) -> None:
    """Blank lines inside do not matter without a separator."""
    path = tmp_path / "the well.txt"
    path.write_text(f"{_text(1)}\n\n{_text(2)}")
    assert _read(path) == [Source("the%20well", f"{_text(1)}\n\n{_text(2)}", "the well.txt")]


def test_blank_lines_separate_records_on_request(tmp_path: Path) -> None:
    """Any number of them, also with spaces in; the place is the first line of the record."""
    path = tmp_path / "wells.txt"
    path.write_bytes(f"\n{_text(1)}\r\nand on\r\n \r\n\r\n{_text(2)}".encode())
    assert _read(path, separator="blank") == [
        Source("wells-000001", f"{_text(1)}\nand on\n", "wells.txt:2"),
        Source("wells-000002", _text(2), "wells.txt:6"),
    ]


def test_a_folder_is_read_by_name_and_only_what_is_meant(tmp_path: Path) -> None:
    """Sub-folders too; README, Markdown, hidden files and other formats are passed over."""
    for name in ("b.txt", "a/z.txt", "a/c.txt", "README.txt", "readme.jsonl", "n.md", ".h.txt", ".git/x.txt", "p.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(_text())
    assert [record.where for record in _read(tmp_path)] == ["a/c.txt", "a/z.txt", "b.txt"]
    assert _ids(tmp_path) == ["c", "z", "b"]


def test_files_of_one_stem_in_two_folders_are_two_records(tmp_path: Path) -> None:
    """A made id takes in as much of the path as it needs."""
    for name in ("1990/may.txt", "1991/may.txt", "1991/june.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(_text())
    assert _ids(tmp_path) == ["1990%2Fmay", "june", "1991%2Fmay"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".txt"])
def test_a_byte_order_mark_is_not_text(tmp_path: Path, suffix: str) -> None:
    """Files as Windows saves them are read like others."""
    body = {".jsonl": json.dumps({"text": _text()}), ".csv": f"text\n{_text()}\n", ".txt": _text()}[suffix]
    path = tmp_path / f"x{suffix}"
    path.write_text(body, encoding="utf-8-sig")
    assert [record.text for record in _read(path) if isinstance(record, Source)] == [_text()]


def test_the_text_is_cleaned_and_otherwise_kept(tmp_path: Path) -> None:
    """Hidden characters go; HTML and formulas stay as they are."""
    text = "<p>If x < 5 then\r\nAma’s lamp\u0000 costs\u200b $3 &amp; more, no?</p>"
    [record] = _read(_lines(tmp_path / "x.jsonl", {"text": text}))
    assert isinstance(record, Source)
    assert record.text == "<p>If x < 5 then\nAma’s lamp costs $3 &amp; more, no?</p>"


# Columns


def test_columns_are_guessed_whatever_their_case(tmp_path: Path) -> None:
    """The first of the known names wins, an id column likewise."""
    path = _csv(tmp_path / "x.csv", [["Summary", "UUID", "Story"], ["no", "k", _text()]])
    assert _read(path) == [Source("k", _text(), "x.csv:2")]


def test_named_columns_win(tmp_path: Path) -> None:
    """What is named is taken and nothing is guessed."""
    path = _lines(tmp_path / "x.jsonl", {"text": "no", "body": _text(), "id": "1", "nr": 7})
    assert _read(path, text_column="body", id_column="nr") == [Source("7", _text(), "x.jsonl:1")]


def test_a_stray_key_does_not_win_the_guess(tmp_path: Path) -> None:
    """A name that one record in four uses gives way to the one they all have."""
    records = [{"story": _text(number)} for number in range(1, 5)]
    path = _lines(tmp_path / "x.jsonl", *records[:3], {**records[3], "text": "a note"})
    assert len(_ids(path)) == 4


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("option", [{}, {"text_column": "body"}, {"id_column": "nr", "text_column": "words"}])
def test_an_absent_column_is_refused_with_the_columns_there_are(
    tmp_path: Path, suffix: str, option: dict[str, str]
) -> None:
    """Whether it was named or only wanted."""
    path = tmp_path / f"x{suffix}"
    if suffix == ".csv":
        _csv(path, [["words", "mood"], [_text(), "sad"]])
    elif suffix == ".parquet":
        parquet.write_table(pa.table({"words": [_text()], "mood": ["sad"]}), path)
    else:
        _lines(path, {"words": _text(), "mood": "sad"})
    assert "its columns are: words, mood" in _refusal(path, None, **option)


# Ids


@pytest.mark.parametrize(
    ("given_id", "expected"),
    [
        (1, "1"),
        ("007", "007"),
        (3.0, "3%2E0"),
        ("../../x", "%2E%2E%2F%2E%2E%2Fx"),
        ("50%", "50%25"),
        ("Åse b", "%C3%85se%20b"),
        ("\ud800", "%ED%A0%80"),
        (None, "x-000001"),
        ("", "x-000001"),
        ("  ", "x-000001"),
        (True, "x-000001"),
        ([1], "x-000001"),
        ({"a": 1}, "x-000001"),
        (float("nan"), "x-000001"),
    ],
)
def test_an_id_is_the_text_of_its_value_encoded(tmp_path: Path, given_id: object, expected: str) -> None:
    """Nothing but letters, digits, '-', '_' and '%' is left; what is no id gives way to a made one."""
    assert _ids(_lines(tmp_path / "x.jsonl", {"id": given_id, "text": _text()})) == [expected]


def test_ids_from_parquet_keep_their_kind(tmp_path: Path) -> None:
    """Whole numbers, floats and nulls."""
    for column, expected in ([7, None], ["7", "x-000002"]), ([3.0, 4.5], ["3%2E0", "4%2E5"]):
        parquet.write_table(pa.table({"id": column, "text": [_text(1), _text(2)]}), tmp_path / "x.parquet")
        assert _ids(tmp_path / "x.parquet") == expected


def test_long_ids_are_cut_and_stay_apart(tmp_path: Path) -> None:
    """Two that differ in their last character only are two ids of 113 characters; 120 characters are kept whole."""
    path = _lines(
        tmp_path / "x.jsonl",
        *({"id": "a" * n + end, "text": _text()} for n, end in ((300, "b"), (300, "c"), (119, "d"))),
    )
    first, second, third = _ids(path)
    assert first != second
    assert len(first) == len(second) == 113
    assert first.startswith("a" * 100 + "-")
    assert third == "a" * 119 + "d"


def test_made_ids_count_records_not_lines(tmp_path: Path) -> None:
    """A skipped record keeps its number, a blank line has none."""
    assert _ids(_lines(tmp_path / "x.jsonl", "", {"text": _text(1)}, "{", {"text": _text(2)})) == [
        "x-000001",
        "x-000003",
    ]


def test_the_second_record_of_an_id_is_skipped(tmp_path: Path) -> None:
    """In one file and over files; a record that was skipped itself claims no id."""
    _lines(tmp_path / "a.jsonl", {"id": 1, "text": "short"}, {"id": 1, "text": _text(1)}, {"id": "1", "text": _text(2)})
    _lines(tmp_path / "b.jsonl", {"id": 1, "text": _text(3)})
    assert _ids(tmp_path) == ["1"]
    assert _skips(tmp_path) == [
        ("a.jsonl:1", "too_short"),
        ("a.jsonl:3", "duplicate_id"),
        ("b.jsonl:1", "duplicate_id"),
    ]


# Bad records


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "Ama', "not_json"),
        ("[" * 100_000, "not_json"),
        ('{"text": ' + "9" * 5_000 + "}", "not_json"),
        ('["a"]', "not_an_object"),
        ("null", "not_an_object"),
        ({"title": "x"}, "no_text"),
        ({"text": None}, "no_text"),
        ({"text": ["a"]}, "text_not_a_string"),
        ({"text": 5}, "text_not_a_string"),
        ({"text": ""}, "empty"),
        ({"text": " \u200b\n"}, "empty"),
        ({"text": "one two three four five six seven"}, "too_short"),
        (b'{"text": "caf\xe9"}', "not_utf8"),
    ],
)
def test_a_bad_line_costs_that_line_only(tmp_path: Path, line: object, reason: str) -> None:
    """It is named with its number, and what stands around it is read."""
    path = _lines(tmp_path / "x.jsonl", {"text": _text(1)}, "", line, {"text": _text(2)})
    assert _skips(path) == [("x.jsonl:3", reason)]
    assert len(_ids(path)) == 2


def test_a_bad_row_costs_that_row_only(tmp_path: Path) -> None:
    """Too few or many columns, a stray quote, bytes of another encoding; the line is where the row starts."""
    path = tmp_path / "x.csv"
    good = _text().encode()
    rows = [b"id,text", b'1,"%b\nand on"' % good, b"2", b"3,a,b", b'4,"a"b', b"5,caf\xe9 " + good, b"", b"6," + good]
    path.write_bytes(b"\n".join(rows))
    assert _ids(path) == ["1", "6"]
    assert _skips(path) == [
        (f"x.csv:{line}", reason) for line, reason in zip(range(4, 8), ["bad_row"] * 3 + ["not_utf8"], strict=True)
    ]


def test_a_nul_byte_in_a_row_does_no_harm(tmp_path: Path) -> None:
    """It is removed like other control characters."""
    path = tmp_path / "x.csv"
    path.write_bytes(b"text\n" + _text().encode() + b"\x00\n")
    assert [record.text for record in _read(path) if isinstance(record, Source)] == [_text()]


def test_an_unclosed_quote_is_named(tmp_path: Path) -> None:
    """What it swallowed is not passed off as a text."""
    path = tmp_path / "x.csv"
    path.write_text(f'text\n{_text(1)}\n"{_text(2)}\n{_text(3)}\n')
    assert _skips(path) == [("x.csv:3", "bad_row")]


def test_text_files_that_are_not_utf8_are_skipped(tmp_path: Path) -> None:
    """One file, or one record of it."""
    (tmp_path / "a.txt").write_bytes(b"caf\xe9 " + _text().encode())
    (tmp_path / "b.txt").write_bytes(f"{_text(1)}\n\n".encode() + b"caf\xe9\n\n" + _text(2).encode())
    assert _skips(tmp_path) == [("a.txt", "not_utf8"), ("b.txt", "not_utf8")]
    assert _skips(tmp_path, separator="blank") == [("a.txt:1", "not_utf8"), ("b.txt:3", "not_utf8")]


def test_parquet_strings_that_are_not_utf8_are_skipped(tmp_path: Path) -> None:
    """Other tools write such files; the rows around are read."""
    bad = pa.array([_text(1).encode(), b"caf\xe9", _text(2).encode(), None]).view(pa.string())
    parquet.write_table(pa.table({"text": bad}), tmp_path / "x.parquet")
    assert _skips(tmp_path / "x.parquet") == [("x.parquet:2", "not_utf8"), ("x.parquet:4", "no_text")]


# Wrong requests


def test_what_cannot_be_read_at_all_is_one_sentence(tmp_path: Path) -> None:
    """Each names what was asked for."""
    assert "no such file or folder" in _refusal(tmp_path / "none.jsonl")
    assert "no such file or folder" in _refusal(tmp_path / ("x" * 5_000))
    assert "nothing to read" in _refusal(tmp_path)
    for name in ("tales.pdf", "tales"):
        (tmp_path / name).write_text(_text())
        assert "cannot tell the format" in _refusal(tmp_path / name)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 this is no Parquet")
    assert "as Parquet" in _refusal(tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_bytes("text\nAma\n".encode("utf-16"))
    assert "not UTF-8" in _refusal(tmp_path / "x.csv")
    (tmp_path / "x.txt").write_text(_text())
    assert "separator" in _refusal(tmp_path / "x.txt", separator="tabs")
    assert "LIMIT" in _refusal(tmp_path / "x.txt", limit=0)


def test_a_file_without_permission_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read anything, so the system's answer is put in its place."""
    path = _lines(tmp_path / "x.jsonl", {"text": _text()})

    def denied(*_args: object, **_named: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    assert _refusal(path).endswith("x.jsonl: Permission denied")


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.tsv", "x.parquet"])
def test_an_empty_corpus_is_refused(tmp_path: Path, name: str) -> None:
    """No byte, or columns and no row."""
    path = tmp_path / name
    path.write_bytes(b"")
    if name.endswith(".parquet"):
        parquet.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    assert "is empty" in _refusal(path)


def test_more_than_half_bad_is_refused_with_the_commonest_reason(tmp_path: Path) -> None:
    """And its first place; half is still read."""
    good = {"text": _text()}
    path = _lines(tmp_path / "x.jsonl", good, "[]", "{", "{")
    assert "3 of 4" in _refusal(path)
    assert "2 of them for not_json (the first at x.jsonl:3" in _refusal(path)
    assert survey(Corpus(path=_lines(path, good, "{")), None).records == 1
    assert "1 of 1" in _refusal(_lines(path, "{"))


# Survey, fingerprint, name


def test_a_survey_counts_what_a_run_will_read(tmp_path: Path) -> None:
    """Good records up to the limit, their words, and what was skipped on the way, the first twenty by name."""
    bad = ["{"] * 25
    path = _lines(tmp_path / "x.jsonl", *bad, *({"text": _text(number)} for number in range(1, 31)))
    found = survey(Corpus(path=path), None)
    assert (found.records, found.skipped_count, len(found.skipped), found.words) == (30, 25, 20, 330)
    assert found.english
    assert survey(Corpus(path=_lines(path, {"text": _text(1)}, {"text": _text(2)}, "{")), 1).skipped_count == 0


def test_a_corpus_that_is_not_english_is_told_apart(tmp_path: Path) -> None:
    """It is read all the same."""
    path = tmp_path / "x.txt"
    path.write_text("Am Abend ging der Bauer zum Fluss, und der Hund lief ihm bellend nach.")
    assert not survey(Corpus(path=path), None).english


def test_the_fingerprint_is_of_names_and_bytes(tmp_path: Path) -> None:
    """It moves with the folder, and changes with a name, a byte or a file."""
    here, there = tmp_path / "here", tmp_path / "deep" / "there"
    for folder in (here, there):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text("one")
        (folder / "b.txt").write_text("two")
    first = Corpus(path=here).fingerprint()
    assert first == Corpus(path=there).fingerprint()
    assert len(first) == 64
    (there / "README.md").write_text("not read")
    assert first == Corpus(path=there).fingerprint()
    (there / "a.txt").write_text("onet")
    (there / "b.txt").write_text("wo")
    assert first != Corpus(path=there).fingerprint()
    (here / "b.txt").rename(here / "c.txt")
    assert first != Corpus(path=here).fingerprint()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("tales.jsonl", "tales"), ("my tales.v2.csv", "my-tales-v2"), ("corpora", "corpora"), ("..txt", "corpus")],
)
def test_the_stem_is_safe_as_a_folder_name(tmp_path: Path, name: str, expected: str) -> None:
    """No dots, spaces or slashes; never nothing."""
    assert Corpus(path=tmp_path / name).stem() == expected


# Cutting


def _counts(passages: list[str]) -> list[int]:
    return [len(passage.split()) for passage in passages]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a", "go.", "“Oh!”", "Mr.", "é", "x" * 1_500, "\n\n", "…", "end? "]), max_size=120),
    st.integers(1, 30),
)
def test_cutting_keeps_words_in_order_and_the_bound(pieces: list[str], bound: int) -> None:
    """Nothing but white space is lost, no passage is empty or over its words."""
    text = " ".join(pieces)
    passages = list(cut(text, bound))
    assert "".join("".join(passages).split()) == "".join(text.split())
    assert all(0 < count <= bound for count in _counts(passages))
    assert all(len(word) <= 1_500 for passage in passages for word in passage.split())


def test_a_short_record_is_one_passage() -> None:
    """As it stands, line breaks and all."""
    assert list(cut(" Ama ran.\nShe fell. ")) == ["Ama ran.\nShe fell."]
    assert list(cut(" \n")) == []


def test_passages_end_where_sentences_end_and_are_even() -> None:
    """410 words in sentences of ten are two passages of 200 and 210, not 400 and 10."""
    text = " ".join("The nine other words of this one are here." + f" w{n}." for n in range(41))
    passages = list(cut(text))
    assert sorted(_counts(passages)) in ([200, 210], [201, 209], [205, 205])
    assert all(passage.endswith(".") for passage in passages)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=80))
def test_there_are_as_few_passages_as_there_can_be(lengths: list[int]) -> None:
    """Evenness never costs a passage: the count is that of filling each to the brim."""
    text = " ".join(" ".join(["go"] * (length - 1) + ["Stop."]) for length in lengths)
    # A sentence must start upper case after an end; "go" is lower case, and a plain full stop ends all the same.
    brimming, room = 0, 0
    for length in lengths:
        brimming, room = (brimming, room - length) if length <= room else (brimming + 1, 30 - length)
    assert len(list(cut(text, 30))) == brimming


def test_a_sentence_over_the_bound_is_cut_between_words() -> None:
    """Into even parts."""
    assert _counts(list(cut("word " * 900))) == [300, 300, 300]


def test_a_word_without_end_is_cut_at_a_thousand_characters() -> None:
    """Each piece counts as a word."""
    assert [len(passage) for passage in cut("x" * 5_500, words=2)] == [2_000, 2_000, 1_500]


def test_a_record_of_any_length_streams() -> None:
    """The first passage of two million words comes at once, and the last one is no scrap."""
    text = "The tide came in over the long grey stones again. " * 200_000
    start = time.process_time()
    passages = cut(text)
    assert next(passages)
    assert time.process_time() - start < 1
    counts = _counts(list(passages))
    assert max(counts) <= 400
    assert counts[-1] > 300


def test_a_record_of_many_megabytes_without_an_end_passes(tmp_path: Path) -> None:
    """Eight megabytes of one sentence are surveyed and cut in seconds."""
    path = tmp_path / "x.txt"
    path.write_text("word and " * 900_000)
    start = time.process_time()
    assert survey(Corpus(path=path), None).words == 1_800_000
    [record] = _read(path)
    assert isinstance(record, Source)
    assert max(_counts(list(cut(record.text)))) == 400
    assert time.process_time() - start < 20


@pytest.mark.skipif(not NARRATIVES.is_dir(), reason="the shared narratives do not stand beside this checkout")
@pytest.mark.parametrize(
    ("name", "expected"), [("fairytaleqa.jsonl", 278), ("wikiplots_romcom.0.jsonl", 750), ("aesop4children.jsonl", 146)]
)
def test_real_narratives_are_read_whole(name: str, expected: int) -> None:
    """Every record, every word, no passage over 400 words and no scrap beside a full one."""
    corpus = Corpus(path=NARRATIVES / name)
    found = survey(corpus, None)
    assert (found.records, found.skipped_count, found.english) == (expected, 0, True)
    words = 0
    for record in itertools.islice(corpus.records(), expected + 1):
        assert isinstance(record, Source)
        counts = _counts(list(cut(record.text)))
        assert max(counts) <= 400
        assert len(counts) == 1 or min(counts) > 40
        words += sum(counts)
    assert words == found.words
