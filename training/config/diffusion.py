"""What can be told to latent diffusion and to what draws with it. Free of torch."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.config.job import JobConfig, OptimizerConfig
from training.config.text_encoder import TextEncoderConfig

SAMPLERS_OF = {"epsilon": ("ddim", "ddpm", "dpm++"), "v": ("ddim", "ddpm", "dpm++"), "flow": ("euler",)}


class LatentsConfig(JobConfig):
    """Latents of every image."""

    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="Arithmetic of the autoencoder.")
    batch_size: int = Field(default=250, gt=0, description="Images per forward pass.")
    buckets: tuple[tuple[int, int], ...] = Field(
        default=(),
        description="Height and width, pixels, of the shapes that images are cut to, each to that of the nearest "
        "aspect ratio; none cuts squares.",
    )


class TextStatesConfig(JobConfig):
    """States of every caption that a diffusion model can draw from a blend."""

    precision: Literal["fp32"] = Field(
        default="fp32", description="Arithmetic of the text encoder: that with which models encode texts themselves."
    )
    text_encoder: TextEncoderConfig = Field(default=TextEncoderConfig(), description="What reads the captions.")
    batch_size: int = Field(default=256, gt=0, description="Texts per forward pass.")


class SamplerConfig(BaseModel):
    """How images are drawn from a diffusion model, with classifier-free guidance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sampler: Literal["auto", "ddim", "ddpm", "dpm++", "euler"] = Field(
        default="auto",
        description="DDIM (eta 0), DDPM, DPM-Solver++ (second order, multistep) or Euler, which is for flow matching; "
        "auto is DDIM, or Euler where the model was trained by flow matching.",
    )
    steps: int = Field(default=12, gt=0, description="Denoising steps.")
    guidance_scale: float = Field(default=2.0, ge=0, description="Guidance; 1 is none.")
    guidance_rescale: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="How far a guided prediction gets the unguided one's deviation back (Lin et al. 2024, eq. 15, 16).",
    )


class PretrainedUnetConfig(BaseModel):
    """A UNet2DConditionModel of diffusers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, description="Name on the Hugging Face Hub, or the path of a directory.")
    subfolder: str | None = Field(default=None, description="Where it lies there: unet in a pipeline's directory.")
    revision: str | None = Field(default=None, description="Commit, tag or branch of a model on the hub.")


class DiffusionConfig(JobConfig):
    """Text-conditional latent diffusion: diffusers' UNet2DConditionModel on the states of a frozen text encoder."""

    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="Arithmetic of forward and backward passes.")
    text_encoder: TextEncoderConfig = Field(default=TextEncoderConfig(), description="What reads the captions.")
    unet: PretrainedUnetConfig | None = Field(
        default=None,
        description="The U-Net to start from; widths, layers, heads and norm_groups are then its own. Null starts from "
        "random weights.",
    )
    widths: tuple[int, ...] = Field(default=(64, 128), min_length=1, description="Channels per scale, fine to coarse.")
    layers: int = Field(default=1, gt=0, description="Residual blocks per scale going down; one more going up.")
    heads: int = Field(default=4, gt=0, description="Attention heads.")
    norm_groups: int = Field(default=16, gt=0, description="Groups of the group norms.")
    prediction: Literal["epsilon", "v", "flow"] = Field(
        default="v",
        description="What is predicted: the noise, v, or the velocity of the straight path from data to noise.",
    )
    timesteps: int = Field(default=1000, gt=1, description="Steps of the noise schedule; flow matching counts in them.")
    noise_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = Field(
        default="squaredcos_cap_v2", description="Noise schedule by diffusers' name; flow matching has none."
    )
    zero_terminal_snr: bool = Field(
        default=False, description="Rescale the schedule to end in pure noise (Lin et al. 2024, algorithm 1)."
    )
    timestep_shift: float | None = Field(
        default=0.5, description="Mean of the logit-normal that timesteps are drawn from; null draws them evenly."
    )
    min_snr_gamma: float = Field(default=0.0, ge=0, description="Min-SNR weights (Hang et al. 2023); 0 weighs equally.")
    caption_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share of captions dropped for guidance; unCLIP drops 0.5 of them."
    )
    image_embedding: bool = Field(
        default=False,
        description="The unCLIP variant (DALL·E 2, section 2.1): the U-Net is told the CLIP image embedding too, so "
        "that it draws what a prior says.",
    )
    image_embedding_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share of image embeddings dropped, where the U-Net is told them."
    )
    held_out: float = Field(default=0.05, gt=0, lt=1, description="Share of samples kept for evaluation, as CLIP's.")
    sampler: SamplerConfig = Field(default=SamplerConfig(), description="How the sample grid is drawn.")
    optimizer: OptimizerConfig = OptimizerConfig(steps=1200, batch_size=32, lr=1.5e-3, ema_decay=0.995)

    @model_validator(mode="after")
    def _objective_fits_schedule(self) -> Self:
        if self.zero_terminal_snr and self.prediction == "epsilon":
            raise ValueError(
                "zero_terminal_snr leaves nothing of the data at the last timestep, where epsilon tells nothing about "
                "it: set prediction to v"
            )
        if self.prediction == "flow" and (self.zero_terminal_snr or self.noise_schedule != "squaredcos_cap_v2"):
            raise ValueError(
                "flow matching goes straight to pure noise: noise_schedule and zero_terminal_snr are for epsilon and v"
            )
        allowed = SAMPLERS_OF[self.prediction]
        if self.sampler.sampler not in ("auto", *allowed):
            raise ValueError(
                f"sampler {self.sampler.sampler} cannot draw from a model that predicts {self.prediction}: "
                f"choose {', '.join(allowed)} or auto"
            )
        return self


class PriorSamplerConfig(BaseModel):
    """How a prior draws image embeddings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=16, gt=0, description="Denoising steps of the diffusion prior.")
    guidance_scale: float = Field(default=1.0, ge=0, description="Guidance; 1 is none.")
    samples: int = Field(
        default=2, gt=0, description="Samples of the diffusion prior per image; the one nearest to the text is kept."
    )


class GenerateConfig(JobConfig):
    """Images for prompts."""

    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="Arithmetic of the U-Net.")
    model_digest: str = Field(default="", description="Digest of the diffusion model, written on every image.")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="Seeds of the noise: an image each.")
    batch_size: int = Field(default=60, gt=0, description="Images per forward pass.")
    sampler: SamplerConfig = Field(default=SamplerConfig(), description="How images are drawn.")
    condition: Literal["caption", "text_embedding", "prior"] = Field(
        default="caption",
        description="What a model of the unCLIP variant draws from: the caption alone, CLIP's embedding of it in the "
        "place of an image's, or the image embedding that a prior draws for it.",
    )
    caption_beside: bool = Field(
        default=False,
        description="Tell the caption beside the embedding too, as figure 8 of DALL·E 2 has it.",
    )
    prior: PriorSamplerConfig = Field(default=PriorSamplerConfig(), description="How the prior draws.")


class SampleConfig(GenerateConfig):
    """A grid of images for a few prompts."""

    prompts: tuple[str, ...] = Field(min_length=1, description="Prompts, a row each.")
    size: tuple[int, int] | None = Field(
        default=None,
        description="Height and width in pixels; without them the shape that the model was trained on most.",
    )
