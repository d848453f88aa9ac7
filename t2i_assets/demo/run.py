"""Makes the whole graph on the embedded web site: two workers, each materializing one asset at a time.

Every materialization is an ordinary Dagster run, so the web UI shows it, before and after. What is made
already is left alone, so a second demo does nothing again and a killed one goes on.
"""

import logging
import logging.handlers
import multiprocessing
import os
import signal
import time
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import dagster as dg

from t2i_assets.config import Environment, load_settings
from t2i_assets.demo.order import Unit, by_urgency, units, units_behind
from t2i_assets.demo.terminal import Display
from t2i_assets.instance import prepare, variables

WORKERS = 2


class DemoFailedError(RuntimeError):
    """An asset could not be made; the message names it and says why."""


@dataclass(frozen=True)
class Outcome:
    """What became of one unit."""

    unit: Unit
    seconds: float
    reused: bool = False
    error: str | None = None


def run_demo(
    environment: Environment,
    snapshot: str,
    display: Display,
    workers: int = WORKERS,
    group: str | None = None,
    targets: Collection[Unit] = (),
) -> int:
    """Materialize everything for ``snapshot`` and every recipe; return how many assets had to be made.

    ``group`` limits it to the assets of one group, whose inputs from other groups must be there; ``targets`` makes
    these units, and what they need, in place of the demo.
    Raises DemoFailedError where an asset fails, once the work that is under way has ended.
    """
    home = prepare(environment)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("snapshot", [snapshot])
    os.environ.update(variables(environment))
    from t2i_assets.definitions import defs  # after the environment says which preset

    if targets:
        needs = units_behind(defs, snapshot, targets)
    else:
        needs = units(defs, load_settings(environment.preset), snapshot)
    if group is not None:
        chosen = {key.to_user_string() for key in dg.AssetSelection.groups(group).resolve(defs.resolve_asset_graph())}
        needs = {
            unit: {p for p in parents if p.asset in chosen} for unit, parents in needs.items() if unit.asset in chosen
        }
    urgency = by_urgency(needs)
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    listener = logging.handlers.QueueListener(messages, display.handler())
    listener.start()
    display.start(len(needs))
    failed: Outcome | None = None
    fresh = 0
    pool = ProcessPoolExecutor(workers, context, _start_worker, (messages, variables(environment)))
    try:
        waiting, running, done = dict(needs), dict[Future[Outcome], Unit](), set[Unit]()
        while running or (waiting and failed is None):
            ready = sorted((unit for unit, parents in waiting.items() if parents <= done), key=lambda u: -urgency[u])
            for unit in ready[: workers - len(running)] if failed is None else []:
                del waiting[unit]
                display.begin(unit)
                running[pool.submit(_materialize, unit)] = unit
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                unit = running.pop(future)
                outcome = future.result()
                display.end(outcome.unit, outcome.seconds, outcome.reused, outcome.error)
                fresh += not outcome.reused
                failed = outcome if outcome.error else failed
                done.add(unit)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        listener.stop()
        display.stop()
    if failed is not None:
        raise DemoFailedError(f"{failed.unit} failed: {failed.error}")
    return fresh


def _start_worker(messages: Any, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    progress = logging.getLogger("t2i_assets.progress")
    progress.setLevel(logging.INFO)
    progress.propagate = False
    progress.addHandler(logging.handlers.QueueHandler(messages))
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def _materialize(unit: Unit) -> Outcome:
    """Run one unit as a Dagster run of its own, in this process."""
    from t2i_assets.definitions import defs  # imported once per worker, after its environment is set

    started = time.monotonic()
    try:
        with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
            result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(unit.asset)],
                partition_key=unit.partition,
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
