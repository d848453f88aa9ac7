"""Runs that were killed give their places back; runs that live keep them."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from t2i_assets.abandoned import WORKER_TAG, WorkerLock, end_abandoned_runs
from t2i_assets.config import Environment
from t2i_assets.instance import prepare

TRAINING = """
import sys, time
from pathlib import Path
import dagster as dg
from t2i_assets.abandoned import WORKER_TAG, WorkerLock

@dg.asset(pool="training")
def model():
    print("training", flush=True)
    time.sleep(600)

lock = WorkerLock(Path(sys.argv[1]))
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    dg.materialize([model], instance=instance, tags={WORKER_TAG: lock.name})
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A prepared Dagster directory."""
    return prepare(Environment(home=tmp_path, preset="smoke"))


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as one:
        yield one


def under_way(instance: dg.DagsterInstance, tags: dict[str, str]) -> str:
    """Return the id of a new run that has been told to have started."""

    @dg.op
    def work() -> None: ...

    @dg.job
    def anything() -> None:
        work()

    run = instance.create_run_for_job(anything, tags=tags)
    instance.handle_new_event(
        dg.EventLogEntry(
            error_info=None,
            level=20,
            user_message="",
            run_id=run.run_id,
            timestamp=0.0,
            dagster_event=dg.DagsterEvent(event_type_value="PIPELINE_START", job_name="anything"),
        )
    )
    return run.run_id


def places_taken(instance: dg.DagsterInstance) -> set[str]:
    return set(instance.event_log_storage.get_concurrency_info("training").active_run_ids)


def test_a_killed_worker_gives_its_place_in_the_pool_back(home: Path, instance: dg.DagsterInstance) -> None:
    with subprocess.Popen([sys.executable, "-c", TRAINING, str(home)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "training\n"
        (run,) = places_taken(instance)
        assert end_abandoned_runs(instance, home) == []  # it lives
        assert places_taken(instance) == {run}
        process.send_signal(signal.SIGKILL)
    prepare(Environment(home=home.parent, preset="smoke"))
    assert places_taken(instance) == set()
    ended = instance.get_run_by_id(run)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE
    assert list((home / "workers").iterdir()) == []


def test_a_run_of_the_web_ui_lives_as_long_as_its_code_server(
    home: Path, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    address = tmp_path / "server"
    run = under_way(instance, {".dagster/grpc_info": json.dumps({"host": "localhost", "socket": str(address)})})
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        server.listen()
        assert end_abandoned_runs(instance, home) == []
    assert end_abandoned_runs(instance, home) == [run]


def test_runs_of_unknown_origin_and_ended_runs_are_left_alone(home: Path, instance: dg.DagsterInstance) -> None:
    under_way(instance, {})
    ended = under_way(instance, {WORKER_TAG: "nobody"})
    assert end_abandoned_runs(instance, home) == [ended]
    assert end_abandoned_runs(instance, home) == []


def test_locks_of_workers_that_ended_are_swept_away(home: Path, instance: dg.DagsterInstance) -> None:
    lock = WorkerLock(home)
    (home / "workers" / "left").touch()
    end_abandoned_runs(instance, home)
    assert [file.name for file in (home / "workers").iterdir()] == [lock.name]
