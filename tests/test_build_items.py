"""Facts about dialogues and items in the dataset that `build` makes, from hand-made shards: no stage, no engine."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory import build, show, sift, views
from factory.prompts import Book, parse
from factory.records import Actor, Background, Count, Dialogue, EaItem, EuItem, Passage, Solved, Turn, Vote
from factory.requests import Identity
from factory.settings import Content
from factory.sift import OPTIONS, Screen
from factory.steps import pipeline
from factory.store import Rows, Store

STEPS = pipeline(Content()).wanted(["mcq"])
BOOK = Book({name: parse(name, f"## user\n{name}") for name in STEPS.prompts()})
WORDS = (
    "harbour lamp letter basket mill copper ladder winter neighbour orchard kettle saddle window market ferry stone "
    "candle barrel garden bridge oven rope goat needle coat bell cart wagon bread river"
).split()
FINE = [
    *(
        "emotion_transition",
        "mixture_of_emotions",
        "unexpected_outcome",
        "visual",
        "vocal",
        "cultural_value",
        "persona",
    ),
    *("sentimental_value", "false_belief", "faux_pas", "strange_story"),
]
BROAD = ["Personal-Self", "Personal-Others", "Social-Self", "Social-Others"]
EMOTIONS = ("Remorse", "Fear", "Envy", "Pity", "Love", "Joy")
Spoil = Callable[[int, EuItem | EaItem], EuItem | EaItem]


def _scene(kind: str, number: int) -> str:
    """A scenario like no other."""
    drawn = random.Random(f"{kind}{number}")
    return "Ilan " + " ".join(drawn.choice(WORDS) for _ in range(40)) + "."


OWN = "oak elm fir ash yew bay fig rye hop pea bat cat cow doe eel elk emu ewe fox gnu hen hog".split()


def _reason(number: int) -> str:
    """A rationale like no other."""
    drawn = random.Random(number)
    return "Ilan kept it. " + " ".join(drawn.choice(OWN) for _ in range(24)) + "."


def _turned(choices: Sequence[str], number: int) -> tuple[str, ...]:
    at = number % len(choices)
    return (*choices[at:], *choices[:at])


CAUSES = ("he kept it all along", "she had gone away", "nobody came", "it fell")  # from the longest to the shortest


def _records(number: int, spoil: Spoil, blind: Callable[[int], float]) -> dict[str, tuple[type, list[Any]]]:
    """One client of one tale, whose talk gave one item of each kind."""
    own: dict[str, Any] = {"source_id": f"t{number}", "passage_id": f"t{number}.p1"}
    ident = f"t{number}.p1.a1"
    emotion, cause = (
        EMOTIONS[number % 6],
        CAUSES[number % 4],
    )  # each length is right as often as any other, and each place
    asked = {**own, "dialogue_id": f"{ident}.b.d", "actor": "Ilan", "subject": "Ilan", "rationale": _reason(number)}
    eu: Any = spoil(number, EuItem(
        id=f"{ident}.b.d.eu1", coarse_category="coarse", finegrained_category=FINE[number % 11],
        scenario=_scene("eu", number), emotion_choices=_turned(EMOTIONS, number // 6), emotion_label=emotion,
        emotion=emotion.lower(), cause_choices=_turned(CAUSES, number // 4), cause_label=cause, seed=number, **asked,
    ))  # fmt: skip
    ea: Any = spoil(number, EaItem(
        id=f"{ident}.b.d.ea1", category=BROAD[number % 4], question_type=("Action", "Response")[number // 4 % 2],
        scenario=_scene("ea", number), choices=_turned(CAUSES, number // 4), label=cause, seed=number, **asked,
    ))  # fmt: skip
    solved = {**own, "dialogue_id": f"{ident}.b.d", "agreement": 1.0, "blind": blind(number)}
    axes = ("line", "domain", "relationship", "stakes", "mix", "coping", "communication", "culture", "text")
    talk = (Turn("client", "I kept it."), Turn("counsellor", "Since when?"))
    return {
        "actors": (Actor, [Actor(id=ident, name="Ilan", line="a miller", **own)]),
        "background": (Background, [Background(
            id=f"{ident}.b", actor_id=ident, actor="Ilan", seed=1, **own, **dict.fromkeys(axes, f"v{number % 2}")
        )]),
        "dialogue": (Dialogue, [Dialogue(
            id=f"{ident}.b.d", actor_id=ident, actor="Ilan", background="A mill.", turns=talk, stop_reason="supervisor",
            seed=1, **own,
        )]),
        "mcq_eu": (EuItem, [eu]),
        "mcq_ea": (EaItem, [ea]),
        "solve": (Solved, [
            Solved(id=eu.id, kind="eu", eu_votes=(Vote(emotion, eu.cause_label),), ea_votes=(), **solved),
            Solved(id=ea.id, kind="ea", eu_votes=(), ea_votes=(ea.label,), **solved),
        ]),
    }  # fmt: skip


def _run(
    out: Path,
    count: int,
    spoil: Spoil = lambda number, item: item,
    shard: int = 64,
    blind: Callable[[int], float] = lambda number: 0.0,
) -> Store:
    """The finished shards of a run of so many tales."""
    store = Store(out)
    for ordinal, first in enumerate(range(0, count, shard)):
        numbers = range(first, min(count, first + shard))
        passages = [
            Passage(id=f"t{n}.p1", source_id=f"t{n}", index=n, text=f"Tale {n}", text_hash=f"{n:x}") for n in numbers
        ]
        name = store.open(ordinal, passages)
        made = [_records(n, spoil, blind) for n in numbers]
        tables = {
            stage: Rows(kind, rows := [row for one in made for row in one[stage][1]], ["k"] * len(rows))
            for stage, (kind, _) in made[0].items()
        }
        units = {stage: Count(inputs=len(numbers), accepted=len(numbers)) for stage in tables}
        store.commit(name, tables, [], units, first=first, passages=len(passages), targets=["mcq"], prompts="")
    return store


def _built(store: Store, screen: Screen | None = None, content: Content | None = None) -> Store:
    identity = Identity(engine="toy", model="m")
    build.build(store, content or Content(), identity, STEPS, BOOK, lambda sentence: None, screen)
    return store


def _rows(store: Store, view: str) -> list[dict[str, Any]]:
    return [row for path in show.files(store, view) for row in pq.read_table(path).to_pylist()]


def _dropped(store: Store) -> list[dict[str, str]]:
    return pq.read_table(store.dataset / "dropped.parquet").to_pylist()  # type: ignore[no-any-return]


def _bytes(store: Store) -> dict[str, bytes]:
    found = (path for path in store.dataset.rglob("*") if path.is_file())
    return {path.relative_to(store.dataset).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """220 tales without any fault."""
    return _built(_run(tmp_path_factory.mktemp("plain"), 220))


def test_an_even_run_loses_nothing(plain: Store) -> None:
    """Every dialogue and every solved item is a row, and each item a conversation too."""
    counts = {view: len(_rows(plain, view)) for view in views.SCHEMAS}
    assert counts == {"contextless": 0, "contextual": 0, "dialogues": 220, "mcq_eu": 220, "mcq_ea": 220, "sft": 440}
    assert _dropped(plain) == []


def test_items_stand_with_their_source_in_one_split(plain: Store) -> None:
    """No tale on two sides, in none of the views."""
    split_of: dict[str, str] = {}
    for view in ("dialogues", "mcq_eu", "mcq_ea", "sft"):
        for split in build.SPLITS:
            for path in show.files(plain, view, split):
                for source in pq.read_table(path, columns=["source_id"])["source_id"].to_pylist():
                    assert split_of.setdefault(source, split) == split
    assert set(split_of.values()) == set(build.SPLITS)


@pytest.mark.parametrize("shard", [7, 300])
def test_where_shards_end_leaves_no_trace(plain: Store, tmp_path: Path, shard: int) -> None:
    """The same bytes, whatever is left out."""

    def spoil(number: int, item: EuItem | EaItem) -> EuItem | EaItem:
        return replace(item, scenario=_scene("eu", number // 2)) if number % 10 < 2 else item

    screen = Screen.of([("EU en 1", _scene("ea", 5), "Ilan")])
    one = _built(_run(tmp_path / "a", 120, spoil), screen)
    other = _built(_run(tmp_path / "b", 120, spoil, shard), screen)
    assert _bytes(one) == _bytes(other) and len(_dropped(one)) > 20


def _spoilt(kind: type, numbers: range, **own: Any) -> Spoil:
    return lambda n, item: replace(item, **own) if isinstance(item, kind) and n in numbers else item


def test_a_repeated_scenario_names_its_twin(tmp_path: Path) -> None:
    """In its own view, with the item that stays."""
    store = _built(_run(tmp_path, 30, _spoilt(EaItem, range(4, 6), scenario=_scene("ea", 2)), 3))
    assert [(one["id"], one["view"], one["reason"], one["twin"]) for one in _dropped(store)] == [
        (f"t{n}.p1.a1.b.d.ea1", "mcq_ea", "duplicate", "t2.p1.a1.b.d.ea1") for n in (4, 5)
    ]
    kept = {row["id"] for row in _rows(store, "mcq_ea")}
    assert len(kept) == 28 and {row["id"] for row in _rows(store, "sft") if row["task"] == "mcq_ea"} == kept


def test_the_dealt_categories_are_level_in_what_is_kept(tmp_path: Path) -> None:
    """A model that tells most of its items in one category loses what is too many of it."""
    store = _built(_run(tmp_path, 220, _spoilt(EuItem, range(130), finegrained_category="persona")))
    groups = Counter(row["finegrained_category"] for row in _rows(store, "mcq_eu"))
    assert groups["persona"] == max(groups.values()) <= ceil(1.5 * groups.total() / 11)
    assert groups.total() > 90 and {one["reason"] for one in _dropped(store)} >= {"over_quota"}


@pytest.mark.parametrize("rank", range(4))
def test_no_length_is_right_much_more_often_than_chance(tmp_path: Path, rank: int) -> None:
    """Of items of which two thirds can be answered by taking the longest, the second, the third or the shortest."""
    store = _built(_run(tmp_path, 220, lambda n, item: _righted(item, CAUSES[rank]) if n % 3 else item))
    rows = _rows(store, "mcq_ea")
    taken = Counter(sorted(row["choices"], key=len, reverse=True).index(row["label"]) for row in rows)
    assert 60 < len(rows) < 220 and max(taken.values()) <= 0.28 * len(rows)
    reasons = Counter((one["view"], one["reason"]) for one in _dropped(store))
    assert reasons.most_common(1)[0][0] == ("mcq_ea", "length_shortcut")


def _righted(item: EuItem | EaItem, right: str) -> EuItem | EaItem:
    return replace(item, label=right) if isinstance(item, EaItem) else item


def test_answers_of_train_stand_in_no_other_split(tmp_path: Path) -> None:
    """The long ones; train keeps all of its rows, and what goes names the row of train. Short ones repeat, and the card
    counts them."""
    right = (
        "he had kept what he was lent",
        "she had gone off with the mill's key",
        "nobody came to fetch it that week",
    )

    def spoil(number: int, item: EuItem | EaItem) -> EuItem | EaItem:
        if isinstance(item, EuItem):
            return item
        flood = "abcdefg"[number // 4 % 7]
        texts = (
            *(f"{text} in the year of flood {flood}" for text in right),
            f"it fell {number if number % 8 > 3 else flood}",
        )
        return replace(item, choices=_turned(texts, number // 4), label=texts[number % 4])

    store = _built(_run(tmp_path, 220, spoil))
    split = {
        split: [row for path in show.files(store, "mcq_ea", split) for row in _read(path)] for split in build.SPLITS
    }
    train = {row["label"] for row in split["train"]}
    assert len(split["train"]) > 150 and len(split["validation"]) + len(split["test"]) < 20
    assert all(row["label"].startswith("it fell") for row in (*split["validation"], *split["test"]))
    gone = [one for one in _dropped(store) if one["reason"] == "answer_in_train"]
    of = {one["id"]: one for one in split["train"]}
    assert len(gone) > 15 and {one["view"] for one in gone} == {"mcq_ea"} and all(one["twin"] in of for one in gone)
    told = [row["label"] in train for row in split["test"]]
    card = (store.dataset / "README.md").read_text(encoding="utf-8")
    assert {*told} == {True, False} and _cells(card, "mcq_ea answer")[4] == f"{sum(told) / len(told):.1%}"


def _read(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]


def test_a_benchmarks_scenario_is_left_out_and_named(tmp_path: Path) -> None:
    """With another set of texts the dataset is made anew, with the same one it is not."""
    store = _run(tmp_path, 30)
    copied = _scene("eu", 3).replace("Ilan", "Odile").replace(".", " again.")
    screen = Screen.of([("EU en 7", copied, "Odile")])
    _built(store)
    assert _dropped(store) == [] and not build.is_current(store, screen.digest) and build.is_current(store)
    before = _bytes(store)
    _built(store, screen)
    (one,) = _dropped(store)
    assert (one["id"], one["reason"], one["twin"]) == ("t3.p1.a1.b.d.eu1", "contaminated", "EU en 7")
    stamp = (store.out / "dataset.json").stat().st_mtime_ns
    _built(store, screen)
    assert (store.out / "dataset.json").stat().st_mtime_ns == stamp
    _built(store)
    assert _bytes(store) == before


@pytest.mark.parametrize("files", [("EU.jsonl",), ("EU.jsonl", "EA.jsonl")])
def test_what_a_benchmark_was_read_from_is_told(tmp_path: Path, files: tuple[str, ...]) -> None:
    """On the screen at the end and in the card: each file with its count, and one that is missing."""
    for name in files:
        row = {"qid": 1, "language": "en", "scenario": _scene("eu", 3), "subject": "Ilan"}
        (tmp_path / name).write_text(json.dumps(row) + "\n", encoding="utf-8")
    store, said = _run(tmp_path / "run", 30), list[str]()
    build.build(store, Content(), Identity(engine="toy", model="m"), STEPS, BOOK, said.append, sift.screen(tmp_path))
    text = (store.dataset / "README.md").read_text(encoding="utf-8")
    count = f"{len(files)} scenarios of EmoBench ({', '.join(f'{name} 1' for name in files)}; 1 language): 1"
    assert f"items were compared with {count} repeated one" in "\n".join(said) and f"compared with {count}" in text
    missing = "no EA.jsonl was read: nothing was compared with its scenarios"
    assert (missing in text) == (len(files) == 1)
    assert [sentence for sentence in said if missing in sentence] == (
        [f"{missing}; give DECONTAMINATE the folder that holds EU.jsonl and EA.jsonl"] if len(files) == 1 else []
    )


@pytest.mark.parametrize("rationale", [True, False])
def test_the_setting_decides_whether_answers_reason(tmp_path: Path, rationale: bool) -> None:
    """In sft alone; the views of items keep their rationale."""
    store = _built(_run(tmp_path, 12), content=Content(sft_rationale=rationale))
    answers = [json.loads(row["messages"][2]["content"]) for row in _rows(store, "sft")]
    assert len(answers) == 24 and all(("rationale" in answer) == rationale for answer in answers)
    assert all(row["rationale"] for row in _rows(store, "mcq_eu"))


def test_each_row_names_the_templates_of_its_own_line(plain: Store) -> None:
    """The solver's template for its kind is among them, that of the other kind is not."""
    hashes = {view: {row["prompt_hash"] for row in _rows(plain, view)} for view in ("dialogues", "mcq_eu", "mcq_ea")}
    talk = ["actors", "background", "client", "counsellor", "supervisor"]
    assert hashes == {
        "dialogues": {BOOK.hash(talk)},
        "mcq_eu": {BOOK.hash([*talk, "mcq_eu", "solve_eu"])},
        "mcq_ea": {BOOK.hash([*talk, "mcq_ea", "solve_ea"])},
    }


# Card ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def card(plain: Store) -> str:
    return (plain.dataset / "README.md").read_text(encoding="utf-8")


def _cells(card: str, first: str, table: int = 0) -> list[str]:
    """The line of a table, of several with such a line the one of that number."""
    line = [line for line in card.splitlines() if line.startswith(f"| {first} |")][table]
    return [cell.strip() for cell in line.strip("|").split("|")]


NAMES = {"emotion_label": "emotion", "cause_label": "cause", "label": "answer"}


def test_the_card_gives_the_places_of_the_files(plain: Store, card: str) -> None:
    """Which place is right most often, beside chance."""
    for view, asked in OPTIONS.items():
        rows = _rows(plain, view)
        for choices, right in asked:
            cells = _cells(card, f"{view} {NAMES[right]}")
            places = Counter(row[choices].index(row[right]) for row in rows)
            assert float(cells[3].split()[1][:-1]) == pytest.approx(100 * max(places.values()) / len(rows), abs=0.06)
            assert int(cells[1]) == len(rows[0][choices]) and float(cells[2][:-1]) == pytest.approx(
                100 / int(cells[1]), abs=0.06
            )


def test_the_card_says_how_often_each_length_is_right(plain: Store, card: str) -> None:
    """A line for each question, from the longest option to the shortest; of several of one length each has its part."""
    taken = Counter(n % 4 for n in range(220))
    shares = [f"{taken[rank] / 220:.1%}" for rank in range(4)]
    assert _cells(card, "mcq_eu cause", 1)[1:] == _cells(card, "mcq_ea answer", 1)[1:] == [*shares, "-", "-"]
    emotions = Counter(row["emotion_label"] for row in _rows(plain, "mcq_eu"))
    fours = (emotions["Fear"] + emotions["Envy"] + emotions["Pity"] + emotions["Love"]) / 4 / 220
    ends = emotions["Remorse"] / 220, emotions["Joy"] / 220
    assert _cells(card, "mcq_eu emotion", 1)[1:] == [f"{share:.1%}" for share in (ends[0], *[fours] * 4, ends[1])]


def test_a_view_that_is_too_small_to_level_is_named(tmp_path: Path, card: str) -> None:
    """Where the length tells and fewer than thirty items are left; a level view is not mentioned."""
    store = _built(_run(tmp_path, 25, lambda n, item: _righted(item, CAUSES[1])))
    said = (store.dataset / "README.md").read_text(encoding="utf-8")
    told = "not level** in length and place: the right answer is the 2nd longest in 100.0% (chance 25.0%)"
    assert f"the right options of application (EA) are **{told}" in said and len(_rows(store, "mcq_ea")) == 25
    assert next(line for line in said.splitlines() if told in line)[2:].replace("**", "") in build.notes(store)
    assert "not level" not in card


def test_a_run_whose_longest_is_always_right_is_kept_whole(tmp_path: Path) -> None:
    """Nothing is left out in vain, and a level view has no note."""
    store = _built(_run(tmp_path, 60, lambda n, item: _righted(item, CAUSES[0])))
    assert len(_rows(store, "mcq_ea")) == 60 and _dropped(store) == [] and len(build.notes(store)) == 1


def test_the_card_counts_rationales_of_one_mould(tmp_path: Path) -> None:
    """Each names the first of its mould."""
    store = _built(
        _run(tmp_path, 40, _spoilt(EuItem, range(10, 20), rationale="So it is, whatever else might be said."))
    )
    said = (store.dataset / "README.md").read_text(encoding="utf-8")
    assert "items of understanding (EU): 40 solved, 33 kept; left out: template_rationale 7" in said
    assert [(one["id"][:3], one["twin"][:3]) for one in _dropped(store)] == [(f"t{n}", "t10") for n in range(13, 20)]


def test_the_card_gives_the_first_answer_without_the_scenario(tmp_path: Path) -> None:
    """Beside what a guess would be: both questions right of EU, one of EA."""
    store = _run(tmp_path, 40, blind=lambda number: (number % 4 < 1) * 0.67)
    said = (_built(store).dataset / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"right for ([\d.]+)% of the kept items of \w+ \((\w+)\) \(a guess: ([\d.]+)%\)", said)
    kept = {view: {int(row["source_id"][1:]) for row in _rows(store, view)} for view in OPTIONS}
    assert found == [
        (f"{100 * sum(n % 4 < 1 for n in kept[view]) / len(kept[view]):.1f}", kind, chance)
        for view, kind, chance in (("mcq_eu", "EU", "4.2"), ("mcq_ea", "EA", "25.0"))
    ]


def test_the_card_gives_the_balance_of_the_categories(plain: Store, card: str) -> None:
    """Each with its items and its share of an even spread."""
    for fine in FINE:
        assert _cells(card, f"mcq_eu {fine}")[1:] == ["20", "1.00"]
    assert len(re.findall(r"^\| mcq_ea (?:Personal|Social)-(?:Self|Others), (?:Action|Response) \|", card, re.M)) == 8


def test_the_card_says_what_was_left_out_and_agreed(tmp_path: Path, card: str) -> None:
    """A model's solver with its figure, the rehearsal's without one; a benchmark where one was given."""
    assert "solver agreement of understanding (EU): 1.000" in card and "no benchmark was given" in card
    screen = Screen.of([("EU en 7", _scene("eu", 3), "Ilan"), ("EA en 7", "x", "")])
    store = _run(tmp_path, 30, _spoilt(EaItem, range(4, 6), scenario=_scene("ea", 2)))
    build.build(store, Content(), Identity(engine="rehearsal", model="m"), STEPS, BOOK, print, screen)
    said = (store.dataset / "README.md").read_text(encoding="utf-8")
    assert "items of application (EA): 30 solved, 28 kept; left out: duplicate 2" in said
    assert "compared with 2 scenarios of EmoBench: 1 items repeated one" in said
    assert "agreement of understanding (EU): by construction" in said and "(EU): 1.000" not in said


def test_the_card_of_items_alone_can_be_loaded_by_default(card: str) -> None:
    """Without contextless rows another view is the default; views without rows are not named."""
    head = card.split("---")[1]
    assert re.findall(r"config_name: (\w+)", head) == ["dialogues", "mcq_eu", "mcq_ea", "sft"]
    assert head.count("default: true") == 1 and "multiple-choice" in head
    assert "## Labels" not in card and "labels a row" not in card


# What people see -------------------------------------------------------------------------------------------------------


def _shown(store: Store, view: str) -> str:
    from rich.console import Console

    console = Console(width=200, no_color=True)
    with console.capture() as got:
        for part in show.report(store, view, 3):
            console.print(part)
    return got.get()


def test_rows_of_every_view_are_shown(plain: Store) -> None:
    """A talk turn by turn; a question with its options, the right ones marked, and its reasoning."""
    talk, eu, ea = (_shown(plain, view) for view in ("dialogues", "mcq_eu", "mcq_ea"))
    assert "client: I kept it." in talk and "counsellor: Since when?" in talk and "ended by supervisor" in talk
    feelings = "|".join(EMOTIONS)
    marked = [len(re.findall(rf"^  {mark} [A-F]\. (?:{feelings})$", eu, re.M)) for mark in ("\\*", " ")]
    assert marked == [3, 15]
    assert "Ilan kept it." in ea and "100% of 1 answers of the solver are right" in ea
    assert '"answer": ' in _shown(plain, "sft")


def test_every_table_has_the_columns_of_its_view(plain: Store) -> None:
    """All three files of each, also of views without rows."""
    for view, shape in views.SCHEMAS.items():
        for split in build.SPLITS:
            tables = [pq.read_table(path) for path in show.files(plain, view, split)]
            assert pa.concat_tables(tables).schema.equals(shape)
