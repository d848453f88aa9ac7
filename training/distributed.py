"""Several processes that train one model, started by torchrun: who this one is, and what they tell each other."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.elastic.multiprocessing.errors import get_error_handler

PATIENCE = timedelta(hours=6)  # the others wait while the first evaluates and saves

Value = TypeVar("Value")


@dataclass(frozen=True)
class World:
    """This process is number ``rank`` of ``size``. What the methods tell is the same in all of them."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that evaluates, saves and reports."""
        return self.rank == 0

    def said_by_first(self, value: Value) -> Value:
        """Return the first process's ``value``."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def said_by_all(self, value: Value) -> list[Value]:
        """Return every process's ``value``, in order of rank."""
        if self.size == 1:
            return [value]
        box: list[Any] = [None] * self.size
        dist.all_gather_object(box, value)
        return box

    def largest(self, number: int) -> int:
        """Return the largest of the processes' numbers; fifty microseconds on one machine."""
        if self.size == 1:
            return number
        box = torch.tensor(number)
        dist.all_reduce(box, dist.ReduceOp.MAX)
        return int(box)

    def wait(self) -> None:
        """Wait until every process is here."""
        self.largest(0)


def world() -> World:
    """Return who this process is; the only one where none were joined."""
    if not dist.is_available() or not dist.is_initialized():
        return World()
    return World(dist.get_rank(), dist.get_world_size())


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """Join the processes that torchrun started, until the block ends; a process that it did not start is alone."""
    if not dist.is_torchelastic_launched():
        yield World()
        return
    store, rank, size = next(dist.rendezvous("env://", timeout=PATIENCE))
    # torchrun keeps its store over a restart: processes must not meet at addresses of those that are gone
    store = dist.PrefixStore(f"try {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    yield world()
    dist.destroy_process_group()  # after an error the process ends anyway, and waiting for the others would hang


@contextmanager
def recorded() -> Iterator[None]:
    """Tell torchrun of an error of the block, so that it can say which process failed first, and of what."""
    try:
        yield
    except Exception as error:
        if dist.is_torchelastic_launched():
            get_error_handler().record_exception(error)
        raise


def gather(tensor: Tensor) -> Tensor:
    """Return every process's ``tensor`` [N, …] as one [size · N, …], in order of rank; gradients flow back to all.

    For losses that compare each sample of a step with every other, such as contrastive ones. Each process computes the
    loss of the whole; the mean over processes of the weights' gradients, which the loop takes, is then exact. With one
    process it is ``tensor`` itself.
    """
    return tensor if world().size == 1 else _Gather.apply(tensor)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(world().size)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(world().size)[world().rank]
