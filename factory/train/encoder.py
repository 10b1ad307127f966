"""From a dataset to a model folder: rows to tokens, training, thresholds on validation, one look at test, files."""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from numpy.typing import NDArray

from factory import __version__
from factory.benchmarks import metrics
from factory.errors import WrongRequest
from factory.files import locked, write_atomic
from factory.train import data, head, imbalance, loop, model, model_card, thresholds
from factory.train.losses import loss_of
from factory.train.recipe import Recipe
from factory.train.records import PARTS, Dataset, Examples

Floats = NDArray[np.floating[Any]]
DONE = "training.json"
WORK = ".training"  # checkpoints, until a model is finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Where news of a training goes; all of them may be ignored."""

    says: Callable[[str], None] = lambda line: None
    reports: Callable[[loop.Report], None] = lambda report: None
    stops: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One finished model: its folder, and what was measured."""

    folder: Path
    seed: int
    validation: float  # macro-F1 with the thresholds that were tuned there
    test: metrics.Score | None  # macro-F1 with a 95% interval; None where there is no test part
    record: Mapping[str, Any]


def train(
    spec: str, out: Path, made: Recipe, seeds: Sequence[int] = (0,), watcher: Watcher | None = None
) -> list[Trained]:
    """Trains a model for each seed, in OUT itself or, where there are several, in OUT/seed-N; the same call resumes.

    Raises WrongRequest before anything is written where the data or a setting cannot be, Stopped when asked to stop.
    """
    watcher = watcher or Watcher()
    loaded = data.load(spec, made.view, made.context, made.seed)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / ".lock"):
        _refuse_other(out)
        watcher.says(data.described(loaded))
        for note in loaded.notes:
            watcher.says(f"  {note}")
        finished = []
        for seed in seeds:
            folder = out if len(seeds) == 1 else out / f"seed-{seed}"
            finished.append(_one(loaded, folder, replace(made, seed=seed), spec, watcher))
        if len(seeds) > 1:
            _summarise(out, finished)
    return finished


def _refuse_other(out: Path) -> None:
    for name in ("run.toml", "pyproject.toml"):
        if (out / name).exists():
            raise WrongRequest(f"OUT={out} is no place for a model (it holds {name}); give another OUT")


def _one(loaded: Dataset, folder: Path, made: Recipe, spec: str, watcher: Watcher) -> Trained:
    plan = {"recipe": asdict(made), "data": spec, "fingerprint": loaded.fingerprint()}
    if finished := _finished(folder, plan):
        watcher.says(f"{folder} is finished already")
        return finished
    work = folder / WORK
    _same_plan(work, plan)
    train = _chosen(loaded, made, watcher)
    classes = loaded.classes
    torch.manual_seed(made.seed)
    length = made.max_length or (512 if loaded.contextual else 128)
    net, tokenizer = model.load(
        made.init or made.base, classes, revision=made.revision, dropout=made.dropout, pairs=loaded.contextual
    )
    if made.prior:
        model.start_at(net, train.hard.mean(axis=0).tolist())
    net.to("cuda" if torch.cuda.is_available() else "cpu")
    length = min(length, _longest(net, tokenizer))
    shown = model.Shown(tokenizer=tokenizer, max_length=length, token_types=model.segments(net))
    tokens = shown.tokens(train.texts, train.contexts)
    held = {part: shown.tokens(one.texts, one.contexts) for part, one in _held(loaded)}
    targets = train.soft if made.loss == "soft" else train.hard
    use = made.thresholds if loaded.multi else "argmax"

    def score(current: Any) -> float:
        found = _sigmoid(loop.logits(current, tokenizer, held["validation"]))
        truth = loaded.validation.hard
        return thresholds.macro_f1(thresholds.tuned(found, truth, classes, use, "").keep(found), truth)

    weight = imbalance.pos_weight(train.hard, made.pos_weight)
    loss = loss_of(made, None if weight is None else torch.as_tensor(weight, dtype=torch.float32))
    made = replace(made, max_length=length)
    if made.freeze:
        progress = head.fit(net, tokenizer, tokens, targets, train.hard, loss, made, score)
    else:
        task = loop.Task(tokens=tokens, targets=targets, loss=loss)
        progress = loop.fit(net, tokenizer, task, made, score, work, watcher.reports, watcher.stops)

    logits = {part: loop.logits(net, tokenizer, rows) for part, rows in held.items()}
    warmth = thresholds.temperature(logits["validation"], loaded.validation.hard)
    probabilities = {part: _sigmoid(one / warmth) for part, one in logits.items()}
    kept = replace(
        thresholds.tuned(
            probabilities["validation"], loaded.validation.hard, classes, use, f"{loaded.name} validation"
        ),
        temperature=warmth,
    )
    results = {part: _measured(probabilities[part], one.hard, kept, classes) for part, one in _held(loaded)}
    record = plan | {
        "factory": __version__,
        "classes": list(classes),
        "multi": loaded.multi,
        "rows": {part: len(getattr(loaded, part)) for part in PARTS} | {"trained_on": len(train)},
        "notes": list(loaded.notes),
        "licence": loaded.licence,
        "base": made.base,
        "init": made.init,
        "max_length": length,
        "context": loaded.contextual,
        "history": {"loss": progress.losses, "score": progress.scores, "best_epoch": progress.best_epoch + 1},
        "results": results,
        "torch": torch.__version__,
    }
    _write(folder, net, tokenizer, kept, record, loaded.contextual, length)
    shutil.rmtree(work, ignore_errors=True)
    return _as_trained(folder, record)


def _held(loaded: Dataset) -> list[tuple[str, Examples]]:
    return [(part, one) for part, one in (("validation", loaded.validation), ("test", loaded.test)) if len(one)]


def _longest(net: Any, tokenizer: Any) -> int:
    """Tokens that the base can read at all."""
    known = getattr(net.config, "max_position_embeddings", 0) or 512
    if net.config.model_type in ("roberta", "xlm-roberta", "camembert"):
        known -= 2  # positions begin behind the padding's
    return int(min(known, tokenizer.model_max_length))


def _chosen(loaded: Dataset, made: Recipe, watcher: Watcher) -> Examples:
    """The training part as the recipe wants it: fewer rows, then sampled; nothing else is ever sampled."""
    train = loaded.train
    if made.limit:
        train = data.subset(train, made.limit / len(train), made.seed) if made.limit < len(train) else train
    if made.sampling in ("undersample", "oversample"):
        rows = (
            imbalance.undersampled(train.hard, made.seed)
            if made.sampling == "undersample"
            else imbalance.oversampled(train.hard, made.seed)
        )
        watcher.says(f"  {made.sampling}: {len(train):,} training rows became {len(rows):,}")
        train = train.take(rows)
    return train


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


def _measured(
    probabilities: Floats, truth: Floats, kept: thresholds.Thresholds, classes: Sequence[str]
) -> dict[str, Any]:
    """What is known of one part: macro-F1 with its interval, micro-F1, average precision, calibration, and per class."""
    chosen = kept.keep(probabilities)
    found = metrics.multilabel(truth >= 0.5, chosen, probabilities, classes)
    return {**found, "calibration_error": thresholds.calibration_error(probabilities, truth)}


def _write(
    folder: Path,
    net: Any,
    tokenizer: Any,
    kept: thresholds.Thresholds,
    record: Mapping[str, Any],
    contextual: bool,
    length: int,
) -> None:
    """The weights first, the record last: a folder with a record is a finished model."""
    told = {
        "use": kept.use,
        "global": kept.shared,
        "per_class": dict(zip(kept.classes, kept.per_class, strict=True)),
        "temperature": kept.temperature,
        "tuned_on": kept.tuned_on,
        "max_length": length,
        "pair": "context" if contextual else "none",
    }
    model.save(net, tokenizer, folder, {"thresholds.json": told})
    write_atomic(folder / "README.md", model_card.written(record, kept).encode())
    write_atomic(folder / DONE, orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))


def _finished(folder: Path, plan: Mapping[str, Any]) -> Trained | None:
    path = folder / DONE
    if not path.exists():
        return None
    record = orjson.loads(path.read_bytes())
    _refuse_change({name: record.get(name) for name in plan}, plan, folder)
    return _as_trained(folder, record)


def _same_plan(work: Path, plan: Mapping[str, Any]) -> None:
    """What was begun here is what is asked for now; else its checkpoints would be of another model."""
    path = work / "plan.json"
    if path.exists():
        _refuse_change(orjson.loads(path.read_bytes()), plan, work.parent)
        return
    work.mkdir(parents=True, exist_ok=True)
    write_atomic(path, orjson.dumps(plan))


def _refuse_change(then: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    before, after = ({**one, **one.get("recipe", {}), "recipe": None} for one in (then, now))
    changed = [name for name in after if before.get(name) != after[name]]
    if changed:
        listed = ", ".join(f"{name} was {before.get(name)!r}, is {after[name]!r}" for name in changed[:3])
        raise WrongRequest(
            f"{folder} holds another training ({listed}); give another OUT, or FRESH=1 to throw that one away"
        )


def _as_trained(folder: Path, record: Mapping[str, Any]) -> Trained:
    results = record["results"]
    test = results.get("test")
    return Trained(
        folder=folder,
        seed=record["recipe"]["seed"],
        validation=results["validation"]["macro_f1"]["value"],
        test=metrics.Score(**test["macro_f1"]) if test else None,
        record=record,
    )


def _summarise(out: Path, finished: Sequence[Trained]) -> None:
    """Mean and spread over the seeds, beside the models."""
    scores = [one.test.value if one.test else one.validation for one in finished]
    mean = sum(scores) / len(scores)
    spread = math.sqrt(sum((one - mean) ** 2 for one in scores) / max(1, len(scores) - 1))
    told = {
        "seeds": [one.seed for one in finished],
        "part": "test" if finished[0].test else "validation",
        "macro_f1": scores,
        "mean": mean,
        "standard_deviation": spread,
    }
    write_atomic(out / "seeds.json", orjson.dumps(told, option=orjson.OPT_INDENT_2))


def thrown_away(out: Path) -> None:
    """Takes away what a training wrote into OUT, and nothing else."""
    _refuse_other(out)
    for folder in (out, *out.glob("seed-*")):
        if (folder / DONE).exists() or (folder / WORK).exists():
            shutil.rmtree(folder)
