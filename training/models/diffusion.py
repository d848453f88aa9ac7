"""Text-conditional latent diffusion (Rombach et al. 2022): the U-Net, its loss, and the directory it is saved in.

The loss is the velocity's (Salimans and Ho 2022, appendix D): v = α ε - σ x. The schedule is the cosine of
Nichol and Dhariwal 2021. The text's condition is every state of a frozen CLIP text encoder.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from open_clip import CLIP, SimpleTokenizer
from torch import Tensor

from training.config import DiffusionConfig
from training.models.autoencoder import load_autoencoder
from training.models.clip import encode_text_states, load_clip

UNET, SCHEDULER, VAE, TEXT_ENCODER = "unet", "scheduler", "vae", "text_encoder"
BINS = 4


@dataclass(frozen=True)
class LatentDiffusion:
    """Everything that draws an image from a text."""

    unet: UNet2DConditionModel
    scheduler: DDIMScheduler
    autoencoder: AutoencoderKL
    text_encoder: "TextEncoder"


class TextEncoder:
    """A frozen CLIP text encoder as a condition: its states, with zeros after the end of the text.

    Zeros are keys and values that say nothing, so every text has the same shape and is encoded alike in any batch.
    """

    def __init__(self, clip: CLIP, tokenizer: SimpleTokenizer) -> None:
        self.clip, self.tokenizer = clip, tokenizer

    @property
    def width(self) -> int:
        return self.clip.ln_final.weight.shape[0]

    @torch.no_grad()
    def __call__(self, texts: list[str], batch_size: int = 256) -> Tensor:
        """Return the states of texts, float32 [N, L, W]; the empty text stands for no condition."""
        rows = [torch.zeros(0, self.clip.context_length, self.width)]
        for start in range(0, len(texts), batch_size):
            states, mask, _ = encode_text_states(self.clip, self.tokenizer(texts[start : start + batch_size]))
            rows.append(states.float().masked_fill(~mask[:, :, None], 0))
        return torch.cat(rows)


def build_unet(config: DiffusionConfig, latent_shape: tuple[int, int, int], text_width: int) -> UNet2DConditionModel:
    """Return a freshly initialised U-Net for latents of shape (C, H, W) and text states of width ``text_width``."""
    channels, height, _ = latent_shape
    scales = len(config.widths)
    unet = UNet2DConditionModel(
        sample_size=height,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=config.widths,
        layers_per_block=config.layers,
        down_block_types=("CrossAttnDownBlock2D",) * scales,
        up_block_types=("CrossAttnUpBlock2D",) * scales,
        cross_attention_dim=text_width,
        attention_head_dim=config.heads,  # the number of heads: the field is misnamed in diffusers
        norm_num_groups=config.norm_groups,
    )
    return plain_attention(unet)


def plain_attention(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """Have attention computed as matrix products; torch's fused kernel is several times slower on CPUs in bf16."""
    unet.set_attn_processor(AttnProcessor())
    return unet


def build_scheduler(timesteps: int) -> DDIMScheduler:
    """Return the cosine schedule, and DDIM steps (Song et al. 2021) that start from pure noise."""
    return DDIMScheduler(
        num_train_timesteps=timesteps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
    )


def diffusion_loss(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    latents: Tensor,
    states: Tensor,
    min_snr_gamma: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weighted loss, a scalar, and each sample's squared error and timestep, [B] each.

    The timesteps of a batch are stratified: evenly spaced from one random start.

    Args:
        latents: normalised, [B, C, H, W].
        states: of the captions, [B, L, W].
        min_snr_gamma: bound of min-SNR weights (Hang et al. 2023); 0 weighs all timesteps equally.
    """
    count, device = len(latents), latents.device
    total = scheduler.config.num_train_timesteps
    start = torch.rand(1, generator=generator, device=device)
    timesteps = ((torch.arange(count, device=device) + start) / count * total).long().clamp(max=total - 1)
    noise = torch.randn(latents.shape, generator=generator, device=device)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    target = scheduler.get_velocity(latents, noise, timesteps)
    error = (unet(noisy, timesteps, states).sample.float() - target).square().mean(dim=(1, 2, 3))
    weights = torch.ones_like(error)
    if min_snr_gamma:
        alphas = scheduler.alphas_cumprod.to(device)[timesteps]
        snr = alphas / (1 - alphas)
        weights = snr.clamp(max=min_snr_gamma) / (snr + 1)
        weights = weights / weights.mean()
    return (weights * error).mean(), error.detach(), timesteps


def loss_by_timestep(error: Tensor, timesteps: Tensor, total: int) -> dict[str, Tensor]:
    """Return the mean error of each quarter of the timesteps that occurs in the batch, from clean to noise."""
    bins = timesteps * BINS // total
    return {f"loss_by_timestep/{n}": error[bins == n].mean() for n in range(BINS) if (bins == n).any()}


def save_diffusion(
    unet: UNet2DConditionModel, scheduler: DDIMScheduler, autoencoder: Path, clip: Path, directory: Path
) -> None:
    """Write unet/ and scheduler/ as diffusers loads them, beside copies of the autoencoder (vae/) and CLIP."""
    unet.save_pretrained(directory / UNET)
    scheduler.save_pretrained(directory / SCHEDULER)
    for source, name in ((autoencoder, VAE), (clip, TEXT_ENCODER)):
        (directory / name).mkdir(exist_ok=True)
        for path in sorted(source.iterdir()):
            if path.name.endswith(("config.json", ".safetensors", ".gz")):
                shutil.copyfile(path, directory / name / path.name)


def load_diffusion(directory: Path) -> LatentDiffusion:
    """Load what ``save_diffusion`` wrote, in eval mode."""
    clip, tokenizer = load_clip(directory / TEXT_ENCODER)
    return LatentDiffusion(
        unet=plain_attention(UNet2DConditionModel.from_pretrained(directory / UNET).eval()),
        scheduler=DDIMScheduler.from_pretrained(directory / SCHEDULER),
        autoencoder=load_autoencoder(directory / VAE),
        text_encoder=TextEncoder(clip, tokenizer),
    )
