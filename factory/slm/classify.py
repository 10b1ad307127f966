"""MODE=classify: a causal language model read as a multi-label classifier, by a head on its last token (METHODS 6.1).

What it learns from, the loop, thresholds and measures are those of an encoder; what learns is a LoRA adapter and the head.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from factory import __version__
from factory.benchmarks import metrics
from factory.slm import base, card, recipe
from factory.slm.recipe import SlmRecipe, alphas
from factory.train import data, loop, model, model_card, team, thresholds
from factory.train.losses import Loss, cross_entropy, focal
from factory.train.recipe import Recipe
from factory.train.records import PARTS, Dataset, Examples
from factory.train.work import Progress, Report

Floats = NDArray[np.floating[Any]]


class Classes:
    """The course of a model that classifies."""

    score = "macro_f1"

    def __init__(self, spec: str, made: SlmRecipe, mates: team.Team) -> None:
        self._spec, self._made, self._mates = spec, made, mates
        self.more, self.defaults = (base.MERGED,), {field.name: field.default for field in fields(SlmRecipe)}
        self._loaded = data.load(spec, made.view, made.context, made.fold)
        self.says = [data.described(self._loaded), *(f"  {note}" for note in self._loaded.notes)]

    def plan(self, seed: int) -> Mapping[str, Any]:
        return {
            "recipe": asdict(replace(self._made, seed=seed, merge=False)),
            "data": self._spec,
            "fingerprint": self._loaded.fingerprint(),
        }

    def lesson(self, seed: int) -> "Lesson":
        return Lesson(self._loaded, replace(self._made, seed=seed), self._mates)

    def summary(self, records: Sequence[Mapping[str, Any]]) -> Mapping[str, bytes]:
        return card.of_seeds(records)


class Lesson:
    """One classifier, with its rows as tokens."""

    def __init__(self, loaded: Dataset, made: SlmRecipe, mates: team.Team) -> None:
        self._loaded, self._made, self._mates = loaded, made, mates
        self._train = data.subset(loaded.train, made.limit, made.seed) if made.limit else loaded.train
        exact = mates.device.type != "cuda" or made.precision == "fp32"
        torch.manual_seed(made.seed)
        self._based = base.load(
            made.base,
            made.revision,
            quantise=made.quantise,
            device=mates.device,
            dtype=torch.float32 if exact else torch.bfloat16,
            classes=loaded.classes,
        )
        self.origin = self._based.commit
        most = model.longest(self._based.model, self._based.tokenizer)
        self._length = min(made.max_length, most)
        self.net = base.with_adapter(self._based, made).to(mates.device)
        for parameter in self.net.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        learnt = sum(one.numel() for one in self.net.parameters() if one.requires_grad)
        self.notes = (
            f"{made.base}: {learnt:,} weights learn, the head among them",
            *recipe.short_warmup(made, len(self._train)),
        )
        self._use = made.thresholds if loaded.multi else "argmax"

    def _tokens(self, part: Examples) -> list[model.Row]:
        shown = model.Shown(tokenizer=self._based.tokenizer, max_length=self._length, token_types=False)
        return shown.tokens(part.texts, part.contexts)

    def _how(self) -> Recipe:
        """As the encoder's loop reads it: one rate for all layers, one for the head."""
        made = self._made
        names = (
            *(
                "epochs",
                "patience",
                "keep",
                "batch",
                "token_budget",
                "head_rate",
                "weight_decay",
                "schedule",
                "average",
            ),
            *("precision", "seed"),
        )
        return Recipe(
            **{name: getattr(made, name) for name in names},
            learning_rate=made.rate,
            warmup=recipe.warmup(made, len(self._train)),
            layer_decay=1.0,
            max_length=self._length,
        )

    def learn(
        self, work: Path, report: Callable[[Report], None], stops: Callable[[], bool], checkpoint_seconds: float
    ) -> Progress:
        validation = self._loaded.validation

        def score(found: Floats) -> float:
            said = _sigmoid(found)
            kept = thresholds.tuned(said, validation.hard, self._loaded.classes, self._use, "")
            return thresholds.macro_f1(kept.keep(said), validation.hard)

        task = loop.Task(
            tokens=self._tokens(self._train),
            targets=self._train.hard,
            loss=loss_of(self._made, self._loaded.classes, self._mates.device),
            validation=self._tokens(validation),
            score=score,
        )
        progress = loop.fit(
            self.net, self._based.tokenizer, task, self._how(), work, self._mates, report, stops, checkpoint_seconds
        )
        self._bf16 = progress.precision == "bf16"
        return progress

    def finish(self, apart: Path, record: Mapping[str, Any]) -> dict[str, Any]:
        made, loaded = self._made, self._loaded
        held = {part: getattr(loaded, part) for part in PARTS[1:] if len(getattr(loaded, part))}
        logits = {
            part: loop.logits(self.net, self._based.tokenizer, self._tokens(one), bf16=self._bf16)
            for part, one in held.items()
        }
        warmth = thresholds.temperature(logits["validation"], loaded.validation.hard)
        said = {part: _sigmoid(one / warmth) for part, one in logits.items()}
        where = f"{loaded.name} validation"
        kept = thresholds.tuned(said["validation"], loaded.validation.hard, loaded.classes, self._use, where)
        kept = replace(kept, temperature=warmth)
        whole = {
            **record,
            "factory": __version__,
            "torch": torch.__version__,
            "base": made.base,
            "init": "",
            "base_commit": self._based.commit,
            "classes": list(loaded.classes),
            "multi": loaded.multi,
            "rows": {part: len(getattr(loaded, part)) for part in PARTS} | {"trained_on": len(self._train)},
            "notes": [*loaded.notes, *self.notes],
            "licence": loaded.licence,
            "max_length": self._length,
            "context": loaded.contextual,
            "results": {part: _measured(said[part], one.hard, kept, loaded.classes) for part, one in held.items()},
        }
        base.save_adapter(self.net, self._based.tokenizer, apart, self._slm())
        limits = json.dumps(_told(kept, self._length, loaded.contextual), indent=1) + "\n"
        (apart / base.LIMITS).write_text(limits, encoding="utf-8")
        told = {**whole, "recipe": card.applying(whole)}
        (apart / "README.md").write_text(model_card.written(told, kept), encoding="utf-8")
        return whole

    def _slm(self) -> dict[str, Any]:
        return {
            "mode": self._made.mode,
            "base": self._made.base,
            "revision": self._made.revision,
            "base_commit": self._based.commit,
            "classes": list(self._loaded.classes),
            "max_length": self._length,
        }


def loss_of(made: SlmRecipe, classes: tuple[str, ...], device: Any = "cpu") -> Loss:
    """Focal loss with an alpha for each label, or plain cross-entropy."""
    if made.loss == "bce":
        return cross_entropy
    alpha = torch.tensor(alphas(made.alpha, classes), device=device)
    return lambda logits, targets: focal(logits, targets, alpha, made.gamma)


def _measured(said: Floats, truth: Floats, kept: thresholds.Thresholds, classes: Sequence[str]) -> dict[str, Any]:
    found = metrics.multilabel(truth >= 0.5, kept.keep(said), said, classes)
    return {**found, "calibration_error": thresholds.calibration_error(said, truth)}


def _told(kept: thresholds.Thresholds, length: int, context: bool) -> dict[str, Any]:
    """thresholds.json, as `factory predict` reads it."""
    return {
        "use": kept.use,
        "global": kept.shared,
        "per_class": dict(zip(kept.classes, kept.per_class, strict=True)),
        "temperature": kept.temperature,
        "tuned_on": kept.tuned_on,
        "max_length": length,
        "pair": "context" if context else "none",
    }


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))
