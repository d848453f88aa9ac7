"""What follows from the number of a step alone: its seed, its samples, its learning rate. So none of it is saved."""

import hashlib
import math
from functools import lru_cache

import numpy as np

from training.config import OptimizerConfig


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Return the seed of everything random in a step of one of the processes."""
    name = f"{seed}/{step}/{rank}" if rank else f"{seed}/{step}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def samples_of_step(seed: int, step: int, batch_size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sample indices of a step and the epoch of each, both [batch_size].

    Every epoch is a permutation of all ``count`` samples; a batch may reach over the end of an epoch, so each
    sample is drawn exactly once per epoch whatever the batch size. Raises ValueError where there are no samples.
    """
    if count == 0:
        raise ValueError("there is nothing to train on: the data holds 0 samples")
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = positions // count
    indices = np.empty(batch_size, dtype=np.int64)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        indices[chosen] = _order(seed, int(epoch), count)[positions[chosen] % count]
    return indices, epochs


def learning_rate(config: OptimizerConfig, step: int) -> float:
    """Return the learning rate of ``step`` (from 0): linear warm-up, then a cosine to zero or a constant."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * progress))


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)
