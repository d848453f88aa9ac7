"""The task as one process trains it: alone, as one of several copies (DDP), or with a share of its weights (FSDP2).

States are saved whole, so that a run goes on with another number of processes.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.batches import Batch
from training.config import OptimizerConfig
from training.distributed import World
from training.task import Figures, Task


class Replica:
    """Gives gradients of ``task``: the means over all samples of a step, whichever processes they went through.

    ``task`` is what the optimizer sees: the task that was given or, where it is sharded, a copy of it, whose
    parameters are shares; the given one then waits outside the GPU for the whole weights.
    """

    def __init__(self, task: Task, config: OptimizerConfig, world: World) -> None:
        self.is_sharded = config.sharded and world.size > 1
        self.task = copy.deepcopy(task) if self.is_sharded else task
        if config.gradient_checkpointing:
            self.task.checkpoint_gradients()
        loss = torch.compile(self.task.loss) if config.compile else self.task.loss
        self._loss: Any = loss
        if self.is_sharded:
            self._loss = _shard(_Loss(self.task, loss), task.device.type, world.size)
            task.cpu()
        elif world.size > 1:
            self._loss = DistributedDataParallel(
                _Loss(self.task, loss), find_unused_parameters=True, gradient_as_bucket_view=True
            )

    def backward(
        self, parts: list[Batch], generator: torch.Generator, precision: str
    ) -> Iterator[tuple[Tensor, Figures]]:
        """Add up the gradients of a step part by part; yield the loss and the figures of each.

        What the model keeps beside its weights (buffers) is the first process's at the beginning of a step.
        """
        if self.is_sharded:
            for buffer in self.task.buffers():
                dist.broadcast(buffer, src=0)
        for number, batch in enumerate(parts):
            with self._told_to_others(number == len(parts) - 1):
                with torch.autocast(generator.device.type, torch.bfloat16, enabled=precision == "bf16"):
                    loss, figures = self._loss(batch, generator)
                (loss / len(parts)).backward()
            yield loss.detach(), figures

    @contextmanager
    def _told_to_others(self, told: bool) -> Iterator[None]:
        """Exchange gradients with the other processes on the way back of the last part alone."""
        if self.is_sharded:
            self._loss.set_requires_gradient_sync(told)
        if isinstance(self._loss, DistributedDataParallel) and not told:
            with self._loss.no_sync():
                yield
        else:
            yield


class _Loss(nn.Module):
    """The loss as a module's forward pass, which DDP and FSDP2 watch."""

    def __init__(self, task: Task, loss: Any) -> None:
        super().__init__()
        self.task = task
        self.compute = loss

    def forward(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        loss, figures = self.compute(batch, generator)
        return loss, figures


def is_share(value: Any) -> bool:
    """Return whether ``value`` is a process's share of a tensor (a DTensor)."""
    return hasattr(value, "full_tensor")


def whole(value: Any) -> Any:
    """Return a state (tensors in dicts and lists) with every share of a tensor made whole; all processes take part."""
    if is_share(value):
        return value.full_tensor()
    if isinstance(value, dict):
        return {name: whole(item) for name, item in value.items()}
    return [whole(item) for item in value] if isinstance(value, list) else value


def parted(value: Tensor, like: Tensor) -> Tensor:
    """Return this process's share of a whole tensor, parted as ``like`` is; the tensor itself where that is whole."""
    if not is_share(like):
        return value
    from torch.distributed.tensor import distribute_tensor  # a second of import that only sharded training pays

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def optimizer_state(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
    """Return a whole state of ``optimizer``, parted as its parameters are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        number: {
            name: parted(value, parameters[number]) if value.ndim else value  # the count of steps is one number
            for name, value in moments.items()
        }
        for number, moments in saved["state"].items()
    }
    return {**saved, "state": state}


def _shard(module: _Loss, device_type: str, processes: int) -> _Loss:
    """Shard each block of every list of blocks by itself, so that one at a time is whole, and then what is left."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device_type, (processes,))
    for child in reversed(list(module.modules())):  # from the inside out: a block's own blocks come first
        for block in child if isinstance(child, nn.ModuleList) else ():
            if block is None or isinstance(block, nn.ModuleList):  # diffusers keeps None where a block has no attention
                continue
            if any(weight.requires_grad for weight in block.parameters()):
                fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module
