"""A worker of the demo: a process that makes one asset at a time, each as a Dagster run of its own."""

import logging
import logging.handlers
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import dagster as dg

from t2i_assets.abandoned import WORKER_TAG, WorkerLock
from t2i_assets.demo.order import Unit
from t2i_assets.fork_server import open_fork_server


@dataclass(frozen=True)
class Outcome:
    """What became of one unit."""

    unit: Unit
    seconds: float
    reused: bool = False
    error: str | None = None


class _Worker:
    """What a worker process knows of itself."""

    lock: WorkerLock
    busy = threading.Event()


def start_worker(messages: Any, environment: dict[str, str]) -> None:
    """Make a new process a worker: progress goes to the queue ``messages``."""
    os.environ.update(environment)
    _Worker.lock = WorkerLock(Path(environment["DAGSTER_HOME"]))
    threading.Thread(target=_follow_parent, daemon=True).start()
    progress = logging.getLogger("t2i_assets.progress")
    progress.setLevel(logging.INFO)
    progress.propagate = False
    progress.addHandler(logging.handlers.QueueHandler(messages))
    open_fork_server()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def _follow_parent() -> None:
    """End with the parent, however it ends: a run under way is interrupted, so that nothing goes on unseen."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    if _Worker.busy.is_set():
        os.kill(os.getpid(), signal.SIGINT)
    while _Worker.busy.is_set():
        time.sleep(0.1)
    os._exit(1)


def materialize(unit: Unit) -> Outcome:
    """Make one unit; never raises for what goes wrong in it."""
    _Worker.busy.set()
    try:
        return _materialize_in_process(unit)
    finally:
        _Worker.busy.clear()


def _materialize_in_process(unit: Unit) -> Outcome:
    from t2i_assets.definitions import defs  # imported once per worker, after its environment is set

    started = time.monotonic()
    try:
        with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
            result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(unit.asset)],
                partition_key=unit.partition,
                tags={WORKER_TAG: _Worker.lock.name},
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            )
            error = None if result.success else _why(result)
            reused = any(
                bool(value.value)
                for event in result.get_asset_materialization_events()
                for name, value in event.materialization.metadata.items()
                if name == "reused"
            )
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        return Outcome(unit, time.monotonic() - started, error="interrupted; run it again to go on")
    return Outcome(unit, time.monotonic() - started, reused, error)


def _why(result: dg.ExecuteInProcessResult) -> str:
    """Return the message of the first step that failed, or of the check that blocked."""
    for event in result.all_events:
        if event.is_step_failure:
            data: Any = event.event_specific_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return str(data.user_failure_data.description)
            error = data.error
            while error.cause is not None:
                error = error.cause
            return str(error.message).strip()
    return "the run failed without saying why"
