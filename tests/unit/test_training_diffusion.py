"""Latent diffusion: schedule, loss, condition, what it learns and what it saves."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from tests.unit.latent_corpus import DIFFUSION, write_diffusion, write_latent_corpus
from training.config import SamplerConfig
from training.diffusion import Denoising, LatentsMismatchError, read_latents
from training.models.clip import load_clip
from training.models.diffusion import (
    Condition,
    TextEncoder,
    build_scheduler,
    build_unet,
    diffusion_loss,
    draw_timesteps,
    load_diffusion,
    loss_by_timestep,
    predict,
)
from training.models.sampling import sample

EMPTY = Condition(torch.zeros(0, 0, 0), torch.zeros(0, 0))
EVEN = DIFFUSION.model_copy(update={"timestep_shift": None})
MIN_SNR = EVEN.model_copy(update={"min_snr_gamma": 5.0})


class Echo(torch.nn.Module):
    """Stands where the U-Net does and says what it was given."""

    def __init__(self, answer: torch.Tensor | None = None) -> None:
        super().__init__()
        self.answer = answer
        self.noisy: torch.Tensor | None = None
        self.condition: Condition | None = None

    def forward(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, states: torch.Tensor, class_labels: torch.Tensor
    ) -> "Echo":
        self.noisy, self.condition = noisy, Condition(states, class_labels)
        self.sample = noisy if self.answer is None else self.answer
        return self


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpus")
    write_latent_corpus(directory)
    write_diffusion(directory, directory / "diffusion")
    return directory


def test_the_loss_is_that_of_the_velocity() -> None:
    scheduler = build_scheduler(1000)
    latents = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    unet = Echo(torch.zeros_like(latents))
    _, error, timesteps = diffusion_loss(unet, scheduler, latents, EMPTY, EVEN, torch.Generator().manual_seed(1))
    alphas = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    noise = (unet.noisy - alphas.sqrt() * latents) / (1 - alphas).sqrt()
    velocity = alphas.sqrt() * noise - (1 - alphas).sqrt() * latents
    torch.testing.assert_close(error, velocity.square().mean((1, 2, 3)), atol=1e-3, rtol=1e-3)


def test_timesteps_of_a_batch_cover_the_schedule_evenly() -> None:
    latents = torch.zeros(20, 1, 2, 2)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        _, _, timesteps = diffusion_loss(Echo(), build_scheduler(1000), latents, EMPTY, EVEN, generator)
        assert (timesteps // 50).tolist() == list(range(20))


def test_min_snr_weights_favour_noisy_timesteps_and_keep_the_scale() -> None:
    latents = torch.randn(40, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    scheduler = build_scheduler(1000)
    weighted, error, timesteps = diffusion_loss(
        Echo(), scheduler, latents, EMPTY, MIN_SNR, torch.Generator().manual_seed(1)
    )
    alphas = scheduler.alphas_cumprod[timesteps]
    snr = alphas / (1 - alphas)
    weights = torch.minimum(snr, torch.tensor(5.0)) / (snr + 1)
    torch.testing.assert_close(weighted, (weights * error).sum() / weights.sum())
    assert weights[0] < weights[15]


def test_figures_by_timestep_name_the_quarters() -> None:
    error, timesteps = torch.tensor([1.0, 3.0, 5.0, 7.0]), torch.tensor([0, 249, 250, 999])
    figures = {name: value.item() for name, value in loss_by_timestep(error, timesteps, 1000).items()}
    assert figures == {"loss_by_timestep/0": 2.0, "loss_by_timestep/1": 5.0, "loss_by_timestep/3": 7.0}


def test_shifted_timesteps_are_mostly_noisy_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    even = draw_timesteps(1000, 1000, None, generator)
    shifted = draw_timesteps(1000, 1000, 0.5, generator)
    assert abs(even.float().median() - 500) < 5
    assert abs(shifted.float().median() - 1000 * torch.tensor(0.5).sigmoid()) < 5
    assert 0 <= shifted.min() < shifted.max() <= 999


def test_captions_are_dropped_whole_at_the_configured_rate() -> None:
    config = DIFFUSION.model_copy(update={"caption_dropout": 0.25})
    nothing = Condition(torch.full((1, 2, 3), 9.0), torch.full((1, 5), 9.0))
    task = Denoising(Echo(), build_scheduler(10), nothing, config, (torch.zeros(0), EMPTY))
    states, embeddings = torch.ones(4000, 2, 3), torch.ones(4000, 5)
    batch = {"latents": torch.zeros(4000, 1, 1, 1), "states": states, "embeddings": embeddings}
    task.loss(batch, torch.Generator().manual_seed(0))
    seen = task.unet.condition
    dropped = (seen.states == 9).all(dim=(1, 2))
    assert torch.equal(dropped, (seen.embeddings == 9).all(dim=1))
    assert ((seen.states == 1).all(dim=(1, 2)) | dropped).all()
    assert 0.22 < dropped.float().mean() < 0.28


def test_the_condition_of_a_text_is_the_same_in_any_company_and_zero_after_its_end(corpus: Path) -> None:
    encoder = TextEncoder(*load_clip(corpus / "clip"))
    together, alone = encoder(["red", "a blue picture", ""], batch_size=2), encoder(["red"])
    assert together.states.shape == (3, 8, 2 * 32)
    torch.testing.assert_close(together[:1].states, alone.states)
    torch.testing.assert_close(together[:1].embeddings, alone.embeddings)
    torch.testing.assert_close(together.embeddings.square().mean(dim=1), torch.ones(3))
    assert [int(row.abs().sum(dim=1).gt(0).sum()) for row in together.states] == [3, 5, 2]


def test_it_learns_and_is_measured_on_held_out_samples(corpus: Path) -> None:
    final = json.loads((corpus / "diffusion" / "run.json").read_text())["final"]
    assert final["samples"] + final["held_out"] == 60
    assert final["val/loss"] < 0.9


def test_diffusers_loads_every_part_of_what_is_saved(corpus: Path) -> None:
    directory = corpus / "diffusion"
    unet = UNet2DConditionModel.from_pretrained(directory / "unet")
    scheduler = DDIMScheduler.from_pretrained(directory / "scheduler")
    autoencoder = AutoencoderKL.from_pretrained(directory / "vae")
    assert scheduler.config.prediction_type == "v_prediction"
    assert unet.config.in_channels == autoencoder.config.latent_channels
    ours = load_diffusion(directory)
    condition = ours.text_encoder(["red"])
    latents = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = predict(unet.eval(), latents, 500, condition)
        torch.testing.assert_close(predict(ours.unet, latents, 500, condition), expected, atol=1e-4, rtol=1e-3)


def test_guidance_moves_the_prediction_past_the_conditional_one() -> None:
    torch.manual_seed(0)
    unet = build_unet(DIFFUSION, (2, 4, 4), text_width=8, embed_dim=6).eval()
    scheduler = build_scheduler(1000)
    noise, told = torch.randn(2, 2, 4, 4), Condition(torch.randn(2, 3, 8), torch.randn(2, 6))
    nothing = Condition(torch.zeros(2, 3, 8), torch.zeros(2, 6))

    def drawn(scale: float, condition: Condition = told) -> torch.Tensor:
        return sample(unet, scheduler, noise, condition, nothing[:1], SamplerConfig(steps=1, guidance_scale=scale))

    free, conditional = drawn(1, nothing), drawn(1)
    torch.testing.assert_close(drawn(3), free + 3 * (conditional - free), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(drawn(0), free, atol=1e-5, rtol=1e-5)


def test_latents_of_two_autoencoders_do_not_mix(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "latents.json").write_text(json.dumps({"channels": 2, "height": 4, "width": 4}))
    with pytest.raises(LatentsMismatchError, match="one autoencoder"):
        read_latents([corpus / "latents", tmp_path])
