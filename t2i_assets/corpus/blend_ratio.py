"""A ratio of sources over a corpus in which not every sample has every source: iterative proportional fitting."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ROUNDS = 500
CONVERGED = 1e-10

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def fit_ratio(has: NDArray[np.bool_], sizes: Ints, ratio: Sequence[float]) -> Floats:
    """Return the probability of each source for each pattern of sources, [patterns, sources]; rows sum to 1.

    ``has`` [patterns, sources] tells which sources the samples of a pattern have (one at least), ``sizes`` [patterns]
    how many samples there are of it. The probability is proportional to one factor per source over the sources that a
    pattern has; factors are fitted (Deming and Stephan 1940) so that the mean over samples is ``ratio`` [sources], or
    as near as the patterns allow.
    """
    share = np.asarray(ratio, float)
    p = has * share
    p /= p.sum(axis=1, keepdims=True)
    target = share * sizes.sum()
    for _ in range(ROUNDS):
        got = sizes @ p
        fitted = p * np.divide(target, got, out=np.ones_like(target), where=got > 0)
        fitted /= fitted.sum(axis=1, keepdims=True)
        done = np.abs(fitted - p).max() < CONVERGED
        p = fitted
        if done:
            break
    return p
