"""Maximum mean discrepancy between two sets of features: KID with a polynomial kernel, CMMD with a Gaussian one.

A kernel matrix is never whole in memory: tiles of it are summed up by row, and by row within the row's cluster. From
these sums follow the distance and, for its interval, the distance without each cluster.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.distances.moments import Array, TooFewError, finite

CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0
SIDE = 1024
"""Rows and columns of a kernel matrix that are in memory at a time."""

Features = NDArray[np.floating]
Kernel = Callable[[Array, Array], Array]


def kernel_distance(
    x: Features, y: Features, subsets: int, size: int, seed: int, pairs_of_y: float | None = None
) -> float:
    """Return KID: the mean over seeded subsets of the unbiased MMD² with k(x, y) = (x·y/d + 1)³.

    Source: Binkowski et al., "Demystifying MMD GANs" (2018). Where a set holds no more than ``size``, both are taken
    whole, which is the mean over all subsets; ``pairs_of_y`` is then ``mean_of_pairs(y)``, where it is known. Raises
    TooFewError below two features.
    """
    if min(len(x), len(y)) < 2:
        raise TooFewError("a kernel distance needs two features on each side")
    if is_whole(len(x), len(y), size):
        of_y = mean_of_pairs(y) if pairs_of_y is None else pairs_of_y
        return mean_of_pairs(x) + of_y - 2 * _mean(x, y, _cubic)
    drawn = _subsets(x, y, subsets, size, seed)
    return float(np.mean([mean_of_pairs(a) + mean_of_pairs(b) - 2 * _mean(a, b, _cubic) for a, b in drawn]))


def is_whole(n: int, m: int, size: int) -> bool:
    """Return whether sets of ``n`` and ``m`` features are taken whole, as there are no several subsets of ``size``."""
    return min(n, m) <= size


def kernel_distance_left_out(x: Features, y: Features, clusters: NDArray[np.intp]) -> Array:
    """Return the unbiased MMD² of KID without each cluster of ``x`` [N], numbered from 0 in ``clusters`` [N].

    What ``y`` does to itself is left out: it is the same in all. Raises TooFewError where less than two would be left.
    """
    within = _sums_by_row(x, x, _cubic, clusters).minus(_diagonal(x))
    return _left_out(within, _sums_by_row(x, y, _cubic).rows / len(y), clusters, without_own=True)


def mean_of_pairs(x: Features) -> float:
    """Return the mean of KID's kernel over pairs of different features of ``x`` [N, d]."""
    n = len(x)
    return float(_sums_by_row(x, x, _cubic).rows.sum() - _diagonal(x).sum()) / (n * (n - 1))


def clip_mmd(x: Features, y: Features) -> float:
    """Return CMMD: 1000 times the biased MMD² of unit-norm features with k(x, y) = exp(-‖x-y‖²/(2·10²)).

    Source: Jayasumana et al., "Rethinking FID" (2024), section 4, and its code. It needs CLIP's features to be
    comparable with published figures. Raises TooFewError on an empty set, ValueError on a feature without direction.
    """
    first, second = _unit_norm(x), _unit_norm(y)
    return CMMD_SCALE * float(
        _mean(first, first, _gaussian) + _mean(second, second, _gaussian) - 2 * _mean(first, second, _gaussian)
    )


def clip_mmd_left_out(x: Features, y: Features, clusters: NDArray[np.intp]) -> Array:
    """Return CMMD without each cluster of ``x``, as ``kernel_distance_left_out`` has it."""
    first, second = _unit_norm(x), _unit_norm(y)
    within, across = _sums_by_row(first, first, _gaussian, clusters), _sums_by_row(first, second, _gaussian)
    return CMMD_SCALE * _left_out(within, across.rows / len(second), clusters, without_own=False)


@dataclass(frozen=True)
class _Sums:
    """Sums of a kernel matrix by row [N], and of those columns that are of the row's own cluster [N]."""

    rows: Array
    own_cluster: Array

    def minus(self, diagonal: Array) -> "_Sums":
        return _Sums(self.rows - diagonal, self.own_cluster - diagonal)


def _sums_by_row(x: Features, y: Features, kernel: Kernel, clusters: NDArray[np.intp] | None = None) -> _Sums:
    rows, own_cluster = np.zeros((2, len(x)))
    for a in _slices(len(x)):
        part = finite(x[a])
        for b in _slices(len(y)):
            tile = kernel(part, finite(y[b]))
            rows[a] += tile.sum(axis=1)
            if clusters is not None:
                own_cluster[a] += (tile * (clusters[a, None] == clusters[None, b])).sum(axis=1)
    return _Sums(rows, own_cluster)


def _left_out(within: _Sums, across: Array, clusters: NDArray[np.intp], without_own: bool) -> Array:
    sizes = np.bincount(clusters)
    left = len(clusters) - sizes
    if left.min() < 2:
        raise TooFewError("a set without one of its clusters holds less than two features")
    of_rows, of_own, of_across = (np.bincount(clusters, one) for one in (within.rows, within.own_cluster, across))
    pairs = left * (left - 1) if without_own else left**2
    left_within = (within.rows.sum() - 2 * of_rows + of_own) / pairs
    return np.asarray(left_within - 2 * (across.sum() - of_across) / left, dtype=np.float64)


def _subsets(x: Features, y: Features, subsets: int, size: int, seed: int) -> Iterator[tuple[Features, Features]]:
    rng = np.random.default_rng(seed)
    for _ in range(subsets):
        first, second = (side[rng.choice(len(side), size, replace=False)] for side in (x, y))
        yield first, second


def _diagonal(x: Features) -> Array:
    """Return the cubic kernel of each feature with itself, [N]."""
    parts = [((finite(x[a]) ** 2).sum(axis=1) / x.shape[1] + 1) ** 3 for a in _slices(len(x))]
    return np.concatenate(parts)


def _mean(x: Features, y: Features, kernel: Kernel) -> float:
    return float(_sums_by_row(x, y, kernel).rows.sum()) / (len(x) * len(y))


def _cubic(a: Array, b: Array) -> Array:
    cubed: Array = (a @ b.T / a.shape[1] + 1) ** 3
    return cubed


def _gaussian(a: Array, b: Array) -> Array:
    squared: Array = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    similarity: Array = np.exp(squared.clip(0) / (-2 * CMMD_SIGMA**2))
    return similarity


def _unit_norm(features: Features) -> Array:
    x = finite(features)
    if not len(x):
        raise TooFewError("CMMD needs features on each side")
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError("CMMD needs features with a direction, and none of length zero")
    return np.asarray(x / lengths, dtype=np.float64)


def _slices(n: int) -> Iterator[slice]:
    return (slice(start, start + SIDE) for start in range(0, n, SIDE))
