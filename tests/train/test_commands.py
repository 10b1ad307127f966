"""Facts about the commands: what a person types, what is said, how it ends; and trainings that are killed or shared."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from train import tiny

from factory import cli_train
from factory.cli import main

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sklearn")

from safetensors.torch import load_file  # noqa: E402

from factory.predict import Classifier  # noqa: E402

Base = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]
ALONE = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0", "HF_HUB_OFFLINE": "1"}
QUICK = "learning_rate=5e-3 head_rate=2e-2 precision=fp32 average=0.9 batch=8 patience=0"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A command, run here: exit code, what it printed, what it said."""

    def of(*words: str) -> tuple[int, str, str]:
        try:
            main(list(words))
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return of


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def trained(base: Base, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, by the command."""
    out = tmp_path_factory.mktemp("models") / "one"
    main(["train", str(rows), "--base", str(base()), "--out", str(out), "--epochs", "16", "--set", QUICK])
    return out


def _weights(folder: Path) -> dict[str, "torch.Tensor"]:
    return dict(load_file(folder / "model.safetensors"))


def _apart(one: Path, other: Path, without: str = "-") -> float:
    mine, theirs = _weights(one), _weights(other)
    assert mine.keys() == theirs.keys()
    return max(float((mine[name] - theirs[name]).abs().max()) for name in mine if without not in name)


# train --------------------------------------------------------------------------------------------------------------------


def test_train_says_what_it_does_and_what_to_do_next(call: Call, base: Base, rows: Path, tmp_path: Path) -> None:
    """Rows, an epoch a line with loss, score, speed and time left, the result with its interval, the next command."""
    out = tmp_path / "m"
    code, said, told = call(
        "train", str(rows), "--base", str(base()), "--out", str(out), "--epochs", "2", "--set", QUICK
    )
    assert code == 0
    assert "sayings: train 240, validation 60, test 60 rows, 6 of 28 classes in train" in told
    assert re.search(
        r"epoch 2/2, update 60/60, loss 0\.\d{4}, validation macro-F1 0\.\d{4}, [\d,]+ rows/s, at most 0 s left", told
    )
    assert re.search(r"macro-F1 0\.\d{3} \(0\.\d{3} to 0\.\d{3}\) on test, thresholds from validation", said)
    assert f"make predict MODEL={out}" in said
    code, said, told = call(
        "train", str(rows), "--base", str(base()), "--out", str(out), "--epochs", "2", "--set", QUICK
    )
    assert code == 0 and "is finished already" in told


@pytest.mark.parametrize(
    ("thresholds", "multi", "said"),
    [
        ("per_class", True, "on validation, thresholds from validation"),
        ("half", True, "on validation, threshold 0.5 for all labels"),
        ("per_class", False, "on validation, the most probable class of each row"),
    ],
)
def test_the_last_line_says_how_labels_were_chosen(thresholds: str, multi: bool, said: str) -> None:
    """Tuned, or not at all."""
    from factory.train.encoder import Trained

    record = {"recipe": {"thresholds": thresholds}, "multi": multi}
    one = Trained(folder=Path("m"), seed=0, validation=0.5, test=None, record=record)
    assert cli_train._of_encoder(one).endswith(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", "other"], "TASK=other"),
        (["--mix", "0.5,0.5"], "MIX is not of TASK=encoder"),
        (["--task", "vad", "--view", "contextless"], "VIEW is not of TASK=vad"),
        (["--set", "epoch=3"], "'epoch=3' is no training setting"),
        (["--set", "epochs"], "'epochs' is no training setting"),
        (["--set", "epochs=many"], "epochs=many: that is no whole number"),
        (["--set", "prior=maybe"], "prior=maybe: that is no yes or no"),
        (["--set", "seed=3"], "SEEDS="),
        (["--set", "loss=asl", "--loss", "bce"], "loss once"),
        (["--seeds", "one"], "SEEDS=one"),
        (["--seeds", "-1"], "SEEDS=-1"),
        (["--init", "a", "--base", "b"], "leave out BASE"),
        (["--preset", "other"], "PRESET=other"),
        (["--base", "nowhere"], "BASE=nowhere"),
        (["--view", "sft"], "VIEW=sft"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_exit_2(
    call: Call, rows: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    """And nothing is written."""
    out = tmp_path / "m"
    code, _, told = call("train", str(rows), "--out", str(out), *words)
    lines = told.splitlines()
    assert code == 2 and lines[-1] == "factory: exit 2" and said in lines[-2] and "Traceback" not in told
    assert not out.exists()


@pytest.mark.slow
def test_ctrl_c_writes_a_checkpoint_and_the_same_command_goes_on(base: Base, rows: Path, tmp_path: Path) -> None:
    """Exit 130, one sentence; then the weights of an uninterrupted training."""

    def command(out: Path) -> list[str]:
        words = ["train", str(rows), "--base", str(base()), "--out", str(out), "--epochs", "20", "--set", QUICK]
        return [sys.executable, "-m", "factory.cli", *words]

    out = tmp_path / "parts"
    with subprocess.Popen(command(out), env=ALONE, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if "epoch 2/" in line:
                process.send_signal(signal.SIGINT)
                break
        told = process.stderr.read()
    assert process.returncode == 130 and "go on with the same command" in told and "Traceback" not in told
    assert (out / ".training" / "checkpoint.json").exists() and not (out / "model.safetensors").exists()
    for folder in (out, tmp_path / "whole"):
        subprocess.run(command(folder), env=ALONE, cwd=tmp_path, check=True, capture_output=True)
    assert _apart(out, tmp_path / "whole") < 1e-5 and not (out / ".training").exists()


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_as_if_it_had_not_been(base: Base, rows: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of the second epoch, between two checkpoints: same weights, thresholds and history."""

    def command(out: str, *wait: str) -> list[str]:
        return [
            sys.executable,
            str(ROOT / "tests/train/killable.py"),
            str(rows),
            str(tmp_path / out),
            str(base()),
            *wait,
        ]

    with subprocess.Popen(command("parts", "20"), env=ALONE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if int(line) >= 20:
                process.kill()
                break
    again = subprocess.run(command("parts"), env=ALONE, check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(command("whole"), env=ALONE, check=True, capture_output=True)
    assert int(again[0]) == 20  # the update after the last checkpoint
    assert _apart(tmp_path / "parts", tmp_path / "whole") < 1e-5
    for name in ("thresholds.json", "README.md"):
        assert (tmp_path / "parts" / name).read_text() == (tmp_path / "whole" / name).read_text()


@pytest.mark.slow
def test_two_processes_train_the_model_of_one(rows: Path, tmp_path: Path) -> None:
    """As torchrun and accelerate start them (gloo here): without dropout the weights are those of one process.

    The bias of keys is left out: attention does not depend on it, so AdamW follows the rounding of a gradient that is nothing.
    """
    plain = tiny.make(tmp_path / "base", dropout=0.0)
    words = ["train", str(rows), "--base", str(plain), "--epochs", "2", "--set", QUICK]
    one, two = ([*words, "--out", str(tmp_path / name)] for name in ("one", "two"))
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(29600 + os.getpid() % 300)]
    subprocess.run([sys.executable, "-m", "factory.cli", *one], env=ALONE, check=True, capture_output=True)
    said = subprocess.run(
        [sys.executable, *launch, "-m", "factory.cli", *two], env=ALONE, check=True, capture_output=True, text=True
    )
    assert said.stdout.count("thresholds from validation") == 1
    assert json.loads((tmp_path / "two" / "training.json").read_text())["processes"] == 2
    assert _apart(tmp_path / "one", tmp_path / "two", "key.bias") < 1e-4


# predict ------------------------------------------------------------------------------------------------------------------


def test_predict_gives_labels_with_probabilities_a_line_each(call: Call, trained: Path) -> None:
    """By falling probability, only what reaches its threshold."""
    code, said, _ = call(
        "predict", str(trained), "--text", "the hammer in the boat", "--text", "two people in the sunshine"
    )
    told = [json.loads(line) for line in said.splitlines()]
    assert code == 0 and [one["text"] for one in told] == ["the hammer in the boat", "two people in the sunshine"]
    assert next(iter(told[0]["labels"])) == "anger" and next(iter(told[1]["labels"])) == "joy"


@pytest.mark.parametrize("form", [".txt", ".jsonl", ".csv", ".tsv", ".parquet"])
def test_predict_reads_texts_from_files_of_every_kind(call: Call, trained: Path, tmp_path: Path, form: str) -> None:
    """The column is guessed, or named."""
    import pandas as pd

    texts = ['the "hammer", in the boat', "two people in the sunshine"]
    table, path = pd.DataFrame({"number": [1, 2], "said": texts}), tmp_path / f"texts{form}"
    if form == ".txt":
        path.write_text("\n".join(texts) + "\n\n")
    elif form == ".parquet":
        table.to_parquet(path)
    elif form == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, sep="\t" if form == ".tsv" else ",", index=False)
    code, said, _ = call(
        "predict", str(trained), "--file", str(path), "--text-column", "" if form == ".txt" else "said"
    )
    assert code == 0 and [json.loads(line)["text"] for line in said.splitlines()] == texts
    if form != ".txt":
        code, _, told = call("predict", str(trained), "--file", str(path))
        assert code == 2 and "it has number, said: name one with TEXT_COLUMN=" in told


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: _wordless(folder), "has no tokeniser of its own"),
        (lambda folder: _told(folder, temperature=1e-9), "out of its range"),
        (lambda folder: _told(folder, max_length=1), "out of its range"),
        (lambda folder: _told(folder, pair="lalala"), "not as make train writes it"),
        (lambda folder: _told(folder, per_class={"joy": 0.5}), "of other classes"),
        (lambda folder: _told(folder, use="best"), "not as make train writes it"),
        (lambda folder: _told(folder, temperature=None), "not as make train writes it"),
        (lambda folder: (folder / "thresholds.json").write_text("{"), "not as make train writes it"),
        (lambda folder: _cut(folder / "model.safetensors"), "cannot be loaded"),
        (lambda folder: _labels(folder, 7), "cannot be loaded"),
        (lambda folder: _headless(folder), "no whole classifier"),
    ],
    ids=[
        "none",
        "tokeniser",
        "cold",
        "short",
        "pair",
        "other",
        "use",
        "null",
        "half",
        "truncated",
        "wrong-head",
        "headless",
    ],
)
def test_a_spoilt_model_folder_is_one_sentence(
    call: Call, trained: Path, tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    """A wrong head, thresholds of other classes, half a file."""
    import shutil

    folder = Path(shutil.copytree(trained, tmp_path / "spoilt"))
    spoil(folder)
    code, _, told = call("predict", str(folder), "--text", "hello")
    assert code == 2 and said in told.splitlines()[-2] and "Traceback" not in told


def _told(folder: Path, **more: object) -> None:
    path = folder / "thresholds.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def _wordless(folder: Path) -> None:
    """transformers makes up a tokeniser without words for a class that it knows."""
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _labels(folder: Path, count: int) -> None:
    path = folder / "config.json"
    told = json.loads(path.read_text())
    told["id2label"] = {str(n): f"label{n}" for n in range(count)}
    told["label2id"] = {f"label{n}": n for n in range(count)}
    path.write_text(json.dumps(told))
    (folder / "thresholds.json").unlink()


def _headless(folder: Path) -> None:
    from safetensors.torch import save_file

    tensors = {name: value for name, value in _weights(folder).items() if not name.startswith("classifier")}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_a_folder_of_somebody_elses_with_one_label_a_row_gives_the_most_probable(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    """Without thresholds.json, by what its config says."""
    import shutil

    folder = Path(shutil.copytree(trained, tmp_path / "theirs"))
    (folder / "thresholds.json").unlink()
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"problem_type": "single_label_classification"}))
    code, said, _ = call("predict", str(folder), "--text", "the hammer in the boat")
    assert code == 0 and list(json.loads(said)["labels"]) == ["anger"]
    found = Classifier.of(folder).probabilities(["the hammer", "hm"])
    assert np.allclose(found.sum(axis=1), 1)  # its classes exclude each other


@pytest.mark.parametrize("words", [[], ["--text", "a", "--file", "b.txt"]])
def test_predict_wants_texts_or_a_file(call: Call, trained: Path, words: list[str]) -> None:
    """One of the two."""
    code, _, told = call("predict", str(trained), *words)
    assert code == 2 and "give TEXT='...' or FILE=path" in told


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"text": "hello"}\n{"text": null}\n', "row 2 has no text in the column text"),
        ("a.csv", "one,two\n1,2,3\n", "it has one, two: name one"),
        ("a.jsonl", "[" * 100_000, "cannot be read"),
    ],
    ids=["null", "ragged", "deep"],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    call: Call, trained: Path, tmp_path: Path, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    code, _, told = call("predict", str(trained), "--file", str(tmp_path / name))
    assert code == 2 and said in told and "Traceback" not in told


def test_lines_end_at_line_ends_alone_and_columns_are_known_in_any_case(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("one\x0bline\u2028still\r\nsecond\n", newline="")
    (tmp_path / "a.csv").write_text("Text\nhello\n")
    code, said, _ = call("predict", str(trained), "--file", str(tmp_path / "a.txt"))
    assert code == 0 and [json.loads(line)["text"] for line in said.strip().split("\n")] == [
        "one\x0bline\u2028still",
        "second",
    ]
    assert call("predict", str(trained), "--file", str(tmp_path / "a.csv"))[0] == 0


def test_half_a_character_is_read_as_a_mark(trained: Path) -> None:
    """JSON can hold half of a surrogate pair, and no tokeniser takes it."""
    half = Classifier.of(trained).probabilities(["so \ud83d what"])
    assert half.shape[0] == 1 and np.allclose(half, Classifier.of(trained).probabilities(["so ? what"]))


def test_a_context_that_the_model_does_not_see_is_told(call: Call, trained: Path) -> None:
    code, _, told = call("predict", str(trained), "--text", "hello", "--context", "before")
    assert code == 0 and "trained without context" in told


@pytest.mark.parametrize(
    ("data", "name"),
    [("goemotions:a/b", "goemotions"), ("outputs/tales,isear:x", "tales+isear"), ("a:b/c", "c"), ("x/..", None)],
)
def test_the_default_folder_is_always_within_models(data: str, name: str | None) -> None:
    assert cli_train._name(data) == (name or Path.cwd().name)


def test_help_shows_the_defaults(call: Call) -> None:
    """rich takes what stands in brackets for markup."""
    assert "[encoder]" in call("train", "--help")[1]


def test_the_command_line_knows_the_trainer_without_loading_it() -> None:
    """Help loads no torch."""
    code = (
        "from factory.cli import main\ntry: main(['train', '--help'])\nexcept SystemExit: pass\n"
        "import sys; print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], env=ALONE, capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "False" and "--preset" in said
