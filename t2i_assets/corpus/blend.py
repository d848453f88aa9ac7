"""The caption of a sample in an epoch: drawn by hash, so exact, repeatable and independent of workers.

Source of the idea: Betker et al., "Improving Image Generation with Better Captions" (DALL·E 3),
section 4: captions are blended when a sample is drawn.
"""

import hashlib
from collections.abc import Sequence
from itertools import accumulate


def uniform(seed: int, epoch: int, key: str) -> float:
    """Return a number in [0, 1) that depends on (seed, epoch, key) alone."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def draw(seed: int, epoch: int, key: str, weights: Sequence[float]) -> int:
    """Return the index of the caption drawn for a sample; ``weights`` sum to 1.

    Raises ValueError where there is nothing to draw.
    """
    if not weights:
        raise ValueError(f"sample {key} has no caption to draw")
    point = uniform(seed, epoch, key) * sum(weights)
    for index, bound in enumerate(accumulate(weights)):
        if point < bound:
            return index
    return len(weights) - 1


def is_held_out(key: str, fraction: float = 0.05) -> bool:
    """Whether a sample is kept out of training; depends on its key alone, so all jobs agree."""
    return uniform(0, 0, f"held out/{key}") < fraction
