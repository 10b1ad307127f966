"""The terms of the loss beside plain language modelling; ours, inspired by EmoLoom-2B (METHODS 5.2).

    L = L_LM(prompt masked) + l_c * L_cls + l_v * ||m * (v - t)||^2 + l_p * L_pres + l_a * L_app

Labels, VAD and appraisals are read from a linear head on the last token of the prompt, so they do not depend on how an
answer is decoded. Each function gives one number a row; a row that lacks what a term needs has 0 there.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from factory.train.losses import cross_entropy

LEAST_MASS = 1.0  # probability of covered words, summed over a rationale, from which it implies a VAD at all
CLEAR = 0.1  # how far from 0.5 the guide must be to be followed
EPS = 1e-6


def labels(logits: Tensor, hard: Tensor) -> Tensor:
    """L_cls: binary cross-entropy, the mean over the labels; both [rows, 28]."""
    return cross_entropy(logits, hard)


def vad(logits: Tensor, target: Tensor) -> Tensor:
    """||m * (sigmoid(logits) - t)||^2; both [rows, 3], `target` in 0..1 with NaN where it is not known."""
    return _distance(logits.sigmoid(), target)


def implied(logits: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """The VAD [3] that a rationale implies, and the mass of the words behind it.

    `logits` [tokens, vocabulary] of its positions; `table` [vocabulary, 4] has V, A, D and 1 of tokens that are covered
    words, else 0. VAD = sum_j sum_w p_j(w) c(w) E(w) / max(eps, sum_j sum_w p_j(w) c(w)).
    """
    found = (logits.float().softmax(dim=-1) @ (table * table[:, 3:])).sum(dim=0)
    return found[:3] / found[3].clamp(min=EPS), found[3]


def preserved(logits: Tensor, table: Tensor, target: Tensor) -> Tensor:
    """L_pres of one row: ||m * (implied - t)||^2, and nothing where the covered mass is not above 1."""
    said, mass = implied(logits, table)
    return _distance(said[None], target[None])[0] * (mass > LEAST_MASS)


def guided(logits: Tensor, guide: Tensor) -> Tensor:
    """L_app: sum_k 1[|g_k - .5| > .1] BCE(h_k, g_k) / max(1, n_used); both [rows, 4], `guide` NaN where it says nothing."""
    used = ((guide - 0.5).abs() > CLEAR + EPS) & ~guide.isnan()
    each = binary_cross_entropy_with_logits(logits, torch.where(used, guide, 0.5), reduction="none")
    return (each * used).sum(dim=1) / used.sum(dim=1).clamp(min=1)


def _distance(said: Tensor, target: Tensor) -> Tensor:
    known = ~target.isnan()
    return ((said - torch.where(known, target, 0.0)) * known).square().sum(dim=1)
