"""The one training loop. A task is a model with its loss; everything else about training is here.

Nothing about position is saved: each step is reseeded from (seed, step) and the samples of a step follow from
(seed, epoch), so a run that was killed and resumed gives the same weights, bit for bit, as one that was not.
"""

import hashlib
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import OptimizerConfig
from training.ema import Ema
from training.report import Reporter

Batch = dict[str, Any]
Figures = dict[str, float | Tensor]


class Task(nn.Module):
    """A model (its submodules) with its loss. Parameters with ``requires_grad=False`` are left alone."""

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """Return the scalar loss of a batch and figures to log; noise comes from ``generator``."""
        raise NotImplementedError

    def evaluate(self) -> Figures:
        """Return figures on held-out data (``val/…``); runs in eval mode, without gradients, on averaged weights."""
        return {}


class Data(Protocol):
    """Samples by index. ``batch`` returns tensors and ``keys``, the list of sample keys."""

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch: ...


class NotFiniteError(RuntimeError):
    """The loss or the gradient is NaN or infinite; the message names the step and the samples."""


def train(
    task: Task,
    data: Data,
    optimizer: OptimizerConfig,
    output: Path,
    reporter: Reporter,
    seed: int,
    precision: str = "fp32",
    phase: str = "",
) -> Figures:
    """Train ``task`` on ``data`` for ``optimizer.steps`` steps and return its figures on held-out data.

    Afterwards the task holds the averaged weights, where ``optimizer.ema_decay`` asks for them, and is in eval mode.

    A checkpoint ``{phase-}checkpoint.pt`` in ``output`` is resumed; it stays after the last step, so that a job
    of several phases resumes in the right one, and ``training.job.run`` removes it. Figures of a phase are logged
    as ``{phase}/{name}``. SIGINT and SIGTERM write a checkpoint and exit with 130 and 143.

    Raises NotFiniteError where the loss or the gradient is not finite.
    """
    device = next(task.parameters()).device
    parameters = [parameter for parameter in task.parameters() if parameter.requires_grad]
    adamw = torch.optim.AdamW(_decay_groups(parameters, optimizer.weight_decay), lr=optimizer.lr, betas=(0.9, 0.98))
    ema = Ema(task, optimizer.ema_decay) if optimizer.ema_decay else None
    path = output / (f"{phase}-checkpoint.pt" if phase else "checkpoint.pt")
    run = {"optimizer": optimizer.model_dump(), "seed": seed, "precision": precision}

    step = 0
    if (state := load_checkpoint(path, run)) is not None:
        step = state["step"]
        task.load_state_dict(state["task"])
        adamw.load_state_dict(state["adamw"])
        if ema is not None:
            ema.means = {name: mean.to(device) for name, mean in state["ema"].items()}
        reporter.restore(state["reporter"])
        print(f"resumed {path.name} at step {step} of {optimizer.steps}", flush=True)

    def checkpoint() -> None:
        averaged = {} if ema is None else ema.means
        state = {"step": step, "task": task.state_dict(), "adamw": adamw.state_dict(), "ema": averaged}
        save_checkpoint(path, {**state, "reporter": reporter.state(), "run": run})

    def log(figures: Figures) -> None:
        prefix = f"{phase}/" if phase else ""
        reporter.log(step, optimizer.steps, **{prefix + name: float(value) for name, value in figures.items()})

    task.train()
    window = _Window()
    with _stop_signals() as stop:
        while step < optimizer.steps:
            torch.manual_seed(step_seed(seed, step))
            generator = torch.Generator(device).manual_seed(step_seed(seed, step))
            indices, epochs = samples_of_step(seed, step, optimizer.batch_size, len(data))
            batch = data.batch(indices, epochs)
            batch = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}
            for group in adamw.param_groups:
                group["lr"] = learning_rate(optimizer, step)

            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                loss, figures = task.loss(batch, generator)
            adamw.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(parameters, optimizer.clip_norm)
            _require_finite(loss, norm, step, batch["keys"])
            adamw.step()
            step += 1
            if ema is not None:
                ema.update(task, step)
            window.add({"loss": loss.detach(), "gradient_norm": norm, **figures}, len(indices))

            last = step == optimizer.steps
            if step % optimizer.log_every == 0 or last:
                log({**window.means(), "lr": learning_rate(optimizer, step - 1)})
                window = _Window()
            if optimizer.evaluate_every and step % optimizer.evaluate_every == 0 and not last:
                with ema.swapped(task) if ema is not None else nullcontext():
                    log(_evaluate(task))
                task.train()
                window.restart_clock()
            if step % optimizer.checkpoint_every == 0 or last or stop:
                checkpoint()
            if stop and not last:
                print(
                    f"stopped by signal {stop[0]} at step {step}: {path.name} written, run again to resume", flush=True
                )
                raise SystemExit(128 + stop[0])
    if ema is not None:
        ema.copy_to(task)
    figures = _evaluate(task)
    log(figures)
    return figures


def step_seed(seed: int, step: int) -> int:
    """Return the seed of everything random in a step."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{step}".encode(), digest_size=8).digest(), "big") >> 1


def samples_of_step(seed: int, step: int, batch_size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sample indices of a step and the epoch of each, both [batch_size].

    Every epoch is a permutation of all ``count`` samples; a batch may reach over the end of an epoch, so each
    sample is drawn exactly once per epoch whatever the batch size. Raises ValueError where there are no samples.
    """
    if count == 0:
        raise ValueError("there is nothing to train on: the data holds 0 samples")
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = positions // count
    orders = {int(epoch): np.random.default_rng([seed, int(epoch)]).permutation(count) for epoch in np.unique(epochs)}
    indices = [orders[int(epoch)][position % count] for epoch, position in zip(epochs, positions, strict=True)]
    return np.array(indices), epochs


def learning_rate(config: OptimizerConfig, step: int) -> float:
    """Return the learning rate of ``step`` (from 0): linear warm-up, then a cosine to zero or a constant."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * progress))


def _decay_groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _require_finite(loss: Tensor, norm: Tensor, step: int, keys: list[str]) -> None:
    for name, value in (("loss", loss.item()), ("gradient norm", norm.item())):
        if not math.isfinite(value):
            raise NotFiniteError(f"{name} is {value} at step {step}; samples of the batch: {', '.join(keys)}")


@torch.no_grad()
def _evaluate(task: Task) -> Figures:
    task.eval()
    return {name: float(value) for name, value in task.evaluate().items()}


class _Window:
    """Figures since they were last logged; a step need not have all of them."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.samples = 0
        self.restart_clock()

    def restart_clock(self) -> None:
        self.started = time.monotonic()

    def add(self, figures: Figures, samples: int) -> None:
        for name, value in figures.items():
            self.values.setdefault(name, []).append(float(value))
        self.samples += samples

    def means(self) -> Figures:
        means: Figures = {name: sum(values) / len(values) for name, values in self.values.items()}
        return {**means, "images_per_second": self.samples / max(1e-9, time.monotonic() - self.started)}


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of dying, until the block ends."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)

    previous = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
