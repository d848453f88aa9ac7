"""Frechet distance (Heusel et al. 2017, eq. 6): ‖μ1-μ2‖² + Tr(Σ1 + Σ2 - 2 (Σ1 Σ2)^½), unbiased covariances.

Float64 throughout. It is biased upwards in proportion to 1/N, so N is always published beside it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.distances.moments import Array, Moments


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return the Frechet distance of two sets from their moments.

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
    product = factor.T @ other @ factor
    cross = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(0)).sum()
    difference = a.mean - b.mean
    return float(difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross)


def frechet_distance_of_few(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Return the same from features [N, d] and [M, d], at its best where N or M is below d.

    With centred features X and Y, Tr (Σ1 Σ2)^½ is the nuclear norm of X Yᵀ over √((N-1)(M-1)): a matrix of N by M,
    however large d is. Of a set larger than d its triangular factor does as well.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(f"a covariance needs two features, not {min(len(x), len(y))}")
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    difference = first.mean(0) - second.mean(0)
    first, second = first - first.mean(0), second - second.mean(0)
    n, m = len(first) - 1, len(second) - 1
    product = _no_taller_than_wide(first) @ _no_taller_than_wide(second).T
    cross = np.linalg.norm(product, "nuc") / np.sqrt(n * m)
    return float(difference @ difference + (first**2).sum() / n + (second**2).sum() / m - 2 * cross)


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
    """A distance freed of its bias in N: ``value`` at infinitely many images, and what it was measured from."""

    value: float
    slope: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def frechet_limit(
    x: NDArray[np.floating], real: Moments, *, sizes: int = 15, smallest: int | None = None, seed: int = 0
) -> FrechetLimit:
    """Return FID∞: where the line through distances over 1/N meets 1/N = 0 (Chong and Forsyth 2020, section 4).

    ``sizes`` random parts of ``x`` [N, d], from ``smallest`` (half of N if None) to all of it, evenly in 1/N, are
    measured against ``real``, whose own bias stays. Raises ValueError where the parts are no more than d features:
    there the bias is no line in 1/N.
    """
    n, dimension = x.shape
    smallest = max(n // 2, 2) if smallest is None else smallest
    if not dimension < smallest < n:
        raise ValueError(f"a limit needs parts of more than {dimension} features and fewer than {n}, not {smallest}")
    rng = np.random.default_rng(seed)
    counts = np.round(1 / np.linspace(1 / smallest, 1 / n, sizes)).astype(int)
    distances = [frechet_distance(Moments.of(x[rng.choice(n, count, replace=False)]), real) for count in counts]
    slope, intercept = np.polyfit(1 / counts, distances, deg=1)
    return FrechetLimit(float(intercept), float(slope), tuple(counts.tolist()), tuple(distances))
