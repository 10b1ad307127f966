"""The training loop: one for every recipe, from top to bottom.

It is made to be stopped: batches follow from (seed, epoch), dropout from (seed, update), so a checkpoint holds weights,
moments and a few numbers, as safetensors and JSON, and training that is resumed gives what training in one go gives.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from factory.errors import Interrupted, Stopped
from factory.files import beside, sync, write_atomic, writing
from factory.train.batches import epoch, passes
from factory.train.losses import Loss
from factory.train.model import last_layer, layers, padded
from factory.train.recipe import Recipe
from factory.train.team import Team

Floats = NDArray[np.floating[Any]]
Tokens = Sequence[Mapping[str, Sequence[int]]]
CHECKPOINT_SECONDS = 300.0
AVERAGED_EVERY = 5  # updates between two looks of the average at the weights, in long trainings
SHORT = 500  # updates of a training in which it looks at each
CLIP = 1.0
FORWARD = 1 / 3  # what a row costs that is only read, beside one that is learnt from
NOTE, BEST = "checkpoint.json", "best.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is learnt: rows as tokens, their targets [rows, classes], what an error costs, and the validation rows with what
    their logits [rows, classes] are worth."""

    tokens: Tokens
    targets: Floats
    loss: Loss
    validation: Tokens
    score: Callable[[Floats], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a watcher is told after an update, or at the end of an epoch, when there is a score of the validation part."""

    epoch: int
    epochs: int
    update: int
    updates: int
    loss: float
    rows_per_second: float
    seconds_left: float
    learning_rate: float
    score: float | None = None


@dataclass(slots=True)
class Progress:
    """Where training stands: all that a checkpoint holds beside the tensors."""

    precision: str = ""  # as measured when it began: another one half-way would be another training
    epoch: int = 0
    update: int = 0  # of all
    place: int = 0  # updates done in this epoch
    loss: float = 0.0  # sum over them
    best: float = -1.0
    best_epoch: int = -1
    losses: list[float] = field(default_factory=list)  # by epoch
    scores: list[float] = field(default_factory=list)
    finished: bool = False

    def scored(self, loss: float, score: float, patience: int) -> bool:
        """An epoch has ended: is it the best so far? Ends training when `patience` epochs in a row were none."""
        better = score > self.best
        if better:
            self.best, self.best_epoch = score, self.epoch
        self.losses.append(loss)
        self.scores.append(score)
        self.finished = bool(patience) and self.epoch - self.best_epoch >= patience
        self.epoch, self.place, self.loss = self.epoch + 1, 0, 0.0
        return better


def fit(
    model: Any,
    tokenizer: Any,
    task: Task,
    recipe: Recipe,
    folder: Path,
    team: Team,
    watch: Callable[[Report], None] = lambda report: None,
    stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Progress:
    """Train `model` in place; the main process is left with the weights that the recipe keeps.

    `folder` is for checkpoints; what stands there is gone on from. Raises Interrupted when `stop` says so, with a
    checkpoint written, and Stopped where the loss is no number any more.
    """
    optimiser, average = _optimiser(model, recipe), Average(model, recipe.average)
    progress = _resumed(folder, model, optimiser, average)
    progress.precision = progress.precision or team.told(chosen_precision(model, tokenizer, task, recipe))
    bf16, device = progress.precision == "bf16", next(model.parameters()).device
    fixed = recipe.max_length if recipe.fixed_length else 0
    lengths = [fixed or len(row["input_ids"]) for row in task.tokens]
    updates = math.ceil(len(lengths) / recipe.batch) * recipe.epochs
    targets = torch.as_tensor(np.asarray(task.targets, np.float32), device=device)
    running = torch.compile(model, dynamic=True) if recipe.compile else model
    mine = [parameter for parameter in model.parameters() if parameter.requires_grad]
    pace = Pace(len(lengths), len(task.validation), recipe, progress)
    saved = time.monotonic()

    while progress.epoch < recipe.epochs and not progress.finished:
        model.train()
        batches = epoch(
            lengths, recipe.batch, recipe.token_budget, recipe.seed, progress.epoch, (team.number, team.size)
        )
        for place, update in enumerate(batches):
            if place < progress.place:
                continue
            torch.manual_seed((recipe.seed * 1_000_003 + progress.update) * team.size + team.number)
            rate = _set_rates(optimiser, progress.update, updates, recipe)
            loss = torch.zeros((), device=device)
            for some in update.passes:
                rows = list(some)
                batch = padded([task.tokens[n] for n in rows], tokenizer, fixed)
                with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                    found = running(**{name: tensor.to(device) for name, tensor in batch.items()}).logits
                part = task.loss(found.float(), targets[rows]).sum() / update.rows
                part.backward()
                loss += part.detach()
            team.add_gradients(mine)
            loss_now, stopping = team.sums(loss, stop())  # together, so that all processes stop at the same update
            if not math.isfinite(loss_now):
                raise Stopped(
                    f"the loss is {loss_now} at update {progress.update + 1}; begin anew with a smaller learning rate or fp32: "
                    "FRESH=1 SET='learning_rate=5e-5 precision=fp32'"
                )
            torch.nn.utils.clip_grad_norm_(mine, CLIP)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            progress.update, progress.place, progress.loss = progress.update + 1, place + 1, progress.loss + loss_now
            average.see(progress.update, updates)
            pace.learnt(update.rows)
            watch(pace.report(progress, updates, loss_now, rate))
            if stopping or (team.main and time.monotonic() - saved > checkpoint_seconds):
                if team.main:
                    _save(folder, model, optimiser, average, progress)
                saved = time.monotonic()
            if stopping:
                raise Interrupted("training was asked to stop and a checkpoint is written; go on with the same command")
        mean_loss = progress.loss / max(1, progress.place)
        with average.shown():
            score = team.told(task.score(logits(model, tokenizer, task.validation, bf16=bf16)) if team.main else None)
            pace.measured()
            watch(pace.report(progress, updates, mean_loss, 0.0, score))
            if progress.scored(mean_loss, score, recipe.patience) and team.main:
                _write(folder / BEST, model.state_dict())
        if team.main:
            _save(folder, model, optimiser, average, progress)
        saved = time.monotonic()

    if recipe.keep == "best" and team.main:
        model.load_state_dict(_read(folder / BEST))
    elif recipe.keep == "last":
        average.put()
    return progress


def logits(model: Any, tokenizer: Any, tokens: Tokens, token_budget: int = 16384, bf16: bool = False) -> Floats:
    """[rows, classes] in the order of `tokens`, in float32."""
    model.eval()
    device = next(model.parameters()).device
    sizes = np.asarray([len(row["input_ids"]) for row in tokens])
    found = np.zeros((len(tokens), model.config.num_labels), np.float32)
    for some in passes(range(len(tokens)), sizes, token_budget):
        batch = {k: v.to(device) for k, v in padded([tokens[n] for n in some], tokenizer).items()}
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            found[list(some)] = model(**batch).logits.float().cpu().numpy()
    return found


# Time ---------------------------------------------------------------------------------------------------------------------


class Pace:
    """How quickly it goes and how long it will take, counted in rows that are learnt from; those that are only read after
    every epoch are part of it. Epochs that patience may spare are not known beforehand."""

    def __init__(
        self, rows: int, read: int, recipe: Recipe, progress: Progress, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now, self._recipe = now, recipe
        self._read = read * FORWARD
        self._left = (recipe.epochs - progress.epoch) * (rows + self._read) - min(rows, progress.place * recipe.batch)
        self._began, self._done, self._learnt, self._reading = now(), 0.0, 0, 0.0
        self._last = self._began

    def learnt(self, rows: int) -> None:
        self._step(rows)
        self._learnt += rows

    def measured(self) -> None:
        before = self._last
        self._step(self._read)
        self._reading += self._last - before

    def _step(self, units: float) -> None:
        self._last, self._done, self._left = self._now(), self._done + units, self._left - units

    def report(self, progress: Progress, updates: int, loss: float, rate: float, score: float | None = None) -> Report:
        spent = max(1e-9, self._last - self._began)
        return Report(
            epoch=progress.epoch + 1,
            epochs=self._recipe.epochs,
            update=progress.update,
            updates=updates,
            loss=loss,
            rows_per_second=self._learnt / max(1e-9, spent - self._reading),
            seconds_left=max(0.0, self._left) * spent / max(1e-9, self._done),
            learning_rate=rate,
            score=score,
        )


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
        {"params": some, "lr": rate, "highest": rate, "weight_decay": decay}
        for (rate, decay), some in sorted(groups.items(), key=lambda g: g[0])
    ]
    return torch.optim.AdamW(made, fused=True)


def _set_rates(optimiser: torch.optim.Optimizer, update: int, updates: int, recipe: Recipe) -> float:
    """Every group at its share of its highest rate; gives that of the layers below the last."""
    share = rate_share(update, updates, recipe)
    for group in optimiser.param_groups:
        group["lr"] = group["highest"] * share
    return recipe.learning_rate * share


def rate_share(update: int, updates: int, recipe: Recipe) -> float:
    """Share of the learning rate: up over the warm-up, then down to nothing as a line or half a cosine."""
    warm = recipe.warmup * updates
    if update < warm:
        return (update + 1) / (warm + 1)
    gone = (update - warm) / max(1.0, updates - warm)
    return max(0.0, 1 - gone) if recipe.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * min(1.0, gone)))


class Average:
    """Exponential average of the trained weights, which `shown` puts into the model for a while.

    It reaches back over 1 / (1 - decay) updates, and never over more than a third of those that are done: else a short
    training would end as the mean of its beginning.
    """

    def __init__(self, model: Any, decay: float) -> None:
        self.decay = decay
        self.mine = [p for p in model.parameters() if p.requires_grad]
        self.kept: list[Tensor] = [p.detach().clone() for p in self.mine] if decay else []

    def see(self, update: int, updates: int) -> None:
        every = AVERAGED_EVERY if updates > SHORT else 1
        if self.kept and (update % every == 0 or update == updates):
            stays = min(self.decay, (1 + update) / (4 + update)) ** every
            torch._foreach_lerp_(self.kept, [p.detach() for p in self.mine], 1 - stays)

    def shown(self) -> "Average":
        return self

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *_: object) -> None:
        self._swap()

    def put(self) -> None:
        """Into the model, for good."""
        self._swap()
        self.kept = []

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
    sizes = [len(row["input_ids"]) for row in task.tokens]
    middle = list(next(passes(rows[len(rows) // 2 :][: recipe.batch], sizes, recipe.token_budget)))
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


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Tensors as safetensors, whole or not at all."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(
                {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, beside(path)
            )
        except SafetensorError as err:  # it has a name of its own for a full disk
            raise OSError(str(err)) from err
        sync(beside(path))
        beside(path).replace(path)
        sync(path.parent)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as err:
        raise Stopped(f"{path} cannot be read ({err}); begin anew with FRESH=1") from err


def _save(folder: Path, model: Any, optimiser: Any, average: Average, progress: Progress) -> None:
    """Tensors first under a name of their own, then the note that names them: half a checkpoint is none."""
    name = f"state-{progress.update}-{progress.epoch}.safetensors"
    tensors = {f"model.{key}": value for key, value in model.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{key}": value for key, value in state.items()}
    tensors |= {f"average.{number}": value for number, value in enumerate(average.kept)}
    _write(folder / name, tensors)
    write_atomic(folder / NOTE, orjson.dumps({"state": name, "progress": asdict(progress)}))
    for old in folder.glob("state-*.safetensors"):
        if old.name != name:
            old.unlink()


def _resumed(folder: Path, model: Any, optimiser: Any, average: Average) -> Progress:
    if not (folder / NOTE).exists():
        return Progress()
    try:
        found = orjson.loads((folder / NOTE).read_bytes())
        progress, tensors = Progress(**found["progress"]), _read(folder / found["state"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise Stopped(f"{folder / NOTE} cannot be read ({err}); begin anew with FRESH=1") from err
    model.load_state_dict(
        {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
    )
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, place, name = key.split(".", 2)
            state.setdefault(int(place), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    for number, kept in enumerate(average.kept):
        kept.copy_(tensors[f"average.{number}"])
    return progress
