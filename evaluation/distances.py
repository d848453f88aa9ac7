"""Distances between two sets of features: Frechet from mergeable sums, and the unbiased kernel distance.

Frechet distance (Heusel et al. 2017, eq. 6): ‖μ1-μ2‖² + Tr(Σ1 + Σ2 - 2 (Σ1 Σ2)^½), unbiased covariances,
float64 throughout. It is biased upwards in proportion to 1/N, so N is always published beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Sufficient statistics of a set of features: number, sum [d] and sum of outer products [d, d]."""

    n: float
    total: Array
    outer: Array

    @classmethod
    def empty(cls, dimension: int) -> "Moments":
        """Return the statistics of no features."""
        return cls(0.0, np.zeros(dimension), np.zeros((dimension, dimension)))

    @classmethod
    def of(cls, features: NDArray[np.floating], times: Array | None = None) -> "Moments":
        """Return the statistics of ``features`` [N, d]; ``times`` [N] says how often each counts, once if None."""
        x = np.asarray(features, dtype=np.float64)
        weights = np.ones(len(x)) if times is None else times
        return cls(float(weights.sum()), weights @ x, (x * weights[:, None]).T @ x)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.n + other.n, self.total + other.total, self.outer + other.outer)

    @property
    def mean(self) -> Array:
        """Mean [d]."""
        return self.total / self.n

    @cached_property
    def covariance(self) -> Array:
        """Unbiased covariance [d, d]. Raises ValueError below two features."""
        if self.n < 2:
            raise ValueError(f"a covariance needs two features, not {self.n:g}")
        centred = self.outer - np.outer(self.total, self.total) / self.n
        return (centred + centred.T) / 2 / (self.n - 1)

    @cached_property
    def root(self) -> Array:
        """Square root of the covariance [d, d], symmetric."""
        values, vectors = np.linalg.eigh(self.covariance)
        return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return the Frechet distance of two sets from their moments.

    Tr (Σ1 Σ2)^½ is the sum of the square roots of the eigenvalues of Σ2^½ Σ1 Σ2^½, which is symmetric,
    so that rounding can give neither complex nor unordered roots. The root of ``b`` is computed once for
    any number of sets measured against it.
    """
    product = b.root @ a.covariance @ b.root
    cross = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(0)).sum()
    difference = a.mean - b.mean
    return float(difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross)


def frechet_distance_of_few(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Return the same from features [N, d] and [M, d], at its best where N or M is below d.

    With centred features X and Y, Tr (Σ1 Σ2)^½ is the nuclear norm of X Yᵀ over √((N-1)(M-1)):
    a matrix of N by M, however large d is.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if min(len(x), len(y)) < 2:
        raise ValueError(f"a covariance needs two features, not {min(len(x), len(y))}")
    difference = x.mean(0) - y.mean(0)
    x, y = x - x.mean(0), y - y.mean(0)
    n, m = len(x) - 1, len(y) - 1
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum() / np.sqrt(n * m)
    return float(difference @ difference + (x**2).sum() / n + (y**2).sum() / m - 2 * cross)


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


def kernel_distance(x: NDArray[np.floating], y: NDArray[np.floating], subsets: int, size: int, seed: int) -> float:
    """Return KID: the mean over seeded subsets of the unbiased MMD² with k(x, y) = (x·y/d + 1)³.

    Source: Binkowski et al., "Demystifying MMD GANs" (2018). Subsets are no larger than either set.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    size = min(size, len(first), len(second))
    if size < 2:
        raise ValueError("a kernel distance needs two features on each side")
    return float(np.mean([_unbiased_mmd2(a, b) for a, b in _subsets(first, second, subsets, size, seed)]))


def _subsets(x: Array, y: Array, subsets: int, size: int, seed: int) -> Iterator[tuple[Array, Array]]:
    rng = np.random.default_rng(seed)
    for _ in range(subsets):
        yield x[rng.choice(len(x), size, replace=False)], y[rng.choice(len(y), size, replace=False)]


def _unbiased_mmd2(x: Array, y: Array) -> float:
    n, d = x.shape

    def kernel(a: Array, b: Array) -> Array:
        cubed: Array = (a @ b.T / d + 1) ** 3
        return cubed

    within = sum(k.sum() - np.trace(k) for k in (kernel(x, x), kernel(y, y))) / (n * (n - 1))
    return float(within - 2 * kernel(x, y).mean())
