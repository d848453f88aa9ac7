"""What a Frechet distance needs to know of a set of features, gathered a batch or a process at a time, in float64."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class TooFewError(ValueError):
    """A set holds too few features for a distance; the message says how many it needs."""


def finite(features: NDArray[np.floating]) -> Array:
    """Return features [N, d] in float64. Raises ValueError where one is no finite number, as a network that failed."""
    x = np.asarray(features, dtype=np.float64)
    if not np.isfinite(x).all():
        broken = np.flatnonzero(~np.isfinite(x).all(axis=1))
        raise ValueError(f"{len(broken)} of {len(x)} features are not finite, the first at {broken[0]}")
    return x


@dataclass(frozen=True)
class Moments:
    """Sufficient statistics of a set of features: number, mean [d] and scatter [d, d] around the mean.

    Sets are merged by the pairwise update of Chan, Golub and LeVeque (1979), which loses no digits where the mean is
    far from zero, as sums of squares would. ``+`` merges batches and processes alike, in any order.
    """

    n: float
    mean: Array
    scatter: Array

    @classmethod
    def empty(cls, dimension: int) -> "Moments":
        """Return the statistics of no features."""
        return cls(0.0, np.zeros(dimension), np.zeros((dimension, dimension)))

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> "Moments":
        """Return the statistics of ``features`` [N, d]. Raises ValueError where one is not finite."""
        x = finite(features)
        if not len(x):
            return cls.empty(x.shape[1])
        centred = x - (mean := x.mean(axis=0))
        return cls(float(len(x)), mean, centred.T @ centred)

    @classmethod
    def of_blocks(cls, blocks: Iterable[NDArray[np.floating]], dimension: int) -> "Moments":
        """Return the statistics of features that come in blocks [n, d], of which one at a time is in memory."""
        moments = cls.empty(dimension)
        for block in blocks:
            moments += cls.of(block)
        return moments

    def __add__(self, other: "Moments") -> "Moments":
        n = self.n + other.n
        if not n:
            return self
        difference = other.mean - self.mean
        between = np.outer(difference, difference * (self.n * other.n / n))
        return Moments(n, self.mean + difference * (other.n / n), self.scatter + other.scatter + between)

    @cached_property
    def covariance(self) -> Array:
        """Unbiased covariance [d, d]. Raises TooFewError below two features."""
        if self.n < 2:
            raise TooFewError(f"a covariance needs two features, not {self.n:g}")
        return (self.scatter + self.scatter.T) / 2 / (self.n - 1)

    @cached_property
    def cholesky(self) -> Array | None:
        """L [d, d], lower, with L Lᵀ the covariance; None where the rank is too low.

        Features that never vary, as dead units, have zeros in it and cost no rank.
        """
        alive = np.ix_(*[np.flatnonzero(np.diag(self.covariance) > 0)] * 2)
        factor = np.zeros_like(self.covariance)
        try:
            factor[alive] = np.linalg.cholesky(self.covariance[alive])
        except np.linalg.LinAlgError:
            return None
        return factor

    @cached_property
    def root(self) -> Array:
        """Square root of the covariance [d, d], symmetric."""
        values, vectors = np.linalg.eigh(self.covariance)
        return np.asarray((vectors * np.sqrt(values.clip(0))) @ vectors.T, dtype=np.float64)
