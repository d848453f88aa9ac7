"""Drawing latents from a text-conditional diffusion model: DDIM with classifier-free guidance."""

import hashlib

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from training.config import SamplerConfig


@torch.no_grad()
def sample(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    noise: Tensor,
    states: Tensor,
    unconditional: Tensor,
    config: SamplerConfig,
) -> Tensor:
    """Return latents [B, C, H, W] drawn from ``noise`` of that shape, deterministically (DDIM with eta 0).

    Guidance (Ho and Salimans 2022) moves each prediction from the unconditional one towards, and past, the conditional.

    Args:
        states: of the texts, [B, L, W].
        unconditional: of the empty text, [1, L, W].
    """
    scheduler.set_timesteps(config.steps, device=noise.device)
    latents, count = noise, len(noise)
    both = torch.cat([states, unconditional.expand(count, -1, -1)])
    for timestep in scheduler.timesteps:
        if config.guidance_scale == 1:
            prediction = unet(latents, timestep, states).sample
        else:
            conditional, free = unet(torch.cat([latents, latents]), timestep, both).sample.chunk(2)
            prediction = free + config.guidance_scale * (conditional - free)
        latents = scheduler.step(prediction.float(), timestep, latents).prev_sample
    return latents


def noise_for(names: list[str], seed: int, shape: tuple[int, int, int]) -> Tensor:
    """Return starting noise [N, *shape]; each row depends on its name and the seed alone, not on model or batch."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(_number(n, seed))) for n in names])


def _number(name: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big") >> 1
