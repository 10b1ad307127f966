"""Checkpoints as safetensors and JSON: weights that are learnt, the optimiser's moments, the average, and a note."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from factory.errors import Stopped
from factory.files import beside, sync, write_atomic, writing

NOTE = "checkpoint.json"


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Tensors as safetensors, whole or not at all."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(
                {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, beside(path)
            )
        except SafetensorError as err:  # it has a name of its own for a full disk
            raise OSError(str(err)) from err
        sync(beside(path))
        beside(path).replace(path)
        sync(path.parent)


def read(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as err:
        raise Stopped(f"{path} cannot be read ({err}); begin anew with FRESH=1") from err


def learnt(model: Any) -> dict[str, Tensor]:
    """The state of the model without what is frozen: that comes from its base."""
    frozen = {name for name, parameter in model.named_parameters(remove_duplicate=False) if not parameter.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def put(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """What `learnt` gave, back into the model."""
    model.load_state_dict({**model.state_dict(), **tensors})


def save(
    folder: Path, name: str, model: Any, optimiser: Any, average: Sequence[Tensor], progress: Mapping[str, Any]
) -> None:
    """Tensors first under a name of their own, then the note that names them: half a checkpoint is none."""
    tensors = {f"model.{key}": value for key, value in learnt(model).items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{key}": value for key, value in state.items()}
    tensors |= {f"average.{number}": value for number, value in enumerate(average)}
    write(folder / name, tensors)
    write_atomic(folder / NOTE, orjson.dumps({"state": name, "progress": progress}))
    for old in folder.glob("state-*.safetensors"):
        if old.name != name:
            old.unlink()


def resumed(folder: Path, model: Any, optimiser: Any, average: Sequence[Tensor]) -> dict[str, Any]:
    """Puts the last checkpoint back and gives the progress that stands in its note; nothing where there is none."""
    if not (folder / NOTE).exists():
        return {}
    try:
        found = orjson.loads((folder / NOTE).read_bytes())
        progress, tensors = dict(found["progress"]), read(folder / found["state"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise Stopped(f"{folder / NOTE} cannot be read ({err}); begin anew with FRESH=1") from err
    put(model, {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")})
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, place, name = key.split(".", 2)
            state.setdefault(int(place), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    for number, kept in enumerate(average):
        kept.copy_(tensors[f"average.{number}"])
    return progress
