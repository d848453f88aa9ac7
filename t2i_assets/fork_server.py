"""Jobs as forks of a process that has imported what they draw and train with: each starts at once, not after seconds.

A process that runs many jobs, one after another, opens its fork server once; the launcher then forks its jobs from it.
A fork is a job like any other: its own session, environment and output, which is read to its end.
"""

import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import TextIO

from training.config import LIFELINE

IMPORTED = ("training.loop", "training.models.clip", "training.models.autoencoder", "training.models.diffusion")
"""What takes seconds to import and most jobs need."""
SAFE_TO_FORK = {
    "OPENBLAS_NUM_THREADS": "1",  # no threads before there is a job, which says how many it may have
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # a GPU that was asked about, as some imports do, is of no use in forks
}

_server: ForkServerContext | None = None


def open_fork_server() -> None:
    """Have this process fork its jobs from now on; where the system cannot, do nothing."""
    global _server
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return
    _server = multiprocessing.get_context("forkserver")
    _server.set_forkserver_preload(list(IMPORTED))


def is_open() -> bool:
    """Return whether jobs of this process are forked."""
    return _server is not None


class Fork:
    """A forked job, with what the launcher uses of subprocess.Popen."""

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        assert _server is not None, "open_fork_server() comes first"
        with _environment(SAFE_TO_FORK):
            forkserver.ensure_running()
        output, theirs = multiprocessing.Pipe(duplex=False)
        self._lifeline, lifeline = multiprocessing.Pipe()
        told = (module, tuple(arguments), dict(environment), theirs, lifeline)
        self._process: ForkServerProcess = _server.Process(target=_run, args=told)
        with theirs, lifeline:
            self._process.start()
        try:
            with contextlib.suppress(EOFError):  # of one that died before; its exit code says so
                self._lifeline.recv()  # it leads its process group from here on
        except BaseException:
            self._process.kill()
            raise
        with output:
            self.stdout: TextIO = os.fdopen(os.dup(output.fileno()), "r", errors="replace")

    @property
    def pid(self) -> int:
        """Of the job, which leads its process group."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; the negative signal that killed it."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self._process.name), timeout or 0)
        self.stdout.close()
        self._lifeline.close()
        return self.returncode


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Change the environment of what is started inside."""
    before = {name: os.environ.pop(name, None) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            os.environ.update({} if value is None else {name: value})


def _run(
    module: str, arguments: tuple[str, ...], environment: dict[str, str], output: Connection, lifeline: Connection
) -> None:
    """Be ``python -m module`` in a fork."""
    os.setsid()
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    output.close()
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", buffering=1, closefd=False) for descriptor in (1, 2))
    lifeline.send("ready")
    os.environ.clear()
    os.environ.update({**environment, LIFELINE: str(os.dup(lifeline.fileno()))})
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
