"""Job: train the autoencoder on the images of shards."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from training.config import AutoencoderConfig
from training.data import is_held_out, load_images, to_signed
from training.job import Job, JobInputs, run
from training.loop import Batch, Figures, Task, train
from training.models.autoencoder import (
    autoencoder_loss,
    build_autoencoder,
    peak_signal_to_noise,
    posterior_means,
    store_statistics,
    to_bytes,
)
from training.models.pictures import save_grid
from training.report import Reporter

MOST_HELD_OUT = 256
MOST_MEASURED = 1000  # images whose latents give the statistics
SHOWN = 24


class AutoencoderInputs(JobInputs):
    shards: list[Path]


def main(job: Job[AutoencoderConfig, AutoencoderInputs], reporter: Reporter) -> None:
    """Train the autoencoder and write it as diffusers loads it."""
    config = job.config
    keys, images = load_images(job.inputs.shards, config.image_size)
    held_out = [number for number, key in enumerate(keys) if is_held_out(key, config.held_out)]
    rest = sorted(set(range(len(keys))) - set(held_out))
    data = Images([keys[number] for number in rest], images[rest])
    shown = images[held_out[:MOST_HELD_OUT]]

    task = Reconstruction(build_autoencoder(config), config.kl_weight, shown)
    final = train(task, data, config.optimizer, job.output, reporter, config.seed, config.precision)
    store_statistics(task.autoencoder, posterior_means(task.autoencoder, to_signed(data.images[:MOST_MEASURED])))
    task.autoencoder.save_pretrained(job.output)
    if len(shown):
        pairs = torch.stack([shown[:SHOWN], task.reconstruct(shown[:SHOWN])], dim=1).flatten(0, 1)
        save_grid(pairs, job.output / "reconstructions.png", columns=12)
        reporter.image("reconstructions", job.output / "reconstructions.png")
    reporter.finish(samples=len(data), held_out=len(shown), **final)


class Reconstruction(Task):
    """The autoencoder with its loss, evaluated by the error of reconstructions from posterior means."""

    def __init__(self, autoencoder: AutoencoderKL, kl_weight: float, held_out: Tensor) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.kl_weight = kl_weight
        self.held_out = held_out

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        images = to_signed(batch["images"])
        loss, squared_error, divergence = autoencoder_loss(self.autoencoder, images, self.kl_weight, generator)
        return loss, {"psnr": peak_signal_to_noise(squared_error.detach()), "kl": divergence.detach()}

    def evaluate(self) -> Figures:
        if not len(self.held_out):
            return {}
        error = (to_signed(self.reconstruct(self.held_out)) - to_signed(self.held_out)).square().mean()
        return {"val/psnr": peak_signal_to_noise(error)}

    @torch.no_grad()
    def reconstruct(self, images: Tensor) -> Tensor:
        """Return uint8 reconstructions of uint8 images, [B, 3, S, S]."""
        return to_bytes(self.autoencoder.decode(posterior_means(self.autoencoder, to_signed(images))).sample)


class Images:
    """Images alone."""

    def __init__(self, keys: list[str], images: Tensor) -> None:
        self.keys, self.images = keys, images

    def __len__(self) -> int:
        return len(self.keys)

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch:
        return {"keys": [self.keys[index] for index in indices], "images": self.images[indices]}


if __name__ == "__main__":
    run(main, AutoencoderConfig, AutoencoderInputs)
