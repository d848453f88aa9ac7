"""The autoencoder: diffusers' AutoencoderKL on RGB images, with its loss and the statistics of its latents.

Most of a small autoencoder's time goes into full-resolution layers, so these are thin, and there is no attention.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from training.config import AutoencoderConfig, PretrainedAutoencoderConfig


class AutoencoderMismatchError(ValueError):
    """The autoencoder lacks something that its latents need; the message says what."""


def build_autoencoder(config: AutoencoderConfig) -> AutoencoderKL:
    """Return a freshly initialised autoencoder from RGB [B, 3, S, S] in [-1, 1] to latents and back."""
    scales = len(config.widths)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * scales,
        up_block_types=("UpDecoderBlock2D",) * scales,
        block_out_channels=config.widths,
        layers_per_block=config.layers,
        norm_num_groups=config.norm_groups,
        latent_channels=config.latent_channels,
        sample_size=config.image_size,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=False,
    )


def open_pretrained(config: PretrainedAutoencoderConfig, side: int) -> AutoencoderKL:
    """Return any AutoencoderKL that diffusers loads, to be used on images of ``side`` pixels."""
    autoencoder = AutoencoderKL.from_pretrained(config.model, subfolder=config.subfolder, revision=config.revision)
    autoencoder.register_to_config(sample_size=side)
    return autoencoder


def reconstruct(autoencoder: AutoencoderKL, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return images from drawn latents, [B, 3, S, S], and the KL divergence per latent value (Kingma and Welling 2014).

    Args:
        images: [B, 3, S, S] in [-1, 1].
    """
    posterior = autoencoder.encode(images).latent_dist
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    noise = torch.randn(mean.shape, generator=generator, device=mean.device)
    drawn = autoencoder.decode(mean + (0.5 * logvar).exp() * noise).sample
    return drawn.float(), 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


def store_statistics(autoencoder: AutoencoderKL, means: Tensor) -> None:
    """Put the mean and standard deviation of each channel of ``means`` [N, C, H, W] into the configuration.

    ``scaling_factor``, for readers that know nothing else, brings the latents as a whole to unit variance.
    """
    channels = (0, 2, 3)
    autoencoder.register_to_config(
        latents_mean=means.mean(channels).tolist(),
        latents_std=means.std(channels).tolist(),
        scaling_factor=1 / means.std().item(),
    )


@torch.no_grad()
def posterior_means(autoencoder: AutoencoderKL, images: Tensor) -> Tensor:
    """Return the means of the posterior, [B, C, H, W], of images [B, 3, S, S] in [-1, 1]."""
    return autoencoder.encode(images).latent_dist.mode().float()


def encode(autoencoder: AutoencoderKL, images: Tensor) -> Tensor:
    """Return latents of zero mean and unit variance per channel, [B, C, H, W], of images [B, 3, S, S] in [-1, 1]."""
    mean, std = statistics(autoencoder)
    return (posterior_means(autoencoder, images) - mean) / std


@torch.no_grad()
def decode(autoencoder: AutoencoderKL, latents: Tensor) -> Tensor:
    """Return uint8 images [B, 3, S, S] of latents as ``encode`` returns them."""
    mean, std = statistics(autoencoder)
    return to_bytes(autoencoder.decode(latents * std + mean).sample)


def to_bytes(images: Tensor) -> Tensor:
    """Return [-1, 1] as uint8, clipped and rounded."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def load_autoencoder(directory: Path) -> AutoencoderKL:
    """Load an autoencoder in diffusers' layout, in eval mode."""
    return AutoencoderKL.from_pretrained(directory).eval()


def statistics(autoencoder: AutoencoderKL) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation of each channel of the latents, [1, C, 1, 1] each.

    Raises AutoencoderMismatchError where its configuration does not say.
    """
    mean, std = autoencoder.config.latents_mean, autoencoder.config.latents_std
    if mean is None or std is None:
        raise AutoencoderMismatchError(
            "the autoencoder's config.json has no latents_mean and latents_std: "
            "train it with training.autoencoder, or measure them with store_statistics"
        )
    device = autoencoder.device
    return torch.tensor(mean, device=device).view(1, -1, 1, 1), torch.tensor(std, device=device).view(1, -1, 1, 1)
