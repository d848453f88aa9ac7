"""What holds for every unit test: where its processes come from, and that it does not depend on those before it."""

import multiprocessing
import sys

import pytest

PRELOADED = ("tests.unit.ingest_run", "tests.unit.group_training")
"""Of all tests: a process has one fork server, and what that imports is settled when it starts."""

multiprocessing.set_forkserver_preload(list(PRELOADED))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Have weights that a test, or what it is given, begins with follow from nothing that ran before."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)
