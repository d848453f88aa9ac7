"""Processes that tests start, and kill, come from one that has imported what they need."""

import multiprocessing

PRELOADED = ("tests.unit.ingest_run", "tests.unit.group_training")
"""Of all tests: a process has one fork server, and what that imports is settled when it starts."""

multiprocessing.set_forkserver_preload(list(PRELOADED))
