"""A job does not outlive the process that launched it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.processes import is_alive

JOB = """
import time
from training.config import JobConfig
from training.job import JobInputs, run

def main(job, reporter):
    (job.output / "started").touch()
    while True:
        time.sleep(0.1)

run(main, JobConfig, JobInputs, needs_torch=False)
"""
LAUNCHER = "import subprocess, sys; p = subprocess.Popen(sys.argv[1:]); print(p.pid, flush=True); p.wait()"


def test_a_job_ends_when_its_launcher_is_killed(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(JOB)
    job = {"config": {}, "inputs": {}, "output": str(tmp_path), "name": "job"}
    (tmp_path / "job.json").write_text(json.dumps(job))
    command = [
        sys.executable,
        "-c",
        LAUNCHER,
        sys.executable,
        str(tmp_path / "job.py"),
        "--job",
        str(tmp_path / "job.json"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    launcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert launcher.stdout is not None
    job_pid = int(launcher.stdout.readline())
    _wait(lambda: (tmp_path / "started").exists())
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    _wait(lambda: not is_alive(job_pid))


def _wait(condition, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
