"""What can be told to latent diffusion and to what draws with it. Free of torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from training.config.job import JobConfig, OptimizerConfig


class LatentsConfig(JobConfig):
    """Latents of every image."""

    batch_size: int = Field(default=250, gt=0, description="Images per forward pass.")


class SamplerConfig(BaseModel):
    """How images are drawn from a diffusion model: deterministic DDIM with classifier-free guidance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=12, gt=0, description="Denoising steps.")
    guidance_scale: float = Field(default=2.0, ge=0, description="Guidance; 1 is none.")


class DiffusionConfig(JobConfig):
    """Text-conditional latent diffusion: diffusers' UNet2DConditionModel on the states of CLIP's text encoder."""

    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="Arithmetic of forward and backward passes.")
    widths: tuple[int, ...] = Field(default=(64, 128), min_length=1, description="Channels per scale, fine to coarse.")
    layers: int = Field(default=1, gt=0, description="Residual blocks per scale going down; one more going up.")
    heads: int = Field(default=4, gt=0, description="Attention heads.")
    norm_groups: int = Field(default=16, gt=0, description="Groups of the group norms.")
    timesteps: int = Field(default=1000, gt=1, description="Steps of the cosine noise schedule.")
    timestep_shift: float | None = Field(
        default=0.5, description="Mean of the logit-normal that timesteps are drawn from; null draws them evenly."
    )
    min_snr_gamma: float = Field(default=0.0, ge=0, description="Min-SNR weights (Hang et al. 2023); 0 weighs equally.")
    caption_dropout: float = Field(default=0.1, ge=0, lt=1, description="Share of captions dropped for guidance.")
    held_out: float = Field(default=0.05, gt=0, lt=1, description="Share of samples kept for evaluation, as CLIP's.")
    sampler: SamplerConfig = Field(default=SamplerConfig(), description="How the sample grid is drawn.")
    optimizer: OptimizerConfig = OptimizerConfig(steps=1200, batch_size=32, lr=1.5e-3, ema_decay=0.995)


class GenerateConfig(JobConfig):
    """Images for prompts."""

    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="Arithmetic of the U-Net.")
    model_digest: str = Field(default="", description="Digest of the diffusion model, written on every image.")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="Seeds of the noise: an image each.")
    batch_size: int = Field(default=60, gt=0, description="Images per forward pass.")
    sampler: SamplerConfig = Field(default=SamplerConfig(), description="How images are drawn.")
