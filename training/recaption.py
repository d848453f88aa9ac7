"""Job: captions for one snapshot, in every style, one table per shard. A shard whose table is there is left alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2i_assets.corpus.digests import caption_id
from t2i_assets.corpus.schemas import CAPTIONS
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_table, write_table
from training.captioners.backends import open_captioners
from training.captioners.protocol import Captioner
from training.config import CaptionStyleConfig, RecaptionConfig
from training.data import shard_batches
from training.job import Job, JobInputs, run
from training.models.decode import Caption
from training.pairs import Style
from training.report import Reporter


class RecaptionInputs(JobInputs):
    shards: Path
    captioner: Path | None = None


def main(job: Job[RecaptionConfig, RecaptionInputs], reporter: Reporter) -> None:
    """Write NNNNN.parquet (CAPTIONS) for every shard NNNNN of the snapshot."""
    captioners = open_captioners(job.config, job.inputs.captioner)
    tables = sorted(job.inputs.shards.glob(SHARD_GLOB))
    written = 0
    for number, table in enumerate(tables):
        output = job.output / table.name
        if output.exists():
            continue
        rows = _caption_shard(captioners, table, job.config)
        write_table(output, rows, CAPTIONS)
        written += len(rows)
        samples = written // len(job.config.styles)
        rate = samples / max(1e-9, reporter.seconds)
        reporter.log(number + 1, len(tables), samples=samples, captions=written, samples_per_second=rate)
    captions = sum(len(read_table(job.output / table.name, CAPTIONS, ["key"])) for table in tables)
    reporter.finish(shards=len(tables), captions=captions, captions_written=written)


def _caption_shard(captioners: Mapping[Style, Captioner], table: Path, config: RecaptionConfig) -> list[dict[str, Any]]:
    """Return the captions of a shard, one style after the other; each image is read once."""
    (size,) = {captioner.image_size for captioner in captioners.values()}
    rows: dict[Style, list[dict[str, Any]]] = {style.style: [] for style in config.styles}
    for keys, images in shard_batches(table, size, config.batch_size):
        for style in config.styles:
            names = [f"{style.style}/{key}" for key in keys]
            written = captioners[style.style].write(images, names, config.seed, config.decode)
            rows[style.style] += [_row(key, caption, style, config) for key, caption in zip(keys, written, strict=True)]
    return [row for style in config.styles for row in rows[style.style]]


def _row(key: str, caption: Caption, style: CaptionStyleConfig, config: RecaptionConfig) -> dict[str, Any]:
    source = f"synthetic_{style.style}"
    settings = {"style": style.style, **config.decode.model_dump()}
    settings |= {"prompt": style.prompt} if style.prompt else {}
    settings |= {"precision": config.precision} if config.precision != "fp32" else {}
    return {
        "caption_id": caption_id(key, source, caption.text),
        "key": key,
        "source": source,
        "caption": caption.text,
        "captioner": config.captioner_digest,
        "decode": json.dumps(settings, sort_keys=True),
        "seed": config.seed,
        "log_probability": caption.log_probability,
    }


if __name__ == "__main__":
    run(main, RecaptionConfig, RecaptionInputs)
