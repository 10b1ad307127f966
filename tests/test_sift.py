"""Facts about what the build leaves out of the items of a run: each by its own reason word, in canonical order."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from factory import sift
from factory.errors import WrongRequest
from factory.sift import Screen, crowded, judge, leaning, longest

EMOBENCH = Path(__file__).resolve().parents[1].parent / "shared/data/emobench"
WORDS = (
    "harbour lamp letter basket mill copper ladder winter neighbour orchard kettle saddle window market ferry stone "
    "candle barrel garden bridge oven rope goat needle coat bell cart wagon bread river"
).split()
SCENE = (
    "Bronagh had promised the choir a lift to the chapel before dawn. She slept through two alarms, and when she came "
    "down at last the singers had walked the four miles in the rain. Nobody said a word about it, and one of them had "
    "kept a slice of cake for her in a napkin."
)


def _scene(number: int) -> str:
    """A scene like no other."""
    drawn = random.Random(number)
    return "Ilan " + " ".join(drawn.choice(WORDS) for _ in range(40))


def _item(number: int, **own: Any) -> dict[str, Any]:
    """An EU item without any fault; its right options are the longest once in four times."""
    right = number % 4 == 0
    return {
        "id": f"tale.p{number}.d.eu1",
        "scenario": _scene(number),
        "subject": "Ilan",
        "finegrained_category": f"category {number % 11}",
        "emotion_choices": ["Joy", "Fear", "Love", "Envy", "Pity", "Amusement"],
        "emotion_label": "Joy",
        "cause_choices": ["it rained" + "." * 9 * right, "it snowed hard", "he was late", "she was gone"],
        "cause_label": "it rained" + "." * 9 * right,
    } | own


def _table(items: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(items)).select(sift.COLUMNS["mcq_eu"])


def _left(items: Sequence[dict[str, Any]], folder: Path, screen: Screen | None = None) -> dict[int, tuple[str, int]]:
    found = judge("mcq_eu", [_table(items)], folder, screen)
    return {row: (one.reason, one.first) for row, one in found.left.items()}


def test_items_without_fault_all_stay(tmp_path: Path) -> None:
    """Nothing is left out of a run that is even, distinct and new."""
    assert _left([_item(n) for n in range(220)], tmp_path, Screen.of([("EU en 1", SCENE, "Bronagh")])) == {}


def test_no_item_is_judged_where_there_is_none(tmp_path: Path) -> None:
    """A run without the target has no item to leave out."""
    none = _table([_item(0)]).slice(0, 0)
    assert judge("mcq_eu", [none, none], tmp_path, None) == sift.Verdict({}, 0)


# Repetitions -------------------------------------------------------------------------------------------------------------


def test_a_scenario_that_repeats_an_earlier_one_names_it(tmp_path: Path) -> None:
    """The same words are a duplicate, nearly the same a near one, and the first stays."""
    items = [_item(n) for n in range(20)]
    items[7]["scenario"] = items[2]["scenario"].upper() + "!"
    items[9]["scenario"] = items[3]["scenario"].rsplit(" ", 1)[0] + " umbrella"
    assert _left(items, tmp_path) == {7: ("duplicate", 2), 9: ("near_duplicate", 3)}


def test_where_the_shards_end_does_not_matter(tmp_path: Path) -> None:
    """The same items in other portions: the same verdict."""
    items = [_item(n, finegrained_category=f"category {n % 3}") for n in range(60)]
    items[50]["scenario"] = items[1]["scenario"]
    items[4]["scenario"] = SCENE
    screen = Screen.of([("EU en 1", SCENE, "Bronagh")])
    whole = judge("mcq_eu", [_table(items)], tmp_path, screen)
    parts = [_table(items[at : at + 7]) for at in range(0, 60, 7)]
    assert judge("mcq_eu", parts, tmp_path, screen) == whole
    assert {one.reason for one in whole.left.values()} == {"contaminated", "duplicate", "over_quota"}


# Quota -------------------------------------------------------------------------------------------------------------------


def test_a_crowded_category_loses_its_last_items() -> None:
    """More than one and a half times an even share of a category is too much."""
    groups = [0] * 60 + [n % 10 + 1 for n in range(160)]  # 220 items of 11 categories: 20 each, 30 at most
    assert list(crowded(groups, 11)) == list(range(30, 60))


def test_a_small_run_loses_nothing_to_the_quota() -> None:
    """Ten of a category are never too many: with a handful of items every share is uneven."""
    assert list(crowded([0] * 10, 11)) == []


# Length ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "right", "weight"),
    [(["aaa", "b", "c"], "aaa", 1.0), (["aaa", "b", "c"], "b", 0.0), (["aa", "bb", "c", "dd"], "bb", 1 / 3)],
)
def test_the_longest_option_is_right_as_often_as_its_taker_would_be(
    choices: list[str], right: str, weight: float
) -> None:
    """Between several of one length they have to guess."""
    assert longest(choices, right) == pytest.approx(weight)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_length_shortcut_is_levelled(share: float) -> None:
    """Of items whose longest option is right too often so many go, and no more, that it is right within three points of
    chance; the first ones go."""
    weights = np.array([[float(n % 100 < 100 * share)] for n in range(400)])
    gone = leaning(weights, [0.25])
    kept = np.delete(weights, gone)
    assert kept.mean() <= 0.28 < np.append(kept, 1.0).mean()
    assert all(weights[at] == 1 for at in gone)
    assert gone == np.flatnonzero(weights[:, 0] == 1)[: len(gone)].tolist()


def test_both_questions_of_an_item_are_levelled() -> None:
    """What is left out for the cause may make the emotion lean: both hold at the end."""
    drawn = random.Random(4)
    weights = np.array([[float(drawn.random() < 0.19), float(drawn.random() < 0.6)] for _ in range(500)])
    kept = np.delete(weights, leaning(weights, [1 / 6, 1 / 4]), axis=0)
    assert len(kept) > 200
    assert kept[:, 0].mean() <= 1 / 6 + 0.03 + 1e-9 and kept[:, 1].mean() <= 0.28 + 1e-9


def test_items_whose_longest_option_is_right_are_left_out_by_their_reason(tmp_path: Path) -> None:
    """A planted bias is caught under its own word."""
    long = "it rained for nine days"
    biased = [_item(n, cause_choices=[long, "it snowed", "late", "gone"], cause_label=long) for n in range(60)]
    reasons = Counter(reason for reason, _ in _left([*biased, *map(_item, range(60, 121))], tmp_path).values())
    assert set(reasons) == {"length_shortcut"} and 40 < reasons["length_shortcut"] < 60


# Benchmarks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copy",
    [
        SCENE,
        SCENE.replace("Bronagh", "Odile"),
        SCENE.replace("Bronagh", "Odile").replace("choir", "band").replace("four miles", "six miles"),
        f"It was the week of the fair. {SCENE} Later the band left.",
        SCENE[: len(SCENE) // 2],
        SCENE.upper(),
    ],
    ids=["word for word", "another name", "small edits", "within more", "its first half", "capitals"],
)
def test_a_copy_of_a_benchmarks_scenario_is_contaminated(copy: str) -> None:
    """With another name, a few other words, something before and after it, or cut short."""
    screen = Screen.of([("EU en 7", _scene(1), "Ilan"), ("EU en 8", SCENE, "Bronagh")])
    assert screen.source_of(copy, "Odile" if "Odile" in copy else "Bronagh") == "EU en 8"


def test_a_copy_is_found_through_its_new_name_and_many_small_edits() -> None:
    """Where a name stands in every line, or every eighth word is another one, no long run of words is left."""
    text = "Odile told Odile's aunt that Odile would drive; Odile slept, Odile woke late, and Odile walked to Odile's work."
    named = Screen.of([("EU en 1", text, "Odile")])
    assert named.source_of(text.replace("Odile", "Ilan"), "Ilan") == "EU en 1"
    edited = " ".join("then" if n % 8 == 7 else word for n, word in enumerate(SCENE.split()))
    assert Screen.of([("EU en 8", SCENE, "Bronagh")]).source_of(edited, "Bronagh") == "EU en 8"


def test_a_stretch_of_a_scenario_in_another_scene_is_a_copy() -> None:
    """Thirteen words in a row are no chance, however long the rest; twelve are let pass."""
    words = SCENE.split()
    for count, found in ((13, "EU en 8"), (12, "")):
        text = f"{_scene(1)} {' '.join(words[20 : 20 + count])} {_scene(2)} {_scene(3)}"
        assert Screen.of([("EU en 8", SCENE, "Bronagh")]).source_of(text, "Ilan") == found


def test_a_scene_that_only_shares_its_people_is_no_copy() -> None:
    """Nor one that shares a turn of speech."""
    other = (
        "Bronagh slept through two alarms on the day the bridge opened, and her uncle Dev drove the goats over alone."
    )
    assert Screen.of([("EU en 8", SCENE, "Bronagh")]).source_of(other, "Bronagh") == ""


def test_a_contaminated_item_is_nobodys_twin(tmp_path: Path) -> None:
    """It is gone before items are compared with each other, and it names the benchmark's row."""
    items = [_item(0, scenario=SCENE), *map(_item, range(1, 20))]
    items[7]["scenario"], items[9]["scenario"] = SCENE, items[5]["scenario"]
    found = judge("mcq_eu", [_table(items)], tmp_path, Screen.of([("EU en 8", SCENE, "Bronagh")]))
    copy = sift.Left("contaminated", twin="EU en 8")
    assert found.left == {0: copy, 7: copy, 9: sift.Left("duplicate", first=5)}


def _rows() -> list[dict[str, Any]]:
    if not EMOBENCH.exists():
        pytest.skip("EmoBench's files are not here")
    lines = [line for name in ("EU", "EA") for line in (EMOBENCH / f"{name}.jsonl").read_text("utf-8").splitlines()]
    return [row for row in map(json.loads, lines) if row["language"] == "en"]


def _edited(text: str, drawn: random.Random, share: float) -> str:
    return " ".join("old" if drawn.random() < share else word for word in text.split())


def test_slightly_edited_scenarios_of_emobench_are_found() -> None:
    """With another name, nearly all of them; also when every tenth word is another one."""
    rows, drawn = _rows(), random.Random(0)
    screen = sift.screen(EMOBENCH)
    for share, least in ((0.0, 1.0), (0.05, 0.98), (0.1, 0.95)):
        copies = [_edited(row["scenario"].replace(row["subject"], "Odile"), drawn, share) for row in rows]
        assert np.mean([screen.source_of(copy, "Odile") != "" for copy in copies]) >= least


def test_our_own_narratives_repeat_nothing_of_emobench() -> None:
    """Other English prose of that length is never taken for a copy."""
    _rows()
    screen = sift.screen(EMOBENCH)
    files = (Path(__file__).resolve().parents[1] / "corpora").glob("*.jsonl")
    texts = [json.loads(line)["text"] for path in files for line in path.open("rb")]
    pieces = [" ".join(text.split()[at : at + 60]) for text in texts for at in range(0, 200, 60)]
    assert len(pieces) > 100 and [piece for piece in pieces if screen.source_of(piece, "")] == []


# Files -------------------------------------------------------------------------------------------------------------------


def _write(folder: Path, name: str, *rows: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_a_screen_is_the_same_wherever_its_files_lie(tmp_path: Path) -> None:
    """Its digest is of the texts, so a moved benchmark makes no other dataset."""
    row = {"qid": "3", "language": "en", "scenario": SCENE, "subject": "Bronagh"}
    one, other = _write(tmp_path / "a", "EU.jsonl", row), _write(tmp_path / "b/data", "EU.jsonl", row)
    assert sift.screen(one).digest == sift.screen(tmp_path / "b").digest == sift.screen(other / "EU.jsonl").digest
    assert sift.screen(_write(tmp_path / "c", "EU.jsonl", row | {"qid": "4"})).digest != sift.screen(one).digest
    assert sift.screen(one).names == ("EU en 3",)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: folder / "nowhere", "holds no EU.jsonl"),
        (lambda folder: _write(folder, "other.jsonl", {}), "holds no EU.jsonl"),
        (lambda folder: _write(folder, "EU.jsonl", {"text": "x"}), r"EU.jsonl:1 is no item"),
        (lambda folder: _write(folder, "EA.jsonl", {"scenario": "x"}, [1]), r"EA.jsonl:2 is no item"),  # type: ignore[arg-type]
    ],
)
def test_files_that_are_no_benchmark_are_refused(make: Any, told: str, tmp_path: Path) -> None:
    """With the line, before anything is written."""
    with pytest.raises(WrongRequest, match=told):
        sift.screen(make(tmp_path))
