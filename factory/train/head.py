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

from factory.taxonomy import LABELS, NEUTRAL
from factory.train import imbalance
from factory.train.loop import Progress, Tokens, logits
from factory.train.losses import Loss
from factory.train.model import last_layer
from factory.train.recipe import Recipe

Floats = NDArray[np.floating[Any]]


def embeddings(model: Any, tokenizer: Any, tokens: Tokens) -> Tensor:
    """[rows, width]: what the last layer sees of each row, without dropout."""
    seen: list[Tensor] = []
    sizes = [len(row["input_ids"]) for row in tokens]
    hook = last_layer(model).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].float().cpu()))
    try:
        order = sorted(range(len(tokens)), key=lambda n: sizes[n])
        made: list[Tensor] = []
        for start in range(0, len(order), 256):
            some = order[start : start + 256]
            logits(model, tokenizer, [tokens[n] for n in some], token_budget=max(16384, 256 * sizes[some[-1]]))
            made.append(torch.cat(seen))
            seen.clear()
    finally:
        hook.remove()
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(made)[back]


def fit(
    model: Any,
    tokenizer: Any,
    tokens: Tokens,
    targets: Floats,
    hard: Floats,
    loss: Loss,
    recipe: Recipe,
    score: Callable[[Any], float],
) -> Progress:
    """Trains the last layer alone; a few seconds an epoch, so it starts anew after an interruption."""
    rows = embeddings(model, tokenizer, tokens)
    wanted, weights = torch.as_tensor(np.asarray(targets, np.float32)), torch.ones(len(rows))
    if recipe.sampling == "ismote":
        neutral = LABELS.index(NEUTRAL) if hard.shape[1] == len(LABELS) else -1
        made = imbalance.ismote(rows.numpy(), hard, recipe.seed, neutral=neutral)
        rows = torch.cat([rows, torch.as_tensor(made.embeddings)])
        wanted = torch.cat([wanted, torch.as_tensor(made.targets)])
        weights = torch.cat([weights, torch.full((len(made.place),), imbalance.WEIGHT)])
    layer, progress = last_layer(model), Progress()
    optimiser = torch.optim.AdamW(layer.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    best = {name: value.clone() for name, value in layer.state_dict().items()}
    for number in range(recipe.epochs):
        order = torch.as_tensor(np.random.default_rng((recipe.seed, number)).permutation(len(rows)))
        total = 0.0
        for at in order.split(recipe.batch):
            each = loss(linear(rows[at], layer.weight, layer.bias), wanted[at]) * weights[at]
            each.mean().backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            total += float(each.detach().sum())
        progress.losses.append(total / len(rows))
        progress.scores.append(score(model))
        if progress.scores[-1] > progress.best:
            progress.best, progress.best_epoch = progress.scores[-1], number
            best = {name: value.clone() for name, value in layer.state_dict().items()}
        elif recipe.patience and number - progress.best_epoch >= recipe.patience:
            break
    layer.load_state_dict(best)
    return progress
