"""The autoencoder: what it learns, that diffusers loads it, and the latents computed with it."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from t2i_assets.corpus.schemas import LATENTS
from t2i_assets.corpus.tables import read_table
from tests.unit.latent_corpus import AUTOENCODER, write_latent_corpus
from training.data import load_images, to_signed
from training.latent_sets import read_latents
from training.models.autoencoder import (
    AutoencoderMismatchError,
    autoencoder_loss,
    build_autoencoder,
    decode,
    encode,
    load_autoencoder,
    peak_signal_to_noise,
)


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
    torch.manual_seed(0)
    autoencoder, images = build_autoencoder(AUTOENCODER), torch.rand(2, 3, 16, 16)
    loss, error, divergence = autoencoder_loss(autoencoder, images, 0.5, torch.Generator().manual_seed(1))
    again, _, _ = autoencoder_loss(autoencoder, images, 0.5, torch.Generator().manual_seed(1))
    other, _, _ = autoencoder_loss(autoencoder, images, 0.5, torch.Generator().manual_seed(2))
    torch.testing.assert_close(loss, error + 0.5 * divergence)
    assert divergence > 0
    assert loss == again
    assert loss != other
