"""Samplers: each draws the data's distribution from a perfect model, and an image whatever its batch."""

from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from torch import Tensor

from training.config import DiffusionConfig, SamplerConfig
from training.models.diffusion import build_unet
from training.models.objectives import Scheduler, build_scheduler
from training.models.sampling import (
    SamplerMismatchError,
    build_sampler,
    generator_for,
    rescaled,
    sample,
    starting_noise,
)
from training.text_encoders.protocol import Condition

MEAN, STD = 0.7, 0.5
NOTHING = Condition.of_text(torch.zeros(1, 1, 1), torch.zeros(1, 1))
NOTHING_TOLD = (NOTHING.states, NOTHING.embeddings)
CPU = torch.device("cpu")


class PerfectModel(torch.nn.Module):
    """What a model that learned latents of independent N(MEAN, STD²) would predict: it follows from Bayes' theorem."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self.scheduler = scheduler

    def forward(self, noisy: Tensor, timestep: Tensor, states: Tensor, class_labels: Tensor) -> "PerfectModel":
        if isinstance(self.scheduler, FlowMatchEulerDiscreteScheduler):
            share = timestep.item() / 1000
            signal, noise = 1 - share, share
        else:
            kept = self.scheduler.alphas_cumprod[int(timestep)].double().item()
            signal, noise = kept**0.5, (1 - kept) ** 0.5
        gain = signal * STD**2 / (signal**2 * STD**2 + noise**2)
        data = MEAN + gain * (noisy.double() - signal * MEAN)
        epsilon = (noisy.double() - signal * data) / noise
        kind = self.scheduler.config.get("prediction_type", "flow")
        answers = {"epsilon": epsilon, "v_prediction": signal * epsilon - noise * data, "flow": epsilon - data}
        self.sample = answers[kind].float()
        return self


@pytest.mark.parametrize(
    ("model", "sampler", "steps", "tolerance"),
    [
        ({"prediction": "v"}, "ddim", 100, 0.01),
        ({"prediction": "v"}, "dpm++", 20, 0.01),
        ({"prediction": "v"}, "ddpm", 500, 0.02),
        ({"prediction": "v", "zero_terminal_snr": True}, "ddim", 100, 0.01),
        ({"prediction": "v", "zero_terminal_snr": True}, "dpm++", 20, 0.01),
        ({"prediction": "v", "zero_terminal_snr": True}, "ddpm", 500, 0.02),
        ({"prediction": "v", "noise_schedule": "linear"}, "ddim", 100, 0.02),
        ({"prediction": "epsilon", "noise_schedule": "linear"}, "ddim", 100, 0.02),
        ({"prediction": "epsilon", "noise_schedule": "linear"}, "dpm++", 20, 0.03),
        ({"prediction": "epsilon"}, "ddpm", 500, 0.02),
        ({"prediction": "flow"}, "euler", 100, 0.01),
    ],
)
def test_a_perfect_model_gives_the_data_back(model: dict[str, Any], sampler: str, steps: int, tolerance: float) -> None:
    scheduler = build_scheduler(DiffusionConfig.model_validate(model))
    generators = [generator_for(str(n), 0) for n in range(4)]
    noise = starting_noise(generators, (1, 80, 80))
    config = SamplerConfig(sampler=sampler, steps=steps, guidance_scale=1)
    drawn = sample(PerfectModel(scheduler), scheduler, noise, repeated(4), NOTHING, config, generators)
    assert abs(drawn.mean() - MEAN) < tolerance
    assert abs(drawn.std() - STD) < tolerance


def test_few_steps_of_dpm_solver_come_nearer_than_those_of_ddim() -> None:
    scheduler = build_scheduler(DiffusionConfig())
    noise = starting_noise([generator_for("n", 0)], (1, 80, 80))

    def error(sampler: str) -> float:
        config = SamplerConfig(sampler=sampler, steps=12, guidance_scale=1)
        drawn = sample(PerfectModel(scheduler), scheduler, noise, repeated(1), NOTHING, config)
        return abs(drawn.std().item() - STD)

    assert error("dpm++") < error("ddim") / 2


def test_zero_terminal_snr_mends_the_mean_that_pure_noise_at_the_start_gets_wrong() -> None:
    def error_of_mean(zero_terminal_snr: bool) -> float:
        told = {"prediction": "v", "noise_schedule": "scaled_linear", "zero_terminal_snr": zero_terminal_snr}
        scheduler = build_scheduler(DiffusionConfig.model_validate(told))
        noise = starting_noise([generator_for("n", 0)], (1, 80, 80))
        config = SamplerConfig(sampler="ddim", steps=100, guidance_scale=1)
        drawn = sample(PerfectModel(scheduler), scheduler, noise, repeated(1), NOTHING, config)
        return abs(drawn.mean().item() - noise.mean().item() * STD - MEAN)

    kept = 0.0047**0.5  # of the signal at the last timestep of Stable Diffusion's schedule
    assert abs(error_of_mean(False) - kept * MEAN * STD) < 0.005
    assert error_of_mean(True) < 0.005


@pytest.mark.parametrize(
    ("model", "sampler"),
    [("v", "ddim"), ("v", "ddpm"), ("v", "dpm++"), ("epsilon", "ddpm"), ("flow", "euler")],
)
def test_an_image_is_the_same_in_any_batch(model: str, sampler: str) -> None:
    config = DiffusionConfig(widths=(16,), heads=2, norm_groups=4, prediction=model)
    torch.manual_seed(0)
    unet = build_unet(config, (2, 4, 4), text_width=8, embed_dim=6).eval()
    told = Condition.of_text(torch.randn(3, 3, 8), torch.randn(3, 6))
    nothing = Condition.of_text(torch.zeros(1, 3, 8), torch.zeros(1, 6))

    def drawn(rows: slice) -> Tensor:
        generators = [generator_for(name, 7) for name in ("a", "b", "c")[rows]]
        noise = starting_noise(generators, (2, 4, 4))
        settings = SamplerConfig(sampler=sampler, steps=4, guidance_rescale=0.5)
        return sample(unet, build_scheduler(config), noise, told[rows], nothing, settings, generators)

    together = drawn(slice(0, 3))
    torch.testing.assert_close(drawn(slice(1, 2)), together[1:2], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=0.1)


def test_rescaled_guidance_keeps_the_deviation_of_the_conditional_prediction() -> None:
    conditional, guided = torch.randn(2, 3, 8, 8), 4 * torch.randn(2, 3, 8, 8)
    deviation = rescaled(guided, conditional, 1.0).std(dim=(1, 2, 3))
    torch.testing.assert_close(deviation, conditional.std(dim=(1, 2, 3)))
    torch.testing.assert_close(rescaled(guided, conditional, 0.0), guided)


def test_a_sampler_for_another_objective_is_refused() -> None:
    flow = build_scheduler(DiffusionConfig(prediction="flow"))
    with pytest.raises(SamplerMismatchError, match=r"dpm\+\+ does not go with a model trained by flow matching"):
        sample(PerfectModel(flow), flow, torch.zeros(1, 1, 2, 2), repeated(1), NOTHING, SamplerConfig(sampler="dpm++"))
    noised = build_scheduler(DiffusionConfig())
    with pytest.raises(SamplerMismatchError, match="euler does not go with a model trained by v_prediction"):
        sample(
            PerfectModel(noised), noised, torch.zeros(1, 1, 2, 2), repeated(1), NOTHING, SamplerConfig(sampler="euler")
        )


def test_a_number_of_steps_that_a_sampler_cannot_take_is_refused() -> None:
    scheduler, flow = build_scheduler(DiffusionConfig()), build_scheduler(DiffusionConfig(prediction="flow"))
    with pytest.raises(SamplerMismatchError, match="1000 timesteps into 150 steps: take 142 or 166 steps"):
        build_sampler(scheduler, SamplerConfig(steps=150), CPU)
    for sampler in ("ddim", "ddpm", "dpm++"):
        with pytest.raises(SamplerMismatchError, match="1001 steps are more than the 1000 timesteps"):
            build_sampler(scheduler, SamplerConfig(sampler=sampler, steps=1001), CPU)
    assert len(build_sampler(flow, SamplerConfig(steps=150), CPU).timesteps) == 150


@pytest.mark.parametrize("steps", [12, 30, 60, 142, 166])
def test_steps_that_nearly_part_the_schedule_still_give_the_data_back(steps: int) -> None:
    scheduler = build_scheduler(DiffusionConfig())
    noise = starting_noise([generator_for("n", 0)], (1, 80, 80))
    config = SamplerConfig(steps=steps, guidance_scale=1)
    drawn = sample(PerfectModel(scheduler), scheduler, noise, repeated(1), NOTHING, config)
    assert abs(drawn.mean() - MEAN) < 0.025
    assert abs(drawn.std() - STD) < 0.8 / steps + 0.02


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++"])
@pytest.mark.parametrize("model", ["v", "epsilon"])
def test_a_sampler_is_the_scheduler_of_diffusers_that_its_users_would_build(model: str, sampler: str) -> None:
    config = DiffusionConfig(prediction=model, noise_schedule="scaled_linear")
    told = {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "prediction_type": "epsilon" if model == "epsilon" else "v_prediction",
        "timestep_spacing": "leading" if model == "epsilon" else "trailing",
        "steps_offset": 1,
    }
    kinds = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler, "dpm++": DPMSolverMultistepScheduler}
    theirs = kinds[sampler](**told, **({} if sampler == "dpm++" else {"clip_sample": False}))
    theirs.set_timesteps(10)
    scheduler = build_scheduler(config)
    latents = noise = starting_noise([generator_for("n", 0)], (1, 8, 8))
    added = {"generator": generator_for("n", 1)} if sampler == "ddpm" else {}
    for timestep in theirs.timesteps:
        prediction = PerfectModel(scheduler)(latents, timestep, *NOTHING_TOLD).sample
        latents = theirs.step(prediction, timestep, latents, **added).prev_sample
    settings = SamplerConfig(sampler=sampler, steps=10, guidance_scale=1)
    ours = sample(PerfectModel(scheduler), scheduler, noise, repeated(1), NOTHING, settings, [generator_for("n", 1)])
    torch.testing.assert_close(ours, latents)


def repeated(count: int) -> Condition:
    return Condition.of_text(torch.zeros(count, 1, 1), torch.zeros(count, 1))
