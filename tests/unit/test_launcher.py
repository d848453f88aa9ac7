"""Jobs are processes: their failures are told in one line, and nothing of them stays behind."""

import os
import sys
import threading
import time
import zipfile
from pathlib import Path

import dagster as dg
import pytest

from t2i_assets import launcher
from t2i_assets.launcher import launch
from tests.processes import is_alive

JOB = """
import json, subprocess, sys, time
from pathlib import Path
job = json.loads(Path(sys.argv[2]).read_text())
out = Path(job["output"])
what = job["config"]["what"]
print("progress step=1 total=2 loss=0.5", flush=True)
if what == "fail":
    print("error: the shard 00000.tar is truncated")
    sys.exit(2)
if what == "hang":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (out / "pids").write_text(f"{__import__('os').getpid()} {child.pid}")
    time.sleep(600)
if what == "raise":
    from training.report import Reporter
    with Reporter("trained", out, {}):
        raise RuntimeError("the weights do not fit the model")
if what == "good":
    (out / "run.json").write_text(json.dumps({"steps": 2, "final": {"loss": 0.25}}))
"""

GROUP_JOB = """
import os, time
from pathlib import Path
from tests.unit.group_training import OPTIMIZER, Matching, Numbers
from training.config import JobConfig
from training.job import JobInputs, run
from training.loop import train

class Config(JobConfig):
    pids: Path

class Slow(Numbers):
    def batch(self, indices, epochs):
        time.sleep(0.05)
        return super().batch(indices, epochs)

def main(job, reporter):
    (job.config.pids / str(os.getpid())).touch()
    long = OPTIMIZER.model_copy(update={"steps": 10**6, "checkpoint_every": 10**6, "evaluate_every": 0})
    train(Matching(), Slow(), long, job.output, reporter, seed=0)

run(main, Config, JobInputs)
"""

NUMPY_JOB = """
import numpy
from threadpoolctl import threadpool_info
from training.config import JobConfig
from training.job import JobInputs, run

def main(job, reporter):
    reporter.finish(threads=max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"))

run(main, JobConfig, JobInputs, needs_torch=False)
"""


@pytest.fixture
def job_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "some_job.py").write_text(JOB)
    (tmp_path / "group_job.py").write_text(GROUP_JOB)
    (tmp_path / "numpy_job.py").write_text(NUMPY_JOB)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return "some_job"


def run(module: str, output: Path, processes: int | None = None, **config: str | int) -> dg.ExecuteInProcessResult:
    output.mkdir()

    @dg.asset
    def trained(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        done = launch(context, module, config, {}, output, processes)
        return dg.MaterializeResult(metadata=done["final"])

    return dg.materialize([trained], instance=dg.DagsterInstance.ephemeral(), raise_on_error=False)


def test_a_job_that_ends_well_gives_its_figures(job_module: str, tmp_path: Path) -> None:
    result = run(job_module, tmp_path / "out", what="good")
    assert result.success
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["loss"].value == 0.25


@pytest.mark.usefixtures("job_module")
@pytest.mark.parametrize("threads", [1, 2])
def test_numpy_is_given_as_many_threads_as_the_job(tmp_path: Path, threads: int) -> None:
    (event,) = run("numpy_job", tmp_path / "out", threads=threads).get_asset_materialization_events()
    assert event.materialization.metadata["threads"].value == threads


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("fail", "the shard 00000.tar is truncated"),
        ("raise", "RuntimeError: the weights do not fit the model"),
        ("nothing", "did not finish its work"),
    ],
)
def test_a_job_that_fails_is_told_in_one_line(job_module: str, tmp_path: Path, what: str, said: str) -> None:
    result = run(job_module, tmp_path / "out", what=what)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert said in failure.step_failure_data.user_failure_data.description


def test_an_interrupted_run_leaves_no_process_behind(
    job_module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "GRACE_SECONDS", 1)
    pids = tmp_path / "out" / "pids"

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not pids.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        os.kill(os.getpid(), 2)

    threading.Thread(target=interrupt, daemon=True).start()
    assert not run(job_module, tmp_path / "out", what="hang").success
    for pid in pids.read_text().split():
        wait_for_end(int(pid))


@pytest.mark.usefixtures("job_module")
def test_an_interrupted_group_writes_its_checkpoint_and_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "GRACE_SECONDS", 120)
    (tmp_path / "pids").mkdir()

    def interrupt() -> None:
        deadline = time.monotonic() + 240
        while not list((tmp_path / "out").glob("events.out.*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), 2)

    threading.Thread(target=interrupt, daemon=True).start()
    assert not run("group_job", tmp_path / "out", processes=2, pids=str(tmp_path / "pids")).success
    pids = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    assert len(pids) == 2
    for pid in pids:
        wait_for_end(pid)
    assert zipfile.is_zipfile(tmp_path / "out" / "checkpoint.pt")


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_torchrun_tells_the_error_of_the_process_that_failed_first() -> None:
    told = """
    E1121 12:43:20.293000 29671 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 1)
    torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
    ------------------------------------------------------------
    Root Cause (first observed failure):
      rank      : 1 (local_rank: 1)
      traceback : Traceback (most recent call last):
      RuntimeError: the weights do not fit the model

    ============================================================
    """
    assert launcher._reason(told.splitlines()) == "RuntimeError: the weights do not fit the model"
    assert launcher._reason(["error: no such preset", *told.splitlines()]) == "error: no such preset"
