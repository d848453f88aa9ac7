"""What can be told to the autoencoder. Free of torch."""

from typing import Literal

from pydantic import Field

from training.config.job import JobConfig, OptimizerConfig


class AutoencoderConfig(JobConfig):
    """Variational autoencoder of diffusers (AutoencoderKL): images to latents of a quarter of their side, and back."""

    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="Arithmetic of forward and backward passes.")
    image_size: int = Field(default=32, gt=0, description="Side of the images, pixels.")
    widths: tuple[int, ...] = Field(
        default=(16, 32, 64), min_length=1, description="Channels at each scale, fine to coarse; each halves the side."
    )
    layers: int = Field(default=1, gt=0, description="Residual blocks per scale; one more in the decoder.")
    norm_groups: int = Field(default=8, gt=0, description="Groups of the group norms.")
    latent_channels: int = Field(default=8, gt=0, description="Channels of the latents.")
    kl_weight: float = Field(default=1e-5, ge=0, description="Weight of the KL divergence to a unit Gaussian.")
    held_out: float = Field(default=0.05, gt=0, lt=1, description="Share of samples kept for evaluation, as CLIP's.")
    optimizer: OptimizerConfig = OptimizerConfig(steps=1400, batch_size=16, lr=4e-3)
