"""How every job starts and ends: read ``--job job.json``, validate it, run, report.

``job.json`` holds ``{"config": {…}, "inputs": {name: path or list of paths}, "output": directory, "name": asset}``.
The output directory exists already and may hold the checkpoint of a killed try.
"""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from training.config import JobConfig
from training.report import Reporter

Config = TypeVar("Config", bound=JobConfig)
Inputs = TypeVar("Inputs", bound="JobInputs")

CHECKPOINTS = "*checkpoint.pt"
SECONDS_BETWEEN_LOOKS = 1.0


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

    Sets torch's threads and seed from the config first. Checkpoints that ``training.loop.train`` left in the
    output are removed once ``main`` has returned. Ends the process with a clear line and code 2 where the job
    file is wrong.
    """
    parser = argparse.ArgumentParser(description=(main.__doc__ or "").split("\n")[0])
    parser.add_argument("--job", type=Path, required=True, help="JSON file: config, inputs, output, name")
    try:
        job = read_job(parser.parse_args().job, config_model, inputs_model)
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    _end_with_parent()
    if needs_torch:
        _prepare_torch(job.config)
    with Reporter(job.name, job.output, job.config.model_dump(mode="json")) as reporter:
        main(job, reporter)
    for checkpoint in job.output.glob(CHECKPOINTS):
        checkpoint.unlink()


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
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def _prepare_torch(config: JobConfig) -> None:
    import torch  # here, not above: jobs without torch start in a fraction of the time

    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
