"""Job: a labelled grid of what a diffusion model draws for a few prompts, a row each, a column for each seed."""

from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from training.config import SampleConfig
from training.device import device_for
from training.generate import Asked, draw_all
from training.image_conditions import image_embeddings_for
from training.job import Job, JobInputs, run
from training.models.saved_diffusion import load_diffusion
from training.report import Reporter

GRID = "grid.png"
LEAST_SIDE = 128  # pixels of a cell; smaller images are enlarged by a whole number
GAP = 6
INK, PAPER = (20, 20, 20), (255, 255, 255)


class SampleInputs(JobInputs):
    diffusion: Path
    clip: Path | None = None
    prior: Path | None = None


def main(job: Job[SampleConfig, SampleInputs], reporter: Reporter) -> None:
    """Draw every prompt with every seed; prompts share the noise of a seed."""
    config = job.config
    model = load_diffusion(job.inputs.diffusion, device_for(config.device))
    embeddings = image_embeddings_for(config.condition, model, job.inputs.clip, job.inputs.prior, config.prior)
    asked = [Asked(prompt, "sample", seed) for prompt in config.prompts for seed in config.seeds]
    texts = config.condition == "caption" or config.caption_beside
    images = draw_all(model, asked, config, embeddings, texts, reporter, config.size)
    rows = images.unflatten(0, (len(config.prompts), len(config.seeds)))
    labelled_grid(rows, config.prompts, [f"seed {seed}" for seed in config.seeds]).save(job.output / GRID)
    reporter.image("grid", job.output / GRID)
    reporter.finish(images=len(images))


def labelled_grid(images: Tensor, rows: tuple[str, ...], columns: list[str]) -> Image.Image:
    """Return uint8 images [R, C, 3, H, W] as a sheet: the row's label above each row, the columns' above all."""
    height, width = images.shape[3:]
    scale = -(-LEAST_SIDE // min(height, width))
    font = ImageFont.load_default(14)
    line = int(font.getbbox("Åg|")[3]) + GAP
    across, down = width * scale + GAP, height * scale + GAP
    widest = max(font.getlength(label) for label in rows)
    size = (int(max(across * len(columns), widest)) + 2 * GAP, line + (line + down) * len(rows) + GAP)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, label in enumerate(columns):
        pen.text((GAP + column * across, GAP), label, INK, font)
    for row, label in enumerate(rows):
        top = line + row * (line + down) + GAP
        pen.text((GAP, top), label, INK, font)
        for column in range(len(columns)):
            pixels = images[row, column].permute(1, 2, 0).to(torch.uint8).numpy()
            cell = Image.fromarray(pixels).resize((width * scale, height * scale), Image.Resampling.NEAREST)
            sheet.paste(cell, (GAP + column * across, top + line))
    return sheet


if __name__ == "__main__":
    run(main, SampleConfig, SampleInputs)
