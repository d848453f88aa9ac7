"""The whole graph at the smoke preset, run once for every test that looks at what came out."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from t2i_assets.corpus.home import Home


@dataclass(frozen=True)
class DemoRun:
    """A finished ``t2i demo``."""

    home: Home
    output: str
    seconds: float


def run_demo(home: Path) -> subprocess.CompletedProcess[str]:
    """Run ``t2i demo`` at the smoke preset, as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "t2i_assets.cli", "demo", "--preset", "smoke", "--home", str(home)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        timeout=900,
        check=False,
    )


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoRun:
    """A home in which the smoke demo ran to its end."""
    home = tmp_path_factory.mktemp("home")
    started = time.monotonic()
    done = run_demo(home)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return DemoRun(Home(home), done.stdout, time.monotonic() - started)
