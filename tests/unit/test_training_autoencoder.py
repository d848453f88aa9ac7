"""The autoencoder: its losses, what it learns, that diffusers alone loads it, and the latents computed with it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from pydantic import ValidationError
from scipy.ndimage import correlate1d

from t2i_assets.corpus.schemas import LATENTS, METRICS
from t2i_assets.corpus.tables import read_table
from tests.unit.foreign_process import run_without_project
from tests.unit.latent_corpus import AUTOENCODER, write_latent_corpus
from training.autoencoder import AutoencoderInputs, Reconstruction
from training.autoencoder import main as train_autoencoder
from training.config import (
    AdversarialConfig,
    AutoencoderConfig,
    OptimizerConfig,
    PerceptualConfig,
    PretrainedAutoencoderConfig,
)
from training.data import load_images, to_signed
from training.job import Job
from training.latent_sets import read_latents
from training.models.autoencoder import (
    AutoencoderMismatchError,
    build_autoencoder,
    decode,
    encode,
    load_autoencoder,
    reconstruct,
    statistics,
)
from training.models.image_quality import peak_signal_to_noise, structural_similarity
from training.models.patch_discriminator import adaptive_weight, discriminator_loss
from training.models.perceptual import VGG16, perceptual_distance, random_pyramid, vgg16
from training.report import Reporter


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpus")
    write_latent_corpus(directory)
    return directory


def test_it_learns_to_give_held_out_pictures_back(corpus: Path) -> None:
    final = json.loads((corpus / "autoencoder" / "run.json").read_text())["final"]
    _, images = load_images([corpus / "shards"], AUTOENCODER.image_size)
    pixels = to_signed(images)
    mean_picture = peak_signal_to_noise((pixels - pixels.mean(dim=0)).square().mean())
    assert final["held_out"] > 3
    assert final["val/psnr"] > mean_picture + 3


def test_the_saved_directory_is_diffusers_own_and_knows_the_statistics_of_its_latents(corpus: Path) -> None:
    theirs = AutoencoderKL.from_pretrained(corpus / "autoencoder").eval()
    _, images = load_images([corpus / "shards"], AUTOENCODER.image_size)
    with torch.no_grad():
        means = theirs.encode(to_signed(images)).latent_dist.mode()
    torch.testing.assert_close(means.mean((0, 2, 3)).tolist(), theirs.config.latents_mean, atol=0.15, rtol=0.15)
    torch.testing.assert_close(means.std((0, 2, 3)).tolist(), theirs.config.latents_std, atol=0.15, rtol=0.15)
    assert 0.7 < theirs.config.scaling_factor * means.std().item() < 1.4


def test_latents_are_normalised_per_channel_in_the_order_of_their_keys(corpus: Path) -> None:
    found = read_latents([corpus / "latents"], corpus / "autoencoder")
    keys, [latents] = found.keys, found.buckets
    assert latents.shape == (60, 4, 4, 4)
    assert latents.mean((0, 2, 3)).abs().max() < 0.15
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.15
    assert read_table(corpus / "latents", LATENTS)["key"].to_pylist() == keys
    autoencoder = load_autoencoder(corpus / "autoencoder")
    stored_keys, images = load_images([corpus / "shards"], AUTOENCODER.image_size)
    assert stored_keys == keys
    torch.testing.assert_close(encode(autoencoder, to_signed(images[7:9])), latents[7:9], atol=1e-4, rtol=1e-4)


def test_decoding_latents_gives_the_reconstruction(corpus: Path) -> None:
    autoencoder = load_autoencoder(corpus / "autoencoder")
    _, images = load_images([corpus / "shards"], AUTOENCODER.image_size)
    pictures = to_signed(images[:4])
    with torch.no_grad():
        expected = autoencoder(pictures).sample
    decoded = to_signed(decode(autoencoder, encode(autoencoder, pictures)))
    torch.testing.assert_close(decoded, expected.clamp(-1, 1), atol=0.01, rtol=0)


def test_an_autoencoder_without_statistics_is_refused() -> None:
    autoencoder = build_autoencoder(AUTOENCODER)
    with pytest.raises(AutoencoderMismatchError, match="latents_mean"):
        encode(autoencoder, torch.zeros(1, 3, 16, 16))


def test_the_divergence_weighs_in_and_noise_follows_from_the_generator() -> None:
    def loss_of(seed: int) -> tuple[float, dict[str, float]]:
        torch.manual_seed(0)
        task = Reconstruction(build_autoencoder(AUTOENCODER), AUTOENCODER.model_copy(update={"kl_weight": 0.5}), images)
        loss, figures = task.loss({"images": images}, torch.Generator().manual_seed(seed))
        return loss.item(), {name: float(value) for name, value in figures.items()}

    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    loss, figures = loss_of(1)
    error = 4 / 10 ** (figures["psnr"] / 10)
    assert figures["kl"] > 0
    assert loss == pytest.approx(error + 0.5 * figures["kl"], rel=1e-4)
    assert loss == loss_of(1)[0]
    assert loss != loss_of(2)[0]


ALONE = """
import torch
from diffusers import AutoencoderKL
autoencoder = AutoencoderKL.from_pretrained(sys.argv[1]).eval()
with torch.no_grad():
    made = autoencoder(torch.load("images.pt")).sample
config = autoencoder.config
torch.save({"made": made, "mean": list(config.latents_mean), "std": list(config.latents_std)}, "made.pt")
"""


def test_diffusers_alone_loads_it_and_reconstructs_alike(corpus: Path, tmp_path: Path) -> None:
    autoencoder = load_autoencoder(corpus / "autoencoder")
    _, images = load_images([corpus / "shards"], AUTOENCODER.image_size)
    torch.save(to_signed(images[:4]), tmp_path / "images.pt")
    run_without_project(ALONE, tmp_path, str(corpus / "autoencoder"))
    theirs = torch.load(tmp_path / "made.pt")
    with torch.no_grad():
        assert torch.equal(theirs["made"], autoencoder(to_signed(images[:4])).sample)
    mean, std = statistics(autoencoder)
    torch.testing.assert_close(torch.tensor(theirs["mean"]), mean.flatten())
    torch.testing.assert_close(torch.tensor(theirs["std"]), std.flatten())


def test_held_out_pictures_are_compared_by_signal_structure_and_distribution(corpus: Path) -> None:
    final = json.loads((corpus / "autoencoder" / "run.json").read_text())["final"]
    _, images = load_images([corpus / "shards"], AUTOENCODER.image_size)
    torch.manual_seed(0)
    untrained = Reconstruction(build_autoencoder(AUTOENCODER), AUTOENCODER, images).eval()
    with torch.no_grad():
        before = untrained.evaluate()
    assert 0 < 3 * before["val/ssim"] < final["val/ssim"] < 1
    assert 0 < final["val/reconstruction_fd"] < before["val/reconstruction_fd"]


def test_structural_similarity_is_the_formula_of_wang_and_others_with_mirrored_edges() -> None:
    """The edges are those of torchmetrics 1.9 (functional/image/ssim.py)."""
    rng = np.random.default_rng(0)
    first = rng.uniform(-1, 1, (2, 3, 20, 17))
    second = np.clip(first * 0.7 + rng.normal(0, 0.2, first.shape), -1, 1)
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(values: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(values, window, axis=2, mode="mirror"), window, axis=3, mode="mirror")

    mx, my = mean(first), mean(second)
    vx, vy, vxy = mean(first**2) - mx**2, mean(second**2) - my**2, mean(first * second) - mx * my
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    expected = ((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean((1, 2, 3))
    ours = structural_similarity(torch.from_numpy(first).float(), torch.from_numpy(second).float())
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    same = torch.rand(1, 3, 16, 16)
    assert structural_similarity(same, same).item() == pytest.approx(1)
    with pytest.raises(ValueError, match="at least 6 px"):
        structural_similarity(torch.zeros(1, 3, 8, 5), torch.zeros(1, 3, 8, 5))


@pytest.mark.parametrize("kind", ["random", "vgg16"])
def test_the_perceptual_distance_grows_with_blur_and_trains_no_network(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    features = random_pyramid() if kind == "random" else vgg16(vgg16_weights(tmp_path / "vgg16.pth"))
    images = torch.rand(2, 3, 32, 32).mul(2).sub(1).requires_grad_()
    blurred = [torch.nn.functional.avg_pool2d(images, size, 1, size // 2) for size in (1, 3, 5)]
    distances = [perceptual_distance(features, picture, images.detach()) for picture in blurred]
    assert distances[0].item() == pytest.approx(0, abs=1e-6)
    assert distances[0] < distances[1] < distances[2]
    distances[2].backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in features.parameters())


def test_the_random_pyramid_is_always_the_same_and_leaves_the_seed_of_others_alone() -> None:
    torch.manual_seed(1)
    first = random_pyramid().state_dict()
    torch.manual_seed(2)
    assert all(torch.equal(weight, first[name]) for name, weight in random_pyramid().state_dict().items())


def vgg16_weights(path: Path) -> Path:
    """Write random weights under the names of torchvision's VGG-16."""
    state, place, before = {}, 0, 3
    for width, depth in VGG16:
        for _ in range(depth):
            state[f"features.{place}.weight"] = torch.randn(width, before, 3, 3) * (2 / (9 * before)) ** 0.5
            state[f"features.{place}.bias"] = torch.zeros(width)
            place, before = place + 2, width
        place += 1
    torch.save({**state, "classifier.0.bias": torch.zeros(1)}, path)
    return path


def test_a_file_of_other_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not hold"):
        vgg16(tmp_path / "other.pth")
    with pytest.raises(ValidationError, match="file of weights"):
        PerceptualConfig(features="vgg16")


GAME = AUTOENCODER.model_copy(
    update={
        "perceptual": PerceptualConfig(weight=0.1),
        "adversarial": AdversarialConfig(start=2, width=8, layers=2),
        "precision": "fp32",
    }
)


def game() -> Reconstruction:
    torch.manual_seed(0)
    return Reconstruction(build_autoencoder(GAME), GAME, torch.zeros(0, 3, 16, 16, dtype=torch.uint8))


def test_the_discriminator_joins_in_at_its_step_and_each_network_gets_its_own_gradient() -> None:
    task, images = game(), torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        _, figures = task.loss({"images": images}, generator)
        assert "discriminator" not in figures and "perceptual" in figures
    task.loss({"images": images}, generator)[0].backward()
    assert task.discriminator is not None
    with_both = [weight.grad.clone() for weight in task.discriminator.parameters()]

    again = game()
    for _ in range(2):
        again.loss({"images": images}, torch.Generator().manual_seed(5))
    pixels = to_signed(images)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        made, _ = reconstruct(again.autoencoder, pixels, generator)
    assert again.discriminator is not None
    discriminator_loss(again.discriminator(pixels), again.discriminator(made.detach())).backward()
    for ours, alone in zip(with_both, again.discriminator.parameters(), strict=True):
        torch.testing.assert_close(ours, alone.grad)
    assert all(weight.grad is None for weight in again.autoencoder.parameters())


def test_the_adaptive_weight_makes_both_losses_pull_alike_at_the_last_layer() -> None:
    layer = torch.tensor([1.0, 2.0], requires_grad=True)
    weight = adaptive_weight((layer * torch.tensor([3.0, 4.0])).sum(), 100 * layer[0], layer)
    assert weight.item() == pytest.approx(0.05)
    assert adaptive_weight(layer.sum(), 0 * layer[0], layer).item() == 1e4


def test_hinge_loss_is_zero_beyond_the_margin_and_its_sum_at_chance() -> None:
    assert discriminator_loss(torch.tensor([2.0, 1.0]), torch.tensor([-1.0, -5.0])) == 0
    assert discriminator_loss(torch.zeros(3), torch.zeros(3)) == 1


def run_job(corpus: Path, output: Path, config: AutoencoderConfig) -> Path:
    output.mkdir()
    torch.manual_seed(config.seed)
    inputs = AutoencoderInputs(shards=[corpus / "shards"])
    train_autoencoder(Job("autoencoder", config, inputs, output), Reporter("autoencoder", output, {}))
    return output


def test_the_whole_game_is_played_by_the_one_loop_and_saved_as_diffusers_has_it(corpus: Path, tmp_path: Path) -> None:
    config = GAME.model_copy(update={"optimizer": OptimizerConfig(steps=6, batch_size=8, lr=1e-3, log_every=1)})
    output = run_job(corpus, tmp_path / "game", config)
    logged = read_table(output / "metrics.parquet", METRICS).to_pylist()
    assert min(row["step"] for row in logged if row["name"] == "discriminator") == 3
    assert {row["name"] for row in logged} >= {"perceptual", "adversarial", "adaptive_weight", "val/ssim"}
    assert AutoencoderKL.from_pretrained(output).config.latents_mean is not None


def test_a_pretrained_autoencoder_is_measured_on_these_images(corpus: Path, tmp_path: Path) -> None:
    theirs = build_autoencoder(AUTOENCODER)
    theirs.save_pretrained(tmp_path / "pipeline" / "vae")
    untrained = OptimizerConfig(steps=0, batch_size=1, lr=1)
    config = AutoencoderConfig(
        image_size=24,
        pretrained=PretrainedAutoencoderConfig(model=str(tmp_path / "pipeline"), subfolder="vae"),
        optimizer=untrained,
    )
    ours = load_autoencoder(run_job(corpus, tmp_path / "out", config))
    assert all(torch.equal(weight, theirs.state_dict()[name]) for name, weight in ours.state_dict().items())
    assert ours.config.sample_size == 24
    _, images = load_images([corpus / "shards"], 24)
    assert encode(ours, to_signed(images)).std((0, 2, 3)).sub(1).abs().max() < 0.15
    with pytest.raises(ValidationError, match="latent_channels: these are those of the checkpoint"):
        AutoencoderConfig(pretrained=PretrainedAutoencoderConfig(model="x"), latent_channels=4)
