"""Fidelity and diversity by nearest neighbours: precision and recall, density and coverage.

Sources: Kynkäänniemi et al., "Improved precision and recall" (2019); Naeem et al., "Reliable fidelity and diversity
metrics" (2020), equations 5 and 6, whose code (``prdc``) is followed: a neighbourhood is what lies strictly nearer
than the k-th neighbour, itself not counted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.distances.moments import Array, TooFewError, finite

Features = NDArray[np.floating]
ROWS = 1024
"""Rows of a distance matrix that are in memory at a time."""


@dataclass(frozen=True)
class Neighbours:
    """Of the pictures, how many look real (precision, density); of real ones, how many are met (recall, coverage)."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbours(x: Features, real: Features, k: int = 5) -> Neighbours:
    """Return the four shares for features ``x`` [N, d] of pictures and ``real`` [M, d] of real ones.

    Raises TooFewError where a set holds no more than ``k`` features.
    """
    met = _met(x, real, np.arange(len(x)), k)
    return Neighbours(
        precision=float((met.inside > 0).mean()),
        recall=float((met.recalled_by != NOBODY).mean()),
        density=float(met.inside.mean()) / k,
        coverage=float((met.covered_by != NOBODY).mean()),
    )


def neighbours_left_out(x: Features, real: Features, clusters: NDArray[np.intp], k: int = 5) -> dict[str, Array]:
    """Return each share without each cluster of ``x``, numbered from 0 in ``clusters`` [N].

    Neighbourhoods stay as they are where a picture is left out: drawn anew around those that stay, they would grow
    into the gap, and intervals came out wider than the spread of samples.
    """
    met, number = _met(x, real, clusters, k), int(clusters.max()) + 1
    left = len(x) - np.bincount(clusters)
    precision, density = (
        (of_each.sum() - np.bincount(clusters, of_each)) / left for of_each in ((met.inside > 0) * 1.0, met.inside / k)
    )
    recall, coverage = (
        ((by != NOBODY).sum() - np.bincount(by[by >= 0], minlength=number)) / len(real)
        for by in (met.recalled_by, met.covered_by)
    )
    return {"precision": precision, "recall": recall, "density": density, "coverage": coverage}


NOBODY, SEVERAL = -1, -2


@dataclass(frozen=True)
class _Met:
    """In how many real neighbourhoods each picture is [N], and for each real one by whose pictures it is met [M].

    That is the number of the cluster, NOBODY or SEVERAL.
    """

    inside: NDArray[np.int64]
    covered_by: NDArray[np.intp]
    recalled_by: NDArray[np.intp]


def _met(x: Features, real: Features, clusters: NDArray[np.intp], k: int) -> _Met:
    if min(len(x), len(real)) <= k:
        raise TooFewError(f"neighbourhoods of {k} need more than {k} features, not {min(len(x), len(real))}")
    order = np.argsort(clusters, kind="stable")  # so that a row's first and last tell whether it is of one cluster
    made, true, whose = finite(x)[order], finite(real), clusters[order]
    made_radii, true_radii = _radii(made, k), _radii(true, k)
    inside = np.zeros(len(made), dtype=np.int64)
    covered, recalled = [], []
    for start in range(0, len(true), ROWS):
        squared = _squared_distances(true[start : start + ROWS], made)
        within = squared < true_radii[start : start + ROWS, None]
        inside[order] += within.sum(axis=0)
        covered.append(_by_whom(within, whose))
        recalled.append(_by_whom(squared < made_radii, whose))
    return _Met(inside, np.concatenate(covered), np.concatenate(recalled))


def _by_whom(hits: NDArray[np.bool_], whose: NDArray[np.intp]) -> NDArray[np.intp]:
    first, last = whose[hits.argmax(axis=1)], whose[::-1][hits[:, ::-1].argmax(axis=1)]
    return np.where(hits.any(axis=1), np.where(first == last, first, SEVERAL), NOBODY)


def _radii(x: Array, k: int) -> Array:
    """Return the squared distance of each feature from its k-th neighbour, [N]."""
    parts = []
    for start in range(0, len(x), ROWS):
        squared = _squared_distances(x[start : start + ROWS], x)
        own = np.arange(len(squared))
        squared[own, start + own] = -1  # itself comes first, whatever rounding says
        parts.append(np.partition(squared, k, axis=1)[:, k])
    return np.concatenate(parts)


def _squared_distances(x: Array, y: Array) -> Array:
    squared: Array = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
    return squared.clip(0, out=squared)
