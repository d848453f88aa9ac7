"""Several processes train as one does, and stop, fail and resume together."""

import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tests.unit.group_training import (
    OPTIMIZER,
    RANKS,
    Numbers,
    signalled_in_step,
    together,
    train_alone,
    train_together,
    weights,
)
from training.config import OptimizerConfig
from training.distributed import joined, world
from training.loop import NotFiniteError
from training.schedule import samples_of_step

torch.set_num_threads(1)
SHARDED = OPTIMIZER.model_copy(update={"sharded": True})
SETTINGS = pytest.mark.parametrize("optimizer", [OPTIMIZER, SHARDED], ids=["data parallel", "sharded"])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("alone")
    train_alone(output)
    return output


@SETTINGS
def test_two_processes_learn_what_one_learns(tmp_path: Path, alone: Path, optimizer) -> None:
    train_together(tmp_path, optimizer)
    for rank in range(RANKS):
        torch.testing.assert_close(weights(tmp_path, rank), weights(alone), atol=1e-5, rtol=1e-4)


def interrupted(output: Path, optimizer: OptimizerConfig) -> None:
    """Train; the second process gets SIGTERM in its third step."""
    if dist.get_rank() == 1:
        signalled_in_step(3, signal.SIGTERM)
    train_alone(output, optimizer)


@SETTINGS
def test_a_signal_to_one_of_them_stops_all_and_one_process_can_go_on(tmp_path: Path, alone: Path, optimizer) -> None:
    together(partial(interrupted, tmp_path, optimizer), tmp_path, expected=128 + signal.SIGTERM)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3
    train_alone(tmp_path, optimizer)
    torch.testing.assert_close(weights(tmp_path), weights(alone), atol=1e-5, rtol=1e-4)


def killed_once(output: Path, optimizer: OptimizerConfig, step: int) -> None:
    """Train in one of torchrun's processes; the second kills itself in a step of the first try."""
    with joined(torch.device("cpu")) as world:
        if world.rank == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            signalled_in_step(step, signal.SIGKILL)
        train_alone(output, optimizer, noise=0.1)


@SETTINGS
def test_torchrun_restarts_killed_processes_to_the_same_weights_bit_for_bit(tmp_path: Path, optimizer) -> None:
    train_together(tmp_path / "whole", optimizer, noise=0.1)
    step = int(np.random.default_rng().integers(2, optimizer.steps + 1))

    torchrun = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=RANKS,
        max_restarts=1,
        run_id="resume",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        monitor_interval=0.1,
        start_method="forkserver",
    )
    elastic_launch(torchrun, killed_once)(tmp_path / "killed", optimizer, step)
    for rank in range(RANKS):
        expected, found = weights(tmp_path / "whole", rank), weights(tmp_path / "killed", rank)
        for name, value in expected.items():
            assert torch.equal(torch.as_tensor(found[name]), torch.as_tensor(value)), f"{name}, killed at step {step}"


def failing(output: Path, bad: int) -> None:
    """Train on a bad sample and write down what is told of it."""
    with pytest.raises(NotFiniteError) as told:
        train_alone(output, bad=bad)
    (output / f"told-{dist.get_rank()}").write_text(str(told.value))


def test_all_of_them_name_the_sample_of_one_that_is_not_a_number(tmp_path: Path) -> None:
    drawn, _ = samples_of_step(0, 0, OPTIMIZER.batch_size, len(Numbers()))
    bad = int(drawn[-1])

    together(partial(failing, tmp_path, bad), tmp_path)
    said = {(tmp_path / f"told-{rank}").read_text() for rank in range(RANKS)}
    assert len(said) == 1
    assert f"key{bad}" in said.pop()


def saying() -> None:
    """Tell the others the own rank."""
    rank = dist.get_rank()
    with joined(torch.device("cpu")) as before:
        assert before.size == 1, "no torchrun started this process"
    assert world().said_by_first({"rank": rank}) == {"rank": 0}
    assert world().said_by_all(rank) == [0, 1]
    assert world().largest(rank) == 1
    dist.barrier()


def test_what_the_first_says_reaches_the_others(tmp_path: Path) -> None:
    together(saying, tmp_path)
