"""One tree of settings. A preset (``presets/<name>.yaml``) fills it; an unknown field is an error.

Nothing else in the project reads the environment.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evaluation.config import (
    CaptionClipConfig,
    ClipScoreConfig,
    CompBenchConfig,
    FeaturesConfig,
    FrechetConfig,
    JudgeConfig,
    LeaderboardConfig,
    RetrievalConfig,
)
from t2i_assets.checks.config import CaptionReportConfig
from t2i_assets.claims.config import ClaimsConfig
from t2i_assets.corpus.blending import DEFAULT_RECIPES, BlendRecipe
from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.duplicates.config import ContaminationConfig, DuplicateConfig, SemanticConfig
from t2i_assets.corpus.prompt_files import PromptFilesConfig
from t2i_assets.corpus.verdicts import VerdictRules
from t2i_assets.crawl.config import CrawlConfig, SiteSource
from t2i_assets.synthweb.config import EvaluationSetConfig, SiteConfig
from training.config import (
    AutoencoderConfig,
    AutoregressivePriorConfig,
    CaptionerConfig,
    CaptionFilterConfig,
    ClipConfig,
    DiffusionConfig,
    DiffusionPriorConfig,
    EmbedConfig,
    GenerateConfig,
    ImageFeaturesConfig,
    LatentsConfig,
    RecaptionConfig,
    ScoreConfig,
    SharingConfig,
    TextStatesConfig,
    TokenizerConfig,
    UpsampleConfig,
    UpsamplerConfig,
)

DEFAULT_PRESET = "tiny"
SITE_PORT = 8399
EMBEDDED_CRAWL = CrawlConfig(sources=[SiteSource(name="synthweb")], allow_loopback=[f"127.0.0.1:{SITE_PORT}"])


class SettingsError(ValueError):
    """The configuration cannot be used; the message names the file, the field and what is wrong."""


class LauncherConfig(BaseModel):
    """How training jobs are started. Other jobs are always one process."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["local", "torchrun"] = Field(default="local", description="One process, or several under torchrun.")
    processes: int = Field(default=1, gt=0, description="Processes of torchrun on this machine: one for each GPU.")

    @model_validator(mode="after")
    def _local_is_one_process(self) -> Self:
        if self.kind == "local" and self.processes != 1:
            raise ValueError(f"{self.processes} processes need torchrun: set kind to torchrun")
        return self


class Settings(BaseModel):
    """Everything that can be set, one section per asset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: SiteConfig | None = Field(
        default_factory=SiteConfig,
        description="The embedded web site, served while it is crawled; null crawls the web.",
    )
    site_port: int = Field(
        default=SITE_PORT, gt=0, description="Port of the embedded site, fixed so that its URLs are stable."
    )
    crawl: CrawlConfig = Field(default=EMBEDDED_CRAWL, description="Where the crawl goes and how politely.")
    human_captions_url: str = Field(
        default="/dataset/captions.json",
        description="COCO-style JSON of human captions; a path is one of the embedded site.",
    )
    duplicates: DuplicateConfig = Field(default_factory=DuplicateConfig, description="What counts as a duplicate.")
    image_features: ImageFeaturesConfig = Field(
        default_factory=ImageFeaturesConfig, description="Image embeddings that semantic duplicates are found by."
    )
    semantic_duplicates: SemanticConfig = Field(
        default_factory=SemanticConfig, description="What counts as the same content."
    )
    contamination: ContaminationConfig = Field(
        default_factory=ContaminationConfig, description="What counts as an image or a prompt of the evaluation set."
    )
    launcher: LauncherConfig = Field(default_factory=LauncherConfig, description="How training jobs are started.")
    tokenizer: TokenizerConfig = Field(default_factory=TokenizerConfig, description="The vocabulary.")
    captioner: CaptionerConfig = Field(default_factory=CaptionerConfig, description="The captioner.")
    caption_filter: CaptionFilterConfig = Field(default_factory=CaptionFilterConfig, description="The filter.")
    recaption: RecaptionConfig = Field(default_factory=RecaptionConfig, description="How captions are sampled.")
    sharing: SharingConfig = Field(
        default_factory=SharingConfig, description="Captioner and filter with weights apart and shared."
    )
    score: ScoreConfig = Field(default_factory=ScoreConfig, description="How captions are scored.")
    verdicts: VerdictRules = Field(default_factory=VerdictRules, description="Rules and thresholds over stored scores.")
    caption_report: CaptionReportConfig = Field(
        default_factory=CaptionReportConfig, description="Bounds on a captioner's tics and on a filter's agreement."
    )
    blends: dict[str, BlendRecipe] = Field(
        default={recipe.name: recipe for recipe in DEFAULT_RECIPES},
        min_length=1,
        description="Recipes by name: the partitions of everything trained on a blend.",
    )
    claims: ClaimsConfig | None = Field(
        default=None, description="The experiments of docs/claims.md; null leaves them and their recipes out."
    )
    text_encoder_recipe: str = Field(
        default="blend_95_5",
        description="Recipe whose CLIP conditions every diffusion model, so that recipes differ in captions alone.",
    )
    upsampler: UpsamplerConfig = Field(
        default_factory=UpsamplerConfig, description="What makes short prompts descriptive."
    )
    upsample: UpsampleConfig = Field(default_factory=UpsampleConfig, description="How short prompts are upsampled.")
    clip: ClipConfig = Field(default_factory=ClipConfig, description="CLIP on a blend.")
    clip_retrieval: RetrievalConfig = Field(
        default_factory=RetrievalConfig, description="Retrieval by the CLIP of a blend."
    )
    embed: EmbedConfig = Field(default_factory=EmbedConfig, description="CLIP embeddings.")
    diffusion_prior: DiffusionPriorConfig = Field(
        default_factory=DiffusionPriorConfig, description="The diffusion prior."
    )
    autoregressive_prior: AutoregressivePriorConfig = Field(
        default_factory=AutoregressivePriorConfig, description="The autoregressive prior."
    )
    autoencoder: AutoencoderConfig = Field(default_factory=AutoencoderConfig, description="The autoencoder.")
    latents: LatentsConfig = Field(default_factory=LatentsConfig, description="Precomputed latents.")
    text_states: TextStatesConfig | None = Field(
        default=None,
        description="An asset of its own for the states of every caption by diffusion's text encoder; null has each "
        "diffusion job encode its captions. Pays where the text encoder is large.",
    )
    diffusion: DiffusionConfig = Field(default_factory=DiffusionConfig, description="The latent diffusion model.")
    generate: GenerateConfig = Field(default_factory=GenerateConfig, description="How images are sampled.")
    evaluation_set: EvaluationSetConfig = Field(
        default_factory=EvaluationSetConfig, description="Prompts of the embedded domain, and judges' pool."
    )
    prompts: PromptFilesConfig = Field(
        default_factory=PromptFilesConfig, description="Prompts of published benchmarks that are drawn beside them."
    )
    judge: JudgeConfig = Field(default_factory=JudgeConfig, description="The detector that judges pictures.")
    evaluation_clip: ClipConfig = Field(default_factory=ClipConfig, description="The independent CLIP that scores.")
    clip_score: ClipScoreConfig = Field(default_factory=ClipScoreConfig, description="CLIP score.")
    heldout_clip_scores: CaptionClipConfig = Field(
        default_factory=CaptionClipConfig, description="CLIPScore of the experiments' held-out captions."
    )
    features: FeaturesConfig = Field(
        default_factory=FeaturesConfig, description="Encoders whose features distances are measured in."
    )
    fid: FrechetConfig = Field(default_factory=FrechetConfig, description="Distances between features.")
    t2i_compbench: CompBenchConfig = Field(default_factory=CompBenchConfig, description="T2I-CompBench rules.")
    leaderboard: LeaderboardConfig = Field(default_factory=LeaderboardConfig, description="Intervals and comparisons.")

    def section(self, name: str, overrides: Mapping[str, Any] | None = None) -> Any:
        """Return a section with ``overrides`` merged in, validated. Raises SettingsError naming the wrong field."""
        return _overridden(getattr(self, name), overrides or {}, name)

    @property
    def recipes(self) -> dict[str, BlendRecipe]:
        """Every recipe by name: the blends, and those of the experiments."""
        if self.claims is None:
            return self.blends
        return {**self.blends, **self.claims.sweep(), **self.claims.ablation()}

    def recipe(self, name: str, overrides: Mapping[str, Any] | None = None) -> BlendRecipe:
        """Return a blend recipe by name. Raises SettingsError where there is none."""
        recipes = self.recipes
        if name not in recipes:
            raise SettingsError(f"there is no blend {name!r}: the preset has {', '.join(recipes)}")
        recipe: BlendRecipe = _overridden(recipes[name], overrides or {}, f"blends.{name}")
        return recipe

    def site_identity(self) -> str | None:
        """Return what stands for the embedded site in a digest; None for the real web."""
        return None if self.site is None else digest(self.site.model_dump(mode="json"))


@dataclass(frozen=True)
class Environment:
    """What the environment says: which preset, and where artifacts lie."""

    preset: str
    home: Path


def environment() -> Environment:
    """Read ``T2I_PRESET`` (default tiny) and ``T2I_HOME`` (default ./.t2i)."""
    return Environment(
        preset=os.environ.get("T2I_PRESET", DEFAULT_PRESET),
        home=Path(os.environ.get("T2I_HOME", ".t2i")).resolve(),
    )


def presets() -> dict[str, Path]:
    """Return the presets that come with the project, by name."""
    beside, inside = Path(__file__).parent.parent / "presets", Path(__file__).parent / "presets"
    directory = beside if beside.is_dir() else inside
    return {path.stem: path for path in sorted(directory.glob("*.yaml"))}


@cache
def load_settings(preset: str | None = None) -> Settings:
    """Return the settings of a preset, given by name or by the path of a YAML file; default: the environment's.

    Raises SettingsError where there is no such preset or a field is wrong.
    """
    preset = preset or environment().preset
    path = presets().get(preset, Path(preset))
    if not path.is_file():
        raise SettingsError(f"there is no preset {preset!r}: choose one of {', '.join(presets())} or name a YAML file")
    try:
        return Settings.model_validate(yaml.safe_load(path.read_text()) or {})
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        raise SettingsError(f"{path}: {_first(error)}") from error


def _overridden(section: BaseModel, overrides: Mapping[str, Any], name: str) -> Any:
    if not overrides:
        return section
    try:
        return type(section).model_validate(_merged(section.model_dump(), overrides))
    except ValidationError as error:
        raise SettingsError(f"overrides of {name}: {_first(error)}") from error


def _merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in change.items():
        old = merged.get(name)
        merged[name] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"field {'.'.join(str(part) for part in first['loc'])!r}: {first['msg']}"
