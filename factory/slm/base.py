"""Causal language models as Hugging Face folders: where a base comes from, what of it learns, and how an adapter comes back."""

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

from factory.engines.local import Chat, Model
from factory.errors import WrongRequest
from factory.files import beside, sync, writing
from factory.requests import Message
from factory.slm.recipe import SlmRecipe
from factory.slm.rows import Row
from factory.slm.tokens import tokens
from factory.train.model import first_line, quiet

ADAPTER, TOLD, MERGED, LIMITS, DONE = "adapter_config.json", "slm.json", "merged", "thresholds.json", "training.json"
CARD = "adapter.md"  # of a merged model: the card of what was merged
GOOD = "a folder with config.json, a tokeniser and *.safetensors, or the id of such a model on the hub"
WEIGHTS = "adapter_model.safetensors"
ANEW = "copy it anew, or train it again"
FOREIGN = (
    *(OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, TypeError, ZeroDivisionError),
    *(SafetensorError, StrictDataclassError),
)
# Buffers that older versions of transformers wrote into a model's files: they are computed and were never learnt.
_COMPUTED = re.compile(r"(inv_freq|\.(attn|attention)\.(masked_)?bias)$")


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
    template where it is to answer or one that fails, weights of another config, an adapter, four bits without a GPU.
    """
    named, folder = f"BASE={base}", _folder(base)
    if folder is not None:
        _refuse_folder(folder, named)
    if quantise:
        _need_quantising()
    more: dict[str, Any] = {"trust_remote_code": False, **({"revision": revision} if revision else {})}
    source = str(folder or base)
    with _translated(f"{named} cannot be loaded ({{}}); give {GOOD}"):
        config = AutoConfig.from_pretrained(source, **more)
        _refuse_other_kinds(config, named)
        tokenizer = AutoTokenizer.from_pretrained(source, **more)
    if not classes and not getattr(tokenizer, "chat_template", None):
        raise WrongRequest(f"{named} has no chat template, so it was never taught to answer; choose an instruct model")
    if not classes:
        _refuse_template(tokenizer, named)
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
    _refuse_other_weights(model, told, named, classify=bool(classes))
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

    WrongRequest where the folder holds no adapter, one that is not whole, or one that was trained on another base.
    """
    told, weights = record(folder), _weights(folder)
    named = base or str(told["base"])
    classes = tuple(told.get("classes", ())) if told["mode"] == "classify" else ()
    revision = "" if base else str(told.get("revision", ""))
    based = load(named, revision, device=device, dtype=dtype, classes=classes)
    if based.commit != told["base_commit"]:
        raise WrongRequest(
            f"{folder} is an adapter for another base (it was trained on {told['base']} at {told['base_commit']}, and {named} "
            f"is at {based.commit}); give the base that it was trained on"
        )
    model = _with_weights(based.model, folder, weights)
    return Based(model=model.eval(), tokenizer=_tokenizer(folder), commit=based.commit, dtype=based.dtype)


def _weights(folder: Path) -> dict[str, Tensor]:
    """Those of an adapter; without its file peft would read a pickle, or ask the hub for a model of the folder's name."""
    if not (folder / WEIGHTS).is_file():
        raise WrongRequest(f"{folder} has no {WEIGHTS}, and weights are read from safetensors alone; {ANEW}")
    with _translated(f"{folder / WEIGHTS} cannot be read ({{}}); {ANEW}"):
        return dict(load_file(folder / WEIGHTS))


def _with_weights(model: Any, folder: Path, weights: Mapping[str, Tensor]) -> Any:
    """The model with the adapter that `adapter_config.json` tells of, every tensor of it as in `weights`: peft would leave
    those that are missing as they are drawn."""
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    with _translated(f"{folder / ADAPTER} cannot be used ({{}}); {ANEW}"):
        config = PeftConfig.from_pretrained(str(folder.resolve()))
        config.inference_mode, config.base_model_name_or_path = True, model.name_or_path
        made = get_peft_model(model, config)
        wanted = get_peft_model_state_dict(made, save_embedding_layers=False)
    told, right = ({key: tensor.shape for key, tensor in several.items()} for several in (weights, wanted))
    wrong = sorted(key for key in told.keys() | right.keys() if told.get(key) != right.get(key))
    if wrong:
        raise WrongRequest(
            f"{folder / WEIGHTS} is not whole ({len(wrong)} tensors are missing, too many or of another shape, the first "
            f"{wrong[0]}); {ANEW}"
        )
    with _translated(f"{folder / WEIGHTS} cannot be read ({{}}); {ANEW}"):
        set_peft_model_state_dict(made, dict(weights))
    return made


def record(folder: Path) -> dict[str, Any]:
    """What `slm.json` says of a folder; WrongRequest where it is none of ours."""
    try:
        told = dict(json.loads((folder / TOLD).read_bytes()))
        if not {"mode", "base", "base_commit"} <= told.keys() or not (folder / ADAPTER).is_file():
            raise ValueError("it is not whole")
    except (OSError, ValueError, TypeError, RecursionError) as err:
        raise WrongRequest(
            f"{folder} is no adapter of make train TASK=slm ({first_line(err)}); give a folder that it wrote"
        ) from err
    return told


def merge(folder: Path, out: Path, base: str = "") -> None:
    """Writes the adapter of `folder` and its base as one model, in the number format of the base, with the chat template
    and a generation config that ends where answers end and draws nothing. Whole, or not at all.

    The adapter's card goes with it, and `slm.json` says what it was taught and from what, so that it is known wherever
    it is moved to.
    """
    found = adapted(folder, base, dtype=torch.float32)
    model = found.model.merge_and_unload().to(found.dtype)
    if getattr(model, "generation_config", None) is not None:
        model.generation_config = greedy(model.generation_config, found.tokenizer)
    apart = beside(out)
    shutil.rmtree(apart, ignore_errors=True)
    with _saving(out):
        apart.mkdir(parents=True)
        with quiet():
            model.save_pretrained(apart)
            found.tokenizer.save_pretrained(apart)
        for name, here in ((LIMITS, LIMITS), ("README.md", CARD)):
            if (folder / name).is_file():
                shutil.copy(folder / name, apart / here)
        (apart / "README.md").write_text(_page(record(folder)), encoding="utf-8")
        (apart / TOLD).write_text(json.dumps(_told_of(folder), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for path in apart.iterdir():
            path.chmod((folder / TOLD).stat().st_mode)  # safetensors are written for their owner alone
            sync(path)
        shutil.rmtree(out, ignore_errors=True)
        apart.replace(out)
        sync(out.parent)


def _page(told: Mapping[str, Any]) -> str:
    """What stands beside the merged weights; the adapter's own card tells how to load the adapter."""
    way = "AutoModelForSequenceClassification" if told["mode"] == "classify" else "AutoModelForCausalLM"
    return (
        f"# An adapter and its base as one model\n\n`{told['base']}` (at `{told['base_commit']}`) with a LoRA adapter merged "
        f"into it: transformers' `{way}` loads this folder without peft. What it was taught, from what, under which terms and "
        f"with which figures stands in [{CARD}]({CARD}), the card of the adapter.\n"
    )


def _told_of(folder: Path) -> dict[str, Any]:
    """`slm.json` with what `factory.seen` needs of the training: the record itself would make of a merged folder one that a
    training can go on in, or throw away."""
    done = folder / DONE
    training = json.loads(done.read_bytes()) if done.is_file() else {}
    needed = {name: training[name] for name in ("recipe", "data", "fingerprint") if name in training}
    return record(folder) | ({"training": needed} if needed else {})


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
        told = err.__cause__ if isinstance(err, StrictDataclassError) else None  # its own first line is but a heading
        raise WrongRequest(sentence.replace("{}", first_line(told if isinstance(told, Exception) else err))) from err


@contextmanager
def _saving(path: Path) -> Iterator[None]:
    """As `writing`, also for what is written in Rust: safetensors and tokenizers have no OSError for a full disk."""
    with writing(path):
        try:
            yield
        except Exception as err:
            if "(os error " not in str(err):
                raise
            raise OSError(first_line(err)) from err


def _folder(base: str) -> Path | None:
    """The folder that BASE is, None for the name of a model on the hub; WrongRequest where it can be neither."""
    try:
        path = Path(base).expanduser()
        return path if path.is_dir() else None
    except (OSError, RuntimeError) as err:  # a name too long, the home of nobody
        why = getattr(err, "strerror", None) or first_line(err)
        raise WrongRequest(f"BASE={base[:200]} cannot be loaded ({why}); give {GOOD}") from err


def _refuse_folder(path: Path, named: str) -> None:
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


def _refuse_template(tokenizer: Any, named: str) -> None:
    """A chat template is a program, and its mistakes show when it is run: here, before the weights are loaded."""
    try:
        Chat(tokenizer).text((Message("system", "x"), Message("user", "x")))
    except WrongRequest as err:
        raise WrongRequest(f"{named}: {err}") from err


def _refuse_other_weights(model: Any, told: Mapping[str, Any], named: str, *, classify: bool) -> None:
    """WrongRequest where a tensor is missing, of another shape or left over: a layer of it would be drawn anew, or dropped.

    To classify, a new head is drawn and that of the language model is left over.
    """
    missing = {key for key in told["missing_keys"] if not (classify and key.startswith("score"))}
    body = f"{model.base_model_prefix}."
    left = {key for key in told["unexpected_keys"] if not _COMPUTED.search(key)}
    left = {key for key in left if key.startswith(body)} if classify else left
    strange = sorted({*missing, *left, *(str(one[0]) for one in told["mismatched_keys"])})
    if strange:
        raise WrongRequest(
            f"the weights of {named} are not those of its config.json ({len(strange)} are missing, too many or of another "
            f"shape, the first {strange[0]}); fetch the model anew"
        )


def longest(model: Any) -> int:
    """Tokens that the base reads together, as its config.json says; `sys.maxsize` where that says nothing."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize)


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
    with _saving(folder), quiet():
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(str(folder), save_embedding_layers=False)
        tokenizer.save_pretrained(str(folder))
        (folder / "README.md").unlink(missing_ok=True)  # peft's own, without a figure in it
        (folder / TOLD).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
