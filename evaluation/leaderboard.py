"""From scores to the leaderboard: means, prompt-clustered intervals, floor and ceiling, paired differences.

Free of torch. Numbers compare where one version of a metric and one scorer gave both. Where they are not, there is
neither bound nor difference, and the warning of the line says what to score again.

* EVALS rows with a prompt are scores of images and are averaged here. ``compositional`` is the mean of the means of
  those of T2I-CompBench's categories that the prompts have, named in ``metric_version``; ``geneval`` is that of
  GenEval's six tasks, and of nothing less.
* Rows without a prompt belong to a whole set: ``fd_judge`` is the number, ``fd_judge/n`` the images behind it and
  ``fd_judge/scenes`` their scenes, ``fd_judge/real`` the real images that it is measured from, and
  ``fd_judge/bootstrap`` its resamples, numbered by ``seed``. Resamples of equal number drew the same scenes, so
  differences between recipes are paired as well.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation import geneval
from evaluation.bootstrap import Estimate, clustered_mean, percentiles
from evaluation.clip_definitions import CLIP_S, CLIP_SCORE, COSINES, REF_CLIP_S, REFERENCE_COSINE
from evaluation.config import LeaderboardConfig
from evaluation.geneval import GENEVAL_CATEGORIES
from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.prompt_files import COMPBENCH_CATEGORIES

COMPOSITIONAL_CATEGORIES = tuple(name for name in COMPBENCH_CATEGORIES if name != "non_spatial")
"""Those of T2I-CompBench whose scores are shares; that of non-spatial prompts is a cosine and stays apart."""
COMPOSITIONAL, GENEVAL = "compositional", geneval.SCORE
TORCHMETRICS = "clip_score_torchmetrics"
STORED = frozenset({*COSINES, REFERENCE_COSINE})
"""Metrics that others are derived from: kept per image, not shown."""
LIKE_CLIP_SCORE = frozenset({CLIP_S, REF_CLIP_S, TORCHMETRICS})
"""Metrics that order pictures of a prompt as ``clip_score`` does, or nearly so."""
WITHOUT_PICTURES = STORED | LIKE_CLIP_SCORE
"""Metrics whose best and worst pictures are not shown: those of ``clip_score`` stand for them."""
WITHOUT_BIAS = ("kid", "kd_")
"""How names of distances begin that do not depend on the number of images; those that end so do not either."""
LIMIT = "_infinity"

COUNTED = ("n", "scenes", "real")
"""How names of rows end that count what a score of a set rests on."""
BOUNDS = ("floor", "ceiling")
SYSTEMS = ("ceiling", "generated", "floor")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class By:
    """What gave a number: scores by others do not compare with it."""

    version: str
    scorer: str


@dataclass(frozen=True)
class Run:
    """Whose pictures were scored, on prompts of which style."""

    system: str
    recipe: str | None
    model: str | None
    style: str


@dataclass
class Line:
    """A row of LEADERBOARD to be."""

    run: Run
    metric: str
    by: By
    estimate: Estimate
    n: int
    scenes: int | None = None
    real_images: int | None = None
    baseline: str | None = None
    bounds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        whose = {each.name: getattr(self.run, each.name) for each in fields(self.run)}
        return whose | {
            **{"metric": self.metric, "metric_version": self.by.version, "scorer": self.by.scorer},
            **{"value": self.estimate.value, "low": self.estimate.low, "high": self.estimate.high},
            **{"n": self.n, "scenes": self.scenes, "real_images": self.real_images, "baseline": self.baseline},
            **{bound: self.bounds.get(bound) for bound in BOUNDS},
            "warning": "; ".join(self.warnings) or None,
        }


def leaderboard(tables: Iterable[pa.Table], config: LeaderboardConfig) -> list[dict[str, Any]]:
    """Return LEADERBOARD rows from EVALS tables: plain rows first, then differences from the baseline.

    Raises ValueError where one run was scored by one metric in two versions.
    """
    of_runs: dict[Run, list[Row]] = defaultdict(list)
    for table in tables:
        for row in table.to_pylist():
            of_runs[Run(row["system"], row["recipe"], row["model"], row["style"])].append(row)
    scores = [score for run in sorted(of_runs, key=_order) for score in _scores(run, of_runs[run])]
    plain = {score: score.line(config) for score in scores}
    _tell_bounds(plain)
    differences = list(_differences(plain, config))
    shown = [of for line in plain.values() for of in (line, *([_clamped(line)] if line.metric == CLIP_SCORE else []))]
    return [line.row() for line in (*shown, *differences)]


def _order(run: Run) -> tuple[Any, ...]:
    return run.style, SYSTEMS.index(run.system), run.recipe or "", run.model or ""


@dataclass(frozen=True, eq=False)
class OfImages:
    """Scores of images, by (metric, prompt, seed), whose means per metric are averaged."""

    run: Run
    metric: str
    by: By
    rows: Mapping[tuple[Any, ...], Row]

    def line(self, config: LeaderboardConfig) -> Line:
        return self._line([row["value"] for row in self.rows.values()], list(self.rows.values()), config)

    def less(self, other: "OfImages", config: LeaderboardConfig) -> Line | str:
        """Return the paired difference, over the prompts and seeds that both have; why there is none, where so."""
        shared = [key for key in self.rows if key in other.rows]
        if {key[0] for key in shared} != {key[0] for key in self.rows}:
            return "it drew none of these prompts from this seed"
        values = [self.rows[key]["value"] - other.rows[key]["value"] for key in shared]
        return self._line(values, [self.rows[key] for key in shared], config)

    def _line(self, values: Sequence[float], rows: Sequence[Row], config: LeaderboardConfig) -> Line:
        scenes = [str(row["scene_id"] or row["prompt_id"]) for row in rows]
        estimate = clustered_mean(
            values,
            scenes,
            [row["metric"] for row in rows],
            resamples=config.resamples,
            interval=config.interval,
            seed=config.seed,
        )
        images, number = len({(row["prompt_id"], row["seed"]) for row in rows}), len(set(scenes))
        return Line(self.run, self.metric, self.by, estimate, images, number, warnings=_too_few(number, config))


@dataclass(frozen=True, eq=False)
class OfSet:
    """A score of a whole set with its resamples by number, and why it is to be read with care."""

    run: Run
    metric: str
    by: By
    value: float
    resamples: Mapping[int, float]
    n: int
    scenes: int | None
    real_images: int | None
    reason: str | None

    def line(self, config: LeaderboardConfig) -> Line:
        return self._line(self.value, list(self.resamples.values()), [self.reason], config)

    def less(self, other: "OfSet", config: LeaderboardConfig) -> Line:
        """Return the difference, paired by resample."""
        paired = [self.resamples[n] - other.resamples[n] for n in sorted(self.resamples.keys() & other.resamples)]
        reasons = [self.reason or other.reason]
        ours, theirs = (self.n, self.real_images), (other.n, other.real_images)
        if ours != theirs and _depends_on_n(self.metric):
            reasons.append(f"{_counted(*ours)} against {_counted(*theirs)}: unlike bias")
        return self._line(self.value - other.value, paired, reasons, config)

    def _line(self, value: float, draws: list[float], reasons: list[str | None], config: LeaderboardConfig) -> Line:
        ends = percentiles(np.asarray(draws), config.interval) if len(draws) > 1 else (None, None)
        warnings = [reason for reason in reasons if reason is not None]
        if ends != (None, None) and self.scenes is not None:
            warnings += _too_few(self.scenes, config)
        estimate = Estimate(value, *ends)
        return Line(self.run, self.metric, self.by, estimate, self.n, self.scenes, self.real_images, warnings=warnings)


def _too_few(scenes: int, config: LeaderboardConfig) -> list[str]:
    few = f"{scenes} scenes: an interval from fewer than {config.few_scenes} holds the truth too seldom"
    return [few] if scenes < config.few_scenes else []


def _scores(run: Run, rows: list[Row]) -> Iterator[OfImages | OfSet]:
    of_images: dict[str, dict[tuple[Any, ...], Row]] = defaultdict(dict)
    of_set: dict[str, dict[int | None, Row]] = defaultdict(dict)
    by: dict[str, By] = {}
    for row in rows:
        metric, found = row["metric"], By(row["metric_version"], row["scorer"])
        if by.setdefault(metric, found) != found:
            raise ValueError(f"{_named(run)} has {metric} by {_told(by[metric])} and by {_told(found)}: keep one")
        if row["prompt_id"] is None:
            of_set[metric][row["seed"]] = row
        else:
            of_images[metric][metric, row["prompt_id"], row["seed"]] = row
    shown = sorted(of_images.keys() - STORED)
    means = {
        COMPOSITIONAL: [name for name in COMPOSITIONAL_CATEGORIES if name in shown],
        GENEVAL: list(GENEVAL_CATEGORIES) if set(GENEVAL_CATEGORIES) <= set(shown) else [],
    }
    for metric, parts in (means | {name: [name] for name in shown}).items():
        if parts:
            joined = {key: row for part in parts for key, row in of_images[part].items()}
            yield OfImages(run, metric, _together({p: by[p] for p in parts}) if metric in means else by[metric], joined)
    for metric in sorted(name for name in of_set if "/" not in name):
        resamples = {
            number: row["value"] for number, row in of_set[f"{metric}/bootstrap"].items() if number is not None
        }
        told = {of: int(of_set[f"{metric}/{of}"][None]["value"]) for of in COUNTED if f"{metric}/{of}" in of_set}
        whole = of_set[metric][None]
        counts = (told["n"], told.get("scenes"), told.get("real"))
        yield OfSet(run, metric, by[metric], whole["value"], resamples, *counts, whole["reason"])


def _together(parts: Mapping[str, By]) -> By:
    """Return what gave a mean: its parts by name, and their version and scorer, or a digest where these differ."""
    versions, scorers = {by.version for by in parts.values()}, {by.scorer for by in parts.values()}
    told = [[name, by.version, by.scorer] for name, by in parts.items()]
    version = versions.pop() if len(versions) == len(scorers) == 1 else f"mean+{digest(told)}"
    return By(f"{version} of {' '.join(parts)}", " ".join(sorted(scorers)))


def _tell_bounds(plain: Mapping[OfImages | OfSet, Line]) -> None:
    """Give each line the floor and the ceiling that one scorer and version gave, and say so where others did."""
    bounds: dict[tuple[str, str, str], list[Line]] = defaultdict(list)
    for line in plain.values():
        bounds[line.run.system, line.run.style, line.metric].append(line)
    for score, line in plain.items():
        for bound in BOUNDS:
            for other in bounds[bound, line.run.style, line.metric]:
                if other.by != line.by:
                    line.warnings.append(f"no {bound}: it is by {_told(other.by)}, this by {_told(line.by)}")
                    continue
                line.bounds[bound] = other.estimate.value
                if other.n != line.n and isinstance(score, OfSet) and _depends_on_n(line.metric):
                    line.warnings.append(f"the {bound} is of {other.n} images, this of {line.n}: unlike bias")


def _differences(plain: Mapping[OfImages | OfSet, Line], config: LeaderboardConfig) -> Iterator[Line]:
    """Yield each recipe's scores less the baseline's; where there is none, say on the plain line why."""
    generated = [score for score in plain if score.run.system == "generated"]
    baseline = [score for score in generated if score.run.recipe == config.baseline]
    for score in generated:
        if not baseline or score.run.recipe == config.baseline:
            continue
        found = [o for o in baseline if (o.metric, o.run.style) == (score.metric, score.run.style)]
        difference = _difference(score, found, config)
        if isinstance(difference, str):
            plain[score].warnings.append(f"no difference from {config.baseline}: {difference}")
        else:
            difference.baseline = config.baseline
            yield difference


def _difference(score: OfImages | OfSet, found: Sequence[OfImages | OfSet], config: LeaderboardConfig) -> Line | str:
    if not found:
        return "it has no such score"
    if len(found) > 1:
        return "two of its models have this score"
    [other] = found
    if other.by != score.by:
        return f"its score is by {_told(other.by)}, this by {_told(score.by)}; score both alike"
    if isinstance(score, OfImages) and isinstance(other, OfImages):
        return score.less(other, config)
    if isinstance(score, OfSet) and isinstance(other, OfSet):
        return score.less(other, config)
    return "one is of images, the other of a set"


def _clamped(line: Line) -> Line:
    """Return the mean CLIP score as torchmetrics tells it, clamped at 0."""
    low, high = (None if end is None else max(end, 0.0) for end in (line.estimate.low, line.estimate.high))
    estimate = Estimate(max(line.estimate.value, 0.0), low, high)
    bounds = {bound: max(value, 0.0) for bound, value in line.bounds.items()}
    return Line(line.run, TORCHMETRICS, line.by, estimate, line.n, line.scenes, None, None, bounds, line.warnings)


def _depends_on_n(metric: str) -> bool:
    return not (metric.startswith(WITHOUT_BIAS) or metric.endswith(LIMIT))


def _counted(images: int, real_images: int | None) -> str:
    return f"{images} images" + ("" if real_images is None else f" and {real_images} real ones")


def _told(by: By) -> str:
    return f"{by.version} with {by.scorer}"


def _named(run: Run) -> str:
    return f"{run.recipe or run.system} on {run.style} prompts"
