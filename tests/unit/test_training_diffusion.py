"""Latent diffusion: schedule, loss, condition, what it learns and what it saves."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from tests.unit.latent_corpus import DIFFUSION, write_diffusion, write_latent_corpus
from training.config import PretrainedUnetConfig, SamplerConfig
from training.diffusion import Denoising, grid_of
from training.latent_sets import LatentsMismatchError, read_latents
from training.models.diffusion import UnetMismatchError, build_unet, diffusion_loss, loss_by_timestep, open_unet
from training.models.objectives import build_scheduler
from training.models.sampling import sample
from training.text_encoders.backends import open_saved_text_encoder
from training.text_encoders.protocol import Condition

EMPTY = Condition.of_text(torch.zeros(0, 0, 0), torch.zeros(0, 0))
EVEN = DIFFUSION.model_copy(update={"timestep_shift": None})
MIN_SNR = EVEN.model_copy(update={"min_snr_gamma": 5.0})


class Echo(torch.nn.Module):
    """Stands where the U-Net does and says what it was given."""

    def __init__(self, answer: Tensor | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.answer = answer
        self.noisy: Tensor | None = None
        self.states: Tensor | None = None
        self.embeddings: Tensor | None = None

    def forward(self, noisy: Tensor, timesteps: Tensor, states: Tensor, class_labels: Tensor | None = None) -> "Echo":
        self.noisy, self.states, self.embeddings = noisy, states, class_labels
        self.sample = noisy if self.answer is None else self.answer
        return self


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpus")
    write_latent_corpus(directory)
    write_diffusion(directory, directory / "diffusion")
    return directory


def test_the_loss_is_that_of_the_velocity() -> None:
    scheduler = build_scheduler(EVEN)
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
        _, _, timesteps = diffusion_loss(Echo(), build_scheduler(EVEN), latents, EMPTY, EVEN, generator)
        assert (timesteps // 50).tolist() == list(range(20))


def test_min_snr_weighs_each_sample_whatever_its_batch() -> None:
    latents = torch.randn(40, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    scheduler = build_scheduler(EVEN)
    weighted, error, timesteps = diffusion_loss(
        Echo(), scheduler, latents, EMPTY, MIN_SNR, torch.Generator().manual_seed(1)
    )
    alphas = scheduler.alphas_cumprod[timesteps]
    snr = alphas / (1 - alphas)
    weights = torch.minimum(snr, torch.tensor(5.0)) / (snr + 1)
    torch.testing.assert_close(weighted, (weights * error).mean())
    assert weights[0] < weights[15]


def test_min_snr_leaves_a_lone_sample_without_signal_a_loss_of_zero() -> None:
    config = MIN_SNR.model_copy(update={"zero_terminal_snr": True})
    scheduler = build_scheduler(config)
    scheduler.alphas_cumprod = torch.zeros_like(scheduler.alphas_cumprod)  # every timestep is the last
    latents = torch.randn(1, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    loss, error, _ = diffusion_loss(Echo(), scheduler, latents, EMPTY, config, torch.Generator().manual_seed(1))
    assert loss == 0
    assert error > 0


def test_figures_by_timestep_name_the_quarters() -> None:
    error, timesteps = torch.tensor([1.0, 3.0, 5.0, 7.0]), torch.tensor([0, 249, 250, 999])
    figures = {name: value.item() for name, value in loss_by_timestep(error, timesteps, 1000).items()}
    assert figures == {"loss_by_timestep/0": 2.0, "loss_by_timestep/1": 5.0, "loss_by_timestep/3": 7.0}


def test_captions_are_dropped_whole_at_the_configured_rate() -> None:
    config = DIFFUSION.model_copy(update={"caption_dropout": 0.25})
    nothing = Condition.of_text(torch.full((1, 2, 3), 9.0), torch.full((1, 5), 9.0))
    task = Denoising(Echo(), build_scheduler(config), nothing, config, [])
    told = Condition.of_text(torch.ones(4000, 2, 3), torch.ones(4000, 5))
    task.loss({"latents": torch.zeros(4000, 1, 1, 1), "condition": told}, torch.Generator().manual_seed(0))
    states, embeddings = task.unet.states, task.unet.embeddings
    dropped = (states == 9).all(dim=(1, 2))
    assert torch.equal(dropped, (embeddings == 9).all(dim=1))
    assert ((states == 1).all(dim=(1, 2)) | dropped).all()
    assert 0.22 < dropped.float().mean() < 0.28


def test_it_learns_and_is_measured_on_held_out_samples(corpus: Path) -> None:
    final = json.loads((corpus / "diffusion" / "run.json").read_text())["final"]
    assert final["samples"] + final["held_out"] == 60
    assert final["val/loss"] < 0.9


def test_every_evaluation_draws_the_same_captions_from_the_same_noise(corpus: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    told, nothing = Condition.of_text(torch.randn(3, 5, 8), torch.randn(3, 6)), torch.zeros(1, 5, 8)
    unconditional = Condition.of_text(nothing, torch.zeros(1, 6))
    held_out = torch.randn(3, 4, 4, 4)
    grid = grid_of((held_out, told, ["a", "b", "c"]), unconditional, DIFFUSION, corpus / "autoencoder", tmp_path)
    unet = build_unet(DIFFUSION, (4, 4, 4), text_width=8, embed_dim=6).eval()
    task = Denoising(unet, build_scheduler(DIFFUSION), unconditional, DIFFUSION, [(held_out, told)], grid)
    with torch.no_grad():
        state = torch.get_rng_state()
        drawn = []
        for change in (0.0, 0.0, 0.5):
            unet.conv_out.bias += change
            task.evaluate()
            drawn.append((tmp_path / "samples.png").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]
    assert (tmp_path / "samples.txt").read_text() == "a\nb\nc\n"
    assert torch.equal(torch.get_rng_state(), state), "training goes on as if nothing had been drawn"
    assert (corpus / "diffusion" / "samples.png").exists()


def test_guidance_moves_the_prediction_past_the_conditional_one() -> None:
    torch.manual_seed(0)
    unet = build_unet(DIFFUSION, (2, 4, 4), text_width=8, embed_dim=6).eval()
    scheduler = build_scheduler(EVEN)
    noise, told = torch.randn(2, 2, 4, 4), Condition.of_text(torch.randn(2, 3, 8), torch.randn(2, 6))
    nothing = Condition.of_text(torch.zeros(2, 3, 8), torch.zeros(2, 6))

    def drawn(scale: float, condition: Condition = told) -> torch.Tensor:
        return sample(unet, scheduler, noise, condition, nothing[:1], SamplerConfig(steps=1, guidance_scale=scale))

    free, conditional = drawn(1, nothing), drawn(1)
    torch.testing.assert_close(drawn(3), free + 3 * (conditional - free), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(drawn(0), free, atol=1e-5, rtol=1e-5)


def test_latents_of_another_autoencoder_are_refused_by_both_names(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    made_by = json.loads((corpus / "latents" / "latents.json").read_text())["autoencoder"]
    with pytest.raises(LatentsMismatchError, match=f"made by autoencoder {made_by}, but autoencoder [0-9a-f]{{16}} is"):
        read_latents([corpus / "latents"], tmp_path)


def test_training_starts_from_a_pretrained_unet_that_fits(corpus: Path) -> None:
    start = PretrainedUnetConfig(model=str(corpus / "diffusion"), subfolder="unet")
    config = DIFFUSION.model_copy(update={"unet": start})
    encoder = open_saved_text_encoder(corpus / "diffusion", "full")
    trained = open_unet(config, (4, 4, 4), encoder)
    fresh = open_unet(DIFFUSION, (4, 4, 4), encoder)
    assert trained.state_dict().keys() == fresh.state_dict().keys()
    assert not torch.equal(trained.conv_in.weight, fresh.conv_in.weight)
    with pytest.raises(UnetMismatchError, match="takes latents of 4 channels, but here are 8"):
        open_unet(config, (8, 4, 4), encoder)


def test_the_saved_schedule_is_the_one_of_training(corpus: Path) -> None:
    saved = DDIMScheduler.from_pretrained(corpus / "diffusion" / "scheduler")
    assert (saved.config.prediction_type, saved.config.timestep_spacing) == ("v_prediction", "trailing")
    assert torch.equal(saved.alphas_cumprod, build_scheduler(DIFFUSION).alphas_cumprod)
