"""From per-image scores to the leaderboard: means, prompt-clustered intervals, paired differences between recipes.

Free of torch. EVALS rows with a prompt are scores of images and are averaged here. Rows without a
prompt belong to a whole set: ``fd_judge`` is the number, ``fd_judge/n`` the images behind it and
``fd_judge/bootstrap`` its resamples, numbered by ``seed``; resamples of equal number drew the same
scenes, so differences between recipes are paired as well.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.bootstrap import Estimate, clustered_mean, percentiles
from evaluation.config import LeaderboardConfig

CATEGORIES = ("color", "shape", "texture", "spatial", "numeracy", "complex")
COMPOSITIONAL = "compositional"

Row = Mapping[str, Any]
Scores = dict[tuple[str, str, int | None], Row]
"""Scores of images by (metric, prompt, seed)."""


def leaderboard(tables: Iterable[pa.Table], config: LeaderboardConfig) -> list[dict[str, Any]]:
    """Return LEADERBOARD rows from EVALS tables: plain rows first, then differences from the baseline."""
    rows = [row for table in tables for row in table.to_pylist()]
    runs: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        runs[(row["system"], row["recipe"], row["model"], row["style"])].append(row)
    board = [line for run in sorted(runs, key=_order) for line in _plain(run, runs[run], config)]
    return board + list(_differences(runs, config))


def _order(run: tuple[Any, ...]) -> tuple[Any, ...]:
    system, recipe, model, style = run
    return style, ("ceiling", "generated", "floor").index(system), recipe or "", model or ""


def _plain(run: tuple[Any, ...], rows: list[Row], config: LeaderboardConfig) -> Iterable[dict[str, Any]]:
    scores = _image_scores(rows)
    for metric, members in _metrics(scores):
        picked = [row for (name, _, _), row in scores.items() if name in members]
        estimate = _mean(picked, [row["value"] for row in picked], config)
        yield _line(run, metric, estimate, len(_images(picked)), None)
    for metric, (value, resamples, n) in _set_scores(rows).items():
        yield _line(run, metric, _set_estimate(value, list(resamples.values()), config), n, None)


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
            yield _line(run, metric, _mean(picked, differences, config), len(_images(picked)), config.baseline)
        other = _set_scores(baselines[run[3]])
        for metric, (value, resamples, n) in _set_scores(runs[run]).items():
            if metric in other:
                base, base_resamples, base_n = other[metric]
                paired = [resamples[seed] - base_resamples[seed] for seed in resamples if seed in base_resamples]
                yield _line(run, metric, _set_estimate(value - base, paired, config), min(n, base_n), config.baseline)


def _line(run: tuple[Any, ...], metric: str, estimate: Estimate, n: int, baseline: str | None) -> dict[str, Any]:
    system, recipe, model, style = run
    return {
        "system": system, "recipe": recipe, "model": model, "style": style, "metric": metric, "value": estimate.value,
        "low": estimate.low, "high": estimate.high, "n": n, "baseline": baseline,
    }  # fmt: skip


def _image_scores(rows: list[Row]) -> Scores:
    return {(row["metric"], row["prompt_id"], row["seed"]): row for row in rows if row["prompt_id"] is not None}


def _metrics(scores: Scores) -> list[tuple[str, tuple[str, ...]]]:
    """Return each metric with the names it is made of; compositional is made of the categories."""
    names = sorted({metric for metric, _, _ in scores})
    categories = tuple(category for category in CATEGORIES if category in names)
    made = [(COMPOSITIONAL, categories)] if categories else []
    return made + [(name, (name,)) for name in names]


def _mean(rows: list[Row], values: list[float], config: LeaderboardConfig) -> Estimate:
    return clustered_mean(
        values,
        [row["scene_id"] or row["prompt_id"] for row in rows],
        [row["metric"] for row in rows],
        resamples=config.resamples,
        interval=config.interval,
        seed=config.seed,
    )


def _images(rows: list[Row]) -> set[tuple[str, int | None]]:
    return {(row["prompt_id"], row["seed"]) for row in rows}


def _set_scores(rows: list[Row]) -> dict[str, tuple[float, dict[int, float], int]]:
    """Return (value, resamples by number, images) of each metric of a whole set."""
    whole = [row for row in rows if row["prompt_id"] is None]
    values = {row["metric"]: row["value"] for row in whole if "/" not in row["metric"]}
    sizes = {row["metric"]: row["value"] for row in whole if row["metric"].endswith("/n")}
    resamples: dict[str, dict[int, float]] = defaultdict(dict)
    for row in whole:
        if row["metric"].endswith("/bootstrap"):
            resamples[row["metric"].removesuffix("/bootstrap")][row["seed"]] = row["value"]
    return {metric: (value, resamples[metric], int(sizes[f"{metric}/n"])) for metric, value in values.items()}


def _set_estimate(value: float, resamples: list[float], config: LeaderboardConfig) -> Estimate:
    if len(resamples) < 2:
        return Estimate(value, None, None)
    return Estimate(value, *percentiles(np.asarray(resamples), config.interval))
