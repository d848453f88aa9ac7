"""Scores of generating models by arm of an experiment: means, paired differences and Frechet distances."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from evaluation.leaderboard import COMPOSITIONAL_CATEGORIES
from t2i_assets.claims.claim import Claim
from t2i_assets.claims.config import ClaimsConfig
from t2i_assets.claims.statistics import Array, Effect, Statistic, estimate

PROMPT_STYLES = ("descriptive", "original")
SCORES = ("clip_score", "compositional")
SHOWN = {"clip_score": "CLIP score", "compositional": "compositional", "fd_judge": "FD"}

Row = Mapping[str, Any]
Arm = TypeVar("Arm", bound=Hashable)


class Scores(Generic[Arm]):
    """Scores of the models of several arms, from EVALS rows by arm and seed.

    Raises ValueError where a score is missing.
    """

    def __init__(self, tables: Mapping[Arm, Sequence[Sequence[Row]]], config: ClaimsConfig) -> None:
        self.arms = list(tables)
        self.config = config
        self.seeds = len(next(iter(tables.values())))
        self.scenes = sorted({row["scene_id"] for row in next(iter(tables.values()))[0] if row["scene_id"] is not None})
        self.category = _categories(next(iter(tables.values()))[0], self.scenes)
        self._values = {
            (arm, style, score): self._of_scenes(of_seeds, style, score)
            for arm, of_seeds in tables.items()
            for style in PROMPT_STYLES
            for score in SCORES
        }
        self._distances = {
            (arm, style): [_distance(rows, style) for rows in of_seeds]
            for arm, of_seeds in tables.items()
            for style in PROMPT_STYLES
        }

    def score(self, arm: Arm, style: str, score: str) -> Effect:
        """Return the mean score of an arm's models on the prompts of one style, categories weighing alike."""
        return self._estimate(self._mean(arm, style, score))

    def difference(self, arm: Arm, base: Arm, style: str, score: str) -> Effect:
        """Return the difference of two arms' scores, paired by scene and seed."""
        ours, theirs = self._mean(arm, style, score), self._mean(base, style, score)
        return self._estimate(lambda s, c: ours(s, c) - theirs(s, c))

    def distance(self, arm: Arm, style: str) -> Effect:
        """Return the mean Frechet distance of an arm's models."""
        return self._of_draws([self._distances[arm, style]])

    def distance_gain(self, arm: Arm, base: Arm, style: str) -> Effect:
        """Return how much nearer to real pictures an arm's are than the base's, paired by resample and seed."""
        return self._of_draws([self._distances[base, style], self._distances[arm, style]])

    def _mean(self, arm: Arm, style: str, score: str) -> Statistic:
        values = self._values[arm, style, score]
        return lambda s, c: float(
            np.mean([(s @ values[:, of] @ c[of]) / (s.sum() * c[of].sum()) for of in self.category if c[of].sum()])
        )

    def _estimate(self, statistic: Statistic) -> Effect:
        return estimate(statistic, self.seeds, len(self.scenes), self.config)

    def _of_scenes(self, of_seeds: Sequence[Sequence[Row]], style: str, score: str) -> Array:
        names = COMPOSITIONAL_CATEGORIES if score == "compositional" else (score,)
        number = {scene: n for n, scene in enumerate(self.scenes)}
        values = np.full((len(of_seeds), len(self.scenes)), np.nan)
        for seed, rows in enumerate(of_seeds):
            for row in rows:
                if row["style"] == style and row["metric"] in names and row["scene_id"] is not None:
                    values[seed, number[row["scene_id"]]] = row["value"]
        if np.isnan(values).any():
            raise ValueError(f"{score} of {style} prompts is missing for {int(np.isnan(values).sum())} scenes")
        return values

    def _of_draws(self, terms: Sequence[Sequence[tuple[float, Array]]]) -> Effect:
        """Return first term − second; each is, by seed, a value and its resamples of the scenes."""
        signs = (1.0, -1.0)
        value = sum(sign * np.mean([v for v, _ in of_seeds]) for sign, of_seeds in zip(signs, terms, strict=False))
        rng = np.random.default_rng(0)
        seeds = rng.multinomial(self.seeds, np.full(self.seeds, 1 / self.seeds), size=self.config.resamples)
        draws = np.zeros(self.config.resamples)
        for sign, of_seeds in zip(signs, terms, strict=False):
            resamples = np.array([draw for _, draw in of_seeds])
            columns = np.arange(self.config.resamples) % resamples.shape[1]
            draws += sign * (seeds * resamples[:, columns].T).sum(axis=1) / self.seeds
        tail = (1 - self.config.interval) / 2
        low, high = np.quantile(draws, [tail, 1 - tail])
        return Effect(float(value), float(low), float(high))

    def shown(self, arm: Arm) -> dict[str, Effect]:
        """Return every score of an arm, by the names of ``columns``."""
        return {
            f"{name}, {style}": self.distance(arm, style) if score == "fd_judge" else self.score(arm, style, score)
            for style in PROMPT_STYLES
            for score, name in SHOWN.items()
        }

    def claim(
        self, name: str, statement: str, source: str, arm: Arm, base: Arm, compared: str, style: str, score: str
    ) -> Claim:
        """Return the claim that ``arm`` is better than ``base`` by a score on the prompts of one style."""
        nearer = score == "fd_judge"
        return Claim(
            name=name,
            statement=statement,
            source=source,
            compared=f"{compared}, {style} prompts",
            measure=f"{SHOWN[score]}, {'base − arm' if nearer else 'arm − base'}",
            effect=self.distance_gain(arm, base, style) if nearer else self.difference(arm, base, style, score),
            seeds=self.seeds,
            clusters=f"{len(self.scenes)} scenes",
        )


def columns() -> tuple[str, ...]:
    """Return the names of ``Scores.shown``, in order."""
    return tuple(f"{SHOWN[score]}, {style}" for style in PROMPT_STYLES for score in SHOWN)


def seed_notes(seeds: int) -> tuple[str, ...]:
    """Return what a reader should know of so many seeds."""
    return ("One model of each: the intervals are over scenes alone, not over trainings.",) if seeds == 1 else ()


def _categories(rows: Sequence[Row], scenes: Sequence[str]) -> list[np.ndarray]:
    """Return for each category which scenes are of it."""
    of_scene = {row["scene_id"]: row["category"] for row in rows if row["scene_id"] is not None}
    names = np.array([of_scene[scene] for scene in scenes])
    return [names == name for name in np.unique(names)]


def _distance(rows: Sequence[Row], style: str) -> tuple[float, Array]:
    of_style = [row for row in rows if row["style"] == style]
    value = next(row["value"] for row in of_style if row["metric"] == "fd_judge")
    draws = {row["seed"]: row["value"] for row in of_style if row["metric"] == "fd_judge/bootstrap"}
    return value, np.array([draws[n] for n in sorted(draws)])
