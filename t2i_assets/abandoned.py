"""Runs whose process is gone, told as failed, so that their places in the pools are free for others.

Dagster keeps a run, and its place in a pool, until somebody says how it ended. A process that is killed, or that goes
with its machine, says nothing: without this, whatever comes next would wait for a place for ever.
"""

import fcntl
import json
import os
import socket
import uuid
from pathlib import Path

import dagster as dg

WORKER_TAG = "t2i/worker"
"""The tag of a run that a worker of ours makes in its own process: the name of the worker's lock."""
_SERVER_TAG = ".dagster/grpc_info"
_UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


class WorkerLock:
    """A lock that the operating system holds for a process and drops when it dies, however it dies."""

    def __init__(self, dagster_directory: Path) -> None:
        self.name = uuid.uuid4().hex
        file = _lock_directory(dagster_directory) / self.name
        while True:
            handle = os.open(file, os.O_CREAT | os.O_RDWR, 0o644)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                return  # the handle stays open until the process ends
            os.close(handle)  # swept away between the two calls


def end_abandoned_runs(instance: dg.DagsterInstance, dagster_directory: Path) -> list[str]:
    """Mark runs under way whose process is gone as failed and free their places; return their ids.

    Runs of our workers are told by their lock, runs from the web UI by the code server that was to execute them. A run
    of unknown origin is left alone.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY))
    gone = [run for run in runs if _is_gone(run, dagster_directory)]
    for run in gone:
        instance.report_run_failed(run, "The process that made this run is gone: killed, or lost with its machine.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    for file in _lock_directory(dagster_directory).iterdir():
        if not _is_locked(file):
            file.unlink(missing_ok=True)
    return [run.run_id for run in gone]


def _is_gone(run: dg.DagsterRun, dagster_directory: Path) -> bool:
    if WORKER_TAG in run.tags:
        return not _is_locked(_lock_directory(dagster_directory) / run.tags[WORKER_TAG])
    if _SERVER_TAG in run.tags:
        return not _answers(json.loads(run.tags[_SERVER_TAG]))
    return False


def _lock_directory(dagster_directory: Path) -> Path:
    directory = dagster_directory / "workers"
    directory.mkdir(exist_ok=True)
    return directory


def _is_locked(file: Path) -> bool:
    try:
        handle = os.open(file, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _answers(server: dict[str, str | int | None]) -> bool:
    path, host, port = server.get("socket"), server.get("host"), server.get("port")
    try:
        if path:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(path))
        else:
            socket.create_connection((str(host), int(port or 0)), timeout=5).close()
    except OSError:
        return False
    return True
