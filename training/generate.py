"""Job: draw an image for every prompt and seed.

The starting noise of an image follows from its scene and seed alone, so two models, two styles of one scene and any
batch size start alike. What an earlier output holds of the same prompt and seed is taken over byte for byte, the rest
is drawn. A run that takes over the same writes the same bytes; one that takes over more or less draws in other batches,
which round otherwise, so pixels may differ: by one of 256 steps in fp32, in bf16 perhaps by more.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field
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
    """``earlier`` are outputs of this job by the same model, conditions and settings, for other prompts or seeds."""

    diffusion: Path
    prompts: Path
    clip: Path | None = None
    prior: Path | None = None
    earlier: list[Path] = Field(default_factory=list)


def main(job: Job[GenerateConfig, GenerateInputs], reporter: Reporter) -> None:
    """Draw every prompt; images appear in one tar, with a table that knows where each lies."""
    prompts = read_rows(job.inputs.prompts, PROMPTS)
    asked = [(prompt, seed) for prompt in prompts for seed in job.config.seeds]
    earlier = drawn_before(job.inputs.earlier)
    missing = [(prompt, seed) for prompt, seed in asked if (prompt["prompt_id"], seed) not in earlier]
    drawn = iter(_draw(job, missing, reporter) if missing else ())

    rows = []
    spread = np.linspace(0, len(asked) - 1, min(len(asked), COLUMNS * ROWS)).round().astype(int).tolist()
    shown: dict[int, Tensor] = {}
    for stale in job.output.glob(".*.tmp"):  # of a try that was killed while it wrote
        stale.unlink()
    tar = TarWriter(job.output / "00000.tar")
    for number, (prompt, seed) in enumerate(asked):
        key, place = f"{prompt['prompt_id']}-{seed}", earlier.get((prompt["prompt_id"], seed))
        data = as_png(next(drawn)) if place is None else place.read()
        offset = tar.add(f"{key}.png", data)
        if number in spread:
            shown[number] = from_png(data)
        rows.append(
            {
                "key": key,
                "prompt_id": prompt["prompt_id"],
                "seed": seed,
                "model": job.config.model_digest,
                "image_offset": offset,
                "image_bytes": len(data),
            }
        )
    tar.close()
    write_table(job.output / "00000.parquet", rows, GENERATED)
    save_grid(torch.stack([shown[n] for n in spread]), job.output / "grid.png", COLUMNS)
    (job.output / "grid.json").write_text(json.dumps([asked[n][0]["prompt"] for n in spread], indent=1))
    reporter.image("grid", job.output / "grid.png")
    reporter.finish(prompts=len(prompts), images=len(rows), taken_over=len(asked) - len(missing))


@dataclass(frozen=True)
class Place:
    """Where an encoded image lies in a tar."""

    tar: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Return the encoded image."""
        with self.tar.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


def drawn_before(outputs: list[Path]) -> dict[tuple[str, int], Place]:
    """Return where pictures of earlier outputs lie, by prompt_id and seed."""
    return {
        (row["prompt_id"], row["seed"]): Place(table.with_suffix(".tar"), row["image_offset"], row["image_bytes"])
        for output in outputs
        for table in sorted(output.glob("[0-9]*.parquet"))
        for row in read_rows(table, GENERATED)
    }


def _draw(
    job: Job[GenerateConfig, GenerateInputs], asked: list[tuple[dict[str, Any], int]], reporter: Reporter
) -> Tensor:
    """Return uint8 images [N, 3, H, W] of prompts and seeds, in their order."""
    config = job.config
    model = load_diffusion(job.inputs.diffusion, device_for(config.device))
    embeddings = image_embeddings_for(config.condition, model, job.inputs.clip, job.inputs.prior, config.prior)
    texts = config.condition == "caption" or config.caption_beside
    named = [Asked(prompt["prompt"], prompt["scene_id"], seed) for prompt, seed in asked]
    return draw_all(model, named, config, embeddings, texts, reporter)


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

    Raises ImageSizeError where the model cannot draw images of ``size``, height and width in pixels.
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


def from_png(data: bytes) -> Tensor:
    """Return a PNG as uint8 [3, H, W]."""
    return torch.from_numpy(np.array(Image.open(io.BytesIO(data)))).permute(2, 0, 1)


if __name__ == "__main__":
    run(main, GenerateConfig, GenerateInputs)
