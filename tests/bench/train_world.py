"""What the sides of the training benchmark share: the pictures, the frozen models, and what a turn is."""

import contextlib
import io
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from t2i_assets.config import Settings
from t2i_assets.synthweb.draw import draw
from t2i_assets.synthweb.language import descriptive
from t2i_assets.synthweb.scenes import sample_scene
from training.batches import Data
from training.config import OptimizerConfig
from training.data import BlendCaption, BlendTexts, to_signed
from training.loop import train
from training.models.autoencoder import build_autoencoder, posterior_means, store_statistics
from training.models.clip import build_clip, clip_config
from training.report import Reporter
from training.task import Task
from training.text_encoders.open_clip import OpenClipTextEncoder
from training.tokenizer import learn_merges, load, write_merges

MEMORY = Path("/dev/shm")
"""Where files lie in memory: how long a disk takes for a checkpoint differs from turn to turn by several steps."""


@dataclass(frozen=True)
class World:
    """Drawn scenes with their captions, and the frozen models that see them."""

    keys: list[str]
    jpegs: list[bytes]
    images: Tensor
    captions: list[str]
    texts: BlendTexts
    tokenizer: Any
    autoencoder: AutoencoderKL
    text_encoder: OpenClipTextEncoder


@dataclass(frozen=True)
class Turn:
    """What a side does in a round, its model made before, and how many samples it trains on."""

    work: Callable[[], None]
    samples: int


Side = Callable[[int | None], Turn]
"""Prepares a turn of so many steps; None takes as many as the command line asks for."""


@dataclass(frozen=True)
class Budget:
    """Optimizer steps of a turn, and samples of a step."""

    steps: int
    batch_size: int


def draw_world(count: int, settings: Settings, scratch: Path, device: torch.device) -> World:
    """Return ``count`` scenes, and an autoencoder and a CLIP with random weights at the sizes of ``settings``."""
    size = settings.autoencoder.image_size
    rng = random.Random(0)
    scenes = [sample_scene(rng) for _ in range(count)]
    captions = [descriptive(scene, rng) for scene in scenes]
    pictures = [draw(scene, size).convert("RGB") for scene in scenes]
    write_merges(scratch, learn_merges(captions, 160, 1))
    config = settings.clip
    tokenizer = load(scratch, config.context_length)
    torch.manual_seed(0)
    clip = build_clip(clip_config(config, tokenizer.vocab_size)).eval().requires_grad_(False)
    autoencoder = build_autoencoder(settings.autoencoder).eval().requires_grad_(False)
    images = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2).contiguous()
    store_statistics(autoencoder, posterior_means(autoencoder, to_signed(images[:64])))
    keys = [f"{number:032x}" for number in range(count)]
    texts = BlendTexts({k: [BlendCaption("", "human", c, 1.0)] for k, c in zip(keys, captions, strict=True)})
    encoder = OpenClipTextEncoder(clip.to(device), tokenizer)
    jpegs = [_jpeg(picture) for picture in pictures]
    return World(keys, jpegs, images, captions, texts, tokenizer, autoencoder.to(device), encoder)


def train_ours(task: Task, data: Data, optimizer: OptimizerConfig, precision: str) -> None:
    """Train by this project's loop, with a checkpoint at the end, in memory; what it prints goes nowhere."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as output,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        train(task, data, optimizer, Path(output), Reporter("bench", Path(output), {}), seed=0, precision=precision)
    finish(task.device)


def finish(device: torch.device) -> None:
    """Wait for what was asked of the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def shuffled(count: int, wanted: int) -> np.ndarray:
    """Return ``wanted`` sample numbers, a permutation of all after another."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.permutation(count) for _ in range(-(-wanted // count))])[:wanted]


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92)
    return file.getvalue()
