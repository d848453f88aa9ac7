"""Job: distances of each style's pictures from real ones, from features that were computed once for all of them.

``python -m evaluation.frechet --job job.json``

Distances are named for their features, ``fd_judge`` and ``kd_judge``: only those of the published Inception weights are
a ``fid`` and a ``kid``. Every system is measured against the same real images; the ceiling is what real images of the
prompts score, the floor what they score with their patches shuffled. The Frechet distance is biased upwards in
proportion to 1/N, so each row comes with its N, only rows of like N compare, and one of fewer images than features
says so.

Its interval comes from a bootstrap over scenes. A resample repeats images, which adds bias of its own; the
resamples are therefore moved so that their mean is the measured distance.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import resample
from evaluation.config import FrechetConfig, System
from evaluation.distances import (
    Moments,
    clip_mmd,
    frechet_distance,
    frechet_distance_of_few,
    frechet_limit,
    inception_score,
    kernel_distance,
    neighbours,
)
from evaluation.features.store import Features, FeatureSet, feature_sets
from evaluation.systems import Row, read_prompts, shuffled, whose
from t2i_assets.corpus.schemas import EVALS, GENERATED
from t2i_assets.corpus.tables import read_rows, write_table
from training.job import Job, JobInputs, run
from training.report import Reporter

VERSION = "frechet-2"
PUBLISHED = "fid"
"""What the encoder of the published FID is called."""
COLLECTIONS: dict[System, str] = {"generated": "generated", "ceiling": "reference", "floor": "shuffled"}


class FrechetInputs(JobInputs):
    """``scorer`` holds features of real pictures; ``features`` those of the model's, whose rows are in ``images``."""

    evaluation_set: Path
    scorer: Path
    images: Path | None = None
    features: Path | None = None


@dataclass(frozen=True)
class Sample:
    """Features of some pictures of a set, read as far as a distance needs them, and the scene of each picture."""

    features: FeatureSet
    keys: list[str]
    scenes: list[str]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def dimension(self) -> int:
        return self.features.about.dimension

    @cached_property
    def moments(self) -> Moments:
        """Their moments, with one shard in memory at a time."""
        times = {key: 0 for key in self.keys}
        for key in self.keys:
            times[key] += 1
        moments, place = Moments.empty(self.dimension), 0
        for block in self.features.blocks():
            own = self.features.keys[place : place + len(block)]
            moments += Moments.of(block, np.array([times.get(key, 0) for key in own], dtype=np.float64))
            place += len(block)
        return moments

    @cached_property
    def rows(self) -> Features:
        """All of them, [N, d]."""
        return self.features.rows(self.keys)


@dataclass(frozen=True)
class Measured:
    """One number about a sample: of a whole set, or a numbered resample of it."""

    metric: str
    value: float
    resample: int | None = None
    reason: str | None = None


def main(job: Job[FrechetConfig, FrechetInputs], reporter: Reporter) -> None:
    """Write scores.parquet: for each encoder, system and style the distances, their N and the resamples."""
    config = job.config
    prompts = read_prompts(job.inputs.evaluation_set)
    references = feature_sets(job.inputs.scorer / "heldout")
    rows: list[Row] = []
    figures: dict[str, float] = {}
    total = len(config.systems) * len(references)
    for system in config.systems:
        for encoder, features in references.items():
            real = Sample(features, features.keys, features.keys)
            figures |= {f"{encoder}/features": real.dimension, f"{encoder}/real_images": len(real)}
            for style, made in samples(system, encoder, prompts, job.inputs, config.seed).items():
                measured = list(distances(made, real, encoder, config))
                rows += [_row(config, system, style, one, made.features) for one in measured]
                plain = {one.metric: one.value for one in measured if one.resample is None}
                figures |= {f"{system}/{style}/{metric}": round(value, 6) for metric, value in plain.items()}
            reporter.log(len(figures), max(total, len(figures)), images=len(made))
    write_table(job.output / "scores.parquet", rows, EVALS)
    reporter.finish(**figures)


def samples(system: System, encoder: str, prompts: list[Row], inputs: FrechetInputs, seed: int) -> dict[str, Sample]:
    """Return the features of a system's pictures by the style of their prompts.

    Raises ValueError where they are not given, or pictures are of prompts that the evaluation set does not have.
    """
    if system == "generated":
        if inputs.features is None or inputs.images is None:
            raise ValueError("system 'generated' needs the inputs 'images' and 'features': pictures and their features")
        known = {prompt["prompt_id"]: prompt for prompt in prompts}
        rows = [row for table in sorted(inputs.images.glob("[0-9]*.parquet")) for row in read_rows(table, GENERATED)]
        strange = next((row["prompt_id"] for row in rows if row["prompt_id"] not in known), None)
        if strange is not None:
            raise ValueError(f"{inputs.images} shows prompt {strange}, which the evaluation set does not have")
        shown = [(known[row["prompt_id"]], row["key"]) for row in rows]
    else:
        pictured = [prompt for prompt in prompts if prompt["reference_key"] is not None]
        plain = [(prompt, prompt["reference_key"]) for prompt in pictured]
        shown = plain if system == "ceiling" else list(shuffled(pictured, seed))
    directory = inputs.features if system == "generated" and inputs.features else inputs.scorer
    features = feature_sets(directory / COLLECTIONS[system])
    if encoder not in features:
        raise ValueError(f"{directory} has no features by {encoder!r}: it has {', '.join(features) or 'none'}")
    styles = sorted({prompt["style"] for prompt, _ in shown})
    of_style = {style: [(p, key) for p, key in shown if p["style"] == style] for style in styles}
    return {
        style: Sample(features[encoder], [key for _, key in pairs], [p["scene_id"] for p, _ in pairs])
        for style, pairs in of_style.items()
    }


def distances(made: Sample, real: Sample, encoder: str, config: FrechetConfig) -> Iterator[Measured]:
    """Yield what is asked for of one style's pictures, each measured value with its N.

    Raises ValueError below two images, where a set is too small for what is asked, and where the two were not made by
    one encoder and one preprocessing.
    """
    theirs, ours = real.features.about, made.features.about
    if (ours.weights, ours.preprocessing) != (theirs.weights, theirs.preprocessing):
        raise ValueError(
            f"features by {encoder!r} of {made.features.directory} and of real pictures are not comparable"
        )
    for one in _asked(made, real, encoder, config):
        yield one
        if one.resample is None:
            yield Measured(f"{one.metric}/n", float(len(made)))


def _asked(made: Sample, real: Sample, encoder: str, config: FrechetConfig) -> Iterator[Measured]:
    published = encoder == PUBLISHED
    of_frechet, of_kernel = ("fid", "kid") if published else (f"fd_{encoder}", f"kd_{encoder}")
    if "frechet" in config.distances:
        value = frechet(made, real)
        yield Measured(of_frechet, value, reason=_too_few(made))
        draws = resampled_distances(made, real, config)
        centred = value + draws - draws.mean() if len(draws) else draws
        yield from (Measured(f"{of_frechet}/bootstrap", float(draw), i) for i, draw in enumerate(centred))
    if "limit" in config.distances:
        limit = frechet_limit(made.rows, real.moments, sizes=config.limit_sizes, seed=config.seed)
        yield Measured(f"{of_frechet}_infinity", limit.value)
    if "kernel" in config.distances:
        size, subsets = config.kernel_subset_size, config.kernel_subsets
        yield Measured(of_kernel, kernel_distance(made.rows, real.rows, subsets, size, config.seed))
    if "cmmd" in config.distances:
        yield Measured(f"cmmd_{encoder}", clip_mmd(made.rows, real.rows))
    if "neighbours" in config.distances:
        shares = asdict(neighbours(made.rows, real.rows, config.nearest))
        yield from (Measured(f"{name}_{encoder}", share) for name, share in shares.items())
    classifier = made.features.classifier
    if "inception_score" in config.distances and classifier is not None:
        score, _ = inception_score(made.rows @ classifier.T, config.splits, config.seed)
        yield Measured("inception_score" if published else f"inception_score_{encoder}", score)


def frechet(made: Sample, real: Sample) -> float:
    """Return the Frechet distance of two samples by the form that suits their number."""
    if min(len(made), len(real)) < made.dimension:
        return frechet_distance_of_few(made.rows, real.rows)
    return frechet_distance(made.moments, real.moments)


def resampled_distances(made: Sample, real: Sample, config: FrechetConfig) -> NDArray[np.float64]:
    """Return the Frechet distance of ``resamples`` draws of scenes, with replacement; none for a single scene.

    Draws depend on the seed and the number of scenes alone, so those of two models are paired.
    """
    names, cluster = np.unique(np.asarray(made.scenes), return_inverse=True)
    if len(names) < 2 or not config.resamples:
        return np.zeros(0)
    few = min(len(made), len(real)) < made.dimension
    draws = []
    for chunk in resample(np.zeros(len(names), np.intp), config.resamples, config.seed):
        for times in chunk[:, cluster]:
            if few:
                draws.append(frechet_distance_of_few(np.repeat(made.rows, times.astype(int), axis=0), real.rows))
            else:
                draws.append(frechet_distance(Moments.of(made.rows, times), real.moments))
    return np.asarray(draws)


def _too_few(made: Sample) -> str | None:
    if len(made) > made.dimension:
        return None
    return f"{len(made)} images are not more than the {made.dimension} features: comparable at equal N only"


def _row(config: FrechetConfig, system: System, style: str, one: Measured, features: FeatureSet) -> Row:
    about = features.about
    return whose(config, system) | {
        "prompt_id": None,
        "scene_id": None,
        "style": style,
        "category": "all",
        "seed": one.resample,
        "metric": one.metric,
        "metric_version": f"{VERSION}/{about.preprocessing}",
        "scorer": about.weights,
        "value": one.value,
        "reason": one.reason,
    }


if __name__ == "__main__":
    run(main, FrechetConfig, FrechetInputs, needs_torch=False)
