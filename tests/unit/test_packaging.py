"""What is imported is declared, what is declared is pinned and explained, and a newcomer's make says what it needs."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("t2i_assets", "training", "evaluation")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULE_OF = {
    "pillow": "PIL",
    "pyyaml": "yaml",
    "opencv-python-headless": "cv2",
    "open-clip-torch": "open_clip",
    "faiss-cpu": "faiss",
    "tensorboardx": "tensorboardX",
    "clean-fid": "cleanfid",
    "dagster-webserver": None,
    "accelerate": None,
}
"""Modules whose name is not that of their distribution; None where a program is used, or another library uses it."""


IN_ENVIRONMENTS_OF_THEIR_OWN = {"scrapy", "atheris"}
"""What benchmarks and fuzzers install for themselves: they compare with it, or need it alone."""

OF_DECLARED_DISTRIBUTIONS = {"open_clip_train", "accelerate"}
"""Modules that benchmarks compare with and the packages do not import, of distributions that these need anyway."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", name.strip())[0]).lower()


def declared(*extras: str) -> set[str]:
    optional = PROJECT["project"]["optional-dependencies"]
    return {
        normal(name) for names in (PROJECT["project"]["dependencies"], *map(optional.get, extras)) for name in names
    }


def modules(distributions: set[str]) -> set[str]:
    return {MODULE_OF.get(name, name.replace("-", "_")) or "" for name in distributions} - {""}


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {normal(line): line.split("==")[1] for line in lines}


def imported_by(package: str) -> set[str]:
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - set(PACKAGES)


def test_every_import_is_declared_and_every_declaration_is_imported() -> None:
    imported = set().union(*(imported_by(package) for package in PACKAGES))
    assert imported - modules(declared()) == set(), "imported, not declared"
    assert modules(declared()) - imported == set(), "declared, not imported"


def test_tests_import_what_the_dev_extra_brings() -> None:
    known = modules(declared("dev")) | {"tests"} | IN_ENVIRONMENTS_OF_THEIR_OWN | OF_DECLARED_DISTRIBUTIONS
    assert imported_by("tests") - known == set()


def test_every_dependency_is_pinned_and_explained() -> None:
    explained = (ROOT / "docs" / "architecture.md").read_text().lower().replace("_", "-")
    extras = PROJECT["project"]["optional-dependencies"]
    for requirement in [*PROJECT["project"]["dependencies"], *(r for extra in extras.values() for r in extra)]:
        assert normal(requirement) in pinned()
        assert f"`{normal(requirement)}`" in explained, f"docs/architecture.md gives no reason for {requirement}"


def test_constraints_hold_names_and_versions_only() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line), line


def test_every_room_of_the_house_stands_in_the_contract_of_the_ground_floor() -> None:
    [contract] = [c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    named = set(re.findall(r"\w+", " ".join(contract["layers"])))
    directory = ROOT / "t2i_assets"
    rooms = {path.stem for path in directory.glob("*.py")} | {
        path.parent.name for path in directory.glob("*/__init__.py")
    }
    assert rooms - {"__init__"} <= named


def test_the_lint_rules_forbid_what_the_design_forbids(tmp_path: Path) -> None:
    """Each rule is broken once in a copy of the packages, and import-linter names it."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    broken = {
        "t2i_assets/config.py": "import torch",
        "t2i_assets/report/page.py": "import training.loop",
        "training/loop.py": "import dagster",
        "evaluation/rules.py": "import t2i_assets.report",
        "training/data.py": "import dagster_pipes",
        "t2i_assets/corpus/home.py": "import t2i_assets.crawl",
    }
    for name, line in broken.items():
        path = tmp_path / name
        path.write_text(path.read_text() + f"\n{line}\n")
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert f"{len(PROJECT['tool']['importlinter']['contracts'])} broken" in run.stdout


def test_an_old_python_is_refused_in_words(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    old.chmod(0o755)
    run = subprocess.run(["make", "demo", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "Python 3.11 or newer is needed" in run.stderr
    assert "Python 3.9.2" in run.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("target", ["demo", "test", "ui"])
def test_each_target_sets_itself_up(target: str, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    planned = subprocess.run(["make", "-n", target], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "-m venv .venv" in planned
    assert "uv pip install" in planned
    assert "-c constraints.txt" in planned


def test_no_file_of_the_project_names_a_host_of_a_registry() -> None:
    for name in ("pyproject.toml", "constraints.txt", "Makefile", ".pre-commit-config.yaml", ".ci/run"):
        assert "://" not in (ROOT / name).read_text(), name
