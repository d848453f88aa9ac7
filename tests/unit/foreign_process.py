"""Python as others have it who load our models: open_clip, transformers, diffusers and what these need, no more."""

import os
import subprocess
import sys
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

THEIRS = ("open-clip-torch", "transformers", "diffusers")
START = "import sys; sys.path.insert(0, sys.argv.pop(1))\n"


def run_without_project(code: str, directory: Path, *arguments: str) -> None:
    """Run ``code`` in ``directory``, offline, ``arguments`` as sys.argv[1:]; raise CalledProcessError if it fails.

    The interpreter is isolated (-I, -S): of what is installed here it sees the packages of ``THEIRS`` alone, neither
    PYTHONPATH nor the directory that it runs in.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with TemporaryDirectory() as packages:
        for installed in _installed():
            (Path(packages) / installed.name).symlink_to(installed)
        command = [sys.executable, "-I", "-S", "-c", START + code, packages, *arguments]
        subprocess.run(command, cwd=directory, env=environment, check=True)


@cache
def _installed() -> tuple[Path, ...]:
    """Return every package and module of ``THEIRS`` and of all that they require, with its metadata."""
    waiting, seen, found = list(THEIRS), set[str](), set[Path]()
    while waiting:
        if (name := canonicalize_name(waiting.pop())) in seen:
            continue
        seen.add(name)
        ours = distribution(name)
        required = [Requirement(line) for line in ours.requires or []]
        waiting += [other.name for other in required if other.marker is None or other.marker.evaluate({"extra": ""})]
        site = Path(str(ours.locate_file("")))
        found |= {site / file.parts[0] for file in ours.files or [] if file.parts[0] not in ("..", "__pycache__")}
    return tuple(sorted(found))
