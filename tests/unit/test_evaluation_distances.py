"""Distances by what they must obey: forms of one number agree, parts add up, bias is as expected."""

import numpy as np
import pytest

from evaluation.distances import (
    Moments,
    clip_mmd,
    frechet_distance,
    frechet_distance_of,
    frechet_distance_of_few,
    kernel_distance,
    neighbours,
    same_distribution_expectation,
)
from tests.unit.degenerate_features import D, scale, sets


def test_a_shift_costs_its_squared_length_and_identical_sets_cost_nothing():
    x, shifted = sets("shifted")
    assert frechet_distance_of(x, shifted) == pytest.approx(D * 9)
    assert frechet_distance_of(x, x) == pytest.approx(0, abs=1e-12 * scale(x))


def test_two_samples_of_one_gaussian_lie_apart_by_the_expected_bias():
    rng = np.random.default_rng(0)
    d, n, m, deviation = 16, 600, 400, 1.5
    distances = [
        frechet_distance_of(rng.normal(scale=deviation, size=(n, d)), rng.normal(scale=deviation, size=(m, d)))
        for _ in range(200)
    ]
    assert np.mean(distances) == pytest.approx(same_distribution_expectation(deviation**2, d, n, m), rel=0.05)


def test_the_kernel_distance_of_whole_sets_is_the_sum_over_pairs_that_defines_it():
    x, y = (side.astype(np.float64) / 10 for side in (sets("random")[0][:30], sets("random")[1][:25]))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / 24 + 1) ** 3

    within = [np.mean([k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (x, y)]
    expected = sum(within) - 2 * np.mean([k(a, b) for a in x for b in y])
    assert kernel_distance(x, y, subsets=3, size=100, seed=0) == pytest.approx(expected, rel=1e-9)


def test_the_kernel_distance_is_unbiased_and_repeatable():
    rng = np.random.default_rng(0)
    same = [kernel_distance(*rng.normal(size=(2, 60, 8)), subsets=5, size=40, seed=i) for i in range(100)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 10
    x, y = rng.normal(size=(2, 60, 8))
    assert kernel_distance(x, y, 5, 40, seed=1) == kernel_distance(x, y, 5, 40, seed=1)
    assert kernel_distance(x, y, 5, 40, seed=1) != kernel_distance(x, y, 5, 40, seed=2)


def test_one_image_is_too_few():
    x, y = sets("random")
    for distance in (frechet_distance_of, lambda a, b: frechet_distance(Moments.of(a), Moments.of(b))):
        with pytest.raises(ValueError, match="needs two features"):
            distance(x[:1], y)
    with pytest.raises(ValueError, match="needs two features"):
        kernel_distance(x[:1], y, 5, 40, 0)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_no_distance_is_told_of_features_that_are_not_finite(broken):
    x, y = sets("random")
    bad = x.copy()
    bad[7, 3] = broken
    tried = (
        *(frechet_distance_of, frechet_distance_of_few, clip_mmd, neighbours),
        lambda a, b: frechet_distance(Moments.of(a), Moments.of(b)),
        lambda a, b: kernel_distance(a, b, subsets=2, size=1000, seed=0),
    )
    for distance in tried:
        for pair in ((bad, y), (y, bad)):
            with pytest.raises(ValueError, match="1 of 220 features are not finite, the first at 7"):
                distance(*pair)
