"""Artifacts load where only open_clip, transformers and diffusers are. Each model's own tests load it there; this one
shows that it is such a place.
"""

import subprocess
from pathlib import Path

import pytest

from tests.unit.foreign_process import run_without_project

TOLD = """
import importlib.util
for name in sys.argv[2:]:
    found = importlib.util.find_spec(name) is not None
    assert found == (sys.argv[1] == "present"), f"{name} is {'present' if found else 'absent'}"
"""


def test_what_loads_models_is_there_and_this_project_is_not(tmp_path: Path) -> None:
    run_without_project(TOLD, tmp_path, "present", "open_clip", "transformers", "diffusers", "torch", "safetensors")
    ours = ("training", "t2i_assets", "evaluation", "tests")
    run_without_project(TOLD, tmp_path, "absent", *ours, "dagster", "duckdb", "pyarrow", "tensorboardX", "accelerate")


def test_neither_the_path_of_python_nor_the_directory_brings_it_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", str(root))
    run_without_project(TOLD, root, "absent", "training", "t2i_assets")
    with pytest.raises(subprocess.CalledProcessError):
        run_without_project("import training", root)
