"""Job: train CLIP on the captions of a blend, from scratch or from a checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import CLIP
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor

from training.batches import Batch
from training.config import ClipConfig, ZeroShotConfig
from training.data import BlendTexts, is_held_out, load_images, read_blend, realised_shares
from training.device import device_for
from training.distributed import gather
from training.job import Job, JobInputs, run
from training.loop import train
from training.models.clip import (
    Tokenizer,
    build_clip,
    clip_config,
    encode_texts,
    image_size,
    open_pretrained,
    preprocess,
    save_clip,
)
from training.models.contrastive import (
    MAX_LOGIT_SCALE,
    class_embeddings,
    clip_loss,
    equal_captions,
    only_class,
    retrieval_recall,
    siglip_loss,
    zero_shot_hits,
)
from training.report import Reporter
from training.task import Figures, Task
from training.tokenizer import load as load_tokenizer

MOST_HELD_OUT = 500
PER_PASS = 250  # images or texts evaluated at a time


class ClipInputs(JobInputs):
    tokenizer: Path
    blend: Path
    shards: list[Path]


def main(job: Job[ClipConfig, ClipInputs], reporter: Reporter) -> None:
    """Train CLIP and write it as open_clip loads it."""
    config = job.config
    tokenizer: Tokenizer
    if config.pretrained is None:
        tokenizer = load_tokenizer(job.inputs.tokenizer, config.context_length)
        model_config = clip_config(config, tokenizer.vocab_size)
        clip = build_clip(model_config)
    else:
        clip, tokenizer, model_config = open_pretrained(config.pretrained)
    blend = read_blend(job.inputs.blend, "clip")
    keys, images = load_images(job.inputs.shards, image_size(clip), blend.keys())
    texts = BlendTexts(blend)
    tokens = tokenizer(texts.texts)

    held_out = [n for n, key in enumerate(keys) if is_held_out(key, config.held_out)]
    rest = sorted(set(range(len(keys))) - set(held_out))
    data = Pairs([keys[n] for n in rest], images[rest], texts, tokens, config.seed)
    held_out = held_out[:MOST_HELD_OUT]
    captions = texts.likeliest([keys[n] for n in held_out])
    classified = classifications(config.zero_shot, [texts.texts[n] for n in captions])
    task = Contrast(clip, tokenizer, config, HeldOut(images[held_out], tokens[captions], captions), classified)
    task.to(device_for(config.device))

    final = train(task, data, config.optimizer, job.output, reporter, config.seed, config.precision)
    save_clip(task.clip, model_config, tokenizer, job.output)
    shares = realised_shares(data, config.optimizer)
    reporter.log(config.optimizer.steps, config.optimizer.steps, **shares)
    reporter.finish(samples=len(data), held_out=len(held_out), texts=len(texts.texts), **final, **shares)


@dataclass(frozen=True)
class HeldOut:
    """Samples that CLIP is evaluated on: uint8 images [N, 3, S, S], tokens [N, L] and numbers of captions [N]."""

    images: Tensor
    tokens: Tensor
    captions: Tensor


@dataclass(frozen=True)
class Classification:
    """Which of the held-out samples are of one class [M], the class of each [M], and how the classes are prompted."""

    config: ZeroShotConfig
    samples: Tensor
    labels: Tensor


def classifications(tasks: Mapping[str, ZeroShotConfig], captions: Sequence[str]) -> dict[str, Classification]:
    """Return each classification that at least one caption names a class of."""
    found = {}
    for name, config in tasks.items():
        labels = [only_class(caption, config.classes) for caption in captions]
        samples = [n for n, label in enumerate(labels) if label is not None]
        if samples:
            chosen = [label for label in labels if label is not None]
            found[name] = Classification(config, torch.tensor(samples), torch.tensor(chosen))
    return found


class Contrast(Task):
    """CLIP with its contrastive loss, evaluated by retrieval and zero-shot classification of held-out samples.

    Raises ValueError where SigLIP's loss is asked for and the model has no bias.
    """

    def __init__(
        self,
        clip: CLIP,
        tokenizer: Tokenizer,
        config: ClipConfig,
        held_out: HeldOut,
        classified: Mapping[str, Classification],
    ) -> None:
        super().__init__()
        self.clip, self.tokenizer, self.config = clip, tokenizer, config
        self.held_out, self.classified = held_out, classified
        if config.loss == "siglip" and clip.logit_bias is None:
            raise ValueError("the loss 'siglip' needs a model with a logit_bias: this checkpoint was trained by 'clip'")
        if config.loss == "clip" and clip.logit_bias is not None:
            clip.logit_bias.requires_grad_(False)

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        images = move_randomly(preprocess(self.clip, batch["images"]), self.config.shift, generator)
        image_embeddings = self.clip.encode_image(images, normalize=True)
        text_embeddings = encode_texts(self.clip, batch["tokens"])
        everyones = (gather(part) for part in (image_embeddings, text_embeddings, batch["captions"]))
        loss = self._contrast(*everyones)
        return loss, {"logit_scale": self._scale().detach()}

    def checkpoint_gradients(self) -> None:
        if isinstance(self.clip.visual, ModifiedResNet):
            raise ValueError("open_clip's ResNets offer no gradient checkpointing: set gradient_checkpointing to false")
        self.clip.set_grad_checkpointing()

    def evaluate(self) -> Figures:
        device = self.device
        images, texts = self.held_out.images, self.held_out.tokens
        if not len(images):
            return {}
        captions = self.held_out.captions.to(device)
        image_embeddings = torch.cat(
            [self.clip.encode_image(preprocess(self.clip, part.to(device)), normalize=True).float()
             for part in images.split(PER_PASS)]
        )  # fmt: skip
        text_embeddings = self._embed(texts)
        figures: Figures = {"val/loss": self._contrast(image_embeddings, text_embeddings, captions)}
        right = equal_captions(captions)
        for k in (1, 5):
            to_text, to_image = retrieval_recall(image_embeddings, text_embeddings, right, k)
            figures |= {f"val/image_to_text_recall_at_{k}": to_text, f"val/text_to_image_recall_at_{k}": to_image}
        for name, task in self.classified.items():
            classes = class_embeddings(self._embed_texts, task.config.classes, task.config.templates)
            hits = zero_shot_hits(image_embeddings[task.samples.to(device)], classes, task.labels.to(device))
            figures |= {f"val/zero_shot_{name}": hits.float().mean(), f"val/zero_shot_{name}_images": len(hits)}
        return figures

    def _contrast(self, images: Tensor, texts: Tensor, captions: Tensor) -> Tensor:
        if self.config.loss == "siglip":
            bias = self.clip.logit_bias
            return siglip_loss(images, texts, self._scale(), bias, captions, self.config.false_negatives)
        return clip_loss(images, texts, self._scale(), captions, self.config.false_negatives)

    def _scale(self) -> Tensor:
        return self.clip.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    def _embed_texts(self, texts: list[str]) -> Tensor:
        return self._embed(self.tokenizer(texts))

    def _embed(self, tokens: Tensor) -> Tensor:
        return torch.cat([encode_texts(self.clip, part.to(self.device)).float() for part in tokens.split(PER_PASS)])


class Pairs:
    """Images, each with the caption that the blend draws for it in the epoch."""

    def __init__(self, keys: list[str], images: Tensor, texts: BlendTexts, tokens: Tensor, seed: int) -> None:
        self.keys, self.images, self.texts, self.tokens, self.seed = keys, images, texts, tokens, seed

    def __len__(self) -> int:
        return len(self.keys)

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch:
        keys = [self.keys[index] for index in indices]
        captions = self.texts.draw(self.seed, epochs.tolist(), keys)
        return {"keys": keys, "images": self.images[indices], "tokens": self.tokens[captions], "captions": captions}


def move_randomly(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Move each image by up to ``most`` pixels each way, edges repeated; [B, 3, H, W]."""
    if most == 0:
        return images
    size = images.shape[-1]
    padded = F.pad(images, [most] * 4, mode="replicate")
    corners = torch.randint(0, 2 * most + 1, (len(images), 2), generator=generator, device=images.device)
    rows = corners[:, 0, None] + torch.arange(size, device=images.device)
    columns = corners[:, 1, None] + torch.arange(size, device=images.device)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


if __name__ == "__main__":
    run(main, ClipConfig, ClipInputs)
