"""Bootstrap over clusters, vectorised: resample scenes, not images, since a scene's images are alike.

Each resample is a vector of how often each cluster was drawn, so a mean over a resample is a
matrix product with per-cluster sums, and no image is touched twice. What is no mean, as a distance of a whole set, is
resampled by what each scene does to it, the first-order term of the same bootstrap.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHUNK = 256


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval; the ends are None where fewer than two clusters leave them unknown."""

    value: float
    low: float | None
    high: float | None


def clustered_mean(
    values: Sequence[float] | NDArray[np.float64],
    clusters: Sequence[str],
    groups: Sequence[str] | None = None,
    *,
    resamples: int,
    interval: float,
    seed: int,
) -> Estimate:
    """Return the mean of the groups' means, with a percentile interval over resampled clusters.

    With ``groups`` None it is the plain mean. Clusters are resampled within strata of equal group
    membership, so every resample holds as many clusters of each group as the benchmark does.
    Raises ValueError where there is nothing to average.
    """
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        raise ValueError("no values to average")
    names, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    kinds, group = np.unique(np.asarray(groups if groups is not None else [""] * array.size), return_inverse=True)
    sums, counts = np.zeros((2, len(names), len(kinds)))
    np.add.at(sums, (cluster, group), array)
    np.add.at(counts, (cluster, group), 1.0)
    value = float(np.mean(sums.sum(0) / counts.sum(0)))
    if len(names) < 2:
        return Estimate(value, None, None)
    _, strata = np.unique(counts > 0, axis=0, return_inverse=True)
    draws = [np.mean((times @ sums) / (times @ counts), axis=1) for times in resample(strata.ravel(), resamples, seed)]
    return Estimate(value, *percentiles(np.concatenate(draws), interval))


def resample(strata: NDArray[np.intp], resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield [up to 256, C] counts of how often each of the C clusters is drawn, with replacement, in its stratum."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    for start in range(0, resamples, CHUNK):
        times = np.zeros((min(CHUNK, resamples - start), len(strata)))
        for member in members:
            times[:, member] = rng.multinomial(len(member), np.full(len(member), 1 / len(member)), size=len(times))
        yield times


def influence_of_leaving_out(left_out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each of C clusters does to a number, [C], from the number without each of them: the jackknife's.

    Source: Efron, "Bootstrap methods: another look at the jackknife" (1979), section 5. Raises ValueError below two.
    """
    if len(left_out) < 2:
        raise ValueError("a jackknife needs two clusters")
    return np.asarray((len(left_out) - 1) * (left_out.mean() - left_out), dtype=np.float64)


def linear_draws(influence: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Return by how much a number moves in each resample of the clusters, [resamples], to first order; 0 on average.

    ``influence`` is [C]. Draws depend on the seed and C alone, so those of two models are paired. Raises ValueError
    where no resample is asked for.
    """
    same = np.zeros(len(influence), np.intp)
    draws = np.concatenate([times @ influence / len(influence) for times in resample(same, resamples, seed)])
    return np.asarray(draws - draws.mean(), dtype=np.float64)


def percentiles(draws: NDArray[np.float64], interval: float) -> tuple[float, float]:
    """Return the ends of the central ``interval`` of ``draws``."""
    low, high = np.quantile(draws, [(1 - interval) / 2, (1 + interval) / 2])
    return float(low), float(high)
