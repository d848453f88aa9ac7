"""Maximum mean discrepancy between two sets of features: KID with a polynomial kernel, CMMD with a Gaussian one."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from evaluation.distances.moments import Array

CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0
ROWS = 1024
"""Rows of a kernel matrix that are in memory at a time."""


def kernel_distance(x: NDArray[np.floating], y: NDArray[np.floating], subsets: int, size: int, seed: int) -> float:
    """Return KID: the mean over seeded subsets of the unbiased MMD² with k(x, y) = (x·y/d + 1)³.

    Source: Binkowski et al., "Demystifying MMD GANs" (2018). Subsets are no larger than either set.
    """
    first, second = np.asarray(x), np.asarray(y)
    size = min(size, len(first), len(second))
    if size < 2:
        raise ValueError("a kernel distance needs two features on each side")
    return float(np.mean([_unbiased_mmd2(a, b) for a, b in _subsets(first, second, subsets, size, seed)]))


def clip_mmd(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Return CMMD: 1000 times the biased MMD² of unit-norm features with k(x, y) = exp(-‖x-y‖²/(2·10²)).

    Source: Jayasumana et al., "Rethinking FID" (2024), section 4, and its code. It needs CLIP's features to be
    comparable with published figures. Raises ValueError on an empty set or a feature without direction.
    """
    first, second = (_unit_norm(np.asarray(side, dtype=np.float64)) for side in (x, y))
    within = _mean_over_pairs(first, first, _gaussian) + _mean_over_pairs(second, second, _gaussian)
    return CMMD_SCALE * (within - 2 * _mean_over_pairs(first, second, _gaussian))


def _subsets(
    x: NDArray[np.floating], y: NDArray[np.floating], subsets: int, size: int, seed: int
) -> Iterator[tuple[Array, Array]]:
    rng = np.random.default_rng(seed)
    for _ in range(subsets):
        parts = (side[rng.choice(len(side), size, replace=False)] for side in (x, y))
        first, second = (part.astype(np.float64) for part in parts)
        yield first, second


def _unbiased_mmd2(x: Array, y: Array) -> float:
    n, d = x.shape

    def kernel(a: Array, b: Array) -> Array:
        cubed: Array = (a @ b.T / d + 1) ** 3
        return cubed

    within = sum(k.sum() - np.trace(k) for k in (kernel(x, x), kernel(y, y))) / (n * (n - 1))
    return float(within - 2 * kernel(x, y).mean())


def _unit_norm(x: Array) -> Array:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    if not len(x) or not lengths.all():
        raise ValueError("CMMD needs features on each side, and none of length zero")
    return x / lengths


def _gaussian(a: Array, b: Array) -> Array:
    squared: Array = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    similarity: Array = np.exp(squared.clip(0) / (-2 * CMMD_SIGMA**2))
    return similarity


def _mean_over_pairs(x: Array, y: Array, kernel: Callable[[Array, Array], Array]) -> float:
    return sum(kernel(x[start : start + ROWS], y).sum() for start in range(0, len(x), ROWS)) / (len(x) * len(y))
