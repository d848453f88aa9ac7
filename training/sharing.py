"""Job: does a filter that shares its weights with the captioner see the captioner's mistakes?

One BLIP is optionally pretrained on the crawl with all three losses, then taught to caption by LM on descriptive human
captions. From there it is finetuned on these three times, with the same steps: by LM alone (a captioner), by ITC and
ITM alone (a filter), and by all of them (both in one). Captioner and filter apart, and the one model, then caption
held-out images, and score their own captions.

Source: Li et al., "BLIP" (2022), section 3.3 and table 4.
"""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip import SimpleTokenizer
from torch import Tensor

from t2i_assets.corpus.digests import caption_id
from t2i_assets.corpus.schemas import CAPTIONS, SCORES
from t2i_assets.corpus.tables import write_table
from training.caption_filter import CaptioningTask, FilterTask, build_filter, momentum_contrast, text_variants
from training.config import SharingConfig
from training.data import load_images, to_signed
from training.device import device_for
from training.job import Job, JobInputs, run
from training.loop import train
from training.matching_data import MatchingData
from training.models.blip_filter import BlipFilter
from training.models.cached_blip import CachedBlip
from training.models.decode import decode, detokenize
from training.models.decoder import Ending
from training.pairs import crawl_pairs, human_pairs
from training.report import Reporter
from training.score import score_captions
from training.scorers.trained import FilterScorer
from training.task import Task
from training.tokenizer import load

SOURCE = "synthetic_descriptive"
THRESHOLD = 0.5  # BLIP's: the head says "unmatched"

Row = dict[str, Any]


class SharingInputs(JobInputs):
    tokenizer: Path
    shards: list[Path]
    human: Path
    heldout: Path


def main(job: Job[SharingConfig, SharingInputs], reporter: Reporter) -> None:
    """Write captions/NAME.parquet (CAPTIONS) and scores/NAME.parquet (SCORES) for NAME separate and shared."""
    config, inputs = job.config, job.inputs
    tokenizer = load(inputs.tokenizer, config.context_length)
    crawl = crawl_pairs(inputs.shards, config.image_size)
    human, held_out = human_pairs(inputs.human, config.image_size, "descriptive").split(config.held_out)
    variants = text_variants(human, crawl)
    checked = MatchingData(held_out, tokenizer, variants, seed=config.seed)
    taught = MatchingData(human, tokenizer, variants, mirror=True, seed=config.seed)
    alike = MatchingData(crawl, tokenizer, seed=config.seed)

    def learn(task: Task, data: MatchingData, phase: str) -> None:
        optimizer = {"pretrain": config.pretrain, "caption": config.caption}.get(phase, config.finetune)
        task.to(device_for(config.device))
        train(task, data, optimizer, job.output, reporter, config.seed, config.precision, phase)

    def matching(model: BlipFilter, lm_weight: float) -> Task:
        return FilterTask(model, momentum_contrast(model, config), checked, lm_weight, config.word_weight)

    def captioning(model: BlipFilter) -> Task:
        return CaptioningTask(model, checked, config.word_dropout)

    pretrained = build_filter(config, tokenizer)
    learn(matching(pretrained, config.lm_weight), alike, "pretrain")
    learn(captioning(pretrained), taught, "caption")
    captioner, caption_filter, shared = (copy.deepcopy(pretrained) for _ in range(3))
    learn(captioning(captioner), taught, "captioner")
    learn(matching(caption_filter, 0.0), taught, "filter")
    learn(matching(shared, config.lm_weight), taught, "shared")

    keys, images = load_images([inputs.heldout], config.image_size)
    for model in (captioner, caption_filter, shared):
        model.cpu()  # where the few pictures that it is asked about lie
    for directory in ("captions", "scores"):
        (job.output / directory).mkdir(exist_ok=True)
    rejected = {}
    for name, writer, judge in (("separate", captioner, caption_filter), ("shared", shared, shared)):
        captions, scores = _caption_and_score(name, writer, judge, tokenizer, keys, images, config)
        write_table(job.output / "captions" / f"{name}.parquet", captions, CAPTIONS)
        write_table(job.output / "scores" / f"{name}.parquet", scores, SCORES)
        matches = [row["value"] for row in scores if row["kind"] == "itm"]
        rejected[f"{name}_rejected"] = float(np.mean([match < THRESHOLD for match in matches]))
    reporter.finish(parameters=sum(p.numel() for p in shared.parameters()), captions=len(keys), **rejected)


def _caption_and_score(
    name: str,
    captioner: BlipFilter,
    caption_filter: BlipFilter,
    tokenizer: SimpleTokenizer,
    keys: Sequence[str],
    images: Tensor,
    config: SharingConfig,
) -> tuple[list[Row], list[Row]]:
    """Return CAPTIONS rows of all images by ``captioner`` and SCORES rows of them by ``caption_filter``."""
    captions: list[Row] = []
    scores: list[Row] = []
    for start in range(0, len(keys), config.caption_batch_size):
        part = slice(start, start + config.caption_batch_size)
        rows = _captions(name, captioner, tokenizer, keys[part], to_signed(images[part]), config)
        captions += rows
        scores += score_captions(FilterScorer(caption_filter, tokenizer, name), images[part], list(enumerate(rows)))
    return captions, scores


@torch.no_grad()
def _captions(
    name: str,
    captioner: BlipFilter,
    tokenizer: SimpleTokenizer,
    keys: Sequence[str],
    images: Tensor,
    config: SharingConfig,
) -> list[Row]:
    decoder, start, end = (
        CachedBlip(captioner, captioner.encode_image(images)),
        tokenizer.sot_token_id,
        tokenizer.eot_token_id,
    )
    logits = decoder.step(torch.full((len(images),), start))
    most = min(config.decode.max_tokens, captioner.config.context_length - 1)
    ending = Ending((end,), (start,), config.decode.min_tokens, most)
    written = decode(decoder, logits, ending, keys, config.seed, config.decode)
    texts = [detokenize(tokenizer, caption.tokens) for caption in written]
    how = json.dumps({"style": "descriptive", **config.decode.model_dump()}, sort_keys=True)
    return [
        {
            "caption_id": caption_id(key, SOURCE, text),
            "key": key,
            "source": SOURCE,
            "caption": text,
            "captioner": name,
            "decode": how,
            "seed": config.seed,
            "log_probability": caption.log_probability,
        }
        for key, text, caption in zip(keys, texts, written, strict=True)
    ]


if __name__ == "__main__":
    run(main, SharingConfig, SharingInputs)
