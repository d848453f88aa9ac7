"""The one resource: the configuration and the place of the artifacts."""

from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from t2i_assets.config import Settings, load_settings
from t2i_assets.corpus.home import Home


class Pipeline(dg.ConfigurableResource[Any]):
    """Reads the preset once and tells where artifacts lie."""

    preset: str = Field(description="Name of a preset, or the path of a YAML file.")
    home: str = Field(description="Directory of all artifacts (T2I_HOME).")

    @cached_property
    def settings(self) -> Settings:
        return load_settings(self.preset)

    @cached_property
    def place(self) -> Home:
        return Home(Path(self.home).resolve())


class Overrides(dg.Config):
    """What a person may change in the Launchpad for one run."""

    overrides: dict[str, Any] = Field(
        default={},
        description="Fields of this asset's section of the preset to change for this run, "
        'e.g. {"optimizer": {"steps": 2000}}. An unknown field is an error; the result gets a digest of its own.',
    )
