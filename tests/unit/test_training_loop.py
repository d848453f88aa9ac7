"""The training loop: exact resume, stop signals, NaN stop, each sample once per epoch, figures on disk."""

import json
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from training.config import JobConfig, OptimizerConfig
from training.job import Job, JobInputs, run
from training.loop import NotFiniteError, train
from training.report import Reporter
from training.schedule import learning_rate, samples_of_step
from training.task import Task

torch.set_num_threads(1)
processes = multiprocessing.get_context("fork")  # real processes, and torch is imported once for all of them
OPTIMIZER = OptimizerConfig(
    steps=60, batch_size=8, lr=1e-2, warmup=5, ema_decay=0.9, log_every=10, checkpoint_every=7, evaluate_every=30
)


class Config(JobConfig):
    pause: float = 0.0
    optimizer: OptimizerConfig = OPTIMIZER


class Regression(Task):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.GELU(), nn.Linear(8, 1))

    def loss(self, batch: dict, generator: torch.Generator) -> tuple[torch.Tensor, dict]:
        noise = torch.randn(batch["x"].shape, generator=generator)
        return (self.net(batch["x"] + 0.1 * noise) - batch["x"].sum(1, keepdim=True)).square().mean(), {}

    def evaluate(self) -> dict:
        return {"val/loss": self.net(torch.ones(1, 4)).square().sum()}


class Numbers:
    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.x = torch.from_numpy(np.random.default_rng(0).normal(size=(37, 4)).astype(np.float32))

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> dict:
        time.sleep(self.pause)
        return {"x": self.x[indices], "keys": [f"key{index}" for index in indices]}


def two_phases(job: Job[Config, JobInputs], reporter: Reporter) -> None:
    """Train in two phases, as the captioner does."""
    task, data = Regression(), Numbers(job.config.pause)
    train(task, data, job.config.optimizer, job.output, reporter, job.config.seed, phase="first")
    train(task, data, job.config.optimizer, job.output, reporter, job.config.seed + 1, phase="second")
    torch.save(task.state_dict(), job.output / "weights.pt")
    reporter.finish(done=True)


def run_job(job: Path) -> None:
    sys.argv = ["job", "--job", str(job)]
    sys.stdout = sys.stderr = (job.parent / "log").open("a")
    run(two_phases, Config, JobInputs)


def start(directory: Path, pause: float = 0.0, **config: object) -> BaseProcess:
    output = directory / "output"
    output.mkdir(exist_ok=True)
    job = {"config": {"pause": pause, **config}, "inputs": {}, "output": str(output), "name": "regression"}
    (directory / "job.json").write_text(json.dumps(job))
    process = processes.Process(target=run_job, args=(directory / "job.json",))
    process.start()
    return process


def finish(directory: Path) -> str:
    process = start(directory)
    process.join()
    log = (directory / "log").read_text()
    assert process.exitcode == 0, log
    return log


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 240
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never appeared"
        time.sleep(0.02)


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return torch.load(directory / "output" / "weights.pt", weights_only=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole")
    finish(directory)
    return directory


@pytest.mark.parametrize("phase", ["first", "second"])
def test_a_job_killed_at_a_random_step_and_run_again_gives_the_same_weights_bit_for_bit(
    tmp_path: Path, uninterrupted: Path, phase: str
) -> None:
    job = start(tmp_path, pause=0.01)
    wait_for(tmp_path / "output" / f"{phase}-checkpoint.pt")
    time.sleep(np.random.default_rng().uniform(0, 0.3))
    job.kill()
    job.join()
    assert job.exitcode == -signal.SIGKILL, "the job ended before it could be killed"
    (tmp_path / "output" / f".{phase}-checkpoint.pt.1.tmp").write_bytes(b"half of a checkpoint")
    assert "resumed" in finish(tmp_path)
    for name, expected in weights(uninterrupted).items():
        assert torch.equal(weights(tmp_path)[name], expected), name
    assert not list((tmp_path / "output").glob("*checkpoint*"))
    curves = [
        pq.read_table(d / "output" / "metrics.parquet").select(["step", "name"]) for d in (tmp_path, uninterrupted)
    ]
    assert curves[0].equals(curves[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_writes_a_checkpoint_and_says_how_to_go_on(
    tmp_path: Path, uninterrupted: Path, number: int
) -> None:
    job = start(tmp_path, pause=0.02)
    wait_for(tmp_path / "output" / "first-checkpoint.pt")
    assert job.pid is not None
    os.kill(job.pid, number)
    job.join()
    assert job.exitcode == 128 + number
    log = (tmp_path / "log").read_text()
    assert f"stopped by signal {number}" in log
    assert "run again to resume" in log
    assert "Traceback" not in log
    finish(tmp_path)
    for name, expected in weights(uninterrupted).items():
        assert torch.equal(weights(tmp_path)[name], expected), name


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    job = start(tmp_path, pause=0.02)
    wait_for(tmp_path / "output" / "first-checkpoint.pt")
    job.kill()
    job.join()
    other = start(tmp_path, optimizer={**OPTIMIZER.model_dump(), "lr": 0.5})
    other.join()
    assert other.exitcode == 1
    assert "first-checkpoint.pt was written under another optimizer: delete it" in (tmp_path / "log").read_text()


def test_a_job_leaves_curves_and_its_final_figures(uninterrupted: Path) -> None:
    output = uninterrupted / "output"
    run = json.loads((output / "run.json").read_text())
    assert run["final"] == {"done": True}
    assert run["parameters"]["optimizer"]["steps"] == 60
    rows = pq.read_table(output / "metrics.parquet").to_pylist()
    assert [row["step"] for row in rows if row["name"] == "first/loss"] == [10, 20, 30, 40, 50, 60]
    assert [row["step"] for row in rows if row["name"] == "second/val/loss"] == [30, 60]
    assert (output / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_field_of_the_job_file_is_named(tmp_path: Path) -> None:
    job = start(tmp_path, learning_rat=1)
    job.join()
    log = (tmp_path / "log").read_text()
    assert job.exitcode == 2
    assert "learning_rat" in log
    assert "Traceback" not in log


class Exploding(Task):
    """Gives a NaN once the sample ``bad`` is in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def loss(self, batch: dict, generator: torch.Generator) -> tuple[torch.Tensor, dict]:
        return (self.weight * batch["x"]).mean(), {}


class OneBadSample:
    def __len__(self) -> int:
        return 10

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> dict:
        keys = ["bad" if index == 7 else f"good{index}" for index in indices]
        return {"x": torch.tensor([float("nan") if key == "bad" else 1.0 for key in keys]), "keys": keys}


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_step_and_samples(tmp_path: Path) -> None:
    optimizer = OptimizerConfig(steps=5, batch_size=2, lr=0.1, warmup=0)
    with pytest.raises(NotFiniteError, match=r"loss is nan at step \d; samples of the batch: .*bad"):
        train(Exploding(), OneBadSample(), optimizer, tmp_path, Reporter("explode", tmp_path, {}), seed=0)


def trained(output: Path, data: Numbers | None = None, **changes: object) -> dict[str, torch.Tensor]:
    """Return the weights after a short run of a task without noise, its settings changed."""
    output.mkdir(exist_ok=True)
    torch.manual_seed(0)
    task = Steady()
    optimizer = OPTIMIZER.model_copy(update={"steps": 12, **changes})
    train(task, data or Numbers(0), optimizer, output, Reporter("steady", output, {}), seed=0)
    return task.state_dict()


class Steady(Regression):
    """The same regression, the loss of a sample whatever is beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.net[1] = nn.Identity()

    def loss(self, batch: dict, generator: torch.Generator) -> tuple[torch.Tensor, dict]:
        return (self.net(batch["x"]) - batch["x"].sum(1, keepdim=True)).square().mean(), {}


def test_a_step_in_parts_is_the_same_step(tmp_path: Path) -> None:
    torch.testing.assert_close(
        trained(tmp_path / "parts", accumulate=4), trained(tmp_path / "whole"), atol=1e-5, rtol=1e-4
    )


class SignalledInTheLastStep(Numbers):
    """Numbers in whose twelfth batch this process is told to stop."""

    def __init__(self) -> None:
        super().__init__(0)
        self.batches = 0

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> dict:
        self.batches += 1
        if self.batches == 12:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().batch(indices, epochs)


def test_a_stop_signal_in_the_last_step_is_heeded_too(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        trained(tmp_path / "stopped", SignalledInTheLastStep())
    assert stopped.value.code == 128 + signal.SIGTERM
    resumed, whole = trained(tmp_path / "stopped"), trained(tmp_path / "whole")
    assert all(torch.equal(resumed[name], weight) for name, weight in whole.items())


def test_batches_made_ahead_change_no_bit(tmp_path: Path) -> None:
    ahead, due = trained(tmp_path / "ahead", workers=2), trained(tmp_path / "due")
    assert all(torch.equal(ahead[name], weight) for name, weight in due.items())


def test_weights_are_averaged_from_the_step_that_is_asked_for(tmp_path: Path) -> None:
    last = trained(tmp_path / "last", ema_decay=0.0)
    assert all(torch.equal(weight, last[name]) for name, weight in trained(tmp_path / "late", ema_start=12).items()), (
        "averaging that starts with the last step keeps that step's weights"
    )
    some, all_steps = trained(tmp_path / "some", ema_start=8), trained(tmp_path / "all")
    distances = [sum((w[name] - last[name]).square().sum() for name in last) for w in (some, all_steps)]
    assert 0 < distances[0] < distances[1]


def test_averaging_that_starts_after_the_last_step_is_refused() -> None:
    with pytest.raises(ValueError, match="ema_start 61 is after the last of 60 steps"):
        OptimizerConfig.model_validate({**OPTIMIZER.model_dump(), "ema_start": 61})


def test_a_task_without_gradient_checkpointing_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Steady offers no gradient checkpointing"):
        trained(tmp_path / "output", gradient_checkpointing=True)


def test_operations_of_a_step_are_counted_forward_and_backward(tmp_path: Path) -> None:
    reporter = Reporter("steady", tmp_path, {})
    train(Steady(), Numbers(0), OPTIMIZER, tmp_path, reporter, seed=0)
    rates = {row["name"]: row["value"] for row in reporter.rows if row["step"] == 10}
    # two products of 8 samples, 4 by 8 and 8 by 1: one forward, the gradient of its weight, that of the second's input
    per_step = 8 * 2 * (2 * 4 * 8 + 3 * 8 * 1)
    assert rates["flops_per_second"] / rates["samples_per_second"] * 8 == pytest.approx(per_step)
    assert rates["total_flops"] == 10 * per_step
    assert 10 < rates["peak_memory_mib"] < 100_000


def test_a_quiet_reporter_leaves_the_events_of_the_first_process_alone(tmp_path: Path) -> None:
    first, other = (Reporter("steady", tmp_path, {}, quiet=quiet) for quiet in (False, True))
    first.log(1, 2, loss=0.5)
    other.restore(first.state())
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1
    first.finish()


@given(count=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_every_sample_is_drawn_exactly_once_per_epoch(count: int, batch_size: int, seed: int) -> None:
    steps = -(-3 * count // batch_size)
    drawn = [samples_of_step(seed, step, batch_size, count) for step in range(steps)]
    indices = np.concatenate([indices for indices, _ in drawn])
    epochs = np.concatenate([epochs for _, epochs in drawn])
    for epoch in range(3):
        assert sorted(indices[epochs == epoch]) == list(range(count))


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    config = OptimizerConfig(steps=100, batch_size=1, lr=1.0, warmup=10)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[-1] < 0.01
