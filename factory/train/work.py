"""What passes between the training loop and what is trained: the recipe as the loop reads it, the work, and news of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from factory.train.batches import Update


class How(Protocol):
    """What the loop reads of a recipe, whosever it is."""

    @property
    def epochs(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def warmup(self) -> float: ...
    @property
    def schedule(self) -> str: ...
    @property
    def average(self) -> float: ...
    @property
    def patience(self) -> int: ...
    @property
    def keep(self) -> str: ...
    @property
    def seed(self) -> int: ...


class Work(Protocol):
    """What is learnt, as the loop sees it: updates, what their rows cost, and what the validation part says."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the parts of the loss."""

    @property
    def rows(self) -> int:
        """That an epoch learns from."""

    @property
    def read(self) -> int:
        """Rows that are only read after every epoch."""

    @property
    def updates(self) -> int:
        """Of an epoch."""

    def optimiser(self) -> torch.optim.Optimizer: ...

    def precision(self) -> str:
        """'bf16' or 'fp32', as asked for or as measured; asked once, before the first update."""

    def settle(self, precision: str) -> None:
        """Get ready to be trained in that."""

    def epoch(self, progress: "Progress") -> Iterable[Update]:
        """The updates of epoch `progress.epoch`: the same each time it is asked with what `progress.looks` holds, to which
        it may add."""

    def cost(self, rows: list[int], update: Update) -> Tensor:
        """[terms]: the share of these rows, one pass of an update, in its loss, which is the sum over passes and terms."""

    def score(self) -> float:
        """What the validation part is worth, more being better."""


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
    terms: Mapping[str, float] = field(default_factory=dict)  # parts of the loss, where it has several


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
    terms: list[float] = field(default_factory=list)  # sums over the updates of this epoch, as `loss`
    terms_by_epoch: list[list[float]] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)  # what was measured on the way to choose rows by

    def scored(self, loss: float, score: float, patience: int) -> bool:
        """An epoch has ended: is it the best so far? Ends training when `patience` epochs in a row were none."""
        better = score > self.best
        if better:
            self.best, self.best_epoch = score, self.epoch
        self.losses.append(loss)
        self.scores.append(score)
        self.terms_by_epoch.append([term / max(1, self.place) for term in self.terms])
        self.terms = []
        self.finished = bool(patience) and self.epoch - self.best_epoch >= patience
        self.epoch, self.place, self.loss = self.epoch + 1, 0, 0.0
        return better
