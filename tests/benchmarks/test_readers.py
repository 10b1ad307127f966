"""Facts about the readers: files in the form in which their owners publish them, in small ones of our own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from factory import benchmarks
from factory.benchmarks import Parts, empathetic
from factory.errors import WrongRequest
from factory.taxonomy import EKMAN, LABELS

DATA = Path(__file__).resolve().parents[2].parent / "shared/data"
TURN = "[6.29 - 8.23]\t{turn}\t{emotion}\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n\n"
ISEAR_HEAD = "ID|AGE|Field1|MYKEY|SIT|STATE|\n"


def _write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_name(path.name.replace("_dot_", "."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


def _read(name: str, path: Path) -> Parts:
    return benchmarks.of(name).read(path)


def test_goemotions_keeps_quoted_texts_and_several_labels(tmp_path: Path) -> None:
    """A text quoted as in CSV comes without its quoting, and label ids become labels in the published order."""
    _write(
        tmp_path, train_dot_tsv='"He said ""no""\tand left"\t27,2\ta1\nOh I see\t22\ta2\n', test_dot_tsv="Fine\t0\tb1\n"
    )
    parts = _read("goemotions", tmp_path)
    assert parts.train[0].text == 'He said "no"\tand left'
    assert parts.train[0].labels == ("anger", "neutral")
    assert [len(part) for part in parts[:3]] == [2, 0, 1]
    assert any("train.tsv holds 2 rows" in note for note in parts.notes)
    assert "there is no dev part" in parts.notes


def test_a_single_file_is_the_part_that_its_name_says(tmp_path: Path) -> None:
    """dev.tsv alone is the dev part; a file of another name is what is tested on."""
    _write(tmp_path, dev_dot_tsv="Fine\t0\tb1\n", mine_dot_tsv="Fine\t0\tb1\n")
    assert len(_read("goemotions", tmp_path / "dev.tsv").dev) == 1
    assert len(_read("goemotions", tmp_path / "mine.tsv").test) == 1


def test_goemotions_has_three_tables_of_the_same_rows(tmp_path: Path) -> None:
    """Ekman and sentiment group the labels of a row and name each group once."""
    _write(tmp_path, test_dot_tsv="Well\t2,3,27\tb1\n")
    forms = benchmarks.tables_of(benchmarks.of("goemotions"))
    labels = {name: form.read(tmp_path).test[0].labels for name, form in forms.items()}
    assert labels == {
        "28": ("anger", "annoyance", "neutral"),
        "ekman": ("anger", "neutral"),
        "sentiment": ("negative", "neutral"),
    }
    assert forms["ekman"].classes == tuple(EKMAN)
    assert list(benchmarks.tables_of(benchmarks.of("meld"))) == [""]


def test_isear_takes_fields_from_both_ends(tmp_path: Path) -> None:
    """A stray | inside the situation cuts nothing off, and the marks of the old file become what they stood for."""
    stray = 'When I \\snapped\\" at my mother á|and she \\wept\\"."'
    _write(
        tmp_path,
        isear_dot_csv=f"{ISEAR_HEAD}11002|23|guilt|0110027|{stray}|1|\n11002|23|joy|0110021|[ No response.]|1|\n"
        "11002|23|fear|0110022|[ In an aeroplane.]|1|\n",
    )
    parts = _read("isear", tmp_path)
    assert [row.text for row in parts.train] == ['When I "snapped" at my mother and she "wept".', "In an aeroplane."]
    assert parts.train[0].labels == ("guilt",)
    assert {row.group for row in parts.train} == {"11002"}
    assert "1 answers that tell no situation ('No response.' ...) are left out" in parts.notes


def test_isear_is_read_cleaned_too(tmp_path: Path) -> None:
    """The cleaned table gives the same ids and respondents as the raw one."""
    _write(tmp_path, isear_clean_dot_tsv="emotion\ttext\tmykey\nshame\tI fell.\t1010166\n")
    (row,) = _read("isear", tmp_path).train
    assert (row.id, row.text, row.labels, row.group) == ("1010166", "I fell.", ("shame",), "101016")


def test_emocontext_is_the_third_turn_after_two(tmp_path: Path) -> None:
    """The turns before are the context; files without labels are named and not used."""
    head = "id\tturn1\tturn2\tturn3\t"
    _write(
        tmp_path,
        train_dot_txt=f'{head}label\n0\tHi\tHello "you\tSo sad 😭\tsad\n',
        testwithoutlabels_dot_txt=f"{head.rstrip()}\n0\tHi\tHello\tOk\n",
    )
    parts = _read("emocontext", tmp_path)
    (row,) = parts.train
    assert (row.text, row.context, row.labels) == ("So sad 😭", 'Hi\nHello "you', ("sad",))
    assert "testwithoutlabels.txt has no labels and is not used" in parts.notes
    with pytest.raises(WrongRequest, match="no labels"):
        _read("emocontext", tmp_path / "testwithoutlabels.txt")


def test_dailydialog_is_read_flat_and_in_folders(tmp_path: Path) -> None:
    """Both forms give the same rows; validation is dev, and a dialogue's utterances know the turns before them."""
    texts, numbers = "Hi there . __eou__ Go away ! __eou__\nYes . __eou__\n", "0 1 \n4 \n"
    flat = _write(tmp_path / "a", dialogues_validation_dot_txt=texts, dialogues_emotion_validation_dot_txt=numbers)
    folders = _write(
        tmp_path / "b",
        validation__dialogues_validation_dot_txt=texts,
        validation__dialogues_emotion_validation_dot_txt=numbers,
    )
    parts = _read("dailydialog", flat)
    assert parts.dev == _read("dailydialog", folders).dev
    assert [(row.labels[0], row.context) for row in parts.dev] == [
        ("no emotion", ""),
        ("anger", "Hi there ."),
        ("happiness", ""),
    ]
    assert [row.group for row in parts.dev] == ["dev/0", "dev/0", "dev/1"]


def test_an_uneven_dialogue_is_cut_and_many_are_refused(tmp_path: Path) -> None:
    """One dialogue with more utterances than labels is cut to what both have, in a note; two show files of two releases."""
    texts = "A . __eou__ B . __eou__\nC . __eou__ D . __eou__\n"
    _write(tmp_path, dialogues_test_dot_txt=texts, dialogues_emotion_test_dot_txt="0\n0 0\n")
    parts = _read("dailydialog", tmp_path)
    assert [row.text for row in parts.test] == ["A .", "C .", "D ."]
    assert "dialogues_test.txt line 1 has 2 utterances and 1 labels: cut to what both have" in parts.notes
    _write(tmp_path, dialogues_emotion_test_dot_txt="0\n0\n")
    with pytest.raises(WrongRequest, match="1 other dialogues too"):
        _read("dailydialog", tmp_path)


def test_dailydialog_without_a_split_says_so(tmp_path: Path) -> None:
    """The original single file is all training part, and a note says that there is nothing to test on."""
    _write(tmp_path, dialogues_text_dot_txt="A . __eou__\n", dialogues_emotion_dot_txt="6\n")
    parts = _read("dailydialog", tmp_path)
    assert (len(parts.train), len(parts.test), parts.train[0].labels) == (1, 0, ("surprise",))
    assert "has no split" in parts.notes[0]


def test_dailydialog_counts_dialogues_that_stand_in_train(tmp_path: Path) -> None:
    """Whole dialogues that are word for word in train are counted in a note."""
    for part, texts in (("train", "A . __eou__ B . __eou__\n"), ("test", "A . __eou__ B . __eou__\nB . __eou__\n")):
        numbers = "0 0\n" if part == "train" else "0 0\n0\n"
        _write(tmp_path, **{f"dialogues_{part}_dot_txt": texts, f"dialogues_emotion_{part}_dot_txt": numbers})
    assert "1 of the 2 test dialogues stand word for word in train" in _read("dailydialog", tmp_path).notes


def test_meld_mends_apostrophes_and_orders_turns(tmp_path: Path) -> None:
    """A Windows-1252 apostrophe, as a byte or as a control character, becomes one; ids start anew in each part."""
    head = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    rows = '2,"Well, no",B,anger,negative,0,1,1,1,x,y\n1,it\x92s,A,joy,positive,0,0,1,1,x,y\n'
    _write(tmp_path, train_sent_emo_dot_csv=head + rows)
    (tmp_path / "test_sent_emo.csv").write_bytes((head + rows).encode("latin-1"))
    parts = _read("meld", tmp_path)
    for part, found in (("train", parts.train), ("test", parts.test)):
        assert [(row.text, row.context, row.labels) for row in found] == [
            ("it’s", "", ("joy",)),
            ("Well, no", "it’s", ("anger",)),
        ]
        assert found[0].group == f"{part}/0"


def test_emobank_is_split_by_its_column(tmp_path: Path) -> None:
    """Values are valence, arousal, dominance; quotes are CSV's."""
    _write(tmp_path, emobank_dot_csv='id,split,V,A,D,text\nx1,train,3.0,2.5,4.2,"He ""ran"", "\nx2,test,1,5,2,No\n')
    parts = _read("emobank", tmp_path / "emobank.csv")
    assert (parts.train[0].text, parts.train[0].values) == ('He "ran",', (3.0, 2.5, 4.2))
    assert [len(part) for part in parts[:3]] == [1, 0, 1]


def test_empathetic_is_one_situation_for_each_conversation(tmp_path: Path) -> None:
    """The owner's file has a row for each utterance; the situation is taken once, with its commas."""
    head = ",".join(empathetic.COLUMNS)
    row = "hit:0_conv:1,{n},sentimental,I saw it_comma_ once.,1,Oh_comma_ my,5|5|5_2|2|5,{tags}\n"
    _write(tmp_path, test_dot_csv=f"{head}\n{row.format(n=1, tags='')}{row.format(n=2, tags=',x|y')}")
    (found,) = _read("empathetic", tmp_path).test
    assert (found.text, found.labels, found.group) == ("I saw it, once.", ("sentimental",), "hit:0_conv:1")


def test_situations_take_the_order_of_labels_beside_them(tmp_path: Path) -> None:
    """Label ids follow the code of the copy, or labels.txt; a list that is not of the 32 is refused."""
    _write(tmp_path, situations_train_dot_csv='text,aug_text,label\n"a, b",c,31\n')
    assert _read("empathetic", tmp_path).train[0].labels == ("nostalgic",)
    _write(tmp_path, labels_dot_txt="\n".join(reversed(empathetic.ORDER)))
    assert _read("empathetic", tmp_path).train[0].labels == ("sad",)
    _write(tmp_path, labels_dot_txt="sad\nglad\n")
    with pytest.raises(WrongRequest, match="does not list the 32 emotions"):
        _read("empathetic", tmp_path)


def _iemocap(folder: Path) -> Path:
    for session in range(1, 6):
        name = f"Ses0{session}F_impro01"
        turns = [f"{name}_F000", f"{name}_M000", f"{name}_F001"]
        given = "% header\n\n" + "".join(
            TURN.format(turn=turn, emotion=emotion) for turn, emotion in zip(turns, ("xxx", "exc", "fru"), strict=True)
        )
        said = "".join(f"{turn} [006.29-008.23]: Line {n}: so.\n" for n, turn in enumerate(turns)) + "M: stray\n"
        root = f"IEMOCAP_full_release__Session{session}__dialog__"
        _write(folder, **{f"{root}EmoEvaluation__{name}_dot_txt": given, f"{root}transcriptions__{name}_dot_txt": said})
        _write(folder, **{f"{root}EmoEvaluation__._{name}_dot_txt": "of a Mac"})
    return folder


def test_iemocap_tests_on_the_fifth_session(tmp_path: Path) -> None:
    """Turns without one of the classes are context only; excitement counts as happy among four and not among six."""
    six, four = (_read(name, _iemocap(tmp_path)) for name in ("iemocap6", "iemocap4"))
    assert [len(part) for part in six[:3]] == [8, 0, 2]
    assert [row.labels[0] for row in six.test] == ["excited", "frustrated"]
    assert six.test[1].context == "Line 0: so.\nLine 1: so."
    assert [row.labels[0] for row in four.test] == ["happy"]
    assert {row.id[:5] for row in six.train} == {"Ses01", "Ses02", "Ses03", "Ses04"}


def test_iemocap_without_all_sessions_is_refused(tmp_path: Path) -> None:
    """Four sessions would silently have no test part."""
    root = _iemocap(tmp_path) / "IEMOCAP_full_release"
    for file in (root / "Session5/dialog/EmoEvaluation").iterdir():
        file.unlink()
    with pytest.raises(WrongRequest, match="Session5 has no"):
        _read("iemocap6", tmp_path)


ED = ",".join(empathetic.COLUMNS)
EC = "id\tturn1\tturn2\tturn3\tlabel\n"
MELD = "Utterance,Emotion,Dialogue_ID,Utterance_ID\n"
BROKEN = {
    "cut off in a row": ("goemotions", "train.tsv", "Fine\t0\tb1\nGood\t", "line 2: 2 columns"),
    "an open quote": ("goemotions", "train.tsv", '"Fine\t0\tb1\nGood\t1\tb2\n', "no whole CSV table"),
    "a label beyond the last": ("goemotions", "train.tsv", "Fine\t28\tb1\n", "line 1: '28' is not a list"),
    "a label that is a word": ("goemotions", "train.tsv", "Fine\tjoy\tb1\n", "line 1: 'joy' is not a list"),
    "empty": ("goemotions", "train.tsv", "\n", "is empty"),
    "an emotion of no one": ("isear", "isear.csv", f"{ISEAR_HEAD}1|2|glee|17|x|1|\n", "line 2: 'glee' is none of"),
    "a raw row cut off": ("isear", "isear.csv", f"{ISEAR_HEAD}1|2|joy|17|x\n", "line 2: 5 fields"),
    "another header": ("isear", "isear.csv", "ID|AGE|SIT|\n", "line 1: there is no column Field1"),
    "another clean header": ("isear", "isear_clean.tsv", "a\tb\tc\n", "line 1: the columns are not emotion"),
    "a clean row cut off": ("isear", "isear_clean.tsv", "emotion\ttext\tmykey\njoy\tx\n", "line 2: 2 columns"),
    "a tab too many": ("emocontext", "test.txt", f"{EC}0\ta\tb\tc\td\tsad\n", "line 2: 6 columns"),
    "a class of no one": ("emocontext", "test.txt", f"{EC}0\ta\tb\tc\tmeh\n", "line 2: 'meh' is none of"),
    "an utterance cut off": ("dailydialog", "dialogues_test.txt", "A . __eou__ B\n", "does not end in __eou__"),
    "a missing emotion": ("meld", "test_sent_emo.csv", "Utterance,Dialogue_ID\n", "no column Utterance_ID, Emotion"),
    "a row cut off": ("meld", "test_sent_emo.csv", f"{MELD}x,joy\n", "line 2: 2 columns where 4"),
    "a wrong emotion": ("meld", "test_sent_emo.csv", f"{MELD}x,meh,0,0\n", "line 2: 'meh' is none of"),
    "a wrong place": ("meld", "test_sent_emo.csv", f"{MELD}x,joy,0,a\n", "line 2: Utterance_ID 'a'"),
    "a value too high": ("emobank", "emobank.csv", "id,split,V,A,D,text\nx,test,6,1,1,t\n", "line 2: '6' is no value"),
    "a value not a number": ("emobank", "emobank.csv", "id,split,V,A,D,text\nx,test,nan,1,1,t\n", "'nan' is no value"),
    "a wrong split": ("emobank", "emobank.csv", "id,split,V,A,D,text\nx,tst,2,1,1,t\n", "split 'tst'"),
    "seven columns": ("empathetic", "test.csv", f"{ED}\na,1,sad,b,1,c,d\n", "line 2: 7 columns where 8"),
    "a label not of 32": ("empathetic", "test.csv", f"{ED}\na,1,glad,b,1,c,d,\n", "line 2: 'glad' is none"),
    "an id too high": ("empathetic", "test.csv", "text,aug_text,label\na,b,32\n", "line 2: '32' is no label id"),
    "no form of IEMOCAP": (
        "iemocap6",
        "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
        "nothing\n",
        "line 1: no line has the form",
    ),
}


@pytest.mark.parametrize(("name", "file", "text", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_one_sentence_with_its_place_and_a_cure(
    tmp_path: Path, name: str, file: str, text: str, says: str
) -> None:
    """Truncated, empty or with wrong columns: the file, the line, what is wrong, and what to do."""
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    if name == "dailydialog":
        (tmp_path / "dialogues_emotion_test.txt").write_text("0 0\n")
    with pytest.raises(WrongRequest) as caught:
        _read(name, tmp_path)
    sentence = str(caught.value)
    assert says in sentence
    assert Path(file).name in sentence
    assert ";" in sentence
    assert "\n" not in sentence


def test_a_file_of_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    """A byte that is no UTF-8 ends the reading; the sentence says how to convert."""
    (tmp_path / "test.tsv").write_bytes(b"Fine\t0\tb1\ncaf\xe9\t0\tb2\n")
    with pytest.raises(WrongRequest, match=r"test\.tsv line 2: it is not UTF-8; save it as UTF-8"):
        _read("goemotions", tmp_path)


def test_files_of_two_releases_are_refused(tmp_path: Path) -> None:
    """As many lines of emotions as of dialogues, or nothing."""
    _write(tmp_path, dialogues_test_dot_txt="A . __eou__\n", dialogues_emotion_test_dot_txt="0\n0\n")
    with pytest.raises(WrongRequest, match="has 1 dialogues and dialogues_emotion_test"):
        _read("dailydialog", tmp_path)
    (tmp_path / "dialogues_emotion_test.txt").unlink()
    with pytest.raises(WrongRequest, match=r"dialogues_emotion_test\.txt cannot be read"):
        _read("dailydialog", tmp_path)


def test_another_label_order_beside_goemotions_is_refused(tmp_path: Path) -> None:
    """Ids are places in the published list; a folder with another list would be read wrongly."""
    _write(tmp_path, test_dot_tsv="Fine\t0\tb1\n", emotions_dot_txt="\n".join(sorted(LABELS)))
    with pytest.raises(WrongRequest, match="another order"):
        _read("goemotions", tmp_path)


@pytest.mark.parametrize("name", benchmarks.ALL)
def test_an_empty_or_absent_folder_says_what_belongs_there(tmp_path: Path, name: str) -> None:
    """The sentence names the files or folders that the owner publishes."""
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(WrongRequest, match="give the folder"):
            _read(name, path)


def test_read_takes_a_name_and_a_place(tmp_path: Path) -> None:
    """ "goemotions:path" is read; another name is answered with the names there are."""
    _write(tmp_path, goemotions__test_dot_tsv="Fine\t0\tb1\n")
    benchmark, parts = benchmarks.read(f"goemotions:{tmp_path}/goemotions")
    assert (benchmark.name, len(parts.test)) == ("goemotions", 1)
    assert benchmarks.found(tmp_path) == {"goemotions": tmp_path / "goemotions"}
    for spec in ("emotions:here", "goemotions", "goemotions:"):
        with pytest.raises(WrongRequest, match="goemotions"):
            benchmarks.read(spec)


def _real(folder: str) -> Callable[[], Path]:
    def path() -> Path:
        if not (DATA / folder).exists():
            pytest.skip(f"shared/data/{folder} is not there")
        return DATA / folder

    return path


def test_the_real_goemotions_has_its_published_sizes() -> None:
    """43,410 / 5,426 / 5,427 rows, ids that stand once, and no text with its CSV quoting left on."""
    parts = _read("goemotions", _real("goemotions")())
    assert [len(part) for part in parts[:3]] == [43_410, 5_426, 5_427]
    assert parts.notes == ()
    rows = [row for part in parts[:3] for row in part]
    assert len({row.id for row in rows}) == len(rows)
    assert sum(row.text.startswith('"') and '""' in row.text for row in rows) == 0
    assert sum("neutral" in row.labels for row in parts.train) == 14_219


def test_the_real_isear_is_the_same_raw_and_cleaned() -> None:
    """Two readers, one set of rows: the same ids, labels and respondents, and the same texts but one of unpaired quotes."""
    folder = _real("isear")()
    raw, clean = (_read("isear", folder / name) for name in ("isear.csv", "isear_clean.tsv"))
    assert len(raw.train) == len(clean.train) == 4_497
    assert [row._replace(text="") for row in raw.train] == [row._replace(text="") for row in clean.train]
    assert sum(one.text != other.text for one, other in zip(raw.train, clean.train, strict=True)) == 1
    assert "85 answers" in raw.notes[0]


def test_the_real_emobank_has_its_published_sizes() -> None:
    """8,062 / 1,000 / 1,000 sentences with three values."""
    parts = _read("emobank", _real("emobank")())
    assert [len(part) for part in parts[:3]] == [8_062, 1_000, 1_000]
    assert all(len(row.values) == 3 for row in parts.test)


@pytest.mark.parametrize(
    ("name", "folder", "rows"),
    [("meld", "meld", 40), ("dailydialog", "dailydialog", 184), ("empathetic", "empatheticdialogues", 40)],
)
def test_the_first_rows_of_other_real_files_are_read(name: str, folder: str, rows: int) -> None:
    """The published forms, from the first rows of each."""
    parts = _read(name, _real(f"formats/{folder}")())
    assert len(parts.train) == rows
    assert all(row.text for row in parts.train)
