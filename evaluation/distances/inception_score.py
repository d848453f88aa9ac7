"""How sure and how diverse a classifier finds pictures (Salimans et al., "Improved techniques for training GANs")."""

import numpy as np
from numpy.typing import NDArray


def inception_score(logits: NDArray[np.floating], splits: int = 10, seed: int = 0) -> tuple[float, float]:
    """Return mean and standard deviation over ``splits`` parts of exp(E KL(p(y|x) ‖ p(y))), natural logarithm.

    ``logits`` [N, classes] are put in a seeded random order first, since pictures of one prompt often lie side by
    side. Raises ValueError where there are fewer pictures than parts.
    """
    if len(logits) < splits:
        raise ValueError(f"{len(logits)} pictures do not fill {splits} parts")
    mixed = np.asarray(logits, dtype=np.float64)[np.random.default_rng(seed).permutation(len(logits))]
    scores = [_score(part) for part in np.array_split(mixed, splits)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(logits: NDArray[np.float64]) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    marginal = p.mean(axis=0)
    log_marginal = np.log(np.where(marginal > 0, marginal, 1))
    return float(np.exp((p * (log_p - log_marginal)).sum(axis=1).mean()))
