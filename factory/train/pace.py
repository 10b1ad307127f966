"""How quickly a training goes, and how long it will take."""

import time
from collections.abc import Callable, Mapping

from factory.train.work import How, Progress, Report

FORWARD = 1 / 3  # what a row costs that is only read, beside one that is learnt from


class Pace:
    """How quickly it goes and how long it will take, counted in rows that are learnt from; those that are only read after
    every epoch are part of it. Epochs that patience may spare are not known beforehand."""

    def __init__(
        self, rows: int, read: int, recipe: How, progress: Progress, now: Callable[[], float] = time.monotonic
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

    def report(
        self,
        progress: Progress,
        updates: int,
        loss: float,
        rate: float,
        score: float | None = None,
        terms: Mapping[str, float] | None = None,
    ) -> Report:
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
            terms=terms or {},
        )
