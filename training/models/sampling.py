"""Drawing latents from a text-conditional diffusion model: DDIM with classifier-free guidance."""

import hashlib

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from training.config import SamplerConfig
from training.models.diffusion import Condition, predict


@torch.no_grad()
def sample(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    noise: Tensor,
    condition: Condition,
    unconditional: Condition,
    config: SamplerConfig,
) -> Tensor:
    """Return latents [B, C, H, W] drawn from ``noise`` of that shape, deterministically (DDIM with eta 0).

    Guidance (Ho and Salimans 2022) moves each prediction from the unconditional one towards, and past, the conditional.

    Args:
        condition: of the texts, B of them.
        unconditional: of the empty text, one.
    """
    scheduler.set_timesteps(config.steps, device=noise.device)
    latents, count = noise, len(noise)
    both = Condition(
        torch.cat([condition.states, unconditional.states.expand(count, -1, -1)]),
        torch.cat([condition.embeddings, unconditional.embeddings.expand(count, -1)]),
    )
    for timestep in scheduler.timesteps:
        if config.guidance_scale == 1:
            prediction = predict(unet, latents, timestep, condition)
        else:
            conditional, free = predict(unet, torch.cat([latents, latents]), timestep, both).chunk(2)
            prediction = free + config.guidance_scale * (conditional - free)
        latents = scheduler.step(prediction, timestep, latents).prev_sample
    return latents


def noise_for(names: list[str], seed: int, shape: tuple[int, int, int]) -> Tensor:
    """Return starting noise [N, *shape]; each row depends on its name and the seed alone, not on model or batch."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(_number(n, seed))) for n in names])


def _number(name: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big") >> 1
