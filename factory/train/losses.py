"""Losses of a multi-label head. Each takes logits and targets [rows, labels] and gives one number a row, the mean over
its labels, so that rows can be weighted and batches cut into passes without changing the sum.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from factory.train.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]


def loss_of(recipe: Recipe, pos_weight: Tensor | None = None) -> Loss:
    """The recipe's loss; `soft` is cross-entropy on soft targets, so what differs is what the data gives it."""
    if recipe.loss == "focal":
        alpha = torch.full((), recipe.alpha)
        return lambda logits, targets: focal(logits, targets, alpha, recipe.gamma, pos_weight)
    if recipe.loss == "asl":
        return lambda logits, targets: asymmetric(
            logits, targets, recipe.gamma_positive, recipe.gamma_negative, recipe.clip, pos_weight
        )
    return lambda logits, targets: cross_entropy(logits, targets, pos_weight)


def cross_entropy(logits: Tensor, targets: Tensor, pos_weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, also for targets between 0 and 1; `pos_weight` [labels] weighs what is present."""
    return binary_cross_entropy_with_logits(logits, targets, pos_weight=pos_weight, reduction="none").mean(dim=1)


def focal(
    logits: Tensor, targets: Tensor, alpha: Tensor, gamma: float = 2.0, pos_weight: Tensor | None = None
) -> Tensor:
    """alpha_t (1 - p_t)^gamma BCE (Lin et al. 2017; per-label `alpha` [labels] as in the imbalance recipe, METHODS 6.1)."""
    probability = logits.sigmoid()
    right = targets * probability + (1 - targets) * (1 - probability)
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    plain = binary_cross_entropy_with_logits(logits, targets, pos_weight=pos_weight, reduction="none")
    return (weight * (1 - right) ** gamma * plain).mean(dim=1)


def asymmetric(
    logits: Tensor,
    targets: Tensor,
    gamma_positive: float = 0.0,
    gamma_negative: float = 2.0,
    clip: float = 0.05,
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Ridnik et al. 2021, equations 4 to 6: absent labels lose weight faster than present ones, and those with a
    probability below `clip` have none at all."""
    present = logsigmoid(logits) * (1 - logits.sigmoid()) ** gamma_positive
    shifted = (logits.sigmoid() - clip).clamp(min=0)
    absent = torch.log((1 - shifted).clamp(min=1e-8)) * shifted**gamma_negative
    if pos_weight is not None:
        present = present * pos_weight
    return -(targets * present + (1 - targets) * absent).mean(dim=1)
