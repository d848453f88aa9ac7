"""A trained diffusion model as a directory that diffusers' ``DiffusionPipeline.from_pretrained`` loads and draws from.

Where Stable Diffusion's own pipeline knows all that the U-Net is told, it is that one; else ``pipeline.py`` lies beside
the weights, and ``from_pretrained`` wants ``trust_remote_code=True``.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from training.models import pipeline
from training.models.autoencoder import load_autoencoder, statistics
from training.models.diffusion import plain_attention
from training.models.objectives import Scheduler, load_scheduler
from training.text_encoders.backends import open_saved_text_encoder
from training.text_encoders.protocol import TextEncoder

UNET, SCHEDULER, VAE = "unet", "scheduler", "vae"
INDEX = "model_index.json"
NO_PART = [None, None]
CPU = torch.device("cpu")


class ImageSizeError(ValueError):
    """A model cannot draw images of such a size; the message says which it can."""


@dataclass(frozen=True)
class LatentDiffusion:
    """Everything that draws an image from a text."""

    unet: UNet2DConditionModel
    scheduler: Scheduler
    autoencoder: AutoencoderKL
    text_encoder: TextEncoder
    image_space: str | None

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape of the latents that it was trained on most, (C, H, W)."""
        side = self.unet.config.sample_size
        height, width = side if isinstance(side, list | tuple) else (side, side)
        return self.unet.config.in_channels, height, width

    def latents_of(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Return the shape of the latents of images of ``size``, height and width in pixels.

        Raises ImageSizeError where the autoencoder, or the U-Net after it, cannot halve the sides as often as it does.
        """
        pixels = 2 ** (len(self.autoencoder.config.block_out_channels) - 1)
        unit = pixels * 2 ** (len(self.unet.config.block_out_channels) - 1)
        if any(side < unit or side % unit for side in size):
            raise ImageSizeError(f"images of {size[1]}x{size[0]} pixels cannot be drawn: take multiples of {unit}")
        return self.unet.config.in_channels, size[0] // pixels, size[1] // pixels

    @property
    def image_dim(self) -> int:
        """Dimensions of the image embeddings that the U-Net is told; 0 where it takes none."""
        takes_images = self.unet.config.encoder_hid_dim_type == "text_image_proj"
        return self.unet.config.cross_attention_dim if takes_images else 0


def save_diffusion(
    unet: UNet2DConditionModel,
    scheduler: Scheduler,
    autoencoder: Path,
    text_encoder: TextEncoder,
    directory: Path,
    image_space: str | None = None,
) -> None:
    """Write unet/, scheduler/, vae/, text_encoder/, tokenizer/ and model_index.json.

    ``image_space`` is the digest of the CLIP whose image embeddings the U-Net is told, where it is told any.
    """
    unet.save_pretrained(directory / UNET)
    scheduler.save_pretrained(directory / SCHEDULER)
    fold_statistics(load_autoencoder(autoencoder)).save_pretrained(directory / VAE)
    parts = {
        UNET: ["diffusers", "UNet2DConditionModel"],
        SCHEDULER: ["diffusers", type(scheduler).__name__],
        VAE: ["diffusers", "AutoencoderKL"],
        **text_encoder.save(directory),
    }
    index: dict[str, Any] = {"_diffusers_version": diffusers.__version__, **parts}
    if _is_stable_diffusion(unet, scheduler, parts):
        nothing = dict.fromkeys(("safety_checker", "feature_extractor", "image_encoder"), NO_PART)
        index |= {"_class_name": "StableDiffusionPipeline", "requires_safety_checker": False, **nothing}
    else:
        shutil.copyfile(pipeline.__file__, directory / "pipeline.py")
        index |= {"_class_name": ["pipeline", pipeline.TextToImagePipeline.__name__], "told": text_encoder.told}
        index |= {} if image_space is None else {"image_space": image_space}
    (directory / INDEX).write_text(json.dumps(index, indent=1))


def load_diffusion(directory: Path, device: torch.device = CPU) -> LatentDiffusion:
    """Load what ``save_diffusion`` wrote, in eval mode; the text encoder stays on the CPU."""
    index = json.loads((directory / INDEX).read_text())
    return LatentDiffusion(
        unet=plain_attention(UNet2DConditionModel.from_pretrained(directory / UNET).eval().to(device)),
        scheduler=load_scheduler(directory / SCHEDULER),
        autoencoder=load_autoencoder(directory / VAE).to(device),
        text_encoder=open_saved_text_encoder(directory, index.get("told", "states")),
        image_space=index.get("image_space"),
    )


@torch.no_grad()
def fold_statistics(autoencoder: AutoencoderKL) -> AutoencoderKL:
    """Return the autoencoder whose latents are normalised per channel as they come: ``scaling_factor`` is 1.

    The mean m and deviation s of each channel go into the 1x1 convolutions around the latents: (z - m) / s into
    ``quant_conv``, with the logarithm of the variance, and s z + m into ``post_quant_conv``.
    """
    mean, std = (values.flatten() for values in statistics(autoencoder))
    channels = len(mean)
    plain = {"latents_mean": [0.0] * channels, "latents_std": [1.0] * channels, "scaling_factor": 1.0}
    folded = AutoencoderKL.from_config(
        {**autoencoder.config, **plain, "use_quant_conv": True, "use_post_quant_conv": True}
    )
    before, after = folded.quant_conv, folded.post_quant_conv
    for convolution in (before, after):
        torch.nn.init.dirac_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    folded.load_state_dict(autoencoder.state_dict(), strict=False)
    scale = torch.cat([1 / std, torch.ones(channels)])
    before.weight.mul_(scale.view(-1, 1, 1, 1))
    before.bias.mul_(scale).add_(torch.cat([-mean / std, -2 * std.log()]))
    after.bias.add_(after.weight[:, :, 0, 0] @ mean)
    after.weight.mul_(std.view(1, -1, 1, 1))
    return folded.eval()


def _is_stable_diffusion(unet: UNet2DConditionModel, scheduler: Scheduler, parts: dict[str, list[str]]) -> bool:
    """Return whether the U-Net is told the states of a CLIP and nothing else, on a noise schedule."""
    plain = unet.config.class_embed_type is None and unet.config.encoder_hid_dim_type is None
    return plain and isinstance(scheduler, DDIMScheduler) and parts["text_encoder"][1] == "CLIPTextModel"
