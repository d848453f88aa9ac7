"""Job: how well every caption of one snapshot fits its image, by one model or two, one table per shard.

Alt texts come from the shard's sidecar, the others from CAPTIONS tables. A shard whose table is there is left alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2i_assets.corpus.schemas import CAPTIONS, SAMPLES, SCORES
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.corpus.verdicts import alt_captions
from training.config import ScoreConfig
from training.data import load_images
from training.job import Job, JobInputs, run
from training.report import Reporter
from training.scorers.blip import load_blip_scorer
from training.scorers.clip import load_clip_scorer
from training.scorers.scorer import Scorer
from training.scorers.trained import load_filter_scorer

Caption = dict[str, Any]


class ScoreInputs(JobInputs):
    shards: Path
    captions: list[Path]
    caption_filter: Path | None = None
    tokenizer: Path | None = None


def main(job: Job[ScoreConfig, ScoreInputs], reporter: Reporter) -> None:
    """Write NNNNN.parquet (SCORES) for every shard NNNNN of the snapshot."""
    scorers = load_scorers(job.config, job.inputs)
    captions = _captions_by_key(job.inputs)
    tables = sorted(job.inputs.shards.glob(SHARD_GLOB))
    scored = 0
    for number, table in enumerate(tables):
        output = job.output / table.name
        if output.exists():
            continue
        keys = [row["key"] for row in read_rows(table, SAMPLES, ["key"])]
        rows: list[dict[str, Any]] = []
        for scorer in scorers:
            found, images = load_images([job.inputs.shards], scorer.image_size, keys)
            for start in range(0, len(found), job.config.batch_size):
                part = slice(start, start + job.config.batch_size)
                batch = [(index, caption) for index, key in enumerate(found[part]) for caption in captions.get(key, [])]
                with torch.autocast(images.device.type, torch.bfloat16, enabled=job.config.precision == "bf16"):
                    rows += score_captions(scorer, images[part], batch)
        write_table(output, rows, SCORES)
        scored += sum(row["kind"] == scorers[0].kinds[0] for row in rows)
        rate = scored / max(1e-9, reporter.seconds)
        reporter.log(number + 1, len(tables), captions=scored, captions_per_second=rate)
    reporter.finish(shards=len(tables), captions_scored=scored)


def load_scorers(config: ScoreConfig, inputs: ScoreInputs) -> list[Scorer]:
    """Return the model of the configured back end and, where one is named, the independent CLIP.

    Raises ValueError where the back end is the filter and the job is given none.
    """
    scorers: list[Scorer] = []
    if config.backend == "blip":
        assert config.model is not None  # ScoreConfig sees to it
        scorers.append(load_blip_scorer(config.model))
    elif inputs.caption_filter is None or inputs.tokenizer is None:
        raise ValueError("no filter: give the job the inputs 'caption_filter' and 'tokenizer', or the back end 'blip'")
    else:
        scorers.append(load_filter_scorer(inputs.caption_filter, inputs.tokenizer, config.scorer_digest))
    if config.clip is not None:
        scorers.append(load_clip_scorer(config.clip, config.clip_pretrained))
    return scorers


@torch.no_grad()
def score_captions(
    scorer: Scorer, images: Tensor, captions: Sequence[tuple[int, Caption]], batch_size: int = 256
) -> list[dict[str, Any]]:
    """Return a SCORES row of each kind per (image number, CAPTIONS row).

    ``images`` are uint8 (N, 3, S, S) of the scorer's size. Captions are scored by length, so that few are padded much,
    and by image within a batch.
    """
    rows = []
    by_length = sorted(captions, key=lambda item: len(item[1]["caption"]))
    for start in range(0, len(by_length), batch_size):
        batch = by_length[start : start + batch_size]
        shown, image_of = torch.tensor([index for index, _ in batch]).unique(return_inverse=True)
        values = scorer.score(images[shown], [caption["caption"] for _, caption in batch], image_of)
        for (_, caption), numbers in zip(batch, values.tolist(), strict=True):
            name = {"caption_id": caption["caption_id"], "key": caption["key"], "scorer": scorer.name}
            rows += [{**name, "kind": kind, "value": value} for kind, value in zip(scorer.kinds, numbers, strict=True)]
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
