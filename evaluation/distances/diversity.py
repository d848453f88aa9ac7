"""Fidelity and diversity by nearest neighbours: precision and recall, density and coverage.

Sources: Kynkäänniemi et al., "Improved precision and recall" (2019); Naeem et al., "Reliable fidelity and diversity
metrics" (2020), equations 5 and 6, whose code (``prdc``) is followed: a neighbourhood is what lies strictly nearer
than the k-th neighbour, itself not counted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.distances.moments import Array

ROWS = 1024
"""Rows of a distance matrix that are in memory at a time."""


@dataclass(frozen=True)
class Neighbours:
    """Of the pictures, how many look real (precision, density); of real ones, how many are met (recall, coverage)."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbours(x: NDArray[np.floating], real: NDArray[np.floating], k: int = 5) -> Neighbours:
    """Return the four shares for features ``x`` [N, d] of pictures and ``real`` [M, d] of real ones.

    Raises ValueError where a set holds no more than ``k`` features.
    """
    made, true = np.asarray(x, dtype=np.float64), np.asarray(real, dtype=np.float64)
    if min(len(made), len(true)) <= k:
        raise ValueError(f"neighbourhoods of {k} need more than {k} features, not {min(len(made), len(true))}")
    made_radii, true_radii = _radii(made, k), _radii(true, k)
    inside = np.zeros(len(made), dtype=np.int64)
    recalled = covered = 0
    for start in range(0, len(true), ROWS):
        squared = _squared_distances(true[start : start + ROWS], made)
        within = squared < true_radii[start : start + ROWS, None]
        inside += within.sum(axis=0)
        covered += int(within.any(axis=1).sum())
        recalled += int((squared < made_radii).any(axis=1).sum())
    return Neighbours(
        precision=float((inside > 0).mean()),
        recall=recalled / len(true),
        density=float(inside.mean()) / k,
        coverage=covered / len(true),
    )


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
