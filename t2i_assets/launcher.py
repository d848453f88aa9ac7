"""Runs a ``training`` or ``evaluation`` job as a process of its own, with Dagster Pipes between.

The job gets one JSON file and an output directory; it streams its progress into the run's log, and the
curve of its loss so far into the asset's observations. A training job may be several processes under torchrun, of
which the first reports. When the run is cancelled, the job's whole process group gets SIGINT, time to write a
checkpoint, and then SIGKILL: nothing stays behind. torchrun hands the signal on to its processes; one that it leaves
behind ends by itself, as ``training.job`` has it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import PipesTempFileContextInjector, PipesTempFileMessageReader, open_pipes_session

from t2i_assets import fork_server
from t2i_assets.fork_server import Fork
from t2i_assets.metadata import curve
from t2i_assets.progress import figures_of, progress_log, unit_name

GRACE_SECONDS = 20
TAIL_LINES = 60
SECONDS_BETWEEN_CURVES = 20.0

# Dagster's own message reader uses a method that Dagster marks as a preview, and warns of it at every job.
warnings.filterwarnings("ignore", message=r"Function `PipesMessageReader\.expected_writer_count`")


def launch(
    context: dg.AssetExecutionContext,
    module: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, Path | list[Path]],
    output: Path,
    torchrun_processes: int | None = None,
) -> dict[str, Any]:
    """Run ``python -m module`` until it ends, or so many of it under torchrun; return its ``run.json``.

    Raises dg.Failure with the last line of the job's output, and its tail as metadata, where it fails.
    """
    name = unit_name(context)
    job = output / "job.json"
    job.write_text(json.dumps({"name": name, "config": config, "inputs": _plain(inputs), "output": str(output)}))
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with open_pipes_session(context, PipesTempFileContextInjector(), PipesTempFileMessageReader()) as session:
        environment = {**os.environ, **session.get_bootstrap_env_vars(), "PYTHONUNBUFFERED": "1"}
        process = _start(module, ["--job", str(job)], environment, torchrun_processes)
        try:
            _follow(process, context, tail)
        except BaseException:
            _stop(process)
            raise
    if process.returncode != 0:
        raise dg.Failure(
            description=f"{module} ended with code {process.returncode}: {_reason(tail)}",
            metadata={"output": dg.MetadataValue.md("```\n" + "\n".join(tail) + "\n```")},
        )
    job.unlink()
    run = output / "run.json"
    if not run.exists():
        raise dg.Failure(description=f"{module} ended without its run.json: it did not finish its work")
    result: dict[str, Any] = json.loads(run.read_text())
    return result


def _start(
    module: str, arguments: list[str], environment: Mapping[str, str], torchrun_processes: int | None
) -> subprocess.Popen[str] | Fork:
    """Start a job: a fork where this process has a fork server, else a new interpreter, or torchrun."""
    if fork_server.is_open() and torchrun_processes is None:
        return Fork(module, arguments, environment)
    return subprocess.Popen(
        [sys.executable, *_under_torchrun(torchrun_processes), "-m", module, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def _under_torchrun(processes: int | None) -> list[str]:
    if processes is None:
        return []
    return ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]


def _reason(tail: Iterable[str]) -> str:
    """Return the line that says what went wrong: the error that a job prints, or the last line.

    torchrun ends with the traceback of the process that failed first.
    """
    told = [line.strip() for line in tail if line.strip("=- ")]
    errors = [line for line in told if line.startswith("error: ")]
    return [*errors, *reversed(told), "no output"][0]


def _plain(inputs: Mapping[str, Path | list[Path]]) -> dict[str, str | list[str]]:
    return {
        name: [str(path) for path in value] if isinstance(value, list) else str(value) for name, value in inputs.items()
    }


def _follow(process: subprocess.Popen[str] | Fork, context: dg.AssetExecutionContext, tail: deque[str]) -> None:
    """Read the job's output to its end: progress goes on, the rest is kept for the error message."""
    assert process.stdout is not None
    losses: list[tuple[int, float]] = []
    observed = time.monotonic()
    for line in process.stdout:
        line = line.rstrip()
        if not line.startswith("progress "):
            tail.extend([line] if line else [])
            continue
        progress_log.info(line.removeprefix("progress "), extra={"unit": unit_name(context)})
        figures = figures_of(line)
        step = int(figures.get("step", 0))
        losses += [(step, float(figures[name])) for name in figures if name.split("/")[-1] == "loss"]
        if losses and time.monotonic() - observed > SECONDS_BETWEEN_CURVES:
            observed = time.monotonic()
            _observe(context, figures, losses)
    process.wait()


def _observe(context: dg.AssetExecutionContext, figures: Mapping[str, str], losses: list[tuple[int, float]]) -> None:
    context.log_event(
        dg.AssetObservation(
            asset_key=context.asset_key,
            partition=context.partition_key if context.has_partition_key else None,
            metadata={**figures, "loss so far": curve(losses)},
        )
    )


def _stop(process: subprocess.Popen[str] | Fork) -> None:
    """Have the job write a checkpoint and end; whatever of its process group is left after a while is killed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
