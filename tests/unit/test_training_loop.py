"""The training loop: exact resume, stop signals, NaN stop, each sample once per epoch, figures on disk."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from training.config import OptimizerConfig
from training.loop import NotFiniteError, Task, learning_rate, samples_of_step, train
from training.report import Reporter

JOB = """
import json, sys, time
from pathlib import Path
import numpy as np
import torch
from torch import nn
from training.config import JobConfig, OptimizerConfig
from training.job import JobInputs, run
from training.loop import Task, train

class Config(JobConfig):
    pause: float = 0.0
    optimizer: OptimizerConfig

class Regression(Task):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.GELU(), nn.Linear(8, 1))

    def loss(self, batch, generator):
        noise = torch.randn(batch["x"].shape, generator=generator)
        return (self.net(batch["x"] + 0.1 * noise) - batch["x"].sum(1, keepdim=True)).square().mean(), {}

    def evaluate(self):
        return {"val/loss": self.net(torch.ones(1, 4)).square().sum()}

class Numbers:
    def __init__(self, pause):
        self.pause = pause
        self.x = torch.from_numpy(np.random.default_rng(0).normal(size=(37, 4)).astype(np.float32))

    def __len__(self):
        return len(self.x)

    def batch(self, indices, epochs):
        time.sleep(self.pause)
        return {"x": self.x[indices], "keys": [f"key{i}" for i in indices]}

def main(job, reporter):
    task = Regression()
    data = Numbers(job.config.pause)
    train(task, data, job.config.optimizer, job.output, reporter, job.config.seed, phase="first")
    train(task, data, job.config.optimizer, job.output, reporter, job.config.seed + 1, phase="second")
    torch.save(task.state_dict(), job.output / "weights.pt")
    reporter.finish(done=True)

run(main, Config, JobInputs)
"""
OPTIMIZER = OptimizerConfig(steps=60, batch_size=8, lr=1e-2, warmup=5, ema_decay=0.9, log_every=10, checkpoint_every=7)


def start(directory: Path, pause: float = 0.0) -> subprocess.Popen[str]:
    directory.mkdir(exist_ok=True)
    output = directory / "output"
    output.mkdir(exist_ok=True)
    (directory / "job.py").write_text(JOB)
    config = {"optimizer": OPTIMIZER.model_dump(), "pause": pause}
    (directory / "job.json").write_text(
        json.dumps({"config": config, "inputs": {}, "output": str(output), "name": "regression"})
    )
    command = [sys.executable, str(directory / "job.py"), "--job", str(directory / "job.json")]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"}
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)


def finish(job: subprocess.Popen[str]) -> str:
    printed, _ = job.communicate(timeout=120)
    assert job.returncode == 0, printed
    return printed


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never appeared"
        time.sleep(0.02)


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return torch.load(directory / "output" / "weights.pt", weights_only=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole")
    finish(start(directory))
    return directory


@pytest.mark.parametrize(("number", "phase"), [(signal.SIGKILL, "first"), (signal.SIGKILL, "second")])
def test_a_job_killed_at_a_random_step_and_run_again_gives_the_same_weights_bit_for_bit(
    tmp_path: Path, uninterrupted: Path, number: int, phase: str
) -> None:
    job = start(tmp_path, pause=0.01)
    wait_for(tmp_path / "output" / f"{phase}-checkpoint.pt")
    time.sleep(np.random.default_rng().uniform(0, 0.3))
    job.send_signal(number)
    job.communicate()
    assert not (tmp_path / "output" / "weights.pt").exists(), "the job ended before it could be killed"
    assert "resumed" in finish(start(tmp_path))
    for name, expected in weights(uninterrupted).items():
        assert torch.equal(weights(tmp_path)[name], expected), name
    assert not list((tmp_path / "output").glob("*checkpoint.pt"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_writes_a_checkpoint_and_says_how_to_go_on(
    tmp_path: Path, uninterrupted: Path, number: int
) -> None:
    job = start(tmp_path, pause=0.01)
    wait_for(tmp_path / "output" / "first-checkpoint.pt")
    job.send_signal(number)
    printed, _ = job.communicate()
    assert job.returncode == 128 + number
    assert f"stopped by signal {number}" in printed
    assert "run again to resume" in printed
    finish(start(tmp_path))
    for name, expected in weights(uninterrupted).items():
        assert torch.equal(weights(tmp_path)[name], expected), name


def test_a_job_leaves_curves_and_its_final_figures(uninterrupted: Path) -> None:
    output = uninterrupted / "output"
    run = json.loads((output / "run.json").read_text())
    assert run["final"] == {"done": True}
    assert run["parameters"]["optimizer"]["steps"] == 60
    rows = pq.read_table(output / "metrics.parquet").to_pylist()
    assert [row["step"] for row in rows if row["name"] == "first/loss"] == [10, 20, 30, 40, 50, 60]
    assert [row["step"] for row in rows if row["name"] == "second/val/loss"] == [60]
    assert (output / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_field_of_the_job_file_is_named(tmp_path: Path) -> None:
    finish(start(tmp_path))
    job_file = tmp_path / "job.json"
    raw = json.loads(job_file.read_text())
    raw["config"]["learning_rat"] = 1
    job_file.write_text(json.dumps(raw))
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"}
    result = subprocess.run(
        [sys.executable, str(tmp_path / "job.py"), "--job", str(job_file)],
        text=True, capture_output=True, check=False, env=environment,
    )  # fmt: skip
    assert result.returncode == 2
    assert "learning_rat" in result.stderr
    assert "Traceback" not in result.stderr


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
