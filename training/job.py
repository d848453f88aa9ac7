"""How every job starts and ends: read ``--job job.json``, validate it, run, report.

``job.json`` holds ``{"config": {…}, "inputs": {name: path or list of paths}, "output": directory, "name": asset}``.
The output directory exists already and may hold the checkpoint of a killed try.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from threadpoolctl import threadpool_limits

from training.config import LIFELINE, JobConfig
from training.report import Reporter

Config = TypeVar("Config", bound=JobConfig)
Inputs = TypeVar("Inputs", bound="JobInputs")

CHECKPOINTS = "*checkpoint.pt*"  # one that a kill left half written among them
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_TO_CHECKPOINT = 20.0


class JobInputs(BaseModel):
    """Base of a job's inputs: one field of type Path or list[Path] per input; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JobError(ValueError):
    """The job file cannot be run; the message says which field and why."""


@dataclass(frozen=True)
class Job(Generic[Config, Inputs]):
    """A validated job."""

    name: str
    config: Config
    inputs: Inputs
    output: Path


def run(
    main: Callable[[Job[Config, Inputs], Reporter], None],
    config_model: type[Config],
    inputs_model: type[Inputs],
    needs_torch: bool = True,
) -> None:
    """Run ``main`` on the job named on the command line; call this under ``if __name__ == "__main__"``.

    Sets the threads of torch and of numpy's linear algebra and the seed first, from the config. Checkpoints that
    ``training.loop.train`` left in the output are removed once ``main`` has returned. Ends the process with a clear
    line and code 2 where the job file or its device is wrong. Of several processes under torchrun the first writes into
    the output and reports; the others do the same work for a directory that is thrown away, so that ``main`` need not
    know of them.
    """
    parser = argparse.ArgumentParser(description=(main.__doc__ or "").split("\n")[0])
    parser.add_argument("--job", type=Path, required=True, help="JSON file: config, inputs, output, name")
    try:
        job = read_job(parser.parse_args().job, config_model, inputs_model)
        _end_with_parent()
        threadpool_limits(job.config.threads, user_api="blas")
        if needs_torch:
            _run_on_device(main, job)
        else:
            _run_and_report(main, job)
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    for checkpoint in job.output.glob(CHECKPOINTS):
        checkpoint.unlink(missing_ok=True)


def _run_on_device(main: Callable[[Job[Config, Inputs], Reporter], None], job: Job[Config, Inputs]) -> None:
    import torch  # here, not above: jobs without torch start in a fraction of the time

    from training.device import device_for
    from training.distributed import joined, recorded
    from training.memory import keep_freed_memory

    try:
        device = device_for(job.config.device)
    except ValueError as error:
        raise JobError(f"config of {job.name}: {error}") from error
    torch.set_num_threads(job.config.threads)
    torch.manual_seed(job.config.seed)
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":
        torch.cuda.set_device(device)
        _make_deterministic(job.config.deterministic)
    with recorded(), joined(device) as world:
        if world.is_first:
            _run_and_report(main, job)
            return
        with tempfile.TemporaryDirectory(prefix=f"{job.name}-") as scratch:
            _run_and_report(main, replace(job, output=Path(scratch)), quiet=True)


def _run_and_report(
    main: Callable[[Job[Config, Inputs], Reporter], None], job: Job[Config, Inputs], quiet: bool = False
) -> None:
    with Reporter(job.name, job.output, job.config.model_dump(mode="json"), quiet) as reporter:
        main(job, reporter)


def read_job(path: Path, config_model: type[Config], inputs_model: type[Inputs]) -> Job[Config, Inputs]:
    """Read and validate a job file. Raises JobError with the first thing that is wrong."""
    try:
        raw = _JobFile.model_validate_json(path.read_text())
        config = config_model.model_validate(raw.config)
        inputs = inputs_model.model_validate(raw.inputs)
    except OSError as error:
        raise JobError(f"cannot read the job file {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "file"
        raise JobError(f"job file {path}: {error.title} field {field!r}: {first['msg']}") from error
    for name, value in inputs:
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Path) and not item.exists():
                raise JobError(f"job file {path}: input {name!r} does not exist: {item}")
    if not raw.output.is_dir():
        raise JobError(f"job file {path}: output is not a directory: {raw.output}")
    return Job(name=raw.name, config=config, inputs=inputs, output=raw.output)


class _JobFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    config: dict[str, object]
    inputs: dict[str, object]
    output: Path
    name: str


def _end_with_parent() -> None:
    """Have this process get SIGTERM, which writes a checkpoint, when the one that launched it is gone.

    A launcher that was killed with -9 cannot stop its job; without this the job would go on beside its successor.
    One that waits for a process that is gone, as others of a group may, cannot write a checkpoint: it is killed.
    The launcher of a fork is not its parent, and holds the other end of its lifeline instead.
    """
    parent, lifeline = os.getppid(), os.environ.pop(LIFELINE, None)

    def watch() -> None:
        if lifeline is not None:
            os.read(int(lifeline), 1)
        else:
            while os.getppid() == parent:
                time.sleep(SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_CHECKPOINT)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def _make_deterministic(wanted: bool) -> None:
    """Take algorithms that give the same bits every time; where an operation has none, torch warns."""
    import torch

    if not wanted:
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
