"""Drawing latents from a text-conditional diffusion model: diffusers' samplers with classifier-free guidance."""

import hashlib
from typing import TypeAlias

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UNet2DConditionModel,
)
from torch import Tensor

from training.config import SamplerConfig
from training.models.diffusion import predict
from training.models.objectives import Scheduler
from training.text_encoders.protocol import Condition

MOST_DRIFT = 0.05  # of a step of DDIM, by diffusers' whole number of timesteps in it

Sampler: TypeAlias = DDIMScheduler | DDPMScheduler | DPMSolverMultistepScheduler | FlowMatchEulerDiscreteScheduler


class SamplerMismatchError(ValueError):
    """The sampler does not go with what the model predicts, or with its timesteps; the message names both."""


@torch.no_grad()
def sample(
    unet: UNet2DConditionModel,
    scheduler: Scheduler,
    noise: Tensor,
    condition: Condition,
    unconditional: Condition,
    config: SamplerConfig,
    generators: list[torch.Generator] | None = None,
) -> Tensor:
    """Return latents [B, C, H, W] drawn from ``noise`` of that shape.

    Guidance (Ho and Salimans 2022) moves each prediction from the unconditional one towards, and past, the conditional.

    Args:
        condition: of the texts, B of them.
        unconditional: of the empty text, one.
        generators: of the noise that DDPM adds on its way, one for each of the B; the other samplers add none.

    Raises SamplerMismatchError where the sampler cannot draw from the model.
    """
    sampler = build_sampler(scheduler, config, noise.device)
    added = {"generator": generators} if isinstance(sampler, DDPMScheduler) else {}
    latents, count = noise, len(noise)
    both = condition.beside(unconditional.expand(count))
    for timestep in sampler.timesteps:
        if config.guidance_scale == 1:
            prediction = predict(unet, latents, timestep, condition)
        else:
            conditional, free = predict(unet, torch.cat([latents, latents]), timestep, both).chunk(2)
            prediction = free + config.guidance_scale * (conditional - free)
            if config.guidance_rescale:
                prediction = rescaled(prediction, conditional, config.guidance_rescale)
        latents = sampler.step(prediction, timestep, latents, **added).prev_sample
    return latents


def build_sampler(scheduler: Scheduler, config: SamplerConfig, device: torch.device) -> Sampler:
    """Return the configured sampler over the schedule that a model was trained on, its steps set.

    Raises SamplerMismatchError where it cannot draw from such a model, or not in that many steps.
    """
    flow = isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
    name = ("euler" if flow else "ddim") if config.sampler == "auto" else config.sampler
    if (name == "euler") != flow:
        trained = "flow matching" if flow else f"{scheduler.config.prediction_type} on a noise schedule"
        choice = "euler" if flow else "ddim, ddpm or dpm++"
        raise SamplerMismatchError(f"sampler {name} does not go with a model trained by {trained}: choose {choice}")
    _require_steps(name, config.steps, scheduler.config.num_train_timesteps)
    if name == "euler":
        sampler: Sampler = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
        # evenly from noise to data; the scheduler's own steps spend the last one on a thousandth of the way
        sampler.set_timesteps(sigmas=np.linspace(1, 1 / config.steps, config.steps), device=device)
        return sampler
    kinds = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler, "dpm++": DPMSolverMultistepScheduler}
    sampler = kinds[name].from_config(scheduler.config)
    sampler.set_timesteps(config.steps, device=device)
    return sampler


def _require_steps(name: str, steps: int, timesteps: int) -> None:
    """Raise SamplerMismatchError where a sampler cannot go through the model's timesteps in so many steps.

    DDIM of diffusers goes ``timesteps // steps`` at a step, whatever lies between two of its timesteps: in 600 steps of
    1000 it would take away 0.6 of the noise that it should.
    """
    if name != "euler" and steps > timesteps:
        raise SamplerMismatchError(
            f"{steps} steps are more than the {timesteps} timesteps that the model was trained on"
        )
    gap = timesteps // steps
    if name == "ddim" and timesteps / steps > gap * (1 + MOST_DRIFT):
        raise SamplerMismatchError(
            f"ddim cannot part {timesteps} timesteps into {steps} steps: take {timesteps // (gap + 1)} or "
            f"{timesteps // gap} steps, or sampler dpm++"
        )


def rescaled(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
    """Bring each guided prediction's deviation ``share`` of the way to the conditional's (Lin et al. 2024, eq. 15, 16).

    Guidance above 1 raises the deviation, and with it contrast, from step to step.
    """
    deviation = conditional.std(dim=(1, 2, 3), keepdim=True) / guided.std(dim=(1, 2, 3), keepdim=True)
    return guided * (share * deviation + 1 - share)


def generator_for(name: str, seed: int) -> torch.Generator:
    """Return the source of an image's noise: what it starts from, then what DDPM adds on its way.

    It depends on the image's name and the seed alone, not on model or batch.
    """
    number = int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big") >> 1
    return torch.Generator().manual_seed(number)


def starting_noise(generators: list[torch.Generator], shape: tuple[int, int, int]) -> Tensor:
    """Return the next noise [N, *shape] of every image's generator."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])
