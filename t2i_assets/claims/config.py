"""Which experiments are run, at which seeds."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from t2i_assets.corpus.blending import BlendRecipe, Source

Style = Literal["short", "descriptive"]
SYNTHETIC: dict[Style, Source] = {"short": "synthetic_short", "descriptive": "synthetic_descriptive"}
ABLATION: dict[str, tuple[bool, bool]] = {
    "none": (False, False),
    "filter": (False, True),
    "captioner": (True, False),
    "both": (True, True),
}
"""BLIP's 2×2: whether synthetic captions are drawn, and whether the filter has its say."""


class ClaimsConfig(BaseModel):
    """The experiments behind docs/claims.md; each is repeated with seeds 0, 1, ... of everything that is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    snapshot: str = Field(default="demo", description="The crawl that is the corpus of the experiments.")
    shares: tuple[float, ...] = Field(
        default=(0.0, 0.5, 0.65, 0.8, 0.9, 0.95, 1.0), description="Shares of synthetic captions in the blend sweep."
    )
    styles: tuple[Style, ...] = Field(
        default=("short", "descriptive"), min_length=1, description="Styles of synthetic captions in the sweep."
    )
    diffusion_seeds: int = Field(default=2, ge=1, description="Diffusion models trained on each blend of the sweep.")
    clip_seeds: int = Field(default=3, ge=1, description="CLIPs trained on each blend of the 2×2 ablation.")
    capfilt_seeds: int = Field(default=3, ge=1, description="Captioners and filters trained.")
    drawing_seeds: int = Field(
        default=3, ge=1, description="Diffusion models and priors trained for objectives, guidance and priors."
    )
    guidance_scales: tuple[float, ...] = Field(
        default=(1.0, 1.5, 2.0, 3.0, 5.0, 8.0), min_length=2, description="Guidance scales compared; 1 is none."
    )
    resamples: int = Field(default=2000, ge=100, description="Bootstrap resamples of seeds and images or scenes.")
    interval: float = Field(default=0.95, gt=0, lt=1, description="Mass of the interval.")

    def sweep(self) -> dict[str, BlendRecipe]:
        """Return DALL·E 3's blends: a share of one style of synthetic captions, the rest original, nothing filtered.

        Filtered originals are too few for half of a blend to be of them, so the filter stays out of the comparison.
        """
        recipes = {}
        for seed in range(self.diffusion_seeds):
            for style in self.styles:
                for share in self.shares:
                    name = sweep_name(style, share, seed)
                    weights = {SYNTHETIC[style]: share, "original": 1 - share}
                    recipes[name] = BlendRecipe(name=name, weights=_positive(weights), filtered=False, replicate=seed)
        return recipes

    def ablation(self) -> dict[str, BlendRecipe]:
        """Return BLIP's 2×2: original texts alone or with as many synthetic ones, as they are or filtered."""
        recipes = {}
        for seed in range(self.clip_seeds):
            for arm, (captioner, filtered) in ABLATION.items():
                name = ablation_name(arm, seed)
                weights: dict[Source, float] = {"original": 1.0}
                if captioner:
                    weights = {"original": 0.5, "synthetic_short": 0.25, "synthetic_descriptive": 0.25}
                recipes[name] = BlendRecipe(name=name, weights=weights, filtered=filtered, replicate=seed)
        return recipes


def sweep_name(style: Style, share: float, seed: int) -> str:
    """Return the name of a blend of the sweep; blends without synthetic captions are one for all styles."""
    arm = f"{style}_{round(100 * share)}" if share else "original"
    return f"sweep_{arm}_seed{seed}"


def ablation_name(arm: str, seed: int) -> str:
    """Return the name of a blend of the 2×2 ablation."""
    return f"ablation_{arm}_seed{seed}"


def _positive(weights: dict[Source, float]) -> dict[Source, float]:
    return {source: weight for source, weight in weights.items() if weight > 0}
