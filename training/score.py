"""Job: ITM probability and ITC cosine of every caption of one snapshot, one table per shard.

Alt texts come from the shard's sidecar, the others from CAPTIONS tables. A shard whose table is there is left alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from open_clip import SimpleTokenizer
from torch import Tensor

from t2i_assets.corpus.schemas import CAPTIONS, SAMPLES, SCORES
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.corpus.verdicts import alt_captions
from training.config import ScoreConfig
from training.data import load_images, to_signed
from training.job import Job, JobInputs, run
from training.models.blip_filter import MATCH, BlipFilter, load_filter
from training.report import Reporter
from training.tokenizer import load

Caption = dict[str, Any]


class ScoreInputs(JobInputs):
    caption_filter: Path
    tokenizer: Path
    shards: Path
    captions: list[Path]


def main(job: Job[ScoreConfig, ScoreInputs], reporter: Reporter) -> None:
    """Write NNNNN.parquet (SCORES) for every shard NNNNN of the snapshot."""
    model = load_filter(job.inputs.caption_filter)
    tokenizer = load(job.inputs.tokenizer, model.config.context_length)
    captions = _captions_by_key(job.inputs)
    tables = sorted(job.inputs.shards.glob(SHARD_GLOB))
    scored = 0
    for number, table in enumerate(tables):
        output = job.output / table.name
        if output.exists():
            continue
        keys = [row["key"] for row in read_rows(table, SAMPLES, ["key"])]
        keys, images = load_images([job.inputs.shards], model.config.image_size, keys)
        rows: list[dict[str, Any]] = []
        for start in range(0, len(keys), job.config.batch_size):
            part = slice(start, start + job.config.batch_size)
            batch = [(index, caption) for index, key in enumerate(keys[part]) for caption in captions.get(key, [])]
            rows += score_captions(model, tokenizer, to_signed(images[part]), batch, job.config.scorer_digest)
        write_table(output, rows, SCORES)
        scored += len(rows) // 2
        rate = scored / max(1e-9, reporter.seconds)
        reporter.log(number + 1, len(tables), captions=scored, captions_per_second=rate)
    reporter.finish(shards=len(tables), captions_scored=scored)


@torch.no_grad()
def score_captions(
    model: BlipFilter,
    tokenizer: SimpleTokenizer,
    images: Tensor,
    captions: Sequence[tuple[int, Caption]],
    scorer: str,
    batch_size: int = 256,
) -> list[dict[str, Any]]:
    """Return two SCORES rows, itm and itc, per (image number, CAPTIONS row); ``images`` (N, 3, S, S) in [-1, 1]."""
    grounding = model.encode_image(images)
    rows = []
    by_length = sorted(captions, key=lambda item: len(item[1]["caption"]))
    for start in range(0, len(by_length), batch_size):
        batch = by_length[start : start + batch_size]
        image = torch.tensor([index for index, _ in batch])
        tokens = tokenizer([caption["caption"] for _, caption in batch])
        tokens = tokens[:, : int((tokens == model.config.end_token).int().argmax(dim=1).max()) + 1]
        itm = model.match(tokens, grounding, image).softmax(dim=1)[:, MATCH]
        itc = (grounding.embedding[image] * model.encode_text(tokens)).sum(dim=1)
        for (_, caption), *values in zip(batch, itm.tolist(), itc.tolist(), strict=True):
            name = {"caption_id": caption["caption_id"], "key": caption["key"], "scorer": scorer}
            rows += [{**name, "kind": kind, "value": value} for kind, value in zip(("itm", "itc"), values, strict=True)]
    return rows


def _captions_by_key(inputs: ScoreInputs) -> dict[str, list[Caption]]:
    rows = alt_captions(inputs.shards)
    for path in inputs.captions:
        rows += read_rows(path, CAPTIONS)
    by_key: dict[str, list[Caption]] = {}
    for row in rows:
        by_key.setdefault(row["key"], []).append(row)
    return by_key


if __name__ == "__main__":
    run(main, ScoreConfig, ScoreInputs)
