"""Job: the latents of every image of the shards, computed once, so that diffusion training runs no encoder."""

import json
from pathlib import Path

import pyarrow as pa
import torch

from t2i_assets.corpus.schemas import LATENTS
from t2i_assets.corpus.tables import write_table
from training.config import LatentsConfig
from training.data import load_images, to_signed
from training.embed import as_lists
from training.job import Job, JobInputs, run
from training.models.autoencoder import encode, load_autoencoder
from training.report import Reporter


class LatentsInputs(JobInputs):
    autoencoder: Path
    shards: Path


def main(job: Job[LatentsConfig, LatentsInputs], reporter: Reporter) -> None:
    """Encode every image; the posterior's mean is kept, normalised per channel."""
    autoencoder = load_autoencoder(job.inputs.autoencoder)
    keys, images = load_images([job.inputs.shards], autoencoder.config.sample_size)
    if not keys:
        raise ValueError(f"{job.inputs.shards} holds no images: there is nothing to encode")
    rows = []
    for start in range(0, len(images), job.config.batch_size):
        rows.append(encode(autoencoder, to_signed(images[start : start + job.config.batch_size])))
        reporter.log(min(start + job.config.batch_size, len(images)), len(images))
    latents = torch.cat(rows)
    write_table(job.output / "00000.parquet", pa.table({"key": keys, "latent": as_lists(latents.flatten(1))}), LATENTS)
    shape = dict(zip(("channels", "height", "width"), latents.shape[1:], strict=True))
    (job.output / "latents.json").write_text(json.dumps(shape))
    reporter.finish(images=len(keys), mean=latents.mean().item(), std=latents.std().item(), **shape)


if __name__ == "__main__":
    run(main, LatentsConfig, LatentsInputs)
