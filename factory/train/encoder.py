"""From a dataset to a model folder: rows to tokens, training, thresholds on validation, one look at test, files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from numpy.typing import NDArray

from factory import __version__
from factory.benchmarks import metrics
from factory.files import write_atomic
from factory.train import data, head, imbalance, keep, loop, model, model_card, team, thresholds
from factory.train.course import QUIET, Watcher, attend, over_seeds
from factory.train.losses import loss_of
from factory.train.recipe import Recipe, for_rows
from factory.train.records import PARTS, Dataset, Examples
from factory.train.work import Progress, Report

Floats = NDArray[np.floating[Any]]
REWRITTEN = "rewritten"  # rows whose feeling only their context shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One finished model: its folder, and what was measured."""

    folder: Path
    seed: int
    validation: float  # macro-F1 with the thresholds that were tuned there
    test: metrics.Score | None  # macro-F1 with a 95% interval; None where there is no test part
    record: Mapping[str, Any]


def train(
    spec: str,
    out: Path,
    made: Recipe,
    seeds: Sequence[int] = (0,),
    watcher: Watcher = QUIET,
    *,
    fresh: bool = False,
    checkpoint_seconds: float = loop.CHECKPOINT_SECONDS,
) -> list[Trained]:
    """Trains a model for each seed, in OUT itself or, where there are several, in OUT/seed-N; the same call resumes.

    Raises WrongRequest before anything is written where the data, the base or a setting cannot be, Interrupted when asked to
    stop. In a team of processes only the main one gives back what was trained.
    """
    mates = team.here()
    course = Classes(spec, made, mates)
    folders = attend(course, out, seeds, mates, watcher, checkpoint_seconds, read={"INIT": made.init}, fresh=fresh)
    return [_finished(folder) for folder in folders]


def _finished(folder: Path) -> Trained:
    record = keep.record(folder / keep.DONE)
    results = record["results"]
    test = results.get("test")
    return Trained(
        folder=folder,
        seed=record["recipe"]["seed"],
        validation=results["validation"]["macro_f1"]["value"],
        test=metrics.Score(**test["macro_f1"]) if test else None,
        record=record,
    )


class Classes:
    """The course of an encoder that classifies: a dataset, and what a model of a seed is."""

    score, more = "macro_f1", ()

    def __init__(self, spec: str, made: Recipe, mates: team.Team) -> None:
        self._spec, self._made, self._mates = spec, made, mates
        self.defaults = {field.name: field.default for field in fields(Recipe)}

    @cached_property
    def _loaded(self) -> Dataset:
        return data.load(self._spec, self._made.view, self._made.context, self._made.fold)

    @property
    def says(self) -> Sequence[str]:
        return [data.described(self._loaded), *(f"  {note}" for note in self._loaded.notes)]

    def plan(self, seed: int) -> Mapping[str, Any]:
        made = replace(self._made, seed=seed)
        return {"recipe": asdict(made), "data": self._spec, "fingerprint": self._loaded.fingerprint()}

    def lesson(self, seed: int) -> "Lesson":
        return Lesson(self._loaded, replace(self._made, seed=seed), self._mates)

    def summary(self, records: Sequence[Mapping[str, Any]]) -> Mapping[str, bytes]:
        each = [record["results"] for record in records]
        told = over_seeds(
            records, "macro_f1", [one.get("test", one["validation"])["macro_f1"]["value"] for one in each]
        )
        card = model_card.of_seeds(records[0], told)
        return {keep.SEEDS: orjson.dumps(told, option=orjson.OPT_INDENT_2), keep.CARD: card.encode()}


class Lesson:
    """One encoder with its head, on its device, and the training part as the recipe wants it."""

    def __init__(self, loaded: Dataset, made: Recipe, mates: team.Team) -> None:
        torch.manual_seed(made.seed)
        train, notes = _sampled(loaded.train, made)
        found = model.load(
            made.init or made.base,
            loaded.classes,
            revision=made.revision,
            dropout=made.dropout,
            pairs=loaded.contextual,
            mean_layer=made.mean_layer,
            name="INIT" if made.init else "BASE",
        )
        self.origin = model.digest(found.model)
        if made.prior and found.new_head:
            model.start_at(found.model, train.hard.mean(axis=0).tolist())
        made = for_rows(made, loaded.contextual)
        most = model.longest(found.model, found.tokenizer)
        if made.max_length > most:
            notes.append(f"rows are cut at {most} tokens, the most that {made.init or made.base} reads")
        self._recipe = made = replace(  # with what depends on the rows and the base filled in
            made,
            max_length=min(made.max_length, most),
            head_rate=made.head_rate if found.new_head or made.freeze else 0.0,
        )
        self._loaded, self._train, self._mates = loaded, train, mates
        self.notes = tuple(notes)
        self._net, self._tokenizer = found.model.to(mates.device), found.tokenizer
        self._shown = model.Shown(
            tokenizer=found.tokenizer, max_length=made.max_length, token_types=model.segments(found.model)
        )
        self._use = made.thresholds if loaded.multi else "argmax"

    def _tokens(self, part: Examples) -> loop.Tokens:
        return self._shown.tokens(part.texts, part.contexts)

    def learn(
        self, work: Path, report: Callable[[Report], None], stops: Callable[[], bool], checkpoint_seconds: float
    ) -> Progress:
        made, mates, rows = self._recipe, self._mates, self._train
        weight = imbalance.pos_weight(rows.hard, made.pos_weight)
        task = loop.Task(
            tokens=self._tokens(rows),
            targets=rows.soft if made.loss == "soft" else rows.hard,
            loss=loss_of(
                made, None if weight is None else torch.as_tensor(weight, dtype=torch.float32, device=mates.device)
            ),
            validation=self._tokens(self._loaded.validation),
            score=self._score,
        )
        if not made.freeze:
            return loop.fit(self._net, self._tokenizer, task, made, work, mates, report, stops, checkpoint_seconds)
        if not mates.main:
            return Progress()
        progress, note = head.fit(self._net, self._tokenizer, task, rows.hard, made, report, stops)
        self.notes += (note,) if note else ()
        return progress

    def _score(self, found: Floats) -> float:
        said, truth = _sigmoid(found), self._loaded.validation.hard
        return thresholds.macro_f1(thresholds.tuned(said, truth, self._loaded.classes, self._use, "").keep(said), truth)

    def finish(self, apart: Path, record: Mapping[str, Any]) -> dict[str, Any]:
        made, loaded = self._recipe, self._loaded
        kept, results = self._judged()
        whole = {
            **record,
            "factory": __version__,
            "classes": list(loaded.classes),
            "multi": loaded.multi,
            "rows": {part: len(getattr(loaded, part)) for part in PARTS} | {"trained_on": len(self._train)},
            "notes": [*loaded.notes, *self.notes],
            "licence": loaded.licence,
            "base": made.init or made.base,
            "init": made.init,
            "max_length": made.max_length,
            "batch": made.batch,
            "context": loaded.contextual,
            "results": results,
            "torch": torch.__version__,
        }
        told = {
            "use": kept.use,
            "global": kept.shared,
            "per_class": dict(zip(kept.classes, kept.per_class, strict=True)),
            "temperature": kept.temperature,
            "tuned_on": kept.tuned_on,
            "max_length": made.max_length,
            "pair": "context" if loaded.contextual else "none",
        }
        model.save(self._net, self._tokenizer, apart, {"thresholds.json": told})
        write_atomic(apart / keep.CARD, model_card.written(whole, kept).encode())
        return whole

    def _judged(self) -> tuple[thresholds.Thresholds, dict[str, Any]]:
        """Temperature, then thresholds, from validation alone; then each part is measured with them, test for the first
        time."""
        loaded = self._loaded
        held = {part: getattr(loaded, part) for part in PARTS[1:] if len(getattr(loaded, part))}
        logits = {part: loop.logits(self._net, self._tokenizer, self._tokens(one)) for part, one in held.items()}
        warmth = thresholds.temperature(logits["validation"], loaded.validation.hard)
        said = {part: _sigmoid(one / warmth) for part, one in logits.items()}
        kept = thresholds.tuned(
            said["validation"], loaded.validation.hard, loaded.classes, self._use, f"{loaded.name} validation"
        )
        kept = replace(kept, temperature=warmth)
        found = {part: _measured(said[part], one.hard, kept, loaded.classes) for part, one in held.items()}
        rewritten = [row for row, kind in enumerate(loaded.test.kinds) if kind == REWRITTEN]
        if rewritten:
            found["test_rewritten"] = _measured(
                said["test"][rewritten], loaded.test.hard[rewritten], kept, loaded.classes
            )
        return kept, found


def _sampled(train: Examples, made: Recipe) -> tuple[Examples, list[str]]:
    """Fewer rows, then sampled; only ever the training part, long after the split."""
    notes = []
    if made.limit and made.limit < len(train):
        notes.append(f"{made.limit:,} of the {len(train):,} training rows are learnt from")
        train = data.subset(train, made.limit, made.seed)
    if made.sampling in ("undersample", "oversample"):
        sample = imbalance.undersampled if made.sampling == "undersample" else imbalance.oversampled
        rows = sample(train.hard, made.seed)
        notes.append(f"{made.sampling}: {len(train):,} training rows became {len(rows):,}")
        train = train.take(rows)
    return train, notes


def _measured(
    probabilities: Floats, truth: Floats, kept: thresholds.Thresholds, classes: Sequence[str]
) -> dict[str, Any]:
    """What is known of one part: macro-F1 with its interval, micro-F1, average precision, calibration, and per class."""
    chosen = kept.keep(probabilities)
    found = metrics.multilabel(truth >= 0.5, chosen, probabilities, classes)
    return {**found, "calibration_error": thresholds.calibration_error(probabilities, truth)}


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))
