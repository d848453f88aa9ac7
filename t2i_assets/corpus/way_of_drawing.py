"""How pictures were drawn, all but the prompts and seeds: pictures that were drawn one way stay when prompts join."""

from collections.abc import Mapping
from typing import Any

from t2i_assets.corpus.digests import digest

OF_PROMPTS = frozenset({"prompts", "evaluation_set"})
"""Inputs that say what is drawn, not how; the evaluation set was one before it and published prompts were apart."""


def way_of_drawing(code_version: str, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Return what stands for how an artifact's pictures were drawn: code, settings, and models by digest."""
    settings = {name: value for name, value in config.items() if name != "seeds"}
    models = {name: value for name, value in inputs.items() if name not in OF_PROMPTS}
    return digest([code_version, settings, models])
