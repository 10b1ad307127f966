"""Facts about what a language model learns from: how it is read, what is refused, and that nothing leaks between parts."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from slm.conversations import PARTS, SCENE, Said, goemotions, some, sound, written

from factory import contract
from factory.errors import WrongRequest
from factory.slm import rows
from factory.slm.rows import Numbers, Pool, Row, answered, load, preserved
from factory.taxonomy import ID

REAL = Path(__file__).resolve().parents[2] / "../shared/data"


def _flat(texts: Sequence[str]) -> Numbers:
    """A regressor that says the length of a text in hundredths, so that each row has its own."""
    return np.asarray([(min(1.0, len(text) / 100), 0.5, 0.25) for text in texts])


def _parts(**changed: Any) -> dict[str, list[Said]]:
    """Sound parts, the third training row with other fields."""
    parts = {part: some(part, count) for part, count in zip(PARTS, (8, 4, 4), strict=True)}
    parts["train"][2] = replace(parts["train"][2], **changed)
    return parts


def _refused(spec: object, **more: Any) -> str:
    with pytest.raises(WrongRequest) as caught:
        load(str(spec), **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _texts(several: Sequence[Row]) -> list[str]:
    return [row.text for row in several]


def _notes(pool: Pool) -> list[str]:
    """But for who wrote the rows, which is said of every run of these tests."""
    return [note for note in pool.notes if "rehearsal engine" not in note]


def _told(count: int, word: str = "") -> dict[str, list[tuple[str, str]]]:
    return {
        part: [(f"{word} {part} number {n}", str(n % 3)) for n in range(count)] for part in ("train", "dev", "test")
    }


# Reading --------------------------------------------------------------------------------------------------------------


def test_a_row_has_its_conversation_and_what_contextless_knows_of_it(tmp_path: Path) -> None:
    """Labels in the order of the answer, VAD and appraisals as they are (null stays unknown), the rationale of the answer."""
    fields = {"labels": ("relief", "joy"), "vad": (0.125, None, 0.5), "why": 'She said "yes".'}
    (pool,) = load(str(written(tmp_path / "run", _parts(**fields))))
    row = pool.train[2]
    assert (row.id, row.task, row.group, row.flipped, row.weight) == ("train2", "emotion_json", "train-1", False, 1.0)
    assert [one.role for one in row.messages] == ["system", "user", "assistant"]
    assert row.text == "train saying number 2" and row.rationale == 'She said "yes".'
    assert row.hard == (ID["relief"], ID["joy"]) and row.vad == (0.125, None, 0.5)
    assert row.appraisals == pytest.approx((0.1, 0.2, None, 0.4)) and row.appraisals[2] is None
    assert contract.parsed(row.messages[-1].content).how == "strict"


def test_a_run_and_its_dataset_folder_are_the_same_rows(tmp_path: Path) -> None:
    """A run has its views under dataset/."""
    sound(tmp_path / "run" / "dataset")
    (run,), (folder,) = load(str(tmp_path / "run")), load(str(tmp_path / "run" / "dataset"))
    assert run.train == folder.train and (run.name, folder.name) == ("run", "dataset")
    assert [len(part) for part in (run.train, run.validation, run.test)] == [8, 4, 4]


def test_tasks_choose_rows(tmp_path: Path) -> None:
    """An item has its rationale, and neither labels nor VAD."""
    parts = {part: some(part, 4) + some(f"{part} item", 2, task="mcq_eu") for part in PARTS}
    folder = written(tmp_path / "run", parts)
    (both,), (items,) = load(str(folder)), load(str(folder), tasks=("mcq_eu",))
    assert (len(both.train), len(items.train)) == (6, 2)
    assert {row.task for row in items.train} == {"mcq_eu"}
    assert items.train[0].rationale == SCENE["rationale"]
    assert items.train[0].hard == () and items.train[0].vad == (None, None, None)


def test_flipped_rows_are_marked_and_can_be_left_out_of_training_alone(tmp_path: Path) -> None:
    """With and without them, a model is chosen on the same rows."""
    parts = {part: some(part, 4) + some(f"{part} flip", 2, kind="flipped") for part in PARTS}
    folder = str(written(tmp_path / "run", parts))
    (with_them,), (without,) = load(folder), load(folder, flips=False)
    assert sum(row.flipped for row in with_them.train) == 2 and len(without.train) == 4
    assert not any(row.flipped for row in without.train)
    assert without.validation == with_them.validation and without.test == with_them.test
    assert any("2 valence-flip rows of run" in note for note in without.notes)


def test_a_benchmark_becomes_rows_of_the_contract(tmp_path: Path) -> None:
    """Its labels, VAD of the regressor to two decimals in the answer, an empty rationale, its licence along."""
    told = _told(6) | {"train": [("so glad you came", "17,15"), *_told(6)["train"]]}
    (pool,) = load(goemotions(tmp_path / "go", told), vad=True)
    row = answered(pool.train, _flat)[0]
    assert row.messages[0].content == contract.SYSTEM and row.text == "so glad you came"
    assert row.messages[-1].content == contract.line(["gratitude", "joy"], 0.16, 0.5, 0.25, "")
    assert row.hard == (15, 17) and row.vad == (0.16, 0.5, 0.25) and row.rationale == ""
    assert pool.licence == "CC BY 4.0" and (len(pool.train), len(pool.validation), len(pool.test)) == (7, 6, 6)


def test_only_rows_that_wait_are_answered_and_each_text_is_asked_for_once_its_row_is_taken(tmp_path: Path) -> None:
    """Reading a benchmark rates nothing; a run's rows stay as they are."""
    run, go = load(f"{sound(tmp_path / 'run')},{goemotions(tmp_path / 'go', _told(6))}", vad=True)
    assert {row.messages[-1].role for row in go.train} == {"user"} and {row.vad for row in go.train} == {(None,) * 3}
    asked: list[str] = []

    def rate(texts: Sequence[str]) -> Numbers:
        asked.extend(texts)
        return _flat(texts)

    made = answered([*run.train, *go.train[:2]], rate)
    assert asked == _texts(go.train[:2]) and made[:8] == list(run.train)
    assert {row.messages[-1].role for row in made} == {"assistant"}
    assert answered(made, rate) == made and len(asked) == 2


def test_classes_without_a_label_are_dropped_and_counted(tmp_path: Path) -> None:
    """EmpatheticDialogues' trusting stands for none of the 28; terrified is fear."""
    from factory.benchmarks.empathetic import ORDER

    for part, name in (("train", "train"), ("valid", "valid"), ("test", "test")):
        labels = [ORDER.index(one) for one in ("terrified", "trusting", "joyful")] * 4
        told = [f'"{part} tale {n} of somebody","",{label}\n' for n, label in enumerate(labels)]
        (tmp_path / f"situations_{name}.csv").write_text("text,aug_text,label\n" + "".join(told))
    (pool,) = load(f"empathetic:{tmp_path}", vad=True)
    assert len(pool.train) == 8 and {row.hard for row in pool.train} == {(ID["fear"],), (ID["joy"],)}
    assert any("12 rows of EmpatheticDialogues" in note and "none of the 28" in note for note in pool.notes)


def test_pools_come_in_the_order_of_their_naming(tmp_path: Path) -> None:
    """MIX= goes by it."""
    spec = f"{sound(tmp_path / 'run')}, {goemotions(tmp_path / 'go', _told(6))}"
    assert [pool.name for pool in load(spec, vad=True)] == ["run", "goemotions"]


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "goemotions").is_dir(), reason="the real data is not beside this checkout")
def test_the_real_goemotions_is_the_contract_throughout() -> None:
    """Every answer is strict; no text of validation or test is in train."""
    (pool,) = load(f"goemotions:{REAL / 'goemotions'}", vad=True)
    assert len(pool.train) > 42_000 and len(pool.test) == 5_427
    some = answered(pool.train[::50], _flat)
    assert all(contract.parsed(row.messages[-1].content).how == "strict" for row in some)
    held = {row.text for part in (pool.validation, pool.test) for row in part}
    assert not held & set(_texts(pool.train))


AT_HALF = contract.line(["joy"], 0.5, 0.5, 0.5, "x")


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"answer": '{"labels": ["bliss"], "vad": {"v": 0.5, "a": 0.5, "d": 0.5}, "rationale": "x"}'},
            "row train2: it has the label 'bliss'",
        ),
        ({"answer": "She is glad."}, "row train2: its answer is not the one-line contract ('She is glad.')"),
        ({"answer": f"Sure: {contract.line(['joy'], 1, 1, 1, 'x')}"}, "not the one-line contract"),
        ({"answer": '{"labels": 3}'}, "not the one-line contract"),
        ({"answer": "  "}, "row train2 is no question with an answer"),
        ({"turns": (("user", "Hello."),)}, "its turns: user"),
        ({"turns": (("assistant", "a"), ("user", "b"))}, "its turns: assistant, user"),
        ({"scored": False}, "row train2 is not in contextless"),
        ({"scored_labels": ("anger",)}, "has other labels in contextless"),
        ({"task": "mcq_eu", "answer": '{"answer": "A"}'}, "not JSON with cause and emotion"),
        ({"task": "mcq_eu", "answer": '["A"]'}, "not JSON with cause and emotion"),
        ({"task": "mcq_eu", "answer": '{"emotion": "A", "cause": 1}'}, "not JSON with cause and emotion"),
        ({"turns": (("user", "a"), ("assistant", None))}, "row train2 is no question with an answer"),
        ({"turns": (("a\n\x1b[31m", "b"),)}, "its turns: a [31m)"),
        ({"turns": (("role", "b"),) * 99}, "role, r…)"),
        ({"id": "train2\n\x1b[31m" + "x" * 99, "scored": False}, f"row train2 [31m{'x' * 68}… is not in contextless"),
        (
            {"vad": (1e30, 0.5, 0.5), "answer": AT_HALF},
            "row train2: its valence in contextless is 1e+30, not from 0 to 1",
        ),
        ({"vad": (0.5, -0.1, 0.5), "answer": AT_HALF}, "its arousal in contextless is -0.1"),
        ({"vad": (0.5, 0.5, math.nan), "answer": AT_HALF}, "its dominance in contextless is nan"),
        ({"appraisals": (0.5, 7.0, 0.5, 0.5)}, "its controllability in contextless is 7"),
        ({"vad": (0.5, 0.506, 0.5), "answer": AT_HALF}, "its arousal is 0.506 in contextless and 0.5 in its answer"),
    ],
)
def test_a_row_that_is_not_the_contract_is_named(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    """A label outside the taxonomy, another shape, no answer, scores that are of another row."""
    refusal = _refused(written(tmp_path / "run", _parts(**changed)))
    assert said in refusal and "build the dataset anew" in refusal and "sft/train" in refusal


def test_a_score_is_within_the_rounding_of_its_answer(tmp_path: Path) -> None:
    """Half a hundredth, either way, with the error of 32 bits."""
    for n, v in enumerate((0.495, 0.505)):
        (pool,) = load(str(written(tmp_path / f"{n}", _parts(vad=(v, 0.5, 0.5), answer=AT_HALF))))
        assert pool.train[2].vad == pytest.approx((v, 0.5, 0.5))


@pytest.mark.parametrize(
    ("view", "column", "value", "said"),
    [
        ("sft", "messages", "text", "lists of turns"),
        ("sft", "messages", ["text"], "lists of turns"),
        ("sft", "messages", [{"role": "user", "content": ["text"]}], "lists of turns"),
        ("sft", "messages", [{"role": "user"}], "lists of turns"),
        ("sft", "id", 3, "text"),
        ("sft", "source_id", 3.5, "text"),
        ("contextless", "valence", "high", "numbers"),
        ("contextless", "fairness", [0.5], "numbers"),
        ("contextless", "label_ids", ["joy"], "lists of whole numbers"),
    ],
)
def test_a_view_with_a_column_of_another_type_is_refused(
    tmp_path: Path, view: str, column: str, value: Any, said: str
) -> None:
    """In a sentence that names the file."""
    folder = sound(tmp_path / "run")
    path = next((folder / view).glob("train-*"))
    told = [{**row, column: value} for row in parquet.read_table(path).to_pylist()]
    parquet.write_table(pa.Table.from_pylist(told), path)
    assert f"{path} cannot be read as a view of a run (its column {column} is not {said}" in _refused(folder)


def test_views_that_others_wrote_in_types_of_their_own_are_read(tmp_path: Path) -> None:
    """Long texts and lists, categories, doubles, a column of nothing but nulls."""
    folder = sound(tmp_path / "run")
    (wanted,) = load(str(folder))
    turn = pa.struct([("content", pa.large_string()), ("role", pa.large_string()), ("thinking", pa.string())])
    types = {"messages": pa.large_list(turn), "id": pa.large_string(), "task": pa.dictionary(pa.int32(), pa.string())}
    types |= {"valence": pa.float64(), "label_ids": pa.large_list(pa.int64()), "certainty": pa.null()}
    for path in folder.rglob("*.parquet"):
        table = parquet.read_table(path)
        fields = [(field.name, types.get(field.name, field.type)) for field in table.schema]
        parquet.write_table(pa.Table.from_pylist(table.to_pylist(), schema=pa.schema(fields)), path)
    (found,) = load(str(folder))
    assert found.train == wanted.train and found.test == wanted.test


def test_what_cannot_be_data_is_refused(tmp_path: Path) -> None:
    """Nothing, no folder, an unfinished run, a broken file, twice the same, a task that is none, no rows."""
    folder = sound(tmp_path / "run")
    assert "DATA is empty" in _refused(" , ")
    assert "there is no such folder" in _refused(tmp_path / "none")
    assert "there is no such folder" in _refused("nobench:path")
    assert "twice" in _refused(f"{folder},{folder}")
    assert "twice" in _refused(f"{folder},{folder}/.")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "dataset").symlink_to(folder)
    assert "twice" in _refused(f"{folder},{tmp_path / 'linked'}")
    go = goemotions(tmp_path / "go", _told(6))
    assert "twice" in _refused(f"{go},{go}/../go", vad=True)
    assert "'mcq' is no task" in _refused(folder, tasks=("mcq",))
    assert "no training row of mcq_ea" in _refused(folder, tasks=("mcq_ea",))
    (tmp_path / "empty").mkdir()
    assert "has no sft/train-*.parquet; finish the run" in _refused(tmp_path / "empty")
    next((folder / "sft").glob("train-*")).write_bytes(b"PAR1 no")
    assert "cannot be read as a view of a run" in _refused(folder)


def test_no_validation_row_anywhere_is_refused(tmp_path: Path) -> None:
    """With another pool that has some it is not."""
    lone = written(tmp_path / "lone", {"train": some("lone", 4)})
    assert "no validation row" in _refused(lone)
    assert [len(pool.validation) for pool in load(f"{lone},{sound(tmp_path / 'run')}")] == [0, 4]


def test_a_benchmark_needs_a_regressor_and_emotion_rows(tmp_path: Path) -> None:
    """The contract asks for VAD, which no benchmark of labels has."""
    spec = goemotions(tmp_path / "go", _told(6))
    assert "give VAD=" in _refused(spec)
    assert "becomes emotion_json rows" in _refused(spec, tasks=("mcq_eu",), vad=True)
    assert "has no classes to learn" in _refused(f"emobank:{tmp_path}", vad=True)


# Leaks ----------------------------------------------------------------------------------------------------------------


def test_a_text_of_validation_or_test_is_in_no_training_part_of_its_pool(tmp_path: Path) -> None:
    """However it is written; the row that is held stays where it is."""
    parts = _parts(text="TEST saying: number 1!")
    (pool,) = load(str(written(tmp_path / "run", parts)))
    assert len(pool.train) == 7 and len(pool.test) == 4 and "TEST saying: number 1!" not in _texts(pool.train)
    assert any("1 training rows repeat a text" in note for note in pool.notes)


def test_a_source_on_two_sides_is_refused(tmp_path: Path) -> None:
    """A run whose split is broken is not trained on."""
    assert "stand in train and in test" in _refused(written(tmp_path / "run", _parts(source="test-0")))


def _pair(tmp_path: Path, **changed: Any) -> tuple[Pool, Pool]:
    """Two runs of different sources; a training row of the second is changed."""
    first = sound(tmp_path / "first")
    parts = {
        part: [replace(row, text=f"other {row.text}", source=f"other-{row.source}") for row in several]
        for part, several in _parts().items()
    }
    parts["train"][2] = replace(parts["train"][2], **changed)
    one, other = load(f"{first},{written(tmp_path / 'second', parts)}")
    assert [len(part) for part in (one.train, one.validation, one.test)] == [8, 4, 4]
    return one, other


@pytest.mark.parametrize(
    "changed",
    [
        {"text": "Test saying number 3"},
        {"text": "validation saying number 3."},
        {"source": "test-1"},
        {"source": "validation-0"},
    ],
)
def test_what_another_pool_holds_for_measuring_is_not_trained_on(tmp_path: Path, changed: dict[str, str]) -> None:
    """Text or source, validation or test; and it is told."""
    _, other = _pair(tmp_path, **changed)
    assert len(other.train) == 7 and "train2" not in {row.id for row in other.train}
    assert any("1 training rows of second share a text or a source" in note for note in other.notes)


def test_pools_may_share_training_rows(tmp_path: Path) -> None:
    """Nothing is measured on these."""
    _, other = _pair(tmp_path, text="train saying number 1", source="train-0")
    assert len(other.train) == 8 and _notes(other) == []


def test_a_validation_row_that_another_pool_tests_on_is_left_out(tmp_path: Path) -> None:
    """Thresholds and epochs are chosen on validation."""
    first, parts = sound(tmp_path / "first"), {"train": some("b", 6), "validation": some("c", 4)}
    parts["validation"][1] = replace(parts["validation"][1], text="test saying number 2")
    _, other = load(f"{first},{written(tmp_path / 'second', parts)}")
    assert len(other.validation) == 3
    assert any("1 validation rows of second" in note for note in other.notes)


def test_ids_of_a_benchmark_are_no_sources_of_a_run(tmp_path: Path) -> None:
    """A run's source that is named as a row of a benchmark is another thing."""
    spec = goemotions(tmp_path / "go", _told(6))
    parts = {"train": some("a", 6), "validation": some("b", 4)}
    parts["train"] = [replace(row, source="test1") for row in parts["train"]]
    run, go = load(f"{written(tmp_path / 'run', parts)},{spec}", vad=True)
    assert len(run.train) == 6 and {row.group for row in go.train} == {f"goemotions/train{n}" for n in range(6)}


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "covered", "target", "weight"),
    [
        ((0.5, 0.5, 0.5), 5, (0.5, 0.5, 0.5), 1.0),
        ((0.65, 0.5, 0.5), 2, (0.5, 0.5, 0.5), math.exp(-0.5)),  # one deviation away
        ((0.5, 0.2, 0.5), 2, (0.5, 0.5, 0.5), math.exp(-2)),  # two
        ((0.65, 0.65, 0.35), 9, (0.5, 0.5, 0.5), math.exp(-1.5)),  # one in each dimension
        ((0.65, 0.0, 1.0), 2, (0.5, None, None), math.exp(-0.5)),  # unknown ones are masked
        ((0.0, 0.0, 0.0), 9, (None, None, None), 1.0),
        ((0.0, 0.0, 0.0), 1, (1.0, 1.0, 1.0), 1.0),  # one word says nothing
        (None, 0, (1.0, 1.0, 1.0), 1.0),
    ],
)
def test_the_weight_is_that_of_its_formula(
    read: tuple[float, ...] | None, covered: int, target: tuple[float | None, ...], weight: float
) -> None:
    """exp(-||m (lex - t)||^2 / (2 * .15^2)), worked out by hand."""
    found = preserved(None if read is None else np.asarray(read), covered, target)
    assert found == pytest.approx(weight, rel=1e-6)


KNOWN = {"bright": (0.9, 0.5, 0.4), "dark": (0.1, 0.5, 0.4)}


class _Table:
    """Two words that are known."""

    def read(self, text: str) -> tuple[Numbers | None, int]:
        found = [KNOWN[word] for word in text.split() if word in KNOWN]
        return (np.mean(found, axis=0) if found else None), len(found)


def test_a_rationale_that_contradicts_its_row_has_less_weight(tmp_path: Path) -> None:
    """Only training rows are weighted; without words all weights are 1. Beside the VAD of other rows they fit worse."""
    parts = _felt(20)
    parts["train"][1] = replace(parts["train"][1], why="a bright bright day")
    parts["train"][2] = replace(parts["train"][2], why="a dark day")
    folder = str(written(tmp_path / "run", parts))
    (pool,), (plain,) = load(folder, words=_Table()), load(folder)
    weights = [row.weight for row in pool.train]
    assert weights == pytest.approx([1.0, math.exp(-(0.8**2) / (2 * 0.15**2)), *[1.0] * 18], rel=1e-4)
    assert {row.weight for row in (*pool.validation, *pool.test, *plain.train)} == {1.0}
    (note,) = _notes(pool)
    assert "19 of 20 training rows" in note and "mean weight 0.95" in note and "1 are further away than 0.35" in note
    control = float(note.split(" beside the VAD of other rows")[0].split()[-1])
    assert 0.2 < control < 0.7


def test_words_that_fit_other_rows_as_well_take_no_weight(tmp_path: Path) -> None:
    """What they say is noise then: all rows weigh 1, and both figures are told."""
    parts = _felt(40)
    drawn = np.random.default_rng(3).permutation(40)
    parts["train"] = [replace(row, why=parts["train"][n].why) for row, n in zip(parts["train"], drawn, strict=True)]
    (pool,) = load(str(written(tmp_path / "run", parts)), words=_Table())
    assert {row.weight for row in pool.train} == {1.0}
    (note,) = _notes(pool)
    assert (
        "hardly better than with that of other rows" in note and "every row weighs 1" in note and " against 0." in note
    )


def test_each_row_is_held_against_another_one_and_always_the_same() -> None:
    """A derangement, without a row twice."""
    for count in (2, 3, 50):
        found = rows._elsewhere(count)
        assert sorted(found) == list(range(count)) and all(n != other for n, other in enumerate(found))
        assert found == rows._elsewhere(count)


def _felt(count: int) -> dict[str, list[Said]]:
    """Bright and dark rows in turn, whose rationales say so."""
    bright, dark = ((0.9, 0.5, 0.4), "a bright bright day"), ((0.1, 0.5, 0.4), "a dark dark day")
    return {
        part: [
            replace(row, vad=vad, why=why)
            for row, (vad, why) in zip(some(part, size), [bright, dark] * (size // 2), strict=True)
        ]
        for part, size in zip(PARTS, (count, 4, 4), strict=True)
    }


def test_what_words_say_is_put_on_the_scale_of_the_targets() -> None:
    """Mean and spread in each dimension, from what is known; a table that hardly leaves the middle takes no weight from
    the rows that feel most."""
    random = np.random.default_rng(0)
    wanted = random.uniform(0.1, 0.9, (200, 3))
    targets: list[rows.Triple] = [(v, a, None if n % 2 else d) for n, (v, a, d) in enumerate(wanted.tolist())]
    found = rows._levelled(0.5 + (wanted - 0.5) * 0.1, targets)
    assert found[:, 0].mean() == pytest.approx(wanted[:, 0].mean()) and found[:, 0].std() == pytest.approx(
        wanted[:, 0].std()
    )
    assert np.allclose(found[:, :2], wanted[:, :2])
    assert np.allclose(found[::2, 2], wanted[::2, 2])
    few = rows._levelled(0.5 + (wanted[:5] - 0.5) * 0.1, targets[:5])
    assert np.allclose(few, 0.5 + (wanted[:5] - 0.5) * 0.1)


def test_items_and_rows_without_a_rationale_keep_their_weight(tmp_path: Path) -> None:
    """There is nothing to compare."""
    parts = {part: some(part, 4, why="") + some(f"{part} item", 2, task="mcq_eu") for part in PARTS}
    (pool,) = load(str(written(tmp_path / "run", parts)), words=_Table())
    assert {row.weight for row in pool.train} == {1.0} and _notes(pool) == []
