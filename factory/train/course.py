"""A training from what is asked for to finished folders: the same for all that is trained here, whatever it learns.

What is wrong is said before anything is written; each seed gets its folder; a folder with a record is a finished model.
"""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from factory.files import write_atomic
from factory.train import keep
from factory.train.curves import Curves
from factory.train.team import Team
from factory.train.work import Progress, Report

CURVES = "tensorboard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Where news of a training goes; all of them may be ignored."""

    says: Callable[[str], None] = lambda line: None
    reports: Callable[[Report], None] = lambda report: None
    stops: Callable[[], bool] = lambda: False


QUIET = Watcher()


class Lesson(Protocol):
    """One model and its rows, ready to be trained; nothing has been written yet."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth saying before it begins."""

    @property
    def origin(self) -> str:
        """The content of the models that it goes on from or is taught by; their names may come to mean others."""

    def learn(
        self, work: Path, report: Callable[[Report], None], stops: Callable[[], bool], checkpoint_seconds: float
    ) -> Progress:
        """Trains, with checkpoints in `work`."""

    def finish(self, apart: Path, record: Mapping[str, Any]) -> dict[str, Any]:
        """Measures, test for the first time, writes the model and its card into `apart`, and gives the record with what it
        adds to it."""


class Course(Protocol):
    """What is trained, for any seed."""

    @property
    def says(self) -> Sequence[str]:
        """Lines on its data."""

    @property
    def score(self) -> str:
        """What validation is scored by, as a curve is named."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Of its recipe, for records that are older than a setting."""

    @property
    def more(self) -> Sequence[str]:
        """Folders that may stand beside the files of a model, which FRESH throws away too."""

    def plan(self, seed: int) -> Mapping[str, Any]:
        """`recipe`, `data` as asked for, and `fingerprint` of what is learnt from."""

    def lesson(self, seed: int) -> Lesson:
        """The model of this seed before its first update."""

    def summary(self, records: Sequence[Mapping[str, Any]]) -> Mapping[str, bytes]:
        """Files over several seeds by name, `keep.SEEDS` with their figures among them."""


def attend(
    course: Course,
    out: Path,
    seeds: Sequence[int],
    mates: Team,
    watcher: Watcher,
    checkpoint_seconds: float,
    *,
    read: Mapping[str, str],
    fresh: bool = False,
) -> list[Path]:
    """The folders of the finished models, in OUT itself or, where there are several, in OUT/seed-N; the same call resumes.

    `read`: the folders of models that it goes on from or is taught by, by the names of their settings; OUT may be none of
    them. Raises WrongRequest before anything is written, Interrupted when asked to stop. In a team of processes only the main
    one gives folders back.
    """
    if not mates.main:
        watcher = Watcher(stops=watcher.stops)
    folders = {seed: out if len(seeds) == 1 else out / f"seed-{seed}" for seed in seeds}
    keep.refuse_other(out, folders.values())
    keep.refuse_loss(out, read)
    if not fresh:
        keep.refuse_mixed(out, several=len(seeds) > 1)
        for seed, folder in folders.items():
            keep.refuse_another(folder, course.plan(seed), course.defaults)
    waiting = [seed for seed, folder in folders.items() if fresh or not (folder / keep.DONE).exists()]
    ready = {seed: course.lesson(seed) for seed in waiting[:1]}  # what is wrong is said before anything is written
    with keep.alone_in(out) if mates.main else nullcontext():
        if fresh and mates.main:
            keep.throw_away(out, (CURVES, *course.more))
        for line in course.says:
            watcher.says(line)
        mates.told(None)  # the others wait here until the folder is ours
        for seed, folder in folders.items():
            if mates.told((folder / keep.DONE).exists()):
                watcher.says(f"{folder} is finished already")
                continue
            lesson = ready.pop(seed, None) or course.lesson(seed)
            _taken(lesson, folder, course.plan(seed), course.score, mates, watcher, checkpoint_seconds)
            del lesson  # a model at a time
        if mates.main and len(folders) > 1:
            records = [keep.record(folder / keep.DONE) for folder in folders.values()]
            files = course.summary(records)
            for name in sorted(files, key=lambda name: name != keep.SEEDS):  # beside it the others are known as ours
                write_atomic(out / name, files[name])
    return list(folders.values()) if mates.main else []


def _taken(
    lesson: Lesson,
    folder: Path,
    plan: Mapping[str, Any],
    score: str,
    mates: Team,
    watcher: Watcher,
    checkpoint_seconds: float,
) -> None:
    """One model, trained and written; processes beside the main one only help with the first."""
    for note in lesson.notes:
        watcher.says(f"  {note}")
    work = keep.begin(folder, plan, lesson.origin) if mates.main else folder / keep.WORK
    mates.told(None)
    curves = Curves(folder / CURVES, score) if mates.main else None

    def report(one: Report) -> None:
        if curves is not None:
            curves(one)
        watcher.reports(one)

    try:
        progress = lesson.learn(work, report, watcher.stops, checkpoint_seconds)
    finally:
        if curves is not None:
            curves.close()
    if not mates.main:
        return
    apart = work / "model"
    shutil.rmtree(apart, ignore_errors=True)
    history = {"loss": progress.losses, "score": progress.scores, "best_epoch": progress.best_epoch + 1}
    record = {**plan, "precision": progress.precision, "processes": mates.size, "history": history}
    keep.put(apart, folder, lesson.finish(apart, record))


def over_seeds(records: Sequence[Mapping[str, Any]], name: str, scores: Sequence[float]) -> dict[str, Any]:
    """What SEEDS says: the score of each model, with its mean and spread; of test, or of validation where there is no test."""
    mean = sum(scores) / len(scores)
    return {
        "seeds": [record["recipe"]["seed"] for record in records],
        "part": "test" if "test" in records[0]["results"] else "validation",
        name: list(scores),
        "mean": mean,
        "standard_deviation": math.sqrt(sum((one - mean) ** 2 for one in scores) / (len(scores) - 1)),
    }
