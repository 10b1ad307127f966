"""Facts about predicting with a language model: what one that writes gives, and which folders are refused and how."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from slm import tiny

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("sklearn")

from factory.answerers import FolderAnswerer  # noqa: E402
from factory.answers import Question  # noqa: E402
from factory.cli import main  # noqa: E402
from factory.contract import line  # noqa: E402
from factory.requests import Reply  # noqa: E402
from factory.slm import train  # noqa: E402
from factory.slm.recipe import recipe  # noqa: E402
from factory.slm.rows import load  # noqa: E402

HOW: dict[str, Any] = {"epochs": 1, "batch": 8, "precision": "fp32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("base") / "qwen3")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.dataset(tmp_path_factory.mktemp("data") / "a", (16, 6, 4))


@pytest.fixture(scope="module")
def writer(folder: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that hardly learnt, with its merged model."""
    out = tmp_path_factory.mktemp("models") / "slm"
    train.train(str(data), out, recipe(base=str(folder), merge=True, tasks="emotion_json", **HOW))
    return out


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[dict[str, Any]], str]]:
    """factory predict, run here: exit code, its lines, what it said."""

    def of(*words: str) -> tuple[int, list[dict[str, Any]], str]:
        capsys.readouterr()
        try:
            main(["predict", *words])
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, [json.loads(one) for one in said.out.splitlines()], said.err

    return of


Call = Callable[..., tuple[int, list[dict[str, Any]], str]]


@pytest.mark.parametrize("place", [".", "merged"])
def test_what_cannot_be_read_is_given_as_it_came(call: Call, writer: Path, place: str) -> None:
    """A model of random weights writes nonsense, through its adapter and merged; no line is left out."""
    code, said, _ = call(str(writer / place), "--text", "You came back!", "--text", "No.")
    assert code == 0 and [one["text"] for one in said] == ["You came back!", "No."]
    assert all(one["read"] == "none" and isinstance(one["reply"], str) and "labels" not in one for one in said)


def test_it_is_asked_as_it_was_taught_and_read_as_it_is_measured(
    call: Call, writer: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very prompt of a training row, greedily; a whole line, a last object and nonsense are told apart."""
    (pool,) = load(str(data), tasks=("emotion_json",))
    answer = line(["joy", "relief"], 0.9, 0.5, 0.25, "She is back.")
    replies = [answer, f"Let me see: {answer}", "lalala"] * 30
    asked: list[Question] = []

    def said_to(self: FolderAnswerer, questions: Sequence[Question], heard: Callable[[int, Reply], None]) -> None:
        start = len(asked)
        asked.extend(questions)
        for place in reversed(range(len(questions))):
            heard(place, Reply(text=replies[start + place]))

    monkeypatch.setattr(FolderAnswerer, "replies", said_to)
    texts = [f"{row.text} {n}" for n in range(6) for row in pool.train[:15]]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": one, "context": "x"}) + "\n" for one in texts))
    code, said, told = call(str(writer), "--file", str(tmp_path / "texts.jsonl"))
    assert code == 0 and [one["text"] for one in said] == texts and len(asked) == 90
    assert "the contexts were not shown" in told
    whole = {"labels": ["joy", "relief"], "vad": {"v": 0.9, "a": 0.5, "d": 0.25}, "rationale": "She is back."}
    assert said[0] == {"text": texts[0], **whole, "read": "strict"}
    assert said[1] == {"text": texts[1], **whole, "read": "tail"}
    assert said[2] == {"text": texts[2], "read": "none", "reply": "lalala"}
    assert asked[0].messages[0] == pool.train[0].messages[0] and asked[0].temperature == 0
    assert asked[0].messages[1].content == texts[0] and len(asked[0].messages) == 2


def test_a_model_that_writes_has_no_context(call: Call, writer: Path) -> None:
    """It was taught to read one utterance."""
    code, _, told = call(str(writer), "--text", "hello", "--context", "before")
    assert code == 2 and "leave out CONTEXT" in told.splitlines()[-2]


def test_a_model_of_items_alone_has_no_labels_for_a_text(call: Call, writer: Path, tmp_path: Path) -> None:
    """It would say something, and it would mean nothing."""
    told = json.loads((writer / "slm.json").read_text()) | {"tasks": ["mcq_eu", "mcq_ea"]}
    (tmp_path / "slm.json").write_text(json.dumps(told))
    code, _, said = call(str(tmp_path), "--text", "hello")
    assert code == 2 and "was taught mcq_eu and mcq_ea alone" in said.splitlines()[-2]


def test_an_adapter_that_classifies_is_read_merged(call: Call, folder: Path, data: Path, tmp_path: Path) -> None:
    """Without merged/ one sentence says how it is made; with it the folder is as good as that."""
    made = recipe(base=str(folder), mode="classify", thresholds="half", **HOW)
    train.train(str(data), tmp_path / "out", made)
    code, _, told = call(str(tmp_path / "out"), "--text", "hello")
    assert code == 2 and "is an adapter; merge it first" in told.splitlines()[-2] and "SET=merge=1" in told
    train.train(
        str(data), tmp_path / "out", recipe(base=str(folder), mode="classify", thresholds="half", merge=True, **HOW)
    )
    code, said, _ = call(str(tmp_path / "out"), "--text", "hello")
    assert code == 0 and said == call(str(tmp_path / "out" / "merged"), "--text", "hello")[1]


def test_an_adapter_whose_base_is_gone_is_one_sentence(call: Call, writer: Path, tmp_path: Path) -> None:
    """It is read over its own base alone."""
    import shutil

    lost = Path(shutil.copytree(writer, tmp_path / "lost", ignore=shutil.ignore_patterns("merged")))
    told = json.loads((lost / "slm.json").read_text()) | {"base": str(tmp_path / "gone")}
    (lost / "slm.json").write_text(json.dumps(told))
    code, _, said = call(str(lost), "--text", "hello")
    assert code in (2, 3) and "gone" in said.splitlines()[-2] and "Traceback" not in said
