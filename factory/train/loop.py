"""The training loop: one for everything that is trained here, from top to bottom.

It is made to be stopped: batches follow from (seed, epoch), dropout from (seed, update), so a checkpoint holds weights,
moments and a few numbers, as safetensors and JSON, and training that is resumed gives what training in one go gives.
What is learnt is a `Work`: an encoder's rows with their targets here (`fit`), a language model's in `factory.slm`.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from factory.errors import Interrupted, Stopped
from factory.train import checkpoint
from factory.train.batches import Update, epoch, passes
from factory.train.losses import Loss
from factory.train.model import last_layer, layers, padded
from factory.train.pace import Pace as Pace
from factory.train.recipe import Recipe
from factory.train.team import Team
from factory.train.work import How, Work
from factory.train.work import Progress as Progress
from factory.train.work import Report as Report

Floats = NDArray[np.floating[Any]]
Tokens = Sequence[Mapping[str, Sequence[int]]]
CHECKPOINT_SECONDS = 300.0
AVERAGED_EVERY = 5  # updates between two looks of the average at the weights, in long trainings
SHORT = 500  # updates of a training in which it looks at each
CLIP = 1.0
BEST = "best.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is learnt: rows as tokens, their targets [rows, classes], what an error costs, and the validation rows with what
    their logits [rows, classes] are worth."""

    tokens: Tokens
    targets: Floats
    loss: Loss
    validation: Tokens
    score: Callable[[Floats], float]


def learn(
    model: Any,
    work: Work,
    how: How,
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
    optimiser, average = work.optimiser(), Average(model, how.average)
    before = checkpoint.resumed(folder, model, optimiser, average.kept)
    progress = Progress(**before) if before else Progress()
    progress.precision = progress.precision or team.told(work.precision())
    work.settle(progress.precision)
    bf16, device = progress.precision == "bf16", next(model.parameters()).device
    updates = work.updates * how.epochs
    mine = [parameter for parameter in model.parameters() if parameter.requires_grad]
    pace = Pace(work.rows, work.read, how, progress)
    saved = time.monotonic()

    while progress.epoch < how.epochs and not progress.finished:
        model.train()
        for place, update in enumerate(work.epoch(progress)):
            if place < progress.place:
                continue
            torch.manual_seed((how.seed * 1_000_003 + progress.update) * team.size + team.number)
            rate = _set_rates(optimiser, progress.update, updates, how)
            terms = torch.zeros(len(work.terms), device=device)
            for some in update.passes:
                with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                    part = work.cost(list(some), update)
                part.sum().backward()
                terms += part.detach()
            team.add_gradients(mine)
            *each, stopping = team.sums(*terms, stop())  # together, so that all processes stop at the same update
            loss_now = sum(each)
            if not math.isfinite(loss_now):
                raise Stopped(
                    f"the loss is {loss_now} at update {progress.update + 1}; begin anew with a smaller learning rate or fp32: "
                    "FRESH=1 SET='learning_rate=5e-5 precision=fp32'"
                )
            torch.nn.utils.clip_grad_norm_(mine, CLIP)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            progress.update, progress.place, progress.loss = progress.update + 1, place + 1, progress.loss + loss_now
            progress.terms = [sum(two) for two in zip(progress.terms or [0.0] * len(each), each, strict=True)]
            average.see(progress.update, updates)
            pace.learnt(update.rows)
            watch(pace.report(progress, updates, loss_now, rate, terms=dict(zip(work.terms, each, strict=True))))
            if stopping or (team.main and time.monotonic() - saved > checkpoint_seconds):
                if team.main:
                    checkpoint.save(folder, _name(progress), model, optimiser, average.kept, asdict(progress))
                saved = time.monotonic()
            if stopping:
                raise Interrupted("training was asked to stop and a checkpoint is written; go on with the same command")
        mean_loss = progress.loss / max(1, progress.place)
        with average.shown():
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                score = team.told(work.score() if team.main else None)
            pace.measured()
            watch(pace.report(progress, updates, mean_loss, 0.0, score))
            if progress.scored(mean_loss, score, how.patience) and team.main:
                checkpoint.write(folder / BEST, checkpoint.learnt(model))
        if team.main:
            checkpoint.save(folder, _name(progress), model, optimiser, average.kept, asdict(progress))
        saved = time.monotonic()

    if how.keep == "best" and team.main:
        checkpoint.put(model, checkpoint.read(folder / BEST))
    elif how.keep == "last":
        average.put()
    return progress


def _name(progress: Progress) -> str:
    return f"state-{progress.update}-{progress.epoch}.safetensors"


# An encoder's work ----------------------------------------------------------------------------------------------------------


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
    """Train an encoder in place, as `learn` says."""
    work = _Encoding(model, tokenizer, task, recipe, team)
    return learn(model, work, recipe, folder, team, watch, stop, checkpoint_seconds)


class _Encoding:
    """Rows through an encoder, batches of like length, one loss."""

    terms = ("loss",)

    def __init__(self, model: Any, tokenizer: Any, task: Task, recipe: Recipe, team: Team) -> None:
        self._model, self._tokenizer, self._task, self._recipe, self._team = model, tokenizer, task, recipe, team
        self._fixed = recipe.max_length if recipe.fixed_length else 0
        self._lengths = [self._fixed or len(row["input_ids"]) for row in task.tokens]
        self._device = next(model.parameters()).device
        self._targets = torch.as_tensor(np.asarray(task.targets, np.float32), device=self._device)
        self._running = torch.compile(model, dynamic=True) if recipe.compile else model
        self._bf16 = False
        self.rows, self.read = len(task.tokens), len(task.validation)
        self.updates = math.ceil(self.rows / recipe.batch)

    def optimiser(self) -> torch.optim.Optimizer:
        return _optimiser(self._model, self._recipe)

    def precision(self) -> str:
        return chosen_precision(self._model, self._tokenizer, self._task, self._recipe)

    def settle(self, precision: str) -> None:
        self._bf16 = precision == "bf16"

    def epoch(self, progress: Progress) -> Iterable[Update]:
        part, made = (self._team.number, self._team.size), self._recipe
        return epoch(self._lengths, made.batch, made.token_budget, made.seed, progress.epoch, part)

    def cost(self, rows: list[int], update: Update) -> Tensor:
        batch = padded([self._task.tokens[n] for n in rows], self._tokenizer, self._fixed)
        found = self._running(**{name: tensor.to(self._device) for name, tensor in batch.items()}).logits
        with torch.autocast(self._device.type, enabled=False):
            return (self._task.loss(found.float(), self._targets[rows]).sum() / update.rows).view(1)

    def score(self) -> float:
        return self._task.score(logits(self._model, self._tokenizer, self._task.validation, bf16=self._bf16))


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


def _set_rates(optimiser: torch.optim.Optimizer, update: int, updates: int, recipe: How) -> float:
    """Every group at its share of its highest rate; gives that of the layers below the last."""
    share = rate_share(update, updates, recipe)
    for group in optimiser.param_groups:
        group["lr"] = group["highest"] * share
    return recipe.learning_rate * share


def rate_share(update: int, updates: int, recipe: How) -> float:
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
