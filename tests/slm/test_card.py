"""Facts about the cards of language models: they say what was done and no more, and their programs run."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from slm import tiny
from slm.conversations import PARTS, some, written

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from factory.requests import Message  # noqa: E402
from factory.slm import base, card, train  # noqa: E402
from factory.slm.recipe import recipe  # noqa: E402
from factory.slm.rows import TASKS, Row, load  # noqa: E402
from factory.slm.tokens import tokens  # noqa: E402
from factory.train import data as encoder_rows  # noqa: E402

QUICK: dict[str, Any] = {"epochs": 1, "batch": 4, "precision": "fp32"}
BOLD = "**Training rows of b are template text of the rehearsal engine, not a language model's"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("base") / "qwen3")


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> train.Trained:
    """Twelve of 26 rows of two datasets, one of them the rehearsal's with questions among its rows."""
    first = tiny.dataset(tmp_path_factory.mktemp("data") / "a", (16, 6, 4))
    parts = {
        part: some(part, 6, engine="rehearsal") + some(f"{part} item", 4, task="mcq_eu", engine="rehearsal")
        for part in PARTS
    }
    other = written(tmp_path_factory.mktemp("data") / "b", parts)
    made = recipe(base=str(folder), limit=12, **QUICK)
    (done,) = train.train(f"{first},{other}", tmp_path_factory.mktemp("models") / "one", made)
    return done


def _card(done: train.Trained) -> str:
    return (done.folder / "README.md").read_text("utf-8")


def _program(told: str) -> str:
    return told.split("```python\n")[1].split("```")[0]


def _applying(**given: Any) -> dict[str, Any]:
    return card.applying({"recipe": asdict(recipe(base="x", **given)), "precision": "bf16"})


# What was done --------------------------------------------------------------------------------------------------------------


def test_the_card_says_how_many_rows_of_which_pool_and_task_were_learnt_from(trained: train.Trained) -> None:
    """With a limit fewer than there are; the shares of the pools are those that were drawn."""
    learnt = trained.record["learnt"]
    assert sum(sum(tasks.values()) for tasks in learnt.values()) == trained.record["rows"]["train"] == 12
    assert set(learnt["a"]) == {"emotion_json"} and set(learnt["b"]) == {"emotion_json", "mcq_eu"}
    drawn = learnt["a"]["emotion_json"]
    assert f"- a: learnt from {drawn} of 16 training rows (emotion_json {drawn}); validation 6, test 4" in _card(
        trained
    )
    assert f"- b: learnt from {12 - drawn} of 10 training rows (" in _card(trained)


def test_the_card_names_the_tasks_that_were_taught_and_promises_nothing(trained: train.Trained) -> None:
    """By the rows, not by the setting, which lets in more tasks than the data has."""
    told = _card(trained)
    assert "It was taught to answer an utterance with one line of JSON: labels" in told and "answers with" not in told
    assert "a question on what somebody in a scene feels" in told and "what would help somebody" not in told
    record = dict(trained.record) | {"learnt": {"a": {"mcq_ea": 3}, "b": {}}}
    items = card.written(record)
    assert "taught to answer a question on what would help somebody in a scene" in items and "GoEmotions" not in items


def test_a_generating_model_has_no_settings_of_a_classifier_or_of_cooling_that_is_off() -> None:
    """The rate and the precision are those that were used."""
    plain = _applying()
    others = {"loss", "gamma", "alpha", "thresholds", "view", "context", "fold"}
    others |= {"tau_high", "tau_low", "floor", "looks", "looked_at", "head_rate"}
    assert not others & {*plain} and plain["learning_rate"] == 1e-4 and plain["precision"] == "bf16"
    assert _applying(quantise="nf4")["learning_rate"] == 2e-4
    cooled = _applying(mix="0.2,0.8", cooling=True, label_weight=0.5)
    assert cooled["tau_high"] == 4.0 and cooled["looks"] == 10 and cooled["head_rate"] == 1e-3
    assert "warmup" in plain and "warmup" not in _applying(preset="ec2er")
    assert _applying(flips=False)["flips"] is False and "flips" not in _applying(preset="ec2er")


def test_a_classifier_has_no_settings_of_a_generating_model() -> None:
    """Nor those of a generating model's mixture."""
    found = _applying(preset="korab")
    assert not {"tasks", "flips", "tau_high", "tau_low", "floor", "looks", "looked_at"} & {*found}
    assert found["loss"] == "focal" and found["thresholds"] == "half" and found["learning_rate"] == 1e-4


def test_the_card_repeats_these_settings(trained: train.Trained) -> None:
    """One line each."""
    told = _card(trained).split("## Settings\n")[1].split("## Data")[0]
    wanted = card.applying(trained.record)
    assert told.strip().splitlines() == [f"- {name}: {value}" for name, value in wanted.items()]


def test_a_small_probability_keeps_its_digits() -> None:
    """Three that say something."""
    line = card._line("test", {"surprise": 8.119, "probability": 0.000297745})
    assert "| 8.1190 | 0.000298 |" in line


# Rehearsal ------------------------------------------------------------------------------------------------------------------


def test_the_card_says_in_bold_that_rows_are_of_the_rehearsal(trained: train.Trained) -> None:
    """Of the pool that has them, and once."""
    assert _card(trained).count(BOLD) == 1 and "Training rows of a" not in _card(trained)


def test_rows_of_the_rehearsal_are_known_to_all_that_learn_from_them(tmp_path: Path) -> None:
    """To an encoder as to a language model; rows that no engine is named for, or another, are not."""
    both = ("joy", "anger")
    rehearsed = written(tmp_path / "b", {part: some(part, 6, engine="rehearsal", labels=both) for part in PARTS})
    other = written(tmp_path / "c", {part: some(part, 6, labels=both) for part in PARTS})
    for path, count in ((rehearsed, 1), (other, 0)):
        for notes in (load(str(path))[0].notes, encoder_rows.load(str(path)).notes):
            assert sum("rehearsal" in note for note in notes) == count


# The program ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_the_program_of_the_card_runs_where_the_card_lies(
    trained: train.Trained, task: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands, and it asks with the very tokens that the model was taught under."""
    monkeypatch.chdir(trained.folder)
    program = _program("\n".join(card._use(task)))
    assert task != "emotion_json" or program == _program(_card(trained))
    names: dict[str, Any] = {}
    exec(program.replace("max_new_tokens=300", "max_new_tokens=5"), names)
    assert len(names["answer"][0]) > names["asked"]["input_ids"].shape[1] and capsys.readouterr().out
    turns = tuple(Message(one["role"], one["content"]) for one in names["messages"])
    row = Row(id="x", task=task, messages=(*turns, Message("assistant", "yes")))
    (wanted,) = tokens(base.adapted(trained.folder).tokenizer, [row], 1024)
    assert names["asked"]["input_ids"][0].tolist() == wanted.ids[: wanted.prompt]


def test_the_program_of_a_classifiers_card_runs_where_the_card_lies(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the merged model; the card says how that is made, and what was not tuned."""
    from train import tiny as rows

    data = rows.dataset(tmp_path / "data", (40, 10, 10))
    made = recipe(base=str(folder), mode="classify", thresholds="half", merge=True, **QUICK)
    (done,) = train.train(str(data), tmp_path / "out", made)
    told = _card(done)
    assert "SET=merge=1" in told and "- learning_rate: 0.0001\n" in told and "- tasks" not in told
    assert "library_name: peft" in told and f"base_model: {folder}" in told
    assert "threshold 0.5 for all labels (half)" in told and "thresholds from validation" not in told
    monkeypatch.chdir(done.folder)
    exec(_program(told), {})
    assert "'label': 'joy'" in capsys.readouterr().out
