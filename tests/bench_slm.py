"""Speed and memory of LoRA training: ours beside TRL's SFTTrainer, same model of random weights, same rows of a run.

`python tests/bench_slm.py RUN [--rows 512 --repeats 5 --hidden 512 --layers 6 --vocabulary 32000]`; it needs trl and datasets.
Each way is a process of its own, in turns; tokens are those of the rows (padding does not count), from the end of the first
update to the end of the last, loading and tokenising left out. Ways: ours with its default settings; TRL with its default
settings (batch 8, gradient checkpointing, bf16, answers learnt alone); the latter without gradient checkpointing; ours and TRL
at the same batch, in float32, without checkpointing. All have rank 16 and alpha 32 on all linear layers.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WAYS = ("ours", "trl", "trl-unchecked", "ours-alike", "trl-alike")
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--vocabulary", type=int, default=32000)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--base", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.way:
        print(json.dumps(_measured(told.way, told.base, told.run, told.rows)))
        return
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in told.ways.split(",")}
    with tempfile.TemporaryDirectory() as folder:
        base = _made(Path(folder) / "base", told.hidden, told.layers, told.vocabulary)
        for number in range(told.repeats):
            for way in list(found) if number % 2 == 0 else reversed(list(found)):
                found[way].append(_apart(way, base, told))
                print(number, way, json.dumps(found[way][-1]), flush=True)
    for way, several in found.items():
        speeds = [one["tokens_per_second"] for one in several]
        print(
            f"{way}: median {statistics.median(speeds):,.0f} tokens/s ({min(speeds):,.0f} to {max(speeds):,.0f}), peak "
            f"{statistics.median(one['peak_mb'] for one in several):,.0f} MB; {several[0]['how']}"
        )


def _made(folder: Path, hidden: int, layers: int, vocabulary: int) -> Path:
    """A Qwen3-type model of random weights with this repository's small tokeniser and a vocabulary as wide as a real one's."""
    sys.path.insert(0, str(ROOT / "tests"))
    import torch
    from models import tiny
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tiny.make(folder)
    shape = {"hidden_size": hidden, "intermediate_size": 3 * hidden, "num_hidden_layers": layers}
    heads = {"num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 128, "head_dim": 64}
    torch.manual_seed(0)
    known = Qwen3Config.from_pretrained(folder)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            **shape,
            **heads,
            vocab_size=vocabulary,
            pad_token_id=known.pad_token_id,
            eos_token_id=known.eos_token_id,
            tie_word_embeddings=True,
            max_position_embeddings=4096,
        )
    )
    model.save_pretrained(folder)
    print(f"{sum(one.numel() for one in model.parameters()) / 1e6:.1f} million weights", flush=True)
    return folder


def _apart(way: str, base: Path, told: argparse.Namespace) -> dict[str, Any]:
    words = [str(told.run), "--rows", str(told.rows), "--way", way, "--base", str(base)]
    said = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(json.loads(said.splitlines()[-1]))


def _measured(way: str, base: str, run: Path, count: int) -> dict[str, Any]:
    import torch

    from factory.slm.base import load as load_base
    from factory.slm.rows import load
    from factory.slm.tokens import tokens

    (pool,) = load(str(run))
    rows = pool.train[:count]
    lengths = [len(one.ids) for one in tokens(load_base(base).tokenizer, rows, 1024)]
    train = _ours if way.startswith("ours") else _trl
    seconds, learnt, how = train(way, base, pool, rows, lengths)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {"tokens_per_second": learnt / seconds, "peak_mb": peak, "seconds": seconds, "how": how}


def _ours(way: str, base: str, pool: Any, rows: Any, lengths: Sequence[int]) -> tuple[float, float, str]:
    from dataclasses import replace

    from factory.slm.recipe import recipe
    from factory.slm.train import Lesson
    from factory.train import team

    alike: dict[str, Any] = {"batch": 8, "precision": "fp32"} if way.endswith("alike") else {}
    made = recipe(base=base, epochs=1, **alike)
    lesson = Lesson((replace(pool, train=rows, validation=pool.validation[:2]),), made, team.here())
    times: list[float] = []
    with tempfile.TemporaryDirectory() as work:
        progress = lesson.learn(
            Path(work), lambda one: times.append(time.perf_counter()) if one.score is None else None, lambda: False, 1e9
        )
    share = (len(times) - 1) / len(times)
    return times[-1] - times[0], sum(lengths) * share, f"batch {made.batch}, {progress.precision}, rows of like length"


def _trl(way: str, base: str, pool: Any, rows: Any, lengths: Sequence[int]) -> tuple[float, float, str]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    told: dict[str, Any] = {} if way == "trl" else {"gradient_checkpointing": False}
    told |= {"bf16": False} if way == "trl-alike" else {}

    def turns(some: Any) -> list[dict[str, str]]:
        return [{"role": one.role, "content": one.content} for one in some]

    data = Dataset.from_list(
        [{"prompt": turns(row.messages[:-1]), "completion": turns(row.messages[-1:])} for row in rows]
    )
    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *given: Any, **more: Any) -> None:
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder,
            num_train_epochs=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            **told,
        )
        trainer = SFTTrainer(
            model=base,
            args=arguments,
            train_dataset=data,
            processing_class=AutoTokenizer.from_pretrained(base),
            peft_config=LoraConfig(
                r=16, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
            callbacks=[Clock()],
        )
        trainer.train()
    share = (len(times) - 1) / len(times)
    how = f"batch {arguments.per_device_train_batch_size}, bf16 {arguments.bf16}"
    how += f", gradient checkpointing {arguments.gradient_checkpointing}, model in {trainer.model.dtype}"
    return times[-1] - times[0], sum(lengths) * share, how


if __name__ == "__main__":
    main()
