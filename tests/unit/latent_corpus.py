"""A small corpus with a CLIP that knows nothing, a short trained autoencoder and the latents: what diffusion needs."""

from pathlib import Path

import torch

from tests.unit.colored_corpus import write_colored_corpus
from training.autoencoder import AutoencoderInputs
from training.autoencoder import main as train_autoencoder
from training.config import (
    AutoencoderConfig,
    ClipConfig,
    DiffusionConfig,
    LatentsConfig,
    OptimizerConfig,
    SamplerConfig,
)
from training.diffusion import DiffusionInputs
from training.diffusion import main as train_diffusion
from training.job import Job
from training.latents import LatentsInputs
from training.latents import main as compute_latents
from training.models.clip import build_clip, clip_config, save_clip
from training.report import Reporter
from training.tokenizer import load as load_tokenizer

CLIP = ClipConfig(
    image_size=16, embed_dim=16, vision_layers=1, vision_width=32, patch_size=8, context_length=8, text_width=32,
    text_layers=1, head_width=16,
)  # fmt: skip
AUTOENCODER = AutoencoderConfig(
    image_size=16,
    widths=(8, 16, 16),
    latent_channels=4,
    held_out=0.2,
    optimizer=OptimizerConfig(steps=150, batch_size=16, lr=4e-3, warmup=5),
)
DIFFUSION = DiffusionConfig(
    widths=(16, 16),
    heads=2,
    norm_groups=4,
    held_out=0.2,
    sampler=SamplerConfig(steps=3),
    optimizer=OptimizerConfig(steps=40, batch_size=16, lr=3e-3, warmup=5, ema_decay=0.9),
)


def write_latent_corpus(directory: Path, count: int = 60) -> None:
    """Write what ``write_colored_corpus`` does, and ``clip/``, ``autoencoder/`` and ``latents/``."""
    write_colored_corpus(directory, count)
    for name in ("clip", "autoencoder", "latents"):
        (directory / name).mkdir()
    torch.manual_seed(0)
    tokenizer = load_tokenizer(directory / "tokenizer", CLIP.context_length)
    model_config = clip_config(CLIP, tokenizer.vocab_size)
    save_clip(build_clip(model_config), model_config, tokenizer, directory / "clip")

    output = directory / "autoencoder"
    reporter = Reporter("autoencoder", output, {})
    train_autoencoder(
        Job("autoencoder", AUTOENCODER, AutoencoderInputs(shards=[directory / "shards"]), output), reporter
    )
    inputs = LatentsInputs(autoencoder=output, shards=directory / "shards")
    output = directory / "latents"
    compute_latents(Job("latents", LatentsConfig(batch_size=25), inputs, output), Reporter("latents", output, {}))


def write_diffusion(corpus: Path, output: Path, config: DiffusionConfig = DIFFUSION) -> None:
    """Train latent diffusion on the corpus for a few steps."""
    output.mkdir()
    torch.manual_seed(0)
    inputs = DiffusionInputs(
        blend=corpus / "blend",
        clip=corpus / "clip",
        autoencoder=corpus / "autoencoder",
        latents=[corpus / "latents"],
    )
    train_diffusion(Job("latent_diffusion", config, inputs, output), Reporter("latent_diffusion", output, {}))
