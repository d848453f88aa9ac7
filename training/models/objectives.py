"""What a diffusion model is trained to predict, at which noise, and how noise levels weigh.

Epsilon (Ho et al. 2020) and v (Salimans and Ho 2022, appendix D) on a variance-preserving schedule, and the velocity of
a straight path from data to noise (rectified flow, Liu et al. 2023; Esser et al. 2024, section 2).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from training.config import DiffusionConfig

Scheduler: TypeAlias = DDIMScheduler | FlowMatchEulerDiscreteScheduler

BETAS = {
    "linear": {"beta_start": 1e-4, "beta_end": 0.02},  # Ho et al. 2020, section 4
    "scaled_linear": {"beta_start": 8.5e-4, "beta_end": 0.012},  # Stable Diffusion
    "squaredcos_cap_v2": {},  # Nichol and Dhariwal 2021, equation 17
}


@dataclass(frozen=True)
class Noised:
    """A batch on its way to noise.

    Attributes:
        latents: what the model sees, [B, C, H, W].
        target: what it is to predict, [B, C, H, W].
        timesteps: as the model is told them, 0 (data) to ``num_train_timesteps`` (noise), [B].
        snr: signal-to-noise ratio of ``latents``, [B].
    """

    latents: Tensor
    target: Tensor
    timesteps: Tensor
    snr: Tensor


class Objective(Protocol):
    """How latents are noised for training and what the model is asked of them."""

    def noise(self, latents: Tensor, times: Tensor, noise: Tensor) -> Noised:
        """Noise latents to ``times`` in [0, 1), [B]: 0 is data, 1 is noise."""

    def min_snr_weights(self, snr: Tensor, gamma: float) -> Tensor:
        """Return the weights that make the loss min(SNR, γ) times the squared error of x0 (Hang et al. 2023)."""


class VariancePreserving:
    """x_t = √ᾱ x + √(1-ᾱ) ε on a discrete schedule; the target is ε or v = √ᾱ ε - √(1-ᾱ) x."""

    def __init__(self, scheduler: DDIMScheduler) -> None:
        self.scheduler = scheduler

    def noise(self, latents: Tensor, times: Tensor, noise: Tensor) -> Noised:
        steps: int = self.scheduler.config.num_train_timesteps
        timesteps = (times * steps).long().clamp(max=steps - 1)
        kept = self.scheduler.alphas_cumprod.to(latents.device)[timesteps]
        predicts_noise = self.scheduler.config.prediction_type == "epsilon"
        target = noise if predicts_noise else self.scheduler.get_velocity(latents, noise, timesteps)
        return Noised(self.scheduler.add_noise(latents, noise, timesteps), target, timesteps, kept / (1 - kept))

    def min_snr_weights(self, snr: Tensor, gamma: float) -> Tensor:
        capped = snr.clamp(max=gamma)
        return capped / snr if self.scheduler.config.prediction_type == "epsilon" else capped / (snr + 1)


class StraightPath:
    """x_t = (1-t) x + t ε; the target is the velocity dx_t/dt = ε - x."""

    def __init__(self, scheduler: FlowMatchEulerDiscreteScheduler) -> None:
        self.scheduler = scheduler

    def noise(self, latents: Tensor, times: Tensor, noise: Tensor) -> Noised:
        share = times.view(-1, 1, 1, 1)
        timesteps = times * self.scheduler.config.num_train_timesteps
        return Noised((1 - share) * latents + share * noise, noise - latents, timesteps, ((1 - times) / times).square())

    def min_snr_weights(self, snr: Tensor, gamma: float) -> Tensor:
        """As x0 = x_t - t u, an error of u is one of x0 times t = 1 / (1 + √SNR)."""
        return snr.clamp(max=gamma) / (1 + snr.sqrt()).square()


def build_scheduler(config: DiffusionConfig) -> Scheduler:
    """Return the noise schedule of a configuration with its deterministic sampler: DDIM, or Euler for flow.

    Sampling starts at the noisiest timestep (Lin et al. 2024, section 3.3), except for epsilon: there almost nothing
    is left of the data, and what is predicted of the noise says nothing about it.
    """
    if config.prediction == "flow":
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=config.timesteps)
    predicts_noise = config.prediction == "epsilon"
    return DDIMScheduler(
        num_train_timesteps=config.timesteps,
        beta_schedule=config.noise_schedule,
        **BETAS[config.noise_schedule],
        prediction_type="epsilon" if predicts_noise else "v_prediction",
        timestep_spacing="leading" if predicts_noise else "trailing",
        steps_offset=1,  # read where the spacing is leading; what diffusers' pipelines ask for
        rescale_betas_zero_snr=config.zero_terminal_snr,
        clip_sample=False,
    )


def load_scheduler(directory: Path) -> Scheduler:
    """Load the schedule that ``save_pretrained`` wrote."""
    config = json.loads((directory / "scheduler_config.json").read_text())
    kinds = {kind.__name__: kind for kind in (DDIMScheduler, FlowMatchEulerDiscreteScheduler)}
    return kinds[config["_class_name"]].from_pretrained(directory)


def objective_of(scheduler: Scheduler) -> Objective:
    """Return the objective that goes with a schedule."""
    return VariancePreserving(scheduler) if isinstance(scheduler, DDIMScheduler) else StraightPath(scheduler)


def draw_times(count: int, shift: float | None, generator: torch.Generator) -> Tensor:
    """Return ``count`` times in [0, 1), stratified: one from each of as many equal parts of the distribution.

    The distribution is uniform where ``shift`` is None, else the logit-normal of Esser et al. 2024, section 3.1, with
    that mean: what is in the picture is decided at noisy timesteps, above the middle.
    """
    device = generator.device
    points = (torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)) / count
    if shift is not None:
        points = torch.sigmoid(torch.special.ndtri(points.clamp(1e-6, 1 - 1e-6)) + shift)
    return points
