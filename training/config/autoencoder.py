"""What can be told to the autoencoder. Free of torch."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.config.job import JobConfig, OptimizerConfig


class PretrainedAutoencoderConfig(BaseModel):
    """An AutoencoderKL of diffusers to start from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, description="A name on the Hugging Face Hub, or the path of a directory.")
    subfolder: str | None = Field(default=None, description="Where it lies in a pipeline: 'vae'.")
    revision: str | None = Field(default=None, description="Branch, tag or commit of a model that is named.")


class PerceptualConfig(BaseModel):
    """A distance in the features of a frozen network, beside the squared error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: Literal["random", "vgg16"] = Field(
        default="random", description="A pyramid of random convolutions, or torchvision's VGG-16 from a file."
    )
    vgg16: Path | None = Field(default=None, description="File of torchvision's weights: vgg16-397923af.pth.")
    weight: float = Field(default=0.1, gt=0, description="Weight of the distance.")

    @model_validator(mode="after")
    def _has_its_weights(self) -> "PerceptualConfig":
        if (self.features == "vgg16") != (self.vgg16 is not None):
            raise ValueError("'vgg16' is the file of weights that the features 'vgg16' need, and no others")
        return self


class AdversarialConfig(BaseModel):
    """A patch discriminator that joins in late (Esser et al. 2021)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: int = Field(ge=0, description="Step from which on it is trained and trains the autoencoder.")
    weight: float = Field(default=0.5, gt=0, description="Weight of its loss, over the one that balances gradients.")
    width: int = Field(default=32, gt=0, description="Channels of its first layer; each further one doubles them.")
    layers: int = Field(default=2, gt=0, description="Layers that halve the side.")


ARCHITECTURE = ("widths", "layers", "norm_groups", "latent_channels")
"""What a checkpoint brings with it."""


class AutoencoderConfig(JobConfig):
    """Variational autoencoder of diffusers (AutoencoderKL): images to latents of a quarter of their side, and back."""

    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="Arithmetic of forward and backward passes.")
    pretrained: PretrainedAutoencoderConfig | None = Field(
        default=None,
        description="Checkpoint to start from, with its own architecture; null starts from scratch. With 0 steps it "
        "stays as it is, and its latents are measured on these images.",
    )
    image_size: int = Field(default=32, gt=0, description="Side of the images, pixels.")
    widths: tuple[int, ...] = Field(
        default=(16, 32, 64), min_length=1, description="Channels at each scale, fine to coarse; each halves the side."
    )
    layers: int = Field(default=1, gt=0, description="Residual blocks per scale; one more in the decoder.")
    norm_groups: int = Field(default=8, gt=0, description="Groups of the group norms.")
    latent_channels: int = Field(default=8, gt=0, description="Channels of the latents.")
    kl_weight: float = Field(default=1e-5, ge=0, description="Weight of the KL divergence to a unit Gaussian.")
    perceptual: PerceptualConfig | None = Field(default=None, description="Perceptual term of the loss; null has none.")
    adversarial: AdversarialConfig | None = Field(default=None, description="Patch discriminator; null has none.")
    held_out: float = Field(default=0.05, gt=0, lt=1, description="Share of samples kept for evaluation, as CLIP's.")
    optimizer: OptimizerConfig = OptimizerConfig(steps=1400, batch_size=16, lr=4e-3)

    @model_validator(mode="after")
    def _leaves_the_architecture_to_the_checkpoint(self) -> "AutoencoderConfig":
        fields = type(self).model_fields
        told = [name for name in ARCHITECTURE if getattr(self, name) != fields[name].default]
        if self.pretrained is not None and told:
            raise ValueError(f"{', '.join(told)}: these are those of the checkpoint in 'pretrained', leave them out")
        return self
