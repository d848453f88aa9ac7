"""Leader clustering: samples in order of merit, each follows the first kept one that is near, else is kept itself.

So every follower is near the one that is kept for it, and no chain of small differences ties different things
together. Memory is bounded: pairs are only sought for a block of samples at a time, and those that follow are compared
with nothing any more. Blocks double while they are easy, so that the kept ones are gone through few times.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from t2i_assets.corpus.duplicates.hamming import Indices, Pairs

FIRST_BLOCK = 1024
MOST_PAIRS = 1 << 21


class Neighbours(Protocol):
    """What is near what; samples are named by their rank, 0 the first."""

    def of_kept(self, kept: Indices, new: Indices) -> Iterable[Pairs]:
        """Yield (kept, new) of every near pair; ``kept`` grows from call to call, and begins as before."""
        ...

    def among(self, new: Indices) -> Iterable[Pairs]:
        """Yield (smaller rank, larger rank) of every near pair of ``new``."""
        ...


def leaders(count: int, neighbours: Neighbours) -> Indices:
    """Return the rank of the sample that is kept for each of ``count`` samples; a kept one is its own."""
    leader = np.arange(count)
    kept = np.zeros(0, np.int64)
    begin, size = 0, FIRST_BLOCK
    while begin < count:
        block = np.arange(begin, min(count, begin + size))
        for of, new in neighbours.of_kept(kept, block):
            np.minimum.at(leader, new, of)
        waiting = block[leader[block] == block]
        pairs = _bounded(neighbours.among(waiting), len(waiting))
        if pairs is None:
            leader[block], size = block, size // 2
            continue
        for rank, earlier in _by_later(*pairs):
            free = earlier[leader[earlier] == earlier]
            if len(free):
                leader[rank] = free[0]
        kept = np.concatenate([kept, block[leader[block] == block]])
        begin, size = begin + len(block), size * 2
    return leader


def _bounded(found: Iterable[Pairs], samples: int) -> Pairs | None:
    """Return the pairs, or None where there are too many to hold and fewer samples would give fewer."""
    parts: list[Pairs] = []
    total = 0
    for part in found:
        parts.append(part)
        total += len(part[0])
        if total > MOST_PAIRS and samples > FIRST_BLOCK:
            return None
    none = np.zeros(0, np.int64)
    return (
        np.concatenate([none, *(earlier for earlier, _ in parts)]),
        np.concatenate([none, *(later for _, later in parts)]),
    )


def _by_later(earlier: Indices, later: Indices) -> Iterator[tuple[int, Indices]]:
    """Yield each later sample, in order, with the earlier ones that are near it, in order."""
    order = np.lexsort((earlier, later))
    earlier, later = earlier[order], later[order]
    ranks, starts = np.unique(later, return_index=True)
    yield from zip(ranks.tolist(), np.split(earlier, starts[1:]), strict=len(ranks) > 0)
