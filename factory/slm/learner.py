"""A language model that learns: rows through it in batches of like length, and what they cost.

Only the positions that predict a target reach the output layer, whose logits over a whole vocabulary are most of the memory
and of a small model's time. Rows are padded on the right, where a model that reads from left to right never looks, so no mask
is needed either.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from factory.slm import parts
from factory.slm.mixture import Mixture, entropy
from factory.slm.recipe import SlmRecipe
from factory.slm.rows import Row
from factory.slm.tokens import Tokens
from factory.taxonomy import LABELS
from factory.train.batches import Update, epoch, passes
from factory.train.team import Team
from factory.train.work import Progress

Floats = NDArray[np.floating[Any]]
EPS = 1e-6  # a sum that is none is divided by this
READ = 2  # times the token budget of a pass that nothing is learnt from


class Learner(nn.Module):  # type: ignore[misc]  # torch is not there when types are checked
    """A model with its adapter, and heads (28 labels, VAD, 4 appraisals: those that are on) on the last token of the prompt."""

    def __init__(self, net: Any, heads: Sequence[tuple[str, int]]) -> None:
        super().__init__()
        self.net = net
        self.widths = dict(heads)
        self.heads: nn.Module | None = None
        if heads:
            embeddings = net.get_input_embeddings().weight
            size = net.get_output_embeddings().weight.shape[-1] if embeddings.ndim < 2 else embeddings.shape[1]
            self.heads = nn.Linear(size, sum(self.widths.values())).to(embeddings.device, torch.float32)

    def forward(self, batch: "Batch") -> tuple[Tensor, dict[str, Tensor]]:
        """Logits [targets, vocabulary] of what comes after each spot, and of each head [rows, its width]."""
        last: list[Tensor] = []

        def narrow(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
            hidden = inputs[0]
            last.append(hidden[torch.arange(len(hidden), device=hidden.device), batch.last])
            return (hidden[batch.rows, batch.places][None],)

        hook = self.net.get_output_embeddings().register_forward_pre_hook(narrow)
        try:
            logits = self.net(input_ids=batch.ids, use_cache=False).logits[0]
        finally:
            hook.remove()
        if self.heads is None:
            return logits, {}
        with torch.autocast(logits.device.type, enabled=False):
            found = self.heads(last[0].float())
        return logits, dict(zip(self.widths, found.split(list(self.widths.values()), dim=1), strict=True))


class Batch(NamedTuple):
    """Rows padded on the right [rows, longest]; targets stand behind the spots (rows, places); `last` of each prompt."""

    ids: Tensor
    rows: Tensor
    places: Tensor
    targets: Tensor
    last: Tensor

    @staticmethod
    def of(some: Sequence[Tokens], fill: int, whole: bool, device: Any) -> "Batch":
        ids = np.full((len(some), max(len(one.ids) for one in some)), fill)
        rows, places = [], []
        for n, one in enumerate(some):
            ids[n, : len(one.ids)] = one.ids
            at = np.arange(begin(one, whole) - 1, len(one.ids) - 1)
            places.append(at)
            rows.append(np.full(len(at), n))
        row, place = np.concatenate(rows), np.concatenate(places)
        last = np.asarray([one.prompt - 1 for one in some])
        made = (ids, row, place, ids[row, place + 1] if len(row) else row, last)
        return Batch(*(torch.as_tensor(one, dtype=torch.long, device=device) for one in made))


def begin(one: Tokens, whole: bool) -> int:
    """The first token that is learnt: behind the prompt, or the second of all."""
    return 1 if whole else one.prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What is learnt beside the words, one line a row: labels [rows, 28] and what follows with NaN where it is not known."""

    tokens: list[Tokens]
    weights: Floats
    hard: Floats
    vad: Floats  # [rows, 3]
    guide: Floats  # [rows, 4]

    @staticmethod
    def of(rows: Sequence[Row], tokens: list[Tokens], guide: Floats | None = None) -> "Side":
        """`guide` [rows, 4]: what an appraisal guide says of the rows; else their own appraisals."""
        hard = np.zeros((len(rows), len(LABELS)), np.float32)
        for n, row in enumerate(rows):
            hard[n, list(row.hard)] = 1
        own = np.asarray([row.appraisals for row in rows], np.float32).reshape(len(rows), 4)
        return Side(
            tokens=tokens,
            weights=np.asarray([row.weight for row in rows], np.float32),
            hard=hard,
            vad=np.asarray([row.vad for row in rows], np.float32).reshape(len(rows), 3),
            guide=own if guide is None else np.asarray(guide, np.float32),
        )

    @property
    def lengths(self) -> list[int]:
        return [len(one.ids) for one in self.tokens]


class Teaching:
    """The work of `factory.train.loop.learn` for a language model that answers."""

    def __init__(
        self,
        learner: Learner,
        fill: int,
        train: Side,
        validation: Side,
        made: SlmRecipe,
        team: Team,
        words: Floats | None = None,
        mixture: Mixture | None = None,
    ) -> None:
        """`fill`: the padding token; `words` [vocabulary, 4]: V, A, D and whether a token is a word that has them."""
        self._learner, self._fill, self._train, self._held = learner, fill, train, validation
        self._made, self._team, self._mixture = made, team, mixture
        self._device = next(learner.parameters()).device
        self._words = None if words is None else torch.as_tensor(words, dtype=torch.float32, device=self._device)
        weights = {
            "language": 1.0,
            "labels": made.label_weight,
            "vad": made.vad_weight,
            "preserve": made.preserve_weight,
            "appraisals": made.appraisal_weight,
        }
        self._weights = {name: weight for name, weight in weights.items() if weight}
        self.terms = tuple(self._weights)
        whole = [len(one.ids) - begin(one, made.loss_whole) for one in train.tokens]
        vad: Any = ~np.isnan(train.vad).all(axis=1)
        known: dict[str, Any] = {
            "language": np.asarray(whole) * train.weights.astype(np.float64),
            "labels": train.hard.any(axis=1),
            "vad": vad,
            "preserve": np.asarray([one.rationale[1] > one.rationale[0] for one in train.tokens]) & vad,
            "appraisals": np.asarray(~np.isnan(train.guide).all(axis=1)),
        }
        self._known = (
            known  # what a term of an update is the mean over: weighted tokens, or rows that have what it needs
        )
        self._lengths = train.lengths
        self.rows, self.read = len(train.tokens), len(validation.tokens)
        self.updates = mixture.updates if mixture else math.ceil(self.rows / made.batch)
        self._casts: list[tuple[Tensor, Tensor]] = []

    # what an update is ------------------------------------------------------------------------------------------------

    def epoch(self, progress: Progress) -> Iterable[Update]:
        part, made = (self._team.number, self._team.size), self._made
        if self._mixture is None:
            return epoch(self._lengths, made.batch, made.token_budget, made.seed, progress.epoch, part)
        return self._mixed(self._mixture, progress, part)

    def _mixed(self, mixture: Mixture, progress: Progress, part: tuple[int, int]) -> Iterator[Update]:
        """Measures before each look but the first, unless that was done before it was stopped."""
        sizes, count = np.asarray(self._lengths), len(mixture.parts)
        for look in range(progress.epoch * count, (progress.epoch + 1) * count):
            if mixture.cooling and look > len(progress.looks):
                progress.looks.append(self._team.told(self.entropy() if self._team.main else None))
            yield from mixture.look(look, mixture.shares(progress.looks), sizes, self._made.token_budget, part)

    def entropy(self) -> float:
        """Of the label head on some validation rows."""
        rows = [n for n in range(self.read) if self._held.hard[n].any()][: self._made.looked_at]
        prompts = [Tokens(self._held.tokens[n].ids[: self._held.tokens[n].prompt], 0, (0, 0)) for n in rows]
        asked = [Tokens(one.ids, len(one.ids), (0, 0)) for one in prompts]
        found = self.heads(asked)["labels"]
        self._learner.train()
        return entropy(1 / (1 + np.exp(-found.astype(np.float64))))

    # what it costs ----------------------------------------------------------------------------------------------------

    def cost(self, rows: list[int], update: Update) -> Tensor:
        """Each term's sum over the rows, over what the term of the whole update is the mean over."""
        side, made = self._train, self._made
        some = [side.tokens[n] for n in rows]
        batch = Batch.of(some, self._fill, made.loss_whole, self._device)
        logits, heads = self._learner(batch)
        every = list(update.every)
        with torch.autocast(self._device.type, enabled=False):
            sums = {"language": self._language(logits, batch, rows)}
            if "labels" in self._weights:
                sums["labels"] = self._of(parts.labels(heads["labels"], self._told(side.hard, rows)), "labels", rows)
            if "vad" in self._weights:
                sums["vad"] = parts.vad(heads["vad"], self._told(side.vad, rows)).sum()
            if "preserve" in self._weights:
                sums["preserve"] = self._preserved(logits, some, rows)
            if "appraisals" in self._weights:
                sums["appraisals"] = parts.guided(heads["appraisals"], self._told(side.guide, rows)).sum()
            each = [
                sums[name] * (weight / max(EPS, float(self._known[name][every].sum())))
                for name, weight in self._weights.items()
            ]
            return torch.stack(each)

    def _language(self, logits: Tensor, batch: Batch, rows: list[int]) -> Tensor:
        each = cross_entropy(logits.float(), batch.targets, reduction="none")
        return (each * self._told(self._train.weights, rows)[batch.rows]).sum()

    def _preserved(self, logits: Tensor, some: Sequence[Tokens], rows: list[int]) -> Tensor:
        assert self._words is not None
        total, at = torch.zeros((), device=self._device), 0
        targets = self._told(self._train.vad, rows)
        for n, one in enumerate(some):
            first = begin(one, self._made.loss_whole)
            start, end = one.rationale
            if self._known["preserve"][rows[n]]:
                spoken = logits[at + start - first : at + end - first]
                total = total + parts.preserved(spoken, self._words, targets[n])
            at += len(one.ids) - first
        return total

    def _of(self, each: Tensor, name: str, rows: list[int]) -> Tensor:
        return (each * torch.as_tensor(self._known[name][rows], device=self._device)).sum()

    def _told(self, values: Floats, rows: list[int]) -> Tensor:
        return torch.as_tensor(values[rows], device=self._device)

    # what is measured -------------------------------------------------------------------------------------------------

    def score(self) -> float:
        """Geometric mean of the probabilities of the validation part's target tokens."""
        return math.exp(-self.surprise(self._held))

    def surprise(self, side: Side) -> float:
        """Mean -log p of the target tokens (the answer's, whatever was learnt), in nats."""
        total = sum(
            float(cross_entropy(logits.float(), batch.targets, reduction="sum"))
            for _, batch, logits, _ in self._through(side.tokens)
        )
        return total / max(1, sum(len(one.ids) - one.prompt for one in side.tokens))

    def heads(self, tokens: Sequence[Tokens]) -> dict[str, Floats]:
        """Logits of each head [rows, its width]."""
        found = {name: np.zeros((len(tokens), width), np.float32) for name, width in self._learner.widths.items()}
        for some, _, _, heads in self._through(tokens):
            for name, values in heads.items():
                found[name][list(some)] = values.float().cpu().numpy()
        return found

    def _through(self, tokens: Sequence[Tokens]) -> Iterator[tuple[tuple[int, ...], Batch, Tensor, dict[str, Tensor]]]:
        self._learner.eval()
        sizes = [len(one.ids) for one in tokens]
        for some in passes(range(len(tokens)), sizes, READ * self._made.token_budget):
            batch = Batch.of([tokens[n] for n in some], self._fill, False, self._device)
            with torch.inference_mode():
                logits, heads = self._learner(batch)
            yield some, batch, logits, heads

    # how it computes --------------------------------------------------------------------------------------------------

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW: one rate for the adapter, one for new heads; matrices alone decay."""
        mine = {id(one) for one in self._learner.heads.parameters()} if self._learner.heads else set()
        groups: dict[tuple[float, float], list[Any]] = {}
        for parameter in self._learner.parameters():
            if parameter.requires_grad:
                rate = self._made.head_rate or self._made.rate if id(parameter) in mine else self._made.rate
                decay = 0.0 if parameter.ndim < 2 else self._made.weight_decay
                groups.setdefault((rate, decay), []).append(parameter)
        made = [
            {"params": some, "lr": rate, "highest": rate, "weight_decay": decay}
            for (rate, decay), some in sorted(groups.items(), key=lambda group: group[0])
        ]
        return torch.optim.AdamW(made, fused=True)

    def precision(self) -> str:
        """'bf16' where passes of these very rows are a tenth faster with it; on a GPU that knows bf16 always."""
        if self._made.precision != "auto" or self._made.quantise:
            return "bf16" if self._made.quantise else self._made.precision
        if self._device.type == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
        ordered = sorted(range(self.rows), key=lambda n: self._lengths[n])[self.rows // 2 :][: self._made.batch]
        rows = list(next(passes(ordered, self._lengths, self._made.token_budget)))
        exact = [(parameter, parameter.data) for parameter in self._frozen()]
        times = {"fp32": self._timed(rows, bf16=False)}
        self.settle("bf16")
        times["bf16"] = self._timed(rows, bf16=True)
        for parameter, data in exact:
            parameter.data = data
        return "bf16" if times["bf16"] < 0.9 * times["fp32"] else "fp32"

    def _timed(self, rows: list[int], *, bf16: bool) -> float:
        """Seconds of the best of three passes there and back."""
        self._learner.train()
        best = math.inf
        for _ in range(3):
            start = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                cost = self.cost(rows, Update((tuple(rows),), tuple(rows)))
            cost.sum().backward()
            best = min(best, time.perf_counter() - start)
        self._learner.zero_grad(set_to_none=True)
        return best

    def settle(self, precision: str) -> None:
        """What is frozen is kept in the number format that is computed in; what learns stays in float32."""
        for parameter in self._frozen() if precision == "bf16" else ():
            parameter.data = parameter.data.to(torch.bfloat16)

    def _frozen(self) -> list[Any]:
        return [one for one in self._learner.parameters() if not one.requires_grad and one.dtype == torch.float32]
