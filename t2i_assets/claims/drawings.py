"""Drawings: pictures for the prompts by diffusion models that differ in one thing, each at several seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from t2i_assets.claims.config import ClaimsConfig

Prior = Literal["diffusion_prior", "autoregressive_prior"]
PRIORS: tuple[Prior, ...] = ("diffusion_prior", "autoregressive_prior")
OBJECTIVES = ("epsilon", "v", "flow")
BESIDE = "_beside"
CONDITIONS = (
    "caption",
    "text_embedding",
    *PRIORS,
    f"text_embedding{BESIDE}",
    *(f"{prior}{BESIDE}" for prior in PRIORS),
)
"""What a model of the unCLIP variant draws from; an embedding alone, or beside the caption, as in DALL·E 2."""
GUIDED = "v"
"""Objective of the models that guidance is tried with."""


@dataclass(frozen=True)
class Drawing:
    """How pictures of one arm and seed come about.

    Attributes:
        model: trial of the diffusion model that draws.
        generate: settings of generation that differ from the preset's.
        prior: the kind that gives image embeddings; None for none.
        seed: of the models' training.
    """

    model: str
    seed: int
    generate: Mapping[str, Any] = field(default_factory=dict)
    prior: Prior | None = None


def models(config: ClaimsConfig) -> dict[str, tuple[int, dict[str, Any]]]:
    """Return for each trial of a diffusion model its seed and the settings that differ from the preset's."""
    told: dict[str, tuple[int, dict[str, Any]]] = {}
    for seed in range(config.drawing_seeds):
        told |= {name(objective, seed): (seed, {"prediction": objective}) for objective in OBJECTIVES}
        told[name("unclip", seed)] = (seed, {"image_embedding": True, "caption_dropout": 0.5})
    return told


def drawings(config: ClaimsConfig, sampler: Mapping[str, Any]) -> dict[str, Drawing]:
    """Return every drawing by name; ``sampler`` is how the preset draws."""
    told: dict[str, Drawing] = {}
    for seed in range(config.drawing_seeds):
        told |= {name(objective, seed): Drawing(name(objective, seed), seed) for objective in OBJECTIVES}
        for scale in config.guidance_scales:
            guided = {"sampler": {**sampler, "guidance_scale": scale}}
            told[name(guidance(scale), seed)] = Drawing(name(GUIDED, seed), seed, guided)
        for condition in CONDITIONS:
            source = condition.removesuffix(BESIDE)
            prior = next((kind for kind in PRIORS if kind == source), None)
            generate = {"condition": "prior" if prior else source, "caption_beside": condition != source}
            told[name(unclip(condition), seed)] = Drawing(name("unclip", seed), seed, generate, prior)
    return told


def guidance(scale: float) -> str:
    """Return the name of the arm that draws at a guidance scale."""
    return f"guidance_{scale:g}".replace(".", "p")


def unclip(condition: str) -> str:
    """Return the name of the arm that draws from a condition."""
    return f"unclip_{condition}"


def priors(config: ClaimsConfig) -> dict[str, tuple[Prior, int]]:
    """Return kind and seed of each trial of a prior; those of seed 0 are the pipeline's own."""
    return {name(kind, seed): (kind, seed) for kind in PRIORS for seed in range(1, config.drawing_seeds)}


def name(arm: str, seed: int) -> str:
    """Return the name of a trial."""
    return f"{arm}-{seed}"
