"""What can be told to the jobs of CLIP: its tokenizer, its training and its features. Free of torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from t2i_assets.corpus.named_models import ModelName
from training.config.job import JobConfig, OptimizerConfig


class TokenizerConfig(JobConfig):
    """Byte-pair vocabulary in open_clip's merges format; its size is 514 + merges."""

    precision: Literal["fp32"] = Field(default="fp32", description="Nothing is computed in it: words are counted.")
    merges: int = Field(default=160, ge=0, description="Merges to learn at most.")
    min_frequency: int = Field(default=2, ge=1, description="A pair seen less often is not merged.")


class PretrainedClipConfig(BaseModel):
    """A CLIP to start from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        min_length=1,
        description="A name as open_clip lists them, 'hf-hub:…', or the path of a directory in its layout.",
    )
    weights: str | None = Field(
        default=None, description="Weights of a model that is named: a tag as open_clip lists them, or a file."
    )


class ZeroShotConfig(BaseModel):
    """Classification by the nearest class, whose embedding is the mean of its prompts' (Radford et al. 2021)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: tuple[str, ...] = Field(
        min_length=2, description="Names; an image is of the one class that its caption holds, and else left out."
    )
    templates: tuple[str, ...] = Field(
        default=("a photo of a {}.",), min_length=1, description="Prompts, with {} in the place of the name."
    )

    @model_validator(mode="after")
    def _has_a_place_for_the_name(self) -> "ZeroShotConfig":
        for template in self.templates:
            if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
                raise ValueError(f"the template {template!r} must hold {{}} once, in the place of the class")
        return self


ARCHITECTURE = (
    "image_size", "embed_dim", "vision_layers", "vision_width", "patch_size", "context_length", "text_width",
    "text_layers", "head_width",
)  # fmt: skip
"""What a checkpoint brings with it."""


class ClipConfig(JobConfig):
    """Contrastive image-text model in open_clip's layout, trained on a blend from scratch or from a checkpoint."""

    pretrained: PretrainedClipConfig | None = Field(
        default=None,
        description="Checkpoint to start from, with its own tokenizer, architecture and image size; null starts from "
        "scratch.",
    )

    image_size: int = Field(default=32, gt=0, description="Side of the images, pixels.")
    embed_dim: int = Field(default=128, gt=0, description="Dimension of the shared space.")
    vision_layers: int | tuple[int, int, int, int] = Field(
        default=(1, 1, 1, 1), description="Four numbers: blocks of a ModifiedResNet's stages; one: layers of a ViT."
    )
    vision_width: int = Field(default=24, gt=0, description="Width of the ResNet's stem or of the ViT.")
    patch_size: int = Field(default=4, gt=0, description="Side of a ViT's patches, pixels.")
    context_length: int = Field(default=32, gt=2, description="Tokens per text, specials included.")
    text_width: int = Field(default=128, gt=0, description="Width of the text transformer.")
    text_layers: int = Field(default=3, gt=0, description="Layers of the text transformer.")
    head_width: int = Field(default=32, gt=0, description="Width of an attention head.")
    loss: Literal["clip", "siglip"] = Field(
        default="clip", description="Symmetric cross-entropy over the batch, or SigLIP's sigmoid of each pair."
    )
    shift: int = Field(default=2, ge=0, description="Training images are moved by up to this many pixels.")
    false_negatives: Literal["keep", "drop", "match"] = Field(
        default="drop",
        description="What becomes of an image's pairing with another sample's equal caption: a negative as any other, "
        "left out of the loss, or a positive of equal weight.",
    )
    held_out: float = Field(default=0.05, gt=0, lt=1, description="Share of samples kept for evaluation.")
    zero_shot: dict[str, ZeroShotConfig] = Field(
        default={}, description="Classifications of held-out samples that are tried at each evaluation, by name."
    )
    optimizer: OptimizerConfig = OptimizerConfig(
        steps=260, batch_size=96, lr=1e-3, weight_decay=0.1, log_every=5, evaluate_every=100
    )

    @model_validator(mode="after")
    def _leaves_the_architecture_to_the_checkpoint(self) -> "ClipConfig":
        fields = type(self).model_fields
        told = [name for name in ARCHITECTURE if getattr(self, name) != fields[name].default]
        if self.pretrained is not None and told:
            raise ValueError(f"{', '.join(told)}: these are those of the checkpoint in 'pretrained', leave them out")
        return self


class EmbedConfig(JobConfig):
    """CLIP embeddings of images and captions."""

    precision: Literal["fp32"] = Field(default="fp32", description="Arithmetic of the CLIP.")
    batch_size: int = Field(default=100, gt=0, description="Images or texts per forward pass.")


class ImageFeaturesConfig(JobConfig):
    """Image embeddings of a snapshot, by which semantic duplicates are found."""

    precision: Literal["fp32"] = Field(default="fp32", description="Arithmetic of the embedder.")
    model: ModelName | None = Field(
        default=None,
        description="Model by which open_clip embeds images: a name as open_clip lists them, 'hf-hub:…' or "
        "'local-dir:…'; null takes the image tower of the captioner.",
    )
    pretrained: ModelName | None = Field(
        default=None, description="Weights of the named model, as open_clip lists them."
    )
    batch_size: int = Field(default=250, gt=0, description="Images per forward pass.")
