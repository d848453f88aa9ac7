"""The one training loop. A task is a model with its loss; everything else about training is here.

Nothing about position is saved: each step is reseeded from (seed, rank, step) and the samples of a step follow from
(seed, epoch), so a run that was killed and resumed gives the same weights, bit for bit, as one that was not.
"""

import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from training import distributed
from training.batches import Batch, Data, batches_of_steps
from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import OptimizerConfig
from training.device import moved
from training.ema import Ema, trainable
from training.replicas import Replica, optimizer_state, parted, whole
from training.report import Reporter
from training.schedule import learning_rate, step_seed
from training.task import Figures, Task
from training.throughput import Meter

NOT_OF_THE_RUN = {"workers", "sharded"}  # fields that change how fast weights come, not which


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
    """Train ``task``, where it is, on ``data`` for ``optimizer.steps`` steps; return its figures on held-out data.

    Afterwards the task holds the averaged weights, where ``optimizer.ema_decay`` asks for them, and is in eval mode.

    A checkpoint ``{phase-}checkpoint.pt`` in ``output`` is resumed; it stays after the last step, so that a job
    of several phases resumes in the right one, and ``training.job.run`` removes it. Figures of a phase are logged
    as ``{phase}/{name}``. SIGINT and SIGTERM write a checkpoint and exit with 130 and 143. Of several processes the
    first evaluates, logs and saves, into its own ``output``; figures are those of all.

    Raises NotFiniteError where the loss or the gradient is not finite.
    """
    world = distributed.world()
    path = world.said_by_first(output / (f"{phase}-checkpoint.pt" if phase else "checkpoint.pt"))
    training = _Training(task, optimizer, seed, precision, world)
    training.resume(path, reporter)
    meter = Meter(task.device, precision, world.size)
    window = _Window()

    def log(figures: Mapping[str, float | Tensor]) -> None:
        told = world.said_by_all({name: float(value) for name, value in figures.items()})
        means = {name: sum(of[name] for of in told) / len(told) for name in told[0] if all(name in of for of in told)}
        prefix = f"{phase}/" if phase else ""
        reporter.log(training.step, optimizer.steps, **{prefix + name: value for name, value in means.items()})

    upcoming = batches_of_steps(
        data,
        range(training.step, optimizer.steps),
        optimizer.batch_size,
        seed,
        world.rank,
        world.size,
        optimizer.accumulate,
        optimizer.workers,
    )
    stop = 0
    with _stop_signals() as received, closing(upcoming):
        while training.step < optimizer.steps and not stop:
            training.reseed()
            parts = next(upcoming)
            if meter.flops is None and not optimizer.compile:
                with meter.counted():
                    training.rehearse(parts)
                training.reseed()
            for figures in training.learn(parts):
                window.add(figures)
            meter.add(optimizer.batch_size)

            step, last = training.step, training.step == optimizer.steps
            if step % optimizer.log_every == 0 or last:
                log({**window.means(), "lr": learning_rate(optimizer, step - 1), **meter.figures(step)})
                window = _Window()
                meter.restart()
            if optimizer.evaluate_every and step % optimizer.evaluate_every == 0 and not last:
                started = time.monotonic()
                log(training.evaluate())
                training.task.train()
                meter.pause(time.monotonic() - started)
            stop = world.largest(max(received, default=0))
            if step % optimizer.checkpoint_every == 0 or last or stop:
                training.save(path, reporter)
        stop = world.largest(max(received, default=0))  # one may have come since
    if stop:
        if world.is_first:
            how = f"stopped by signal {stop} at step {training.step}: {path.name} written, run again to resume"
            print(how, flush=True)
        raise SystemExit(128 + stop)
    figures = training.evaluate()
    training.finish()
    log(figures)
    return figures


class _Training:
    """Model, optimizer and average after ``step`` steps."""

    def __init__(
        self, task: Task, config: OptimizerConfig, seed: int, precision: str, world: distributed.World
    ) -> None:
        self.given, self.config, self.seed, self.precision, self.world = task, config, seed, precision, world
        self.step = 0
        self.device = task.device
        self.replica = Replica(task, config, world)
        self.task = self.replica.task
        self.parameters = list(trainable(self.task).values())
        groups = _decay_groups(self.parameters, config.weight_decay)
        self.adamw = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
        self.ema = Ema(self.task, config.ema_decay, config.ema_start) if config.ema_decay else None
        self.task.train()

    def reseed(self) -> None:
        """Make everything random in the next step follow from (seed, rank, step)."""
        number = step_seed(self.seed, self.step, self.world.rank)
        torch.manual_seed(number)
        self.generator = torch.Generator(self.device).manual_seed(number)

    def rehearse(self, parts: list[Batch]) -> None:
        """Compute the gradients of the next step and forget them, with whatever else of the model that changed.

        A step that is watched may round otherwise than one that is not, so none that is learned from is watched.
        """
        untrained = {**dict(self.task.named_buffers()), **dict(self.task.named_parameters())}
        untrained = {name: value for name, value in untrained.items() if not value.requires_grad}
        kept = {name: value.clone() for name, value in untrained.items()}
        for _ in self.replica.backward(self._on_device(parts), self.generator, self.precision):
            pass
        self.adamw.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, value in (*self.task.named_buffers(), *self.task.named_parameters()):
                if name in kept:
                    value.copy_(kept[name])

    def learn(self, parts: list[Batch]) -> Iterator[Figures]:
        """Take one optimizer step on the batches; yield figures of each, and of the step."""
        self.adamw.zero_grad(set_to_none=True)
        losses = []
        for loss, figures in self.replica.backward(self._on_device(parts), self.generator, self.precision):
            losses.append(loss)
            yield {"loss": loss, **figures}
        total = nn.utils.get_total_norm([weight.grad for weight in self.parameters if weight.grad is not None])
        norm = whole(total)
        values = torch.stack([*losses, norm]).tolist()
        self._require_finite(values, parts)
        if values[-1] + 1e-6 > self.config.clip_norm:  # else every gradient would be multiplied by 1
            nn.utils.clip_grads_with_norm_(self.parameters, self.config.clip_norm, total)
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        self.adamw.step()
        self.step += 1
        if self.ema is not None:
            self.ema.update(self.step)
        yield {"gradient_norm": norm}

    def evaluate(self) -> Figures:
        """Return the first process's figures on held-out data, from averaged weights; the others wait."""
        task = self._made_whole() if self.replica.is_sharded else self.task
        figures: Figures = {}
        averaged = self.ema is not None and self.step >= self.ema.start and task is self.task
        if self.world.is_first:
            with self.ema.swapped() if averaged and self.ema is not None else nullcontext(), torch.no_grad():
                task.eval()
                figures = {name: float(value) for name, value in task.evaluate().items()}
        if self.replica.is_sharded:
            task.cpu()
        return self.world.said_by_first(figures)

    def finish(self) -> None:
        """Leave the averaged weights, or the weights, in the task that was given."""
        if self.replica.is_sharded:
            self._made_whole()
        elif self.ema is not None:
            self.ema.copy_to(self.ema.weights)
        self.given.eval()

    def _made_whole(self) -> Task:
        """Give the task that was given the weights of the sharded one, averaged ones where there are."""
        self.given.load_state_dict(whole(self.task.state_dict()))
        if self.ema is not None and self.step >= self.ema.start:
            for name, weight in trainable(self.given).items():
                weight.data.copy_(whole(self.ema.means[name]))
        return self.given.to(self.device)

    def resume(self, path: Path, reporter: Reporter) -> None:
        """Continue from the checkpoint at ``path``, if there is one."""
        if (state := load_checkpoint(path, self._run())) is None:
            return
        self.step = state["step"]
        like = self.task.state_dict()
        self.task.load_state_dict({name: parted(value, like[name]) for name, value in state["task"].items()})
        self.adamw.load_state_dict(optimizer_state(self.adamw, state["adamw"]))
        if self.ema is not None:
            for name, mean in self.ema.means.items():
                mean.copy_(parted(state["ema"][name], mean))
        reporter.restore(state["reporter"])
        if self.world.is_first:
            print(f"resumed {path.name} at step {self.step} of {self.config.steps}", flush=True)

    def save(self, path: Path, reporter: Reporter) -> None:
        """Write a checkpoint; the first process does, whole, and the others wait."""
        averaged = {} if self.ema is None else self.ema.means
        state = {"step": self.step, "task": self.task.state_dict(), "adamw": self.adamw.state_dict(), "ema": averaged}
        state = whole(state)
        if self.world.is_first:
            save_checkpoint(path, {**state, "reporter": reporter.state(), "run": self._run()})
        self.world.wait()

    def _on_device(self, parts: list[Batch]) -> list[Batch]:
        return [moved(batch, self.device) for batch in parts]

    def _run(self) -> dict[str, Any]:
        config = self.config.model_dump(exclude=NOT_OF_THE_RUN)
        return {"optimizer": config, "seed": self.seed, "precision": self.precision}

    def _require_finite(self, values: list[float], parts: list[Batch]) -> None:
        """Raise NotFiniteError in every process where a value (losses, then the norm) of one is not finite."""
        *losses, norm = values
        if not self.world.largest(not all(map(math.isfinite, values))):
            return
        bad = [(loss, batch["keys"]) for loss, batch in zip(losses, parts, strict=True) if not math.isfinite(loss)]
        told = [item for items in self.world.said_by_all(bad) for item in items]
        name, value, keys = "gradient norm", norm, [key for batch in parts for key in batch["keys"]]
        if told:
            name, value, keys = "loss", told[0][0], [key for _, of_part in told for key in of_part]
        raise NotFiniteError(f"{name} is {value} at step {self.step}; samples of the batch: {', '.join(keys)}")


def _decay_groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class _Window:
    """Figures since they were last logged; they stay on their device until then."""

    def __init__(self) -> None:
        self.values: dict[str, list[float | Tensor]] = {}

    def add(self, figures: Figures) -> None:
        for name, value in figures.items():
            self.values.setdefault(name, []).append(value.detach().clone() if isinstance(value, Tensor) else value)

    def means(self) -> dict[str, float]:
        return {name: sum(map(float, values)) / len(values) for name, values in self.values.items()}


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
