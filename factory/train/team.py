"""Several processes that train one model together, as accelerate or torchrun starts them; one alone is a team too.

Each has the whole model and its share of the rows of every update; gradients are added up, so all stay alike. Only the
main process writes, watches and measures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Which process this is, of how many, and the device that it computes on."""

    number: int = 0
    size: int = 1
    device: torch.device

    @property
    def main(self) -> bool:
        return self.number == 0

    def sums(self, *values: Any) -> list[float]:
        """Each number added up over all processes."""
        mine = torch.stack([torch.as_tensor(value, dtype=torch.float64, device="cpu") for value in values])
        if self.size > 1:
            mine = mine.to(self.device if self.device.type == "cuda" else "cpu", torch.float32)
            torch.distributed.all_reduce(mine)
        return [float(value) for value in mine]

    def told(self, value: Any) -> Any:
        """What the main process has; the others' own values are not looked at."""
        told = [value]
        if self.size > 1:
            torch.distributed.broadcast_object_list(told, src=0, device=self.device)
        return told[0]

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """One sum over all processes, in one message; a process whose share had no rows adds nothing."""
        if self.size == 1:
            return
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
        torch.distributed.all_reduce(flat)
        for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)


def here() -> Team:
    """The team that this process was started in; alone where nobody started one. Takes a GPU where there is one."""
    gpu = torch.cuda.is_available()
    if not torch.distributed.is_torchelastic_launched():
        return Team(device=torch.device("cuda" if gpu else "cpu"))
    from accelerate import PartialState

    state = PartialState(cpu=not gpu)
    return Team(number=state.process_index, size=state.num_processes, device=torch.device(state.device))
