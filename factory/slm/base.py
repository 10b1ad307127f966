"""Causal language models as Hugging Face folders: where a base comes from, what of it learns, and how an adapter comes back."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

from factory.engines.local import Model
from factory.errors import WrongRequest
from factory.files import beside, sync, writing
from factory.requests import Message
from factory.slm.recipe import SlmRecipe
from factory.slm.rows import Row
from factory.slm.tokens import tokens
from factory.train.model import first_line, quiet

ADAPTER, TOLD, MERGED, LIMITS = "adapter_config.json", "slm.json", "merged", "thresholds.json"
GOOD = "a folder with config.json, a tokeniser and *.safetensors, or the id of such a model on the hub"
FOREIGN = (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, TypeError, SafetensorError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Based:
    """A model with its tokeniser; `commit` names the very weights of the base, `dtype` is that of its files."""

    model: Any
    tokenizer: Any
    commit: str
    dtype: torch.dtype


def load(
    base: str,
    revision: str = "",
    *,
    quantise: str = "",
    device: Any = "cpu",
    dtype: torch.dtype | None = torch.float32,
    classes: tuple[str, ...] = (),
) -> Based:
    """A causal language model, or with `classes` its body under a new multi-label head. Safetensors only, nobody's code.

    `dtype` None: as its files are. WrongRequest says what is wrong with BASE: no language model, pickles only, no chat
    template where it is to answer, an adapter, four bits without a GPU.
    """
    named = f"BASE={base}"
    _refuse_folder(Path(base).expanduser(), named)
    if quantise:
        _need_quantising()
    more: dict[str, Any] = {"trust_remote_code": False, **({"revision": revision} if revision else {})}
    source = str(Path(base).expanduser()) if Path(base).expanduser().is_dir() else base
    with _translated(f"{named} cannot be loaded ({{}}); give {GOOD}"):
        config = AutoConfig.from_pretrained(source, **more)
        _refuse_other_kinds(config, named)
        tokenizer = AutoTokenizer.from_pretrained(source, **more)
    if not classes and not getattr(tokenizer, "chat_template", None):
        raise WrongRequest(f"{named} has no chat template, so it was never taught to answer; choose an instruct model")
    own = _dtype(config)
    if quantise:
        more |= {"quantization_config": _four_bits(), "device_map": {"": device}}
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    kind = AutoModelForCausalLM
    if classes:
        kind = AutoModelForSequenceClassification
        more["config"] = config
        config.id2label, config.label2id = dict(enumerate(classes)), {label: n for n, label in enumerate(classes)}
        config.problem_type, config.pad_token_id = "multi_label_classification", tokenizer.pad_token_id
    with _translated(f"{named} cannot be loaded ({{}}); give {GOOD}"):
        model, told = kind.from_pretrained(
            source, dtype=dtype or own, use_safetensors=True, output_loading_info=True, **more
        )
    strange = sorted(key for key in told["missing_keys"] if not (classes and key.startswith("score")))
    if strange or told["mismatched_keys"]:
        raise WrongRequest(
            f"the weights of {named} are not those of its config.json ({(strange or ['a shape'])[0]}); fetch the model anew"
        )
    commit = Model("transformers", base, revision).commit
    model = model if quantise else model.to(device)
    return Based(model=model, tokenizer=tokenizer, commit=commit, dtype=own)


def with_adapter(based: Based, made: SlmRecipe) -> Any:
    """The model with a new LoRA adapter, the only thing in it that learns (and a classifier's head)."""
    from peft import LoraConfig, get_peft_model

    targets: Any = made.lora_targets if made.lora_targets == "all-linear" else made.lora_targets.split(",")
    classify = made.mode == "classify"
    config = LoraConfig(
        r=made.lora_rank,
        lora_alpha=made.lora_alpha,
        lora_dropout=made.lora_dropout,
        target_modules=targets,
        task_type="SEQ_CLS" if classify else "CAUSAL_LM",
        modules_to_save=["score"] if classify else None,
        base_model_name_or_path=made.base,
        revision=made.revision or None,
    )
    if made.checkpointing:
        based.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        based.model.enable_input_require_grads()
    with _translated(f"lora_targets={made.lora_targets} fits no layer of BASE={made.base} ({{}}); give all-linear"):
        return get_peft_model(based.model, config)


def adapted(folder: Path, base: str = "", *, device: Any = "cpu", dtype: torch.dtype | None = None) -> Based:
    """A folder of ours loaded over its base, ready to answer; `base` where it has moved, `dtype` None: as its files are.

    WrongRequest where the folder holds no adapter, or one that was trained on another base.
    """
    from peft import PeftModel

    told = record(folder)
    named = base or str(told["base"])
    classes = tuple(told.get("classes", ())) if told["mode"] == "classify" else ()
    revision = "" if base else str(told.get("revision", ""))
    based = load(named, revision, device=device, dtype=dtype, classes=classes)
    if based.commit != told["base_commit"]:
        raise WrongRequest(
            f"{folder} is an adapter for another base (it was trained on {told['base']} at {told['base_commit']}, and {named} "
            f"is at {based.commit}); give the base that it was trained on"
        )
    with _translated(
        f"{folder} is an adapter for another base than {named} ({{}}); give the base that it was trained on"
    ):
        model = PeftModel.from_pretrained(based.model, str(folder), torch_device=str(device))
    return Based(model=model.eval(), tokenizer=_tokenizer(folder), commit=based.commit, dtype=based.dtype)


def record(folder: Path) -> dict[str, Any]:
    """What `slm.json` says of a folder; WrongRequest where it is none of ours."""
    try:
        told = dict(json.loads((folder / TOLD).read_bytes()))
        if not {"mode", "base", "base_commit"} <= told.keys() or not (folder / ADAPTER).is_file():
            raise ValueError("it is not whole")
    except (OSError, ValueError) as err:
        raise WrongRequest(
            f"{folder} is no adapter of make train TASK=slm ({first_line(err)}); give a folder that it wrote"
        ) from err
    return told


def merge(folder: Path, out: Path, base: str = "") -> None:
    """Writes the adapter of `folder` and its base as one model, in the number format of the base, with the chat template
    and a generation config that ends where answers end and draws nothing. Whole, or not at all."""
    found = adapted(folder, base, dtype=torch.float32)
    model = found.model.merge_and_unload().to(found.dtype)
    if getattr(model, "generation_config", None) is not None:
        model.generation_config = greedy(model.generation_config, found.tokenizer)
    apart = beside(out)
    shutil.rmtree(apart, ignore_errors=True)
    with writing(out):
        apart.mkdir(parents=True)
        with quiet():
            model.save_pretrained(apart)
            found.tokenizer.save_pretrained(apart)
        if (folder / LIMITS).is_file():
            shutil.copy(folder / LIMITS, apart / LIMITS)
        for path in apart.iterdir():
            path.chmod((folder / TOLD).stat().st_mode)  # safetensors are written for their owner alone
            sync(path)
        shutil.rmtree(out, ignore_errors=True)
        apart.replace(out)
        sync(out.parent)


def greedy(config: Any, tokenizer: Any) -> Any:
    """The base's generation config without sampling, with the tokens that end a turn (also that of the template, which a base
    may have forgotten) and a padding token."""
    from transformers import GenerationConfig

    known = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    turn = Row(id="", task="mcq_ea", messages=(Message("user", "x"), Message("assistant", "y")))
    learnt = tokens(tokenizer, [turn], 1 << 20)[0].ids[-1]
    ends = [one for one in dict.fromkeys([*known, tokenizer.eos_token_id, learnt]) if one is not None]
    return GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=ends[0] if len(ends) == 1 else ends,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )


def _tokenizer(folder: Path) -> Any:
    with _translated(f"the tokeniser of {folder} cannot be read ({{}}); train the model again"):
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)


@contextmanager
def _translated(sentence: str) -> Iterator[None]:
    """Foreign errors as one sentence; `{}` in it is what they say."""
    try:
        with quiet():
            yield
    except FOREIGN as err:
        raise WrongRequest(sentence.replace("{}", first_line(err))) from err


def _refuse_folder(path: Path, named: str) -> None:
    if not path.is_dir():
        return
    if (path / ADAPTER).is_file():
        raise WrongRequest(
            f"{named} is an adapter and no whole model; merge it first (SET=merge=1) and give {path / MERGED}, or give its base"
        )
    if any(path.glob("*.bin")) and not any(path.glob("*.safetensors")):
        raise WrongRequest(
            f"{named} has its weights as *.bin only, which is a pickle and can run anybody's code when it is read; "
            "give one with *.safetensors"
        )


def _refuse_other_kinds(config: Any, named: str) -> None:
    """Encoders that could also be read from left to right are none: they were never taught to."""
    encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not any(
        "CausalLM" in one for one in config.architectures or ()
    )
    if config.is_encoder_decoder or encoder or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise WrongRequest(
            f"{named} is no causal language model (its kind is {config.model_type}); choose one such as Qwen3-0.6B, or "
            "TASK=encoder for an encoder"
        )


def _dtype(config: Any) -> torch.dtype:
    found = getattr(config, "dtype", None)
    found = getattr(torch, found) if isinstance(found, str) else found
    return found if isinstance(found, torch.dtype) and found.is_floating_point else torch.float32


def _need_quantising() -> None:
    if find_spec("bitsandbytes") is None or not torch.cuda.is_available():
        missing = "bitsandbytes is not installed" if find_spec("bitsandbytes") is None else "there is no GPU here"
        raise WrongRequest(f"quantise=nf4 needs a GPU and bitsandbytes, and {missing}; leave it out")


def _four_bits() -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=["lm_head", "score"],
    )


def save_adapter(model: Any, tokenizer: Any, folder: Path, told: Mapping[str, Any]) -> None:
    """Adapter, tokeniser with its chat template, and `slm.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(str(folder), save_embedding_layers=False)
        tokenizer.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # peft's own, without a figure in it
    (folder / TOLD).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
