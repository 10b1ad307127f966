"""Dialogues become items, from the corpus to the dataset: what a planted fault meets, what a kill costs, what is shown."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import pytest

import factory
from factory import run as running
from factory import show
from factory.api import Run
from factory.engines.rehearsal import Rehearsal
from factory.errors import Stopped, Unreachable
from factory.level import WHOLE
from factory.records import Reject
from factory.requests import Identity, Reply, Request, key
from factory.settings import Content, Operation
from factory.sift import CATEGORIES, OPTIONS, category, lengths
from factory.store import Store

CORPORA = Path(__file__).resolve().parents[1] / "corpora"
DATA = Path(__file__).resolve().parents[1].parent / "shared/data"
VIEWS = ("dialogues", "mcq_eu", "mcq_ea")
THINGS = "ladder kettle saddle lantern basket barrel mirror anchor trumpet candle blanket compass".split()
PLACES = "harbour orchard chapel market workshop granary ferry quarry stable library bakery garden".split()
ASIDES = "oak elm fir ash yew bay fig rye hop pea bat cat cow doe eel elk emu ewe fox gnu hen hog".split()
PEOPLE = "brother cousin neighbour teacher aunt partner captain apprentice landlady grandmother".split()
LONGER, SHORTER = ("Amusement Curiosity Excitement Admiration Annoyance", "Envy Joy Pride Love Anger")  # than Remorse
BENCHMARK = (
    "The week before the regatta Odile borrowed the club's only racing shell without asking, and scraped it along the "
    "pier. She filled the scratch with wax and put the boat back. On the day of the race it leaked, her crew came in last, "
    "and the coach told everyone that the fault lay with the old hull."
)


FRAMES = (
    "In the {place} the {who} had lent {name} a {thing} for {n} days, on the word that it would come back whole. {name} let "
    "it fall on the way to the {other}, hid the pieces behind a {object} and went on as before. When the {who} later said "
    "thanks in front of the {third}, {name} looked at the floor of the {place} and asked if {m} of anything could be mended.",
    "Every evening for {n} weeks {name} was to lock the {place}, for the {who} kept a {thing} there. One night the door "
    "stood open while {name} sat by the {object} at the {other}; by morning the {thing} was gone. The {third} was blamed and "
    "sent off with {m} coins. {name} could have spoken, ate nothing that day, and walked past the {place} twice.",
    "{n} guests were coming to see the {thing} that the {who} had built for the {place}. {name} had leant a {object} on it "
    "to reach a window, and a part the size of {m} nails broke away. The {who} searched the {other} for it until dark, with "
    "the {third} holding the light. {name} held the part in one pocket and joined the search.",
)


FACTS = (
    "{name} let the {thing} fall, hid the pieces behind a {object} and was thanked by the {who}",
    "{name} left the door of the {place} open, the {thing} was gone by morning and the {third} was blamed",
    "{name} broke a part of the {thing} that the {who} had built, and held it in one pocket during the search",
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A scenario like few others, and what stands in it."""

    text: str
    fact: str
    thing: str
    place: str
    who: str


def _scene(name: str, drawn: random.Random, number: int = 0) -> Scene:
    """The scenarios of one batch are told in ways of their own."""
    (thing, object_), (place, other), (who, third) = (drawn.sample(some, 2) for some in (THINGS, PLACES, PEOPLE))
    slots = {
        "name": name,
        "thing": thing,
        "place": place,
        "who": who,
        "other": other,
        "object": object_,
        "third": third,
    }
    text = FRAMES[number % 3].format(n=drawn.randint(2, 90), m=drawn.randint(2, 90), **slots)
    about = " ".join(drawn.choices([*THINGS, *PLACES], k=50))  # else two of one frame are nearly the same
    return Scene(f"{text} Written on a list were {about}.", FACTS[number % 3].format(**slots), thing, place, who)


def _ranked(right: str, wrong: list[str], rank: int) -> str:
    """A short right option, made so long that this many of the wrong ones are longer (those of one length count as one)."""
    sizes = sorted((len(one) for one in wrong), reverse=True)
    if rank == len(sizes):
        return right
    length = sizes[0] + 3 if rank == 0 else (sizes[rank - 1] + sizes[rank]) // 2
    return f"{right} s{'o' * (length - len(right) - 2)}"


@dataclass
class Scribe:
    """A hand-written engine: the rehearsal's actors, plain talks, items that pass every check, a solver that is right.

    `plant` may change an item before it is said; `refuses` ends the engine at the nth request of a dialogue.
    """

    plant: Callable[[str, int, dict[str, Any]], None] = lambda stage, number, item: None
    refuses: int = 0
    identity: Identity = field(default_factory=lambda: Identity(engine="scribe", model="by hand"))
    keys: list[str] = field(default_factory=list)
    talked: int = 0

    async def complete(self, request: Request) -> Reply:
        if request.stage == "dialogue":
            self.talked += 1
            if self.refuses and self.talked > self.refuses:
                raise Unreachable("the scribe has gone home; start it and run the same command again")
        self.keys.append(key(self.identity, request))
        if request.stage == "actors":
            return await Rehearsal().complete(request)
        return Reply(text=json.dumps(getattr(self, f"_{request.stage}")(request, random.Random(request.sampling.seed))))

    async def close(self) -> None: ...

    def _background(self, request: Request, drawn: random.Random) -> dict[str, Any]:
        told = [_scene(request.fields["actor"], drawn, n).text for n in range(2)]
        return {"background": " ".join(told)}

    def _dialogue(self, request: Request, drawn: random.Random) -> dict[str, Any]:
        count = len(request.fields["talk"].splitlines())
        if "scenario_clear" in request.schema:
            return dict.fromkeys(
                ("scenario_clear", "emotions_present", "causes_present", "dilemma_present", "rich_enough"), count > 5
            )
        thing, place = drawn.choice(THINGS), drawn.choice(PLACES)
        aside = " ".join(drawn.sample([*ASIDES, *THINGS, *PEOPLE], 16))  # nobody says nearly the same twice
        if "no question" in request.fields.get("phase", ""):
            return {"text": f"You walked out of the {place}, and the {thing} lay there behind you at {aside}."}
        if count % 2:
            return {"text": f"What did you see in the {place} when the {thing} fell, and who stood there at {aside}?"}
        return {"text": f"I let the {thing} slip in the {place} and walked past {aside}."}

    def _mcq_eu(self, request: Request, drawn: random.Random) -> dict[str, Any]:
        return {"items": [self._eu(request, n, drawn) for n in _numbers(request)]}

    def _eu(self, request: Request, number: int, drawn: random.Random) -> dict[str, Any]:
        name = request.fields["actor"]
        scene = _scene(name, drawn, number)
        longer = drawn.randrange(6)
        wrong_causes = [
            f"the {scene.thing} was never worth so much",
            f"the {scene.who} had asked for it back",
            f"the {scene.place} was too crowded",
        ]
        item = {
            "n": number,
            "scenario": scene.text,
            "subject": name,
            "rationale": f"{_begin(drawn)} {scene.fact}. Nothing here is funny or foul, and nobody has what another wants. "
            "To carry on as if nothing had been done weighs on whoever did it. What is left is remorse.",
            "emotion": "Remorse",
            "wrong_emotions": [*LONGER.split()[:longer], *SHORTER.split()[longer:]],
            "cause": _ranked("a promise was not kept", wrong_causes, drawn.randrange(4)),
            "wrong_causes": wrong_causes,
        }
        self.plant("mcq_eu", number, item)
        return item

    def _mcq_ea(self, request: Request, drawn: random.Random) -> dict[str, Any]:
        return {"items": [self._ea(request, n, drawn) for n in _numbers(request)]}

    def _ea(self, request: Request, number: int, drawn: random.Random) -> dict[str, Any]:
        name = request.fields["actor"]
        scene = _scene(name, drawn, number)
        wrong = [
            f"Buy a better {scene.thing} elsewhere at once",
            f"Stay away from the {scene.place}",
            f"Thank the {scene.who} in return",
        ]
        item = {
            "n": number,
            "scenario": scene.text,
            "subject": name,
            "rationale": f"{_begin(drawn)} {scene.fact}. Presents or silence leave the {scene.place} between them as it was, "
            "and whoever did the harm owes a plain word. Admitting it openly ends the hiding.",
            "answer": _ranked("Admit it openly", wrong, drawn.randrange(4)),
            "wrong": wrong,
        }
        self.plant("mcq_ea", number, item)
        return item

    def _solve(self, request: Request, drawn: random.Random) -> dict[str, Any]:
        blind = request.fields["scenario"] == "(not given)"
        asked = {"emotion": "emotions", "cause": "causes", "answer": "choices"}
        found = {name: request.fields[of].splitlines() for name, of in asked.items() if of in request.fields}
        right = re.compile("Remorse|promise was not kept|openly")
        return {
            name: next(line[0] for line in lines if bool(right.search(line)) != blind) for name, lines in found.items()
        }


def _numbers(request: Request) -> range:
    return range(1, 1 + len(request.fields["wanted"].splitlines()))


def _begin(drawn: random.Random) -> str:
    """Rationales of one batch begin each in its own way."""
    asides = " ".join(drawn.choices(ASIDES, k=24))  # else all of a run are of one mould
    return f"Between {drawn.choice(PLACES)} and {drawn.choice(PLACES)} {drawn.choice(PEOPLE)}s know {asides}:"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Eight narratives, nothing planted."""
    return factory.synth(CORPORA, tmp_path_factory.mktemp("mcq") / "run", engine=Scribe(), limit=8, stages=["mcq"])


def test_items_alone_can_be_asked_for(plain: Run) -> None:
    """STAGES=mcq makes the three views and their conversations, and asks for no utterance."""
    sizes = {view: len(plain.dataset(view)) for view in (*VIEWS, "sft", "contextless")}
    assert sizes["dialogues"] >= 8 and sizes["contextless"] == 0
    assert sizes["mcq_eu"] >= 1.5 * sizes["dialogues"] and sizes["mcq_ea"] >= 1.5 * sizes["dialogues"]
    assert sizes["sft"] == sizes["mcq_eu"] + sizes["mcq_ea"]
    assert not list(plain.out.glob("shards/*/utterances.parquet"))


def test_the_summary_of_items_alone_shows_items(tmp_path: Path) -> None:
    """Five of them, what one has cost, and the next command with their view."""
    from rich.console import Console

    result = running.synth(CORPORA, out=tmp_path / "run", engine=Scribe(), stages=["mcq"], operation=Operation(limit=3))
    console = Console(width=5000, no_color=True)
    with console.capture() as got:
        for part in show.summary(result):
            console.print(part)
    items = sum(len(factory.load(result.out).dataset(view)) for view in OPTIONS)
    assert got.get().count("answers of the solver are right") == 5 and "VIEW=mcq_eu" in got.get()
    assert f"for each of the {items:,} items: " in got.get() and "rows of contextless" not in got.get()


def test_the_share_of_clients_is_a_setting(tmp_path: Path) -> None:
    """None, or all the actors; half of them otherwise."""
    counts = []
    for share in (0.0, 0.5, 1.0):
        run = factory.synth(
            CORPORA, tmp_path / f"{share}", engine=Scribe(), limit=4, stages=["mcq"], dialogue_share=share
        )
        counts.append((len(run.table("actors")), len(run.table("dialogue"))))
    assert [made for _, made in counts] == [0, round(counts[1][0] / 2), counts[2][0]]


# Planted faults ----------------------------------------------------------------------------------------------------------


def _template(item: dict[str, Any]) -> None:
    right = item.get("emotion") or item["answer"]
    cause = item.get("cause", "it is the best of them all")
    item["rationale"] = (
        f"Because {cause}, {item['subject']} therefore comes to {right}. It is {right} because {cause}, and as {cause} "
        f"the one that fits is {right}, therefore {right} it is."
    )


PLANTED: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "equal_choices": ("mcq_eu", lambda item: item["wrong_emotions"].__setitem__(0, "remorse.")),
    "names_emotion": (
        "mcq_eu",
        lambda item: item.update(scenario=f"{item['scenario']} The guilt stayed, and the remorse."),
    ),
    "template_rationale": ("mcq_eu", _template),
    "wrong_emotion": ("mcq_eu", lambda item: item.update(emotion="Determination")),
    "choice_kind": ("mcq_ea", lambda item: item["wrong"].__setitem__(0, "No")),
    "cites_letters": ("mcq_ea", lambda item: item.update(rationale=f"{item['rationale']} So option B is right.")),
    "subject_missing": ("mcq_ea", lambda item: item.update(subject="Wilhelmina")),
}


@pytest.mark.parametrize("reason", PLANTED)
def test_a_planted_item_is_dropped_by_its_own_word(tmp_path: Path, reason: str) -> None:
    """In every dialogue the first item of one kind has the fault, and no repair mends it; the others stay."""
    stage, spoil = PLANTED[reason]
    plant = lambda where, number, item: spoil(item) if (where, number) == (stage, 1) else None  # noqa: E731
    run = factory.synth(CORPORA, tmp_path / "run", engine=Scribe(plant), limit=3, stages=["mcq"])
    talks = len(run.table("dialogue"))
    thrown = Counter((one.stage, one.reason) for one in run.rejects() if one.child_id.endswith("1"))
    assert thrown[stage, reason] == talks
    assert len(run.table(stage)) >= talks


def _biased(stage: str, number: int, item: dict[str, Any]) -> None:
    name = "cause" if stage == "mcq_eu" else "answer"
    item[name] = f"{item[name]}, as everybody there could see at once"


def test_a_bias_of_length_is_levelled(tmp_path: Path) -> None:
    """Where the model makes the right option the longest, the build leaves items out by that word."""
    run = factory.synth(
        CORPORA, tmp_path / "run", stages=["mcq"],
        engine=Scribe(lambda stage, number, item: _biased(stage, number, item) if number < 3 else None),
    )  # fmt: skip
    dropped = Counter(one["reason"] for one in _dropped(run))
    assert dropped["length_shortcut"] > 50
    for view in OPTIONS:
        _is_level(view, run.dataset(view).to_dict("records"))


def _is_level(view: str, rows: list[dict[str, Any]]) -> None:
    """Neither a length nor a place of an option is right more than three points above chance, in any question."""
    assert rows
    for n, (choices, right) in enumerate(OPTIONS[view]):
        most = (1 / len(rows[0][choices]) + 0.03) * len(rows) + 1e-9
        places = Counter(list(row[choices]).index(row[right]) for row in rows)
        assert max(places.values()) <= most
        taken = (sum(of) / WHOLE for of in zip(*(lengths(view, row)[n] for row in rows), strict=True))
        assert max(taken) <= most


def _copied(stage: str, number: int, item: dict[str, Any]) -> None:
    """An item on a benchmark's scenario, with the client's name, a word changed here and there."""
    if (stage, number) != ("mcq_ea", 2):
        return
    name = item["subject"]
    item["scenario"] = BENCHMARK.replace("Odile", name).replace("borrowed", "took").replace("old hull", "worn hull")
    item["rationale"] = (
        f"Wax in a scratch cannot carry a race: {name} scraped the shell on the pier and the crew came in last for it. The "
        "coach blames the hull, which is not so. Admitting it openly gives the crew the truth."
    )


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    folder = tmp_path / "EmoBench"
    folder.mkdir()
    row = {"qid": "12", "language": "en", "scenario": BENCHMARK, "subject": "Odile"}
    (folder / "EA.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return folder


def _dropped(run: Run) -> list[dict[str, str]]:
    import pyarrow.parquet as pq

    return pq.read_table(run.out / "dataset" / "dropped.parquet").to_pylist()  # type: ignore[no-any-return]


def test_a_copied_scenario_is_left_out_when_the_benchmark_is_given(tmp_path: Path, benchmark: Path) -> None:
    """Given later it makes the dataset anew, with nothing asked again; taken away it comes back. The first copy is
    caught as such, not as the twin of another copy."""
    how: dict[str, Any] = {"engine": Scribe(_copied), "limit": 2, "stages": ["mcq"], "workers": 1}
    run = factory.synth(CORPORA, tmp_path / "run", **how)
    talks, before = len(run.table("dialogue")), _files(run)
    assert "contaminated" not in {one["reason"] for one in _dropped(run)}
    quiet = Scribe(_copied)
    again = factory.resume(run.out, engine=quiet, decontaminate=str(benchmark))
    gone = [one for one in _dropped(again) if one["reason"] == "contaminated"]
    assert quiet.keys == [] and len(gone) == talks >= 2
    assert {(one["view"], one["twin"]) for one in gone} == {("mcq_ea", "EA en 12")}
    assert "left out of mcq_ea by the build: contaminated, as EA en 12" in _traced(again, gone[0]["id"])
    assert not any("regatta" in text for text in again.dataset("mcq_ea")["scenario"])
    kept = _files(again)
    assert _files(factory.resume(run.out, engine=Scribe(_copied))) == kept
    assert _files(factory.synth(CORPORA, run.out, **how)) == before


def test_a_benchmark_that_is_not_there_is_refused(tmp_path: Path, benchmark: Path) -> None:
    """Before anything is written."""
    with pytest.raises(factory.errors.WrongRequest, match=r"holds no EU\.jsonl"):
        factory.synth(CORPORA, tmp_path / "run", limit=1, decontaminate=str(benchmark / "no"))
    assert not (tmp_path / "run").exists()


def _files(run: Run) -> dict[str, bytes]:
    folder = run.out / "dataset"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# The solver's verdict ----------------------------------------------------------------------------------------------------


@dataclass
class Sceptic(Scribe):
    """Does not agree with every third item, and cannot read one in five dialogues."""

    def _solve(self, request: Request, drawn: random.Random) -> dict[str, Any]:
        wrong = request.fields["scenario"] != "(not given)" and len(request.fields["scenario"]) % 3 == 0
        return dict.fromkeys(super()._solve(request, drawn), "A") if wrong else super()._solve(request, drawn)

    def _mcq_ea(self, request: Request, drawn: random.Random) -> dict[str, Any]:
        return {} if len(request.fields["talk"]) % 5 == 0 and not request.round else super()._mcq_ea(request, drawn)


def test_an_item_that_the_solver_rejected_is_not_asked_again(tmp_path: Path) -> None:
    """A retry leaves it as it is and says so; what had no verdict is asked."""
    run = factory.synth(CORPORA, tmp_path / "run", engine=Sceptic(), stages=["mcq"], limit=8)
    why = Counter(one.reason for one in run.rejects() if one.level == "unit")
    count, settled = why["solver_disagrees"], {one.id for one in _verdicts(run)}
    assert count > 5 and why["schema"] > 0 and set(why) <= {"solver_disagrees", "schema", "no_actor"}
    asked, still, result = running.retry(run.out, engine=(engine := Sceptic()))
    assert asked == why.total() - count and still == why["no_actor"]
    (note,) = _alone(result)
    assert note.startswith(f"{count} items that the solver did not agree with") and "agreement mean nothing" in note
    assert not settled & {reply["unit"] for reply in run.table("replies").to_pylist() if reply["key"] in engine.keys}


def test_an_item_that_the_solver_rejected_is_asked_again_by_its_reason(tmp_path: Path) -> None:
    """Expressly, each time: what is rejected again waits for the next such wish, and is in no other account."""
    run = factory.synth(CORPORA, tmp_path / "run", engine=Sceptic(), stages=["mcq"], limit=4)
    count = len(_verdicts(run))
    for _ in range(2):
        asked, still, result = running.retry(run.out, reason="solver_disagrees", engine=Sceptic())
        assert (asked, _alone(result)) == (count, []) and 0 < still <= count
        count = still
    asked, still, result = running.retry(run.out, engine=Sceptic())
    assert still <= asked < count and len(_alone(result)) == 1
    left = len(_verdicts(run))
    assert running.retry(run.out, reason="solver_disagrees", engine=Scribe())[:2] == (left, 0)


def _alone(result: running.Result) -> list[str]:
    """What is said of items that are not asked again; other notes are of levels."""
    return [note for note in result.notes if "not level" not in note]


def _verdicts(run: Run) -> list[Reject]:
    return [one for one in run.rejects() if one.reason == "solver_disagrees"]


# Kills -------------------------------------------------------------------------------------------------------------------


def test_a_run_that_stops_within_dialogues_asks_for_no_turn_twice(
    plain: Run, tmp_path: Path, paid: Callable[[Path], set[str]]
) -> None:
    """Stopped after 3, 11 and 40 requests of dialogues: what was answered is not asked again, and the bytes are those of
    a run that nobody stopped."""
    out, have = tmp_path / "run", set[str]()
    how: dict[str, Any] = {"limit": 8, "stages": ["mcq"], "concurrency": 5, "patience_seconds": 0.1}
    for refuses in (3, 11, 40):
        engine = Scribe(refuses=refuses)
        with pytest.raises(Stopped):
            factory.synth(CORPORA, out, engine=engine, **how)
        assert not {*engine.keys} & have and paid(out) >= have
        have = paid(out)
    engine = Scribe()
    run = factory.synth(CORPORA, out, engine=engine, **how)
    assert engine.keys and not {*engine.keys} & have
    assert {*engine.keys} | have == paid(plain.out)
    assert _files(run) == _files(plain)


# What is shown -----------------------------------------------------------------------------------------------------------


def _traced(run: Run, ident: str) -> str:
    from rich.console import Console

    console = Console(width=5000, no_color=True)
    with console.capture() as got:
        for part in show.trace(Store(run.out), ident):
            console.print(part)
    return got.get()


def test_trace_of_an_item_shows_the_whole_line(plain: Run) -> None:
    """The passage, the talk message by message with every agent's prompt, the checks, the item and its solver."""
    row = plain.dataset("mcq_eu").iloc[0]
    talk = next(one for one in plain.table("dialogue").to_pylist() if one["id"] == row["dialogue_id"])
    said = _traced(plain, row["id"])
    for turn in talk["turns"]:
        assert f"{turn['role']}: {turn['text']}" in said
    for agent in ("client", "counsellor", "supervisor", "mcq_eu", "solve_eu"):
        system = (
            (plain.out / "prompts" / f"{agent}.md").read_text("utf-8").partition("## system")[2].partition("## user")[0]
        )
        first = system.strip()[:120]
        assert first and said.count(first) == 1
    assert f"mcq_eu · {talk['id']}" in said and f"solve · {row['id']}" in said
    assert "mcq_ea ·" not in said and row["rationale"] in said and "(not given)" in said
    assert f"* {'ABCDEF'[list(row['emotion_choices']).index(row['emotion_label'])]}. {row['emotion_label']}" in said


def test_trace_of_a_dialogue_shows_what_came_of_it(plain: Run) -> None:
    """Both kinds of items and their solver; nothing of another client."""
    row, other = (plain.dataset("dialogues").iloc[n] for n in (0, 1))
    said = _traced(plain, row["id"])
    assert f"mcq_eu · {row['id']}" in said and f"mcq_ea · {row['id']}" in said and f"solve · {row['id']}.ea1" in said
    assert other["id"] not in said


def test_trace_names_the_check_that_dropped_an_item(tmp_path: Path) -> None:
    """An item that is in no table is found by the id that it would have had."""
    plant = lambda where, number, item: item.update(subject="Odile") if (where, number) == ("mcq_eu", 2) else None  # noqa: E731
    run = factory.synth(CORPORA, tmp_path / "run", engine=Scribe(plant), limit=1, stages=["mcq"])
    gone = next(one for one in run.rejects() if one.reason == "subject_missing")
    assert f"dropped {gone.child_id}: subject_missing" in _traced(run, gone.child_id)


# The rehearsal engine ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The bundled narratives, everything that a run makes by default."""
    return factory.synth(CORPORA, tmp_path_factory.mktemp("rehearsed") / "run")


def test_a_run_makes_dialogues_and_items_by_default(rehearsed: Run) -> None:
    """Beside the utterances, from half of the actors, three items of each kind a dialogue."""
    talks, actors = len(rehearsed.dataset("dialogues")), len(rehearsed.table("actors"))
    assert 0.4 * actors < talks < 0.55 * actors and len(rehearsed.dataset("contextless")) > 0
    for view in OPTIONS:
        assert len(rehearsed.dataset(view)) > 1.5 * talks


def _is_sound(run: Run, least: int) -> None:
    """Enough items, level categories, right options that neither place nor length tells, no scenario twice."""
    for view in OPTIONS:
        rows = run.dataset(view).to_dict("records")
        assert len(rows) >= least
        groups = Counter(category(view, row) for row in rows)
        assert len(groups) == CATEGORIES[view] and max(groups.values()) <= ceil(1.5 * len(rows) / CATEGORIES[view])
        assert len({row["scenario"] for row in rows}) == len(rows)
        assert min(row["solver_agreement"] for row in rows) >= 0.66
        _is_level(view, rows)
        assert all(row["subject"].casefold() in row["scenario"].casefold() and row["rationale"] for row in rows)


def test_the_items_of_a_rehearsal_are_sound(rehearsed: Run) -> None:
    """Of the bundled narratives."""
    _is_sound(rehearsed, 50)


@pytest.mark.slow
def test_the_fables_give_two_hundred_items_of_each_kind(tmp_path: Path) -> None:
    """With what was too alike left out, and nothing that repeats EmoBench; the card has the figures."""
    fables, benchmark = DATA / "narratives/aesop4children.jsonl", DATA / "emobench"
    if not fables.exists() or not benchmark.exists():
        pytest.skip("the fables and EmoBench's files are not here")
    run = factory.synth(fables, tmp_path / "run", stages=["mcq"], decontaminate=str(benchmark))
    _is_sound(run, 200)
    card = (run.out / "dataset" / "README.md").read_text(encoding="utf-8")
    assert "compared with 800 scenarios of EmoBench (EU.jsonl 400, EA.jsonl 400; 2 languages): 0 items" in card
    for figure in (
        "2nd longest",
        "right in test and in train",
        "share of an even spread",
        "by construction",
        "near_duplicate",
        "solver_disagrees",
    ):
        assert figure in card


# What a person is told ---------------------------------------------------------------------------------------------------


def test_a_share_that_leaves_no_client_says_so(tmp_path: Path) -> None:
    """With the number of actors, and what to give; a run that has other rows says it too."""
    from rich.console import Console

    for name, stages in (("items", ["mcq"]), ("all", None)):
        how: dict[str, Any] = {"stages": stages, "operation": Operation(limit=1)}
        result = running.synth(CORPORA, out=tmp_path / name, content=Content(dialogue_share=0.0), **how)
        console = Console(width=5000, no_color=True)
        with console.capture() as got:
            for part in show.summary(result):
                console.print(part)
        actors = result.tally.counts["actors"].kept
        assert actors > 1 and f"dialogue_share = 0 took no client from the {actors} actors found" in got.get()
        assert "give it a higher value" in got.get() and "Actors must stand" not in got.get()


def test_a_run_that_is_not_level_says_so_at_its_end(tmp_path: Path) -> None:
    """Each time it is asked for, with the question, its share and chance; a writer of longest answers loses none to it."""

    def longest(stage: str, number: int, item: dict[str, Any]) -> None:
        name, wrong = ("cause", "wrong_causes") if stage == "mcq_eu" else ("answer", "wrong")
        item[name] = f"{item[name]} {'so ' * 9}".strip()
        assert len(item[name]) > max(map(len, item[wrong]))

    how: dict[str, Any] = {"out": tmp_path / "run", "stages": ["mcq"], "operation": Operation(limit=8)}
    result = running.synth(CORPORA, engine=Scribe(longest), **how)
    told = "is the longest in 100.0% (chance 25.0%)"
    assert [told in note for note in result.notes] == [True, True] and "the right cause" in result.notes[0]
    assert not {one["reason"] for one in _dropped(factory.load(result.out))} & {"length_shortcut", "position_shortcut"}
    again = running.synth(CORPORA, engine=Scribe(longest), **how)
    assert not again.did and again.notes == result.notes


def test_a_small_rehearsal_loses_nothing_to_levelling(tmp_path: Path) -> None:
    """One item of each kind a dialogue, of sixteen narratives: fewer than thirty."""
    run = factory.synth(CORPORA, tmp_path / "run", stages=["mcq"], limit=16, items=1)
    assert all(len(run.dataset(view)) > 10 for view in OPTIONS)
    assert not {"length_shortcut", "position_shortcut"} & {one["reason"] for one in _dropped(run)}
