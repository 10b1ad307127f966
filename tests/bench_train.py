"""Speed of training: our default beside the published recipe in plain Hugging Face `Trainer` form, same encoder, same rows.

`python tests/bench_train.py [FOLDER_OF_GOEMOTIONS --rows 8000 --epochs 2]`. Some twenty minutes on two cores, nearly all of it
the plain form. Both are measured in one process, one after the other, without the time to start.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from factory.train import data, encoder, loop, model, thresholds
from factory.train.recipe import recipe
from factory.train.records import Dataset

GOEMOTIONS = Path(__file__).resolve().parents[1] / "../shared/data/goemotions"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=GOEMOTIONS)
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=2)
    told = parser.parse_args()
    if not told.folder.exists():
        print(f"nothing was measured: there is no {told.folder}; give the folder of GoEmotions' files")
        return
    spec = f"goemotions:{told.folder}"
    ours, our_score = _ours(spec, told.rows, told.epochs)
    print(f"our default: {ours:.0f} rows/s, validation included; dev macro-F1 {our_score:.3f}", flush=True)
    loaded = data.load(spec)
    loaded = replace(loaded, train=data.subset(loaded.train, told.rows, 0))
    plain, plain_score = _plain(loaded, told.epochs)
    print(f"plain Trainer, fixed 128, fp32: {plain:.0f} rows/s; dev macro-F1 {plain_score:.3f}")
    print(f"ratio {ours / plain:.1f}")


def _ours(spec: str, rows: int, epochs: int) -> tuple[float, float]:
    """The command's own way, from the first update to the end of the last epoch."""
    times: list[float] = []
    watcher = encoder.Watcher(reports=lambda report: times.append(time.perf_counter()))
    with tempfile.TemporaryDirectory() as folder:
        made = recipe(epochs=epochs, patience=0, limit=rows)
        (trained,) = encoder.train(spec, Path(folder) / "model", made, watcher=watcher)
    return rows * epochs / (times[-1] - times[0]), trained.validation


def _plain(loaded: Dataset, epochs: int) -> tuple[float, float]:
    """As the model cards of the recipe have it: every row padded to 128, float32, AdamW 2e-5, batch 64."""
    from torch.utils.data import Dataset as Rows
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    source = model.base_folder("minilm")
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(source)
    with model.quiet():
        net = AutoModelForSequenceClassification.from_pretrained(
            source, num_labels=len(loaded.classes), problem_type="multi_label_classification", dtype=torch.float32
        )
    read = tokenizer(list(loaded.train.texts), padding="max_length", truncation=True, max_length=128)

    class Padded(Rows):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(loaded.train)

        def __getitem__(self, row: int) -> dict[str, Any]:
            return {name: torch.tensor(values[row]) for name, values in read.items()} | {
                "labels": torch.tensor(loaded.train.hard[row])
            }

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=64,
            num_train_epochs=epochs,
            learning_rate=2e-5,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        start = time.perf_counter()
        Trainer(model=net, args=arguments, train_dataset=Padded()).train()
        seconds = time.perf_counter() - start
    return len(loaded.train) * epochs / seconds, _dev(loaded, net, tokenizer)


def _dev(loaded: Dataset, net: Any, tokenizer: Any) -> float:
    shown = model.Shown(tokenizer=tokenizer, max_length=128, token_types=True)
    found = loop.logits(net, tokenizer, shown.tokens(loaded.validation.texts, loaded.validation.contexts))
    probabilities, truth = 1 / (1 + np.exp(-found.astype(np.float64))), loaded.validation.hard
    kept = thresholds.tuned(probabilities, truth, loaded.classes, "per_class", "dev")
    return thresholds.macro_f1(kept.keep(probabilities), truth)


if __name__ == "__main__":
    main()
