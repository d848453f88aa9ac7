"""Trials: captions of held-out pictures by the captioner of a seed, decoded in one of several ways."""

from typing import Any

from t2i_assets.claims.config import ClaimsConfig

DECODINGS: dict[str, dict[str, Any]] = {
    "nucleus": {"method": "nucleus", "top_p": 0.9, "temperature": 1.0},
    "beam": {"method": "beam", "beams": 3},
    "greedy": {"method": "greedy"},
}
"""BLIP's two ways of decoding (section 4.3 there), and the likeliest token at every step."""


def names(config: ClaimsConfig) -> list[str]:
    """Return the names of all trials."""
    return [name(method, seed) for method in DECODINGS for seed in range(config.capfilt_seeds)]


def name(method: str, seed: int) -> str:
    """Return the name of a trial."""
    return f"{method}-{seed}"


def seed_of(trial: str) -> int:
    """Return the seed that captioner and filter of a trial were trained at; 0 are the pipeline's own."""
    return int(trial.rpartition("-")[2])


def decoding_of(trial: str) -> dict[str, Any]:
    """Return the decode settings of a trial, as far as they differ from the preset's."""
    return DECODINGS[trial.rpartition("-")[0]]
