"""Makes the whole graph on the embedded web site: two workers, each materializing one asset at a time.

Every materialization is an ordinary Dagster run, so the web UI shows it, before and after. What is made
already is left alone, so a second demo does nothing again and a killed one goes on.
"""

import logging.handlers
import multiprocessing
import os
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import dagster as dg

from t2i_assets.config import Environment, load_settings
from t2i_assets.corpus.snapshots import check_snapshot_name
from t2i_assets.demo.order import Unit, by_urgency, units, units_behind
from t2i_assets.demo.terminal import Display
from t2i_assets.demo.worker import Outcome, materialize, start_worker
from t2i_assets.instance import prepare, variables

WORKERS = 2


class DemoFailedError(RuntimeError):
    """An asset could not be made; the message names it and says why."""


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
    Raises SnapshotNameError where the snapshot cannot be named so, and DemoFailedError where an asset fails, once the
    work that is under way has ended.
    """
    check_snapshot_name(snapshot)
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
    pool = ProcessPoolExecutor(workers, context, start_worker, (messages, variables(environment)))
    try:
        waiting, running, done = dict(needs), dict[Future[Outcome], Unit](), set[Unit]()
        while running or (waiting and failed is None):
            ready = sorted((unit for unit, parents in waiting.items() if parents <= done), key=lambda u: -urgency[u])
            for unit in ready[: workers - len(running)] if failed is None else []:
                del waiting[unit]
                display.begin(unit)
                running[pool.submit(materialize, unit)] = unit
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                unit = running.pop(future)
                outcome = future.result()
                display.end(outcome.unit, outcome.seconds, outcome.reused, outcome.error)
                fresh += not outcome.reused
                failed = outcome if outcome.error else failed
                done.add(unit)
    except BrokenProcessPool as error:
        raise DemoFailedError("a worker was killed, perhaps for want of memory; run it again to go on") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        listener.stop()
        display.stop()
    if failed is not None:
        raise DemoFailedError(f"{failed.unit} failed: {failed.error}")
    return fresh
