"""Job: train CLIP from scratch on the captions of a blend."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import CLIP
from torch import Tensor

from training.config import ClipConfig
from training.data import BlendTexts, is_held_out, load_images, read_blend, realised_shares, to_signed
from training.job import Job, JobInputs, run
from training.loop import Batch, Figures, Task, train
from training.models.clip import (
    MAX_LOGIT_SCALE,
    build_clip,
    clip_config,
    clip_loss,
    encode_text_states,
    retrieval_recall,
    save_clip,
    trim,
)
from training.report import Reporter
from training.tokenizer import load as load_tokenizer

MOST_HELD_OUT = 500


class ClipInputs(JobInputs):
    tokenizer: Path
    blend: Path
    shards: list[Path]


def main(job: Job[ClipConfig, ClipInputs], reporter: Reporter) -> None:
    """Train CLIP and write it as open_clip loads it."""
    config = job.config
    tokenizer = load_tokenizer(job.inputs.tokenizer, config.context_length)
    blend = read_blend(job.inputs.blend, "clip")
    keys, images = load_images(job.inputs.shards, config.image_size, blend.keys())
    texts = BlendTexts(blend)
    tokens = tokenizer(texts.texts)

    held_out = [n for n, key in enumerate(keys) if is_held_out(key, config.held_out)]
    rest = sorted(set(range(len(keys))) - set(held_out))
    data = Pairs([keys[n] for n in rest], images[rest], texts, tokens, config.seed)
    held_out = held_out[:MOST_HELD_OUT]
    captions = texts.likeliest([keys[n] for n in held_out])
    model_config = clip_config(config, tokenizer.vocab_size)
    task = Contrast(build_clip(model_config), config, images[held_out], tokens[captions], captions)

    final = train(task, data, config.optimizer, job.output, reporter, config.seed, config.precision)
    save_clip(task.clip, model_config, job.inputs.tokenizer, job.output)
    shares = realised_shares(data, config.optimizer)
    reporter.log(config.optimizer.steps, config.optimizer.steps, **shares)
    reporter.finish(samples=len(data), held_out=len(held_out), texts=len(texts.texts), **final, **shares)


class Contrast(Task):
    """CLIP with its contrastive loss, evaluated by retrieval among held-out samples."""

    def __init__(self, clip: CLIP, config: ClipConfig, images: Tensor, tokens: Tensor, captions: Tensor) -> None:
        super().__init__()
        self.clip = clip
        self.shift = config.shift
        self.false_negatives = config.false_negatives
        self.held_out = (images, tokens, captions)

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        images = move_randomly(to_signed(batch["images"]), self.shift, generator)
        image_embeddings = self.clip.encode_image(images, normalize=True)
        _, _, text_embeddings = encode_text_states(self.clip, trim(batch["tokens"]))
        scale = self.clip.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
        loss = clip_loss(image_embeddings, text_embeddings, scale, batch["captions"], self.false_negatives)
        return loss, {"logit_scale": scale.detach()}

    def evaluate(self) -> Figures:
        images, tokens, captions = self.held_out
        if not len(images):
            return {}
        image_embeddings = self.clip.encode_image(to_signed(images), normalize=True).float()
        _, _, text_embeddings = encode_text_states(self.clip, trim(tokens))
        scale = self.clip.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
        figures: Figures = {"val/loss": clip_loss(image_embeddings, text_embeddings, scale, captions)}
        for k in (1, 5):
            to_text, to_image = retrieval_recall(image_embeddings, text_embeddings, captions, k)
            figures |= {f"val/image_to_text_recall_at_{k}": to_text, f"val/text_to_image_recall_at_{k}": to_image}
        return figures


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
