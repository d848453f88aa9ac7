"""The Dagster instance that lives under ``T2I_HOME``."""

import os
import shutil
from pathlib import Path

import dagster as dg

from t2i_assets.abandoned import end_abandoned_runs
from t2i_assets.config import Environment


def project_file(name: str) -> Path:
    """Return a file of the project: beside the packages in a checkout, inside them in a wheel."""
    beside, inside = Path(__file__).parent.parent / name, Path(__file__).parent / name
    return beside if beside.exists() else inside


def prepare(environment: Environment) -> Path:
    """Make ``$T2I_HOME/dagster`` ready and return it; runs and user interface share it.

    SQLite's tables are made here once, before several processes open them at the same time; runs that were killed are
    told as failed.
    """
    directory = environment.home / "dagster"
    directory.mkdir(parents=True, exist_ok=True)
    settings = project_file("dagster.yaml")
    shutil.copy(settings, directory / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(directory)) as instance:
        instance.get_runs(limit=1)
        instance.get_dynamic_partitions("snapshot")
        instance.all_asset_keys()
        end_abandoned_runs(instance, directory)
    return directory


def variables(environment: Environment) -> dict[str, str]:
    """Return the environment of a process that loads the definitions."""
    return {
        **os.environ,
        "T2I_PRESET": environment.preset,
        "T2I_HOME": str(environment.home),
        "DAGSTER_HOME": str(environment.home / "dagster"),
    }
