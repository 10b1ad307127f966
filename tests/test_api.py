"""Facts about the Python interface: a run as data, and a stage of one's own beside the built-in ones."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

import factory
from factory import prompts
from factory.engines.rehearsal import Rehearsal
from factory.errors import FactoryError, WrongRequest
from factory.records import Batch, Fault, Labels
from factory.requests import Identity, Reply, Request
from factory.stages import Answer, Stage

TALE = (
    "Nadia carried the brass kettle across the yard to Omar. Omar had waited at the gate since noon with the broken cart. "
    "Nadia set the kettle down and looked at the wheel. Omar asked her to hold the lantern while he hammered the rim."
)
VIEWS = ("contextless", "contextual", "dialogues", "mcq_eu", "mcq_ea", "sft")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "tales.jsonl"
    path.write_text("".join(json.dumps({"id": f"t{n}", "text": f"{TALE} It was day {n}."}) + "\n" for n in range(3)))
    return path


# A stage of one's own, as the documents show it ------------------------------------------------------------------------


class Entitled(Answer):
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Title:
    id: str
    source_id: str
    passage_id: str
    actor: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Titles(Stage):
    """A title for what an actor goes through."""

    longest: int = 8

    name: ClassVar[str] = "titles"
    said: ClassVar[type[Answer]] = Entitled
    record: ClassVar[type] = Title
    tokens: ClassVar[int] = 60

    def feed(self, before: Batch, rows: list[Labels]) -> Iterator[Batch]:
        yield before

    def ask(self, row: Batch) -> dict[str, str]:
        return {"actor": row.actor.name, "utterances": " / ".join(u.text for u in row.utterances)}

    def rows(self, row: Batch, said: Entitled) -> Iterator[Title | Fault]:
        if len(said.title.split()) > self.longest:
            yield Fault(id=f"{row.id}.t", reason="too_long", detail=f"say it in {self.longest} words", raw=said.title)
            return
        yield Title(
            id=f"{row.id}.t",
            source_id=row.source_id,
            passage_id=row.passage_id,
            actor=row.actor.name,
            title=said.title,
        )


class Own:
    """An engine of one's own: knows the stage above, leaves the rest to the rehearsal engine, and remembers who asked."""

    def __init__(self, title: str = "The day of {actor}") -> None:
        self._inner = Rehearsal()
        self._title = title
        self.identity = Identity(engine="own", model="by-hand", revision="1")
        self.asked: list[Request] = []

    async def complete(self, request: Request) -> Reply:
        self.asked.append(request)
        if request.stage != "titles":
            return await self._inner.complete(request)
        return Reply(text=json.dumps({"title": self._title.format(**request.fields)}), tokens_in=9, tokens_out=4)

    async def close(self) -> None: ...


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    """The built-in templates and one more, as a person would lay them out."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    for path in prompts.folder().glob("*.md"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "titles.md").write_text(
        "<!-- a title for an actor's day -->\n## system\nYou write titles.\n\n"
        '## user\n{{actor}} thought: {{utterances}}\nAnswer with {"title": "..."}.\n'
    )
    return folder


# A run as data --------------------------------------------------------------------------------------------------------


def test_synth_makes_a_run_that_load_finds_again(corpus: Path, tmp_path: Path) -> None:
    """`factory.synth` ends with a finished run, and `factory.load` opens the same folder."""
    run = factory.synth(corpus, tmp_path / "run", seed=4, concurrency=3)
    again = factory.load(str(tmp_path / "run"))
    for view in VIEWS:
        assert len(run.dataset(view)) > 0
        assert run.dataset(view).equals(again.dataset(view))


def test_all_splits_together_are_the_splits_one_by_one(corpus: Path, tmp_path: Path) -> None:
    """Without a split every row is there once, with the name of its split beside it."""
    run = factory.synth(corpus, tmp_path / "run")
    whole = run.dataset()
    sizes = {split: len(run.dataset(split=split)) for split in ("train", "validation", "test")}
    assert whole["split"].value_counts().to_dict() == {split: n for split, n in sizes.items() if n}
    assert whole["id"].is_unique


def test_a_stage_table_carries_the_key_of_the_reply_behind_each_row(corpus: Path, tmp_path: Path) -> None:
    """`Run.table` gives what a stage made, each row with the key of the reply that it came from."""
    utterances = factory.synth(corpus, tmp_path / "run").table("utterances").to_pylist()
    assert {row["source_id"] for row in utterances} == {"t0", "t1", "t2"}
    assert all(len(row["reply"]) == 64 for row in utterances)


def test_rejects_are_data(corpus: Path, tmp_path: Path) -> None:
    """What was thrown away can be read with its stage, its reason and the text it was."""
    run = factory.synth(corpus, tmp_path / "run", engine=_Mute(), max_rejects=1.0)
    thrown = list(run.rejects())
    assert {one.source_id for one in thrown} == {"t0", "t1", "t2"}
    assert {(one.stage, one.level, one.reason, one.raw) for one in thrown} == {("actors", "unit", "not_json", "no")}


class _Mute(Own):
    async def complete(self, request: Request) -> Reply:
        return Reply(text="no")


def test_a_finished_run_asked_again_asks_nobody(corpus: Path, tmp_path: Path) -> None:
    """The same call on a finished run gives the run and never turns to the engine."""
    engine = Own()
    factory.synth(corpus, tmp_path / "run", engine=engine)
    asked = len(engine.asked)
    factory.synth(corpus, tmp_path / "run", engine=engine)
    assert asked > 0
    assert len(engine.asked) == asked


def test_resume_goes_on_to_the_same_dataset(corpus: Path, tmp_path: Path) -> None:
    """A run that broke off is brought to its end by `factory.resume`, and is what it would have been."""
    whole = factory.synth(corpus, tmp_path / "whole", engine=Own())
    with pytest.raises(FactoryError, match="MAX_TOKENS"):
        factory.synth(corpus, tmp_path / "part", engine=Own(), max_tokens=4000, concurrency=1)
    part = factory.resume(tmp_path / "part", engine=Own(), max_tokens=10**9)
    for view in VIEWS:
        assert part.dataset(view).equals(whole.dataset(view))


def test_stages_choose_what_is_made(corpus: Path, tmp_path: Path) -> None:
    """With STAGES=contextless no context, flip or appraisal is asked for, and the views are still there."""
    engine = Own()
    run = factory.synth(corpus, tmp_path / "run", engine=engine, stages=["contextless"])
    assert {request.stage for request in engine.asked} == {"actors", "utterances", "labels"}
    assert len(run.dataset("contextless")) > 0
    assert len(run.dataset("contextual")) == 0


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"treshold": 0.4}, "there is no setting treshold"),
        ({"concurency": 3, "sed": 1}, "there is no setting concurency, sed"),
        ({"seed": "one"}, "seed = 'one' is not of type int"),
        ({"seed": True}, "seed = True is not of type int"),
        ({"threshold": 1.5}, "threshold=1.5 is out of range"),
        ({"preset": "papers"}, "PRESET=papers is unknown"),
        ({"engine": "gpt"}, "ENGINE=gpt is unknown"),
        ({"faults": "malformed=2"}, "FAULTS"),
        ({"stages": ["contextles"]}, "no target contextles"),
        ({"stages": []}, "none given"),
        ({"prompts": "nowhere"}, "no prompts folder nowhere"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_written(
    corpus: Path, tmp_path: Path, settings: dict[str, object], named: str
) -> None:
    """A setting that there is not, or a value that cannot be, is named, and OUT is not even made."""
    with pytest.raises(WrongRequest, match=named):
        factory.synth(corpus, tmp_path / "run", **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_resume_takes_no_setting_that_decides_rows(corpus: Path, tmp_path: Path) -> None:
    """The rows of a run were decided when it began."""
    factory.synth(corpus, tmp_path / "run")
    with pytest.raises(WrongRequest, match="from the run"):
        factory.resume(tmp_path / "run", threshold=0.5)


def test_what_is_no_run_cannot_be_loaded(tmp_path: Path) -> None:
    """A folder without run.toml is refused by name."""
    with pytest.raises(WrongRequest, match="is no run"):
        factory.load(tmp_path)


@pytest.mark.parametrize("ask", [("dataset", "contextles"), ("dataset", "sft", "dev"), ("table", "utterance")])
def test_an_unknown_view_split_or_table_is_refused(corpus: Path, tmp_path: Path, ask: tuple[str, ...]) -> None:
    """Names that a run does not have are refused, not answered with nothing."""
    run = factory.synth(corpus, tmp_path / "run")
    with pytest.raises(WrongRequest, match=ask[-1]):
        getattr(run, ask[0])(*ask[1:])


def test_a_run_is_not_resumed_with_another_engine(corpus: Path, tmp_path: Path) -> None:
    """Replies of two engines never meet in one dataset."""
    factory.synth(corpus, tmp_path / "run", engine=Own())
    with pytest.raises(WrongRequest, match="was made with own by-hand 1, not rehearsal"):
        factory.resume(tmp_path / "run")


# A stage of one's own -------------------------------------------------------------------------------------------------


def test_a_stage_of_ones_own_has_its_table(corpus: Path, templates: Path, tmp_path: Path) -> None:
    """`plus` adds a stage with its own template and record; its rows stand in a table of its name with their lineage."""
    line = factory.pipeline().plus(Titles(), after="labels")
    run = factory.synth(corpus, tmp_path / "run", engine=Own(), pipeline=line, prompts=templates)
    titles = run.table("titles").to_pylist()
    actors = run.table("actors").to_pylist()
    assert {row["id"] for row in titles} == {f"{actor['id']}.t" for actor in actors}
    assert {row["title"] for row in titles} == {f"The day of {actor['name']}" for actor in actors}
    assert all(row["reply"] for row in titles)


def test_a_stage_of_ones_own_leaves_the_other_rows_as_they_are(corpus: Path, templates: Path, tmp_path: Path) -> None:
    """The rows of the built-in stages do not depend on what else a pipeline asks."""
    line = factory.pipeline().plus(Titles(), after="labels")
    more = factory.synth(corpus, tmp_path / "more", engine=Own(), pipeline=line, prompts=templates)
    plain = factory.synth(corpus, tmp_path / "plain", engine=Own())
    for view in VIEWS:
        assert more.dataset(view).equals(plain.dataset(view))


def test_a_stage_of_ones_own_is_checked_and_repaired_like_any_other(
    corpus: Path, templates: Path, tmp_path: Path
) -> None:
    """A Fault that it yields is shown to the model twice, and then the unit is rejected with its reason."""
    engine = Own(title="one two three four five six seven eight nine")
    line = factory.pipeline().plus(Titles(), after="labels")
    run = factory.synth(corpus, tmp_path / "run", engine=engine, pipeline=line, prompts=templates, max_rejects=1.0)
    mine = [one for one in run.rejects() if one.stage == "titles"]
    assert {(one.level, one.reason, one.repairs) for one in mine} == {("unit", "too_long", 2)}
    shown = [r.messages[-1].content for r in engine.asked if r.stage == "titles" and r.repair]
    assert len(shown) == 2 * len(mine) > 0
    assert all("say it in 8 words" in text for text in shown)


def test_a_changed_stage_of_ones_own_is_another_dataset(corpus: Path, templates: Path, tmp_path: Path) -> None:
    """The settings of a stage are part of the run: another value on the same OUT is refused."""
    first = factory.pipeline().plus(Titles(), after="labels")
    factory.synth(corpus, tmp_path / "run", engine=Own(), pipeline=first, prompts=templates)
    other = factory.pipeline().plus(Titles(longest=3), after="labels")
    with pytest.raises(WrongRequest, match="stage Titles"):
        factory.synth(corpus, tmp_path / "run", engine=Own(), pipeline=other, prompts=templates)


def test_a_stage_without_its_template_is_refused(corpus: Path, tmp_path: Path) -> None:
    """The missing template is named before anything is written."""
    line = factory.pipeline().plus(Titles(), after="labels")
    with pytest.raises(WrongRequest, match=r"titles\.md"):
        factory.synth(corpus, tmp_path / "run", engine=Own(), pipeline=line)
    assert not (tmp_path / "run").exists()


def test_a_template_with_other_fields_is_refused_by_name(corpus: Path, templates: Path, tmp_path: Path) -> None:
    """A template that names a field which the stage does not give ends the run with both names."""
    path = templates / "titles.md"
    path.write_text(path.read_text().replace("{{actor}}", "{{speaker}}"))
    line = factory.pipeline().plus(Titles(), after="labels")
    with pytest.raises(FactoryError, match=r"titles.*speaker.*actor"):
        factory.synth(corpus, tmp_path / "run", engine=Own(), pipeline=line, prompts=templates)


def test_a_run_with_a_stage_of_ones_own_can_be_seen_and_resumed(corpus: Path, templates: Path, tmp_path: Path) -> None:
    """A resume takes the same pipeline and engine, and finds its templates in the run."""
    line = factory.pipeline().plus(Titles(), after="labels")
    with pytest.raises(FactoryError, match="MAX_TOKENS"):
        factory.synth(
            *(corpus, tmp_path / "run"),
            engine=Own(),
            pipeline=line,
            prompts=templates,
            max_tokens=4000,
            concurrency=1,
        )
    for path in templates.glob("*.md"):
        path.unlink()
    run = factory.resume(tmp_path / "run", engine=Own(), pipeline=line, max_tokens=10**9)
    assert len(run.table("titles")) == len(run.table("actors"))


def test_an_engine_object_is_part_of_what_a_row_says_of_itself(corpus: Path, tmp_path: Path) -> None:
    """Whose words they are, model and revision, stands on every row."""
    engine = Own()
    engine.identity = replace(engine.identity, model="somebody-else")
    rows = factory.synth(corpus, tmp_path / "run", engine=engine).dataset()
    assert set(rows["engine"]) == {"own"}
    assert set(rows["model"]) == {"somebody-else 1"}


# The package itself ---------------------------------------------------------------------------------------------------


def test_every_name_of_the_package_is_what_it_promises_in_any_order() -> None:
    """`factory.synth`, `load`, `resume` and `pipeline` are functions, also when a module of that name is loaded."""
    code = "import factory, factory.api; print(*(callable(getattr(factory, n)) for n in ('pipeline', 'synth', 'load', 'resume')))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True"] * 4


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    """A slip in a name says so."""
    with pytest.raises(AttributeError, match="sinth"):
        factory.sinth  # noqa: B018
