"""Job: the caption filter. BLIP's mixture of encoder and decoder is optionally pretrained on the crawl's pairs, then
taught to caption by descriptive human captions, then, on all human captions, to match.

Source: Li et al., "BLIP" (2022), section 3.2. Captioner and filter share nothing but the data: a filter that shares
weights with the captioner agrees with it too easily (table 4 there: 8 % rejected instead of 25 %).
"""

from pathlib import Path

import numpy as np
import torch
from open_clip import SimpleTokenizer
from torch import Tensor

from training.augment import augment
from training.batches import Batch
from training.config import CaptionFilterConfig, MatchingConfig
from training.data import to_signed
from training.device import device_for, moved
from training.job import Job, JobInputs, run
from training.loop import train
from training.matching_data import MatchingData
from training.models.blip_filter import BlipFilter, BlipFilterConfig, save_filter
from training.models.filter_loss import filter_loss, language_loss
from training.models.momentum_contrast import MomentumContrast
from training.pairs import Pairs, crawl_pairs, human_pairs, joined
from training.report import Reporter
from training.task import Figures, Task
from training.text_variants import TextVariants
from training.tokenizer import load


class CaptionFilterInputs(JobInputs):
    tokenizer: Path
    shards: list[Path]
    human: Path


def main(job: Job[CaptionFilterConfig, CaptionFilterInputs], reporter: Reporter) -> None:
    """Pretrain, finetune on human captions, write model.safetensors and config.json."""
    config, inputs = job.config, job.inputs
    tokenizer = load(inputs.tokenizer, config.context_length)
    model = build_filter(config, tokenizer)
    crawl = crawl_pairs(inputs.shards, config.image_size)
    human, held_out = human_pairs(inputs.human, config.image_size).split(config.held_out)
    variants = text_variants(human, crawl) if config.text_variants else None
    checked = MatchingData(held_out, tokenizer, variants, seed=config.seed)
    mixed = _mixed(human, crawl, config.crawl_share)

    def learn(task: Task, data: MatchingData, phase: str) -> None:
        task.to(device_for(config.device))
        train(task, data, getattr(config, phase), job.output, reporter, config.seed, config.precision, phase)

    def matching() -> FilterTask:
        return FilterTask(model, momentum_contrast(model, config), checked, config.lm_weight, config.word_weight)

    learn(matching(), MatchingData(crawl, tokenizer, seed=config.seed), "pretrain")
    if config.caption.steps:
        described, unseen = human_pairs(inputs.human, config.image_size, "descriptive").split(config.held_out)
        captioning = CaptioningTask(model, MatchingData(unseen, tokenizer), config.word_dropout)
        learn(captioning, MatchingData(described, tokenizer, mirror=True), "caption")
    task = matching()
    strangers = [pair.text for pair in crawl.pairs]
    data = MatchingData(mixed, tokenizer, variants, True, config.seed, strangers, config.stranger_share)
    learn(task, data, "finetune")
    save_filter(model, job.output)
    final = {name: float(value) for name, value in task.evaluate().items()}
    reporter.finish(parameters=sum(p.numel() for p in model.parameters()), **final)


def build_filter(config: MatchingConfig, tokenizer: SimpleTokenizer) -> BlipFilter:
    """Return an initialised model; torch's global generator draws the weights."""
    return BlipFilter(
        BlipFilterConfig(
            vocab_size=tokenizer.vocab_size,
            start_token=tokenizer.sot_token_id,
            end_token=tokenizer.eot_token_id,
            image_size=config.image_size,
            patch_size=config.patch_size,
            width=config.width,
            heads=config.heads,
            stem_blocks=config.stem_blocks,
            image_layers=config.image_layers,
            text_layers=config.text_layers,
            context_length=config.context_length,
            embed_dim=config.embed_dim,
        )
    )


def momentum_contrast(model: BlipFilter, config: MatchingConfig) -> MomentumContrast | None:
    """Return the momentum encoder and queue of ``model`` for one phase; None where the queue is 0."""
    if config.queue == 0:
        return None
    return MomentumContrast(model, config.queue, config.momentum, config.alpha, config.alpha_ramp)


class FilterTask(Task):
    """ITC + ITM + LM + words on augmented images."""

    def __init__(
        self,
        model: BlipFilter,
        momentum: MomentumContrast | None,
        held_out: MatchingData,
        lm_weight: float,
        word_weight: float,
    ) -> None:
        super().__init__()
        self.model = model
        self.momentum = momentum
        self.held_out = held_out
        self.lm_weight = lm_weight
        self.word_weight = word_weight

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        images = augment(batch["images"], generator)
        return filter_loss(self.model, images, batch, generator, self.momentum, self.lm_weight, self.word_weight)

    @torch.no_grad()
    def evaluate(self) -> Figures:
        """Return loss, recall of true pairs and rejection of hard negatives on held-out human pairs."""
        indices = np.arange(min(len(self.held_out), 128))
        if len(indices) < 2:
            return {}
        batch = moved(self.held_out.batch(indices, np.zeros_like(indices)), self.device)
        generator = torch.Generator(self.device).manual_seed(0)
        images = to_signed(batch["images"])
        loss, figures = filter_loss(self.model, images, batch, generator, None, self.lm_weight, self.word_weight)
        return {"val/loss": loss, **{f"val/{name}": value for name, value in figures.items()}}


class CaptioningTask(Task):
    """LM alone, on augmented images."""

    def __init__(self, model: BlipFilter, held_out: MatchingData, word_dropout: float) -> None:
        super().__init__()
        self.model = model
        self.held_out = held_out
        self.word_dropout = word_dropout

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        grounding = self.model.encode_image(augment(batch["images"], generator))
        return language_loss(self.model, grounding, batch["tokens"], self.word_dropout, generator), {}

    @torch.no_grad()
    def evaluate(self) -> Figures:
        """Return the loss on held-out human pairs, given all words."""
        indices = np.arange(min(len(self.held_out), 128))
        if len(indices) == 0:
            return {}
        batch = moved(self.held_out.batch(indices, np.zeros_like(indices)), self.device)
        return {
            "val/loss": language_loss(self.model, self.model.encode_image(to_signed(batch["images"])), batch["tokens"])
        }


def text_variants(human: Pairs, crawl: Pairs) -> TextVariants:
    """Return what the human captions, image by image, and the crawl's texts teach about leaving out and exchanging."""
    texts: dict[int, list[str]] = {}
    for pair in human.pairs:
        texts.setdefault(pair.image, []).append(pair.text)
    return TextVariants(texts.values(), (pair.text for pair in crawl.pairs))


def _mixed(human: Pairs, crawl: Pairs, crawl_share: float) -> Pairs:
    """Return human pairs, repeated so often that the crawl's are about ``crawl_share`` of all; 0 leaves them out."""
    if crawl_share == 0:
        return human
    repeat = round(len(crawl.pairs) * (1 - crawl_share) / crawl_share / len(human.pairs))
    return joined(human, crawl, max(1, repeat))


if __name__ == "__main__":
    run(main, CaptionFilterConfig, CaptionFilterInputs)
