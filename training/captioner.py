"""Job: a captioner in two styles. CoCa is pretrained on the crawl's (image, alt text) pairs, then finetuned twice on
human captions: on descriptive ones (everything), and from there on short ones (the main subject): whoever can say
everything learns in a few steps to say less. Between the two it learns from its own captions of the crawl.

Source: Betker et al., "Improving Image Generation with Better Captions" (DALL·E 3), section 2.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.coca_model import CoCa
from torch import Tensor
from torch.nn import functional as F

from training.augment import augment
from training.batches import Batch
from training.config import CaptionerConfig
from training.data import to_signed
from training.device import device_for, moved
from training.job import Job, JobInputs, run
from training.loop import train
from training.models.coca import Captioner, build_coca, coca_config, coca_loss, save_captioner
from training.pairs import PairData, Style, crawl_pairs, human_pairs, joined
from training.report import Reporter
from training.self_training import sure_captions
from training.task import Figures, Task
from training.tokenizer import MERGES, load


class CaptionerInputs(JobInputs):
    tokenizer: Path
    shards: list[Path]
    human: Path


STYLES: tuple[Style, ...] = ("descriptive", "short")


def main(job: Job[CaptionerConfig, CaptionerInputs], reporter: Reporter) -> None:
    """Pretrain, finetune for one style after the other, and write ``descriptive/`` and ``short/`` as open_clip does."""
    config, inputs = job.config, job.inputs
    tokenizer = load(inputs.tokenizer, config.context_length)
    architecture = coca_config(
        vocab_size=tokenizer.vocab_size,
        image_size=config.image_size,
        patch_size=config.patch_size,
        width=config.width,
        image_layers=config.image_layers,
        text_layers=config.text_layers,
        decoder_layers=config.decoder_layers,
        heads=config.heads,
        context_length=config.context_length,
        stem_blocks=config.stem_blocks,
    )
    captioner = Captioner(build_coca(architecture), tokenizer, architecture)

    def learn(data: PairData, held_out: PairData | None, contrastive_weight: float, phase: str) -> CaptionerTask:
        word_dropout = 0.0 if contrastive_weight else config.word_dropout
        task = CaptionerTask(captioner.model, held_out, contrastive_weight, word_dropout)
        task.to(device_for(config.device))
        train(task, data, getattr(config, phase), job.output, reporter, config.seed, config.precision, phase)
        return task

    crawl = crawl_pairs(inputs.shards, config.image_size)
    learn(PairData(crawl, tokenizer), None, config.contrastive_weight, "pretrain")
    final: dict[str, Any] = {}
    for style in STYLES:
        human, held_out = human_pairs(inputs.human, config.image_size, style).split(config.held_out)
        task = learn(PairData(human, tokenizer, mirror=True), PairData(held_out, tokenizer), 0.0, style)
        if style == "descriptive" and config.self_training.steps:
            sure = sure_captions(captioner, crawl, config.views, config.seed)
            final["self_training/captions"] = len(sure.pairs)
            both = PairData(joined(human, sure), tokenizer, mirror=True)
            task = learn(both, PairData(held_out, tokenizer), 0.0, "self_training")
        final |= {f"{style}/{name}": float(value) for name, value in task.evaluate().items()}
        save_captioner(captioner, inputs.tokenizer / MERGES, job.output / style)
    reporter.finish(parameters=sum(p.numel() for p in captioner.model.parameters()), **final)


class CaptionerTask(Task):
    """CoCa's loss on augmented images; held-out pairs are scored as they are."""

    def __init__(self, model: CoCa, held_out: PairData | None, contrastive_weight: float, word_dropout: float) -> None:
        super().__init__()
        self.model = model
        self.held_out = held_out
        self.contrastive_weight = contrastive_weight
        self.word_dropout = word_dropout

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        images = augment(batch["images"], generator)
        return coca_loss(self.model, images, batch["tokens"], self.contrastive_weight, self.word_dropout, generator)

    @torch.no_grad()
    def evaluate(self) -> Figures:
        """Return loss and accuracy of the next token on held-out pairs, given all tokens before it."""
        if self.held_out is None or len(self.held_out) == 0:
            return {}
        indices = np.arange(min(len(self.held_out), 256))
        batch = moved(self.held_out.batch(indices, np.zeros_like(indices)), self.device)
        tokens = batch["tokens"]
        logits = self.model(to_signed(batch["images"]), tokens)["logits"].float()
        ends = tokens.argmax(dim=1, keepdim=True)
        labels = tokens[:, 1:]
        real = torch.arange(1, tokens.shape[1], device=tokens.device) <= ends
        loss = F.cross_entropy(logits[real], labels[real])
        return {"val/loss": loss, "val/token_accuracy": (logits.argmax(dim=2) == labels)[real].float().mean()}

    def checkpoint_gradients(self) -> None:
        self.model.set_grad_checkpointing(True)


if __name__ == "__main__":
    run(main, CaptionerConfig, CaptionerInputs)
