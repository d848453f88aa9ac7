"""Text-conditional latent diffusion (Rombach et al. 2022): the U-Net, its loss, and the directory it is saved in.

The loss is the velocity's (Salimans and Ho 2022, appendix D): v = α ε - σ x. The schedule is the cosine of
Nichol and Dhariwal 2021. The condition is a frozen CLIP text encoder's: all its states and words, which
cross-attention reads, and the text's embedding, which is added to the time's (as GLIDE does, Nichol et al. 2022,
section 3.1).
"""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from open_clip import CLIP, SimpleTokenizer
from torch import Tensor
from torch.nn import functional as F

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


@dataclass(frozen=True)
class Condition:
    """What a U-Net is told of B texts: ``states`` [B, L, W] and ``embeddings`` [B, E]."""

    states: Tensor
    embeddings: Tensor

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, index: Tensor | slice) -> "Condition":
        return Condition(self.states[index], self.embeddings[index])

    def to(self, device: torch.device) -> "Condition":
        return Condition(self.states.to(device), self.embeddings.to(device))


class TextEncoder:
    """A frozen CLIP text encoder as a condition, of unit variance, with zero states after the end of the text.

    A state is the encoder's own, what a word means where it stands, beside the word's embedding, which word it is: a
    contrastive encoder forgets much of the latter on the way to its one embedding of the text.
    Zeros are keys and values that say nothing, so every text has the same shape and is encoded alike in any batch.
    """

    def __init__(self, clip: CLIP, tokenizer: SimpleTokenizer) -> None:
        self.clip, self.tokenizer = clip, tokenizer

    @property
    def width(self) -> int:
        return 2 * self.clip.ln_final.weight.shape[0]

    @property
    def embed_dim(self) -> int:
        return self.clip.text_projection.shape[1]

    @torch.no_grad()
    def __call__(self, texts: list[str], batch_size: int = 256) -> Condition:
        """Return the condition of texts, float32; the empty text stands for no condition."""
        states = [torch.zeros(0, self.clip.context_length, self.width)]
        embeddings = [torch.zeros(0, self.embed_dim)]
        for start in range(0, len(texts), batch_size):
            tokens = self.tokenizer(texts[start : start + batch_size])
            of_tokens, mask, of_text = encode_text_states(self.clip, tokens)
            words = F.layer_norm(self.clip.token_embedding(tokens), (self.width // 2,))
            states.append(torch.cat([of_tokens, words], dim=2).float().masked_fill(~mask[:, :, None], 0))
            embeddings.append(of_text.float() * math.sqrt(self.embed_dim))
        return Condition(torch.cat(states), torch.cat(embeddings))


def build_unet(
    config: DiffusionConfig, latent_shape: tuple[int, int, int], text_width: int, embed_dim: int
) -> UNet2DConditionModel:
    """Return a freshly initialised U-Net for latents of shape (C, H, W) and the condition's two widths."""
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
        resnet_time_scale_shift="scale_shift",  # time and text scale the features too (Dhariwal and Nichol 2021)
        class_embed_type="simple_projection",  # the text's embedding, projected and added to the time's
        projection_class_embeddings_input_dim=embed_dim,
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
    condition: Condition,
    config: DiffusionConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weighted loss, a scalar, and each sample's squared error and timestep, [B] each.

    Args:
        latents: normalised, [B, C, H, W].
        condition: of the captions, B of them.
        config: where timesteps are drawn (``timestep_shift``) and how they weigh (``min_snr_gamma``).
    """
    device = latents.device
    timesteps = draw_timesteps(len(latents), scheduler.config.num_train_timesteps, config.timestep_shift, generator)
    noise = torch.randn(latents.shape, generator=generator, device=device)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    target = scheduler.get_velocity(latents, noise, timesteps)
    error = (predict(unet, noisy, timesteps, condition) - target).square().mean(dim=(1, 2, 3))
    weights = torch.ones_like(error)
    if config.min_snr_gamma:
        alphas = scheduler.alphas_cumprod.to(device)[timesteps]
        snr = alphas / (1 - alphas)
        weights = snr.clamp(max=config.min_snr_gamma) / (snr + 1)
        weights = weights / weights.mean()
    return (weights * error).mean(), error.detach(), timesteps


def predict(unet: UNet2DConditionModel, noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
    """Return the U-Net's prediction, float32 [B, C, H, W]."""
    return unet(noisy, timesteps, condition.states, class_labels=condition.embeddings).sample.float()


def draw_timesteps(count: int, total: int, shift: float | None, generator: torch.Generator) -> Tensor:
    """Return ``count`` timesteps, stratified: one from each of as many equal parts of the distribution.

    The distribution is uniform where ``shift`` is None, else the logit-normal of Esser et al. 2024, section 3.1, with
    that mean: what is in the picture is decided at noisy timesteps, above the middle.
    """
    device = generator.device
    points = (torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)) / count
    if shift is not None:
        points = torch.sigmoid(torch.special.ndtri(points.clamp(1e-6, 1 - 1e-6)) + shift)
    return (points * total).long().clamp(max=total - 1)


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
