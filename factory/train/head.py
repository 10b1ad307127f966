"""A head on frozen embeddings: the encoder reads every row once, then only its last linear layer learns.

The one place where interpolated rows (ISMOTE) can be used: a point between two embeddings is no text.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear

from factory.errors import Interrupted
from factory.taxonomy import LABELS, NEUTRAL
from factory.train import imbalance
from factory.train.loop import Task, Tokens, logits
from factory.train.model import last_layer
from factory.train.pace import Pace
from factory.train.recipe import Recipe
from factory.train.work import Progress, Report

Floats = NDArray[np.floating[Any]]
AT_ONCE = 256


def embeddings(model: Any, tokenizer: Any, tokens: Tokens, stop: Callable[[], bool] = lambda: False) -> Tensor:
    """[rows, width]: what the last layer sees of each row, without dropout."""
    seen: list[Tensor] = []
    sizes = [len(row["input_ids"]) for row in tokens]
    hook = last_layer(model).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].float().cpu()))
    try:
        order = sorted(range(len(tokens)), key=lambda n: sizes[n])
        made: list[Tensor] = []
        for start in range(0, len(order), AT_ONCE):
            _go_on(stop)
            some = order[start : start + AT_ONCE]
            seen.clear()
            logits(model, tokenizer, [tokens[n] for n in some])  # in order of length, so in one order however it is cut
            made.append(torch.cat(seen))
    finally:
        hook.remove()
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(made)[back]


def fit(
    model: Any,
    tokenizer: Any,
    task: Task,
    hard: Floats,
    recipe: Recipe,
    watch: Callable[[Report], None] = lambda report: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Progress, str]:
    """Trains the last layer alone and says in a sentence which rows were made; `hard` are the 0/1 labels of the rows.

    A few seconds an epoch, so it starts anew after an interruption.
    """
    device = next(model.parameters()).device
    rows, held = (embeddings(model, tokenizer, tokens, stop).to(device) for tokens in (task.tokens, task.validation))
    wanted = torch.as_tensor(np.asarray(task.targets, np.float32), device=device)
    weights, note = torch.ones(len(rows), device=device), ""
    if recipe.sampling == "ismote":
        neutral = LABELS.index(NEUTRAL) if hard.shape[1] == len(LABELS) else -1
        made = imbalance.ismote(rows.cpu().numpy(), hard, recipe.seed, recipe.ismote, neutral)
        note = (
            f"ismote ({recipe.ismote}): {len(made.place):,} rows were made between training rows of rare labels, "
            f"{made.refused:,} were refused for what lies around them"
        )
        rows = torch.cat([rows, torch.as_tensor(made.embeddings, device=device)])
        wanted = torch.cat([wanted, torch.as_tensor(made.targets, dtype=torch.float32, device=device)])
        weights = torch.cat([weights, torch.full((len(made.place),), imbalance.WEIGHT, device=device)])
    layer, progress = last_layer(model), Progress(precision="fp32")
    optimiser = torch.optim.AdamW(
        layer.parameters(), lr=recipe.head_rate or recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    pace = Pace(len(rows), len(held), recipe, progress)
    best = {name: value.clone() for name, value in layer.state_dict().items()}
    while progress.epoch < recipe.epochs and not progress.finished:
        draw = np.random.default_rng((recipe.seed, progress.epoch))
        for at in torch.as_tensor(draw.permutation(len(rows)), device=device).split(recipe.batch):
            _go_on(stop)
            each = task.loss(linear(rows[at], layer.weight, layer.bias), wanted[at]) * weights[at]
            each.mean().backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            progress.update, progress.loss = progress.update + 1, progress.loss + float(each.detach().sum())
            pace.learnt(len(at))
        with torch.no_grad():
            score = task.score(linear(held, layer.weight, layer.bias).cpu().numpy())
        pace.measured()
        loss = progress.loss / len(rows)
        watch(pace.report(progress, -(-len(rows) // recipe.batch) * recipe.epochs, loss, 0.0, score))
        if progress.scored(loss, score, recipe.patience):
            best = {name: value.clone() for name, value in layer.state_dict().items()}
    if recipe.keep == "best":
        layer.load_state_dict(best)
    return progress, note


def _go_on(stop: Callable[[], bool]) -> None:
    if stop():
        raise Interrupted("training was asked to stop; a head alone begins anew with the same command")
