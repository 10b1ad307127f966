"""Makes a small model of random weights with everything that a real one has: a tokenizer trained on this repository's own
texts, a chat template, safetensors. It writes nonsense, but under the same tokens, grammars and limits.

`python tests/models/tiny.py FOLDER [qwen3|llama] [--hidden N --layers N | --shape 0.4b]`
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THINK = ("<think>", "</think>")  # tokens of their own that count as text, as in Qwen3
# ChatML as Qwen3 writes it: an empty thought stands before an answer that is wanted without thinking.
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
KINDS = ("qwen3", "llama")
SHAPES = {"0.4b": {"hidden": 1024, "layers": 28, "heads": 16, "groups": 8, "inner": 3072, "head": 128}}
POSITIONS = 8192


def make(folder: Path, kind: str = "qwen3", *, hidden: int = 64, layers: int = 2, shape: str = "") -> Path:
    """Writes the model in bfloat16 into the folder, which is made, and gives it back; the same call writes the same bytes."""
    size = SHAPES[shape] if shape else _small(hidden, layers)
    folder.mkdir(parents=True, exist_ok=True)
    _quiet()
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    _model(kind, tokenizer, size).save_pretrained(folder)
    return folder


def _quiet() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()


def _small(hidden: int, layers: int) -> dict[str, int]:
    head = max(32, hidden // 4)  # vLLM's attention on a CPU takes no smaller one
    return {"hidden": hidden, "layers": layers, "heads": 4, "groups": 2, "inner": 2 * hidden, "head": head}


def _texts() -> Iterator[str]:
    for path in sorted((ROOT / "corpora").glob("*.jsonl")):
        yield from (json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines())
    for path in sorted((ROOT / "prompts").glob("*.md")):
        yield path.read_text(encoding="utf-8")


def _tokenizer() -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2046,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(_texts(), trainer)
    made.add_tokens([AddedToken(token, special=False, normalized=False) for token in THINK])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        bos_token=None,
        model_max_length=POSITIONS,
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _model(kind: str, tokenizer: Any, size: dict[str, int]) -> Any:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": size["hidden"],
        "intermediate_size": size["inner"],
        "num_hidden_layers": size["layers"],
        "num_attention_heads": size["heads"],
        "num_key_value_heads": size["groups"],
        "head_dim": size["head"],
        "max_position_embeddings": POSITIONS,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "tie_word_embeddings": True,
    }
    made = Qwen3ForCausalLM(Qwen3Config(**common)) if kind == "qwen3" else LlamaForCausalLM(LlamaConfig(**common))
    made = made.to(torch.bfloat16)
    made.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind", nargs="?", choices=KINDS, default="qwen3")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="")
    given = parser.parse_args()
    print(make(given.folder, given.kind, hidden=given.hidden, layers=given.layers, shape=given.shape))


if __name__ == "__main__":
    main()
