"""Job: the latents of every image of the shards, computed once, so that diffusion training runs no encoder."""

from pathlib import Path

import pyarrow as pa
import torch

from t2i_assets.corpus.schemas import LATENTS
from t2i_assets.corpus.tables import write_table
from training.aspect_buckets import Size, read_buckets
from training.config import LatentsConfig
from training.data import load_images, to_signed
from training.device import device_for
from training.embed import as_lists
from training.job import Job, JobInputs, run
from training.latent_sets import Shape, write_shapes
from training.models.autoencoder import encode, load_autoencoder
from training.report import Reporter


class LatentsInputs(JobInputs):
    autoencoder: Path
    shards: Path


def main(job: Job[LatentsConfig, LatentsInputs], reporter: Reporter) -> None:
    """Encode every image, a table per shape; the posterior's mean is kept, normalised per channel."""
    device = device_for(job.config.device)
    autoencoder = load_autoencoder(job.inputs.autoencoder).to(device)
    parts = _images(job.inputs.shards, job.config.buckets, autoencoder.config.sample_size)
    count = sum(len(keys) for keys, _ in parts)
    if not count:
        raise ValueError(f"{job.inputs.shards} holds no images: there is nothing to encode")
    shapes: dict[str, Shape] = {}
    values: list[torch.Tensor] = []
    done = 0
    for number, (keys, images) in enumerate(parts):
        rows = []
        for batch in images.split(job.config.batch_size):
            rows.append(encode(autoencoder, to_signed(batch.to(device))).cpu())
            done += len(batch)
            reporter.log(done, count)
        latents = torch.cat(rows)
        table = pa.table({"key": keys, "latent": as_lists(latents.flatten(1))})
        write_table(job.output / f"{number:05d}.parquet", table, LATENTS)
        channels, height, width = latents.shape[1:]
        shapes[f"{number:05d}"] = (channels, height, width)
        values.append(latents.flatten())
    write_shapes(job.output, job.inputs.autoencoder, shapes)
    every = torch.cat(values)
    reporter.finish(images=count, mean=every.mean().item(), std=every.std().item(), shapes=list(shapes.values()))


def _images(shards: Path, buckets: tuple[Size, ...], side: int) -> list[tuple[list[str], torch.Tensor]]:
    """Return keys and images of every shape: the configured buckets, or squares of ``side`` pixels."""
    if buckets:
        return list(read_buckets(shards, buckets).values())
    return [load_images([shards], side)]


if __name__ == "__main__":
    run(main, LatentsConfig, LatentsInputs)
