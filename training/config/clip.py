"""What can be told to the jobs of CLIP: its tokenizer, its training and its features. Free of torch."""

from typing import Literal

from pydantic import Field

from t2i_assets.corpus.named_models import ModelName
from training.config.job import JobConfig, OptimizerConfig


class TokenizerConfig(JobConfig):
    """Byte-pair vocabulary in open_clip's merges format; its size is 514 + merges."""

    merges: int = Field(default=160, ge=0, description="Merges to learn at most.")
    min_frequency: int = Field(default=2, ge=1, description="A pair seen less often is not merged.")


class ClipConfig(JobConfig):
    """Contrastive image-text model in open_clip's layout, trained from scratch on a blend."""

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
    shift: int = Field(default=2, ge=0, description="Training images are moved by up to this many pixels.")
    false_negatives: Literal["keep", "drop", "match"] = Field(
        default="drop",
        description="What becomes of an image's pairing with another sample's equal caption: a negative as any other, "
        "left out of the loss, or a positive of equal weight.",
    )
    held_out: float = Field(default=0.05, gt=0, lt=1, description="Share of samples kept for retrieval recall.")
    optimizer: OptimizerConfig = OptimizerConfig(
        steps=260, batch_size=96, lr=1e-3, weight_decay=0.1, log_every=5, evaluate_every=100
    )


class EmbedConfig(JobConfig):
    """CLIP embeddings of images and captions."""

    batch_size: int = Field(default=100, gt=0, description="Images or texts per forward pass.")


class ImageFeaturesConfig(JobConfig):
    """Image embeddings of a snapshot, by which semantic duplicates are found."""

    model: ModelName | None = Field(
        default=None,
        description="Model by which open_clip embeds images: a name as open_clip lists them, 'hf-hub:…' or "
        "'local-dir:…'; null takes the image tower of the captioner.",
    )
    pretrained: ModelName | None = Field(
        default=None, description="Weights of the named model, as open_clip lists them."
    )
    batch_size: int = Field(default=250, gt=0, description="Images per forward pass.")
