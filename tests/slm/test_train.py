"""Facts about training a language model, from rows to its folder: that it learns, what stands there, and that it goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slm import tiny

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from safetensors.torch import load_file, save_file  # noqa: E402

from factory import cli_train, contract  # noqa: E402
from factory.cli import main  # noqa: E402
from factory.errors import Interrupted, WrongRequest  # noqa: E402
from factory.predict import Classifier, answers  # noqa: E402
from factory.slm import base, classify, train  # noqa: E402
from factory.slm.recipe import EVERY, recipe, short_warmup  # noqa: E402
from factory.slm.rows import load  # noqa: E402
from factory.slm.tokens import tokens  # noqa: E402
from factory.taxonomy import LABELS  # noqa: E402
from factory.train import team  # noqa: E402
from factory.train.course import Watcher  # noqa: E402
from factory.train.work import Progress, Report  # noqa: E402
from factory.vad import WordTable  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
ALONE = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0", "HF_HUB_OFFLINE": "1"}
HOW: dict[str, Any] = {"tasks": "emotion_json", "epochs": 2, "batch": 4, "precision": "fp32", "learning_rate": 5e-3}
QUICK = "tasks=emotion_json batch=4 precision=fp32 learning_rate=5e-3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("base") / "qwen3")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 rows to learn from."""
    return tiny.dataset(tmp_path_factory.mktemp("data") / "a", (16, 6, 4))


@pytest.fixture(scope="module")
def pools(data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two datasets, as DATA names them."""
    return f"{data},{tiny.dataset(tmp_path_factory.mktemp('data') / 'b', (16, 6, 4), first=10)}"


def _weights(out: Path) -> dict[str, Any]:
    return dict(load_file(out / "adapter_model.safetensors"))


def _apart(one: Path, other: Path) -> float:
    mine, theirs = _weights(one), _weights(other)
    assert mine.keys() == theirs.keys() and len(mine) > 20
    return max(float((mine[name] - theirs[name]).abs().max()) for name in mine)


def _record(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "training.json").read_text()))


def _after(updates: int) -> Callable[[], bool]:
    left = [updates]

    def stop() -> bool:
        left[0] -= 1
        return left[0] <= 0

    return stop


# It learns ------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_small_set_is_learnt_by_heart_and_answered_in_the_contract(kind: str, tmp_path: Path) -> None:
    """The loss falls to next to nothing; greedy answers of the saved adapter, and of the merged model, are the rows' own."""
    folder, data = tiny.make(tmp_path / kind, kind, hidden=128), tiny.dataset(tmp_path / "data", (4, 2, 0))
    made = recipe(
        base=str(folder), **{**HOW, "epochs": 40, "batch": 2}, lora_rank=32, lora_dropout=0.0, keep="last", merge=True
    )
    losses: list[float] = []
    train.train(str(data), tmp_path / "out", made, watcher=Watcher(reports=lambda one: losses.append(one.loss)))
    assert losses[0] > 5 and losses[-1] < 0.05
    (pool,) = load(str(data), tasks=("emotion_json",))
    adapted = base.adapted(tmp_path / "out", dtype=torch.float32)
    merged = base.load(str(tmp_path / "out" / "merged"))
    for one in (adapted, merged):
        for row, asked in zip(pool.train, tokens(one.tokenizer, pool.train, 1024), strict=True):
            said = contract.parsed(_greedy(one, asked.ids[: asked.prompt]))
            assert said.how == "strict" and said.contract is not None
            assert said.contract.labels == [LABELS[label] for label in row.hard]
            assert said.contract.rationale == row.rationale
    (told,) = answers(tmp_path / "out", [(pool.train[0].text, "")])
    assert told["read"] == "strict" and told["rationale"] == pool.train[0].rationale


def _greedy(one: base.Based, ids: list[int]) -> str:
    with torch.inference_mode():
        found = one.model.generate(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=120, do_sample=False,
        )  # fmt: skip
    return str(one.tokenizer.decode(found[0, len(ids) :], skip_special_tokens=True))


def test_the_folder_holds_the_adapter_the_tokeniser_and_the_records(folder: Path, data: Path, tmp_path: Path) -> None:
    """Safetensors, JSON and text; nothing of the base; what was measured stands in the record and in the card."""
    (done,) = train.train(
        str(data), tmp_path / "out", recipe(base=str(folder), label_weight=0.5, vad_weight=1.0, **HOW)
    )
    names = {path.name for path in (tmp_path / "out").iterdir()}
    wanted = {"adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "heads.safetensors"}
    wanted |= {"slm.json", "tokenizer.json", "tokenizer_config.json", "training.json", "README.md"}
    assert names - {"tensorboard"} == wanted
    assert all("lora_" in name for name in _weights(done.folder))
    assert load_file(done.folder / "heads.safetensors")["weight"].shape == (31, 64)
    told, record = json.loads((done.folder / "slm.json").read_text()), _record(done.folder)
    assert told["mode"] == "generate" and told["base"] == str(folder) and told["heads"] == {"labels": 28, "vad": 3}
    assert told["base_commit"] == base.load(str(folder)).commit
    assert record["rows"] == {"train": 16, "validation": 6, "test": 4}
    assert set(record["terms"]) == {"language", "labels", "vad"} and len(record["terms"]["vad"]) == 2
    assert record["history"]["loss"][0] == pytest.approx(sum(one[0] for one in record["terms"].values()))
    card = (done.folder / "README.md").read_text()
    assert f"{record['results']['test']['surprise']:.4f}" in card and "ours, inspired by EmoLoom-2B" in card
    assert f"{record['results']['test']['surprise']:.4f}" in done.says


def test_the_score_is_the_mean_probability_of_an_answers_tokens(folder: Path, data: Path) -> None:
    """Over all tokens of the validation part's answers, whichever rows go through together."""
    (pool,) = load(str(data), tasks=("emotion_json",))
    lesson = train.Lesson((pool,), recipe(base=str(folder), **HOW, token_budget=200), team.here())
    total = count = 0.0
    for row in lesson.sides["validation"].tokens:
        ids = torch.tensor([row.ids])
        with torch.inference_mode():
            said = lesson.learner.eval().net(input_ids=ids).logits[0].log_softmax(-1)
        chosen = said[torch.arange(row.prompt - 1, len(row.ids) - 1), ids[0, row.prompt :]]
        total, count = total + float(chosen.sum()), count + len(chosen)
    assert lesson.teaching.score() == pytest.approx(np.exp(total / count), rel=1e-4)


# It goes on -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [[3], [4], [6, 1]])
def test_a_training_that_was_stopped_ends_as_one_that_was_not(
    folder: Path, pools: str, tmp_path: Path, stops: list[int]
) -> None:
    """Within an epoch and at its end, with dropout, an average, heads and a mixture that cools: same adapter, same looks."""
    made = recipe(
        base=str(folder), **HOW, average=0.9, label_weight=0.5, mix="0.3,0.7", cooling=True, looks=3, looked_at=4
    )
    train.train(pools, tmp_path / "whole", made)
    for stop in stops:
        with pytest.raises(Interrupted, match="same command"):
            train.train(pools, tmp_path / "parts", made, watcher=Watcher(stops=_after(stop)))
    train.train(pools, tmp_path / "parts", made)
    assert _apart(tmp_path / "whole", tmp_path / "parts") < 1e-6
    one, other = _record(tmp_path / "whole"), _record(tmp_path / "parts")
    assert one["looks"] == pytest.approx(other["looks"]) and len(one["looks"]) == 5
    assert one["history"]["loss"] == pytest.approx(other["history"]["loss"])
    assert one["terms"]["labels"] == pytest.approx(other["terms"]["labels"])


def test_models_that_changed_since_are_not_gone_on_from(folder: Path, data: Path, tmp_path: Path) -> None:
    """The base under the same name with other weights, the guide, the words: each has its part in what is asked before a
    checkpoint is read."""
    shutil.copytree(folder, tmp_path / "base")
    made = recipe(base=str(tmp_path / "base"), **HOW)
    with pytest.raises(Interrupted):
        train.train(str(data), tmp_path / "out", made, watcher=Watcher(stops=_after(2)))
    weights = load_file(tmp_path / "base/model.safetensors")
    save_file(
        {name: one + 0.01 for name, one in weights.items()}, tmp_path / "base/model.safetensors", {"format": "pt"}
    )
    with pytest.raises(WrongRequest, match="whose files have changed since"):
        train.train(str(data), tmp_path / "out", made)
    (tmp_path / "guide").mkdir()
    guided = recipe(base=str(folder), guide=str(tmp_path / "guide"), appraisal_weight=0.1, **HOW)
    said = []
    for guide, love in (("a", 1.0), ("b", 1.0), ("b", 0.5)):
        (tmp_path / "guide/guide.safetensors").write_text(guide)
        said.append([*train._taught_by(guided, train.Teachers(words=WordTable(words={"love": (love, 0.5, 0.5)})))])
    assert all(len(one) == 2 for one in said) and len({*map(tuple, said)}) == 3


def test_a_checkpoint_holds_what_learns_and_nothing_of_the_base(folder: Path, data: Path, tmp_path: Path) -> None:
    """Safetensors and JSON; less than the base."""
    with pytest.raises(Interrupted):
        train.train(str(data), tmp_path, recipe(base=str(folder), **HOW), watcher=Watcher(stops=_after(2)))
    (state,) = (tmp_path / ".training").glob("state-*.safetensors")
    names = [name for name in load_file(state) if name.startswith("model.")]
    assert names and all("lora_" in name for name in names)
    assert {path.suffix for path in (tmp_path / ".training").iterdir()} == {".safetensors", ".json"}


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_as_if_it_had_not_been(folder: Path, pools: str, tmp_path: Path) -> None:
    """SIGKILL in the second epoch, between two checkpoints: same weights and looks, same card."""

    def command(out: str, *wait: str) -> list[str]:
        return [sys.executable, str(ROOT / "tests/slm/killable.py"), pools, str(tmp_path / out), str(folder), *wait]

    with subprocess.Popen(command("parts", "13"), env=ALONE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if int(line) >= 13:
                process.send_signal(signal.SIGKILL)
                break
    again = subprocess.run(command("parts"), env=ALONE, check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(command("whole"), env=ALONE, check=True, capture_output=True)
    assert int(again[0]) == 13  # the update after the last checkpoint
    assert _apart(tmp_path / "parts", tmp_path / "whole") < 1e-6
    assert (tmp_path / "parts" / "README.md").read_text() == (tmp_path / "whole" / "README.md").read_text()


@pytest.mark.slow
def test_two_processes_train_the_adapter_of_one(folder: Path, pools: str, tmp_path: Path) -> None:
    """As torchrun starts them: without dropout the weights are those of one process, and one of them writes."""
    words = ["train", pools, "--task", "slm", "--base", str(folder), "--epochs", "2", "--mix", "0.3,0.7"]
    words += ["--set", f"{QUICK} lora_dropout=0 label_weight=0.5 cooling=1 looks=2"]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(29100 + os.getpid() % 300)]
    one, two = ([*words, "--out", str(tmp_path / name)] for name in ("one", "two"))
    subprocess.run([sys.executable, "-m", "factory.cli", *one], env=ALONE, check=True, capture_output=True)
    said = subprocess.run(
        [sys.executable, *launch, "-m", "factory.cli", *two], env=ALONE, check=True, capture_output=True, text=True
    )
    assert said.stdout.count("nats a token on test") == 1 and _record(tmp_path / "two")["processes"] == 2
    assert _record(tmp_path / "one")["looks"] == pytest.approx(_record(tmp_path / "two")["looks"], abs=1e-3)
    assert _apart(tmp_path / "one", tmp_path / "two") < 1e-3


def test_a_finished_model_is_not_trained_again_and_is_merged_when_that_is_asked_for(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    """Another setting on the same OUT is refused and named; merge is none that decides the model; FRESH begins anew."""
    train.train(str(data), tmp_path / "out", recipe(base=str(folder), **HOW))
    before = (tmp_path / "out" / "adapter_model.safetensors").stat().st_mtime_ns
    reports: list[Report] = []
    watcher = Watcher(reports=reports.append)
    train.train(str(data), tmp_path / "out", recipe(base=str(folder), merge=True, **HOW), watcher=watcher)
    assert not reports and (tmp_path / "out" / "merged" / "model.safetensors").exists()
    assert (tmp_path / "out" / "adapter_model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(WrongRequest, match="lora_rank was 16, is 8"):
        train.train(str(data), tmp_path / "out", recipe(base=str(folder), lora_rank=8, **HOW))
    train.train(str(data), tmp_path / "out", recipe(base=str(folder), lora_rank=8, **HOW), fresh=True)
    assert not (tmp_path / "out" / "merged").exists() and _record(tmp_path / "out")["recipe"]["lora_rank"] == 8


def test_an_out_of_others_is_refused_and_stays_as_it_is(folder: Path, data: Path, tmp_path: Path) -> None:
    """Files of somebody else, the base that is read, one model where several are asked for, a record that is none."""
    (tmp_path / "adapter_config.json").write_text("{}")
    for name, record in (("one", '{"recipe": {}, "fingerprint": "x", "results": {}}'), ("half", '{"recipe": {}}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "training.json").write_text(record)
    made = recipe(base=str(folder), **HOW)
    cases: list[tuple[Path, tuple[int, ...], bool, str]] = [
        (tmp_path, (0,), False, "holds adapter_config.json, which no training of ours wrote"),
        (folder.parent, (0,), True, "is or holds BASE="),
        (tmp_path / "one", (0, 1), False, "holds one model"),
        (tmp_path / "half", (0,), True, "holds training.json, which no training of ours wrote"),
    ]
    for out, seeds, fresh, said in cases:
        before = sorted(out.rglob("*"))
        with pytest.raises(WrongRequest, match=said) as found:
            train.train(str(data), out, made, seeds, fresh=fresh)
        assert "\n" not in str(found.value) and sorted(out.rglob("*")) == before


def test_several_seeds_give_an_adapter_each_and_their_mean(folder: Path, data: Path, tmp_path: Path) -> None:
    """Different ones, with a card over both."""
    train.train(str(data), tmp_path, recipe(base=str(folder), **{**HOW, "epochs": 1}), seeds=(0, 1))
    assert _apart(tmp_path / "seed-0", tmp_path / "seed-1") > 0.01
    told = json.loads((tmp_path / "seeds.json").read_text())
    assert told["mean"] == pytest.approx(sum(told["surprise"]) / 2) and "seed-1" in (tmp_path / "README.md").read_text()


# Rows -----------------------------------------------------------------------------------------------------------------------


def test_looks_are_measured_before_each_part_of_an_epoch_but_the_first(folder: Path, pools: str) -> None:
    """Two epochs of three looks: five entropies of a head that knows nothing yet, and they are not measured twice."""
    made = recipe(base=str(folder), **HOW, label_weight=0.5, mix="0.3,0.7", cooling=True, looks=3)
    lesson = train.Lesson(load(pools, tasks=("emotion_json",)), made, team.here())
    progress = Progress()
    first = list(lesson.teaching.epoch(progress))
    assert len(first) == lesson.teaching.updates == 8 and len(progress.looks) == 2
    assert all(0.5 < one <= 1.0 for one in progress.looks)
    kept = list(progress.looks)
    assert list(lesson.teaching.epoch(progress)) == first and progress.looks == kept
    progress.epoch = 1
    list(lesson.teaching.epoch(progress))
    assert len(progress.looks) == 5


def test_a_limit_takes_so_many_rows_by_the_seed(folder: Path, pools: str) -> None:
    """Of both pools; the mixture still knows whose they are."""
    made = recipe(base=str(folder), **HOW, mix="0.5,0.5", limit=12, looks=1)
    lesson = train.Lesson(load(pools, tasks=("emotion_json",)), made, team.here())
    assert len(lesson.rows["train"]) == 12
    ids = [row.id for row in lesson.rows["train"]]
    (first,) = [list(lesson.teaching.epoch(Progress()))]
    drawn = [ids[n] for update in first for n in update.every]
    assert sum(one.startswith("r0-") for one in drawn) == 6


def test_a_guide_speaks_in_place_of_the_rows_own_appraisals(
    folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read from the utterances of the training part; without a guide the rows speak for themselves."""
    from factory.train import guide

    asked: list[str] = []

    class Fake:
        @staticmethod
        def of(path: Path) -> "Fake":
            return Fake()

        def read(self, texts: list[str]) -> np.ndarray:
            asked.extend(texts)
            return np.full((len(texts), 4), 0.8)

    monkeypatch.setattr(guide, "Guide", Fake)
    pools = load(str(data), tasks=("emotion_json",))
    off = train.Lesson(pools, recipe(base=str(folder), **HOW), team.here())
    assert not asked and off.sides["train"].guide[0, 2] == pytest.approx(0.9)
    made = recipe(base=str(folder), **HOW, guide="there", appraisal_weight=0.1)
    on = train.Lesson(pools, made, team.here())
    assert asked == [row.text for row in pools[0].train] and (on.sides["train"].guide == np.float32(0.8)).all()


def test_precision_is_measured_where_it_is_not_said_and_leaves_no_trace(folder: Path, data: Path) -> None:
    """Whichever is faster here; the base is what it was, bit for bit, and no gradient is left."""
    pools = load(str(data), tasks=("emotion_json",))
    lesson = train.Lesson(pools, recipe(base=str(folder), **{**HOW, "precision": "auto"}), team.here())
    before = {name: value.clone() for name, value in lesson.learner.state_dict().items()}
    assert lesson.teaching.precision() in ("bf16", "fp32")
    after = lesson.learner.state_dict()
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)
    assert all(one.grad is None for one in lesson.learner.parameters())
    lesson.teaching.settle("bf16")
    learnt = {one.dtype for one in lesson.learner.parameters() if one.requires_grad}
    assert learnt == {torch.float32}
    assert {one.dtype for one in lesson.learner.parameters() if not one.requires_grad} == {torch.bfloat16}


def test_it_trains_in_bf16(folder: Path, data: Path, tmp_path: Path) -> None:
    """With all terms; the adapter is saved in float32."""
    made = recipe(
        base=str(folder),
        **{**HOW, "precision": "bf16", "epochs": 4},
        label_weight=0.5,
        vad_weight=1.0,
        appraisal_weight=0.1,
    )
    (done,) = train.train(str(data), tmp_path / "out", made)
    losses = done.record["history"]["loss"]
    assert losses[-1] < losses[0] and {value.dtype for value in _weights(done.folder).values()} == {torch.float32}


# classify -------------------------------------------------------------------------------------------------------------------


def test_the_focal_loss_has_an_alpha_for_each_label() -> None:
    """Published: joy .75, grief .25. Both p = .75, the first there, the other not: .75 .25^2 -ln .75 and .75 .75^2 -ln .25."""
    made = recipe(base="x", mode="classify", alpha="published")
    found = classify.loss_of(made, ("joy", "grief"))(torch.full((1, 2), np.log(3.0)), torch.tensor([[1.0, 0.0]]))
    wanted = (0.75 * 0.0625 * -np.log(0.75) + 0.75 * 0.5625 * -np.log(0.25)) / 2
    assert found.item() == pytest.approx(wanted)
    named = classify.loss_of(recipe(base="x", mode="classify", alpha="grief=0.1", gamma=0.0), ("joy", "grief"))
    found = named(torch.zeros(1, 2), torch.tensor([[1.0, 1.0]]))
    assert found.item() == pytest.approx((0.5 + 0.1) * np.log(2) / 2)


def test_a_classifier_learns_is_merged_and_predicts(folder: Path, tmp_path: Path) -> None:
    """LoRA and head; the merged folder is one that `factory predict` reads, with its thresholds."""
    from train import tiny as rows

    data = rows.dataset(tmp_path / "data", (120, 40, 20))
    made = recipe(
        base=str(folder), mode="classify", epochs=10, batch=8, precision="fp32", learning_rate=3e-3, head_rate=2e-2,
        alpha="0.75", merge=True, lora_targets=EVERY, lora_dropout=0.0,
    )  # fmt: skip
    (done,) = train.train(str(data), tmp_path / "out", made)
    assert done.record["history"]["loss"][-1] < 0.2 * done.record["history"]["loss"][0]
    assert "macro-F1" in done.says and done.record["base_commit"]
    found = Classifier.of(tmp_path / "out" / "merged")
    said = found.probabilities(["the hammer in the boat", "two people in the sunshine"])
    assert [LABELS[n] for n in said.argmax(axis=1)] == ["anger", "joy"]
    assert found.thresholds.tuned_on == "data validation" and found.classes == LABELS
    adapted = base.adapted(tmp_path / "out", dtype=torch.float32)
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        assert torch.allclose(adapted.model(input_ids=ids).logits, found._model(input_ids=ids).logits, atol=1e-4)


def test_a_classifier_that_was_stopped_ends_as_one_that_was_not(folder: Path, data: Path, tmp_path: Path) -> None:
    """The same loop, so the same promise."""
    made = recipe(base=str(folder), mode="classify", **{name: HOW[name] for name in ("epochs", "batch", "precision")})
    train.train(str(data), tmp_path / "whole", made)
    with pytest.raises(Interrupted):
        train.train(str(data), tmp_path / "parts", made, watcher=Watcher(stops=_after(5)))
    train.train(str(data), tmp_path / "parts", made)
    assert _apart(tmp_path / "whole", tmp_path / "parts") < 1e-6


# What is typed --------------------------------------------------------------------------------------------------------------


def test_a_model_of_vad_that_would_decide_nothing_is_refused(data: Path, tmp_path: Path) -> None:
    """A run's rows have values of their own, so it is looked at only for its words, or for a benchmark's texts."""
    for more, said in (
        ({}, "VAD=nowhere decides nothing here"),
        ({"preserve_weight": 0.1}, "nowhere is no table of words"),
    ):
        with pytest.raises(WrongRequest, match=said):
            train.train(str(data), tmp_path / "out", recipe(base="x", vad="nowhere", **more))
    with pytest.raises(WrongRequest) as found:
        train.train(f"goemotions:{tmp_path}", tmp_path / "out", recipe(base="x", vad="nowhere"))
    assert "decides nothing" not in str(found.value)


def test_presets_are_as_published() -> None:
    """METHODS 3.4, 5.2 and 6.1."""
    loom = recipe("emoloom", base="x", vad="v")
    assert (loom.label_weight, loom.vad_weight, loom.preserve_weight, loom.appraisal_weight) == (0.5, 1.0, 0.1, 0.1)
    assert loom.mix == "0.2,0.8" and loom.cooling and loom.preserve_rows and loom.flips
    korab = recipe("korab", base="x")
    assert (korab.mode, korab.lora_rank, korab.lora_alpha, korab.lora_dropout) == ("classify", 16, 32, 0.0)
    assert (korab.epochs, korab.batch, korab.rate, korab.warmup, korab.weight_decay) == (15, 32, 1e-4, 0.05, 0.01)
    assert korab.lora_targets == "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj" and korab.gamma == 2.0
    ec2er = recipe("ec2er", base="x")
    assert (ec2er.lora_rank, ec2er.lora_alpha, ec2er.lora_dropout, ec2er.rate) == (64, 16, 0.05, 2e-4)
    assert (ec2er.warmup_updates, ec2er.epochs, ec2er.batch, ec2er.max_length, ec2er.loss_whole) == (
        100,
        3,
        32,
        1024,
        True,
    )
    plain = recipe(base="x")
    assert not plain.heads and not plain.preserve_weight and not plain.mix and plain.rate == 1e-4
    assert recipe(base="x", quantise="nf4").rate == 2e-4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"base": ""}, "give BASE=Qwen/Qwen3-0.6B"),
        ({"mode": "both"}, "MODE=both is not known"),
        ({"mix": "0.2"}, "MIX=0.2 is no pair of shares"),
        ({"mix": "0.2,-1"}, "is no pair of shares"),
        ({"mix": "1,-1"}, "is no pair of shares"),
        ({"mix": "1e-300,1e300"}, "is no pair of shares"),
        ({"mix": "1e300,1e-300"}, "is no pair of shares"),
        ({"mix": "1e308,1e308"}, "is no pair of shares"),
        ({"cooling": True}, "give MIX=0.2,0.8 with it"),
        ({"cooling": True, "mix": "0.2,0.8"}, "label_weight=0.5"),
        ({"preserve_weight": 0.1}, "give VAD=models/vad"),
        ({"mode": "classify", "vad_weight": 1.0}, "vad_weight is of MODE=generate"),
        ({"mode": "classify", "vad": "models/vad"}, "vad decides nothing with MODE=classify"),
        ({"loss": "bce"}, "loss decides nothing with MODE=generate"),
        ({"guide": "models/guide"}, "GUIDE decides nothing without its term"),
        ({"tau_high": 2.0, "looked_at": 9}, "tau_high, looked_at decides nothing without cooling; give SET='cooling=1"),
        ({"tau_low": 0.1, "mix": "0.2,0.8"}, "tau_low decides nothing without cooling"),
        ({"floor": 0.1, "mix": "then"}, "floor decides nothing without cooling"),
        ({"looks": 5}, "looks decides nothing without a mixture; give MIX=0.2,0.8"),
        ({"alpha": "joi=0.1"}, "alpha=joi=0.1 is neither"),
        ({"alpha": "2"}, "alpha=2 is neither"),
        ({"lora_rank": 0}, "lora_rank = 0 is not between 1 and 1024"),
        ({"tasks": "emotion"}, "tasks=emotion is not known"),
        ({"quantise": "int8"}, "QUANTISE=int8"),
        ({"tau_low": 5.0}, "tau_low = 5.0 is above"),
        ({"rank": 3}, "there is no setting rank of TASK=slm"),
    ],
)
def test_a_setting_that_cannot_be_is_named(given: dict[str, Any], said: str) -> None:
    """In one sentence."""
    with pytest.raises(WrongRequest) as told:
        recipe(**{"base": "x", **given})
    assert said in str(told.value)


def test_the_command_trains_and_says_what_to_try(
    folder: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TASK=slm with its own options."""
    words = ["train", str(data), "--task", "slm", "--mode", "generate", "--base", str(folder), "--epochs", "1"]
    main([*words, "--out", str(tmp_path / "out"), "--set", QUICK])
    said = capsys.readouterr()
    assert "nats a token on test" in said.out and f"make evaluate MODEL={tmp_path / 'out'}" in said.out
    assert "validation probability of a token" in said.err and "weights learn" in said.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "make evaluate MODEL=m BENCHMARK=goemotions DATA=benchmarks"),
        ({"tasks": "mcq_eu,mcq_ea"}, "make evaluate MODEL=m BENCHMARK=emobench DATA=benchmarks"),
        ({"mode": "classify"}, "the same command with merge=1 in SET, and then make predict"),
        ({"mode": "classify", "merge": True}, "make predict MODEL=m TEXT="),
    ],
)
def test_what_to_try_next_is_what_the_model_can(given: dict[str, Any], said: str) -> None:
    """By its mode, by what it was taught, and by whether it was merged."""
    assert cli_train._kind("slm").next(recipe(base="x", **given), Path("m")).startswith(said)


@pytest.mark.parametrize(
    ("use", "said"),
    [("per_class", "thresholds from validation"), ("half", "threshold 0.5 for all labels")],
)
def test_the_last_line_says_how_labels_were_chosen(
    folder: Path, data: Path, tmp_path: Path, use: str, said: str
) -> None:
    """Nothing was tuned where half is what was asked for."""
    made = recipe(base=str(folder), mode="classify", epochs=1, batch=8, precision="fp32", thresholds=use)
    (done,) = train.train(str(data), tmp_path / "out", made)
    assert done.says.endswith(said)


@pytest.mark.parametrize("mode", ["generate", "classify"])
def test_a_warm_up_that_is_longer_than_the_training_is_told(
    folder: Path, data: Path, tmp_path: Path, mode: str
) -> None:
    """On the screen and in the record; one that ends in time is not."""
    said: list[str] = []
    made = recipe(base=str(folder), mode=mode, epochs=1, batch=8, precision="fp32", warmup_updates=100)
    (done,) = train.train(str(data), tmp_path / "out", made, watcher=Watcher(says=said.append))
    note = "the warm-up has 100 updates and the whole training 2, so the learning rate only rises"
    assert any(note in line for line in said) and any(note in line for line in done.record["notes"])
    assert short_warmup(made, 8 * 101) == () and short_warmup(recipe(base="x"), 1) == ()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give BASE=Qwen/Qwen3-0.6B"),
        (["--base", "x", "--init", "y"], "INIT is not of TASK=slm"),
        (["--base", "x", "--mix", "much"], "MIX=much"),
        (["--base", "x", "--mode", "sing"], "MODE=sing"),
        (["--base", "x", "--set", "lora_rank=many"], "lora_rank=many: that is no whole number"),
        (["--base", "nowhere/at/all"], "BASE=nowhere/at/all"),
    ],
)
def test_what_cannot_be_typed_is_one_sentence_and_exit_2(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """And nothing is written."""
    with pytest.raises(SystemExit) as ended:
        main(["train", str(data), "--task", "slm", "--out", str(tmp_path / "m"), *words])
    told = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and told[-1] == "factory: exit 2" and said in told[-2]
    assert not (tmp_path / "m").exists()
