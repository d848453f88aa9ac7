"""Job: draw an image for every prompt and seed.

The starting noise of an image follows from its scene and seed alone, so two models, two styles of one scene and any
batch size start alike, and the bytes of every file are the same whenever the job runs.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from t2i_assets.corpus.schemas import GENERATED, PROMPTS
from t2i_assets.corpus.shards import TarWriter
from t2i_assets.corpus.tables import read_rows, write_table
from training.config import GenerateConfig
from training.device import device_for, moved
from training.image_conditions import ImageEmbeddings, image_embeddings_for
from training.job import Job, JobInputs, run
from training.models.autoencoder import decode
from training.models.pictures import save_grid
from training.models.sampling import generator_for, sample, starting_noise
from training.models.saved_diffusion import LatentDiffusion, load_diffusion
from training.report import Reporter

COLUMNS, ROWS = 8, 8


class GenerateInputs(JobInputs):
    diffusion: Path
    prompts: Path
    clip: Path | None = None
    prior: Path | None = None


def main(job: Job[GenerateConfig, GenerateInputs], reporter: Reporter) -> None:
    """Draw every prompt; images appear in one tar, with a table that knows where each lies."""
    config = job.config
    model = load_diffusion(job.inputs.diffusion, device_for(config.device))
    embeddings = image_embeddings_for(config.condition, model, job.inputs.clip, job.inputs.prior, config.prior)
    prompts = read_rows(job.inputs.prompts, PROMPTS)
    asked = [(prompt, seed) for prompt in prompts for seed in config.seeds]
    texts = config.condition == "caption" or config.caption_beside
    named = [Asked(prompt["prompt"], prompt["scene_id"], seed) for prompt, seed in asked]
    images = draw_all(model, named, config, embeddings, texts, reporter)

    rows = []
    for stale in job.output.glob(".*.tmp"):  # of a try that was killed while it wrote
        stale.unlink()
    tar = TarWriter(job.output / "00000.tar")
    for (prompt, seed), image in zip(asked, images, strict=True):
        key, data = f"{prompt['prompt_id']}-{seed}", as_png(image)
        offset = tar.add(f"{key}.png", data)
        rows.append(
            {
                "key": key,
                "prompt_id": prompt["prompt_id"],
                "seed": seed,
                "model": config.model_digest,
                "image_offset": offset,
                "image_bytes": len(data),
            }
        )
    tar.close()
    write_table(job.output / "00000.parquet", rows, GENERATED)
    spread = np.linspace(0, len(asked) - 1, min(len(asked), COLUMNS * ROWS)).round().astype(int)
    save_grid(images[spread], job.output / "grid.png", COLUMNS)
    (job.output / "grid.json").write_text(json.dumps([asked[n][0]["prompt"] for n in spread], indent=1))
    reporter.image("grid", job.output / "grid.png")
    reporter.finish(prompts=len(prompts), images=len(rows))


@dataclass(frozen=True)
class Asked:
    """An image to draw: its prompt, and the name and seed that its noise follows from."""

    prompt: str
    name: str
    seed: int


def draw_all(
    model: LatentDiffusion,
    asked: list[Asked],
    config: GenerateConfig,
    embeddings: ImageEmbeddings,
    texts: bool,
    reporter: Reporter,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Return uint8 images [N, 3, H, W] in their order; ``texts`` says whether the model is told the prompts' words.

    Raises ValueError where the model cannot draw images of ``size``, height and width in pixels.
    """
    shape = model.latent_shape if size is None else model.latents_of(size)
    device = model.unet.device
    nothing = moved(model.text_encoder([""]).with_images(torch.zeros(1, model.image_dim)), device)
    images = []
    for start in range(0, len(asked), config.batch_size):
        batch = asked[start : start + config.batch_size]
        prompts = [one.prompt for one in batch]
        generators = [generator_for(one.name, one.seed) for one in batch]
        noise = starting_noise(generators, shape).to(device)
        told = model.text_encoder(prompts if texts else [""] * len(batch))
        of_prior = [generator_for(f"prior/{one.name}", one.seed) for one in batch]
        condition = moved(told.with_images(embeddings(prompts, of_prior)), device)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            latents = sample(model.unet, model.scheduler, noise, condition, nothing, config.sampler, generators)
        images.append(decode(model.autoencoder, latents).cpu())
        reporter.log(start + len(batch), len(asked))
    return torch.cat(images)


def as_png(image: Tensor) -> bytes:
    """Return a uint8 image [3, H, W] as PNG."""
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    run(main, GenerateConfig, GenerateInputs)
