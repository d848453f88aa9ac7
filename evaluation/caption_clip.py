"""Job: CLIPScore and RefCLIPScore of captions of held-out pictures, by a CLIP that shares no data with the captioner.

``python -m evaluation.caption_clip --job job.json``

The references are the pictures' exact captions of the same style. See ``evaluation.caption_metrics.clip``.
"""

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

from evaluation.caption_metrics import PREFIX, clip_s, ref_clip_s
from evaluation.clip_score import embed_images, embed_texts, image_size_of
from evaluation.config import CaptionClipConfig
from t2i_assets.corpus.schemas import CAPTIONS, SCORES
from t2i_assets.corpus.tables import read_rows, write_table
from training.data import load_images
from training.job import Job, JobInputs, run
from training.models.clip import load_clip
from training.report import Reporter


class CaptionClipInputs(JobInputs):
    captions: Path
    heldout: Path
    scorer: Path


def main(job: Job[CaptionClipConfig, CaptionClipInputs], reporter: Reporter) -> None:
    """Write scores.parquet: clip_s and ref_clip_s of each caption."""
    model, tokenizer = load_clip(job.inputs.scorer)
    keys, images = load_images([job.inputs.heldout], image_size_of(model))
    shown = dict(zip(keys, embed_images(model, images.numpy(), job.config.batch_size), strict=True))
    references: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in read_rows(job.inputs.heldout / "captions.parquet", CAPTIONS):
        references[row["key"], _style(row)].append(row["caption"])
    captions = read_rows(job.inputs.captions, CAPTIONS)
    texts = sorted({text for row in captions for text in (row["caption"], *references[row["key"], _style(row)])})
    vectors = embed_texts(model, tokenizer, [PREFIX + text for text in texts], job.config.batch_size)
    said = dict(zip(texts, vectors, strict=True))

    rows: list[dict[str, Any]] = []
    for row in captions:
        caption, cosine = said[row["caption"]], float(said[row["caption"]] @ shown[row["key"]])
        likeness = [float(caption @ said[text]) for text in references[row["key"], _style(row)]]
        values = {"clip_s": clip_s(cosine), "ref_clip_s": ref_clip_s(cosine, likeness)}
        common = {"caption_id": row["caption_id"], "key": row["key"], "scorer": job.config.scorer_digest}
        rows += [{**common, "kind": kind, "value": value} for kind, value in values.items()]
    write_table(job.output / "scores.parquet", rows, SCORES)
    kinds = sorted({row["kind"] for row in rows})
    means = {kind: round(fmean(row["value"] for row in rows if row["kind"] == kind), 4) for kind in kinds}
    reporter.finish(captions=len(captions), **means)


def _style(row: dict[str, Any]) -> str:
    return str(json.loads(row["decode"])["style"])


if __name__ == "__main__":
    run(main, CaptionClipConfig, CaptionClipInputs)
