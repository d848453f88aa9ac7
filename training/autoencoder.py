"""Job: train the autoencoder on the images of shards."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from evaluation.distances import frechet_distance_of
from training.batches import Batch
from training.config import AutoencoderConfig
from training.data import is_held_out, load_images, to_signed
from training.device import device_for
from training.job import Job, JobInputs, run
from training.loop import train
from training.models.autoencoder import (
    build_autoencoder,
    open_pretrained,
    posterior_means,
    reconstruct,
    store_statistics,
    to_bytes,
)
from training.models.image_quality import SSIM_SHORTEST, peak_signal_to_noise, structural_similarity
from training.models.patch_discriminator import (
    PatchDiscriminator,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
)
from training.models.perceptual import perceptual_distance, random_pyramid, vgg16
from training.models.pictures import save_grid
from training.report import Reporter
from training.task import Figures, Task

MOST_HELD_OUT = 256
MOST_MEASURED = 1000  # images whose latents give the statistics
PER_PASS = 64  # images evaluated at a time
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

    if config.pretrained is None:
        autoencoder = build_autoencoder(config)
    else:
        autoencoder = open_pretrained(config.pretrained, config.image_size)
    task = Reconstruction(autoencoder, config, shown)
    task.to(device_for(config.device))
    final = train(task, data, config.optimizer, job.output, reporter, config.seed, config.precision)
    store_statistics(autoencoder, task.latents(data.images[:MOST_MEASURED]))
    autoencoder.save_pretrained(job.output)
    if len(shown):
        pairs = torch.stack([shown[:SHOWN], task.reconstruct(shown[:SHOWN])], dim=1).flatten(0, 1)
        save_grid(pairs, job.output / "reconstructions.png", columns=12)
        reporter.image("reconstructions", job.output / "reconstructions.png")
    reporter.finish(samples=len(data), held_out=len(shown), **final)


class Reconstruction(Task):
    """The autoencoder with its loss, evaluated by reconstructions of held-out images from posterior means.

    Squared error learns colours first; a perceptual term and a discriminator, where they are asked for, pay once these
    are right. Each network gets the gradient of its own loss alone, so both are learned in one step of one optimizer.
    """

    def __init__(self, autoencoder: AutoencoderKL, config: AutoencoderConfig, held_out: Tensor) -> None:
        super().__init__()
        self.autoencoder, self.config, self.held_out = autoencoder, config, held_out
        self.pyramid = random_pyramid()
        self.vgg16 = self.discriminator = None
        if config.perceptual is not None and config.perceptual.vgg16 is not None:
            self.vgg16 = vgg16(config.perceptual.vgg16)
        if config.adversarial is not None:
            self.discriminator = PatchDiscriminator(config.adversarial.width, config.adversarial.layers)
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))  # a checkpoint keeps it

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        images = to_signed(batch["images"])
        reconstruction, divergence = reconstruct(self.autoencoder, images, generator)
        squared_error = (reconstruction - images).square().mean()
        figures: Figures = {"psnr": peak_signal_to_noise(squared_error.detach()), "kl": divergence.detach()}
        distance = squared_error
        if self.config.perceptual is not None:
            perceptual = perceptual_distance(self.vgg16 or self.pyramid, reconstruction, images)
            distance = distance + self.config.perceptual.weight * perceptual
            figures["perceptual"] = perceptual.detach()
        loss = distance + self.config.kl_weight * divergence
        if self.config.adversarial is not None:
            self.batches += 1
            if self.batches > self.config.adversarial.start * self.config.optimizer.accumulate:
                adversarial, of_game = self._adversarial(images, reconstruction, distance)
                loss, figures = loss + adversarial, figures | of_game
        return loss, figures

    def _adversarial(self, images: Tensor, reconstruction: Tensor, distance: Tensor) -> tuple[Tensor, Figures]:
        """Return what the autoencoder and what the discriminator lose at each other, added up."""
        assert self.discriminator is not None and self.config.adversarial is not None
        looks = generator_loss(self.discriminator.held_constant(reconstruction).float())
        balance = adaptive_weight(distance, looks, self.autoencoder.decoder.conv_out.weight)
        real, fake = (self.discriminator(shown).float() for shown in (images, reconstruction.detach()))
        hinge = discriminator_loss(real, fake)
        figures: Figures = {"adversarial": looks.detach(), "adaptive_weight": balance, "discriminator": hinge.detach()}
        return self.config.adversarial.weight * balance * looks + hinge, figures

    def checkpoint_gradients(self) -> None:
        self.autoencoder.enable_gradient_checkpointing()

    def evaluate(self) -> Figures:
        if not len(self.held_out):
            return {}
        errors, likeness, features = [], [], []
        for part in self.held_out.split(PER_PASS):
            pair = [to_signed(images.to(self.device)) for images in (part, self.reconstruct(part))]
            errors.append((pair[0] - pair[1]).square().mean(dim=(1, 2, 3)))
            if self.config.image_size >= SSIM_SHORTEST:
                likeness.append(structural_similarity(*pair))
            features.append(torch.stack([self.pyramid.pooled(images) for images in pair]).cpu())
        figures: Figures = {"val/psnr": peak_signal_to_noise(torch.cat(errors).mean())}
        if likeness:
            figures["val/ssim"] = torch.cat(likeness).mean()
        real, made = torch.cat(features, dim=1).numpy()
        if len(real) > 1:
            figures["val/reconstruction_fd"] = frechet_distance_of(made, real)
        return figures

    @torch.no_grad()
    def reconstruct(self, images: Tensor) -> Tensor:
        """Return uint8 reconstructions of uint8 images, [B, 3, S, S]."""
        decoded = [
            to_bytes(self.autoencoder.decode(means.to(self.device)).sample).cpu()
            for means in self.latents(images).split(PER_PASS)
        ]
        return torch.cat(decoded)

    def latents(self, images: Tensor) -> Tensor:
        """Return the posterior means [B, C, h, w] of uint8 images."""
        parts = [to_signed(part.to(self.device)) for part in images.split(PER_PASS)]
        return torch.cat([posterior_means(self.autoencoder, part).cpu() for part in parts])


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
