"""A finished model folder as it lies on the disk: standard files of a classifier or a regressor, read and checked once."""

from pathlib import Path
from typing import Any, NamedTuple

from factory.errors import WrongRequest


class Finished(NamedTuple):
    """A model in evaluation mode on its device, its tokeniser, what its outputs are, and of which kind they are."""

    model: Any
    tokenizer: Any
    classes: tuple[str, ...]
    kind: str  # as transformers names it: multi_label_classification, single_label_classification, regression, or ""


def loaded(folder: Path) -> Finished:
    """Safetensors only, nobody's code; WrongRequest where the folder holds no whole model."""
    if not (folder / "config.json").is_file():
        raise WrongRequest(f"{folder} holds no model (no config.json); give a folder that make train wrote")
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    from factory.train.model import first_line, quiet

    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            model, told = AutoModelForSequenceClassification.from_pretrained(
                folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as err:
        raise WrongRequest(
            f"{folder} cannot be loaded as a classifier ({first_line(err)}); give a folder that make train wrote"
        ) from err
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # transformers makes an empty one up where the file is missing
        raise WrongRequest(f"{folder} has no tokeniser of its own (tokenizer.json); train the model again")
    named = {int(place): label for place, label in (config.id2label or {}).items()}
    whole = sorted(named) == list(range(len(named))) and len(set(named.values())) == len(named)
    if not whole or told["missing_keys"] or told["mismatched_keys"]:
        missing = ", ".join(sorted(map(str, told["missing_keys"]))[:3]) or "its labels"
        raise WrongRequest(f"{folder} is no whole classifier (it lacks {missing}); give a folder that make train wrote")
    return Finished(
        model.to("cuda" if torch.cuda.is_available() else "cpu").eval(),
        tokenizer,
        tuple(named[n] for n in range(len(named))),
        config.problem_type or "",
    )
