"""Which encoders turn pictures into features. Free of torch, so that the orchestrator can read it too."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from t2i_assets.corpus.named_models import ModelName
from training.config import JobConfig


class EncoderConfig(BaseModel):
    """An encoder: whose features, from where, and how pictures come to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["judge", "inception", "clip", "dinov2"] = Field(
        description="judge: the pipeline's own detector. inception: the network of the published FID. clip: any CLIP "
        "that open_clip loads. dinov2: any DINOv2 that transformers loads."
    )
    model: ModelName | None = Field(
        default=None, description="Name, or path of a directory, of a CLIP or DINOv2; null for the others."
    )
    weights: ModelName | None = Field(
        default=None,
        description="Path or URL of Inception's weights (pt_inception-2015-12-05-6726825d.pth); of a CLIP that is "
        "named, the tag or file of its weights.",
    )
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="What the file of weights must hash to; a URL needs it."
    )
    revision: str | None = Field(default=None, description="Revision of a DINOv2 that is named.")
    resize: Literal["clean", "legacy", "bytes"] | None = Field(
        default=None,
        description="How pictures are scaled: clean-fid's way, that of the first FID, or in bytes as for training; "
        "null is bytes for the judge and clean for the others.",
    )
    name: str | None = Field(
        default=None,
        pattern="^[a-z0-9_]+$",
        description="What its distances are called by (fd_NAME), where two encoders are of one kind; null is the kind.",
    )

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> Self:
        if self.kind == "inception" and self.weights is None:
            raise ValueError("inception needs weights: the path or URL of pt_inception-2015-12-05-6726825d.pth")
        if self.kind in ("clip", "dinov2") and self.model is None:
            raise ValueError(f"{self.kind} needs a model: its name, or the path of a directory")
        if self.name == "fid":
            raise ValueError("the name fid is that of the published weights: no other encoder makes an FID")
        if self.is_fetched and self.sha256 is None:
            raise ValueError("weights at a URL need their sha256, so that others are noticed")
        return self

    @property
    def is_fetched(self) -> bool:
        """Whether its weights come from a URL."""
        return self.kind == "inception" and "://" in (self.weights or "")

    @property
    def called(self) -> str:
        """What its distances are named by."""
        return self.name or self.kind


class FeaturesConfig(JobConfig):
    """Features of pictures, computed once for every distance."""

    precision: Literal["fp32"] = Field(default="fp32", description="Arithmetic of the encoders.")
    encoders: tuple[EncoderConfig, ...] = Field(
        default=(EncoderConfig(kind="judge"),), min_length=1, description="Networks whose features are computed."
    )
    real: ModelName | None = Field(
        default=None,
        description="Directory of shards with the real pictures that all are measured against; null is the held-out "
        "pictures of the evaluation set.",
    )
    batch_size: int = Field(default=128, gt=0, description="Images per forward pass.")
    workers: int = Field(default=2, gt=0, description="Threads that decode and scale pictures ahead of the encoder.")
    patch: int = Field(default=8, gt=0, description="Side of the patches that are shuffled to make the floor, pixels.")

    @model_validator(mode="after")
    def _are_told_apart(self) -> Self:
        called = [encoder.called for encoder in self.encoders]
        if len(set(called)) < len(called):
            raise ValueError(f"encoders need names of their own, not {', '.join(called)}")
        return self
