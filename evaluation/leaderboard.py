"""From per-image scores to the leaderboard: means, prompt-clustered intervals, paired differences between recipes.

Free of torch. EVALS rows with a prompt are scores of images and are averaged here. Rows without a
prompt belong to a whole set: ``fd_judge`` is the number, ``fd_judge/n`` the images behind it and
``fd_judge/bootstrap`` its resamples, numbered by ``seed``; resamples of equal number drew the same
scenes, so differences between recipes are paired as well. The reason of such a number, where it has one, says why it is
to be read with care: images fewer than features.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.bootstrap import Estimate, clustered_mean, percentiles
from evaluation.clip_definitions import CLIP_SCORE, COSINES, REFERENCE_COSINE
from evaluation.config import LeaderboardConfig

CATEGORIES = ("color", "shape", "texture", "spatial", "numeracy", "complex")
COMPOSITIONAL = "compositional"
"""Mean of the categories above. That of non-spatial prompts is a cosine and no share, so it stays apart."""
TORCHMETRICS = "clip_score_torchmetrics"
STORED = frozenset({*COSINES, REFERENCE_COSINE})
"""Metrics that others are derived from: kept per image, not shown."""

BOUNDS = ("floor", "ceiling")

Row = Mapping[str, Any]
Scores = dict[tuple[str, str, int | None], Row]
"""Scores of images by (metric, prompt, seed)."""


def leaderboard(tables: Iterable[pa.Table], config: LeaderboardConfig) -> list[dict[str, Any]]:
    """Return LEADERBOARD rows from EVALS tables: plain rows first, then differences from the baseline."""
    rows = [row for table in tables for row in table.to_pylist()]
    runs: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        runs[(row["system"], row["recipe"], row["model"], row["style"])].append(row)
    plain = [line for run in sorted(runs, key=_order) for line in _plain(run, runs[run], config)]
    bounds = {
        (line["system"], line["style"], line["metric"]): line["value"] for line in plain if line["system"] in BOUNDS
    }
    for line in plain:
        line |= {bound: bounds.get((bound, line["style"], line["metric"])) for bound in BOUNDS}
    return plain + list(_differences(runs, config))


def _order(run: tuple[Any, ...]) -> tuple[Any, ...]:
    system, recipe, model, style = run
    return style, ("ceiling", "generated", "floor").index(system), recipe or "", model or ""


def _plain(run: tuple[Any, ...], rows: list[Row], config: LeaderboardConfig) -> Iterable[dict[str, Any]]:
    scores = _image_scores(rows)
    for metric, members in _metrics(scores):
        picked = [row for (name, _, _), row in scores.items() if name in members]
        estimate = _mean(picked, [row["value"] for row in picked], config)
        yield _line(run, metric, estimate, picked, None, config)
        if metric == CLIP_SCORE:
            yield _line(run, TORCHMETRICS, _clamped(estimate), picked, None, config)
    for metric, whole in _set_scores(rows).items():
        estimate = _set_estimate(whole.value, list(whole.resamples.values()), config)
        yield _set_line(run, metric, estimate, whole.n, whole.reason, None)


def _differences(runs: dict[tuple[Any, ...], list[Row]], config: LeaderboardConfig) -> Iterable[dict[str, Any]]:
    """Yield each recipe's scores less the baseline's, over the prompts and seeds that both have."""
    baselines = {run[3]: rows for run, rows in runs.items() if run[0] == "generated" and run[1] == config.baseline}
    for run in sorted(runs, key=_order):
        if run[0] != "generated" or run[1] == config.baseline or run[3] not in baselines:
            continue
        ours, theirs = _image_scores(runs[run]), _image_scores(baselines[run[3]])
        shared = {key: row for key, row in ours.items() if key in theirs}
        for metric, members in _metrics(shared):
            keys = [key for key in shared if key[0] in members]
            picked = [shared[key] for key in keys]
            differences = [shared[key]["value"] - theirs[key]["value"] for key in keys]
            yield _line(run, metric, _mean(picked, differences, config), picked, config.baseline, config)
        other = _set_scores(baselines[run[3]])
        for metric, ours_whole in _set_scores(runs[run]).items():
            if metric in other:
                base, seeds = other[metric], ours_whole.resamples.keys() & other[metric].resamples.keys()
                paired = [ours_whole.resamples[seed] - base.resamples[seed] for seed in sorted(seeds)]
                estimate = _set_estimate(ours_whole.value - base.value, paired, config)
                n = min(ours_whole.n, base.n)
                reason = ours_whole.reason or base.reason
                yield _set_line(run, metric, estimate, n, reason, config.baseline)


def _line(
    run: tuple[Any, ...],
    metric: str,
    estimate: Estimate,
    rows: list[Row],
    baseline: str | None,
    config: LeaderboardConfig,
) -> dict[str, Any]:
    """Return the line of a mean over images, with a warning where their scenes are few."""
    scenes = len({_scene(row) for row in rows})
    few = f"{scenes} scenes: an interval from fewer than {config.few_scenes} holds the truth too seldom"
    return _told(run, metric, estimate, baseline) | {
        "n": len(_images(rows)), "scenes": scenes, "warning": few if scenes < config.few_scenes else None,
    }  # fmt: skip


def _set_line(
    run: tuple[Any, ...], metric: str, estimate: Estimate, n: int, warning: str | None, baseline: str | None
) -> dict[str, Any]:
    """Return the line of a score of a whole set."""
    return _told(run, metric, estimate, baseline) | {"n": n, "scenes": None, "warning": warning}


def _told(run: tuple[Any, ...], metric: str, estimate: Estimate, baseline: str | None) -> dict[str, Any]:
    system, recipe, model, style = run
    return {
        "system": system, "recipe": recipe, "model": model, "style": style, "metric": metric, "value": estimate.value,
        "low": estimate.low, "high": estimate.high, "baseline": baseline, "floor": None, "ceiling": None,
    }  # fmt: skip


def _clamped(estimate: Estimate) -> Estimate:
    """Return a mean as torchmetrics tells it, clamped at 0."""
    ends = (None if end is None else max(end, 0.0) for end in (estimate.low, estimate.high))
    return Estimate(max(estimate.value, 0.0), *ends)


def _image_scores(rows: list[Row]) -> Scores:
    return {(row["metric"], row["prompt_id"], row["seed"]): row for row in rows if row["prompt_id"] is not None}


def _metrics(scores: Scores) -> list[tuple[str, tuple[str, ...]]]:
    """Return each metric with the names it is made of; compositional is made of the categories."""
    names = sorted({metric for metric, _, _ in scores} - STORED)
    categories = tuple(category for category in CATEGORIES if category in names)
    made = [(COMPOSITIONAL, categories)] if categories else []
    return made + [(name, (name,)) for name in names]


def _mean(rows: list[Row], values: list[float], config: LeaderboardConfig) -> Estimate:
    return clustered_mean(
        values,
        [_scene(row) for row in rows],
        [row["metric"] for row in rows],
        resamples=config.resamples,
        interval=config.interval,
        seed=config.seed,
    )


def _scene(row: Row) -> str:
    return str(row["scene_id"] or row["prompt_id"])


def _images(rows: list[Row]) -> set[tuple[str, int | None]]:
    return {(row["prompt_id"], row["seed"]) for row in rows}


@dataclass(frozen=True)
class _Whole:
    """A score of a whole set: its value, resamples by number, images, and why it is to be read with care."""

    value: float
    resamples: dict[int, float]
    n: int
    reason: str | None


def _set_scores(rows: list[Row]) -> dict[str, _Whole]:
    whole = [row for row in rows if row["prompt_id"] is None]
    values = {row["metric"]: row["value"] for row in whole if row["seed"] is None}
    reasons = {row["metric"]: row["reason"] for row in whole if row["seed"] is None}
    resamples: dict[str, dict[int, float]] = defaultdict(dict)
    for row in whole:
        if row["metric"].endswith("/bootstrap"):
            resamples[row["metric"].removesuffix("/bootstrap")][row["seed"]] = row["value"]
    return {
        metric: _Whole(
            value,
            resamples[metric],
            int(values[f"{metric}/n"]),
            reasons[metric],
        )
        for metric, value in values.items()
        if "/" not in metric
    }


def _set_estimate(value: float, resamples: list[float], config: LeaderboardConfig) -> Estimate:
    if len(resamples) < 2:
        return Estimate(value, None, None)
    return Estimate(value, *percentiles(np.asarray(resamples), config.interval))
