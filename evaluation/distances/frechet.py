"""Frechet distance (Heusel et al. 2017, eq. 6): ‖μ1-μ2‖² + Tr(Σ1 + Σ2 - 2 (Σ1 Σ2)^½), unbiased covariances.

Float64 throughout. It is biased upwards in proportion to 1/N, so N is always published beside it. Of every form there
is the influence of each feature too: the derivative of the distance by how often the feature counts, for intervals
that cost one decomposition where a bootstrap costs one a resample.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.distances.moments import Array, Moments, TooFewError, finite


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return the Frechet distance of two sets from their moments. Raises TooFewError below two features.

    With Σ2 = F Fᵀ, Tr (Σ1 Σ2)^½ is the sum of the square roots of the eigenvalues of Fᵀ Σ1 F, which is symmetric, so
    that rounding can give neither complex nor unordered roots. F is Cholesky's of ``b``, or of ``a`` with the sets'
    parts exchanged, and the symmetric root where both ranks are too low. It is computed once for any number of sets
    measured against ``b``.
    """
    factor, other = b.cholesky, a.covariance
    if factor is None:
        factor, other = a.cholesky, b.covariance
    if factor is None:
        factor, other = b.root, a.covariance
    cross = np.sqrt(np.linalg.eigvalsh(_between(factor, other)).clip(0)).sum()
    difference = a.mean - b.mean
    return float(difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross)


def frechet_influence(a: Moments, b: Moments) -> Callable[[NDArray[np.floating]], Array]:
    """Return what gives the influence [n] on the distance of features [n, d] of the set behind ``a``.

    The derivative of Tr (Σ1 Σ2)^½ by Σ1 is T/2, where T = F (Fᵀ Σ1 F)^-½ Fᵀ carries one Gaussian into the other. Where
    the product is singular the inverse is taken on its range. Over the whole set influences sum to 0.
    """
    factor = b.root if b.cholesky is None else b.cholesky
    values, vectors = np.linalg.eigh(_between(factor, a.covariance))
    there = values > values.max() * len(values) * np.finfo(np.float64).eps
    carried = factor @ (vectors[:, there] / values[there] ** 0.25)
    mean = float(np.trace(a.covariance) - np.trace(carried.T @ a.covariance @ carried))

    def influence(features: NDArray[np.floating]) -> Array:
        centred = finite(features) - a.mean
        of_spread = (centred**2).sum(axis=1) - ((centred @ carried) ** 2).sum(axis=1)
        of_mean = 2 * centred @ (a.mean - b.mean)
        return np.asarray(of_mean + of_spread * a.n / (a.n - 1) - mean, dtype=np.float64)

    return influence


def frechet_distance_of_few(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Return the same from features [N, d] and [M, d], at its best where N or M is below d.

    With centred features X and Y, Tr (Σ1 Σ2)^½ is the nuclear norm of X Yᵀ over √((N-1)(M-1)): a matrix of N by M,
    however large d is. Of a set larger than d its triangular factor does as well. Raises TooFewError below two.
    """
    first, second, difference = _centred(x, y)
    n, m = len(first) - 1, len(second) - 1
    product = _no_taller_than_wide(first) @ _no_taller_than_wide(second).T
    cross = np.linalg.norm(product, "nuc") / np.sqrt(n * m)
    return float(difference @ difference + (first**2).sum() / n + (second**2).sum() / m - 2 * cross)


def frechet_influence_of_few(x: NDArray[np.floating], y: NDArray[np.floating]) -> Array:
    """Return the influence [N] of each of ``x`` on ``frechet_distance_of_few``; they sum to 0.

    A singular value s of X Yᵀ with left vector u grows by s u²/2 for each time more that a row of X counts.
    """
    first, second, difference = _centred(x, y)
    left, values, _ = np.linalg.svd(first @ _no_taller_than_wide(second).T, full_matrices=False)
    n, m = len(first), len(second) - 1
    of_cross = n / np.sqrt((n - 1) * m) * (left**2 @ values)
    influence = 2 * first @ difference + (first**2).sum(axis=1) * n / (n - 1) - of_cross
    return np.asarray(influence - influence.mean(), dtype=np.float64)


def _between(factor: Array, covariance: Array) -> Array:
    """Return Fᵀ Σ F, symmetric whatever rounding says."""
    product = factor.T @ covariance @ factor
    return np.asarray((product + product.T) / 2, dtype=np.float64)


def _centred(x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[Array, Array, Array]:
    """Return both sets around their means, and the difference of these."""
    if min(len(x), len(y)) < 2:
        raise TooFewError(f"a covariance needs two features, not {min(len(x), len(y))}")
    first, second = finite(x), finite(y)
    means = first.mean(0), second.mean(0)
    return first - means[0], second - means[1], means[0] - means[1]


def _no_taller_than_wide(x: Array) -> Array:
    """Return ``x`` [N, d], or where N > d the triangular R [d, d] of x = Q R: the norm of a product is the same."""
    if len(x) <= x.shape[1]:
        return x
    factor: Any = np.linalg.qr(x, mode="r")
    return np.asarray(factor, dtype=np.float64)


def frechet_distance_of(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Return the Frechet distance of features [N, d] and [M, d] by the form that suits their number."""
    if min(len(x), len(y)) < x.shape[1]:
        return frechet_distance_of_few(x, y)
    return frechet_distance(Moments.of(x), Moments.of(y))


def same_distribution_expectation(variance: float, dimension: int, n: int, m: int) -> float:
    """Return what two samples of one isotropic Gaussian lie apart on average: σ²(d(d+1)/4 + d)(1/n + 1/m).

    First order in 1/n: the distance's bias, and a floor below which no difference can be seen.
    """
    return variance * (dimension * (dimension + 1) / 4 + dimension) * (1 / n + 1 / m)


@dataclass(frozen=True)
class FrechetLimit:
    """A distance freed of its bias in N: ``value`` at infinitely many images, and what it was measured from.

    ``influence`` [N] is that of each feature on the value; it sums to 0.
    """

    value: float
    slope: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]
    influence: Array = field(compare=False)


def frechet_limit(
    x: NDArray[np.floating], real: Moments, *, sizes: int = 15, smallest: int | None = None, seed: int = 0
) -> FrechetLimit:
    """Return FID∞: where the line through distances over 1/N meets 1/N = 0 (Chong and Forsyth 2020, section 4).

    ``sizes`` random parts of ``x`` [N, d], from ``smallest`` (half of N if None) to all of it, evenly in 1/N, are
    measured against ``real``, whose own bias stays. Raises TooFewError where the parts are no more than d features:
    there the bias is no line in 1/N.
    """
    n, dimension = x.shape
    smallest = max(n // 2, 2) if smallest is None else smallest
    if not dimension < smallest < n:
        raise TooFewError(f"a limit needs parts of more than {dimension} features and fewer than {n}, not {smallest}")
    rng = np.random.default_rng(seed)
    counts = np.round(1 / np.linspace(1 / smallest, 1 / n, sizes)).astype(int)
    to_line = np.linalg.pinv(np.stack([1 / counts, np.ones(sizes)], axis=1))
    distances, influence = [], np.zeros(n)
    for count, to_value in zip(counts, to_line[1], strict=True):
        part = rng.choice(n, count, replace=False)
        moments = Moments.of(x[part])
        distances.append(frechet_distance(moments, real))
        influence[part] += to_value * frechet_influence(moments, real)(x[part]) * n / count
    slope, intercept = to_line @ distances
    return FrechetLimit(float(intercept), float(slope), tuple(counts.tolist()), tuple(distances), influence)
