"""All pairs of 64-bit hashes within a Hamming radius: exact, and in memory that grows with the hashes alone.

Hashes that differ in at most r bits, cut into m bands, agree in at least m - r of them (pigeonhole; Manku, Jain and
Das Sarma 2007, section 3). So for each choice of m - r bands the hashes are sorted by these bits, and only those
that agree in all of them are compared. More bands make more sorts and fewer comparisons: how many to take is read
off the hashes themselves, since hashes of real pictures crowd.
"""

import itertools
import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from t2i_assets.corpus.duplicates.config import HASH_BITS

Hashes: TypeAlias = NDArray[np.uint64]
Indices: TypeAlias = NDArray[np.int64]
Pairs: TypeAlias = tuple[Indices, Indices]

_CANDIDATES = 1 << 19
"""Candidates compared at once: a few MB, which stay in the processor's cache."""
_SORTS = 128
_PROBED = 1 << 16


def near_pairs(left: Hashes, right: Hashes, radius: int) -> Iterator[Pairs]:
    """Yield (indices into ``left``, indices into ``right``) of every pair within ``radius`` bits, each pair once."""
    masks = _masks(left, right, radius)
    for number, mask in enumerate(masks):
        by_left, by_right = np.argsort(left & mask), np.argsort(right & mask)
        low, high = left[by_left], right[by_right]
        begin = np.searchsorted(low & mask, high & mask, "left")
        end = np.searchsorted(low & mask, high & mask, "right")
        for a, b in _candidates(begin, end):
            found = _near(low[a] ^ high[b], radius, masks[:number])
            if found.any():
                yield by_left[a[found]], by_right[b[found]]


def near_pairs_among(hashes: Hashes, radius: int) -> Iterator[Pairs]:
    """Yield (smaller indices, larger indices) of every pair within ``radius`` bits, each pair once."""
    masks = _masks(hashes, hashes, radius)
    for number, mask in enumerate(masks):
        order = np.argsort(hashes & mask)
        ordered = hashes[order]
        end = np.searchsorted(ordered & mask, ordered & mask, "right")
        for a, b in _candidates(np.arange(1, len(order) + 1), end):
            found = _near(ordered[a] ^ ordered[b], radius, masks[:number])
            if found.any():
                one, other = order[a[found]], order[b[found]]
                yield np.minimum(one, other), np.maximum(one, other)


def _near(differences: Hashes, radius: int, before: list[np.uint64]) -> NDArray[np.bool_]:
    """Tell which pairs are within the radius and agree in none of the masks ``before``, which found them already."""
    near = np.bitwise_count(differences) <= radius
    if near.any():
        for mask in before:
            near &= (differences & mask) != 0
    return near


def _candidates(begin: Indices, end: Indices) -> Iterator[Pairs]:
    """Yield (a, b) for every a with ``begin[b] <= a < end[b]``, a bounded number at a time."""
    b = np.flatnonzero(end > begin)
    counts = (end - begin)[b]
    totals = np.cumsum(counts)
    start = 0
    while start < len(b):
        before = totals[start] - counts[start]
        stop = max(start + 1, int(np.searchsorted(totals, before + _CANDIDATES, "right")))
        part, size = b[start:stop], counts[start:stop]
        first = np.cumsum(size) - size
        a = np.arange(size.sum()) + np.repeat(begin[part] - first, size)
        yield a, np.repeat(part, size)
        start = stop


def _masks(left: Hashes, right: Hashes, radius: int) -> list[np.uint64]:
    """Return the choice of bits to agree in that costs least: candidates, estimated from random pairs, and sorts."""
    rng = np.random.default_rng(0)
    if len(left) == 0 or len(right) == 0:
        return []
    probed = rng.choice(left, _PROBED) ^ rng.choice(right, _PROBED)
    pairs, length = float(len(left)) * len(right), len(left) + len(right)
    cost: dict[float, list[np.uint64]] = {}
    for bands in range(max(1, radius), min(HASH_BITS, radius + 4) + 1):
        if math.comb(bands, bands - radius) > _SORTS or bands < radius + (radius == 0):
            continue
        masks = _agreeing(bands, bands - radius)
        shares = [max(float(np.mean((probed & mask) == 0)), 2.0 ** -int(mask).bit_count()) for mask in masks]
        cost[sum(pairs * share + 4 * length * math.log2(length + 1) for share in shares)] = masks
    return cost[min(cost)]


def _agreeing(bands: int, equal: int) -> list[np.uint64]:
    """Return the bits of each choice of ``equal`` among ``bands`` bands."""
    edges = np.linspace(0, HASH_BITS, bands + 1).astype(int)
    parts = [((1 << int(high - low)) - 1) << int(low) for low, high in itertools.pairwise(edges)]
    return [np.uint64(sum(chosen)) for chosen in itertools.combinations(parts, equal)]
