"""Job: one embedding per image of a snapshot, one table per shard, and of the references of the evaluation set.

By default the captioner's image tower embeds: at this stage of the graph no CLIP of a blend is there yet. A shard whose
table is there is left alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import open_clip
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor

from t2i_assets.corpus.schemas import IMAGE_EMBEDDINGS, SAMPLES
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_rows, write_table
from training.config import ImageFeaturesConfig
from training.data import load_images, to_signed
from training.embed import as_lists
from training.job import Job, JobInputs, run
from training.models.clip import image_size, preprocess
from training.models.coca import load_captioner
from training.report import Reporter


class ImageFeaturesInputs(JobInputs):
    captioner: Path
    shards: Path
    references: Path


@dataclass(frozen=True)
class Embedder:
    """What embeds images: uint8 [N, 3, size, size] to float [N, E]."""

    size: int
    embed: Callable[[Tensor], Tensor]


def main(job: Job[ImageFeaturesConfig, ImageFeaturesInputs], reporter: Reporter) -> None:
    """Write NNNNN.parquet (IMAGE_EMBEDDINGS) for every shard NNNNN, and references/ beside them."""
    embedder = load_embedder(job.config, job.inputs.captioner)
    tables = sorted(job.inputs.shards.glob(SHARD_GLOB))
    images = dimensions = 0
    for number, table in enumerate(tables):
        output = job.output / table.name
        if output.exists():
            continue
        keys = [row["key"] for row in read_rows(table, SAMPLES, ["key"])]
        rows = _write(embedder, table.parent, keys, output, job.config.batch_size)
        images, dimensions = images + len(rows), rows.shape[1]
        rate = images / max(1e-9, reporter.seconds)
        reporter.log(number + 1, len(tables) + 1, images=images, samples_per_second=rate)
    references = job.output / "references" / "00000.parquet"
    rows = _write(embedder, job.inputs.references, None, references, job.config.batch_size)
    reporter.log(len(tables) + 1, len(tables) + 1, images=images + len(rows))
    reporter.finish(shards=len(tables), images=images, references=len(rows), dimensions=dimensions or rows.shape[1])


def load_embedder(config: ImageFeaturesConfig, captioner: Path) -> Embedder:
    """Return the configured model of open_clip, or the image tower of the captioner."""
    if config.model is None:
        coca = load_captioner(captioner / "descriptive")
        return Embedder(coca.image_size, lambda images: coca.model.encode_image(to_signed(images)))
    model = open_clip.create_model(config.model, pretrained=config.pretrained).eval()
    return Embedder(image_size(model), lambda images: model.encode_image(preprocess(model, images)))


def _write(embedder: Embedder, shards: Path, wanted: list[str] | None, output: Path, batch_size: int) -> Tensor:
    keys, images = load_images([shards], embedder.size, wanted)
    rows = embed_images(embedder, images, batch_size)
    write_table(output, pa.table({"key": keys, "embedding": as_lists(rows)}), IMAGE_EMBEDDINGS)
    return rows


@torch.no_grad()
def embed_images(embedder: Embedder, images: Tensor, batch_size: int) -> Tensor:
    """Return unit-norm embeddings [N, E] of uint8 images [N, 3, S, S]."""
    return torch.cat([F.normalize(embedder.embed(batch).float(), dim=-1) for batch in images.split(batch_size)])


if __name__ == "__main__":
    run(main, ImageFeaturesConfig, ImageFeaturesInputs)
