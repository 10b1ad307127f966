"""Every setting of the trainer of small language models; with the data and the seed it is all that decides a model.

The formulas behind the switches stand in `parts` and `mixture`; they are ours, inspired by EmoLoom-2B (METHODS 5.2).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from factory.errors import WrongRequest
from factory.taxonomy import LABELS

MODES = ("generate", "classify")
TASKS = ("emotion_json", "mcq_eu", "mcq_ea")
OF_GENERATE = frozenset((
    "tasks", "vad", "words", "words_scale", "guide", "flips", "cooling", "tau_high", "tau_low", "floor", "looks", "looked_at",
))  # fmt: skip
OF_COOLING = ("tau_high", "tau_low", "floor", "looked_at")  # and `looks`, which parts any mixture
OF_CLASSIFY = frozenset(("loss", "view", "context", "fold", "gamma", "alpha", "thresholds"))
THEN = "then"  # MIX=then: pool A first, then the others
RANGES = (
    ("lora_rank", 1, 1024),
    ("lora_alpha", 1, 4096),
    ("lora_dropout", 0.0, 0.9),
    ("epochs", 1, 1000),
    ("patience", 0, 1000),
    ("batch", 1, 65536),
    ("token_budget", 1, 1 << 24),
    ("learning_rate", 0.0, 1.0),
    ("head_rate", 0.0, 1.0),
    ("weight_decay", 0.0, 1.0),
    ("warmup", 0.0, 1.0),
    ("warmup_updates", 0, 1 << 24),
    ("average", 0.0, 0.99999),
    ("max_length", 16, 1 << 20),
    ("label_weight", 0.0, 100.0),
    ("vad_weight", 0.0, 100.0),
    ("preserve_weight", 0.0, 100.0),
    ("appraisal_weight", 0.0, 100.0),
    ("looks", 1, 1000),
    ("looked_at", 1, 1 << 20),
    ("floor", 0.0, 0.5),
    ("tau_high", 0.01, 100.0),
    ("tau_low", 0.01, 100.0),
    ("gamma", 0.0, 10.0),
    ("fold", 0, 9),
    ("seed", 0, 2**31 - 1),
    ("limit", 0, 1 << 40),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlmRecipe:
    """How a language model is trained. `batch` counts rows of one update, `token_budget` tokens of one pass through the
    model: an update of long rows takes several passes."""

    base: str = ""  # a hub id or a folder of a causal language model
    revision: str = ""  # of a hub id
    mode: str = "generate"  # answers in the one contract; 'classify': a multi-label head on the last token
    tasks: str = "emotion_json,mcq_eu,mcq_ea"  # of the sft view that are learnt (generate)
    # what learns
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.05
    lora_targets: str = "all-linear"  # or names of layers with commas: q_proj,k_proj,v_proj,o_proj
    quantise: str = ""  # 'nf4': QLoRA, the frozen base in four bits (a GPU and bitsandbytes)
    # how
    epochs: int = 3
    patience: int = 0  # epochs without a better validation score before it stops; 0: never
    keep: str = "best"  # the weights of the epoch with the best validation score, or the 'last' ones
    batch: int = 16
    token_budget: int = 4096
    learning_rate: float = 0.0  # 0: 1e-4, and 2e-4 with quantise
    head_rate: float = 1e-3  # of new heads, which start from nothing
    weight_decay: float = 0.0
    warmup: float = 0.03  # share of the updates
    warmup_updates: int = 0  # updates instead of a share; 0: the share
    schedule: str = "cosine"  # or 'linear'
    average: float = 0.0  # of what is learnt, exponentially over the updates; 0: as it is
    max_length: int = 1024  # tokens; a longer row is refused, not cut (classify: cut)
    loss_whole: bool = False  # True: learn the prompt's tokens too
    precision: str = "auto"  # 'bf16' or 'fp32'; auto: whichever is faster here, measured
    checkpointing: bool = False  # compute layers twice instead of keeping what they made: less memory, slower
    # EmoLoom's parts (generate), each off at 0 or no
    label_weight: float = 0.0  # l_c
    vad_weight: float = 0.0  # l_v
    preserve_weight: float = 0.0  # l_p: VAD implied by the rationale's words, differentiable
    preserve_rows: bool = False  # rows whose rationale contradicts their VAD weigh less
    appraisal_weight: float = 0.0  # l_a
    flips: bool = True  # learn from valence-flip rows
    vad: str = ""  # folder of a model of TASK=vad: VAD for rows without it, and its words
    words: str = ""  # a table of words instead of that model's
    words_scale: str = ""  # of the numbers of `words`: "0..1", "-1..1" or "1..9"; "": 0..1
    guide: str = ""  # folder of an appraisal guide; '': the rows' own appraisals
    mix: str = (
        ""  # pi of the first part of DATA and of the others, '0.2,0.8'; 'then': one after the other; '': all rows
    )
    cooling: bool = False  # entropy-aware temperature
    tau_high: float = 4.0
    tau_low: float = 0.5
    floor: float = 0.05  # least share of either pool
    looks: int = 10  # parts of an epoch, before each of which the temperature is set anew
    looked_at: int = 256  # validation rows that its entropy is measured on
    # classify
    view: str = "contextless"
    context: bool = True
    fold: int = 0
    loss: str = "focal"  # or 'bce'
    gamma: float = 2.0
    alpha: str = "0.5"  # of a present label: a number, 'published' (METHODS 6.1), or label=number with commas
    thresholds: str = "per_class"
    # both
    merge: bool = False  # write the merged model too, in OUT/merged
    seed: int = 0
    limit: int = 0  # rows of the training part; 0: all
    init: str = ""  # kept for records: an SLM begins from its base

    @property
    def rate(self) -> float:
        return self.learning_rate or (2e-4 if self.quantise else 1e-4)

    @property
    def heads(self) -> tuple[tuple[str, int], ...]:
        """Names and widths of the heads on the last prompt token that are trained."""
        all_ = (
            ("labels", len(LABELS), self.label_weight),
            ("vad", 3, self.vad_weight),
            ("appraisals", 4, self.appraisal_weight),
        )
        return tuple((name, width) for name, width, weight in all_ if weight)


ATTENTION = "q_proj,k_proj,v_proj,o_proj"
EVERY = f"{ATTENTION},gate_proj,up_proj,down_proj"
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    # Our designs after EmoLoom-2B (METHODS 5.2): two pools, all parts on.
    "emoloom": {
        "tasks": "emotion_json",
        "label_weight": 0.5,
        "vad_weight": 1.0,
        "preserve_weight": 0.1,
        "preserve_rows": True,
        "appraisal_weight": 0.1,
        "mix": "0.2,0.8",
        "cooling": True,
    },
    # The imbalance recipe (METHODS 6.1) on texts: theirs is 4-bit too (SET=quantise=nf4) and reads vectors, not tokens.
    "korab": {
        "mode": "classify",
        "lora_dropout": 0.0,
        "lora_targets": EVERY,
        "learning_rate": 1e-4,
        "head_rate": 1e-4,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "epochs": 15,
        "batch": 32,
        "loss": "focal",
        "alpha": "published",
        "thresholds": "half",
        "max_length": 128,
    },
    # EC2ER's notebook (METHODS 3.4): the whole sequence is learnt; theirs is 4-bit too (SET=quantise=nf4).
    "ec2er": {
        "tasks": "mcq_eu,mcq_ea",
        "lora_rank": 64,
        "lora_alpha": 16,
        "lora_targets": ATTENTION,
        "learning_rate": 2e-4,
        "warmup_updates": 100,
        "batch": 32,
        "loss_whole": True,
    },
}
# METHODS 6.1: these have .75, the other 13 (the rarest among them) .25.
RAISED = frozenset((
    "fear", "sadness", "disgust", "disapproval", "annoyance", "anger", "disappointment", "optimism", "amusement",
    "surprise", "admiration", "excitement", "confusion", "joy", "love",
))  # fmt: skip


def recipe(preset: str = "default", **given: Any) -> SlmRecipe:
    """The preset with what is given put over it; WrongRequest names a value that cannot be."""
    _one_of("PRESET", preset, tuple(PRESETS))
    unknown = sorted(set(given) - {field.name for field in fields(SlmRecipe)})
    if unknown:
        raise WrongRequest(f"there is no setting {', '.join(unknown)} of TASK=slm; docs/LANGUAGE_MODELS.md lists them")
    made = _checked(SlmRecipe(**{**PRESETS[preset], **given}))
    _refuse_idle(made, given)
    return made


def _checked(made: SlmRecipe) -> SlmRecipe:
    if not made.base:
        raise WrongRequest("TASK=slm needs a language model to begin from; give BASE=Qwen/Qwen3-0.6B, or a folder")
    for name, low, high in RANGES:
        if not low <= getattr(made, name) <= high:
            raise WrongRequest(f"{name} = {getattr(made, name)} is not between {low:g} and {high:g}")
    _one_of("MODE", made.mode, MODES)
    _one_of("QUANTISE", made.quantise, ("", "nf4"))
    _one_of("KEEP", made.keep, ("best", "last"))
    _one_of("SCHEDULE", made.schedule, ("cosine", "linear"))
    _one_of("PRECISION", made.precision, ("auto", "bf16", "fp32"))
    _one_of("LOSS", made.loss, ("focal", "bce"))
    _one_of("THRESHOLDS", made.thresholds, ("per_class", "global", "half"))
    for task in made.tasks.split(","):
        _one_of("tasks", task, TASKS)
    pi(made)
    alphas(made.alpha, LABELS)
    if made.cooling and (not made.mix or made.mix == THEN):
        raise WrongRequest("cooling sets the temperature of a mixture; give MIX=0.2,0.8 with it, or SET=cooling=0")
    if made.cooling and not made.label_weight:
        raise WrongRequest("cooling reads the entropy of the label head; give SET='label_weight=0.5' with it")
    if made.tau_low > made.tau_high:
        raise WrongRequest(f"tau_low = {made.tau_low} is above tau_high = {made.tau_high}; change one of them")
    if (made.preserve_weight or made.preserve_rows) and not (made.vad or made.words):
        raise WrongRequest(
            "the VAD-preserving terms read words; give VAD=models/vad, a model of make train TASK=vad, or "
            "SET='preserve_weight=0 preserve_rows=0'"
        )
    if made.words and not (made.preserve_weight or made.preserve_rows):
        raise WrongRequest(
            "words decides nothing without the VAD-preserving terms; give SET='preserve_weight=0.05' with it"
        )
    if made.words_scale and not made.words:
        raise WrongRequest(f"words_scale={made.words_scale} is of a table of words; give SET='words=path' with it")
    if made.mode == "classify" and _of_generate(made):
        raise WrongRequest(f"{', '.join(_of_generate(made))} is of MODE=generate; leave it out with MODE=classify")
    return made


def _refuse_idle(made: SlmRecipe, given: Mapping[str, Any]) -> None:
    """What is asked for and would decide nothing is refused, not ignored."""
    others = OF_CLASSIFY if made.mode == "generate" else OF_GENERATE
    if idle := [name for name in given if name in others]:
        raise WrongRequest(f"{', '.join(idle)} decides nothing with MODE={made.mode}; leave it out")
    if made.guide and not made.appraisal_weight:
        raise WrongRequest(
            "GUIDE decides nothing without its term; give SET=appraisal_weight=0.1 with it, or leave it out"
        )
    if not made.cooling and (idle := [name for name in given if name in OF_COOLING]):
        raise WrongRequest(
            f"{', '.join(idle)} decides nothing without cooling; give SET='cooling=1 label_weight=0.5' and MIX=0.2,0.8 with "
            "it, or leave it out"
        )
    if not made.mix and "looks" in given:
        raise WrongRequest("looks decides nothing without a mixture; give MIX=0.2,0.8 with it, or leave it out")


def _of_generate(made: SlmRecipe) -> list[str]:
    names = ("label_weight", "vad_weight", "preserve_weight", "preserve_rows", "appraisal_weight", "mix", "loss_whole")
    return [name for name in names if getattr(made, name)]


def pi(made: SlmRecipe) -> tuple[float, float] | None:
    """What `mix` says of the two pools, as shares; None where it says nothing of them."""
    if made.mix in ("", THEN):
        return None
    try:
        one, other = (float(part) for part in made.mix.split(","))
        shares = one / (one + other), other / (one + other)
        # The sum may be infinite, and a share too small for a number.
        if not (one > 0 and other > 0 and min(shares) > 0):
            raise ValueError(made.mix)
    except (ValueError, ZeroDivisionError):
        raise WrongRequest(
            f"MIX={made.mix} is no pair of shares; give one for the first part of DATA and one for the others: MIX=0.2,0.8, "
            "or MIX=then"
        ) from None
    return shares


def warmup(made: SlmRecipe, rows: int) -> float:
    """The share of the updates over which the rate rises, with so many training rows; 1 where all would not suffice."""
    return min(1.0, made.warmup_updates / updates(made, rows)) if made.warmup_updates else made.warmup


def short_warmup(made: SlmRecipe, rows: int) -> tuple[str, ...]:
    """A sentence where the training ends before its warm-up does."""
    if made.warmup_updates < updates(made, rows):
        return ()
    return (
        f"the warm-up has {made.warmup_updates:,} updates and the whole training {updates(made, rows):,}, so the learning rate "
        "only rises; give more rows, or SET=warmup_updates=0 for a share of the updates",
    )


def updates(made: SlmRecipe, rows: int) -> int:
    """Of all epochs."""
    return -(-rows // made.batch) * made.epochs


def alphas(told: str, classes: tuple[str, ...]) -> list[float]:
    """The weight of a present label, for each class; an absent one has 1 - alpha."""
    if told == "published":
        return [0.75 if one in RAISED else 0.25 for one in classes]
    try:
        if "=" not in told:
            named, shared = {}, float(told)
        else:
            named = {name: float(value) for name, _, value in (one.partition("=") for one in told.split(","))}
            shared = 0.5
        found = [named.get(one, shared) for one in classes]
        if not all(0 <= one <= 1 for one in (*found, *named.values())) or set(named) - set(LABELS) - set(classes):
            raise ValueError(told)
    except ValueError:
        raise WrongRequest(
            f"alpha={told} is neither a number from 0 to 1, nor published, nor label=number with commas between"
        ) from None
    return found


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise WrongRequest(f"{name}={value} is not known; choose one of {', '.join(filter(None, known))}")
