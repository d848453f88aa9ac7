"""Job: how often CLIP finds a held-out picture's exact caption among all, the picture of a caption, and its class.

``python -m evaluation.retrieval --job job.json``

Source: Karpathy & Fei-Fei (2015) and, for CLIP, Radford et al. (2021), section 3.1: recall at k and zero-shot
classification. Captions that are equal are all right, whatever picture they were written for; a picture is of a class
that its caption alone names.
"""

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from open_clip import CLIP
from torch import Tensor

from evaluation.config import RetrievalConfig
from t2i_assets.corpus.schemas import CAPTIONS, EVALS
from t2i_assets.corpus.tables import read_rows, write_table
from training.data import load_images
from training.job import Job, JobInputs, run
from training.models.clip import Tokenizer, encode_texts, image_size, load_clip, preprocess
from training.models.contrastive import class_embeddings, equal_captions, only_class, retrieval_hits, zero_shot_hits
from training.report import Reporter

VERSION = "recall-1"


class RetrievalInputs(JobInputs):
    clip: Path
    heldout: Path


def main(job: Job[RetrievalConfig, RetrievalInputs], reporter: Reporter) -> None:
    """Write scores.parquet: for each held-out picture and style of caption whether it was found, both ways."""
    config = job.config
    model, tokenizer = load_clip(job.inputs.clip)
    keys, images = load_images([job.inputs.heldout], image_size(model))
    embedded = embed_images(model, images, config.batch_size)
    rows: list[dict[str, Any]] = []
    figures: dict[str, float] = {}
    for style, captions in sorted(_captions(job.inputs.heldout).items()):
        asked = [(number, captions[key]) for number, key in enumerate(keys) if key in captions]
        texts = embed_texts(model, tokenizer, [caption["caption"] for _, caption in asked], config.batch_size)
        shown = embedded[[number for number, _ in asked]]
        numbers = {text: n for n, text in enumerate(sorted({caption["caption"] for _, caption in asked}))}
        same = equal_captions(torch.tensor([numbers[caption["caption"]] for _, caption in asked]))
        for k in config.ks:
            directions = zip(("image_to_text", "text_to_image"), retrieval_hits(shown, texts, same, k), strict=True)
            for direction, hits in directions:
                metric = f"{direction}_recall_at_{k}"
                figures[f"{style}/{metric}"] = fmean(hits.tolist())
                rows += [
                    _row(config, style, metric, caption, hit)
                    for (_, caption), hit in zip(asked, hits.tolist(), strict=True)
                ]
        for name, task in config.zero_shot.items():
            classes = class_embeddings(
                lambda texts: embed_texts(model, tokenizer, texts, config.batch_size), task.classes, task.templates
            )
            labels = [only_class(caption["caption"], task.classes) for _, caption in asked]
            chosen = [(n, label) for n, label in enumerate(labels) if label is not None]
            named = zero_shot_hits(
                shown[[n for n, _ in chosen]], classes, torch.tensor([label for _, label in chosen], dtype=torch.long)
            ).tolist()
            metric = f"zero_shot_{name}"
            rows += [_row(config, style, metric, asked[n][1], hit) for (n, _), hit in zip(chosen, named, strict=True)]
            if named:
                figures[f"{style}/{metric}"] = fmean(named)
    write_table(job.output / "scores.parquet", rows, EVALS)
    reporter.finish(images=len(keys), **{name: round(value, 4) for name, value in figures.items()})


@torch.no_grad()
def embed_images(model: CLIP, images: Tensor, batch_size: int) -> Tensor:
    """Return unit-norm embeddings [N, E] of uint8 images [N, 3, S, S]."""
    parts = [model.encode_image(preprocess(model, part), normalize=True) for part in images.split(batch_size)]
    return torch.cat(parts).float()


@torch.no_grad()
def embed_texts(model: CLIP, tokenizer: Tokenizer, texts: list[str], batch_size: int) -> Tensor:
    """Return unit-norm embeddings [N, E]."""
    parts = [encode_texts(model, part) for part in tokenizer(texts).split(batch_size)]
    return torch.cat(parts).float()


def _captions(heldout: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return style -> key -> CAPTIONS row of the pictures' exact captions."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in read_rows(heldout / "captions.parquet", CAPTIONS):
        found[json.loads(row["decode"])["style"]][row["key"]] = row
    return found


def _row(config: RetrievalConfig, style: str, metric: str, caption: dict[str, Any], hit: bool) -> dict[str, Any]:
    return {
        "system": "real",
        "recipe": config.recipe,
        "model": config.model,
        "prompt_id": caption["caption_id"],
        "scene_id": caption["key"],
        "style": style,
        "category": "all",
        "seed": None,
        "metric": metric,
        "metric_version": VERSION,
        "scorer": config.model or "",
        "value": float(hit),
        "reason": None,
    }


if __name__ == "__main__":
    run(main, RetrievalConfig, RetrievalInputs)
