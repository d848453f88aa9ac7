"""What an experiment cost: how long its models were trained, and how many of each."""

from collections.abc import Mapping

from pydantic import BaseModel

from t2i_assets.config import Settings
from training.config import OptimizerConfig

NAMES = {
    "captioner": "captioner",
    "caption_filter": "filter",
    "sharing": "captioner and filter on shared and on separate weights",
    "clip": "CLIP",
    "autoencoder": "autoencoder",
    "diffusion": "latent diffusion",
    "diffusion_prior": "diffusion prior",
    "autoregressive_prior": "autoregressive prior",
    "judge": "judge",
    "evaluation_clip": "CLIP that scores",
}
"""Sections of the settings whose models are trained, in words."""


def budget(settings: Settings, models: Mapping[str, str | None]) -> str:
    """Return in words the steps of training of each phase of the models, with their batch, and their seeds.

    ``models`` maps sections of the settings to the field of the claims' that tells their seeds; None for one seed.
    """
    return "Steps of training: " + "; ".join(_told(settings, *model) for model in models.items()) + "."


def _told(settings: Settings, section: str, seeds_field: str | None) -> str:
    phases = _phases(getattr(settings, section))
    steps = ", ".join(f"{name.replace('_', '-')} {phase.steps:,}" for name, phase in phases.items())
    steps = steps.removeprefix("optimizer ")
    batches = sorted({phase.batch_size for phase in phases.values()})
    seeds = getattr(settings.claims, seeds_field) if seeds_field else 1
    return f"{NAMES[section]} {steps} of {' and '.join(map(str, batches))} samples ({seeds} seed{'s' * (seeds > 1)})"


def _phases(section: BaseModel) -> dict[str, OptimizerConfig]:
    """Return the phases of training that a job's settings hold and that are not left out, in their order."""
    values = {name: getattr(section, name) for name in type(section).model_fields}
    return {name: value for name, value in values.items() if isinstance(value, OptimizerConfig) and value.steps}
