"""A tiny model trained by two processes, forked from one that has imported torch and does nothing else."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from training.batches import Batch
from training.config import OptimizerConfig
from training.distributed import gather
from training.loop import train
from training.report import Reporter
from training.task import Figures, Task

forked = multiprocessing.get_context("forkserver")
RANKS = 2
OPTIMIZER = OptimizerConfig(
    steps=6, batch_size=8, lr=1e-2, warmup=1, ema_decay=0.9, log_every=2, checkpoint_every=1, evaluate_every=4
)


class Matching(Task):
    """Two small encoders of the same numbers, told to agree: every sample is compared with every other of the step."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.noise = noise
        self.left = nn.ModuleList([nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 4)])
        self.right = nn.Linear(6, 4)
        self.unused = nn.Linear(2, 2)
        self.register_buffer("steps", torch.zeros(()))
        self.held_out = torch.ones(3, 6)

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        self.steps += 1
        seen = batch["x"] + self.noise * torch.randn(batch["x"].shape, generator=generator)
        left, right = gather(self.encode(seen)), gather(self.right(batch["x"]))
        same = torch.arange(len(left))
        loss = F.cross_entropy(left @ right.T, same) + F.cross_entropy(right @ left.T, same)
        return loss, {"samples": float(len(left))}

    def encode(self, x: Tensor) -> Tensor:
        for layer in self.left:
            x = layer(x)
        return x

    def evaluate(self) -> Figures:
        return {"val/size": self.encode(self.held_out).square().mean()}


class Numbers:
    """Random numbers; ``bad`` is a sample that is none."""

    def __init__(self, bad: int | None = None) -> None:
        self.x = torch.from_numpy(np.random.default_rng(0).normal(size=(21, 6)).astype(np.float32))
        if bad is not None:
            self.x[bad] = float("nan")

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch:
        return {"x": self.x[indices], "keys": [f"key{index}" for index in indices]}


def train_alone(
    output: Path, optimizer: OptimizerConfig = OPTIMIZER, noise: float = 0.0, bad: int | None = None
) -> None:
    """Train in this process, one of a group where it was joined to one, and save the weights of its rank."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    output.mkdir(exist_ok=True)
    task = Matching(noise)
    rank = dist.get_rank() if dist.is_initialized() else 0
    reporter = Reporter("matching", output, {}, quiet=rank > 0)
    figures = train(task, Numbers(bad), optimizer, output, reporter, seed=0)
    torch.save({**task.state_dict(), **figures}, output / f"weights-{rank}.pt")


def train_together(output: Path, optimizer: OptimizerConfig = OPTIMIZER, **how: Any) -> None:
    """Train by two processes that both end well."""
    together(partial(train_alone, output, optimizer, **how), output)


def together(do: Callable[[], None], output: Path, expected: int = 0) -> None:
    """Call ``do`` in each of two joined processes and wait for their ends."""
    output.mkdir(exist_ok=True)
    meeting = output / f"meeting-{os.urandom(4).hex()}"
    members = [forked.Process(target=joined_to, args=(meeting, rank, do)) for rank in range(RANKS)]
    for process in members:
        process.start()
    for process in members:
        process.join(240)
    assert [process.exitcode for process in members] == [expected] * RANKS


def joined_to(meeting: Path, rank: int, do: Callable[[], None]) -> None:
    """Join the processes that meet at a file and call ``do``."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=RANKS)
    do()
    dist.destroy_process_group()


def weights(output: Path, rank: int = 0) -> dict[str, Any]:
    """Return what ``train_alone`` saved."""
    return torch.load(output / f"weights-{rank}.pt", weights_only=True)


def signalled_in_step(number: int, which: signal.Signals) -> None:
    """Send this process a signal in the middle of its ``number``-th optimizer step from now on."""
    taken = 0
    step_of_adamw = torch.optim.AdamW.step

    def take(self: torch.optim.AdamW, *arguments: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken == number:
            os.kill(os.getpid(), which)
        return step_of_adamw(self, *arguments)

    torch.optim.AdamW.step = take
