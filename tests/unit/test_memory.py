"""Freed memory is kept: a block that is taken again costs no page faults."""

import subprocess
import sys

import pytest

MEASURE = """
import resource, sys
import numpy as np
from training.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.zeros(1 << 26, np.uint8).fill(1)
before = faults()
for _ in range(10):
    np.empty(1 << 26, np.uint8).fill(1)
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_block_that_is_taken_again_costs_no_page_faults() -> None:
    faults = {
        how: int(subprocess.run([sys.executable, "-c", MEASURE, how], capture_output=True, check=True).stdout)
        for how in ("keep", "give back")
    }
    assert faults["keep"] < 1000
    assert faults["keep"] < faults["give back"] / 4
