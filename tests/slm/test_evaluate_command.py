"""Facts about `factory evaluate`: who is meant by MODEL, what goes where, how it ends, and what a killed one keeps."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from factory import contract
from factory.benchmarks import report
from factory.cli import main
from factory.cli_evaluate import kind_of
from factory.emobench import read_outcome
from factory.taxonomy import LABELS
from tests.engines import server

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-not-a-real-key-0123456789"
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """A command, run here: exit code, what it printed, what it said."""

    def of(*words: object) -> tuple[int, str, str]:
        try:
            main([str(word) for word in words])
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return of


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight rows of GoEmotions in its own form; a text that begins with a label has it."""
    folder = tmp_path / "data/goemotions"
    folder.mkdir(parents=True)
    lines = [f"{label} it is\t{LABELS.index(label)}\tt{label}" for label in LABELS[:8]]
    (folder / "test.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path / "data"


async def honest(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Right in the contract; to the probe what it wants to hear; and it says its caller's key back."""
    text = body["messages"][-1]["content"]
    if body["messages"][0]["role"] != "system":
        return web.json_response(server.completion(server.obeying(body)))
    return web.json_response(server.completion(contract.line([text.split()[0]], 0.5, 0.5, 0.5, f"The key is {KEY}.")))


def _results(out: Path) -> dict[str, Any]:
    made = report.of_json((out / "results.json").read_bytes())
    return {f"{one.benchmark} {one.table}".strip(): one for one in made.results}


def test_a_hosted_model_is_measured_through_the_contract(
    call: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its labels are scored, the table is printed, and no key is written anywhere."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    with server.Local(honest) as local:
        words = ("evaluate", "engine:openai", "--model", "org/m", "--base-url", local.url, "--data", data)
        code, said, told = call(*words)
    assert call(*words)[0] == 0  # the server is gone, but all its replies are there
    assert code == 0 and "| goemotions (28) | macro-F1 | 8 |" in said
    out = tmp_path / "evaluations/openai-org-m"
    assert sorted(path.name for path in out.iterdir()) == ["replies.journal", "results.json", "results.md"]
    assert _results(out)["goemotions 28"].extra["accuracy"] == 1
    assert KEY not in said + told
    assert all(KEY.encode() not in path.read_bytes() for path in out.iterdir())


def test_the_rehearsal_engine_shows_a_whole_evaluation(call: Call, data: Path, tmp_path: Path) -> None:
    """No model, no server; what is absent is said."""
    code, _, told = call("evaluate", "engine:rehearsal", "--data", data, "--out", tmp_path / "o", "--limit", 4)
    assert code == 0 and "isear: there is no folder" in told
    assert _results(tmp_path / "o")["goemotions 28"].rows == 4
    assert "rehearsal:phrase-bank" in (tmp_path / "o/results.md").read_text()


def test_a_folder_with_a_language_model_is_measured(call: Call, data: Path, tmp_path: Path) -> None:
    """A model of random weights writes nonsense: every reply is wrong, and that is said."""
    pytest.importorskip("torch")
    from tests.models import tiny

    folder, out = tiny.make(tmp_path / "tiny"), tmp_path / "o"
    code, _, told = call("evaluate", folder, "--data", data, "--out", out, "--limit", 2, "--no-cache")
    assert code == 0, told
    one = _results(out)["goemotions 28"]
    assert (one.value, one.extra["parse_rate"], one.extra["tokens_out_per_row"] > 0) == (0, 0, True)
    assert "without the key-value cache" in (out / "results.md").read_text()


@pytest.mark.parametrize("benchmark", ["emobench", "all"])
def test_emobench_is_asked_beside_the_contract(call: Call, data: Path, tmp_path: Path, benchmark: str) -> None:
    """By its own protocol, into files of its own; of all, where its folder is there."""
    from tests.emobench import fake

    fake.write(data / "emobench")
    out = tmp_path / "o"
    code, said, told = call(
        "evaluate", "engine:rehearsal", "--data", data, "--benchmark", benchmark, "--out", out, "--language", "en,zh"
    )
    assert code == 0, told
    assert "| EU | zh | v2 |" in said and (out / "emobench.json").is_file()
    assert (out / "results.json").is_file() == (benchmark == "all")


def test_likelihoods_are_the_protocol_of_a_model_in_this_process(call: Call, data: Path, tmp_path: Path) -> None:
    """And an engine that cannot tell them says so in one sentence."""
    pytest.importorskip("torch")
    from tests.emobench import fake
    from tests.models import tiny

    fake.write(data / "emobench")
    words = ("--data", data, "--benchmark", "emobench", "--limit", 1, "--out", tmp_path / "o")
    code, said, told = call("evaluate", tiny.make(tmp_path / "tiny"), *words)
    assert code == 0 and "likelihood" in said, told
    code, _, told = call("evaluate", "engine:rehearsal", *words, "--protocol", "likelihood")
    assert code == 2 and "likelihoods" in told.splitlines()[-2]


def test_two_models_are_compared_on_the_same_items(call: Call, data: Path, tmp_path: Path) -> None:
    """AGAINST is where the other one's results of EmoBench are; without EmoBench it means nothing."""
    from tests.emobench import fake

    fake.write(data / "emobench")
    words = ("evaluate", "engine:rehearsal", "--data", data, "--benchmark", "emobench")
    assert call(*words, "--out", tmp_path / "one")[0] == 0
    code, said, told = call(*words, "--out", tmp_path / "two", "--against", tmp_path / "one")
    assert code == 0 and "McNemar" in said, told
    other = ("--data", data, "--benchmark", "goemotions", "--against", tmp_path / "one")
    code, _, told = call("evaluate", "engine:rehearsal", *other, "--out", tmp_path / "three")
    assert code == 2 and "is for EmoBench" in told


def test_half_a_character_in_a_reply_is_a_wrong_answer(call: Call, data: Path, tmp_path: Path) -> None:
    """JSON can hold half of a surrogate pair, and no file can: the evaluation goes on, and again from what it wrote."""

    async def half(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body["messages"][0]["role"] != "system":
            return web.json_response(server.completion(server.obeying(body)))
        return web.json_response(server.completion('{"labels": ["joy \ud83d"]}'))

    words = ("evaluate", "engine:openai", "--model", "m", "--data", data, "--out", tmp_path / "o")
    with server.Local(half) as local:
        for _ in range(2):
            code, _, told = call(*words, "--base-url", local.url)
            assert code == 0, told
    assert _results(tmp_path / "o")["goemotions 28"].extra["parse_rate"] == 0


@pytest.mark.parametrize("fresh", [(), ("--fresh",)])
def test_files_of_others_in_out_are_refused_and_stay(
    call: Call, data: Path, tmp_path: Path, fresh: tuple[str, ...]
) -> None:
    """A results.json, an outcome of EmoBench, a journal that no evaluation wrote."""
    for name, text in (("results.json", "[]"), ("emobench.json", "{}"), ("replies.journal", "mine\n")):
        out = tmp_path / name.replace(".", "-")
        out.mkdir()
        (out / name).write_text(text)
        code, _, told = call("evaluate", "engine:rehearsal", "--data", data, "--out", out, *fresh)
        assert code == 2 and f"holds {name}, which no evaluation of ours wrote" in told
        assert {path.name: path.read_text() for path in out.iterdir()} == {name: text}


def test_results_of_another_model_are_replaced_only_when_asked(call: Call, data: Path, tmp_path: Path) -> None:
    """Two models of one name write into one folder, where nothing else is said."""
    out = tmp_path / "o"
    assert call("evaluate", "engine:rehearsal", "--data", data, "--out", out)[0] == 0
    with server.Local(honest) as local:
        words = ("evaluate", "engine:openai", "--model", "m", "--base-url", local.url, "--data", data, "--out", out)
        code, _, told = call(*words)
        assert code == 2 and "holds the results of another model" in told and "FRESH=1 to replace them" in told
        assert "rehearsal" in (out / "results.md").read_text()
        assert call(*words, "--fresh")[0] == 0
    assert "rehearsal" not in (out / "results.md").read_text()


def test_emobench_is_asked_in_the_way_that_set_says(call: Call, data: Path, tmp_path: Path) -> None:
    """Orders, passes, temperature, tasks, wording and the authors' quirk are settings by name; the report says what they were."""
    from tests.emobench import fake

    fake.write(data / "emobench")
    words = ("evaluate", "engine:rehearsal", "--data", data, "--benchmark", "emobench", "--out", tmp_path / "o")
    asked = ("--protocol", "v1", "--set", "tasks=EU orders=2 repeats=1", "--set", "temperature=0 faithful=1")
    code, said, told = call(*words, *asked)
    assert code == 0, told
    assert "| EU | en | v1 |" in said and "| EA |" not in said
    (one,) = read_outcome(tmp_path / "o").results
    assert (one.ask.orders, one.ask.repeats, one.ask.temperature, one.ask.faithful) == (2, 1, 0.0, True)
    for setting, named in (
        ("orders=0", "give 1 to 24 orders"),
        ("order=2", "'order=2' is no setting of EmoBench; write name=value with one of wording, tasks"),
        ("orders=two", "orders=two: that is no whole number"),
        ("orders=1 orders=2", "give orders once"),
        ("temperature=nan", "a temperature from 0 to 2"),
        ("tasks=,", "tasks names none"),
    ):
        code, _, told = call(*words, "--set", setting)
        assert (code, named in told.splitlines()[-2]) == (2, True), told
    code, _, told = call(*words[:4], "--benchmark", "goemotions", "--set", "orders=2")
    assert code == 2 and "SET=orders=2 is for EmoBench, which is not asked for" in told


@pytest.mark.parametrize("taught", [True, False])
def test_a_model_that_was_taught_is_asked_as_in_its_training(
    call: Call, data: Path, tmp_path: Path, taught: bool
) -> None:
    """Any other one is told the labels and the form."""
    with server.Local(honest) as local:
        words = ("engine:openai", "--model", "m", "--base-url", local.url, "--data", data, "--out", tmp_path / "o")
        assert call("evaluate", *words, *(["--taught"] if taught else []))[0] == 0
        system = local.bodies[-1]["messages"][0]["content"]
    assert (system == contract.SYSTEM) == taught and system.startswith(contract.SYSTEM)


def test_a_model_that_was_not_taught_the_contract_is_not_asked_for_it(call: Call, data: Path, tmp_path: Path) -> None:
    """Its slm.json says what it was taught, whoever serves it."""
    model = _folder(tmp_path / "m", slm={"mode": "generate", "base": "org/base", "tasks": ["mcq_eu", "mcq_ea"]})
    words = ("--model", model, "--base-url", "http://127.0.0.1:9/v1", "--data", data, "--benchmark", "goemotions")
    code, _, told = call("evaluate", "engine:openai", *words, "--out", tmp_path / "o")
    assert code == 2 and "goemotions: the model was not taught emotion_json (mcq_eu, mcq_ea alone)" in told
    assert not (tmp_path / "o").exists()


def _folder(path: Path, **files: object) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


def test_what_stands_in_the_place_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine, a model that writes, or a classifier, which is also what anything else is taken for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    encoder = _folder(tmp_path / "encoder", config={"architectures": ["BertForSequenceClassification"]})
    writer = _folder(tmp_path / "writer", config={"architectures": ["Qwen3ForCausalLM"]})
    ours = _folder(tmp_path / "ours", slm={"mode": "generate"})
    classify = _folder(tmp_path / "classify", slm={"mode": "classify"})
    adapter = _folder(tmp_path / "adapter", adapter_config={})
    kinds = {
        "engine:openai": "engine",
        "Qwen/Qwen3-0.6B": "writer",
        "models/tales": "classifier",
        str(encoder): "classifier",
        str(writer): "writer",
        str(ours): "writer",
        str(classify): "classifier",
        str(adapter): "writer",
    }
    assert {who: kind_of(who) for who in kinds} == kinds


def test_a_language_model_that_classifies_is_not_scored_on_what_it_was_trained_on(call: Call, tmp_path: Path) -> None:
    """Of ISEAR the fold that was kept, whether the adapter is given, its merged model, or a copy of that."""
    pytest.importorskip("peft")
    from slm import tiny

    from factory.slm import train
    from factory.slm.recipe import recipe

    rows = [f"{n}|30|{emotion}|{1000 + n}1|{emotion} number {n}|1|" for n in range(20) for emotion in ("joy", "fear")]
    (tmp_path / "isear").mkdir()
    (tmp_path / "isear/isear.csv").write_text("\n".join(["ID|AGE|Field1|MYKEY|SIT|STATE|", *rows]) + "\n")
    made = recipe(
        base=str(tiny.make(tmp_path / "base")), mode="classify", epochs=1, precision="fp32", fold=1, merge=True
    )
    train.train(f"isear:{tmp_path / 'isear'}", tmp_path / "is", made)
    moved = shutil.copytree(tmp_path / "is/merged", tmp_path / "moved")
    for place in (tmp_path / "is", tmp_path / "is/merged", moved):
        code, _, told = call("evaluate", place, "--data", tmp_path, "--benchmark", "isear", "--out", tmp_path / "o")
        assert code == 0, told
        assert _results(tmp_path / "o")["isear"].rows == 8
        assert "the model learnt from 32 of its 40 rows, and only the other 8 are scored" in told
        assert "none of the texts stands in what the model was trained or tuned on" in told


def test_an_adapter_of_a_qwen_is_asked_as_its_base_is(call: Call, data: Path, tmp_path: Path) -> None:
    """So that the two can be compared, for the prompt is the same; the report says what was measured."""
    pytest.importorskip("peft")
    from slm import tiny

    from factory.slm import train
    from factory.slm.recipe import recipe
    from tests.emobench import fake

    base, rows = tiny.make(tmp_path / "Qwen-tiny"), tiny.dataset(tmp_path / "rows", (8, 4, 4))
    made = recipe(base=str(base), tasks="emotion_json", epochs=1, precision="fp32")
    train.train(str(rows), tmp_path / "mine", made)
    fake.write(data / "emobench")
    words = ("--data", data, "--benchmark", "emobench", "--protocol", "v2", "--limit", 1, "--set", "tasks=EA")
    assert call("evaluate", base, *words, "--out", tmp_path / "o")[0] == 0
    code, said, told = call("evaluate", tmp_path / "mine", *words, "--against", tmp_path / "o")
    assert code == 0 and "McNemar" in said, told
    outcome = read_outcome(tmp_path / "mine")
    assert outcome.results[0].ask.no_think and outcome.base == str(base)
    assert len(outcome.fingerprint) == 16 and outcome.decoding == "numbers auto"
    assert {"factory", "torch", "transformers"} <= outcome.versions.keys()


def test_what_cannot_be_asked_is_one_sentence(call: Call, data: Path, tmp_path: Path) -> None:
    """With exit 2, its cure, and nothing written."""
    out, empty = tmp_path / "o", _folder(tmp_path / "empty")
    encoder = _folder(tmp_path / "encoder", config={"architectures": ["BertForSequenceClassification"]})
    unmerged = _folder(tmp_path / "unmerged", slm={"mode": "classify"}, adapter_config={})
    for words, said in (
        (("engine:opnai",), "ENGINE=opnai is unknown; choose among rehearsal, vllm, openai, transformers"),
        (("engine:openai",), "ENGINE=openai needs BASE_URL"),
        (("engine:openai", "--base-url", "http://127.0.0.1:9/v1"), "needs MODEL"),
        (("engine:openai", "--base-url", "http://u:secret@h/v1", "--model", "m"), "must hold no user, password"),
        (("engine:transformers",), "needs MODEL"),
        (("engine:rehearsal", "--benchmark", "isaer"), "no benchmark 'isaer'"),
        (("engine:rehearsal", "--benchmark", "isear"), "holds none of the files"),
        (("engine:rehearsal", "--benchmark", "goemotions", "--protocol", "v1"), "only EmoBench has one"),
        (
            ("engine:rehearsal", "--benchmark", "emobench", "--protocol", "v3"),
            "choose one of likelihood, letters, v1, v2",
        ),
        (("engine:rehearsal", "--benchmark", "emobench"), "holds no EU.jsonl"),
        (("engine:rehearsal", "--benchmark", "goemotions,emobench"), "EmoBench's files"),
        (("engine:rehearsal", "--no-cache"), "NO_CACHE was given"),
        ((str(empty), "--cot"), "COT was given, and a classifier has no use for it"),
        ((str(empty),), "no config.json"),
        ((str(tmp_path / "nowhere"),), "no config.json"),
        ((str(encoder), "--benchmark", "emobench"), "is a classifier, and EmoBench asks questions"),
        ((str(unmerged),), "merge it first"),
    ):
        code, _, told = call("evaluate", *words, "--data", data, "--out", out)
        assert code == 2 and said in told.splitlines()[-2], (words, told)
        assert not out.exists(), words


@pytest.mark.slow
def test_a_killed_evaluation_asks_only_for_what_it_has_not(data: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of 400 rows; the second run asks for the rest, and ends as an undisturbed one."""
    rows = [f"{LABELS[n % 28]} number {n}" for n in range(400)]
    lines = [f"{text}\t{n % 28}\tt{n}" for n, text in enumerate(rows)]
    (data / "goemotions/test.tsv").write_text("\n".join(lines) + "\n")

    async def slow(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        import asyncio

        await asyncio.sleep(0.02)
        return await honest(request, body)

    with server.Local(slow) as local:
        words = [
            sys.executable,
            "-m",
            "factory.cli",
            "evaluate",
            "engine:openai",
            "--model",
            "m",
            "--base-url",
            local.url,
        ]
        words += ["--data", str(data), "--benchmark", "goemotions", "--out", str(tmp_path / "o"), "--concurrency", "4"]

        def asked() -> list[str]:
            return [body["messages"][-1]["content"] for body in local.bodies if body["messages"][0]["role"] == "system"]

        alone = {**os.environ, "PYTHONPATH": str(ROOT)}
        first = subprocess.Popen(words, env=alone, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while len(asked()) < 100:
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
        again = subprocess.run(words, env=alone, capture_output=True, text=True, timeout=120, check=False)
        assert again.returncode == 0, again.stderr
        assert sorted(set(asked())) == sorted(rows) and len(asked()) <= 400 + 8
    assert _results(tmp_path / "o")["goemotions 28"].value == 1
