"""Job: the latents of every image of the shards, computed once, so that diffusion training runs no encoder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from t2i_assets.corpus.schemas import LATENTS, SAMPLES
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_rows, read_table, write_table
from training.aspect_buckets import read_buckets
from training.config import LatentsConfig
from training.data import shard_batches, to_signed
from training.device import device_for
from training.embed import as_lists
from training.embeddings import encoder_digest
from training.job import Job, JobInputs, run
from training.latent_sets import SHAPES, Origin, Shape, read_shapes, write_shapes
from training.models.autoencoder import encode, load_autoencoder
from training.report import Reporter


class LatentsInputs(JobInputs):
    autoencoder: Path
    shards: Path


def main(job: Job[LatentsConfig, LatentsInputs], reporter: Reporter) -> None:
    """Encode every image, a table per shard and shape; the posterior's mean is kept, normalised per channel.

    A shard that a killed try has finished is left alone.
    """
    tables = {table: len(read_rows(table, SAMPLES, ["key"])) for table in sorted(job.inputs.shards.glob(SHARD_GLOB))}
    count, done = sum(tables.values()), 0
    if not count:
        raise ValueError(f"{job.inputs.shards} holds no images: there is nothing to encode")
    autoencoder = load_autoencoder(job.inputs.autoencoder).to(device_for(job.config.device))
    origin = Origin(encoder_digest(job.inputs.autoencoder), preprocessing(job.config, autoencoder))
    shapes = _finished(job.output, origin)
    shards = {name.split("-")[0] for name in shapes}
    for table, images in tables.items():
        if images and table.stem not in shards:
            shapes |= {
                name: _write(job.output, name, keys, latents)
                for name, keys, latents in encoded(table, autoencoder, job.config)
            }
            write_shapes(job.output, origin, shapes)
        done += images
        reporter.log(done, count)
    mean, std = _mean_and_std(job.output, shapes)
    reporter.finish(images=count, mean=mean, std=std, shapes=sorted(set(shapes.values())))


def preprocessing(config: LatentsConfig, autoencoder: AutoencoderKL) -> dict[str, Any]:
    """Return how images come to the autoencoder; ``sizes`` are heights and widths, pixels."""
    side: int = autoencoder.config.sample_size
    return {
        "sizes": [list(size) for size in config.buckets or ((side, side),)],
        "resize": "to cover, bicubic, centre crop",
        "precision": config.precision,
    }


def encoded(table: Path, autoencoder: AutoencoderKL, config: LatentsConfig) -> Iterator[tuple[str, list[str], Tensor]]:
    """Yield name, keys and latents [N, C, H, W] of every shape in the shard of ``table``: the buckets, or squares."""

    def latents_of(images: Tensor) -> Tensor:
        batch = to_signed(images.to(autoencoder.device))
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            return encode(autoencoder, batch).float().cpu()

    if not config.buckets:
        batches = list(shard_batches(table, autoencoder.config.sample_size, config.batch_size))
        keys = [key for of_batch, _ in batches for key in of_batch]
        yield table.stem, keys, torch.cat([latents_of(images) for _, images in batches])
        return
    for (height, width), (keys, images) in read_buckets(table, config.buckets).items():
        parts = [latents_of(batch) for batch in images.split(config.batch_size)]
        yield f"{table.stem}-{height}x{width}", keys, torch.cat(parts)


def _finished(output: Path, origin: Origin) -> dict[str, Shape]:
    """Return the shapes of what an earlier try finished, by table, and clear away whatever else it left."""
    shapes: dict[str, Shape] = {}
    if (output / SHAPES).exists():
        made_by, found = read_shapes(output)
        shapes = found if made_by == origin else {}
    for path in [*output.glob("[0-9]*.parquet"), *output.glob(".*.tmp")]:
        if path.stem not in shapes:
            path.unlink()
    return shapes


def _write(output: Path, name: str, keys: list[str], latents: Tensor) -> Shape:
    table = pa.table({"key": keys, "latent": as_lists(latents.flatten(1))})
    write_table(output / f"{name}.parquet", table, LATENTS)
    channels, height, width = latents.shape[1:]
    return channels, height, width


def _mean_and_std(output: Path, names: dict[str, Shape]) -> tuple[float, float]:
    """Return the mean and the standard deviation of every value in the tables."""
    sums = np.zeros(3)
    for name in names:
        column = read_table(output / f"{name}.parquet", LATENTS, ["latent"])["latent"].combine_chunks()
        values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        sums += len(values), values.sum(), np.square(values).sum()
    mean = sums[1] / sums[0]
    return float(mean), float(np.sqrt(max(0.0, sums[2] / sums[0] - mean**2)))


if __name__ == "__main__":
    run(main, LatentsConfig, LatentsInputs)
