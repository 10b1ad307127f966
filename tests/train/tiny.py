"""Makes small encoders of random weights, each of a kind that real ones have, with tokenisers trained on this repository's own
texts; and small datasets of our own that even they learn.
"""

import json
import random
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from factory.taxonomy import ID, LABELS

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("bert", "roberta", "deberta", "modernbert")
# A word that gives each label away, beside words that say nothing.
SIGNS = {
    "joy": "sunshine",
    "anger": "hammer",
    "fear": "cellar",
    "gratitude": "present",
    "neutral": "table",
    "grief": "grave",
}
FILLERS = "the old man went down to the river and saw a boat with two people who had come from far away".split()


def make(folder: Path, kind: str = "bert", *, dropout: float = 0.1, layers: int = 2, seed: int = 0) -> Path:
    """Writes an encoder without a head into the folder, which is made, and gives it back."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(seed)
    tokenizer = _tokenizer(kind)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    _model(kind, tokenizer, dropout, layers).save_pretrained(folder)
    return folder


@lru_cache
def _texts() -> tuple[str, ...]:
    lines = [
        line for path in sorted((ROOT / "corpora").glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()
    ]
    signs = string.ascii_lowercase + string.digits
    every = " ".join(one + other for one in signs for other in signs)  # so that no word is unknown
    return (*(json.loads(line)["text"] for line in lines), " ".join(SIGNS.values()), "Context: Said:", every)


def _pieces() -> dict[str, int]:
    """Special tokens, single signs, and the thousand most frequent words."""
    signs = string.ascii_lowercase + string.digits + string.punctuation
    words = Counter(word for text in _texts() for word in re.findall("[a-z]+", text.lower()))
    often = [word for word, _ in sorted(words.items(), key=lambda one: (-one[1], one[0]))[:1000]]
    some = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *(f"##{sign}" for sign in signs), *often]
    return {piece: n for n, piece in enumerate(dict.fromkeys([*some, *SIGNS.values(), *FILLERS]))}


@lru_cache
def _tokenizer(kind: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if kind == "bert":  # a trainer of word pieces makes others each time
        made = Tokenizer(models.WordPiece(_pieces(), unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer(lowercase=True)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        pad, start, end, between = "[PAD]", "[CLS]", "[SEP]", "$A:0 [SEP]:0 $B:1"
    else:
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=1500,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        made.train_from_iterator(_texts(), trainer)
        pad, start, end = "<pad>", "<s>", "</s>"
        between = "$A:0 </s>:0 </s>:0 $B:0" if kind == "roberta" else "$A:0 </s>:0 $B:0"
    made.post_processor = processors.TemplateProcessing(
        single=f"{start}:0 $A:0 {end}:0",
        pair=f"{start}:0 {between} {end}:{1 if kind == 'bert' else 0}",
        special_tokens=[(token, made.token_to_id(token)) for token in (start, end)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=pad, cls_token=start, sep_token=end, model_max_length=128
    )


def _model(kind: str, tokenizer: Any, dropout: float, layers: int) -> Any:
    import transformers as t

    size: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "initializer_range": 0.2,  # as wide as it is narrow, so that it learns in seconds
        "pad_token_id": tokenizer.pad_token_id,
    }
    drops = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    if kind == "bert":
        return t.BertModel(t.BertConfig(**size, **drops, max_position_embeddings=128))
    if kind == "roberta":
        return t.RobertaModel(t.RobertaConfig(**size, **drops, max_position_embeddings=130, type_vocab_size=1))
    if kind == "deberta":
        more = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}
        return t.DebertaV2Model(
            t.DebertaV2Config(**size, **drops, **more, max_position_embeddings=128, type_vocab_size=0)
        )
    drops = {"attention_dropout": dropout, "mlp_dropout": dropout, "embedding_dropout": dropout}
    marks = {"bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
    return t.ModernBertModel(
        t.ModernBertConfig(**size, **drops, **marks, max_position_embeddings=128, local_attention=32)
    )


# Rows ---------------------------------------------------------------------------------------------------------------------


def sayings(count: int, seed: int, labels: Sequence[str] = tuple(SIGNS)) -> Iterator[tuple[str, list[str]]]:
    """Texts that are all different, each with one or two labels that its words give away."""
    draw = random.Random(seed)
    for number in range(count):
        mine = draw.sample(list(labels), draw.choice((1, 1, 2)))
        words = [*draw.sample(FILLERS, draw.randint(1, 8)), *(SIGNS[label] for label in mine), f"no{seed}x{number}"]
        draw.shuffle(words)
        yield " ".join(words), sorted(mine, key=LABELS.index)


def row(
    ident: str, text: str, labels: Sequence[str], source: str, context: str = "", score: float = 0.8
) -> dict[str, Any]:
    """A row of a view, as far as training reads it."""
    scores = [0.0] * len(LABELS)
    for label in labels:
        scores[ID[label]] = score
    made = {"id": ident, "source_id": source, "utterance": text, "labels": list(labels)}
    made |= {"label_ids": [ID[label] for label in labels], "intensities": scores}
    return made | ({"context": context, "character": "A woman of the village."} if context else {})


def dataset(folder: Path, counts: Sequence[int] = (240, 60, 60), view: str = "contextless", context: str = "") -> Path:
    """A dataset folder with a view of so many rows in train, validation and test; sources are of one part each."""
    for number, (part, count) in enumerate(zip(("train", "validation", "test"), counts, strict=True)):
        told = f"{context} " if context else ""
        rows = [
            row(f"{part}{n}", text, labels, f"{part}-{n % 10}", f"{told}{text[::-1]}" if context else "")
            for n, (text, labels) in enumerate(sayings(count, number))
        ]
        write(folder / view / f"{part}-00000-of-00001.parquet", rows, bool(context))
    return folder


def write(path: Path, rows: Sequence[dict[str, Any]], contextual: bool = False) -> Path:
    """Rows as a view has them."""
    words = ["id", "source_id", "utterance", *(["context", "character"] if contextual else [])]
    schema = pa.schema([
        *((name, pa.string()) for name in words),
        *([("kind", pa.string())] if rows and "kind" in rows[0] else []),
        ("labels", pa.list_(pa.string())),
        ("label_ids", pa.list_(pa.int32())),
        ("intensities", pa.list_(pa.float32())),
    ])  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist([dict(one) for one in rows], schema), path)
    return path
