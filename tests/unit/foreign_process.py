"""Python in a process where this project cannot be imported: what others have who load our models."""

import os
import subprocess
import sys
from pathlib import Path

ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("training", "t2i_assets", "evaluation"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def run_without_project(code: str, directory: Path, *arguments: str) -> None:
    """Run ``code`` in ``directory``, offline, ``arguments`` as sys.argv[1:]; raise CalledProcessError if it fails."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", ABSENT + code, *arguments]
    subprocess.run(command, cwd=directory, env=environment, check=True)
