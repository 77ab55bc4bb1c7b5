"""One process or several: who takes which rows, and what is gathered from all.

Started by `torchrun`, every process holds the model (`ddp`) or a part of it (`fsdp`) and takes
every n-th row of a batch. The loss and its gradient are those of one process with the same batch.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from mobilebert_core.errors import ConfigError
from mobilebert_torch.params import to_array

Array = np.ndarray[Any, np.dtype[Any]]
STYLES = ("ddp", "fsdp")


class Processes:
    """The processes of a run; outside torchrun there is one.

    Args:
        style: `ddp` copies the model, `fsdp` shards it.
        device: of this process's model, e.g. `cuda`; None is torch's default.

    Raises:
        ConfigError: no style has this name.
    """

    def __init__(self, style: str = "ddp", device: str | None = None) -> None:
        if style not in STYLES:
            raise ConfigError(f"parallel is {style!r}, expected one of {', '.join(STYLES)}")
        self.style = style
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = device
        if device == "cuda" and self.size > 1:
            self.device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
            torch.cuda.set_device(self.device)
        if self.size > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device == "cuda" else "gloo")

    @property
    def is_first(self) -> bool:
        """Whether this process writes and shows things."""
        return self.rank == 0

    def own_rows(self, num_rows: int) -> Array:
        """Which rows of a batch this process takes: every n-th."""
        return np.arange(self.rank, num_rows, self.size)

    def check_parts(self, num_rows: int, parts: int) -> None:
        """Refuse a batch of which some process would have a part without rows.

        Raises:
            ConfigError: names the batch size that is needed.
        """
        if num_rows // self.size < parts:
            raise ConfigError(
                f"batch_size is {num_rows} for {self.size} processes with micro_batches {parts} in "
                f"each, expected at least {self.size * parts}"
            )

    def shard(self, objective: nn.Module) -> None:
        """Spread the parameters, where the style says so."""
        if self.size > 1 and self.style == "fsdp":
            backbone = getattr(objective.model, "mobilebert", objective.model)
            mesh = dist.init_device_mesh(
                "cuda" if str(self.device).startswith("cuda") else "cpu", (self.size,)
            )
            for layer in backbone.encoder.layer:
                fully_shard(layer, mesh=mesh)
            fully_shard(objective, mesh=mesh)

    def wrap(self, objective: nn.Module) -> nn.Module:
        """What is called in training, so that gradients become the mean over processes."""
        if self.size > 1 and self.style == "ddp":
            return DistributedDataParallel(objective)
        return objective

    def synchronise(self, wrapped: nn.Module, wanted: bool) -> None:
        """Whether the next backward pass exchanges gradients: the last part of a batch alone."""
        if isinstance(wrapped, DistributedDataParallel):
            wrapped.require_backward_grad_sync = wanted
        elif self.size > 1:
            wrapped.set_requires_gradient_sync(wanted)

    def total(self, value: float) -> float:
        """The sum over processes."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return float(tensor)

    def same(self, value: Any) -> Any:
        """The first process's value, in all."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()

    def close(self) -> None:
        """Leave the group."""
        if dist.is_initialized():
            dist.destroy_process_group()


def full_array(tensor: Tensor) -> Array:
    """A whole tensor, gathered from all processes if they share it."""
    whole = tensor.detach()
    return to_array(whole.full_tensor() if isinstance(whole, DTensor) else whole)


@torch.no_grad()
def assign(target: Tensor, array: Array) -> None:
    """Write values into a tensor, or each process's part of it."""
    values = torch.from_numpy(np.array(array)).to(target.device)
    if isinstance(target, DTensor):
        values = distribute_tensor(values, target.device_mesh, target.placements)
    target.copy_(values)


def named_state(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    """The optimiser's tensors by the names of their parameters."""
    return {
        f"{kind}.{names[id(parameter)]}": tensor
        for parameter, state in optimizer.state.items()
        for kind, tensor in state.items()
    }
