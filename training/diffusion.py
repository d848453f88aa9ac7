"""Job: train latent diffusion on a blend's captions, from latents and text states that are computed once."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from t2i_assets.corpus.schemas import LATENTS
from t2i_assets.corpus.tables import read_table
from training.config import DiffusionConfig
from training.data import BlendTexts, is_held_out, read_blend, realised_shares
from training.job import Job, JobInputs, run
from training.loop import Batch, Figures, Task, train
from training.models.autoencoder import decode, load_autoencoder
from training.models.clip import load_clip
from training.models.diffusion import (
    Condition,
    TextEncoder,
    build_scheduler,
    build_unet,
    diffusion_loss,
    loss_by_timestep,
    save_diffusion,
)
from training.models.pictures import save_grid
from training.models.sampling import noise_for, sample
from training.report import Reporter

MOST_HELD_OUT = 256
SHOWN = 32
LOSS_SEED = 0  # of the noise and timesteps with which held-out loss is measured


class DiffusionInputs(JobInputs):
    blend: Path
    clip: Path
    autoencoder: Path
    latents: list[Path]


class LatentsMismatchError(ValueError):
    """Latents of several snapshots, or their blend, do not fit together; the message names the files."""


def main(job: Job[DiffusionConfig, DiffusionInputs], reporter: Reporter) -> None:
    """Train latent diffusion."""
    config = job.config
    clip, tokenizer = load_clip(job.inputs.clip)
    text_encoder = TextEncoder(clip, tokenizer)
    blend = read_blend(job.inputs.blend, "diffusion")
    texts = BlendTexts(blend)
    keys, latents = read_latents(job.inputs.latents)
    used = [number for number, key in enumerate(keys) if key in blend]
    if not used:
        raise LatentsMismatchError(f"no sample of {job.inputs.blend} has a latent in {job.inputs.latents[0]}")
    held_out = [number for number in used if is_held_out(keys[number], config.held_out)][:MOST_HELD_OUT]
    rest = [number for number in used if not is_held_out(keys[number], config.held_out)]

    conditions, unconditional = text_encoder(texts.texts), text_encoder([""])
    data = Captioned([keys[number] for number in rest], latents[rest], texts, conditions, config.seed)
    captions = texts.likeliest([keys[number] for number in held_out]) if held_out else torch.zeros(0, dtype=torch.long)
    task = Denoising(
        build_unet(config, tuple(latents.shape[1:]), text_encoder.width, text_encoder.embed_dim),
        build_scheduler(config.timesteps),
        unconditional,
        config,
        (latents[held_out], conditions[captions]),
    )
    final = train(task, data, config.optimizer, job.output, reporter, config.seed, config.precision)
    save_diffusion(task.unet, task.scheduler, job.inputs.autoencoder, job.inputs.clip, job.output)

    prompts = [texts.texts[number] for number in captions[:SHOWN].tolist()]
    if prompts:
        noise = noise_for(prompts, config.seed, tuple(latents.shape[1:]))
        drawn = sample(task.unet, task.scheduler, noise, text_encoder(prompts), unconditional, config.sampler)
        save_grid(decode(load_autoencoder(job.inputs.autoencoder), drawn), job.output / "samples.png", columns=8)
        (job.output / "samples.txt").write_text("\n".join(prompts) + "\n")
        reporter.image("samples", job.output / "samples.png")
    shares = realised_shares(data, config.optimizer)
    reporter.log(config.optimizer.steps, config.optimizer.steps, **shares)
    reporter.finish(samples=len(data), held_out=len(held_out), texts=len(texts.texts), **final, **shares)


class Denoising(Task):
    """The U-Net with its loss; its condition is dropped at times, so that it can be guided."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        scheduler: DDIMScheduler,
        unconditional: Condition,
        config: DiffusionConfig,
        held_out: tuple[Tensor, Condition],
    ) -> None:
        super().__init__()
        self.unet = unet
        self.scheduler = scheduler
        self.unconditional = unconditional
        self.config = config
        self.held_out = held_out

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        latents = batch["latents"]
        dropped = torch.rand(len(latents), generator=generator, device=latents.device) < self.config.caption_dropout
        nothing = self.unconditional.to(latents.device)
        condition = Condition(
            torch.where(dropped[:, None, None], nothing.states, batch["states"]),
            torch.where(dropped[:, None], nothing.embeddings, batch["embeddings"]),
        )
        loss, error, timesteps = diffusion_loss(self.unet, self.scheduler, latents, condition, self.config, generator)
        return loss, loss_by_timestep(error, timesteps, self.config.timesteps)

    def evaluate(self) -> Figures:
        latents, condition = self.held_out
        if not len(latents):
            return {}
        generator = torch.Generator().manual_seed(LOSS_SEED)
        _, error, timesteps = diffusion_loss(self.unet, self.scheduler, latents, condition, self.config, generator)
        bins = loss_by_timestep(error, timesteps, self.config.timesteps)
        return {"val/loss": error.mean(), **{f"val/{name}": value for name, value in bins.items()}}


class Captioned:
    """Latents, each with the condition of the caption that the blend draws for it in the epoch."""

    def __init__(self, keys: list[str], latents: Tensor, texts: BlendTexts, conditions: Condition, seed: int) -> None:
        self.keys, self.latents, self.texts, self.conditions, self.seed = keys, latents, texts, conditions, seed

    def __len__(self) -> int:
        return len(self.keys)

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch:
        keys = [self.keys[index] for index in indices]
        drawn = self.conditions[self.texts.draw(self.seed, epochs.tolist(), keys)]
        latents = self.latents[indices]
        return {"keys": keys, "latents": latents, "states": drawn.states, "embeddings": drawn.embeddings}


def read_latents(directories: Sequence[Path]) -> tuple[list[str], Tensor]:
    """Return keys and latents [N, C, H, W] of LATENTS directories; a key found twice is read once.

    Raises LatentsMismatchError where their shapes differ.
    """
    keys: list[str] = []
    rows: list[Tensor] = []
    shapes: dict[Path, tuple[int, int, int]] = {}
    seen: set[str] = set()
    for directory in directories:
        shape = json.loads((directory / "latents.json").read_text())
        shapes[directory] = (shape["channels"], shape["height"], shape["width"])
        if shapes[directory] != shapes[directories[0]]:
            raise LatentsMismatchError(
                f"{directory / 'latents.json'} says {shapes[directory]}, "
                f"but {directories[0] / 'latents.json'} says {shapes[directories[0]]}: encode both with one autoencoder"
            )
        for file in sorted(directory.glob("[0-9]*.parquet")):
            table = read_table(file, LATENTS)
            values = table["latent"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            values = torch.from_numpy(values.copy()).view(-1, *shapes[directory])
            names = table["key"].to_pylist()
            fresh = [number for number, name in enumerate(names) if name not in seen]
            seen.update(names)
            keys += [names[number] for number in fresh]
            rows.append(values[fresh])
    if not rows:
        raise LatentsMismatchError(f"there are no latents in {', '.join(map(str, directories)) or 'an empty list'}")
    return keys, torch.cat(rows)


if __name__ == "__main__":
    run(main, DiffusionConfig, DiffusionInputs)
