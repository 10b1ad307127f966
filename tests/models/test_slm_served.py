"""A language model that make train taught is one that vLLM serves: its merged folder says there what it says at home."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from slm import tiny

from factory import contract, journal
from factory.answers import RECORD
from factory.cli import main
from factory.slm import train
from factory.slm.recipe import recipe
from factory.slm.rows import load

VLLM = """dtype = "float32"
[engine_arguments]
enforce_eager = true
max_model_len = 2048
max_num_seqs = 16
"""


def _said(out: Path) -> dict[str, str]:
    return {one.unit: one.text for one in journal.read(out / RECORD)}


def test_vllm_says_what_transformers_and_the_adapter_over_its_base_say(tmp_path: Path) -> None:
    """Four rows are learnt by heart; asked for again through the command line, greedily and in float32, each of the three
    gives the very answers that were learnt."""
    base, learnt = tiny.make(tmp_path / "base", hidden=128), tiny.dataset(tmp_path / "learnt", (4, 2, 0))
    asked = tiny.dataset(tmp_path / "asked", (0, 0, 4), first=-2)  # a part is drawn by its seed: the same four rows
    how = {
        "tasks": "emotion_json",
        "epochs": 40,
        "batch": 2,
        "learning_rate": 5e-3,
        "precision": "fp32",
        "keep": "last",
    }
    made = recipe(base=str(base), **how, lora_rank=32, lora_dropout=0.0, merge=True)
    train.train(str(learnt), tmp_path / "model", made)
    told = {"vllm": VLLM, "transformers": 'dtype = "float32"\n'}
    for name, text in told.items():
        (tmp_path / f"{name}.toml").write_text(text)
    merged = str(tmp_path / "model" / "merged")
    for who, config in {
        "vllm": ["engine:vllm", "--model", merged, "--taught", "--config", str(tmp_path / "vllm.toml")],
        "merged": [merged, "--config", str(tmp_path / "transformers.toml")],
        "adapter": [str(tmp_path / "model"), "--config", str(tmp_path / "transformers.toml")],
    }.items():
        out = tmp_path / who
        main(["evaluate", *config, "--benchmark", f"run:{asked}", "--out", str(out)])
        assert "100.0% of the 4 replies are the contract" in (out / "results.md").read_text()
    (pool,) = load(str(learnt), tasks=("emotion_json",))
    wanted = sorted(row.messages[-1].content for row in pool.train)
    assert sorted(_said(tmp_path / "vllm").values()) == wanted
    assert _said(tmp_path / "vllm") == _said(tmp_path / "merged") == _said(tmp_path / "adapter")
    assert all(contract.parsed(text).how == "strict" for text in wanted)
