"""How sure and how diverse a classifier finds pictures (Salimans et al., "Improved techniques for training GANs")."""

import numpy as np
from numpy.typing import NDArray

from evaluation.distances.moments import Array, TooFewError, finite


def inception_score(logits: NDArray[np.floating], splits: int = 10, seed: int = 0) -> float:
    """Return the mean over ``splits`` parts of exp(E KL(p(y|x) ‖ p(y))), natural logarithm.

    ``logits`` [N, classes] are put in a seeded random order first, since pictures of one prompt often lie side by
    side. Raises TooFewError where there are fewer pictures than parts.
    """
    return float(np.mean([_score(p.mean(axis=0), _negentropy(p).mean()) for p in _parts(logits, splits, seed)[0]]))


def inception_score_left_out(
    logits: NDArray[np.floating], clusters: NDArray[np.intp], splits: int = 10, seed: int = 0
) -> Array:
    """Return the score without the pictures of each cluster, numbered from 0 in ``clusters`` [N].

    Raises TooFewError where a part holds a single cluster.
    """
    parts, places = _parts(logits, splits, seed)
    number = int(clusters.max()) + 1
    total = np.zeros(number)
    for p, place in zip(parts, places, strict=True):
        there, own = np.unique(clusters[place], return_inverse=True)
        if len(there) < 2:
            raise TooFewError(f"one of {splits} parts holds pictures of one cluster alone")
        of_all = _negentropy(p)
        without = np.zeros((len(there), p.shape[1]))
        np.add.at(without, own, -p)
        left = (len(p) - np.bincount(own))[:, None]
        sure = (of_all.sum() - np.bincount(own, of_all)) / left[:, 0]
        total += _score(p.mean(axis=0), of_all.mean())
        total[there] += _score((without + p.sum(axis=0)) / left, sure) - _score(p.mean(axis=0), of_all.mean())
    return np.asarray(total / splits, dtype=np.float64)


def _parts(logits: NDArray[np.floating], splits: int, seed: int) -> tuple[list[Array], list[NDArray[np.intp]]]:
    """Return the probabilities [n, classes] of each part, and the places of its pictures."""
    if len(logits) < splits:
        raise TooFewError(f"{len(logits)} pictures do not fill {splits} parts")
    places = np.array_split(np.random.default_rng(seed).permutation(len(logits)), splits)
    return [_probabilities(finite(logits[place])) for place in places], places


def _probabilities(logits: Array) -> Array:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float64)


def _negentropy(p: Array) -> Array:
    """Return Σ p log p of each row, with 0 log 0 = 0."""
    return np.asarray((p * np.log(np.where(p > 0, p, 1))).sum(axis=-1), dtype=np.float64)


def _score(marginal: Array, sure: Array | float) -> Array:
    """Return exp of what pictures say on average less what they say together."""
    return np.asarray(np.exp(sure - _negentropy(marginal)), dtype=np.float64)
