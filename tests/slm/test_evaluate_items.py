"""Facts about the held-out items of a run: how they are asked, what is right, and what is not asked of whom."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from slm.test_evaluate_slm import Scripted, line

from factory import questions
from factory.benchmarks import report
from factory.benchmarks.results import Result
from factory.errors import Stopped, WrongRequest
from factory.evaluate_items import of_run
from factory.evaluate_slm import How, evaluate, planned

FEELINGS, CAUSES = (
    ["relief", "envy", "dread", "calm", "pride", "joy"],
    ["it rained", "it stopped", "she won", "he left"],
)
ACTS = ["Wait.", "Ask her.", "Sing.", "Write."]
SCENE = "A. is what she calls it.\nB. is not."  # lines of a scene that look like choices


def _eu(n: int, **more: Any) -> dict[str, Any]:
    return {
        "scenario": f"{SCENE} {n}", "subject": "Odile", "emotion_choices": FEELINGS, "emotion_label": FEELINGS[n % 6],
        "cause_choices": CAUSES, "cause_label": CAUSES[n % 4], "rationale": "So it is.",
    } | more  # fmt: skip


def _ea(n: int) -> dict[str, Any]:
    return {
        "scenario": f"{SCENE} {n}", "subject": "Odile", "question_type": "Action", "choices": ACTS, "label": ACTS[n % 4],
        "rationale": "So it is.",
    }  # fmt: skip


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)


def _row(ident: str, task: str, turns: list[tuple[str, str]]) -> dict[str, Any]:
    messages = [{"role": role, "content": content} for role, content in turns]
    return {"id": ident, "source_id": "s", "task": task, "messages": messages}


@pytest.fixture(params=[False, True], ids=["letters", "rationale"])
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Twelve items of understanding, eight of application; one text in the contract, in both of its views."""
    rows = [_row(f"eu{n}", "mcq_eu", questions.understanding(_eu(n), request.param)) for n in range(12)]
    rows += [_row(f"ea{n}", "mcq_ea", questions.application(_ea(n), request.param)) for n in range(8)]
    rows += [_row("b", "emotion_json", [("user", "I won"), ("assistant", line("joy"))])]
    _write(tmp_path / "tales/dataset/sft/test-00000-of-00001.parquet", rows)
    text = {"id": "b", "utterance": "I won", "labels": ["joy"], "kind": "original", "pair_id": None, "source_id": "s"}
    text |= {"valence": 0.5, "arousal": 0.5, "dominance": 0.5}
    for part in ("train", "test"):
        _write(tmp_path / f"tales/dataset/contextless/{part}-00000-of-00001.parquet", [text])
    return tmp_path / "tales"


def _answers(run: Path) -> dict[str, str]:
    """Question -> the answer that was taught."""
    (file,) = (run / "dataset/sft").iterdir()
    return {
        row["messages"][-2]["content"]: row["messages"][-1]["content"] for row in parquet.read_table(file).to_pylist()
    }


def _scored(run: Path, says: Callable[[str], str | None], **how: Any) -> tuple[dict[str, Result], Scripted, list[str]]:
    model, said, out = Scripted(says), list[str](), run.parent / "out"
    evaluate(model, planned("all", run, How(**how)), out, said.append)
    made = report.of_json((out / "results.json").read_bytes())
    return {f"{one.benchmark} {one.table}".strip(): one for one in made.results}, model, said


def test_the_items_of_a_run_are_measured_beside_its_texts(run: Path) -> None:
    """Each in its own words without the answer; what was taught is all right, beside chance and the best fixed letters."""
    answers = _answers(run)
    found, model, _ = _scored(run, answers.__getitem__)
    assert list(found) == ["run:tales", "run:tales vad", "run:tales mcq_eu", "run:tales mcq_ea"]
    eu, ea = found["run:tales mcq_eu"], found["run:tales mcq_ea"]
    assert (eu.value, eu.rows, ea.value, ea.rows) == (1, 12, 1, 8)
    assert eu.extra["strict_rate"] == eu.extra["emotion_accuracy"] == eu.extra["cause_accuracy"] == 1
    assert eu.baselines == pytest.approx({"chance": 1 / 24, "best_fixed_letter": 1 / 12})
    assert ea.baselines == pytest.approx({"chance": 1 / 4, "best_fixed_letter": 1 / 4})
    asked = [question for question in model.asked if question.task == "mcq_eu"]
    assert all([m.role for m in one.messages] == ["system", "user"] and one.temperature == 0 for one in asked)
    text = (run.parent / "out/results.md").read_text()
    assert "| run:tales (mcq_eu) | accuracy | 12 | 1.000 |" in text and "dataset/sft/test-00000" in text


def test_an_item_is_right_where_all_its_letters_are_and_what_is_no_json_is_wrong(run: Path) -> None:
    """One letter of two; talk around the object; a letter that was not shown; no object at all."""
    answers, spoilt = _answers(run), iter(range(12))

    def says(page: str) -> str:
        whole = answers[page]
        if "end up feeling" not in page:
            return f"Well: {whole}!"
        said = json.loads(whole)
        kind = next(spoilt) % 4
        if kind == 0:
            return json.dumps(said | {"cause": "B" if said["cause"] == "A" else "A"})
        return (whole, json.dumps(said | {"emotion": "Z"}), f"{said['emotion']} and {said['cause']}")[kind - 1]

    found, _, _ = _scored(run, says)
    eu, ea = found["run:tales mcq_eu"], found["run:tales mcq_ea"]
    assert (eu.value, eu.extra["emotion_accuracy"], eu.extra["parse_rate"]) == (0.25, 0.5, 0.5)
    assert (ea.value, ea.extra["strict_rate"], ea.extra["tail_rate"]) == (1, 0, 1)


@pytest.mark.parametrize(
    ("taught", "tables"),
    [
        (("mcq_eu", "mcq_ea"), ["run:tales mcq_eu", "run:tales mcq_ea"]),
        (("emotion_json",), ["run:tales", "run:tales vad"]),
        (("emotion_json", "mcq_ea"), ["run:tales", "run:tales vad", "run:tales mcq_ea"]),
    ],
)
def test_what_a_model_was_not_taught_is_not_asked_of_it(run: Path, taught: tuple[str, ...], tables: list[str]) -> None:
    """A line says so, and no table has a 0.000 that means nothing."""
    found, _, said = _scored(run, _answers(run).__getitem__, taught=taught)
    assert list(found) == tables
    left = {"emotion_json", "mcq_eu", "mcq_ea"} - {*taught}
    assert all(any(f"was not taught {task}" in one for one in said) for task in left)
    assert f"was not taught {min(left)}" in (run.parent / "out/results.md").read_text()
    folder = run.parent / "goemotions"
    folder.mkdir(exist_ok=True)
    (folder / "test.tsv").write_text("glad\t17\tt\n")
    if "emotion_json" not in taught:
        with pytest.raises(WrongRequest, match="goemotions: the model was not taught emotion_json"):
            planned("goemotions", run.parent, How(taught=taught))


def test_fewer_items_are_a_part_of_more_and_guidance_holds_them_to_their_letters(run: Path) -> None:
    """As rows are; the schema has the letters that were shown, after the rationale where one was taught."""
    several = []
    for limit in (3, 6):
        found, model, _ = _scored(run, _answers(run).__getitem__, limit=limit, guided=True)
        asked = [question for question in model.asked if question.task == "mcq_eu"]
        several.append({question.unit for question in asked})
        assert found["run:tales mcq_eu"].rows == limit
        schema = json.loads(asked[0].schema)
        assert schema["properties"]["emotion"]["enum"] == list("ABCDEF")
        assert schema["properties"]["cause"]["enum"] == list("ABCD")
        assert schema["required"] == list(json.loads(next(iter(_answers(run).values()))))
    assert several[0] < several[1]


def test_a_run_of_items_alone_is_measured_by_them(run: Path) -> None:
    """Without a text in the contract there is nothing else to ask."""
    for file in (run / "dataset/contextless").iterdir():
        file.unlink()
    found, _, _ = _scored(run, _answers(run).__getitem__)
    assert list(found) == ["run:tales mcq_eu", "run:tales mcq_ea"]


def test_where_no_item_gets_a_reply_there_is_no_score(run: Path) -> None:
    """As with texts."""
    with pytest.raises(Stopped, match="not one question of run:tales, mcq_eu got a reply"):
        _scored(run, lambda page: None, taught=("mcq_eu",))


def test_an_item_whose_answer_is_none_of_its_letters_is_refused(tmp_path: Path) -> None:
    """One sentence with the row."""
    turns = questions.application(_ea(0), False)
    row = _row("odd", "mcq_ea", [*turns[:-1], ("assistant", '{"answer": "E"}')])
    _write(tmp_path / "sft/test-00000-of-00001.parquet", [row])
    with pytest.raises(WrongRequest, match="row odd: its answer is not the letters of answer; build the dataset anew"):
        of_run(tmp_path, "run:x")
