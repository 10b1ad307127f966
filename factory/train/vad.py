"""VAD: a regressor of valence, arousal and dominance from EmoBank's ratings, with the table of words that goes with it.

METHODS 5.3 and 9. EmoBank's raters hardly left the middle of their scale, so a constant looks good by distance: figures are
correlations (r, CCC) first, and every distance stands beside the constant's. The targets are standardised while it learns and
the last layer is put back onto 0 to 1 at the end, so the folder is a standard regressor whose outputs are the values.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from torch import Tensor

from factory import __version__
from factory import vad as finished
from factory.benchmarks import emobank, goemotions, metrics
from factory.errors import WrongRequest
from factory.files import write_atomic
from factory.train import data as rows_of
from factory.train import keep, leaks, loop, model, team, vad_card, vad_figures, vad_words
from factory.train import recipe as recipes
from factory.train.course import QUIET, Watcher, attend, over_seeds
from factory.train.recipe import Recipe
from factory.train.records import PARTS, Dataset, Examples
from factory.train.work import Progress, Report

Floats = NDArray[np.floating[Any]]
DIMENSIONS = finished.DIMENSIONS
SCORE = "mean Pearson r"  # what validation is measured by
LOSSES = ("mse", "ccc", "both")
LICENCE = "CC BY-SA 4.0"
# What decides nothing here: a regressor has no labels, no sampling and no threshold.
UNUSED = (
    *(
        "view",
        "context",
        "fold",
        "gamma",
        "alpha",
        "gamma_positive",
        "gamma_negative",
        "clip",
        "pos_weight",
        "sampling",
    ),
    *("ismote", "freeze", "prior", "thresholds"),
)
DEFAULTS: Mapping[str, Any] = {"epochs": 4, "batch": 32}
_SPEC = re.compile(r"(emobank|goemotions):(.+)", re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """EmoBank's parts with values [rows, 3] from 0 to 1 as their targets; `more` are texts without any, which the finished
    regressor rates for the table of words."""

    parts: Dataset
    more: tuple[str, ...] = ()
    sources: tuple[str, ...] = ("EmoBank",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One finished regressor: its folder, and what was measured."""

    folder: Path
    seed: int
    record: Mapping[str, Any]

    @property
    def says(self) -> str:
        """The result in a sentence."""
        part = "test" if "test" in self.record["results"] else "validation"
        found = self.record["results"][part]
        each = ", ".join(f"{name} {_interval(found[name]['pearson'])}" for name in DIMENSIONS)
        return f"{self.folder}: Pearson r on {part}: {each}; a constant has 0"


class Scale(NamedTuple):
    """Mean and standard deviation [3] of the training values, which the model learns without."""

    mean: Floats
    spread: Floats


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def recipe(**given: Any) -> Recipe:
    """Settings of a training; WrongRequest where one of them decides nothing here, or cannot be.

    `loss`: 'mse' on the standardised values, 'ccc' (1 - CCC over the rows of a pass), or 'both' (their sum).
    """
    loss = given.pop("loss", "mse")
    if loss not in LOSSES:
        raise WrongRequest(f"LOSS={loss} is not known for TASK=vad; choose one of {', '.join(LOSSES)}")
    if idle := [name for name in UNUSED if name in given]:
        raise WrongRequest(f"{idle[0]} decides nothing for TASK=vad, which has values and no labels; leave it out")
    return replace(recipes.recipe(**{**DEFAULTS, **given}), loss=loss)


# What is learnt from ------------------------------------------------------------------------------------------------------


def load(spec: str) -> Data:
    """What "emobank:path" names, or "emobank:path,goemotions:path": the second for the table of words alone.

    WrongRequest where a file is broken or cut off, or a part is not there.
    """
    named = [_SPEC.fullmatch(part.strip()) for part in spec.split(",")]
    kinds = [one[1] if one else "" for one in named]
    if kinds not in (["emobank"], ["emobank", "goemotions"]):
        raise WrongRequest(
            f"DATA={spec} has no VAD to learn from; give emobank:path, or emobank:path,goemotions:path for more words"
        )
    first, *others = [Path(one[2]).expanduser() for one in named if one]
    parts = leaks.cleaned(_emobank(first))
    for part in PARTS[:2]:
        if len(getattr(parts, part)) < 2:
            raise WrongRequest(
                f"{first} has no {part} part of EmoBank to learn from; fetch the file again from its owner"
            )
    more = [row.text for path in others for row in goemotions.BENCHMARK.read(path).train]
    return Data(parts=parts, more=tuple(more), sources=("EmoBank", *("GoEmotions" for _ in others)))


def _emobank(path: Path) -> Dataset:
    read = emobank.read(path)
    _refuse_cut(path, sum(map(len, read[:3])))
    train, validation, test = (_examples(rows) for rows in (read.train, read.dev, read.test))
    return Dataset(
        name="emobank",
        classes=DIMENSIONS,
        multi=True,
        train=train,
        validation=validation,
        test=test,
        notes=read.notes,
        licence=LICENCE,
        official=True,
    )


def _refuse_cut(path: Path, rows: int) -> None:
    """The owner's file ends with a line end: one that is short and does not was cut off, and its last text with it."""
    file = path if path.is_file() else next(path / name for name in emobank.NAMES["test"] if (path / name).is_file())
    published = sum(emobank.PUBLISHED.values())
    if rows < published and not file.read_bytes().endswith(b"\n"):
        raise WrongRequest(
            f"{file} is cut off: it ends inside a line, after {rows:,} of the {published:,} published rows; "
            "fetch the file again from its owner"
        )


def _examples(rows: Sequence[Any]) -> Examples:
    """Rows of a benchmark of values; the sentences of one document are a group."""
    values = ((metrics.values(rows) - 1) / 4).astype(np.float32).reshape(len(rows), len(DIMENSIONS))
    return Examples(
        texts=tuple(row.text for row in rows),
        contexts=("",) * len(rows),
        hard=values,
        soft=values,
        groups=tuple(row.id.rsplit("_", 2)[0] for row in rows),
        ids=tuple(row.id for row in rows),
    )


# Learning -----------------------------------------------------------------------------------------------------------------


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
    """Trains a regressor for each seed, in OUT itself or, where there are several, in OUT/seed-N; the same call resumes.

    In a team of processes only the main one gives back what was trained. Raises WrongRequest before anything is written where
    the data, the base or a setting cannot be, Interrupted when asked to stop.
    """
    mates = team.here()
    course = Values(spec, made, mates)
    folders = attend(course, out, seeds, mates, watcher, checkpoint_seconds, read={"INIT": made.init}, fresh=fresh)
    records = [keep.record(folder / keep.DONE) for folder in folders]
    return [
        Trained(folder=folder, seed=record["recipe"]["seed"], record=record)
        for folder, record in zip(folders, records, strict=True)
    ]


class Values:
    """The course of a regressor: EmoBank's ratings, and what a model of a seed is."""

    score, more = "pearson", ()

    def __init__(self, spec: str, made: Recipe, mates: team.Team) -> None:
        self._spec, self._made, self._mates = spec, made, mates
        self.defaults = {field.name: field.default for field in fields(Recipe)}

    @cached_property
    def _data(self) -> Data:
        return load(self._spec)

    @property
    def says(self) -> Sequence[str]:
        return [_described(self._data), *(f"  {note}" for note in self._data.parts.notes)]

    def plan(self, seed: int) -> Mapping[str, Any]:
        made = replace(self._made, seed=seed)
        fingerprint = self._data.parts.fingerprint()
        return {"task": "vad", "recipe": asdict(made), "data": self._spec, "fingerprint": fingerprint}

    def lesson(self, seed: int) -> "Lesson":
        return Lesson(self._data, replace(self._made, seed=seed), self._mates)

    def summary(self, records: Sequence[Mapping[str, Any]]) -> Mapping[str, bytes]:
        each = [record["results"] for record in records]
        told = over_seeds(
            records, "mean_pearson", [one.get("test", one["validation"])["mean_pearson"]["value"] for one in each]
        )
        card = vad_card.of_seeds(records)
        return {keep.SEEDS: orjson.dumps(told, option=orjson.OPT_INDENT_2), keep.CARD: card.encode()}


def _described(data: Data) -> str:
    counts = ", ".join(f"{part} {len(getattr(data.parts, part)):,}" for part in PARTS)
    more = f"; {len(data.more):,} texts more for the table of words" if data.more else ""
    return f"EmoBank: {counts} rows with valence, arousal and dominance{more}"


class Lesson:
    """One regressor on its device, with its rows; test is looked at once, at the end."""

    notes: tuple[str, ...] = ()

    def __init__(self, data: Data, made: Recipe, mates: team.Team) -> None:
        torch.manual_seed(made.seed)
        if made.limit and made.limit < len(data.parts.train):
            fewer = rows_of.subset(data.parts.train, made.limit, made.seed)
            data = replace(data, parts=replace(data.parts, train=fewer))
        found = model.load(
            made.init or made.base,
            DIMENSIONS,
            revision=made.revision,
            dropout=made.dropout,
            mean_layer=made.mean_layer,
            name="INIT" if made.init else "BASE",
        )
        self.origin = model.digest(found.model)
        found.model.config.problem_type = "regression"
        made = recipes.for_rows(made, contextual=False)
        made = replace(made, max_length=min(made.max_length, model.longest(found.model, found.tokenizer)))
        values = data.parts.train.hard.astype(np.float64)
        self.scale = scale = Scale(values.mean(axis=0), np.maximum(values.std(axis=0), 1e-3))
        if not found.new_head:
            made = replace(made, head_rate=0.0)
            onto(found.model, Scale(-scale.mean / scale.spread, 1 / scale.spread))
        self.data, self._recipe, self._mates = data, made, mates
        self.net, self.tokenizer = found.model.to(mates.device), found.tokenizer
        self._shown = model.Shown(
            tokenizer=found.tokenizer, max_length=made.max_length, token_types=model.segments(found.model)
        )

    def tokens(self, part: Examples) -> loop.Tokens:
        return self._shown.tokens(part.texts, part.contexts)

    def _values(self, tokens: loop.Tokens) -> Floats:
        """[rows, 3] from 0 to 1, of the model as it is once its last layer says values."""
        return np.asarray(loop.logits(self.net, self.tokenizer, tokens).astype(np.float64).clip(0, 1))

    def learn(
        self, work: Path, report: Callable[[Report], None], stops: Callable[[], bool], checkpoint_seconds: float
    ) -> Progress:
        parts, scale, made = self.data.parts, self.scale, self._recipe

        def score(found: Floats) -> float:  # r is blind to the scale, so the standardised outputs will do
            return float(metrics.pearson(parts.validation.hard.astype(np.float64), found.astype(np.float64)).mean())

        task = loop.Task(
            tokens=self.tokens(parts.train),
            targets=(parts.train.hard - scale.mean) / scale.spread,
            loss=loss_of(made.loss),
            validation=self.tokens(parts.validation),
            score=score,
        )
        return loop.fit(self.net, self.tokenizer, task, made, work, self._mates, report, stops, checkpoint_seconds)

    def finish(self, apart: Path, record: Mapping[str, Any]) -> dict[str, Any]:
        parts, scale, made = self.data.parts, self.scale, self._recipe
        onto(self.net, scale)
        table = self._table()
        held = {part: getattr(parts, part) for part in PARTS[1:] if len(getattr(parts, part))}
        whole = {
            **record,
            "factory": __version__,
            "classes": list(DIMENSIONS),
            "rows": {part: len(getattr(parts, part)) for part in PARTS},
            "more": len(self.data.more),
            "notes": list(parts.notes),
            "licence": LICENCE,
            "base": made.init or made.base,
            "scale": {"mean": scale.mean.tolist(), "spread": scale.spread.tolist()},
            "max_length": made.max_length,
            "results": {
                part: vad_figures.measured(one.hard, self._values(self.tokens(one)), scale.mean)
                for part, one in held.items()
            },
            "words": table.told() | {part: vad_words.worth(table.table, one, scale.mean) for part, one in held.items()},
            "torch": torch.__version__,
        }
        model.save(self.net, self.tokenizer, apart, {finished.NOTE: _note(whole)})
        write_atomic(apart / finished.WORDS, table.file())
        write_atomic(apart / keep.CARD, vad_card.written(whole).encode())
        return whole

    def _table(self) -> vad_words.Learnt:
        """From the training part, and from the texts without ratings as the regressor rates them."""
        parts, more = self.data.parts, self.data.more
        values = parts.train.hard.astype(np.float64)
        source = (
            f"ridge on the words of the training part of {' and of '.join(self.data.sources)}, with EmoBank's ratings"
        )
        if more:
            values = np.concatenate([values, self._values(self._shown.tokens(more, [""] * len(more)))])
            source += " and, for the rest, those of the regressor beside it"
        return vad_words.learnt([*parts.train.texts, *more], values, parts.validation, licence=LICENCE, source=source)


def onto(net: Any, scale: Scale) -> None:
    """Makes each output y of the model into y * spread + mean, in the weights of its last layer."""
    layer = model.last_layer(net)
    mean, spread = (
        torch.as_tensor(np.asarray(one), dtype=layer.weight.dtype, device=layer.weight.device) for one in scale
    )
    layer.weight.data.mul_(spread[:, None])
    layer.bias.data.mul_(spread).add_(mean)


def loss_of(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """One number a row of outputs and standardised targets [rows, 3]: squared error as the mean over the three, 1 - CCC over
    the rows of the pass (each row has the same), or the sum of both."""

    def mse(said: Tensor, truth: Tensor) -> Tensor:
        return ((said - truth) ** 2).mean(dim=1)

    def ccc(said: Tensor, truth: Tensor) -> Tensor:
        return (1 - concordance(said, truth)).mean().expand(len(said))

    return {"mse": mse, "ccc": ccc, "both": lambda said, truth: mse(said, truth) + ccc(said, truth)}[name]


def concordance(said: Tensor, truth: Tensor) -> Tensor:
    """Lin's coefficient of each column [3]; the small number keeps a single row from dividing nothing by nothing."""
    apart, truly = said - said.mean(dim=0), truth - truth.mean(dim=0)
    both = (apart * truly).mean(dim=0)
    spread = (apart**2).mean(dim=0) + (truly**2).mean(dim=0)
    return 2 * both / (spread + (said.mean(dim=0) - truth.mean(dim=0)) ** 2 + 1e-6)


def _note(record: Mapping[str, Any]) -> dict[str, Any]:
    """vad.json: what the folder is, for those who use it."""
    told = {name: record[name] for name in ("factory", "max_length", "licence", "scale", "results")}
    return {"what": "valence, arousal and dominance of a text", "outputs": list(DIMENSIONS), "range": [0, 1], **told}
