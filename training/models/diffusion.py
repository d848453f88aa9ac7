"""Text-conditional latent diffusion (Rombach et al. 2022): the U-Net and its loss.

What is predicted, on which schedule, is in ``objectives``. The condition is a frozen text encoder's: its states, which
cross-attention reads, and the text's embedding where there is one, which is added to the time's (as GLIDE does, Nichol
et al. 2022, section 3.1). The unCLIP variant is told a CLIP image embedding too, in both places (DALL·E 2, section
2.1).
"""

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from training.config import DiffusionConfig
from training.models.objectives import Scheduler, draw_times, objective_of
from training.text_encoders.protocol import Condition, TextEncoder

BINS = 4


class UnetMismatchError(ValueError):
    """A pretrained U-Net does not fit the latents or the text encoder; the message names both numbers."""


def build_unet(
    config: DiffusionConfig, latent_shape: tuple[int, int, int], text_width: int, embed_dim: int, image_dim: int = 0
) -> UNet2DConditionModel:
    """Return a freshly initialised U-Net for latents of shape (C, H, W) and the condition's widths.

    ``embed_dim`` and ``image_dim`` are 0 where it is told no embedding of the text or of an image. Image embeddings
    become ten tokens of the context, diffusers' number.
    """
    channels, height, width = latent_shape
    scales = len(config.widths)
    labels = embed_dim + image_dim
    images = {"encoder_hid_dim_type": "text_image_proj", "encoder_hid_dim": text_width} if image_dim else {}
    unet = UNet2DConditionModel(
        sample_size=height if height == width else (height, width),
        in_channels=channels,
        out_channels=channels,
        block_out_channels=config.widths,
        layers_per_block=config.layers,
        down_block_types=("CrossAttnDownBlock2D",) * scales,
        up_block_types=("CrossAttnUpBlock2D",) * scales,
        cross_attention_dim=image_dim or text_width,
        resnet_time_scale_shift="scale_shift",  # time and text scale the features too (Dhariwal and Nichol 2021)
        class_embed_type="simple_projection" if labels else None,  # embeddings, projected and added to the time's
        projection_class_embeddings_input_dim=labels or None,
        attention_head_dim=config.heads,  # the number of heads: the field is misnamed in diffusers
        norm_num_groups=config.norm_groups,
        **images,
    )
    return plain_attention(unet)


def open_unet(
    config: DiffusionConfig, latent_shape: tuple[int, int, int], encoder: TextEncoder, image_dim: int = 0
) -> UNet2DConditionModel:
    """Return the U-Net to train: a fresh one, or the configured pretrained one.

    Raises UnetMismatchError where the latter does not fit.
    """
    if config.unet is None:
        return build_unet(config, latent_shape, encoder.width, encoder.embed_dim, image_dim)
    start = config.unet
    unet = UNet2DConditionModel.from_pretrained(start.model, subfolder=start.subfolder, revision=start.revision)
    labels = unet.config.projection_class_embeddings_input_dim or 0
    for what, found, needed in (
        ("latents of {} channels", unet.config.in_channels, latent_shape[0]),
        ("states of width {}", unet.config.encoder_hid_dim or unet.config.cross_attention_dim, encoder.width),
        ("embeddings of {} dimensions", labels, encoder.embed_dim + image_dim),
    ):
        if found != needed:
            raise UnetMismatchError(f"the U-Net {start.model} takes {what.format(found)}, but here are {needed}")
    return plain_attention(unet)


def plain_attention(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """On a CPU have attention computed as matrix products: torch's fused kernel takes several times as long in bf16."""
    if not torch.cuda.is_available():
        unet.set_attn_processor(AttnProcessor())
    return unet


def diffusion_loss(
    unet: UNet2DConditionModel,
    scheduler: Scheduler,
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
    objective = objective_of(scheduler)
    times = draw_times(len(latents), config.timestep_shift, generator)
    noise = torch.randn(latents.shape, generator=generator, device=latents.device)
    noised = objective.noise(latents, times, noise)
    predicted = predict(unet, noised.latents, noised.timesteps, condition)
    error = (predicted - noised.target).square().mean(dim=(1, 2, 3))
    weights = torch.ones_like(error)
    if config.min_snr_gamma:
        weights = objective.min_snr_weights(noised.snr, config.min_snr_gamma)
    return (weights * error).mean(), error.detach(), noised.timesteps


def predict(unet: UNet2DConditionModel, noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
    """Return the U-Net's prediction, float32 [B, C, H, W]."""
    told: dict[str, Any] = {}
    if condition.embeddings.shape[1] or condition.images.shape[1]:
        told["class_labels"] = torch.cat([condition.embeddings, condition.images], dim=1)
    if condition.images.shape[1]:
        told["added_cond_kwargs"] = {"image_embeds": condition.images}
    return unet(noisy, timesteps, condition.states, **told).sample.float()


def loss_by_timestep(error: Tensor, timesteps: Tensor, total: int) -> dict[str, Tensor]:
    """Return the mean error of each quarter of the timesteps that occurs in the batch, from clean to noise."""
    bins = (timesteps * BINS // total).long()
    return {f"loss_by_timestep/{n}": error[bins == n].mean() for n in range(BINS) if (bins == n).any()}
