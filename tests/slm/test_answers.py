"""Facts about who answers: what is sent, what is remembered, and that an answer is as likely as it is."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from factory.answerers import EngineAnswerer, FolderAnswerer, base_of, find
from factory.answers import NO_REPLY, RECORD, Likelihood, NotOffered, Question, Remembering, opened
from factory.engines.open import open_engine
from factory.errors import FactoryError, Stopped, WrongRequest
from factory.requests import Identity, Message, Reply
from factory.settings import content_from, operation_from
from tests.engines import server

ROOT = Path(__file__).resolve().parents[2]


def ask(text: str = "How are you?", unit: str = "u", **more: Any) -> Question:
    system = Message("system", "You answer.")
    return Question(unit=unit, messages=(system, Message("user", text)), **({"max_tokens": 8} | more))


@dataclass
class Scripted:
    """Says the question's own words; `ends` after so many replies as a killed process does; `fails` gives no reply."""

    revision: str = "1"
    ends: int = 10**9
    fails: Callable[[str], bool] = lambda text: False
    asked: list[str] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    closed: bool = False
    name: str = "scripted"

    @property
    def identity(self) -> Identity:
        return Identity(engine="scripted", model="m", revision=self.revision)

    def replies(self, questions: Sequence[Question], heard: Callable[[int, Reply], None]) -> None:
        for place, question in reversed(list(enumerate(questions))):  # in no order of theirs
            if len(self.asked) >= self.ends:
                raise KeyboardInterrupt
            text = question.messages[-1].content
            self.asked.append(text)
            heard(
                place,
                NO_REPLY if self.fails(text) else Reply(text=f"said {text}", tokens_in=3, tokens_out=2, seconds=0.5),
            )

    def likelihoods(
        self,
        questions: Sequence[Question],
        options: Sequence[Sequence[str]],
        heard: Callable[[int, list[Likelihood]], None],
    ) -> None:
        for place, (question, several) in enumerate(zip(questions, options, strict=True)):
            self.asked.append(question.messages[-1].content)
            heard(place, [(-float(len(option)), len(option)) for option in several])

    def close(self) -> None:
        self.closed = True


# What is remembered ---------------------------------------------------------------------------------------------------


def test_replies_come_in_the_order_of_the_questions() -> None:
    """Whatever the order in which they were given."""
    answers = Remembering(Scripted()).answers([ask(f"q{n}") for n in range(5)])
    assert answers == [f"said q{n}" for n in range(5)]


def test_an_evaluation_that_was_ended_asks_only_for_the_rest(tmp_path: Path) -> None:
    """Four of ten were answered: six are asked for, and tokens and seconds of the four are there."""
    questions = [ask(f"q{n}") for n in range(10)]
    with pytest.raises(KeyboardInterrupt), opened(Scripted(ends=4), tmp_path / "out") as answerer:
        answerer.answers(questions)
    again, said = Scripted(), list[str]()
    with opened(again, tmp_path / "out", said.append) as answerer:
        replies = answerer.replies(questions)
    assert len(again.asked) == 6 and again.closed
    assert [reply.text for reply in replies] == [f"said q{n}" for n in range(10)]
    assert {(reply.tokens_in, reply.tokens_out, reply.seconds) for reply in replies} == {(3, 2, 0.5)}
    assert said == ["4 of 10 replies are there already"]


def test_another_model_another_cache_or_another_temperature_is_another_question(tmp_path: Path) -> None:
    """What decides the reply is in its key; who asks is not."""
    record = tmp_path / RECORD
    Remembering(Scripted(), record).answers([ask("q", unit="a")])
    same, other, warm = Scripted(), Scripted(revision="2"), Scripted()
    Remembering(same, record).answers([ask("q", unit="b")])
    Remembering(other, record).answers([ask("q")])
    Remembering(warm, record).answers([ask("q", temperature=0.6), ask("q", schema="{}"), ask("q", seed=1)])
    assert (len(same.asked), len(other.asked), len(warm.asked)) == (0, 1, 3)


def test_of_two_questions_that_are_the_same_one_is_asked() -> None:
    """And both get its reply."""
    source = Scripted()
    assert Remembering(source).answers([ask("q"), ask("r"), ask("q")]) == ["said q", "said r", "said q"]
    assert sorted(source.asked) == ["q", "r"]


def test_what_failed_is_an_empty_reply_and_is_asked_for_again(tmp_path: Path) -> None:
    """A fault of the way there is no reply of the model: it is not written down."""
    record = tmp_path / RECORD
    first = Remembering(Scripted(fails=lambda text: text == "q"), record).replies([ask("q"), ask("r")])
    assert [(reply.text, reply.finish) for reply in first] == [("", "error"), ("said r", "stop")]
    again = Scripted()
    assert Remembering(again, record).answers([ask("q"), ask("r")]) == ["said q", "said r"]
    assert again.asked == ["q"]


def test_likelihoods_are_remembered_too(tmp_path: Path) -> None:
    """By question and options; what is told of none is as unlikely as can be."""
    source, record = Scripted(), tmp_path / RECORD
    found = Remembering(source, record).likelihoods([ask("q")], [["aa", "b"]])
    assert found == [[(-2.0, 2), (-1.0, 1)]]
    again = Scripted()
    assert Remembering(again, record).likelihoods([ask("q")], [["aa", "b"]]) == found
    assert Remembering(again, record).likelihoods([ask("q")], [["b", "aa"]]) == [[(-1.0, 1), (-2.0, 2)]]
    assert again.asked == ["q"]


def test_two_evaluations_do_not_share_a_folder_at_the_same_time(tmp_path: Path) -> None:
    """The second is told of the first; nothing but the record stays, and a folder without one goes."""
    with opened(Scripted(), tmp_path / "out") as answerer:
        with pytest.raises(WrongRequest, match="another process"), opened(Scripted(), tmp_path / "out"):
            pass
        answerer.answers([ask()])
    with opened(Scripted(), tmp_path / "empty"):
        pass
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["out", f"out/{RECORD}"]


def test_fresh_forgets(tmp_path: Path) -> None:
    """All is asked for anew."""
    for _ in range(2):
        source = Scripted()
        with opened(source, tmp_path, fresh=True) as answerer:
            answerer.answers([ask()])
        assert source.asked == ["How are you?"]


# An engine ------------------------------------------------------------------------------------------------------------


def engine(name: str, **settings: Any) -> EngineAnswerer:
    operation: dict[str, Any] = {
        k: settings.pop(k) for k in ("base_url", "patience_seconds", "faults") if k in settings
    }
    return EngineAnswerer(open_engine(content_from({"engine": name, **settings}), operation_from(operation)), most=8)


def test_a_question_without_a_schema_is_free_text_and_one_with_it_is_held_to_it() -> None:
    """No response_format is sent, or the schema under the task's name; temperature, seed and limit are the question's."""
    schema = '{"type":"object","properties":{"word":{"type":"string"}}}'
    with server.Local() as local:
        source = engine("openai", model="m", base_url=local.url)
        source.check()
        probes = len(local.bodies)
        answerer = Remembering(source)
        answerer.answers([ask(seed=3, temperature=0.6, top_p=0.9)])
        answerer.answers([ask(schema=schema, task="emotion_json")])
        source.close()
        free, held = local.bodies[probes:]
    assert "response_format" not in free
    assert (free["temperature"], free["seed"], free["top_p"], free["max_tokens"]) == (0.6, 3, 0.9, 8)
    assert held["temperature"] == 0
    told = held["response_format"]["json_schema"]
    assert (told["name"], told["schema"]) == ("answer_emotion_json", json.loads(schema))


def test_a_server_that_fails_for_one_question_fails_for_that_one_alone() -> None:
    """A refusal, and a fault that stays, are empty replies with their reasons."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        text = body["messages"][-1]["content"]
        if text == "long":
            return web.json_response({"error": {"message": "maximum context length is 10 tokens"}}, status=400)
        return web.json_response(server.completion("fine"))

    with server.Local(answer) as local:
        source = engine("openai", model="m", base_url=local.url)
        replies = Remembering(source).replies([ask("short"), ask("long"), ask("other")])
        source.close()
    assert [reply.text for reply in replies] == ["fine", "", "fine"]
    assert replies[1].finish == "error" and list(source.troubles) == ["context_too_long"]


def test_a_server_that_is_not_there_ends_it_with_one_sentence() -> None:
    """No row is scored as wrong for it."""
    source = engine("openai", model="m", base_url="http://127.0.0.1:9/v1", patience_seconds=0.2)
    with pytest.raises(FactoryError, match=r"127\.0\.0\.1:9") as caught:
        Remembering(source).answers([ask()])
    source.close()
    assert "\n" not in str(caught.value)


def test_letters_are_read_as_the_next_token_and_whole_answers_are_not_offered() -> None:
    """What the server tells of each letter; one that it does not tell is as unlikely as can be."""
    told = [{"token": "B", "logprob": -0.5}, {"token": " A", "logprob": -1.5}]

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        made = server.completion("B")
        if body.get("logprobs"):
            made["choices"][0]["logprobs"] = {"content": [{"token": "B", "logprob": -0.5, "top_logprobs": told}]}
        return web.json_response(made)

    with server.Local(answer) as local:
        source = engine("openai", model="m", base_url=local.url)
        answerer = Remembering(source)
        assert answerer.likelihoods([ask()], [["A", "B", "C"]]) == [[(-1.5, 1), (-0.5, 1), (float("-inf"), 1)]]
        with pytest.raises(NotOffered, match="a whole answer"):
            answerer.likelihoods([ask()], [["yes", "no"]])
        source.close()


def test_no_key_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the server says it back."""
    key = "sk-not-a-real-key-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(server.completion(f"your key is {key}"))

    with server.Local(answer) as local:
        source = engine("openai", model="m", base_url=local.url)
        with opened(source, tmp_path) as answerer:
            (reply,) = answerer.answers([ask()])
        assert local.headers[-1]["Authorization"] == f"Bearer {key}"
    assert key not in reply
    assert all(key.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_the_rehearsal_engine_answers_in_the_contract() -> None:
    """So that a whole evaluation can be tried without a model."""
    from factory import contract

    source = engine("rehearsal")
    (text,) = Remembering(source).answers([ask("I am so glad you came back!", task="emotion_json")])
    assert contract.parsed(text).contract is not None
    with pytest.raises(NotOffered):
        Remembering(source).likelihoods([ask()], [["A", "B"]])
    source.close()


KILLABLE = """
import sys, time
sys.path.insert(0, {root!r})
from collections import Counter
from pathlib import Path
from factory.answers import Question, opened
from factory.requests import Identity, Message, Reply

class Slow:
    name, identity, troubles = "slow", Identity(engine="slow", model="m"), Counter()
    def replies(self, questions, heard):
        for place, question in enumerate(questions):
            time.sleep(0.01)
            with open(sys.argv[2], "a") as log:
                log.write(question.unit + "\\n")
            heard(place, Reply(text=question.unit))
    def close(self): pass

questions = [Question(unit=f"u{{n}}", messages=(Message("user", f"q{{n}}"),), max_tokens=1) for n in range(200)]
with opened(Slow(), Path(sys.argv[1])) as answerer:
    assert answerer.answers(questions) == [f"u{{n}}" for n in range(200)]
print("whole")
"""


def test_a_killed_process_loses_no_more_than_the_reply_under_way(tmp_path: Path) -> None:
    """kill -9 in the middle; the same command again asks once for what is left, and at most one question twice."""
    script, log = tmp_path / "killable.py", tmp_path / "log"
    script.write_text(KILLABLE.format(root=str(ROOT)))
    words = [sys.executable, str(script), str(tmp_path / "out"), str(log)]
    first = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not log.exists() or log.read_text().count("\n") < 50:
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    again = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert again.stdout.strip() == "whole"
    asked = Counter(log.read_text().split())
    assert len(asked) == 200 and sum(asked.values()) <= 201


# A model in this process ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A Qwen3 and a Llama of random weights."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.models import tiny as maker

    folder = tmp_path_factory.mktemp("models")
    return {kind: maker.make(folder / kind, kind) for kind in ("qwen3", "llama")}


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_a_folder_says_the_same_alone_in_a_batch_and_without_its_cache(tiny: dict[str, Path], kind: str) -> None:
    """In float32, where a batch changes no choice; what transformers itself writes greedily."""
    questions = [ask(text) for text in ("Hello", "It rained for a week, and then the mill closed.", "No!", "Who? " * 9)]
    together = Remembering(FolderAnswerer(str(tiny[kind]), dtype="float32")).answers(questions)
    alone = Remembering(FolderAnswerer(str(tiny[kind]), dtype="float32", batch=1)).answers(questions)
    uncached = Remembering(FolderAnswerer(str(tiny[kind]), dtype="float32", cache=False)).answers(questions)
    assert together == alone == uncached
    assert together[1] == _greedy(tiny[kind], questions[1])


def _greedy(folder: Path, question: Question) -> str:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    turns = [{"role": message.role, "content": message.content} for message in question.messages]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    said = model.generate(**ids, do_sample=False, max_new_tokens=8)[0, ids["input_ids"].shape[1] :]
    return str(tokenizer.decode(said, skip_special_tokens=True))


def test_the_cache_switch_reaches_the_model(tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """use_cache=False is in what generates, and in the name under which replies are remembered."""
    plain, bare = (FolderAnswerer(str(tiny["qwen3"]), cache=cache) for cache in (True, False))
    assert plain.identity != bare.identity
    seen = []
    loaded = bare._ready()
    generate = type(loaded.model).generate

    def noted(self: Any, *words: Any, **more: Any) -> Any:
        seen.append(more["generation_config"].use_cache)
        return generate(self, *words, **more)

    monkeypatch.setattr(type(loaded.model), "generate", noted)
    Remembering(bare).answers([ask()])
    assert seen == [False]


OPTIONS = (["Relief", "A long answer, of more tokens than the others, about the mill.", "x"], ["no", "Relief"])


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_an_option_is_as_likely_as_its_tokens_one_after_the_other(tiny: dict[str, Path], kind: str) -> None:
    """By a pass over each whole chat, token by token, with the end of the turn; the same without the cache."""
    questions = [ask("How does she feel?"), ask("It rained for a week. Was she glad?")]
    shared = FolderAnswerer(str(tiny[kind]), dtype="float32")
    found = Remembering(shared).likelihoods(questions, OPTIONS)
    apart = Remembering(FolderAnswerer(str(tiny[kind]), dtype="float32", cache=False)).likelihoods(questions, OPTIONS)
    for question, several, likely, bare in zip(questions, OPTIONS, found, apart, strict=True):
        for option, (value, count), (other, same) in zip(several, likely, bare, strict=True):
            wanted, tokens = _by_hand(shared, question, option)
            assert (count, same) == (tokens, tokens)
            assert value == pytest.approx(wanted, abs=2e-4) and other == pytest.approx(wanted, abs=2e-4)


def _by_hand(source: FolderAnswerer, question: Question, option: str) -> tuple[float, int]:
    import torch

    loaded = source._ready()
    prompt = loaded.chat.tokens(question.messages)
    answer = [*loaded.chat.tokenizer.encode(option, add_special_tokens=False)]
    answer.append(loaded.chat.tokenizer.convert_tokens_to_ids("<|im_end|>"))
    with torch.inference_mode():
        logits = loaded.model(torch.tensor([prompt + answer])).logits[0].double().log_softmax(-1)
    return sum(float(logits[len(prompt) + n - 1, token]) for n, token in enumerate(answer)), len(answer)


def test_a_model_in_this_process_is_held_to_a_schema(tiny: dict[str, Path]) -> None:
    """Nonsense, but in the form that was asked for; the same question without a schema is free."""
    pytest.importorskip("llguidance", reason="guided decoding needs llguidance: make test-vllm")
    word = {"a": {"enum": ["x", "y"]}}
    schema = json.dumps({"type": "object", "properties": word, "required": ["a"], "additionalProperties": False})
    source = Remembering(FolderAnswerer(str(tiny["qwen3"])))
    held, free = source.answers([ask(max_tokens=40, schema=schema), ask(max_tokens=40)])
    assert json.loads(held)["a"] in ("x", "y")
    with pytest.raises(json.JSONDecodeError):
        json.loads(free)


def test_a_question_that_is_too_long_or_unfit_is_empty_and_the_rest_is_answered(tiny: dict[str, Path]) -> None:
    """It has no room for an answer: data, not the end of it."""
    source = FolderAnswerer(str(tiny["qwen3"]))
    replies = Remembering(source).replies([ask("word " * 9000), ask("Hello")])
    assert [reply.finish == "error" for reply in replies] == [True, False]
    assert list(source.troubles) == ["context_too_long"]


def test_a_report_beside_the_weights_does_not_make_another_model(tiny: dict[str, Path], tmp_path: Path) -> None:
    """Results may lie in the model's folder; another weight is another model."""
    import shutil

    folder = Path(shutil.copytree(tiny["qwen3"], tmp_path / "m"))
    before = FolderAnswerer(str(folder)).identity
    (folder / "results.json").write_text("{}")
    assert FolderAnswerer(str(folder)).identity == before
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-2] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(weights))
    assert FolderAnswerer(str(folder)).identity != before


def test_memory_that_ends_stops_it_and_what_was_said_is_kept(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second batch finds no memory: the first is remembered."""
    import torch

    source, calls = FolderAnswerer(str(tiny["qwen3"]), batch=2), []
    generate = type(source._ready().model).generate

    def full(self: Any, *words: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("no memory")
        return generate(self, *words, **more)

    monkeypatch.setattr(type(source._ready().model), "generate", full)
    questions = [ask(f"q{n}") for n in range(4)]
    with pytest.raises(Stopped, match="memory is used up"), opened(source, tmp_path) as answerer:
        answerer.answers(questions)
    again = FolderAnswerer(str(tiny["qwen3"]))
    with opened(again, tmp_path) as answerer:
        monkeypatch.setattr(again, "_load", lambda: pytest.fail("nothing was left"))
        answerer.answers([q for q in questions if q.messages[-1].content in ("q0", "q1")])


# What is no model -----------------------------------------------------------------------------------------------------


def _folder(path: Path, **files: object) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_what_is_no_model_that_writes_is_one_sentence(tmp_path: Path) -> None:
    """A folder that is not there, a classifier, an adapter of nothing, a model that was trained to classify, half a file."""
    encoder = _folder(tmp_path / "encoder", config={"architectures": ["BertForSequenceClassification"]})
    lost = _folder(tmp_path / "lost", adapter_config={"peft_type": "LORA"})
    classify = _folder(tmp_path / "classify", slm={"mode": "classify"}, adapter_config={})
    half = _folder(tmp_path / "half", slm="{")
    for given, said in (
        (tmp_path / "nowhere", "there is no folder"),
        (encoder, "BertForSequenceClassification, which writes nothing"),
        (lost, "does not say which model it is an adapter for"),
        (classify, "was trained to classify"),
        (half, "cannot be read"),
    ):
        with pytest.raises(WrongRequest, match=said) as caught:
            find(str(given))
        assert "\n" not in str(caught.value)
    empty = _folder(tmp_path / "empty")
    with pytest.raises(WrongRequest, match=r"no config\.json"):
        FolderAnswerer(str(empty)).check()


@pytest.fixture(scope="module")
def adapter(tiny: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter over the tiny Qwen3, of weights that change what is said."""
    pytest.importorskip("peft")
    import torch

    from factory.slm import base
    from factory.slm.recipe import SlmRecipe

    folder = tmp_path_factory.mktemp("adapters") / "one"
    based = base.load(str(tiny["qwen3"]))
    torch.manual_seed(1)
    model = base.with_adapter(based, SlmRecipe(base=str(tiny["qwen3"]), lora_rank=4))
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.3)
    told = {"mode": "generate", "base": str(tiny["qwen3"]), "revision": "", "base_commit": based.commit}
    base.save_adapter(model, based.tokenizer, folder, told)
    return folder


def test_an_adapter_is_read_over_its_base(tiny: dict[str, Path], adapter: Path, tmp_path: Path) -> None:
    """It says something else than the base, what the merged model says, and can be asked for likelihoods."""
    from factory.slm import base

    questions = [ask("Hello"), ask("It rained for a week.")]
    said = Remembering(FolderAnswerer(str(adapter), dtype="float32")).answers(questions)
    assert said != Remembering(FolderAnswerer(str(tiny["qwen3"]), dtype="float32")).answers(questions)
    base.merge(adapter, tmp_path / "merged")
    merged = FolderAnswerer(str(tmp_path / "merged"), dtype="float32")
    one = Remembering(FolderAnswerer(str(adapter), dtype="float32")).likelihoods(questions, OPTIONS)
    other = Remembering(merged).likelihoods(questions, OPTIONS)
    for mine, theirs in zip(one, other, strict=True):
        assert [value for value, _ in mine] == pytest.approx([value for value, _ in theirs], rel=0.03)  # merged in bf16


def test_an_adapter_for_another_base_is_one_sentence(tiny: dict[str, Path], adapter: Path, tmp_path: Path) -> None:
    """The base is another now, or is gone."""
    import shutil

    for place, (base, said) in enumerate(
        ((str(tiny["llama"]), "for another base"), (str(tmp_path / "gone"), "there is no folder"))
    ):
        folder = Path(shutil.copytree(adapter, tmp_path / str(place)))
        told = json.loads((folder / "slm.json").read_text())
        (folder / "slm.json").write_text(json.dumps(told | {"base": base}))
        with pytest.raises(WrongRequest, match=said) as caught:
            source = FolderAnswerer(str(folder))
            source.check()
            Remembering(source).answers([ask()])
        assert "\n" not in str(caught.value)


def test_the_model_beneath_is_that_of_the_first_stage(tmp_path: Path) -> None:
    """Through adapters and merged models of ours and one adapter of others; a ring ends; of any other there is none."""
    made = {
        "one/slm.json": {"mode": "generate", "base": "Qwen/Qwen3-0.6B/"},
        "one/merged/config.json": {},
        "two/slm.json": {"mode": "generate", "base": str(tmp_path / "one/merged")},
        "moved/slm.json": {"mode": "generate", "base": str(tmp_path / "two")},
        "theirs/adapter_config.json": {"base_model_name_or_path": "org/llama"},
        "ring/slm.json": {"mode": "generate", "base": str(tmp_path / "ring")},
    }
    for name, told in made.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(told))
    beneath = {name: base_of(str(tmp_path / name)) for name in ("one", "one/merged", "two", "moved", "theirs", "ring")}
    qwen = "Qwen/Qwen3-0.6B"
    assert beneath == dict.fromkeys(("one", "one/merged", "two", "moved"), qwen) | {"theirs": "org/llama", "ring": ""}
    assert base_of(qwen) == base_of("gpt-4o-mini") == ""


def test_a_config_whose_architectures_are_no_list_is_no_crash(tmp_path: Path) -> None:
    """What is wrong with it is said by what loads it."""
    from factory.cli_evaluate import kind_of

    (tmp_path / "config.json").write_text('{"architectures": 3}')
    assert kind_of(str(tmp_path)) == "classifier"
    assert find(str(tmp_path)).adapter is None
