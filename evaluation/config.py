"""What each evaluation job can be told. Free of torch, so that the orchestrator can read it too."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evaluation.faults import Faults
from evaluation.features.config import EncoderConfig as EncoderConfig
from evaluation.features.config import FeaturesConfig as FeaturesConfig
from evaluation.judges.config import JudgeChoice
from t2i_assets.corpus.named_models import ModelName
from training.config import JobConfig, OptimizerConfig, ZeroShotConfig

System = Literal["generated", "ceiling", "floor"]
Distance = Literal["frechet", "limit", "kernel", "cmmd", "neighbours", "inception_score"]


class AnswererTraining(BaseModel):
    """A small network on the detector's cells that is asked about attributes as BLIP-VQA is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    optimizer: OptimizerConfig = Field(
        default=OptimizerConfig(steps=150, batch_size=32, lr=1.5e-2, ema_decay=0.98, clip_norm=5.0),
        description="How it is trained.",
    )


class JudgeConfig(JobConfig):
    """The detector that reads generated pictures, trained on the disjoint pool."""

    image_size: int = Field(default=32, gt=0, description="Side of the images it looks at, pixels; a multiple of 4.")
    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="Arithmetic of training; it judges in fp32.")
    width: int = Field(default=32, gt=0, description="Channels at half resolution.")
    features: int = Field(default=128, gt=0, description="Channels of the last layer; pooled, they are the features.")
    blocks: int = Field(default=2, ge=1, description="Residual blocks at each of the two resolutions.")
    blur_sigma: float = Field(default=1.2, ge=0, description="Strongest Gaussian blur in training, pixels.")
    noise_std: float = Field(default=0.06, ge=0, description="Strongest pixel noise in training, of a 0..1 range.")
    max_shift: int = Field(default=2, ge=0, description="Farthest random shift in training, pixels.")
    score_threshold: float = Field(default=0.3, gt=0, lt=1, description="Objects below this score are not reported.")
    optimizer: OptimizerConfig = Field(
        default=OptimizerConfig(steps=750, batch_size=32, lr=2e-3, ema_decay=0.99, clip_norm=5.0),
        description="How it is trained.",
    )
    disturbed_images: int = Field(
        default=100, gt=0, description="Held-out pictures on which judges are measured blurred and noisy as well."
    )
    answerer: AnswererTraining | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="Whether it also learns to answer yes or no (judge kind trained_vqa); null leaves that out.",
    )


class EvaluationConfig(JobConfig):
    """What every scoring job is told: which pictures are scored and whose they are."""

    precision: Literal["fp32"] = Field(default="fp32", description="Arithmetic of the models that score.")
    systems: tuple[System, ...] = Field(
        default=("generated",),
        min_length=1,
        description="Pictures to score: generated; ceiling (real images of the prompts); floor (see each metric).",
    )
    recipe: str | None = Field(default=None, description="Blend the model was trained on; null where none is scored.")
    model: str | None = Field(default=None, description="Digest of the diffusion model; null where none is scored.")
    batch_size: int = Field(default=128, gt=0, description="Images per forward pass.")


class ClipScoreConfig(EvaluationConfig):
    """CLIP score by a scorer that shares no data with the models scored."""


class CompBenchConfig(EvaluationConfig):
    """T2I-CompBench rules; lengths are shares of the image's side."""

    judge: JudgeChoice = Field(default=JudgeChoice(), description="Who looks at the pictures.")
    parser: ModelName = Field(
        default="rule",
        description="What reads prompts that come without facts: rule (determiners and function words, no model), or a "
        "pipeline of spaCy by name or path, such as en_core_web_sm.",
    )
    counted_nouns: ModelName | None = Field(
        default=None,
        description="T2I-CompBench's new_objects.txt, 'cup - cups' on each line: the nouns that prompts of numeracy "
        "without facts may count.",
    )
    aliases: dict[str, tuple[str, ...]] = Field(
        default={}, description="Further labels by which the detector knows a noun: {painting: [picture/frame]}."
    )
    faults: Faults = Field(default=Faults(), description="Faults of the published code, reproduced or mended.")
    iou_threshold: float = Field(default=0.1, gt=0, description="Overlap up to which two objects stand apart.")
    near: float = Field(default=0.3125, gt=0, description="Distance that still counts as near: 150 px of 480.")
    detection_score: float = Field(
        default=0.3, ge=0, lt=1, description="GenEval looks at objects above this detection score, as published."
    )
    counting_score: float = Field(
        default=0.9, ge=0, lt=1, description="GenEval counts objects above this detection score, as published."
    )
    depth_overlap: float = Field(default=0.5, gt=0, description="IoU at which one object hides another in full.")
    spatial_minimum: float = Field(default=0.5, ge=0, description="Spatial scores below this count 0.")
    same_box: float = Field(default=0.9, gt=0, description="IoU or containment above which two boxes are one object.")

    @property
    def named(self) -> tuple[str | None, ...]:
        """Names and paths of all that is looked and read with, which counts by its content."""
        judge, parser = self.judge, None if self.parser == "rule" else self.parser
        return judge.answerer, judge.detector, judge.depth, parser, self.counted_nouns


class FrechetConfig(EvaluationConfig):
    """Distances between features of pictures and of real images."""

    distances: tuple[Distance, ...] = Field(
        default=("frechet", "kernel"),
        min_length=1,
        description="frechet; limit (FID∞, needs more images than twice the features); kernel (KID); cmmd; neighbours "
        "(precision, recall, density, coverage); inception_score (where the encoder classifies).",
    )
    of_any_style: bool = Field(
        default=False,
        description="Whether styles whose prompts have no real picture are measured too: set where features.real names "
        "real images that are not the evaluation set's.",
    )
    resamples: int = Field(default=200, ge=0, description="Resamples of the scenes, for intervals; 0 for none.")
    limit_sizes: int = Field(default=15, ge=2, description="Parts of the images that the limit is drawn through.")
    kernel_subsets: int = Field(default=100, gt=0, description="Subsets of the kernel distance.")
    kernel_subset_size: int = Field(
        default=1000, gt=1, description="Images in each; where a set has no more, both are taken whole."
    )
    nearest: int = Field(default=5, gt=0, description="Neighbour whose distance bounds a neighbourhood.")
    splits: int = Field(default=10, gt=0, description="Parts that an Inception score is averaged over.")


class RetrievalConfig(JobConfig):
    """Retrieval among held-out pictures and their exact captions, and classification of the pictures."""

    precision: Literal["fp32"] = Field(default="fp32", description="Arithmetic of the models that score.")
    ks: tuple[int, ...] = Field(default=(1, 5), min_length=1, description="Ranks down to which a find counts.")
    zero_shot: dict[str, ZeroShotConfig] = Field(default={}, description="Classifications that are tried, by name.")
    batch_size: int = Field(default=200, gt=0, description="Images or texts per forward pass.")
    recipe: str | None = Field(default=None, description="Blend the CLIP was trained on.")
    model: str | None = Field(default=None, description="Digest of the CLIP.")


class CaptionClipConfig(JobConfig):
    """CLIPScore and RefCLIPScore of captions of held-out pictures."""

    precision: Literal["fp32"] = Field(default="fp32", description="Arithmetic of the models that score.")
    batch_size: int = Field(default=200, gt=0, description="Images or texts per forward pass.")
    scorer_digest: str = Field(default="", description="Digest of the CLIP that scores; set by the asset.")


class LeaderboardConfig(BaseModel):
    """How scores become a table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, description="Seed of the bootstrap.")
    resamples: int = Field(default=2000, gt=0, description="Bootstrap resamples of the scenes.")
    interval: float = Field(default=0.95, gt=0, lt=1, description="Mass of the interval.")
    baseline: str | None = Field(default="alt_only", description="Recipe that the others are compared with, in pairs.")
    few_scenes: int = Field(
        default=30, ge=0, description="Below so many scenes a row warns: its interval holds the truth too seldom."
    )
