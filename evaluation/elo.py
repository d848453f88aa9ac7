"""Elo ratings from people's pairwise votes, with intervals over prompts.

Source: Nichol et al., "GLIDE: Towards Photorealistic Image Generation and Editing with Text-Guided Diffusion Models"
(2021), appendix A: ratings σ minimise −Σ A_ij log P(i beats j) with P = 1 / (1 + 10^((σ_j − σ_i) / 400)), where A_ij
counts how often i was preferred to j and a tie is half a win for both. (The exponent's sign is inverted in print.) Only
differences matter, so ratings are moved to a mean of 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import Estimate, percentiles, resample

Array = NDArray[np.float64]

POINTS = 400 / log(10)
"""Elo points per unit of log-odds."""
STEPS = 200
LONGEST_STEP = 1.0
TOLERANCE = 1e-10


@dataclass(frozen=True)
class Vote:
    """One comparison: ``score`` is 1 where ``first`` was preferred, 0 where ``second`` was, 0.5 on a tie.

    Votes on pictures of one scene are a ``cluster``.
    """

    first: str
    second: str
    score: float
    cluster: str


@dataclass(frozen=True)
class Rating:
    """The rating of one player; the ends are None where too many resamples leave it unbounded."""

    player: str
    elo: Estimate
    votes: int
    clusters: int


class UnboundedRatingError(ValueError):
    """Somebody won, or lost, every comparison with the others: no finite ratings fit; the message says who."""


def elo_ratings(wins: Array) -> Array:
    """Return ratings [M] with a mean of 0 from wins [M, M], row over column; ties count ½ both ways.

    Raises UnboundedRatingError where the players fall into two groups one of which never won against the other.
    """
    if wins.shape[0] > 1 and not _bounded(wins[None])[0]:
        raise UnboundedRatingError("no finite ratings fit: some players never won against, or never met, the others")
    return _fit(wins[None])[0]


def rate(votes: Sequence[Vote], *, resamples: int, interval: float, seed: int) -> list[Rating]:
    """Return everybody's rating, best first, with percentile intervals over resampled clusters.

    Resamples in which ratings are unbounded are left out; where they are more than the tail of the interval, its ends
    are unknown. Raises UnboundedRatingError where the votes themselves leave ratings unbounded, ValueError without any.
    """
    if not votes:
        raise ValueError("no votes to rate by")
    players = sorted({name for vote in votes for name in (vote.first, vote.second)})
    clusters = sorted({vote.cluster for vote in votes})
    place, of = ({name: i for i, name in enumerate(names)} for names in (players, clusters))
    wins = np.zeros((len(clusters), len(players), len(players)))
    for vote in votes:
        first, second, cluster = place[vote.first], place[vote.second], of[vote.cluster]
        wins[cluster, first, second] += vote.score
        wins[cluster, second, first] += 1 - vote.score
    if not _bounded(wins.sum(0)[None])[0]:
        raise UnboundedRatingError(_unbounded(players, wins.sum(0)))
    values = _fit(wins.sum(0)[None])[0]
    ends = _intervals(wins, resamples, interval, seed)
    ratings = [
        Rating(
            player,
            Estimate(float(values[i]), *ends[i]),
            sum(player in (vote.first, vote.second) for vote in votes),
            len({vote.cluster for vote in votes if player in (vote.first, vote.second)}),
        )
        for i, player in enumerate(players)
    ]
    return sorted(ratings, key=lambda rating: -rating.elo.value)


def comparable(votes: Iterable[Vote]) -> list[frozenset[str]]:
    """Return the players in sets, the largest within which all ratings are finite, in order of their first names.

    Of two players in one set each reaches the other by a chain of wins or ties (Ford 1957); a set of one has no rating.
    """
    votes = list(votes)
    players = sorted({name for vote in votes for name in (vote.first, vote.second)})
    place = {name: i for i, name in enumerate(players)}
    wins = np.zeros((len(players), len(players)))
    for vote in votes:
        wins[place[vote.first], place[vote.second]] += vote.score
        wins[place[vote.second], place[vote.first]] += 1 - vote.score
    reach = _reach(wins)
    sets = {frozenset(np.flatnonzero(both).tolist()) for both in reach & reach.T}
    return [frozenset(players[i] for i in members) for members in sorted(sets, key=min)]


def _intervals(wins: Array, resamples: int, interval: float, seed: int) -> list[tuple[float | None, float | None]]:
    clusters, players, _ = wins.shape
    if clusters < 2:
        return [(None, None)] * players
    drawn = np.concatenate(list(resample(np.zeros(clusters, np.intp), resamples, seed)))
    matrices = np.tensordot(drawn, wins, axes=1)
    bounded = _bounded(matrices)
    if 1 - bounded.mean() > (1 - interval) / 2:
        return [(None, None)] * players
    ratings = _fit(matrices[bounded])
    return [percentiles(ratings[:, i], interval) for i in range(players)]


def _bounded(wins: Array) -> NDArray[np.bool_]:
    """Return for matrices [R, M, M] whether each player reaches every other by wins (Ford 1957): ratings are finite."""
    return np.asarray(_reach(wins).all(axis=(1, 2)))


def _reach(wins: Array) -> NDArray[np.bool_]:
    """Return for matrices [..., M, M] who reaches whom by a chain of wins."""
    reach = (wins > 0) | np.eye(wins.shape[-1], dtype=bool)
    for _ in range(wins.shape[-1].bit_length()):
        reach = reach @ reach
    return reach


def _unbounded(players: list[str], wins: Array) -> str:
    never = [name for name, row in zip(players, wins, strict=True) if not row.any()]
    always = [name for name, column in zip(players, wins.T, strict=True) if not column.any()]
    told = [f"{name} never won" for name in never] + [f"{name} never lost" for name in always]
    return f"no finite ratings fit: {', '.join(told) or 'some players never won against, or never met, the others'}"


def _fit(wins: Array) -> Array:
    """Return ratings [R, M] that minimise the loss of wins [R, M, M], by Newton's method with bounded steps."""
    met = wins + wins.transpose(0, 2, 1)
    players = wins.shape[-1]
    strength = np.zeros(wins.shape[:2])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(strength[:, None, :] - strength[:, :, None]))
        gradient = (wins - met * chance).sum(2)
        if np.abs(gradient).max(initial=0.0) <= TOLERANCE * max(1.0, float(wins.max(initial=0.0))):
            break
        weight = met * chance * (1 - chance)
        hessian = np.eye(players) * weight.sum(2)[:, :, None] - weight + 1 / players
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        strength += step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-300))
    return POINTS * (strength - strength.mean(1, keepdims=True))
