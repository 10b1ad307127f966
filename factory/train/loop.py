"""The training loop: one for every recipe, from top to bottom.

It is made to be stopped: batches follow from (seed, epoch), dropout from (seed, update), so a checkpoint holds weights,
moments and a number, as safetensors, and training that is resumed gives what training in one go gives, to rounding.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from factory.errors import Stopped
from factory.files import write_atomic
from factory.train.batches import epoch, passes
from factory.train.losses import Loss
from factory.train.model import last_layer, layers, padded
from factory.train.recipe import Recipe

Floats = NDArray[np.floating[Any]]
Tokens = Sequence[Mapping[str, Sequence[int]]]
CHECKPOINT_SECONDS = 300.0
AVERAGED_EVERY = 5  # updates between two looks of the average at the weights
CLIP = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is learnt: rows as tokens, their targets [rows, classes], a weight for each row."""

    tokens: Tokens
    targets: Floats
    loss: Loss
    weights: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a watcher is told after an update or an epoch."""

    epoch: int
    epochs: int
    update: int
    updates: int
    loss: float
    rows_per_second: float
    seconds_left: float
    learning_rate: float
    score: float | None = None  # of the validation part, at the end of an epoch


@dataclass(slots=True)
class Progress:
    """Where training stands; what a checkpoint holds beside the tensors."""

    epoch: int = 0
    update: int = 0  # of all
    place: int = 0  # updates done in this epoch
    best: float = -1.0
    best_epoch: int = -1
    losses: list[float] = field(default_factory=list)  # by epoch
    scores: list[float] = field(default_factory=list)
    seconds: float = 0.0


def fit(
    model: Any,
    tokenizer: Any,
    task: Task,
    recipe: Recipe,
    score: Callable[[Any], float],
    folder: Path,
    watch: Callable[[Report], None] = lambda report: None,
    stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Train `model` in place and leave it with the best weights by `score` (called with the model after every epoch).

    `folder` is for checkpoints; what stands there is gone on from, and it is empty at the end. Raises Stopped when
    `stop` says so.
    """
    device = next(model.parameters()).device
    bf16 = chosen_precision(model, tokenizer, task, recipe) == "bf16"
    lengths = [len(row["input_ids"]) for row in task.tokens]
    per_epoch = math.ceil(len(lengths) / recipe.batch)
    updates = per_epoch * recipe.epochs
    optimiser = _optimiser(model, recipe)
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda update: _rate(update, updates, recipe))
    average = _Average(model, recipe.average)
    progress = _resumed(folder, model, optimiser, rates, average)
    targets = torch.as_tensor(np.asarray(task.targets, np.float32))
    weights = None if task.weights is None else torch.as_tensor(np.asarray(task.weights, np.float32))
    running = torch.compile(model, dynamic=True) if recipe.compile else model
    fixed = recipe.max_length if recipe.fixed_length else 0
    saved, clock, done = time.monotonic(), time.monotonic(), 0
    total, counted = 0.0, 0

    while progress.epoch < recipe.epochs:
        model.train()
        rows = epoch(
            [fixed] * len(lengths) if fixed else lengths, recipe.batch, recipe.token_budget, recipe.seed, progress.epoch
        )
        for place, update in enumerate(rows):
            if place < progress.place:
                continue
            torch.manual_seed(recipe.seed * 1_000_003 + progress.update)
            loss_sum = 0.0
            for some in update.passes:
                batch = {k: v.to(device) for k, v in padded([task.tokens[n] for n in some], tokenizer, fixed).items()}
                with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                    logits = running(**batch).logits
                each = task.loss(logits.float(), targets[list(some)].to(device))
                if weights is not None:
                    each = each * weights[list(some)].to(device)
                part = each.sum() / update.rows
                part.backward()
                loss_sum += float(part.detach())
            if not math.isfinite(loss_sum):
                raise Stopped(
                    f"the loss is {loss_sum} at update {progress.update}; give a smaller LEARNING_RATE, or PRECISION=fp32"
                )
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimiser.step()
            rates.step()
            optimiser.zero_grad(set_to_none=True)
            progress.update, progress.place = progress.update + 1, place + 1
            average.see(progress.update)
            total, counted, done = total + loss_sum, counted + 1, done + update.rows
            speed = done / max(1e-9, time.monotonic() - clock)
            left = (len(lengths) * (recipe.epochs - progress.epoch) - (place + 1) * recipe.batch) / max(1e-9, speed)
            watch(_report(progress, recipe, updates, loss_sum, speed, max(0.0, left), rates))
            if stop():
                _save(folder, model, optimiser, average, progress)
                raise Stopped("training was asked to stop; the same command goes on from here")
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                _save(folder, model, optimiser, average, progress)
                saved = time.monotonic()
        with average.shown():
            found = score(model)
        progress.losses.append(total / max(1, counted))
        progress.scores.append(found)
        if found > progress.best:
            progress.best, progress.best_epoch = found, progress.epoch
            with average.shown():
                _keep(folder / "best.safetensors", model)
        watch(_report(progress, recipe, updates, progress.losses[-1], speed, max(0.0, left), rates, found))
        progress.epoch, progress.place, total, counted = progress.epoch + 1, 0, 0.0, 0
        if recipe.patience and progress.epoch - 1 - progress.best_epoch >= recipe.patience:
            break
        _save(folder, model, optimiser, average, progress)
        saved = time.monotonic()

    if recipe.patience or recipe.average:  # the published recipe takes the last weights
        model.load_state_dict(load_file(folder / "best.safetensors"), strict=False)
    _clear(folder)
    return progress


def _report(
    progress: Progress,
    recipe: Recipe,
    updates: int,
    loss: float,
    speed: float,
    left: float,
    rates: Any,
    score: float | None = None,
) -> Report:
    return Report(
        epoch=progress.epoch + 1,
        epochs=recipe.epochs,
        update=progress.update,
        updates=updates,
        loss=loss,
        rows_per_second=speed,
        seconds_left=left,
        learning_rate=rates.get_last_lr()[-1],
        score=score,
    )


@torch.no_grad()
def logits(model: Any, tokenizer: Any, tokens: Tokens, token_budget: int = 16384, bf16: bool = False) -> Floats:
    """[rows, classes] in the order of `tokens`, in float32."""
    model.eval()
    device = next(model.parameters()).device
    sizes = np.asarray([len(row["input_ids"]) for row in tokens])
    found = np.zeros((len(tokens), model.config.num_labels), np.float32)
    for some in passes(range(len(tokens)), sizes, token_budget):
        batch = {k: v.to(device) for k, v in padded([tokens[n] for n in some], tokenizer).items()}
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            found[list(some)] = model(**batch).logits.float().cpu().numpy()
    return found


# Optimiser ----------------------------------------------------------------------------------------------------------------


def _optimiser(model: Any, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; each layer's rate is `layer_decay` times that of the layer above it, the last layer has `head_rate`; biases and
    norms do not decay."""
    depths, new = layers(model), {id(p) for p in last_layer(model).parameters()}
    top = max(depths.values())
    groups: dict[tuple[float, float], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = recipe.learning_rate * recipe.layer_decay ** (top - depths[name])
            if recipe.head_rate and id(parameter) in new:
                rate = recipe.head_rate
            decay = 0.0 if parameter.ndim < 2 else recipe.weight_decay
            groups.setdefault((rate, decay), []).append(parameter)
    made = [
        {"params": some, "lr": rate, "weight_decay": decay}
        for (rate, decay), some in sorted(groups.items(), key=lambda g: g[0])
    ]
    return torch.optim.AdamW(made, fused=True)


def _rate(update: int, updates: int, recipe: Recipe) -> float:
    """Share of the learning rate: up over the warm-up, then down to nothing as a line or half a cosine."""
    warm = recipe.warmup * updates
    if update < warm:
        return (update + 1) / (warm + 1)
    gone = (update - warm) / max(1.0, updates - warm)
    return max(0.0, 1 - gone) if recipe.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * min(1.0, gone)))


class _Average:
    """Exponential average of the trained weights, which `shown` puts into the model for a while."""

    def __init__(self, model: Any, decay: float) -> None:
        self.decay = decay**AVERAGED_EVERY if decay else 0.0
        self.mine = [p for p in model.parameters() if p.requires_grad]
        self.kept: list[Tensor] = [p.detach().clone() for p in self.mine] if decay else []

    def see(self, update: int) -> None:
        if self.kept and update % AVERAGED_EVERY == 0:
            looks = (
                update / AVERAGED_EVERY
            )  # the first looks count more, else the start would weigh for thousands of updates
            weight = max(1 - self.decay, 1 / (looks + 1))
            torch._foreach_lerp_(self.kept, [p.detach() for p in self.mine], weight)

    def shown(self) -> Any:
        return _swapped(self.mine, self.kept)


class _swapped:
    def __init__(self, mine: list[Any], kept: list[Tensor]) -> None:
        self.mine, self.kept = mine, kept

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *_: object) -> None:
        self._swap()

    def _swap(self) -> None:
        for parameter, other in zip(self.mine, self.kept, strict=False):
            parameter.data, other.data = other.data, parameter.data


def chosen_precision(model: Any, tokenizer: Any, task: Task, recipe: Recipe) -> str:
    """'bf16' where passes of these very rows are a tenth faster with it; on a GPU that knows bf16 always."""
    if recipe.precision != "auto":
        return recipe.precision
    device = next(model.parameters()).device
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    rows = sorted(range(len(task.tokens)), key=lambda n: len(task.tokens[n]["input_ids"]))
    middle = rows[len(rows) // 2 :][: recipe.batch]
    batch = padded([task.tokens[n] for n in middle], tokenizer)
    targets = torch.as_tensor(np.asarray(task.targets, np.float32))[middle]
    times: dict[bool, list[float]] = {True: [], False: []}
    model.train()
    for _ in range(3):
        for bf16 in (False, True):
            start = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                made = model(**batch).logits
            task.loss(made.float(), targets).mean().backward()
            times[bf16].append(time.perf_counter() - start)
    model.zero_grad(set_to_none=True)
    return "bf16" if min(times[True]) < 0.9 * min(times[False]) else "fp32"


# Checkpoints --------------------------------------------------------------------------------------------------------------


def _keep(path: Path, model: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.tmp")
    save_file({name: value.contiguous().clone() for name, value in model.state_dict().items()}, beside)
    beside.replace(path)


def _save(folder: Path, model: Any, optimiser: Any, average: _Average, progress: Progress) -> None:
    """Tensors first under a name of their own, then the note that names them: half a checkpoint is none."""
    name = f"state-{progress.update}.safetensors"
    tensors = {f"model.{k}": v.contiguous().clone() for k, v in model.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{k}": v.contiguous().clone() for k, v in state.items()}
    tensors |= {f"average.{n}": v.contiguous() for n, v in enumerate(average.kept)}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / name)
    note = {slot: getattr(progress, slot) for slot in Progress.__slots__}
    write_atomic(folder / "checkpoint.json", orjson.dumps({"state": name, "progress": note}))
    for old in folder.glob("state-*.safetensors"):
        if old.name != name:
            old.unlink()


def _resumed(folder: Path, model: Any, optimiser: Any, rates: Any, average: _Average) -> Progress:
    note = folder / "checkpoint.json"
    if not note.exists():
        return Progress()
    found = orjson.loads(note.read_bytes())
    tensors = load_file(folder / found["state"])
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, number, name = key.split(".", 2)
            state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    for number, kept in enumerate(average.kept):
        kept.copy_(tensors[f"average.{number}"])
    progress = Progress(**found["progress"])
    rates.last_epoch = progress.update
    for group, rate, base in zip(optimiser.param_groups, rates.lr_lambdas, rates.base_lrs, strict=True):
        group["lr"] = base * rate(progress.update)
    rates._last_lr = [group["lr"] for group in optimiser.param_groups]
    return progress


def _clear(folder: Path) -> None:
    for path in _files(folder):
        path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _files(folder: Path) -> Iterator[Path]:
    for pattern in ("checkpoint.json", "state-*.safetensors", "best.safetensors"):
        yield from folder.glob(pattern)
