"""Distances against the libraries of the field, on the same features: random, degenerate, few, identical."""

import numpy as np
import prdc
import pytest
import torch
from cleanfid import fid as cleanfid
from mpmath import mp
from pytorch_fid.fid_score import calculate_frechet_distance
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from evaluation.distances import (
    Moments,
    clip_mmd,
    frechet_distance,
    frechet_distance_of,
    frechet_distance_of_few,
    frechet_limit,
    inception_score,
    kernel_distance,
    neighbours,
    same_distribution_expectation,
)
from tests.unit.degenerate_features import KINDS, D, scale, sets


class Same(torch.nn.Module):
    """An encoder of features that gives them back."""

    num_features = D

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.double()


def in_forty_digits(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, by symmetric roots, where rounding is below everything that is compared."""

    def covariance(features: np.ndarray) -> tuple[mp.matrix, mp.matrix]:
        rows = mp.matrix(features.tolist())
        mean = mp.matrix([sum(rows[:, column]) / rows.rows for column in range(rows.cols)])
        centred = mp.matrix([[rows[i, j] - mean[j] for j in range(rows.cols)] for i in range(rows.rows)])
        return mean, centred.T * centred / (rows.rows - 1)

    def roots(values: mp.matrix) -> list:
        return [mp.sqrt(max(value, 0)) for value in values]

    with mp.workdps(40):
        (first, one), (second, other) = covariance(x), covariance(y)
        values, vectors = mp.eigsy(other)
        root = vectors * mp.diag(roots(values)) * vectors.T
        cross = sum(roots(mp.eigsy(root * one * root, eigvals_only=True)))
        return float(mp.norm(first - second) ** 2 + sum((one + other)[i, i] for i in range(one.rows)) - 2 * cross)


@pytest.mark.parametrize("kind", KINDS)
def test_the_frechet_distance_is_its_definition_to_the_last_digits(kind: str) -> None:
    """The form from moments loses the square root of the rounding where both sets have fewer images than features."""
    x, y = (side.astype(np.float64) for side in sets(kind, 6))
    exact, of_trace = in_forty_digits(x, y), scale(x)
    for ours in (frechet_distance_of, frechet_distance_of_few):
        assert ours(x, y) == pytest.approx(exact, rel=1e-12, abs=1e-13 * of_trace)
    from_moments = frechet_distance(Moments.of(x), Moments.of(y))
    lost = 1e-7 if kind == "fewer than features" else 1e-13
    assert from_moments == pytest.approx(exact, rel=1e-12, abs=lost * of_trace)


@pytest.mark.parametrize("kind", KINDS)
def test_fid_is_that_of_torchmetrics_pytorch_fid_and_clean_fid(kind: str) -> None:
    x, y = sets(kind)
    theirs = FrechetInceptionDistance(feature=Same()).set_dtype(torch.float64)
    theirs.update(torch.from_numpy(y), real=True)
    theirs.update(torch.from_numpy(x), real=False)
    doubles = [side.astype(np.float64) for side in (x, y)]
    statistics = [of(side) for side in doubles for of in (lambda s: s.mean(0), lambda s: np.cov(s, rowvar=False))]
    ours = frechet_distance_of(x, y)
    rounding = 1e-12 * scale(x) if kind != "fewer than features" else 1e-7 * scale(x)
    for found in (theirs.compute(), *(f(*statistics) for f in (calculate_frechet_distance, cleanfid.frechet_distance))):
        assert ours == pytest.approx(float(found), rel=1e-6, abs=rounding)


@pytest.mark.parametrize("kind", KINDS)
def test_kid_of_whole_sets_is_that_of_torchmetrics_and_clean_fid(kind: str) -> None:
    x, y = (side / 5 for side in sets(kind))
    n = min(len(x), len(y))
    x, y = x[:n], y[:n]
    ours = kernel_distance(x, y, subsets=2, size=n, seed=0)
    theirs = KernelInceptionDistance(feature=Same(), subsets=1, subset_size=n).set_dtype(torch.float64)
    theirs.update(torch.from_numpy(y), real=True)
    theirs.update(torch.from_numpy(x), real=False)
    largest = float(((x**2).sum(1).max() / D + 1) ** 3)
    assert ours == pytest.approx(float(theirs.compute()[0]), rel=1e-6, abs=1e-12 * largest)
    doubles = (side.astype(np.float64) for side in (x, y))
    of_clean = cleanfid.kernel_distance(*doubles, num_subsets=1, max_subset_size=n)
    assert ours == pytest.approx(of_clean, rel=1e-6, abs=1e-12 * largest)


@pytest.mark.parametrize("kind", KINDS)
def test_precision_recall_density_and_coverage_are_those_of_prdc(kind: str) -> None:
    x, y = (side.astype(np.float64) for side in sets(kind))
    ours = neighbours(x, y, k=4)
    theirs = prdc.compute_prdc(real_features=y, fake_features=x, nearest_k=4)
    assert vars(ours) == pytest.approx({name: float(value) for name, value in theirs.items()}, rel=1e-12)


def test_neighbourhoods_of_pictures_that_repeat_hold_nobody() -> None:
    """Whole numbers, so that no rounding blurs that a distance is not below a radius of 0."""
    x = np.repeat(np.arange(10.0)[:, None] * np.ones(3), 6, axis=0)
    ours, theirs = neighbours(x, x, k=5), prdc.compute_prdc(x, x, nearest_k=5)
    assert vars(ours) == {name: float(value) for name, value in theirs.items()}
    assert ours.precision == ours.coverage == 0
    with pytest.raises(ValueError, match="more than 5 features, not 5"):
        neighbours(x[:5], x, k=5)


def cmmd_of_its_code(x: np.ndarray, y: np.ndarray) -> float:
    """The published code (google-research/cmmd, distance.py) in float64."""
    gamma = 1 / (2 * 10**2)

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        exponent = -2 * a @ b.T + np.sum(a * a, 1)[:, None] + np.sum(b * b, 1)[None]
        return float(np.mean(np.exp(-gamma * exponent)))

    return 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))


@pytest.mark.parametrize("kind", KINDS)
def test_cmmd_is_that_of_its_code_on_unit_vectors_whatever_their_length(kind: str) -> None:
    x, y = (side.astype(np.float64) for side in sets(kind))
    units = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y)]
    assert clip_mmd(x, 7 * y) == pytest.approx(cmmd_of_its_code(*units), rel=1e-6, abs=1e-9)
    with pytest.raises(ValueError, match="none of length zero"):
        clip_mmd(np.vstack([x, np.zeros(D)]), y)


def test_the_limit_takes_the_bias_away() -> None:
    rng = np.random.default_rng(0)
    d, n, many = 12, 4000, 1e9
    real = Moments(many, np.zeros(d), np.eye(d) * (many - 1))
    drawn = [rng.normal(size=(n, d)) for _ in range(24)]
    plain = [frechet_distance(Moments.of(x), real) for x in drawn]
    limits = [frechet_limit(x, real, sizes=8, smallest=800, seed=1).value for x in drawn]
    assert np.mean(plain) == pytest.approx(same_distribution_expectation(1, d, n, int(many)), rel=0.1)
    assert abs(np.mean(limits)) < 0.15 * np.mean(plain)


def test_a_limit_of_sets_no_larger_than_the_features_is_refused() -> None:
    x = np.random.default_rng(0).normal(size=(40, D))
    with pytest.raises(ValueError, match="more than 24 features and fewer than 40, not 20"):
        frechet_limit(x, Moments.of(x))


def test_the_limit_is_repeatable_and_its_line_goes_through_the_distances() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 400, 8))
    one, other = (frechet_limit(x, Moments.of(y), sizes=5, seed=seed) for seed in (1, 1))
    assert one == other
    assert one.sizes[0] == 200 and one.sizes[-1] == 400
    assert one.distances[-1] == pytest.approx(frechet_distance_of(x, y))
    assert one.value != frechet_limit(x, Moments.of(y), sizes=5, seed=2).value


def test_an_inception_score_is_one_for_pictures_that_look_alike_and_the_number_of_classes_at_best() -> None:
    alike = np.tile([3.0, 1.0, 0.0], (30, 1))
    assert inception_score(alike, splits=3) == pytest.approx(1.0, abs=1e-12)
    sure = np.tile(1000 * np.eye(4), (25, 1))
    assert inception_score(sure, splits=1) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="do not fill"):
        inception_score(alike, splits=31)


def test_an_inception_score_is_that_of_torchmetrics() -> None:
    from torchmetrics.image.inception import InceptionScore

    logits = np.random.default_rng(0).normal(scale=3, size=(200, D)).astype(np.float32)
    theirs = InceptionScore(feature=Same(), splits=1)
    theirs.update(torch.from_numpy(logits))
    assert inception_score(logits, splits=1) == pytest.approx(float(theirs.compute()[0]), rel=1e-6)


def test_features_that_never_vary_change_nothing() -> None:
    x, y = (side.astype(np.float64) for side in sets("random"))
    padded = [np.insert(side, [3, 9, D], 2.0, axis=1) for side in (x, y)]
    factor = Moments.of(padded[1]).cholesky
    assert factor is not None
    np.testing.assert_allclose(factor @ factor.T, np.cov(padded[1], rowvar=False), atol=1e-9)
    assert frechet_distance(*map(Moments.of, padded)) == pytest.approx(frechet_distance_of(x, y), rel=1e-9)


def test_whichever_set_has_full_rank_the_distance_is_the_same_both_ways() -> None:
    full, low = (Moments.of(side) for side in sets("rank-deficient")[::-1])
    lower = Moments.of(sets("rank-deficient")[0][:90] @ np.diag([1.0] * 8 + [0.0] * 16) @ np.ones((D, D)))
    assert full.cholesky is not None and lower.cholesky is None
    for one, other in ((full, low), (full, lower), (low, lower)):
        assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-6)


def test_moments_of_processes_and_batches_merge_in_any_order_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 6)) + 1e6
    parts = [Moments.of(part) for part in np.array_split(x, 13)]
    forwards, backwards = (sum(order, Moments.empty(6)) for order in (parts, parts[::-1]))
    for merged in (forwards, backwards, Moments.of_blocks(np.array_split(x, 5), 6)):
        assert merged.n == 1000
        np.testing.assert_allclose(merged.mean, x.mean(0), rtol=1e-14)
        np.testing.assert_allclose(merged.covariance, np.cov(x, rowvar=False), rtol=1e-9, atol=1e-9)
    assert (Moments.empty(6) + Moments.empty(6)).n == 0
