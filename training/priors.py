"""What the jobs of both priors share: image embeddings with the encoded captions of a blend, and their judge."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from open_clip import CLIP
from torch import Tensor

from training.batches import Batch
from training.data import BlendTexts, is_held_out, read_blend
from training.device import moved
from training.embeddings import encoder_digest, read_image_embeddings
from training.job import JobInputs
from training.models.clip import encode_text_states, load_clip
from training.models.prior import TextCondition
from training.task import Figures

MOST_HELD_OUT = 200
TEXTS_PER_PASS = 128

Sampler = Callable[[TextCondition, torch.Generator], Tensor]


class PriorInputs(JobInputs):
    clip: Path
    features: list[Path]
    blend: Path


class Embeddings:
    """Image embeddings, each with the caption that the blend draws for it in the epoch."""

    def __init__(self, keys: list[str], images: Tensor, texts: BlendTexts, encoded: TextCondition, seed: int) -> None:
        self.keys, self.images, self.texts, self.encoded, self.seed = keys, images, texts, encoded, seed

    def __len__(self) -> int:
        return len(self.keys)

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch:
        keys = [self.keys[index] for index in indices]
        captions = self.texts.draw(self.seed, epochs.tolist(), keys)
        return {"keys": keys, "images": self.images[indices], "text": self.encoded.take(captions)}

    def likeliest(self) -> TextCondition:
        """Return the caption that is drawn most often for each sample."""
        return self.encoded.take(self.texts.likeliest(self.keys))


@dataclass(frozen=True)
class PriorData:
    """Everything a prior learns from and is judged on."""

    training: Embeddings
    held_out: Embeddings
    clip: CLIP
    image_space: str

    @property
    def shape(self) -> dict[str, int]:
        """The sizes that CLIP dictates: arguments of a prior's constructor."""
        width = self.clip.token_embedding.weight.shape[1]
        return {
            "embed_dim": self.training.images.shape[1],
            "text_width": width,
            "context_length": self.clip.context_length,
        }


def load_prior_data(inputs: PriorInputs, held_out: float, seed: int) -> PriorData:
    """Read image embeddings, encode every caption of the blend once and part the held-out samples.

    Raises ValueError where no embedded image has a caption, EncoderMismatchError where the embeddings are another
    CLIP's.
    """
    clip, tokenizer = load_clip(inputs.clip)
    blend = read_blend(inputs.blend, "priors")
    keys, images = read_image_embeddings(inputs.features, inputs.clip)
    chosen = [n for n, key in enumerate(keys) if key in blend]
    if not chosen:
        raise ValueError(f"no image of {', '.join(map(str, inputs.features))} has a caption in {inputs.blend}")
    texts = BlendTexts({keys[n]: blend[keys[n]] for n in chosen})
    encoded = encode_captions(clip, tokenizer(texts.texts))

    def part(wanted: bool) -> Embeddings:
        rows = [n for n in chosen if is_held_out(keys[n], held_out) == wanted]
        return Embeddings([keys[n] for n in rows], images[rows], texts, encoded, seed)

    aside = part(True)
    few = Embeddings(aside.keys[:MOST_HELD_OUT], aside.images[:MOST_HELD_OUT], texts, encoded, seed)
    return PriorData(part(False), few, clip, encoder_digest(inputs.clip))


@torch.no_grad()
def encode_captions(clip: CLIP, tokens: Tensor) -> TextCondition:
    """Return CLIP's encoding of texts [N, L], cut to the longest of them."""
    longest = int(tokens.argmax(dim=1).max()) + 1
    parts = [encode_text_states(clip, chunk) for chunk in tokens[:, :longest].split(TEXTS_PER_PASS)]
    return TextCondition(*(torch.cat(column) for column in zip(*parts, strict=True)))


def judge(sample: Sampler, held_out: Embeddings, seed: int, device: torch.device) -> Figures:
    """Return the cosine of sampled and true image embeddings on held-out samples, beside its baselines.

    ``val/cosine`` is the prior's; ``val/cosine_of_text_embedding`` is reached with no prior at all;
    ``val/cosine_with_shuffled_captions`` is the prior's on other samples' captions, the floor.
    """
    count = len(held_out)
    if count < 2:
        return {}
    text, images = moved((held_out.likeliest(), held_out.images), device)
    others = torch.arange(count, device=device).roll(1)

    def drawn(text: TextCondition) -> Tensor:
        return sample(text, torch.Generator(device).manual_seed(seed))

    def cosine(embeddings: Tensor) -> float:
        return (embeddings * images).sum(dim=1).mean().item()

    return {
        "val/cosine": cosine(drawn(text)),
        "val/cosine_of_text_embedding": cosine(text.embedding),
        "val/cosine_with_shuffled_captions": cosine(drawn(text.take(others))),
    }
