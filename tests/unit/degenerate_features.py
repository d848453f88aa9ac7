"""Pairs of feature sets on which distances go wrong: few, alike, rank-deficient, far from zero."""

import numpy as np

D = 24
KINDS = ["random", "shifted", "identical", "rank-deficient", "fewer than features", "far from zero"]
REGULAR = ("random", "shifted", "far from zero")
"""Kinds whose covariances have a regular product."""


def sets(kind: str, d: int = D) -> tuple[np.ndarray, np.ndarray]:
    """Features [220, d] and [150, d] as float32 numbers, as networks give them: every library starts from the same."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(220, d)) @ rng.normal(size=(d, d)), rng.normal(size=(150, d)) @ rng.normal(size=(d, d)) + 1
    match kind:
        case "shifted":
            y = x + 3
        case "identical":
            y = x.copy()
        case "rank-deficient":
            x = x @ np.diag((np.arange(d) < d // 2) * 1.0)
        case "fewer than features":
            x, y = x[: 2 * d // 3], y[: d // 2]
        case "far from zero":
            x, y = x + 100, y + 103
    return x.astype(np.float32), y.astype(np.float32)


def scale(x: np.ndarray) -> float:
    """Return the trace of the covariance, which a distance's rounding is proportional to."""
    return float(np.trace(np.cov(x, rowvar=False)))
