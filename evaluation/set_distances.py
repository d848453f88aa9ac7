"""Every distance of one set of pictures from real ones: its version, its N, its interval, or why it is left out.

Distances are named for their features, ``fd_judge`` and ``kd_judge``: only those of the published Inception weights are
a ``fid`` and a ``kid``. Values compare where the version is the same: it names the rule, how pictures came to the
encoder, the real pictures, and the distance's own settings.

Intervals come from a bootstrap over the scenes of the pictures; the real ones stay. A resample of pictures repeats some
of them, which moves a distance by itself, so resamples are taken to first order, from what each scene does to the
number: the derivative of the Frechet distance, and of the others the number without the scene.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import influence_of_leaving_out, linear_draws
from evaluation.config import Distance, FrechetConfig
from evaluation.distances import (
    TooFewError,
    clip_mmd,
    clip_mmd_left_out,
    frechet_distance,
    frechet_distance_of_few,
    frechet_influence,
    frechet_influence_of_few,
    frechet_limit,
    inception_score,
    inception_score_left_out,
    is_whole,
    kernel_distance,
    kernel_distance_left_out,
    neighbours,
    neighbours_left_out,
)
from evaluation.features.sample import Sample

VERSION = "frechet-2"
PUBLISHED = "fid"
"""What the encoder of the published FID is called."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """One number about a set, and the resamples of it, numbered from 0."""

    metric: str
    version: str
    value: float
    resamples: Array
    reason: str | None = None


@dataclass(frozen=True)
class LeftOut:
    """A number that a set is too small for."""

    metric: str
    version: str
    reason: str


@dataclass(frozen=True)
class _Number:
    """A value, and what gives what each scene does to it, [S], summing to 0."""

    value: float
    influence: Callable[[], Array]


def set_distances(made: Sample, real: Sample, config: FrechetConfig) -> Iterator[Measured | LeftOut]:
    """Yield what is asked for of one set of pictures.

    Raises ValueError where the two sets were not made by one encoder and one preprocessing, or are not finite.
    """
    theirs, ours = real.features.about, made.features.about
    if (ours.weights, ours.preprocessing) != (theirs.weights, theirs.preprocessing):
        raise ValueError(
            f"features by {theirs.encoder!r} of {made.features.directory} and of real pictures are not comparable"
        )
    for distance in config.distances:
        if distance == "inception_score" and made.features.classifier is None:
            continue
        names, version = _names(distance, theirs.encoder), _version(distance, made, real, config)
        try:
            found = _measure(distance, made, real, config)
        except TooFewError as error:
            yield from (LeftOut(name, version, str(error)) for name in names)
            continue
        for name, number in zip(names, found, strict=True):
            reasons = _more_features_than_images(made, real) if distance == "frechet" else []
            draws = np.zeros(0)
            if config.resamples and made.number_of_scenes > 1:
                try:
                    draws = number.value + linear_draws(number.influence(), config.resamples, config.seed)
                except TooFewError as error:
                    reasons.append(f"no interval: {error}")
            yield Measured(name, version, number.value, draws, "; ".join(reasons) or None)


def _names(distance: Distance, encoder: str) -> tuple[str, ...]:
    frechet, kernel = ("fid", "kid") if encoder == PUBLISHED else (f"fd_{encoder}", f"kd_{encoder}")
    match distance:
        case "frechet":
            return (frechet,)
        case "limit":
            return (f"{frechet}_infinity",)
        case "kernel":
            return (kernel,)
        case "cmmd":
            return (f"cmmd_{encoder}",)
        case "neighbours":
            return tuple(f"{share}_{encoder}" for share in ("precision", "recall", "density", "coverage"))
        case "inception_score":
            return ("inception_score" if encoder == PUBLISHED else f"inception_score_{encoder}",)


def _version(distance: Distance, made: Sample, real: Sample, config: FrechetConfig) -> str:
    against = f"real {real.features.about.dataset}"
    match distance:
        case "frechet" | "cmmd":
            settings = [against]
        case "limit":
            settings = [against, f"sizes {config.limit_sizes}"]
        case "kernel":
            size, subsets = config.kernel_subset_size, config.kernel_subsets
            settings = [against, "whole" if is_whole(len(made), len(real), size) else f"subsets {subsets} of {size}"]
        case "neighbours":
            settings = [against, f"nearest {config.nearest}"]
        case "inception_score":
            settings = [f"splits {config.splits}"]
    return "/".join([VERSION, str(made.features.about.preprocessing), *settings])


def _measure(distance: Distance, made: Sample, real: Sample, config: FrechetConfig) -> list[_Number]:
    """Return the numbers of a distance, in the order of ``_names``. Raises TooFewError where a set is too small."""
    scenes, seed = made.scenes, config.seed
    match distance:
        case "frechet":
            return [_frechet(made, real)]
        case "limit":
            limit = frechet_limit(made.rows, real.moments, sizes=config.limit_sizes, seed=seed)
            return [_Number(limit.value, lambda: _of_scenes(made, limit.influence))]
        case "kernel":
            size = config.kernel_subset_size
            pairs = real.mean_of_pairs if is_whole(len(made), len(real), size) else None
            value = kernel_distance(made.rows, real.rows, config.kernel_subsets, size, seed, pairs)
            return [_jackknifed(value, lambda: kernel_distance_left_out(made.rows, real.rows, scenes))]
        case "cmmd":
            return [
                _jackknifed(clip_mmd(made.rows, real.rows), lambda: clip_mmd_left_out(made.rows, real.rows, scenes))
            ]
        case "neighbours":
            shares = asdict(neighbours(made.rows, real.rows, config.nearest))
            without = cache(lambda: neighbours_left_out(made.rows, real.rows, scenes, config.nearest))
            return [_jackknifed(value, partial(lambda name: without()[name], name)) for name, value in shares.items()]
        case "inception_score":
            logits = made.rows @ np.asarray(made.features.classifier).T
            value = inception_score(logits, config.splits, seed)
            return [_jackknifed(value, lambda: inception_score_left_out(logits, scenes, config.splits, seed))]


def _frechet(made: Sample, real: Sample) -> _Number:
    """Return the Frechet distance by the form that suits the sets; of large ones a shard at a time is in memory."""
    if min(len(made), len(real)) < made.dimension:
        value = frechet_distance_of_few(made.rows, real.rows)
        return _Number(value, lambda: _of_scenes(made, frechet_influence_of_few(made.rows, real.rows)))

    def influence() -> Array:
        of_each, of_rows = np.empty(len(made)), frechet_influence(made.moments, real.moments)
        for members, rows in made.features.parts(made.places):
            of_each[members] = of_rows(rows)
        return _of_scenes(made, of_each)

    return _Number(frechet_distance(made.moments, real.moments), influence)


def _of_scenes(made: Sample, of_each: Array) -> Array:
    """Return what each scene does from what each picture does, [N]."""
    return np.bincount(made.scenes, of_each) * made.number_of_scenes / len(made)


def _jackknifed(value: float, left_out: Callable[[], Array]) -> _Number:
    return _Number(value, lambda: influence_of_leaving_out(left_out()))


def _more_features_than_images(made: Sample, real: Sample) -> list[str]:
    """Return why a Frechet distance is mostly bias, where it is: the covariance of a set has not full rank."""
    return [
        f"{len(sample)} {kind}images are not more than the {made.dimension} features: comparable at equal N only"
        for kind, sample in (("", made), ("real ", real))
        if len(sample) <= made.dimension
    ]
