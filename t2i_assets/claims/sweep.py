"""DALL·E 3's blend sweep: how much of the captions should be synthetic, and in which style."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.leaderboard import CATEGORIES
from t2i_assets.claims.claim import Claim, Finding
from t2i_assets.claims.config import ClaimsConfig, Style
from t2i_assets.claims.statistics import Array, Effect, Statistic, estimate

DALLE3 = "Betker et al. 2023 (DALL·E 3)"
PROMPT_STYLES = ("descriptive", "original")
SCORES = ("clip_score", "compositional")
SHOWN = {"clip_score": "CLIP score", "compositional": "compositional", "fd_judge": "FD"}

Row = Mapping[str, Any]
Arm = tuple[Style, float]


class Sweep:
    """Scores of the models of every blend, from EVALS rows by arm and seed; original texts alone are (style, 0)."""

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
        names = CATEGORIES if score == "compositional" else (score,)
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


def finding(sweep: Sweep) -> Finding:
    """Return the sweep's claims and its table."""
    best: Arm = ("descriptive", 0.95)
    none = next((arm for arm in sweep.arms if not arm[1]), ("descriptive", 0.0))
    pure: Arm = ("descriptive", 1.0)

    def claim(name: str, statement: str, arm: Arm, base: Arm, style: str, score: str, source: str) -> Claim | None:
        if not {arm, base} <= set(sweep.arms):
            return None
        effect = (
            sweep.distance_gain(arm, base, style) if score == "fd_judge" else sweep.difference(arm, base, style, score)
        )
        return Claim(
            name=name,
            statement=statement,
            source=source,
            compared=f"{told(arm)} against {told(base)}, {style} prompts",
            measure=f"{SHOWN[score]}, {'base − arm' if score == 'fd_judge' else 'arm − base'}",
            effect=effect,
            seeds=sweep.seeds,
            clusters=f"{len(sweep.scenes)} scenes",
        )

    section_3 = f"{DALLE3}, section 3"
    claims = [
        claim(
            "descriptive_captions_help",
            "Models trained on descriptive synthetic captions follow descriptive prompts better",
            best, none, "descriptive", "clip_score", section_3,
        ),
        claim(
            "descriptive_captions_compose",
            "They bind attributes and relations better",
            best, none, "descriptive", "compositional", f"{DALLE3}, table 1 (T2I-CompBench)",
        ),
        claim(
            "descriptive_captions_look_real",
            "Their pictures lie nearer to real ones",
            best, none, "descriptive", "fd_judge", "Li et al. 2024 (Recap-DataComp-1B)",
        ),
        claim(
            "more_synthetic_is_better",
            "More synthetic captions are better all the way to 95 %",
            best, ("descriptive", 0.65), "descriptive", "clip_score", section_3,
        ),
        claim(
            "descriptive_beats_short",
            "Descriptive captions teach more than short ones",
            best, ("short", 0.95), "descriptive", "clip_score", section_3,
        ),
        claim(
            "synthetic_helps_original_prompts",
            "Synthetic captions help on prompts as the web writes them, too",
            best, none, "original", "clip_score", section_3,
        ),
        claim(
            "five_percent_guard_against_tics",
            "5 % of original captions keep the model able to read original prompts",
            best, pure, "original", "clip_score", section_3,
        ),
        claim(
            "five_percent_keep_pictures_real",
            "5 % of original captions keep pictures for original prompts near to real ones",
            best, pure, "original", "fd_judge", section_3,
        ),
    ]  # fmt: skip
    return Finding(
        name="sweep",
        title="How much of the captions should be synthetic",
        setup="Latent diffusion models that differ in captions alone: same images, seeds, steps, autoencoder and text "
        "encoder (a CLIP trained on the 95/5 blend).",
        claims=[claim for claim in claims if claim is not None],
        columns=("captions", *(f"{SHOWN[score]}, {style}" for style in PROMPT_STYLES for score in SHOWN)),
        rows=[_row(sweep, arm) for arm in sweep.arms],
        notes=(
            "The text encoder has met synthetic and original captions; models of original captions alone use the same.",
            "Original texts are not filtered here: right ones are too few for half of a blend.",
            *(
                ["One model of each blend: the intervals are over scenes alone, not over trainings."]
                if sweep.seeds == 1
                else []
            ),
        ),
    )


def told(arm: Arm) -> str:
    """Return an arm in words."""
    style, share = arm
    return f"{share:.0%} {style}" if share else "original texts alone"


def _row(sweep: Sweep, arm: Arm) -> dict[str, Any]:
    row: dict[str, Any] = {"captions": told(arm), "style": arm[0], "share": arm[1]}
    for style in PROMPT_STYLES:
        for score, name in SHOWN.items():
            effect = sweep.distance(arm, style) if score == "fd_judge" else sweep.score(arm, style, score)
            row[f"{name}, {style}"] = effect
    return row


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
