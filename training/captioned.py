"""Latents with what a diffusion model is told of them, each with the caption that the blend draws in the epoch."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from training.aspect_buckets import BucketOrder
from training.batches import Batch
from training.config import OptimizerConfig
from training.data import BlendTexts, realised_shares
from training.latent_sets import LatentSet
from training.text_encoders.protocol import Condition
from training.text_encoders.states import Conditions


class Captioned:
    """Samples of a latent set: their latents, the states of a caption, and image embeddings where there are any."""

    def __init__(
        self,
        latents: LatentSet,
        members: Sequence[int],
        texts: BlendTexts,
        conditions: Conditions,
        images: Tensor | None,
        seed: int,
    ) -> None:
        self.latents, self.texts, self.conditions, self.images, self.seed = latents, texts, conditions, images, seed
        self.members = np.array(members, dtype=np.int64)
        self.keys = [latents.keys[number] for number in members]

    def __len__(self) -> int:
        return len(self.keys)

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch:
        keys = [self.keys[index] for index in indices]
        condition = self.told(indices, self.texts.draw(self.seed, epochs.tolist(), keys))
        return {"keys": keys, "latents": self.latents.take(self.members[indices]), "condition": condition}

    def told(self, indices: Sequence[int] | np.ndarray, captions: Tensor) -> Condition:
        """Return the condition of samples with captions of these numbers."""
        condition = self.conditions[captions]
        if self.images is None:
            return condition
        return condition.with_images(self.images[self.members[np.asarray(indices)]])

    def likeliest(self, most: int) -> list[tuple[Tensor, Condition, list[str]]]:
        """Return latents, condition and caption of the first samples, those of a bucket together.

        The caption is the one that is drawn most often.
        """
        parts = []
        for members in self.latents.by_bucket(self.members[:most].tolist()):
            captions = self.texts.likeliest([self.latents.keys[number] for number in members])
            condition = self.conditions[captions]
            if self.images is not None:
                condition = condition.with_images(self.images[members])
            parts.append((self.latents.take(members), condition, [self.texts.texts[n] for n in captions.tolist()]))
        return parts

    def shares(self, optimizer: OptimizerConfig) -> dict[str, float]:
        """Return the share of each source among the captions that training drew, as ``blend/<source>``."""
        return realised_shares(self, optimizer)


class Bucketed(Captioned):
    """The same where latents have several shapes: the samples of a step are of one."""

    def samples_of_step(self, seed: int, step: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the sample indices of a step and the epoch of each, both [batch_size]."""
        return self.order.samples_of_step(seed, step, batch_size)

    def shares(self, optimizer: OptimizerConfig) -> dict[str, float]:
        drawn: Counter[str] = Counter()
        for step in range(optimizer.steps):
            indices, epochs = self.samples_of_step(self.seed, step, optimizer.batch_size)
            for epoch in np.unique(epochs).tolist():
                keys = [self.keys[index] for index in indices[epochs == epoch]]
                drawn.update(self.texts.count_sources(self.seed, epoch, keys))
        return {f"blend/{source}": number / drawn.total() for source, number in sorted(drawn.items())}

    @cached_property
    def order(self) -> BucketOrder:
        """The samples of each bucket and their order."""
        bucket = self.latents.places[self.members, 0]
        return BucketOrder([np.flatnonzero(bucket == number) for number in np.unique(bucket)])


def aligned(latents: LatentSet, keys: list[str], embeddings: Tensor) -> Tensor:
    """Return image embeddings of unit variance in the order of the latents, [N, F]; unit-norm ones are given by key.

    Raises KeyError, naming a sample, where one has no embedding.
    """
    row = {key: number for number, key in enumerate(keys)}
    missing = [key for key in latents.keys if key not in row]
    if missing:
        raise KeyError(f"{len(missing)} of {len(latents)} samples have no image embedding, such as {missing[0]}")
    return embeddings[[row[key] for key in latents.keys]] * math.sqrt(embeddings.shape[1])


def dropped_from(condition: Condition, nothing: Condition, texts: Tensor, images: Tensor) -> Condition:
    """Return the condition with the texts and the image embeddings of some samples [B] replaced by no condition's."""
    return Condition(
        torch.where(texts[:, None, None], nothing.states, condition.states),
        torch.where(texts[:, None], nothing.embeddings, condition.embeddings),
        torch.where(images[:, None], torch.zeros_like(condition.images), condition.images),
    )
