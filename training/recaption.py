"""Job: captions for one snapshot, in both styles, one table per shard. A shard whose table is there is left alone."""

import json
from pathlib import Path
from typing import Any

from t2i_assets.corpus.digests import caption_id
from t2i_assets.corpus.schemas import CAPTIONS, SAMPLES
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_rows, write_table
from training.captioner import STYLES
from training.config import RecaptionConfig
from training.data import load_images, to_signed
from training.job import Job, JobInputs, run
from training.models.coca import Captioner, load_captioner
from training.models.decode import write_captions
from training.pairs import Style
from training.report import Reporter


class RecaptionInputs(JobInputs):
    captioner: Path
    tokenizer: Path
    shards: Path


def main(job: Job[RecaptionConfig, RecaptionInputs], reporter: Reporter) -> None:
    """Write NNNNN.parquet (CAPTIONS) for every shard NNNNN of the snapshot."""
    captioners = {style: load_captioner(job.inputs.captioner / style) for style in STYLES}
    tables = sorted(job.inputs.shards.glob(SHARD_GLOB))
    samples = captions = 0
    for number, table in enumerate(tables):
        output = job.output / table.name
        if output.exists():
            continue
        rows = [row for style in STYLES for row in _caption_shard(captioners[style], style, table, job.config)]
        write_table(output, rows, CAPTIONS)
        captions += len(rows)
        samples += len(rows) // len(STYLES)
        rate = samples / max(1e-9, reporter.seconds)
        reporter.log(number + 1, len(tables), samples=samples, captions=captions, images_per_second=rate)
    reporter.finish(shards=len(tables), captions_written=captions)


def _caption_shard(captioner: Captioner, style: Style, table: Path, config: RecaptionConfig) -> list[dict[str, Any]]:
    keys = [row["key"] for row in read_rows(table, SAMPLES, ["key"])]
    keys, images = load_images([table.parent], captioner.image_size, keys)
    source = f"synthetic_{style}"
    decode = json.dumps({"style": style, **config.decode.model_dump()}, sort_keys=True)
    rows = []
    for start in range(0, len(keys), config.batch_size):
        part = slice(start, start + config.batch_size)
        names = [f"{style}/{key}" for key in keys[part]]
        written = write_captions(
            captioner.model, captioner.tokenizer, to_signed(images[part]), names, config.seed, config.decode
        )
        for key, caption in zip(keys[part], written, strict=True):
            rows.append(
                {
                    "caption_id": caption_id(key, source, caption.text),
                    "key": key,
                    "source": source,
                    "caption": caption.text,
                    "captioner": config.captioner_digest,
                    "decode": decode,
                    "seed": config.seed,
                    "log_probability": caption.log_probability,
                }
            )
    return rows


if __name__ == "__main__":
    run(main, RecaptionConfig, RecaptionInputs)
