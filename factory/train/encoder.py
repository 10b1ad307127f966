"""From a dataset to a model folder: rows to tokens, training, thresholds on validation, one look at test, files."""

import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from numpy.typing import NDArray

from factory import __version__
from factory.benchmarks import metrics
from factory.errors import WrongRequest
from factory.files import locked, sync, write_atomic, writing
from factory.train import data, head, imbalance, loop, model, model_card, team, thresholds
from factory.train.curves import Curves
from factory.train.losses import loss_of
from factory.train.recipe import Recipe, for_rows
from factory.train.records import PARTS, Dataset, Examples

Floats = NDArray[np.floating[Any]]
DONE, SEEDS = "training.json", "seeds.json"
WORK, CURVES = ".training", "tensorboard"  # WORK: checkpoints, until a model is finished
REWRITTEN = "rewritten"  # rows whose feeling only their context shows
OVERWRITTEN = (
    "config.json",
    "README.md",
    "tokenizer*",
    "*.safetensors",
    "*.bin",
    "*.parquet",
)  # names of what is written
RESULTS = ("results.json", "results.md")  # of `factory evaluate`, which are of a model that FRESH throws away


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A model and its rows, ready to be trained; nothing has been written yet."""

    recipe: Recipe  # with what depends on the rows and the base filled in
    loaded: Dataset
    train: Examples  # as the recipe samples it
    notes: tuple[str, ...]
    net: Any
    tokenizer: Any
    shown: model.Shown


def train(
    spec: str,
    out: Path,
    made: Recipe,
    seeds: Sequence[int] = (0,),
    watcher: Watcher | None = None,
    *,
    fresh: bool = False,
    checkpoint_seconds: float = loop.CHECKPOINT_SECONDS,
) -> list[Trained]:
    """Trains a model for each seed, in OUT itself or, where there are several, in OUT/seed-N; the same call resumes.

    Raises WrongRequest before anything is written where the data, the base or a setting cannot be, Interrupted when asked to
    stop. In a team of processes only the main one gives back what was trained.
    """
    mates = team.here()
    watcher = watcher if watcher and mates.main else Watcher(stops=watcher.stops if watcher else lambda: False)
    _refuse_other(out, made, len(seeds) > 1, fresh)
    loaded = data.load(spec, made.view, made.context, made.fold)
    plan = {"recipe": asdict(made), "data": spec, "fingerprint": loaded.fingerprint()}
    folders = {seed: out if len(seeds) == 1 else out / f"seed-{seed}" for seed in seeds}
    plans = {seed: plan | {"recipe": asdict(replace(made, seed=seed))} for seed in seeds}
    if not fresh:
        for seed, folder in folders.items():
            _refuse_another(folder, plans[seed])
    first = None
    if fresh or not all((folder / DONE).exists() for folder in folders.values()):
        first = _begun(loaded, replace(made, seed=seeds[0]), mates)  # what is wrong is said before anything is written
    with _alone_in(out) if mates.main else nullcontext():
        if fresh and mates.main:
            _throw_away(out)
        watcher.says(data.described(loaded))
        for note in loaded.notes:
            watcher.says(f"  {note}")
        mates.told(None)  # the others wait here until the folder is ours
        finished = []
        for seed in seeds:
            if mates.told((folders[seed] / DONE).exists()):
                watcher.says(f"{folders[seed]} is finished already")
            else:
                begun = first if first and seed == seeds[0] else _begun(loaded, replace(made, seed=seed), mates)
                _one(begun, folders[seed], plans[seed], watcher, mates, checkpoint_seconds)
            if mates.main:
                finished.append(_finished(folders[seed]))
        if len(finished) > 1:
            _summarise(out, finished)
    return finished


def _one(
    begun: _Begun,
    folder: Path,
    plan: Mapping[str, Any],
    watcher: Watcher,
    mates: team.Team,
    checkpoint_seconds: float,
) -> None:
    """Trains one model and writes it; processes beside the main one only help with the first."""
    loaded, made, work = begun.loaded, begun.recipe, folder / WORK
    for note in begun.notes:
        watcher.says(f"  {note}")
    if mates.main:
        work.mkdir(parents=True, exist_ok=True)
        write_atomic(work / "plan.json", orjson.dumps(plan))
    curves = Curves(folder / CURVES) if mates.main else None

    def report(one: loop.Report) -> None:
        if curves is not None:
            curves(one)
        watcher.reports(one)

    try:
        progress, note = _learnt(begun, work, report, watcher.stops, mates, checkpoint_seconds)
    finally:
        if curves is not None:
            curves.close()
    if not mates.main:
        return
    kept, results = _judged(begun)
    record = dict(plan) | {
        "factory": __version__,
        "classes": list(loaded.classes),
        "multi": loaded.multi,
        "rows": {part: len(getattr(loaded, part)) for part in PARTS} | {"trained_on": len(begun.train)},
        "notes": [*loaded.notes, *begun.notes, *([note] if note else [])],
        "licence": loaded.licence,
        "base": made.init or made.base,
        "init": made.init,
        "max_length": begun.recipe.max_length,
        "batch": begun.recipe.batch,
        "context": loaded.contextual,
        "precision": progress.precision,
        "processes": mates.size,
        "history": {"loss": progress.losses, "score": progress.scores, "best_epoch": progress.best_epoch + 1},
        "results": results,
        "torch": torch.__version__,
    }
    _write(folder, begun, kept, record)
    shutil.rmtree(work)


def _begun(loaded: Dataset, made: Recipe, mates: team.Team) -> _Begun:
    """The base with its head, on its device, and the training part as the recipe wants it."""
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
    if made.prior and found.new_head:
        model.start_at(found.model, train.hard.mean(axis=0).tolist())
    made = for_rows(made, loaded.contextual)
    most = model.longest(found.model, found.tokenizer)
    if made.max_length > most:
        notes.append(f"rows are cut at {most} tokens, the most that {made.init or made.base} reads")
    made = replace(
        made, max_length=min(made.max_length, most), head_rate=made.head_rate if found.new_head or made.freeze else 0.0
    )
    return _Begun(
        recipe=made,
        loaded=loaded,
        train=train,
        notes=tuple(notes),
        net=found.model.to(mates.device),
        tokenizer=found.tokenizer,
        shown=model.Shown(
            tokenizer=found.tokenizer, max_length=made.max_length, token_types=model.segments(found.model)
        ),
    )


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


def _learnt(
    begun: _Begun,
    work: Path,
    report: Callable[[loop.Report], None],
    stops: Callable[[], bool],
    mates: team.Team,
    checkpoint_seconds: float,
) -> tuple[loop.Progress, str]:
    """Trains the model of `begun` in place."""
    made, validation, rows = begun.recipe, begun.loaded.validation, begun.train
    use = _use(begun)

    def score(found: Floats) -> float:
        said = _sigmoid(found)
        return thresholds.macro_f1(
            thresholds.tuned(said, validation.hard, begun.loaded.classes, use, "").keep(said), validation.hard
        )

    weight = imbalance.pos_weight(rows.hard, made.pos_weight)
    task = loop.Task(
        tokens=begun.shown.tokens(rows.texts, rows.contexts),
        targets=rows.soft if made.loss == "soft" else rows.hard,
        loss=loss_of(
            made, None if weight is None else torch.as_tensor(weight, dtype=torch.float32, device=mates.device)
        ),
        validation=begun.shown.tokens(validation.texts, validation.contexts),
        score=score,
    )
    if made.freeze:
        if not mates.main:
            return loop.Progress(), ""
        return head.fit(begun.net, begun.tokenizer, task, rows.hard, made, report, stops)
    progress = loop.fit(begun.net, begun.tokenizer, task, made, work, mates, report, stops, checkpoint_seconds)
    return progress, ""


def _use(begun: _Begun) -> str:
    return begun.recipe.thresholds if begun.loaded.multi else "argmax"


def _judged(begun: _Begun) -> tuple[thresholds.Thresholds, dict[str, Any]]:
    """Temperature, then thresholds, from validation alone; then each part is measured with them, test for the first time."""
    loaded = begun.loaded
    held = {part: getattr(loaded, part) for part in PARTS[1:] if len(getattr(loaded, part))}
    logits = {
        part: loop.logits(begun.net, begun.tokenizer, begun.shown.tokens(one.texts, one.contexts))
        for part, one in held.items()
    }
    warmth = thresholds.temperature(logits["validation"], loaded.validation.hard)
    said = {part: _sigmoid(one / warmth) for part, one in logits.items()}
    kept = thresholds.tuned(
        said["validation"], loaded.validation.hard, loaded.classes, _use(begun), f"{loaded.name} validation"
    )
    kept = replace(kept, temperature=warmth)
    found = {part: _measured(said[part], one.hard, kept, loaded.classes) for part, one in held.items()}
    rewritten = [row for row, kind in enumerate(loaded.test.kinds) if kind == REWRITTEN]
    if rewritten:
        found["test_rewritten"] = _measured(said["test"][rewritten], loaded.test.hard[rewritten], kept, loaded.classes)
    return kept, found


def _measured(
    probabilities: Floats, truth: Floats, kept: thresholds.Thresholds, classes: Sequence[str]
) -> dict[str, Any]:
    """What is known of one part: macro-F1 with its interval, micro-F1, average precision, calibration, and per class."""
    chosen = kept.keep(probabilities)
    found = metrics.multilabel(truth >= 0.5, chosen, probabilities, classes)
    return {**found, "calibration_error": thresholds.calibration_error(probabilities, truth)}


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


# Files --------------------------------------------------------------------------------------------------------------------


def _refuse_other(out: Path, made: Recipe, several: bool, fresh: bool) -> None:
    """WrongRequest where files of somebody else would be overwritten, where the two forms of OUT would be mixed, or where the
    model to go on from would be."""
    for name in ("run.toml", "pyproject.toml"):
        if (out / name).exists():
            raise WrongRequest(f"OUT={out} is no place for a model (it holds {name}); give another OUT")
    ours = any((out / name).exists() for name in (DONE, SEEDS, WORK, ".lock"))
    strange = sorted(path.name for pattern in OVERWRITTEN for path in out.glob(pattern))
    if strange and not ours:
        raise WrongRequest(f"OUT={out} holds {strange[0]}, which no training of ours wrote there; give another OUT")
    if made.init and out.resolve() in (Path(made.init).resolve(), *Path(made.init).resolve().parents):
        raise WrongRequest(f"OUT={out} is or holds INIT={made.init}, which would be lost; give another OUT")
    if not fresh and (out / (DONE if several else SEEDS)).exists():
        there = "one model" if several else "models of several seeds"
        raise WrongRequest(f"OUT={out} holds {there}; give another OUT, or FRESH=1 to throw that away")


def _alone_in(out: Path) -> Any:
    """The folder, ours alone."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise WrongRequest(f"OUT={out} cannot be made ({err.strerror}); choose another OUT") from err
    return locked(out / ".lock")


def _write(folder: Path, begun: _Begun, kept: thresholds.Thresholds, record: Mapping[str, Any]) -> None:
    """Written apart and moved when whole, the record last: a folder with a record is a finished model."""
    told = {
        "use": kept.use,
        "global": kept.shared,
        "per_class": dict(zip(kept.classes, kept.per_class, strict=True)),
        "temperature": kept.temperature,
        "tuned_on": kept.tuned_on,
        "max_length": begun.recipe.max_length,
        "pair": "context" if begun.loaded.contextual else "none",
    }
    apart = folder / WORK / "model"
    shutil.rmtree(apart, ignore_errors=True)
    model.save(begun.net, begun.tokenizer, apart, {"thresholds.json": told})
    write_atomic(apart / "README.md", model_card.written(record, kept).encode())
    files, readable = sorted(path.name for path in apart.iterdir()), (apart / "README.md").stat().st_mode
    with writing(folder):
        for name in files:
            (apart / name).chmod(readable)  # safetensors are written for their owner alone
            sync(apart / name)
            os.replace(apart / name, folder / name)
    whole = {**record, "files": files}
    write_atomic(folder / DONE, orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))


def _record(path: Path) -> dict[str, Any]:
    """Of a training, begun or finished."""
    try:
        found = dict(orjson.loads(path.read_bytes()))
        lacking = {"recipe", "fingerprint", *(["results"] if path.name == DONE else [])} - found.keys()
        if lacking:
            raise ValueError(f"it lacks {min(lacking)}")
        return found
    except (OSError, ValueError, TypeError) as err:
        raise WrongRequest(f"{path} cannot be read ({err}); give another OUT, or FRESH=1 to throw it away") from err


def _refuse_another(folder: Path, plan: Mapping[str, Any]) -> None:
    """What was begun or finished here is what is asked for now; else its checkpoints would be of another model."""
    for path in (folder / DONE, folder / WORK / "plan.json"):
        if not path.exists():
            continue
        before = _record(path)
        then = (
            {field.name: field.default for field in fields(Recipe)} | before["recipe"] | {"data": before["fingerprint"]}
        )
        now = {**plan["recipe"], "data": plan["fingerprint"]}
        changed = [name for name in now if then[name] != now[name]]
        if changed:
            listed = ", ".join(f"{name} was {then[name]!r}, is {now[name]!r}" for name in changed[:3])
            raise WrongRequest(
                f"{folder} holds another training ({listed}); give another OUT, or FRESH=1 to throw that one away"
            )


def _finished(folder: Path) -> Trained:
    record = _record(folder / DONE)
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
    spread = math.sqrt(sum((one - mean) ** 2 for one in scores) / (len(scores) - 1))
    told = {
        "seeds": [one.seed for one in finished],
        "part": "test" if finished[0].test else "validation",
        "macro_f1": scores,
        "mean": mean,
        "standard_deviation": spread,
    }
    write_atomic(out / "README.md", model_card.of_seeds(finished[0].record, told).encode())
    write_atomic(out / SEEDS, orjson.dumps(told, option=orjson.OPT_INDENT_2))


def _throw_away(out: Path) -> None:
    """Takes away what trainings and evaluations wrote into OUT, and nothing else."""
    for folder in (out, *sorted(out.glob("seed-*"))):
        files = [*_files_of(folder / DONE), *RESULTS, *([SEEDS, "README.md"] if (folder / SEEDS).exists() else [])]
        (folder / DONE).unlink(missing_ok=True)  # first: what is half gone is no model
        for name in files:
            (folder / name).unlink(missing_ok=True)
        for name in (WORK, CURVES):
            shutil.rmtree(folder / name, ignore_errors=True)
        if folder != out and not any(folder.iterdir()):
            folder.rmdir()


def _files_of(path: Path) -> list[str]:
    """Names in the record of a finished model; one that cannot be read has none."""
    try:
        return [str(Path(name).name) for name in orjson.loads(path.read_bytes())["files"]]
    except (OSError, ValueError, KeyError):
        return []
