"""Processes that tests start, and kill, come from one that has imported what they need."""

import multiprocessing

multiprocessing.set_forkserver_preload(["tests.unit.ingest_run", "tests.unit.group_training"])
