"""From rows to the folder of a language model that answers in the one contract: `make train TASK=slm`."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from numpy.typing import NDArray

from factory import __version__, benchmarks, files, vad
from factory.errors import WrongRequest
from factory.slm import base, card, recipe
from factory.slm.learner import Learner, Side, Teaching
from factory.slm.mixture import Mixture
from factory.slm.rating import Rater
from factory.slm.recipe import THEN, SlmRecipe, pi
from factory.slm.rows import Pool, Row, answered, load
from factory.slm.tokens import tokens
from factory.taxonomy import LABELS
from factory.train import checkpoint, keep, loop, team, thresholds
from factory.train.course import QUIET, Watcher, attend
from factory.train.work import Progress, Report

Floats = NDArray[np.floating[Any]]
SCORE = "probability of a token"  # geometric mean over the tokens of answers
HEADS = "heads.safetensors"
PARTS = ("train", "validation", "test")
UNKNOWN = "terms not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One finished model: its folder, and what was measured."""

    folder: Path
    seed: int
    says: str  # the result in a sentence
    record: Mapping[str, Any]


def train(
    spec: str,
    out: Path,
    made: SlmRecipe,
    seeds: Sequence[int] = (0,),
    watcher: Watcher = QUIET,
    *,
    fresh: bool = False,
    checkpoint_seconds: float = loop.CHECKPOINT_SECONDS,
) -> list[Trained]:
    """Trains an adapter for each seed, in OUT itself or, where there are several, in OUT/seed-N; the same call resumes.

    Raises WrongRequest before anything is written where the data, the base or a setting cannot be, Interrupted when asked to
    stop. In a team of processes only the main one gives back what was trained.
    """
    mates = team.here()
    if made.mode == "classify":
        from factory.slm import classify

        course: Any = classify.Classes(spec, made, mates)
    else:
        course = Answers(spec, made, mates, watcher.says if mates.main else QUIET.says)
    read = {"BASE": made.base, "VAD": made.vad, "GUIDE": made.guide, "words": made.words}
    folders = attend(course, out, seeds, mates, watcher, checkpoint_seconds, read=read, fresh=fresh)
    for folder in folders if made.merge else ():
        if not (folder / base.MERGED).is_dir():
            with keep.alone_in(out):
                base.merge(folder, folder / base.MERGED)
            watcher.says(f"{folder / base.MERGED} is the merged model")
    return [_finished(folder) for folder in folders]


def _finished(folder: Path) -> Trained:
    record = keep.record(folder / keep.DONE)
    part = "test" if "test" in record["results"] else "validation"
    found = record["results"][part]
    if record["recipe"]["mode"] == "classify":
        score = found["macro_f1"]
        how = thresholds.told(record)
        says = f"macro-F1 {score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f}) on {part}, {how}"
    else:
        says = f"{found['surprise']:.4f} nats a token on {part}, {SCORE} {found['probability']:.3g}"
    return Trained(folder=folder, seed=record["recipe"]["seed"], says=f"{folder}: {says}", record=record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Teachers:
    """What a model learns from beside its rows: words with VAD, VAD for texts without, and under which terms; `says` is told
    of work that takes long."""

    words: vad.WordTable | None = None
    rater: Rater | None = None
    licences: tuple[str, ...] = ()
    says: Callable[[str], None] = QUIET.says


class Answers:
    """The course of a model that answers: pools of rows, and what a model of a seed is."""

    score = "probability"

    def __init__(self, spec: str, made: SlmRecipe, mates: team.Team, says: Callable[[str], None] = QUIET.says) -> None:
        self._spec, self._made, self._mates = spec, made, mates
        self.more, self.defaults = (base.MERGED,), {field.name: field.default for field in fields(SlmRecipe)}
        wanted = made.words or (made.vad if made.preserve_weight or made.preserve_rows else "")
        _refuse_idle_vad(spec, made.vad, wanted)
        words = vad.WordTable.of(Path(wanted), made.words_scale) if wanted else None
        self.pools = load(
            spec,
            tasks=tuple(made.tasks.split(",")),
            flips=made.flips,
            vad=bool(made.vad),
            words=words if made.preserve_rows else None,
        )
        lacking = ", ".join(pool.name for pool in self.pools if pool.name in _benchmarks(spec))
        self._teachers = Teachers(
            words=words,
            rater=Rater(Path(made.vad), lacking, says) if lacking else None,
            licences=tuple(_licences(made, lacking, words)),
            says=says,
        )
        if made.mix and len(self.pools) < 2:
            raise WrongRequest(
                f"MIX={made.mix} samples from two pools, and DATA={spec} is one; give two with a comma "
                "(DATA=outputs/name,goemotions:path), or SET='mix= cooling=0'"
            )
        self.says = [line for pool in self.pools for line in _described(pool)]

    def plan(self, seed: int) -> Mapping[str, Any]:
        return {
            "recipe": asdict(replace(self._made, seed=seed, merge=False)),  # it decides nothing of the model
            "data": self._spec,
            "fingerprint": fingerprint(self.pools, rater.fingerprint if (rater := self._teachers.rater) else ""),
        }

    def lesson(self, seed: int) -> "Lesson":
        return Lesson(self.pools, replace(self._made, seed=seed), self._mates, self._teachers)

    def summary(self, records: Sequence[Mapping[str, Any]]) -> Mapping[str, bytes]:
        return card.of_seeds(records)


def _refuse_idle_vad(spec: str, given: str, words: str) -> None:
    """A model of VAD is read for its words, or for the values of a benchmark's texts; else it would decide nothing."""
    if given and given != words and not _benchmarks(spec):
        raise WrongRequest(
            f"VAD={given} decides nothing here: the rows of {spec} have valence, arousal and dominance of their own; give "
            "SET=preserve_weight=0.1 or a benchmark in DATA with it, or leave it out"
        )


def _benchmarks(spec: str) -> list[str]:
    """Of the parts of DATA those that are benchmarks, by name."""
    named = [part.strip().partition(":") for part in spec.split(",")]
    return [name for name, colon, _ in named if colon and name in benchmarks.ALL]


def _licences(made: SlmRecipe, lacking: str, words: vad.WordTable | None) -> Iterator[str]:
    """Terms of what else is learnt from; they bind the model as those of its rows do."""
    if lacking:
        yield f"{_licence(Path(made.vad) / vad.NOTE)} (VAD of the texts of {lacking}, from {made.vad})"
    if words:
        yield f"{words.licence or UNKNOWN} (words with VAD, from {made.words or made.vad})"
    if made.guide and made.appraisal_weight:
        yield f"{_licence(Path(made.guide) / 'guide.json')} (appraisals, from {made.guide})"


def _licence(note: Path) -> str:
    """What a model's own file says of its data's terms."""
    try:
        return str(orjson.loads(note.read_bytes())["licence"]) or UNKNOWN
    except (OSError, ValueError, KeyError, TypeError):  # whoever reads the model says what is wrong with its file
        return UNKNOWN


def _described(pool: Pool) -> list[str]:
    counts = ", ".join(f"{part} {len(getattr(pool, part)):,}" for part in PARTS)
    return [f"{pool.name}: {counts} rows", *(f"  {note}" for note in pool.notes)]


def fingerprint(pools: Sequence[Pool], rater: str = "") -> str:
    """Of everything a model can learn from here or be chosen by; `rater` is that of who gives VAD to the rows without."""
    digest = sha256(rater.encode())
    for pool in pools:
        for part in PARTS:
            rows = getattr(pool, part)
            digest.update(orjson.dumps([part, len(rows)]))
            for row in rows:
                digest.update(orjson.dumps(row))
    return digest.hexdigest()[:16]


def _taught_by(made: SlmRecipe, teachers: Teachers) -> Iterator[str]:
    """The content of the guide and of the words."""
    if made.guide:
        yield from (files.sha256(path) for path in sorted(Path(made.guide).glob("*.safetensors")))
    if teachers.words:
        yield sha256(orjson.dumps(sorted(teachers.words.words.items()))).hexdigest()


class Lesson:
    """One model that is to answer, with its rows as tokens."""

    def __init__(
        self, pools: Sequence[Pool], made: SlmRecipe, mates: team.Team, teachers: Teachers | None = None
    ) -> None:
        self._pools, self._made, self._mates, self._teachers = pools, made, mates, teachers or Teachers()
        self.rows = {part: [row for pool in pools for row in getattr(pool, part)] for part in PARTS}
        cut = self._thinned(len(pools[0].train))
        kept = set(map(id, self.rows["train"]))
        self._learnt = {pool.name: Counter(row.task for row in pool.train if id(row) in kept) for pool in pools}
        self._refuse_empty()
        exact = mates.device.type != "cuda" or made.precision == "fp32"
        self._based = base.load(
            made.base,
            made.revision,
            quantise=made.quantise,
            device=mates.device,
            dtype=torch.float32 if exact else torch.bfloat16,
        )
        self.origin = " ".join((self._based.commit, *_taught_by(made, self._teachers)))
        self._answer()
        tokenizer = self._based.tokenizer
        sides = {part: self._side(part, tokenizer) for part in PARTS}
        self.sides = sides
        torch.manual_seed(made.seed)  # what is drawn from here on is the adapter's and the heads' beginning
        self.learner = Learner(base.with_adapter(self._based, made), made.heads).to(mates.device)
        self._made = made = self._with_warmup()
        self.teaching = Teaching(
            self.learner,
            tokenizer.pad_token_id,
            sides["train"],
            sides["validation"],
            made,
            mates,
            self._table(self._teachers.words) if self._teachers.words and made.preserve_weight else None,
            self._mixture(cut),
        )
        self.notes = self._told()

    def _thinned(self, first: int) -> int:
        """Leaves `limit` of the training rows, the same whatever else is set; gives how many are of the first pool."""
        limit, rows = self._made.limit, self.rows["train"]
        if not 0 < limit < len(rows):
            return first
        chosen = np.sort(np.random.default_rng(self._made.seed).permutation(len(rows))[:limit])
        self.rows["train"] = [rows[n] for n in chosen]
        return int((chosen < first).sum())

    def _answer(self) -> None:
        """Gives the rows of benchmarks their VAD and their answers: of those that were left, and once a base is there."""
        if self._teachers.rater is None:
            return
        made = iter(answered([row for part in PARTS for row in self.rows[part]], self._teachers.rater))
        self.rows = {part: [next(made) for _ in rows] for part, rows in self.rows.items()}

    def _refuse_empty(self) -> None:
        for part in PARTS[:2]:
            if not self.rows[part]:
                raise WrongRequest(
                    f"there is no row in the {part} part, and nothing can be trained without one; give a corpus of ten sources "
                    "or more (a split is by source)"
                )

    def _side(self, part: str, tokenizer: Any) -> Side:
        rows: list[Row] = self.rows[part]
        guide = None
        if self._made.guide and self._made.appraisal_weight and part == "train":
            from factory.train.guide import Guide

            self._teachers.says(f"reading the appraisals of {len(rows):,} texts with {self._made.guide}")
            guide = Guide.of(Path(self._made.guide)).read([row.text for row in rows])
        return Side.of(rows, tokens(tokenizer, rows, self._made.max_length, base.longest(self._based.model)), guide)

    def _table(self, words: "vad.WordTable") -> Floats:
        """[vocabulary, 4] of the words, on the scale of what is to be preserved: raters of words and of texts, or a model,
        use the middle of a scale to different degrees."""
        known = self.sides["train"].vad[~np.isnan(self.sides["train"].vad).any(axis=1)]
        if len(known) > 1:
            words = words.onto(known.mean(axis=0).tolist(), known.std(axis=0).tolist())
        return words.tokens(self._based.tokenizer, self.learner.net.get_output_embeddings().weight.shape[0])

    def _mixture(self, first: int) -> Mixture | None:
        made, count = self._made, len(self.rows["train"])
        if not made.mix:
            return None
        if not 0 < first < count:
            raise WrongRequest(f"MIX={made.mix} needs training rows in both pools, and one has none; leave out MIX")
        return Mixture(
            first=tuple(range(first)),
            second=tuple(range(first, count)),
            pi=None if made.mix == THEN else pi(made),
            cooling=made.cooling,
            high=made.tau_high,
            low=made.tau_low,
            floor=made.floor,
            looks=made.looks,
            epochs=made.epochs,
            batch=made.batch,
            seed=made.seed,
        )

    def _with_warmup(self) -> SlmRecipe:
        made = self._made
        return replace(made, learning_rate=made.rate, warmup=recipe.warmup(made, len(self.rows["train"])))

    def _told(self) -> tuple[str, ...]:
        learnt = sum(one.numel() for one in self.learner.parameters() if one.requires_grad)
        side = self.sides["train"]
        whole, answers = sum(side.lengths), sum(len(one.ids) - one.prompt for one in side.tokens)
        return (
            f"{self._made.base}: {learnt:,} weights learn; {whole:,} tokens an epoch, {answers:,} of them in answers",
            *recipe.short_warmup(self._made, len(self.rows["train"])),
        )

    def learn(
        self, work: Path, report: Callable[[Report], None], stops: Callable[[], bool], checkpoint_seconds: float
    ) -> Progress:
        progress = loop.learn(
            self.learner, self.teaching, self._made, work, self._mates, report, stops, checkpoint_seconds
        )
        self._progress = progress
        return progress

    def finish(self, apart: Path, record: Mapping[str, Any]) -> dict[str, Any]:
        made, based = self._made, self._based
        results = {part: self._measured(part) for part in PARTS[1:] if self.rows[part]}
        licences = (*(pool.licence for pool in self._pools), *self._teachers.licences)
        whole = {
            **record,
            "factory": __version__,
            "torch": torch.__version__,
            "base": made.base,
            "base_commit": based.commit,
            "rows": {part: len(rows) for part, rows in self.rows.items()},
            "tokens": {part: sum(side.lengths) for part, side in self.sides.items()},
            "pools": {pool.name: {part: len(getattr(pool, part)) for part in PARTS} for pool in self._pools},
            "learnt": self._learnt,
            "notes": [*(note for pool in self._pools for note in pool.notes), *self.notes],
            "licence": "; ".join(dict.fromkeys(filter(None, licences))),
            "terms": dict(zip(self.teaching.terms, zip(*self._progress.terms_by_epoch, strict=True), strict=True)),
            "looks": self._progress.looks,
            "results": results,
        }
        base.save_adapter(self.learner.net, based.tokenizer, apart, self._slm())
        if self.learner.heads is not None:
            checkpoint.write(apart / HEADS, self.learner.heads.state_dict())
        (apart / "README.md").write_text(card.written(whole), encoding="utf-8")
        return whole

    def _slm(self) -> dict[str, Any]:
        made = self._made
        return {
            "mode": made.mode,
            "contract": 1,
            "base": made.base,
            "revision": made.revision,
            "base_commit": self._based.commit,
            "tasks": made.tasks.split(","),
            "max_length": made.max_length,
            "heads": dict(made.heads),
            "switches": {
                name: getattr(made, name)
                for name in (
                    *("label_weight", "vad_weight", "preserve_weight", "preserve_rows", "appraisal_weight"),
                    *("flips", "mix", "cooling"),
                )
            },
        }

    def _measured(self, part: str) -> dict[str, Any]:
        """Surprise of the answers and, where a label head was trained, macro-F1 of its labels with thresholds of validation."""
        side = self.sides[part]
        surprise = self.teaching.surprise(side)
        found: dict[str, Any] = {"surprise": surprise, "probability": float(np.exp(-surprise))}
        if self._made.label_weight:
            kept = self._thresholds()
            held = side.hard.any(axis=1)
            if held.any():
                found["label_head_macro_f1"] = thresholds.macro_f1(kept.keep(self._said(part)[held]), side.hard[held])
        return found

    def _thresholds(self) -> thresholds.Thresholds:
        hard = self.sides["validation"].hard
        held = hard.any(axis=1)
        return thresholds.tuned(self._said("validation")[held], hard[held], LABELS, "per_class", "validation")

    def _said(self, part: str) -> Floats:
        tokens_of = [one._replace(ids=one.ids[: one.prompt]) for one in self.sides[part].tokens]
        logits = self.teaching.heads(tokens_of)["labels"]
        return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))
