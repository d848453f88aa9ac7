"""Frechet and kernel distance of each style's pictures from held-out real images, in the judge's features.

``python -m evaluation.frechet --job job.json``

They are named for their features, ``fd_judge`` and ``kd_judge``: only Inception's make an "FID". Every system is
measured against the same held-out images; the ceiling is what real images of the prompts score, the floor what
they score with their patches shuffled. The Frechet distance is biased upwards in proportion to 1/N, so each row
comes with its N, and only rows of like N compare.

Its interval comes from a bootstrap over scenes. A resample repeats images, which adds bias of its own; the
resamples are therefore moved so that their mean is the measured distance.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import resample
from evaluation.config import FrechetConfig, System
from evaluation.distances import (
    Moments,
    frechet_distance,
    frechet_distance_of,
    frechet_distance_of_few,
    kernel_distance,
)
from evaluation.models.detector import TrainedDetector, load_detector
from evaluation.systems import EvaluationInputs, Exhibit, Images, Row, exhibits, scorer_digest, whose
from t2i_assets.corpus.schemas import EVALS
from t2i_assets.corpus.tables import write_table
from training.data import load_images
from training.job import Job, run
from training.report import Reporter

VERSION = "frechet-1"
Features = NDArray[np.float32]


def main(job: Job[FrechetConfig, EvaluationInputs], reporter: Reporter) -> None:
    """Write scores.parquet: for each system and style the two distances, their N and the resamples."""
    config = job.config
    judge = load_detector(job.inputs.scorer, config.batch_size)
    scorer = scorer_digest(job.inputs.scorer)
    real = real_features(judge, job.inputs.evaluation_set)
    rows: list[Row] = []
    figures: dict[str, float] = {"features": real.shape[1], "real_images": len(real)}
    shown = exhibits(config, job.inputs, judge.image_size)
    for step, exhibit in enumerate(shown, start=1):
        features = judge.features(pictures_of(exhibit, config))
        for style in sorted({pairing.prompt["style"] for pairing in exhibit.pairings}):
            members = [pairing for pairing in exhibit.pairings if pairing.prompt["style"] == style]
            scenes = [pairing.prompt["scene_id"] for pairing in members]
            values = distances(features[[pairing.image for pairing in members]], scenes, real, config)
            rows += [_row(config, exhibit.system, style, metric, seed, value, scorer) for metric, seed, value in values]
            plain = {metric: value for metric, seed, value in values if seed is None}
            figures |= {f"{exhibit.system}/{style}/{metric}": round(value, 6) for metric, value in plain.items()}
        reporter.log(step, len(shown), images=len(exhibit.pairings))
    write_table(job.output / "scores.parquet", rows, EVALS)
    reporter.finish(**figures)


def real_features(judge: TrainedDetector, evaluation_set: Path) -> Features:
    """Return the features of the held-out real images."""
    _, images = load_images([evaluation_set / "heldout"], judge.image_size)
    return judge.features(images.numpy())


def pictures_of(exhibit: Exhibit, config: FrechetConfig) -> Images:
    """Return a system's pictures; the floor's are real ones whose patches stand in a random order."""
    if exhibit.system != "floor":
        return exhibit.images
    return shuffle_patches(exhibit.images, config.patch, config.seed)


def shuffle_patches(images: Images, patch: int, seed: int) -> Images:
    """Return images [N, 3, S, S] with their square patches in a random order, another for each image.

    Raises ValueError where patches do not fill the side.
    """
    n, channels, side, _ = images.shape
    if side % patch:
        raise ValueError(f"patches of {patch} px do not fill a side of {side} px")
    rng = np.random.default_rng(seed)
    grid = side // patch
    patches = images.reshape(n, channels, grid, patch, grid, patch).transpose(0, 2, 4, 1, 3, 5)
    patches = patches.reshape(n, grid * grid, channels, patch, patch)
    mixed = np.stack([image[rng.permutation(grid * grid)] for image in patches])
    mixed = mixed.reshape(n, grid, grid, channels, patch, patch).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(mixed.reshape(n, channels, side, side))


def distances(
    features: Features, scenes: list[str], real: Features, config: FrechetConfig
) -> list[tuple[str, int | None, float]]:
    """Return (metric, resample, value) of one style's pictures; the resample is None for measured values.

    Raises ValueError below two images.
    """
    value = frechet_distance_of(features, real)
    resampled = resampled_distances(features, scenes, real, config)
    centred = value + resampled - resampled.mean() if len(resampled) else resampled
    kernel = kernel_distance(features, real, config.kernel_subsets, config.kernel_subset_size, config.seed)
    return [
        ("fd_judge", None, value),
        ("fd_judge/n", None, float(len(features))),
        *(("fd_judge/bootstrap", i, float(draw)) for i, draw in enumerate(centred)),
        ("kd_judge", None, kernel),
        ("kd_judge/n", None, float(len(features))),
    ]


def resampled_distances(
    features: Features, scenes: list[str], real: Features, config: FrechetConfig
) -> NDArray[np.float64]:
    """Return the Frechet distance of ``resamples`` draws of scenes, with replacement; none for a single scene.

    Draws depend on the seed and the number of scenes alone, so those of two models are paired.
    """
    names, cluster = np.unique(np.asarray(scenes), return_inverse=True)
    if len(names) < 2:
        return np.zeros(0)
    few = min(len(features), len(real)) < features.shape[1]
    target = Moments.of(real)
    draws = []
    for chunk in resample(np.zeros(len(names), np.intp), config.resamples, config.seed):
        for times in chunk[:, cluster]:
            if few:
                draws.append(frechet_distance_of_few(np.repeat(features, times.astype(int), axis=0), real))
            else:
                draws.append(frechet_distance(Moments.of(features, times), target))
    return np.asarray(draws)


def _row(
    config: FrechetConfig, system: System, style: str, metric: str, seed: int | None, value: float, scorer: str
) -> Row:
    return whose(config, system) | {
        "prompt_id": None,
        "scene_id": None,
        "style": style,
        "category": "all",
        "seed": seed,
        "metric": metric,
        "metric_version": VERSION,
        "scorer": scorer,
        "value": value,
        "reason": None,
    }


if __name__ == "__main__":
    run(main, FrechetConfig, EvaluationInputs)
