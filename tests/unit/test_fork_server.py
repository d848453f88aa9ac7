"""Jobs that are forked from a process with everything imported: they end, fail and are stopped as others are."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from t2i_assets import fork_server
from t2i_assets.fork_server import Fork, open_fork_server
from tests.processes import is_alive
from tests.unit.conftest import PRELOADED

JOB = """
import os, sys, time
print("path", sys.argv[1:], os.environ.get("ONLY_HERE"), os.environ.get("PATH"), __name__, flush=True)
print("imported before" if "tests.unit.group_training" in sys.modules else "not imported", file=sys.stderr)
what = sys.argv[1]
if what == "exit":
    sys.exit(7)
if what == "raise":
    raise ValueError("no such shard")
if what == "die":
    os.kill(os.getpid(), 9)
if what == "wait":
    time.sleep(600)
"""
PATIENT_JOB = """
import time
from training.config import JobConfig
from training.job import JobInputs, run

def main(job, reporter):
    print("at work", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    run(main, JobConfig, JobInputs, needs_torch=False)
"""
LAUNCHER = """
import sys
from t2i_assets import fork_server

if __name__ == "__main__":
    fork_server.IMPORTED = ()
    fork_server.open_fork_server()
    job = fork_server.Fork("patient_job", ["--job", sys.argv[1]], {})
    print(job.pid, job.stdout.readline(), flush=True)
    job.wait()
"""


@pytest.fixture(autouse=True)
def job_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "forked_job.py").write_text(JOB)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(fork_server, "_server", None)
    monkeypatch.setattr(fork_server, "IMPORTED", PRELOADED)
    open_fork_server()


def test_what_is_imported_ahead_is_there() -> None:
    assert all(find_spec(name) for name in fork_server.IMPORTED)


def test_the_launcher_keeps_its_environment() -> None:
    before = dict(os.environ)
    run("go")
    assert dict(os.environ) == before


def run(what: str) -> tuple[int, str]:
    job = Fork("forked_job", [what], {"ONLY_HERE": "yes"})
    said = job.stdout.read()
    return job.wait(), said


@pytest.mark.parametrize(
    ("what", "code", "last"),
    [("go", 0, "imported before"), ("exit", 7, "imported before"), ("raise", 1, "ValueError: no such shard")],
)
def test_it_has_its_own_arguments_environment_output_and_end(what: str, code: int, last: str) -> None:
    ended, said = run(what)
    assert ended == code
    lines = said.splitlines()
    assert lines[0] == f"path ['{what}'] yes None __main__"
    assert lines[-1] == last


def test_the_signal_that_killed_it_is_told() -> None:
    assert run("die")[0] == -signal.SIGKILL


def test_it_leads_a_group_that_can_be_stopped() -> None:
    job = Fork("forked_job", ["wait"], {})
    assert os.getpgid(job.pid) == job.pid
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(0.1)
    os.killpg(job.pid, signal.SIGKILL)
    assert job.wait(10) == -signal.SIGKILL
    assert job.stdout.closed


def test_it_ends_when_its_launcher_is_killed(tmp_path: Path) -> None:
    (tmp_path / "patient_job.py").write_text(PATIENT_JOB)
    job, script = tmp_path / "job.json", tmp_path / "launch.py"
    job.write_text(json.dumps({"name": "patient", "config": {}, "inputs": {}, "output": str(tmp_path)}))
    script.write_text(LAUNCHER)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    launcher = subprocess.Popen(
        [sys.executable, str(script), str(job)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert launcher.stdout is not None
    number, _, said = launcher.stdout.readline().partition(" ")
    assert said.strip() == "at work"
    launcher.kill()
    launcher.wait()
    deadline = time.monotonic() + 20
    while is_alive(int(number)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
