"""Curves of a training for TensorBoard, where it is installed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from factory.train.work import Report

EVERY = 10  # updates between two points


class Curves:
    """Writes into a folder, from the first report on; a resumed training goes on where it was."""

    def __init__(self, folder: Path, score: str = "macro_f1") -> None:
        self._score = score
        self._folder = folder if find_spec("tensorboard") else None
        self._writer: Any = None

    def __call__(self, report: Report) -> None:
        if self._folder is None:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=report.update)
        if report.score is not None:
            self._writer.add_scalar(f"validation/{self._score}", report.score, report.update)
            self._writer.add_scalar("train/loss_of_epoch", report.loss, report.update)
            self._writer.flush()
        elif report.update % EVERY == 0:
            self._writer.add_scalar("train/loss", report.loss, report.update)
            for name, value in report.terms.items() if len(report.terms) > 1 else ():
                self._writer.add_scalar(f"train/{name}", value, report.update)
            self._writer.add_scalar("train/learning_rate", report.learning_rate, report.update)
            self._writer.add_scalar("train/rows_per_second", report.rows_per_second, report.update)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
