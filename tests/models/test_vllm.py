"""vLLM for real: whole pipelines on a tiny model, killed and resumed; what is read; what is refused before it is loaded."""

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
from models.shadow import Relay, Shadow
from models.tiny import ROOT

from factory import run
from factory.errors import FactoryError, Unreachable, WrongRequest
from factory.records import Said
from factory.requests import Identity, Reply, Request, key
from factory.settings import Content, Operation
from factory.stages import parse, schema
from factory.steps import pipeline
from factory.store import Store

SAID = {step.stage.name: step.stage.said for step in pipeline(Content()) if hasattr(step.stage, "said")}
SHAPES = {schema(agent.said): agent.said for step in pipeline(Content()) for agent in step.stage.agents if agent.said}
ALL = Operation(max_rejects=1.0, concurrency=32, shard_size=2)
ARGUMENTS = {"enforce_eager": True, "max_model_len": 8192, "max_num_seqs": 64}
READ = Content(labeller="logprobs", repairs=1)  # nonsense is not mended by asking often
Files = dict[str, bytes]


def remembered(out: Path) -> dict[str, Said]:
    store = Store(out)
    return {name: said for shard in store.names() for name, said in store.remembered(shard).items()}


def balanced(result: run.Result) -> None:
    """Nothing is lost: what went into a stage came out of it accepted or rejected."""
    for stage, count in result.tally.counts.items():
        assert count.inputs == count.accepted + count.rejected, stage


def test_a_pipeline_with_nothing_but_a_random_model_ends(
    tales: Callable[..., Path], tmp_path: Path, model: Path
) -> None:
    """ENGINE=vllm and MODEL, as a person gives them: it is loaded, asked and closed, and nonsense ends as rejects."""
    content = Content(engine="vllm", model=str(model))
    operation = Operation(max_rejects=1.0, engine_arguments=ARGUMENTS)
    out, before = tmp_path / "run", cores()
    result = run.synth(tales(3), out=out, content=content, operation=operation)
    balanced(result)
    assert (result.tally.counts["actors"].inputs, result.frozen.identity.model) == (3, "tiny-qwen3")
    said = remembered(out)
    assert (len(said) >= 3, cores() == before) == (True, True)
    for one in said.values():
        if one.finish == "stop":
            parse(SAID[one.stage], Reply(text=one.text))
    again = run.resume(out, operation=operation)
    assert (again.did, remembered(out)) == (False, said)


@pytest.mark.parametrize("rehearsed", [("actors", "utterances"), ("actors", "utterances", "labels", "flip")])
def test_the_later_stages_get_nonsense_of_their_own_schema(
    tales: Callable[..., Path], tmp_path: Path, vllm: Any, lent: Any, rehearsed: tuple[str, ...]
) -> None:
    """Where some stages are rehearsed, the others are vLLM's: each reply that ends parses, each unit is accounted for."""
    relay = Relay(lent(vllm), rehearsed)
    out = tmp_path / "run"
    result = run.synth(tales(2), out=out, content=READ, operation=ALL, engine=relay)
    balanced(result)
    stages = Counter(request.stage for request, _ in relay.replies)
    assert stages.keys() >= ({"labels"} if "labels" not in rehearsed else {"context", "appraisal", "reading"})
    for request, reply in relay.replies:
        if reply.finish == "stop" and not request.read:
            parse(SHAPES[request.schema], reply)
    kept = remembered(out)
    assert {key(vllm.identity, request) for request, _ in relay.replies} <= kept.keys()
    for request, reply in relay.replies:
        assert kept[key(vllm.identity, request)].text == reply.text


def test_a_shadowed_pipeline_reaches_every_stage(
    tales: Callable[..., Path], tmp_path: Path, vllm: Any, lent: Any
) -> None:
    """vLLM answers every request of every stage; the rows are the rehearsal's, the tokens vLLM's."""
    shadow = Shadow(lent(vllm))
    result = run.synth(tales(2), out=tmp_path / "run", content=READ, operation=ALL, engine=shadow)
    balanced(result)
    assert {request.stage for request in shadow.asked} >= SAID.keys() - {"flip_labels", "flip_appraisal"} | {"reading"}
    assert result.tally.counts["labels"].accepted > 0
    assert sum(count.tokens_cached for count in result.tally.counts.values()) > 0


@dataclass
class Recorded:
    """Says again what is on record, and nothing else."""

    identity: Identity
    said: dict[str, Said]

    async def complete(self, request: Request) -> Reply:
        return Reply.of(self.said[key(self.identity, request)].text, self.said[key(self.identity, request)].finish)

    async def close(self) -> None: ...


def test_a_killed_run_keeps_every_reply_and_resumes_to_the_rows_that_they_make(
    tales: Callable[..., Path],
    tmp_path: Path,
    model: Path,
    paid: Callable[[Path], set[str]],
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
) -> None:
    """kill -9 in the middle: vLLM's processes go too, no journalled reply is asked for again, and the dataset is that of
    a run which was told the same replies without a break."""
    corpus, out, log = tales(2), tmp_path / "run", tmp_path / "log"
    script = Path(__file__).with_name("killable.py")
    command = [sys.executable, str(script), *map(str, (corpus, out, model, log))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 120
        while (not out.exists() or len(paid(out)) < 12) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        names = [child.name() for child in children]
        assert process.poll() is None, "it was over before it could be killed"
        process.kill()
    asked_before, kept, texts = len(lines(log)), paid(out), journalled(out)
    assert any("EngineCore" in name for name in names)
    assert psutil.wait_procs(children, timeout=20)[1] == []
    subprocess.run(command, check=True, timeout=200, stdout=subprocess.DEVNULL)
    assert not {*lines(log)[asked_before:]} & kept
    said = remembered(out)
    assert {name: said[name].text for name in kept} == texts
    identity = run.need(Store(out)).identity
    run.synth(
        corpus, out=tmp_path / "alone", content=Content(repairs=1), operation=ALL, engine=Recorded(identity, said)
    )
    same_dataset(out, dataset(tmp_path / "alone"))


def lines(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


def journalled(out: Path) -> dict[str, str]:
    return {name: said.text for name, said in remembered(out).items()}


@pytest.mark.parametrize("name", ["vllm", "transformers"])
def test_what_is_read_is_the_models_own_distribution(
    name: str, loop: Any, model: Path, asked: dict[str, list[Request]], request: pytest.FixtureRequest
) -> None:
    """Beside a forward pass over the same tokens in float32: natural logarithms over the whole vocabulary, at temperature 1.
    Two at once, of different lengths."""
    import torch
    from transformers import AutoModelForCausalLM

    from factory.engines.local import Chat, Model

    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    chat = Chat.of(Model("vllm", str(model)))
    engine = request.getfixturevalue(name)

    async def both() -> list[Reply]:
        return list(await asyncio.gather(*map(engine.complete, asked["reading"])))

    for one, reply in zip(asked["reading"], loop.run(both()), strict=True):
        found = orjson.loads(reply.text)
        with torch.inference_mode():
            likely = plain(torch.tensor([chat.tokens(one.messages)])).logits[0, -1].log_softmax(-1)
        for word, value in found.items():
            assert value == pytest.approx(float(likely[chat.word(word)]), abs=0.05)


def test_a_model_that_repeats_itself_is_stopped(vllm: Any, loop: Any, asking: Any) -> None:
    """Without heat the tiny model says one token for ever: it ends after ten times, and says why."""
    schema = json.dumps({"type": "string", "maxLength": 2000})
    reply = loop.run(vllm.complete(asking("Go on.", schema, tokens=1000, heat=0.0)))
    assert (reply.finish, reply.tokens_out < 300) == ("repetition", True)


def test_a_dead_engine_is_unreachable(loop: Any, model: Path, asking: Any) -> None:
    """Its process is killed while it works: what waits, and what comes later, ends the run as one that can be resumed.
    Cancelled while it loads, it leaves no process behind; closed, it can be loaded again."""
    from factory.engines.vllm import VLLM

    engine = VLLM(str(model), arguments=ARGUMENTS)

    async def hurried() -> None:
        first = asyncio.create_task(engine.complete(asking("Go on.")))
        end = time.monotonic() + 60
        while not cores() and time.monotonic() < end:
            await asyncio.sleep(0.05)
        first.cancel()
        await engine.close()

    before = cores()
    loop.run(hurried())
    assert cores() == before
    loop.run(engine.complete(asking("Go on.", tokens=5)))
    (mine,) = cores() - before

    async def struck() -> None:
        work = asyncio.create_task(engine.complete(asking("Go on.", tokens=6000, heat=1.0)))
        await asyncio.sleep(0.3)
        os.kill(mine, 9)
        with pytest.raises(Unreachable, match="died"):
            await work
        with pytest.raises(Unreachable, match="died"):
            await engine.complete(asking("Go on."))

    try:
        loop.run(struck())
    finally:
        loop.run(engine.close())
    assert cores() == before


def cores() -> set[int]:
    """Engine processes of this one, the server's left out."""
    return {
        child.pid for child in multiprocessing.active_children() if child.name.startswith("EngineCore") and child.pid
    }


def checked(**given: Any) -> tuple[str, ...]:
    from factory.engines.vllm import VLLM

    return asyncio.run(VLLM(**given).check())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_modle_len": 4096}, "did you mean max_model_len"),
        ({"trust_remote_code": True}, "set by the factory itself"),
        ({"structured_outputs_config": {}}, "set by the factory itself"),
        ({"hf_token": "x"}, "set by the factory itself"),
        ({"zzz": 1}, "no engine argument 'zzz'; leave it out"),
    ],
)
def test_arguments_that_vllm_has_not_or_that_are_ours_are_refused(
    model: Path, arguments: dict[str, Any], said: str
) -> None:
    """Before anything is loaded, by name, with a near one where there is one."""
    with pytest.raises(WrongRequest, match=said):
        checked(model=str(model), arguments=arguments)


def test_a_wrong_value_of_an_argument_is_a_wrong_request(model: Path, loop: Any, asking: Any) -> None:
    """vLLM's own words are in the sentence, and nothing is left behind."""
    from factory.engines.vllm import VLLM

    engine = VLLM(str(model), dtype="float7", arguments=ARGUMENTS)
    with pytest.raises(FactoryError, match="float7"):
        loop.run(engine.complete(asking("Go on.")))
    loop.run(engine.close())


def test_the_tiny_model_is_made_the_same_twice(model: Path, tmp_path: Path) -> None:
    """So its revision is, and a folder that is only moved is the same model."""
    from models import tiny

    from factory.engines.local import Model

    made = tiny.make(tmp_path / "tiny-qwen3")
    assert Model("vllm", str(made)).commit == Model("vllm", str(model)).commit
    assert (Model("vllm", str(made)).name, ROOT.name != "") == ("tiny-qwen3", True)
