"""Facts about what the build leaves out of the items of a run: each by its own reason word, in canonical order."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from factory import sift
from factory.errors import WrongRequest
from factory.level import WHOLE
from factory.sift import Screen, crowded, given_away, judge

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


OWN = "oak elm fir ash yew bay fig rye hop pea bat cat cow doe eel elk emu ewe fox gnu hen hog".split()


def _reason(number: int) -> str:
    """A rationale like no other, of words that stand in no scene."""
    drawn = random.Random(number)
    return "Ilan " + " ".join(drawn.choice(OWN) for _ in range(24))


LONG = ("nobody came to the mill", "nobody came to it", "nobody came", "nobody")  # from the longest to the shortest
OTHER = ("Remorse", "Relief", "Anger", "Envy")


def _item(number: int, **own: Any) -> dict[str, Any]:
    """An EU item without any fault; each rank by length and each place is right as often as any other."""
    rank, place, emotion = number % 4, number // 4 % 4, number % 6
    causes = [f"{text}, {number}" for text in LONG]
    emotions = ["Amusement", "Boredom", "Pride", "Joy", *OTHER[:2]]  # of 9, 7, 5, 3, 7 and 6 letters
    return {
        "id": f"tale.p{number}.d.eu1",
        "source_id": f"tale{number}",
        "scenario": _scene(number),
        "subject": "Ilan",
        "actor": "Ilan",
        "rationale": _reason(number),
        "finegrained_category": f"category {number % 11}",
        "emotion_choices": emotions,
        "emotion_label": emotions[emotion],
        "cause_choices": causes[place:] + causes[:place],
        "cause_label": causes[rank],
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


def test_a_scenario_told_of_other_people_repeats_the_first(tmp_path: Path) -> None:
    """With another subject and another second name, and half of its runs of three words; with less it is another one."""
    items = [_item(n) for n in range(20)]
    told = SCENE.replace("choir", "choir of Saint Odo").replace("Nobody", "Mother Imke said that nobody")
    other = told.replace("Bronagh", "the old Frog").replace("Saint Odo", "Saint Kea").replace("Imke", "Greta")
    half = " ".join([*other.split()[:44], *_scene(1).split()[:14]])
    less = " ".join([*other.split()[:25], *_scene(2).split()[:20]])
    for row, text in ((2, told), (5, other), (7, half), (9, less)):
        items[row] |= {"scenario": text, "subject": "Bronagh" if row == 2 else "the old Frog"}
    assert _left(items, tmp_path) == {5: ("near_duplicate", 2), 7: ("near_duplicate", 2)}


def test_where_the_shards_end_does_not_matter(tmp_path: Path) -> None:
    """The same items in other portions: the same verdict."""
    items = [_item(n, finegrained_category=f"category {n % 3}") for n in range(180)]
    items[50]["scenario"] = items[1]["scenario"]
    items[4]["scenario"] = SCENE
    screen = Screen.of([("EU en 1", SCENE, "Bronagh")])
    whole = judge("mcq_eu", [_table(items)], tmp_path, screen)
    parts = [_table(items[at : at + 7]) for at in range(0, 180, 7)]
    assert judge("mcq_eu", parts, tmp_path, screen) == whole
    assert {one.reason for one in whole.left.values()} >= {"contaminated", "duplicate", "over_quota"}


# Quota -------------------------------------------------------------------------------------------------------------------


def test_a_crowded_category_loses_its_last_items() -> None:
    """More than one and a half times an even share of a category is too much."""
    groups = [0] * 60 + [n % 10 + 1 for n in range(160)]  # 220 items of 11 categories: 20 each, 30 at most
    assert list(crowded(groups, 11)) == list(range(30, 60))


def test_a_small_run_loses_nothing_to_the_quota() -> None:
    """Ten of a category are never too many: with a handful of items every share is uneven."""
    assert list(crowded([0] * 10, 11)) == []


# Answers that train gives away -----------------------------------------------------------------------------------------


def test_a_long_answer_of_train_is_left_out_elsewhere(tmp_path: Path) -> None:
    """Seven words and more, with another name too; a short one repeats by chance. Train itself stays whole."""
    told = ["He had kept what Odile lent him for years", "He had kept what Imke lent him for years", "He had kept it"]
    own = {3: told[0], 5: told[0], 7: told[1], 9: told[2], 11: told[2]}
    items = [
        _item(n, cause_label=own[n], cause_choices=[own[n], *LONG[1:]]) if n in own else _item(n) for n in range(20)
    ]
    split = {"tale7": "test", "tale11": "test"}
    found = judge("mcq_eu", [_table(items)], tmp_path, None, lambda source: split.get(source, "train"))
    assert found.left == {7: sift.Left("answer_in_train", first=3)}


def test_what_stands_outside_train_alone_is_not_given_away() -> None:
    """Two test items of one answer, and answers that are too short to tell (0)."""
    answers, train = np.array([[1, 5], [2, 0], [1, 0], [3, 6], [7, 6]], np.uint64), np.array([0, 1, 0, 1, 0], bool)
    assert given_away(answers, train) == {4: 3}


# Length and place --------------------------------------------------------------------------------------------------------


def _right(items: Sequence[dict[str, Any]], rows: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How often each rank of the cause's length is right among these items."""
    ranks: np.ndarray[Any, np.dtype[np.float64]] = np.array([sift.lengths("mcq_eu", items[row])[1] for row in rows])
    return ranks.mean(axis=0) / WHOLE


@pytest.mark.parametrize("rank", range(4))
def test_a_planted_bias_of_any_length_is_caught_by_its_reason(tmp_path: Path, rank: int) -> None:
    """The longest, the second, the third or the shortest option right too often: as many items go as must."""
    items = [_item(n) for n in range(220)]
    for number in range(0, 120, 3):
        items[number]["cause_label"] = f"{LONG[rank]}, {number}"
    found = judge("mcq_eu", [_table(items)], tmp_path, None)
    reasons = [one.reason for one in found.left.values()]
    assert set(reasons) <= {"length_shortcut", "position_shortcut"} and 20 < reasons.count("length_shortcut") < 90
    kept = [row for row in range(220) if row not in found.left]
    assert found.level and _right(items, range(220))[rank] > 0.35 and max(_right(items, kept)) <= 0.28


def test_a_place_that_is_right_too_often_is_levelled(tmp_path: Path) -> None:
    """Under a word of its own."""
    items = [_item(n) for n in range(220)]
    for item in items[:80]:
        item["cause_choices"].sort(key=lambda text, right=item["cause_label"]: text != right)
    found = judge("mcq_eu", [_table(items)], tmp_path, None)
    assert {one.reason for one in found.left.values()} == {"position_shortcut"}
    kept = [item for row, item in enumerate(items) if row not in found.left]
    assert 120 < len(kept) < 200 and sum(i["cause_choices"][0] == i["cause_label"] for i in kept) <= 0.28 * len(kept)


def test_what_is_left_holds_all_at_once(tmp_path: Path) -> None:
    """Where items lean by category, length and place together: levelling one may upset another, and none is upset at the
    end."""
    drawn, items = random.Random(0), [_item(n) for n in range(500)]
    for number, item in enumerate(items):
        item["finegrained_category"] = f"category {min(drawn.randrange(11), drawn.randrange(14))}"
        if drawn.random() < 0.3:
            item["cause_label"] = f"{LONG[1]}, {number}"
        if drawn.random() < 0.2:
            item["cause_choices"].sort(key=lambda text, right=item["cause_label"]: text != right)
    found = judge("mcq_eu", [_table(items)], tmp_path, None)
    kept = [item for row, item in enumerate(items) if row not in found.left]
    assert {one.reason for one in found.left.values()} == {"over_quota", "length_shortcut", "position_shortcut"}
    groups = Counter(item["finegrained_category"] for item in kept)
    assert len(kept) > 200 and max(groups.values()) <= ceil(1.5 * len(kept) / 11)
    for n, (choices, right) in enumerate(sift.OPTIONS["mcq_eu"]):
        most = (1 / len(kept[0][choices]) + 0.03) * len(kept) + 1e-9
        assert max(Counter(item[choices].index(item[right]) for item in kept).values()) <= most
        assert max(np.sum([sift.lengths("mcq_eu", item)[n] for item in kept], axis=0)) / WHOLE <= most


def test_a_handful_is_not_levelled_and_says_so(tmp_path: Path) -> None:
    """Under thirty items three points are less than one of them."""
    items = [_item(n, cause_label=f"{LONG[0]}, {n}") for n in range(29)]
    tilt = sift.Tilt("cause_label", "length", 0, share=1.0, chance=0.25)
    assert judge("mcq_eu", [_table(items)], tmp_path, None) == sift.Verdict({}, 29, (tilt,))


def test_what_cannot_be_levelled_loses_nothing_to_it(tmp_path: Path) -> None:
    """Where the longest is always right no item is given up for nothing; the quota takes its own all the same."""
    items = [_item(n, cause_label=f"{LONG[0]}, {n}") for n in range(220)]
    for item in items[:60]:
        item["finegrained_category"] = "category 0"
    found = judge("mcq_eu", [_table(items)], tmp_path, None)
    assert {one.reason for one in found.left.values()} == {"over_quota"} and not found.level
    assert [(one.question, one.kind, one.rank, one.share) for one in found.tilts] == [("cause_label", "length", 0, 1.0)]


# Rationales of one mould -------------------------------------------------------------------------------------------------


def _moulded(item: dict[str, Any]) -> str:
    scene = " ".join(item["scenario"].split()[:12])
    return (
        f"Considering everything carefully, the passage begins like this: {scene}. Therefore somebody such as "
        f"{item['subject']} has good grounds: {item['cause_label']}, and nothing besides this survives scrutiny. "
        f"{item['emotion_label']}."
    )


def test_rationales_of_one_mould_go_but_three(tmp_path: Path) -> None:
    """Whatever of its scene, its options and its people each was filled with; the first of them is named."""
    items = [_item(n) for n in range(60)]
    for item in items[10:30]:
        item |= {"rationale": _moulded(item), "finegrained_category": "category 0"}  # no crowd when they are gone
    assert _left(items, tmp_path) == dict.fromkeys(range(13, 30), ("template_rationale", 10))


def test_a_turn_of_speech_makes_no_mould(tmp_path: Path) -> None:
    """A beginning and an end that all have, around reasons of their own."""
    items = [_item(n) for n in range(60)]
    for n, item in enumerate(items):
        item["rationale"] = f"One has to know that {_reason(n)}. What remains is {item['emotion_label']}, because so."
    assert _left(items, tmp_path) == {}


def test_what_repeats_a_scene_counts_for_no_mould(tmp_path: Path) -> None:
    """It is left out already: three that stay are what a fourth must be like."""
    items = [_item(n) for n in range(40)]
    for item in items[4:8]:
        item["rationale"] = _moulded(item)
    items[5]["scenario"] = items[4]["scenario"]
    assert _left(items, tmp_path) == {5: ("duplicate", 4)}


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
        text = f"{_scene(1)} {' '.join(words[20 : 20 + count])} so {_scene(2)} {_scene(3)}"
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
    texts = [json.loads(line)["text"] for path in files for line in path.read_text("utf-8").splitlines()]
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


def test_a_screen_says_what_was_read_and_what_was_not(tmp_path: Path) -> None:
    """Files with their counts, languages; one of the two alone is easily overlooked."""
    rows = [
        {"qid": n, "language": lang, "scenario": f"{SCENE} {n}", "subject": "x"} for n in "12" for lang in ("en", "zh")
    ]
    one = sift.screen(_write(tmp_path / "a", "EU.jsonl", *rows))
    assert one.told() == "4 scenarios of EmoBench (EU.jsonl 4; 2 languages)"
    assert one.missing() == "no EA.jsonl was read: nothing was compared with its scenarios"
    both = sift.screen(_write(tmp_path / "a", "EA.jsonl", rows[0]))
    assert both.told() == "5 scenarios of EmoBench (EU.jsonl 4, EA.jsonl 1; 2 languages)" and both.missing() == ""
    own = sift.screen(_write(tmp_path / "b", "mine.jsonl", rows[0]) / "mine.jsonl")
    assert own.told() == "1 scenarios of EmoBench (mine.jsonl 1; 1 language)" and "EU.jsonl" in own.missing()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: folder / "nowhere", "holds no EU.jsonl"),
        (lambda folder: _write(folder, "other.jsonl", {}), "holds no EU.jsonl"),
        (lambda folder: _write(folder, "EU.jsonl"), r"EU.jsonl has no row; give DECONTAMINATE"),
        (lambda folder: _write(_write(folder, "EU.jsonl"), "EA.jsonl", {"scenario": "x"}), r"EU.jsonl has no row"),
        (lambda folder: _write(folder, "EU.jsonl", {"text": "x"}), r"EU.jsonl:1 is no item"),
        (lambda folder: _write(folder, "EA.jsonl", {"scenario": "x"}, [1]), r"EA.jsonl:2 is no item"),  # type: ignore[arg-type]
    ],
)
def test_files_that_are_no_benchmark_are_refused(make: Any, told: str, tmp_path: Path) -> None:
    """With the line, before anything is written."""
    with pytest.raises(WrongRequest, match=told):
        sift.screen(make(tmp_path))
