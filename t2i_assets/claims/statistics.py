"""Intervals over two things that could have come out otherwise: the seed of a training, and the pictures looked at.

A resample draws seeds with replacement and, independently, clusters (pictures, or scenes of prompts) with replacement;
clusters are crossed with seeds, since every model of an experiment is shown the same ones. With two or three seeds the
seeds' part of the interval is coarse, and rather too narrow than too wide: docs/claims.md gives the number of seeds.

Source: Owen, "The pigeonhole bootstrap" (2007).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import percentiles
from t2i_assets.claims.config import ClaimsConfig

Array = NDArray[np.float64]
Statistic = Callable[[Array, Array], float]
"""From weights of the seeds [S] and of the clusters [C] to a number; all weights 1 give the estimate itself."""


@dataclass(frozen=True)
class Effect:
    """A number and its interval; NaN where there was nothing to measure it by."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "nothing to measure"
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def estimate(statistic: Statistic, seeds: int, clusters: int, config: ClaimsConfig) -> Effect:
    """Return the statistic and its interval over resampled seeds and clusters; resamples without a value are passed by.

    Raises ValueError where there is nothing to resample.
    """
    if not seeds or not clusters:
        raise ValueError("no seeds or no clusters: there is nothing to estimate from")
    rng = np.random.default_rng(0)
    by_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=config.resamples).astype(float)
    draws = []
    for of_seeds in by_seed:
        of_clusters = rng.multinomial(clusters, np.full(clusters, 1 / clusters)).astype(float)
        draws.append(statistic(of_seeds, of_clusters))
    array = np.asarray(draws)
    value = statistic(np.ones(seeds), np.ones(clusters))
    if not np.isfinite(value):
        return Effect(float("nan"), float("nan"), float("nan"))
    return Effect(value, *percentiles(array[np.isfinite(array)], config.interval))


def mean_of(values: Array) -> Statistic:
    """Return the statistic that is the mean of ``values`` [S, C]; NaN marks what a model was not asked."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    return lambda s, c: _divide(s @ filled @ c, s @ known @ c)


def ratio_of(numerators: Array, denominators: Array) -> Statistic:
    """Return the statistic that is sum over sum of [S, C] counts."""
    return lambda s, c: _divide(s @ numerators @ c, s @ denominators @ c)


def area_under_curve(values: Array, right: NDArray[np.bool_]) -> Statistic:
    """Return the statistic: the area under the ROC curve of ``values`` [S, C] for ``right`` [S, C], mean of seeds.

    It is the chance that a right one has a higher value than a wrong one, ties counting half (Hanley & McNeil 1982).
    """
    ties = [np.unique(row, return_inverse=True)[1] for row in values]

    def of_seed(seed: int, weights: Array) -> float:
        levels = int(ties[seed].max()) + 1
        good = np.bincount(ties[seed], weights * right[seed], levels)
        bad = np.bincount(ties[seed], weights * ~right[seed], levels)
        below = np.cumsum(bad) - bad
        return _divide(float(good @ (below + bad / 2)), float(good.sum() * bad.sum()))

    def area(s: Array, c: Array) -> float:
        return float(sum(w * of_seed(seed, c) for seed, w in enumerate(s) if w) / s.sum())

    return area


def _divide(above: Any, below: Any) -> float:
    return float(above / below) if below else float("nan")
