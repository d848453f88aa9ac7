"""Job: train latent diffusion on a blend's captions, from latents and text states that are computed once."""

import shutil
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from pydantic import Field
from torch import Tensor

from training.batches import Batch
from training.captioned import Bucketed, Captioned, aligned, dropped_from
from training.config import DiffusionConfig
from training.data import BlendTexts, is_held_out, read_blend
from training.device import device_for, moved
from training.embeddings import encoder_digest, read_image_embeddings
from training.job import Job, JobInputs, run
from training.latent_sets import LatentSet, LatentsMismatchError, read_latents
from training.loop import train
from training.models.diffusion import diffusion_loss, loss_by_timestep, open_unet
from training.models.objectives import Scheduler, build_scheduler
from training.models.saved_diffusion import save_diffusion
from training.report import Reporter
from training.sample_grid import PICTURES, SampleGrid
from training.task import Figures, Task
from training.text_encoders.backends import open_text_encoder
from training.text_encoders.protocol import Condition
from training.text_encoders.states import conditions_of

MOST_HELD_OUT = 256
SHOWN = 32
LOSS_SEED = 0  # of the noise and timesteps with which held-out loss is measured
SCRATCH = "text_states"  # directory in the output, while the job runs


class DiffusionInputs(JobInputs):
    blend: Path
    clip: Path
    autoencoder: Path
    latents: list[Path]
    text_states: list[Path] = Field(default_factory=list)
    image_embeddings: list[Path] = Field(default_factory=list)


def main(job: Job[DiffusionConfig, DiffusionInputs], reporter: Reporter) -> None:
    """Train latent diffusion."""
    config, inputs = job.config, job.inputs
    text_encoder = open_text_encoder(config.text_encoder, inputs.clip)
    blend = read_blend(inputs.blend, "diffusion")
    texts = BlendTexts(blend)
    latents = read_latents(inputs.latents, inputs.autoencoder)
    used = [number for number, key in enumerate(latents.keys) if key in blend]
    if not used:
        raise LatentsMismatchError(f"no sample of {inputs.blend} has a latent in {inputs.latents[0]}")
    images = read_images(config, inputs, latents)
    image_dim = 0 if images is None else images.shape[1]
    scratch = job.output / SCRATCH
    conditions = conditions_of(texts.texts, text_encoder, config.text_encoder.memory_gb, inputs.text_states, scratch)
    unconditional = text_encoder([""]).with_images(torch.zeros(1, image_dim))

    def part(held_out: bool) -> Captioned:
        kind = Captioned if len(latents.buckets) == 1 else Bucketed
        members = [number for number in used if is_held_out(latents.keys[number], config.held_out) == held_out]
        return kind(latents, members, texts, conditions, images, config.seed)

    data, aside = part(False), part(True)
    held_out = aside.likeliest(MOST_HELD_OUT)
    grid = grid_of(held_out[0], unconditional, config, inputs.autoencoder, job.output) if held_out else None
    task = Denoising(
        open_unet(config, latents.shape, text_encoder, image_dim),
        build_scheduler(config),
        unconditional,
        config,
        [(values, condition) for values, condition, _ in held_out],
        grid,
    ).to(device_for(config.device))
    final = train(task, data, config.optimizer, job.output, reporter, config.seed, config.precision)
    space = encoder_digest(inputs.clip) if config.image_embedding else None
    save_diffusion(task.unet, task.scheduler, inputs.autoencoder, text_encoder, job.output, space)
    shutil.rmtree(scratch, ignore_errors=True)
    if grid is not None:
        reporter.image("samples", job.output / PICTURES)
    shares = data.shares(config.optimizer)
    reporter.log(config.optimizer.steps, config.optimizer.steps, **shares)
    counted = min(len(aside), MOST_HELD_OUT)
    reporter.finish(samples=len(data), held_out=counted, texts=len(texts.texts), **final, **shares)


def read_images(config: DiffusionConfig, inputs: DiffusionInputs, latents: LatentSet) -> Tensor | None:
    """Return the image embedding of every sample, where the U-Net is told them.

    Raises ValueError where they are wanted and not given, or given and not wanted.
    """
    if config.image_embedding != bool(inputs.image_embeddings):
        given = "are given" if inputs.image_embeddings else "are not given"
        raise ValueError(f"image_embedding is {config.image_embedding}, but the inputs image_embeddings {given}")
    if not config.image_embedding:
        return None
    return aligned(latents, *read_image_embeddings(inputs.image_embeddings, inputs.clip))


class Denoising(Task):
    """The U-Net with its loss; its condition is dropped at times, so that it can be guided."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        scheduler: Scheduler,
        unconditional: Condition,
        config: DiffusionConfig,
        held_out: list[tuple[Tensor, Condition]],
        grid: SampleGrid | None = None,
    ) -> None:
        super().__init__()
        self.unet = unet
        self.scheduler = scheduler
        self.unconditional = unconditional
        self.config = config
        self.held_out = held_out
        self.grid = grid

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        latents = batch["latents"]
        device = latents.device
        texts = torch.rand(len(latents), generator=generator, device=device) < self.config.caption_dropout
        images = torch.zeros_like(texts)
        if self.config.image_embedding:
            images = torch.rand(len(latents), generator=generator, device=device) < self.config.image_embedding_dropout
        condition = dropped_from(batch["condition"], moved(self.unconditional, device), texts, images)
        loss, error, timesteps = diffusion_loss(self.unet, self.scheduler, latents, condition, self.config, generator)
        return loss, loss_by_timestep(error, timesteps, self.config.timesteps)

    def evaluate(self) -> Figures:
        if not self.held_out:
            return {}
        generator = torch.Generator(self.device).manual_seed(LOSS_SEED)
        parts = []
        for latents, condition in moved(self.held_out, self.device):
            _, *figures = diffusion_loss(self.unet, self.scheduler, latents, condition, self.config, generator)
            parts.append(figures)
        error, timesteps = (torch.cat(values) for values in zip(*parts, strict=True))
        bins = loss_by_timestep(error, timesteps, self.config.timesteps)
        if self.grid is not None:
            self.grid.draw(self.unet, self.scheduler)
        return {"val/loss": error.mean(), **{f"val/{name}": value for name, value in bins.items()}}

    def checkpoint_gradients(self) -> None:
        self.unet.enable_gradient_checkpointing()


def grid_of(
    held_out: tuple[Tensor, Condition, list[str]],
    unconditional: Condition,
    config: DiffusionConfig,
    autoencoder: Path,
    output: Path,
) -> SampleGrid:
    """Return the grid of the first held-out samples of a shape: latents [N, C, H, W], condition and captions."""
    latents, condition, captions = held_out
    channels, height, width = latents.shape[1:]
    return SampleGrid(
        captions[:SHOWN],
        condition[:SHOWN],
        unconditional,
        (channels, height, width),
        config.sampler,
        config.seed,
        autoencoder,
        output,
    )


if __name__ == "__main__":
    run(main, DiffusionConfig, DiffusionInputs)
