"""Facts about what is learnt from: how it is read, what is refused, and that nothing leaks from one part into another."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from train import tiny

from factory.benchmarks import ALL
from factory.errors import WrongRequest
from factory.taxonomy import ID, LABELS
from factory.train import data, imbalance
from factory.train.records import Examples

REAL = Path(__file__).resolve().parents[2] / "../shared/data"
PARTS = ("train", "validation", "test")


def _rows(number: int, count: int, part: str) -> list[dict[str, Any]]:
    told = tiny.sayings(count, number)
    return [tiny.row(f"{part}{n}", text, labels, f"{part}-{n % 10}") for n, (text, labels) in enumerate(told)]


def _written(folder: Path, parts: dict[str, list[dict[str, Any]]], view: str = "contextless") -> str:
    for part, rows in parts.items():
        tiny.write(folder / view / f"{part}-00000-of-00001.parquet", rows, view == "contextual")
    return str(folder)


def _parts(counts: tuple[int, int, int] = (100, 40, 40)) -> dict[str, list[dict[str, Any]]]:
    return {part: _rows(n, count, part) for n, (part, count) in enumerate(zip(PARTS, counts, strict=True))}


def _refused(spec: str, **more: Any) -> str:
    with pytest.raises(WrongRequest) as caught:
        data.load(spec, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _goemotions(folder: Path, rows: dict[str, list[tuple[str, str]]]) -> str:
    """A folder in the form of GoEmotions: text, label ids, id."""
    folder.mkdir()
    for part, told in rows.items():
        lines = [f"{text}\t{labels}\t{part}{n}\n" for n, (text, labels) in enumerate(told)]
        (folder / f"{part}.tsv").write_text("".join(lines), encoding="utf-8")
    return f"goemotions:{folder}"


# Reading ------------------------------------------------------------------------------------------------------------------


def test_a_run_and_its_dataset_folder_are_the_same_data(tmp_path: Path) -> None:
    """A run has its views under dataset/."""
    _written(tmp_path / "run" / "dataset", _parts())
    run, folder = (data.load(str(tmp_path / "run" / one)) for one in ("", "dataset"))
    assert run.fingerprint() == folder.fingerprint() and run.name == "run"
    assert [len(part) for part in (run.train, run.validation, run.test)] == [100, 40, 40]
    assert run.classes == LABELS and run.multi and not run.contextual


def test_labels_and_intensities_are_read_in_taxonomy_order(tmp_path: Path) -> None:
    """Hard ones as 0 and 1, soft ones as they are."""
    parts = _parts()
    parts["train"][0] = tiny.row("a", "a hammer in the sunshine", ["joy", "anger"], "train-1", score=0.6)
    found = data.load(_written(tmp_path / "set", parts)).train
    assert np.flatnonzero(found.hard[0]).tolist() == sorted([ID["anger"], ID["joy"]])
    assert found.soft[0, ID["joy"]] == pytest.approx(0.6) and found.soft[0].sum() == pytest.approx(1.2)


def test_a_contextual_view_shows_character_and_context_and_without_context_neither(tmp_path: Path) -> None:
    """Two models can be compared on the same utterances (CONTEXT off)."""
    folder = tiny.dataset(tmp_path / "set", view="contextual", context="Before that")
    shown, hidden = (data.load(str(folder), "contextual", context) for context in (True, False))
    assert shown.train.contexts[0].startswith("A woman of the village.\nBefore that") and shown.contextual
    assert shown.train.texts == hidden.train.texts and set(hidden.train.contexts) == {""} and not hidden.contextual


def test_both_views_make_one_training_part(tmp_path: Path) -> None:
    """Rows with and without context, in every part."""
    tiny.dataset(tmp_path / "set", (50, 20, 20))
    parts = {
        p: [r | {"context": "It rained.", "character": "A man."} for r in _rows(n + 5, 30, p)]
        for n, p in enumerate(PARTS)
    }
    _written(tmp_path / "set", parts, "contextual")
    both = data.load(str(tmp_path / "set"), "contextless,contextual")
    assert (len(both.train), len(both.validation)) == (80, 50) and both.contextual
    assert sum(map(bool, both.train.contexts)) == 30


def test_a_benchmark_is_data_with_its_own_parts_and_classes(tmp_path: Path) -> None:
    """GoEmotions in its own form; its licence goes along."""
    told = {part: [(f"text {part} {n}", str(n % 3)) for n in range(12)] for part in ("train", "dev", "test")}
    found = data.load(_goemotions(tmp_path / "go", told))
    assert found.classes == LABELS and found.official and "CC BY" in found.licence
    assert (len(found.train), len(found.validation), len(found.test)) == (12, 12, 12)


def test_another_set_adds_its_training_part_alone_and_says_so(tmp_path: Path) -> None:
    """Validation and test stay those of the first."""
    told = {part: [(f"text {part} {n}", str(n % 3)) for n in range(12)] for part in ("train", "dev", "test")}
    go, mine = _goemotions(tmp_path / "go", told), _written(tmp_path / "set", _parts())
    found = data.load(f"{go},{mine}")
    assert len(found.train) == 112 and len(found.validation) == 12 and found.name == "goemotions+set"
    assert any("100 training rows of set were added" in note for note in found.notes)


def test_a_set_of_other_classes_is_mapped_to_the_28_and_rows_without_one_are_left_out() -> None:
    """EmpatheticDialogues' trusting stands for none of the 28."""
    known = ALL["empathetic"]
    hard = np.eye(len(known.classes), dtype=np.float32)
    none = ("",) * len(hard)
    part = Examples(texts=known.classes, contexts=none, hard=hard, soft=hard, groups=none, ids=known.classes)
    made = data.Dataset(name="empathetic", classes=known.classes, multi=False, train=part, validation=part, test=part)
    found = data._mapped(made, LABELS)
    at = found.texts.index("terrified")
    assert np.flatnonzero(found.hard[at]).tolist() == [ID["fear"]] and "trusting" not in found.texts


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "isear").is_dir(), reason="the real data is not beside this checkout")
def test_a_benchmark_without_a_split_has_grouped_folds() -> None:
    """ISEAR: five test parts that are all rows together, no respondent and no text on two sides."""
    seen: set[str] = set()
    for fold in range(5):
        found = data.load(f"isear:{REAL / 'isear'}", fold=fold)
        for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
            mine, theirs = getattr(found, one), getattr(found, other)
            assert not set(mine.groups) & set(theirs.groups) and not set(mine.keys()) & set(theirs.keys())
        assert not seen & set(found.test.ids)
        seen |= set(found.test.ids)
    assert len(seen) > 4000


# What is refused -----------------------------------------------------------------------------------------------------------


def _spoilt(folder: Path, **fields: Any) -> str:
    parts = _parts()
    parts["train"][7] |= fields
    return _refused(_written(folder, parts))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"label_ids": [3, 28]}, "row 7 has the label 28"),
        ({"label_ids": [-1]}, "row 7 has the label -1"),
        ({"labels": ["schadenfreude"]}, "'schadenfreude'"),
        ({"labels": ["joy"], "label_ids": [ID["fear"]]}, "'joy', which is unknown or not among its label_ids"),
        ({"intensities": [float("nan")] * 28}, "intensities of row 7"),
        ({"intensities": [2.0] * 28}, "intensities of row 7"),
        ({"intensities": [0.5] * 27}, "intensities of row 7"),
        ({"intensities": None}, "intensities of row 7"),
        ({"utterance": None}, "row 7 has no text"),
        ({"utterance": "  "}, "row 7 has no text"),
    ],
)
def test_a_row_that_cannot_be_learnt_from_is_one_sentence_with_its_place(
    tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    """Unknown labels, scores that are no numbers, no text."""
    assert said in _spoilt(tmp_path / "set", **fields)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_an_empty_part_is_refused(tmp_path: Path, part: str) -> None:
    """Nothing to learn from, or nothing to tune on; a test part may be empty."""
    assert f"no row in its {part} part" in _refused(_written(tmp_path / "set", _parts() | {part: []}))
    assert len(data.load(_written(tmp_path / "other", _parts() | {"test": []})).test) == 0


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    """There is nothing to tell apart."""
    parts = _parts()
    parts["train"] = [tiny.row(f"t{n}", f"text {n}", ["joy"], f"train-{n}") for n in range(30)]
    assert "one and the same class" in _refused(_written(tmp_path / "set", parts))


def test_a_truncated_file_is_refused_by_its_name(tmp_path: Path) -> None:
    """Of a view, and of a benchmark."""
    spec = _written(tmp_path / "set", _parts())
    (file,) = (tmp_path / "set" / "contextless").glob("train*")
    file.write_bytes(file.read_bytes()[:-200])
    assert file.name in _refused(spec)
    told = {part: [(f"text {part} {n}", str(n % 3)) for n in range(12)] for part in ("train", "dev", "test")}
    go = _goemotions(tmp_path / "go", told)
    path = tmp_path / "go" / "train.tsv"
    path.write_bytes(path.read_bytes()[:-9])
    assert "train.tsv" in _refused(go)


def test_a_file_that_is_no_view_is_refused(tmp_path: Path) -> None:
    """A table without the columns."""
    import pyarrow as pa
    from pyarrow import parquet

    spec = _written(tmp_path / "set", _parts())
    (file,) = (tmp_path / "set" / "contextless").glob("train*")
    parquet.write_table(pa.table({"text": ["a"], "label": ["joy"]}), file)
    assert "cannot be read as a view" in _refused(spec)


@pytest.mark.parametrize(
    ("spec", "more", "said"),
    [
        ("", {}, "DATA is empty"),
        ("nowhere", {}, "there is no such folder"),
        ("nobody:there", {}, "there is no such folder"),
        ("goemotions:nowhere", {}, "nowhere"),
        ("{set}", {"view": "mcq_eu"}, "VIEW=mcq_eu"),
        ("{set}", {"view": ""}, "cannot train"),
        ("{set}", {"view": "contextual"}, "no contextual/train-*.parquet"),
        ("{set}", {"fold": 1}, "no folds"),
    ],
)
def test_a_wrong_name_is_one_sentence(tmp_path: Path, spec: str, more: dict[str, Any], said: str) -> None:
    """Of data, view or fold."""
    mine = _written(tmp_path / "set", _parts())
    assert said in _refused(spec.format(set=mine), **more)


# Leaks --------------------------------------------------------------------------------------------------------------------


def test_a_text_on_two_sides_is_taken_out_of_train_and_told(tmp_path: Path) -> None:
    """Also where only case, marks and spaces differ; and out of validation where it stands in test."""
    parts = _parts()
    parts["train"][3]["utterance"] = parts["test"][5]["utterance"].upper() + " !!"
    parts["train"][4]["utterance"] = parts["validation"][6]["utterance"]
    parts["validation"][7]["utterance"] = parts["test"][8]["utterance"]
    found = data.load(_written(tmp_path / "set", parts))
    assert (len(found.train), len(found.validation), len(found.test)) == (98, 39, 40)
    assert not {"train3", "train4"} & set(found.train.ids) and "validation7" not in found.validation.ids
    assert any("2 training rows repeat a text of validation or test" in note for note in found.notes)
    assert any("1 validation rows repeat a text of test" in note for note in found.notes)


def test_a_validation_text_in_the_synthetic_part_is_taken_out_and_told(tmp_path: Path) -> None:
    """GoEmotions first, our rows added: what stands in its dev or test is not learnt from."""
    told = {part: [(f"text {part} {n}", str(n % 3)) for n in range(30)] for part in ("train", "dev", "test")}
    parts = _parts()
    parts["train"][0]["utterance"] = "Text dev 4."
    parts["train"][1]["utterance"] = "text test 5"
    found = data.load(f"{_goemotions(tmp_path / 'go', told)},{_written(tmp_path / 'set', parts)}")
    assert len(found.train) == 128 and not {"Text dev 4.", "text test 5"} & set(found.train.texts)
    assert any("2 training rows repeat" in note for note in found.notes)


def test_the_same_words_in_another_context_are_another_row(tmp_path: Path) -> None:
    """Short utterances recur in dialogues; in the same context they are the same."""
    more = {"context": "It rained.", "character": "A man."}
    parts = {part: [row | more for row in rows] for part, rows in _parts().items()}
    same = parts["test"][5]["utterance"]
    parts["train"][3] |= {"utterance": same, "context": "The sun came out."}
    parts["train"][4] |= {"utterance": same}
    _written(tmp_path / "set", parts, "contextual")
    found = data.load(str(tmp_path / "set"), "contextual")
    assert "train3" in found.train.ids and "train4" not in found.train.ids


def test_words_without_context_are_the_same_as_those_words_with_one(tmp_path: Path) -> None:
    """A plain set that is added to a contextual one may hold its test's utterances."""
    more = {"context": "It rained.", "character": "A man."}
    _written(tmp_path / "set", {part: [row | more for row in rows] for part, rows in _parts().items()}, "contextual")
    told = {part: [(f"text {part} {n}", str(n % 3)) for n in range(12)] for part in ("train", "dev", "test")}
    told["train"].append((_parts()["test"][5]["utterance"], "4"))
    found = data.load(f"{tmp_path / 'set'},{_goemotions(tmp_path / 'go', told)}", "contextual")
    assert len(found.train) == 112 and any("1 training rows repeat" in note for note in found.notes)


def test_an_oversampler_that_ran_before_the_split_is_refused(tmp_path: Path) -> None:
    """Rows of rare labels were repeated, then all were split at random: plainly so, and not only cleaned."""
    rows = [row | {"source_id": f"s{n}"} for n, row in enumerate(_rows(0, 300, "x"))]
    hard = np.array([[label in row["labels"] for label in LABELS] for row in rows], float)
    hard[:, ID["joy"]] = 1  # one frequent label, so that the others are rare
    repeated = [rows[n] | {"source_id": f"c{k}"} for k, n in enumerate(imbalance.oversampled(hard, 0))] + rows
    order = np.random.default_rng(0).permutation(len(repeated))
    cut = len(order) * 8 // 10, len(order) * 9 // 10
    places = {"train": order[: cut[0]], "validation": order[cut[0] : cut[1]], "test": order[cut[1] :]}
    parts = {part: [repeated[n] for n in some] for part, some in places.items()}
    assert "copied before they were split" in _refused(_written(tmp_path / "set", parts))


def test_a_source_on_two_sides_is_refused(tmp_path: Path) -> None:
    """Rows of one source know each other, though no text is the same."""
    parts = _parts()
    parts["train"][3]["source_id"] = "test-4"
    said = _refused(_written(tmp_path / "set", parts))
    assert "stand in train and in test" in said and "test-4" in said


def test_sources_of_a_second_run_that_are_held_out_in_the_first_are_left_out(tmp_path: Path) -> None:
    """Two runs of one corpus that were split differently."""
    first, second = _parts(), {part: _rows(n + 7, 40, part) for n, part in enumerate(PARTS)}
    for n, row in enumerate(second["train"]):
        row["source_id"] = "test-4" if n < 5 else f"train-{n % 10}"
    found = data.load(f"{_written(tmp_path / 'one', first)},{_written(tmp_path / 'two', second)}")
    assert len(found.train) == 135
    assert any("5 training rows of two are of sources in validation or test" in note for note in found.notes)


def test_an_official_split_is_kept_and_what_stands_on_two_sides_is_told(tmp_path: Path) -> None:
    """However much it is: it was made by others. Texts of test go out of train."""
    told = {part: [(f"text {part} {n}", str(n % 3)) for n in range(60)] for part in ("train", "dev", "test")}
    told["train"] += told["test"]
    found = data.load(_goemotions(tmp_path / "go", told))
    assert len(found.train) == 60 and len(found.test) == 60
    assert any("60 training rows repeat" in note for note in found.notes)


@pytest.mark.skipif(not (REAL / "goemotions").is_dir(), reason="the real data is not beside this checkout")
def test_no_text_of_goemotions_is_learnt_and_tested() -> None:
    """Its official split has some on two sides (METHODS 7.3); nothing of test is missing."""
    found = data.load(f"goemotions:{REAL / 'goemotions'}")
    train, validation, test = (set(part.keys()) for part in (found.train, found.validation, found.test))
    assert not train & validation and not train & test and not validation & test
    assert len(found.test) == 5427 and 42_900 < len(found.train) < 43_410


def test_a_subset_is_drawn_by_its_seed_and_a_smaller_one_is_part_of_it(tmp_path: Path) -> None:
    """So that 1%, 10% and 100% differ in size alone."""
    train = data.load(_written(tmp_path / "set", _parts())).train
    small, large, other = (set(data.subset(train, count, seed).ids) for count, seed in ((10, 0), (30, 0), (10, 1)))
    assert len(small) == 10 and small < large and small != other
    assert data.subset(train, 10, 0).ids == tuple(one for one in train.ids if one in small)


def test_columns_of_other_types_are_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    """Whole numbers as floats are labels; names in their place are none."""
    import pyarrow as pa
    from pyarrow import parquet

    spec = _written(tmp_path / "set", _parts())
    path = next((tmp_path / "set" / "contextless").glob("train-*"))
    table = parquet.read_table(path)
    place = table.column_names.index("label_ids")
    floats = table["label_ids"].cast(pa.list_(pa.float64()))
    parquet.write_table(table.set_column(place, "label_ids", floats), path)
    assert data.load(spec).train.hard.sum() == sum(len(row) for row in table["label_ids"].to_pylist())
    parquet.write_table(table.set_column(place, "label_ids", table["labels"]), path)
    assert "cannot be read as a view of a run" in _refused(spec)


def test_what_is_named_twice_is_not_learnt_twice(tmp_path: Path) -> None:
    spec = _written(tmp_path / "set", _parts())
    assert "give it once" in _refused(f"{spec},{spec}")
    assert len(data.load(spec, "contextless,contextless").test) == len(data.load(spec).test)


def test_rows_without_any_label_are_refused_as_that(tmp_path: Path) -> None:
    parts = _parts()
    parts["train"] = [{**row, "labels": [], "label_ids": []} for row in parts["train"]]
    assert "no training row" in _refused(_written(tmp_path / "set", parts))
