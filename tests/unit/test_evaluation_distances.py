"""Frechet and kernel distance against other people's code, on easy and on degenerate sets."""

import numpy as np
import pytest
import scipy.linalg

from evaluation.distances import (
    Moments,
    frechet_distance,
    frechet_distance_of,
    frechet_distance_of_few,
    kernel_distance,
    same_distribution_expectation,
)


def sets(kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    mix = rng.normal(size=(24, 24))
    x = rng.normal(size=(200, 24)) @ mix
    match kind:
        case "random":
            return x, rng.normal(size=(150, 24)) @ rng.normal(size=(24, 24)) + 1
        case "shifted":
            return x, x + 3
        case "identical":
            return x, x.copy()
        case "rank-deficient":
            return x @ np.diag([1.0] * 10 + [0.0] * 14), rng.normal(size=(150, 24))
        case "fewer images than features":
            return x[:10], x[10:25] + 0.5
        case "far from zero":
            return x + 1000, rng.normal(size=(150, 24)) + 1003
    raise ValueError(kind)


KINDS = ["random", "shifted", "identical", "rank-deficient", "fewer images than features", "far from zero"]


def by_eigenvalues_of_the_product(x: np.ndarray, y: np.ndarray) -> float:
    """The formula of torchmetrics 1.9 (image/fid.py, _compute_fid)."""
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(a @ b).astype(complex))
    difference = x.mean(0) - y.mean(0)
    return float(difference @ difference + np.trace(a) + np.trace(b) - 2 * roots.real.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_frechet_distance_agrees_with_the_formula_of_torchmetrics(kind):
    x, y = sets(kind)
    expected = by_eigenvalues_of_the_product(x, y)
    scale = np.trace(np.cov(x, rowvar=False)) + expected
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(expected, rel=1e-6, abs=1e-6 * scale)


@pytest.mark.parametrize("kind", ["random", "shifted"])
def test_frechet_distance_agrees_with_the_matrix_square_root_of_scipy(kind):
    x, y = sets(kind)
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    difference = x.mean(0) - y.mean(0)
    expected = difference @ difference + np.trace(a + b - 2 * np.real(scipy.linalg.sqrtm(a @ b)))
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_form_for_few_images_gives_the_same_number(kind):
    x, y = sets(kind)
    scale = np.trace(np.cov(x, rowvar=False))
    few = frechet_distance_of_few(x, y)
    assert few == pytest.approx(frechet_distance(Moments.of(x), Moments.of(y)), rel=1e-6, abs=1e-6 * scale)
    assert few == pytest.approx(frechet_distance_of(x, y), rel=1e-6, abs=1e-6 * scale)


def test_a_shift_costs_its_squared_length_and_identical_sets_cost_nothing():
    x, shifted = sets("shifted")
    assert frechet_distance_of(x, shifted) == pytest.approx(24 * 9)
    assert frechet_distance_of(x, x) == pytest.approx(0, abs=1e-6)


def test_two_samples_of_one_gaussian_lie_apart_by_the_expected_bias():
    rng = np.random.default_rng(0)
    d, n, m, deviation = 16, 600, 400, 1.5
    distances = [
        frechet_distance_of(rng.normal(scale=deviation, size=(n, d)), rng.normal(scale=deviation, size=(m, d)))
        for _ in range(200)
    ]
    assert np.mean(distances) == pytest.approx(same_distribution_expectation(deviation**2, d, n, m), rel=0.05)


def test_moments_of_parts_add_up_to_the_moments_of_the_whole():
    x, y = sets("random")
    parts = Moments.empty(24)
    for start in range(0, len(x), 7):
        parts += Moments.of(x[start : start + 7].astype(np.float32).astype(np.float64))
    whole = Moments.of(x.astype(np.float32))
    assert parts.n == whole.n == 200
    np.testing.assert_allclose(parts.covariance, np.cov(x.astype(np.float32).astype(np.float64), rowvar=False))
    assert frechet_distance(parts, Moments.of(y)) == pytest.approx(frechet_distance(whole, Moments.of(y)), rel=1e-9)


def test_counting_an_image_twice_equals_having_it_twice():
    x, _ = sets("random")
    times = np.random.default_rng(1).integers(0, 4, len(x)).astype(float)
    counted, repeated = Moments.of(x, times), Moments.of(np.repeat(x, times.astype(int), axis=0))
    assert counted.n == repeated.n
    np.testing.assert_allclose(counted.covariance, repeated.covariance)


def test_the_kernel_distance_of_whole_sets_is_the_sum_over_pairs_that_defines_it():
    x, y = sets("random")
    x, y = x[:30] / 10, y[:30] / 10

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / 24 + 1) ** 3

    within = [k(s[i], s[j]) for s in (x, y) for i in range(30) for j in range(30) if i != j]
    between = [k(a, b) for a in x for b in y]
    expected = sum(within) / (30 * 29) - 2 * sum(between) / 900
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
