"""Objectives: what is predicted agrees with diffusers' schedulers, and weights and schedules with their papers."""

from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from pydantic import ValidationError

from training.config import DiffusionConfig, SamplerConfig
from training.models.objectives import StraightPath, build_scheduler, draw_times, objective_of

LATENTS = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(1))
TIMES = torch.tensor([0.0005, 0.2, 0.5, 0.9, 0.9995])


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("zero_terminal_snr", [False, True])
def test_noising_and_target_are_those_of_diffusers(schedule: str, prediction: str, zero_terminal_snr: bool) -> None:
    if prediction == "epsilon" and zero_terminal_snr:
        pytest.skip("refused")
    scheduler = build_scheduler(
        told(prediction=prediction, noise_schedule=schedule, zero_terminal_snr=zero_terminal_snr)
    )
    noised = objective_of(scheduler).noise(LATENTS, TIMES, NOISE)
    betas = {"beta_start": 0.00085, "beta_end": 0.012} if schedule == "scaled_linear" else {}
    theirs = DDPMScheduler(1000, beta_schedule=schedule, rescale_betas_zero_snr=zero_terminal_snr, **betas)
    timesteps = torch.tensor([0, 200, 500, 900, 999])
    assert torch.equal(noised.timesteps, timesteps)
    torch.testing.assert_close(noised.latents, theirs.add_noise(LATENTS, NOISE, timesteps))
    velocity = theirs.get_velocity(LATENTS, NOISE, timesteps)
    torch.testing.assert_close(noised.target, velocity if prediction == "v" else NOISE)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_a_right_prediction_gives_the_latents_back(prediction: str) -> None:
    scheduler = build_scheduler(told(prediction=prediction))
    noised = objective_of(scheduler).noise(LATENTS, TIMES, NOISE)
    scheduler.set_timesteps(1000)
    for row in range(4):
        step = scheduler.step(noised.target[row], int(noised.timesteps[row]), noised.latents[row])
        torch.testing.assert_close(step.pred_original_sample, LATENTS[row], atol=1e-4, rtol=1e-4)


def test_flow_goes_straight_from_latents_to_noise() -> None:
    scheduler = build_scheduler(told(prediction="flow"))
    assert isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
    times = torch.tensor([0.001, 0.2, 0.5, 0.9, 1.0])
    noised = objective_of(scheduler).noise(LATENTS, times, NOISE)
    torch.testing.assert_close(noised.timesteps, 1000 * times)
    torch.testing.assert_close(
        noised.latents, scheduler.scale_noise(LATENTS, scheduler.timesteps[[-1, 800, 500, 100, 0]], NOISE)
    )
    torch.testing.assert_close(noised.latents - times.view(-1, 1, 1, 1) * noised.target, LATENTS)
    scheduler.set_timesteps(sigmas=[0.5])
    halfway = scheduler.step(noised.target[2], scheduler.timesteps[0], noised.latents[2])
    torch.testing.assert_close(halfway.prev_sample, LATENTS[2])


@pytest.mark.parametrize(
    ("prediction", "weights"),
    [
        # γ = 5 and SNR 1/4, 1, 4, 25
        ("epsilon", [1.0, 1.0, 1.0, 5 / 25]),
        ("v", [0.25 / 1.25, 1 / 2, 4 / 5, 5 / 26]),
        # t = 1 / (1 + √SNR): 2/3, 1/2, 1/3, 1/6
        ("flow", [0.25 * 4 / 9, 1 / 4, 4 / 9, 5 / 36]),
    ],
)
def test_min_snr_weights_are_those_of_the_paper(prediction: str, weights: list[float]) -> None:
    objective = objective_of(build_scheduler(told(prediction=prediction)))
    found = objective.min_snr_weights(torch.tensor([0.25, 1.0, 4.0, 25.0]), 5.0)
    torch.testing.assert_close(found, torch.tensor(weights))


@pytest.mark.parametrize("prediction", ["epsilon", "v", "flow"])
def test_min_snr_weighs_the_same_error_of_the_data_the_same_whatever_is_predicted(prediction: str) -> None:
    objective = objective_of(build_scheduler(told(prediction=prediction)))
    size = size_of_target_error(objective, 0.1)
    snr = objective.noise(LATENTS[1:4], TIMES[1:4], NOISE[1:4]).snr
    weights = objective.min_snr_weights(snr, 5.0)
    torch.testing.assert_close(weights * size, snr.clamp(max=5.0) * 0.1**2, atol=1e-6, rtol=1e-3)


def size_of_target_error(objective: Any, error: float) -> torch.Tensor:
    """Return how far the target moves, squared, where x0 is taken ``error`` higher than it is and x_t stays."""
    zero = torch.zeros(3, 1, 1, 1)
    times = TIMES[1:4]
    data, noise = (objective.noise(a, times, b).latents for a, b in ((zero + 1, zero), (zero, zero + 1)))
    there = objective.noise(zero, times, zero)
    moved = objective.noise(zero + error, times, -error * data / noise)
    torch.testing.assert_close(moved.latents, there.latents, atol=1e-6, rtol=0)
    return (moved.target - there.target).square().flatten()


def test_zero_terminal_snr_is_algorithm_1() -> None:
    before = build_scheduler(told(noise_schedule="scaled_linear")).alphas_cumprod.double().sqrt()
    expected = (before - before[-1]) * before[0] / (before[0] - before[-1])
    after = build_scheduler(told(noise_schedule="scaled_linear", zero_terminal_snr=True)).alphas_cumprod.double()
    torch.testing.assert_close(after, expected.square(), atol=1e-5, rtol=1e-4)
    assert after[-1] == 0
    assert before[-1].square() > 0.004


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"prediction": "epsilon", "zero_terminal_snr": True}, "set prediction to v"),
        ({"prediction": "flow", "zero_terminal_snr": True}, "straight to pure noise"),
        ({"prediction": "flow", "noise_schedule": "linear"}, "straight to pure noise"),
        ({"prediction": "flow", "sampler": {"sampler": "ddim"}}, "choose euler or auto"),
        ({"prediction": "v", "sampler": {"sampler": "euler"}}, "choose ddim, ddpm, dpm"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        told(**wrong)


def test_times_of_a_batch_cover_the_distribution_once() -> None:
    even = draw_times(1000, None, torch.Generator().manual_seed(0))
    assert torch.equal((even * 1000).long(), torch.arange(1000))
    shifted = draw_times(1000, 0.5, torch.Generator().manual_seed(0))
    logits = torch.logit(shifted[1:-1].double())
    assert abs(logits.mean() - 0.5) < 0.02
    assert abs(logits.std() - 1) < 0.02
    assert isinstance(objective_of(build_scheduler(told(prediction="flow"))), StraightPath)


def told(**fields: Any) -> DiffusionConfig:
    return DiffusionConfig.model_validate({"sampler": SamplerConfig().model_dump(), **fields})
