"""Intervals of distances: what each scene does to the number, and that this tells how far samples scatter."""

import numpy as np
import pytest

from evaluation.bootstrap import influence_of_leaving_out, linear_draws
from evaluation.distances import (
    Moments,
    TooFewError,
    clip_mmd,
    clip_mmd_left_out,
    frechet_distance,
    frechet_distance_of,
    frechet_influence,
    frechet_influence_of_few,
    frechet_limit,
    inception_score,
    inception_score_left_out,
    kernel_distance,
    kernel_distance_left_out,
    neighbours,
    neighbours_left_out,
)
from tests.unit.degenerate_features import sets

SCENES = np.repeat(np.arange(11), 3)[:32]


@pytest.fixture(scope="module")
def features() -> tuple[np.ndarray, np.ndarray]:
    x, y = np.random.default_rng(0).normal(size=(2, 32, 6))
    return x, y[:25] * 0.8 + 0.3


def of_the_rest(distance, x: np.ndarray) -> np.ndarray:
    """Return a number without each scene, by measuring what is left."""
    return np.array([distance(x[scene != SCENES]) for scene in range(11)])


def around(values: np.ndarray) -> np.ndarray:
    return values - values.mean()


@pytest.mark.parametrize("kind", ["random", "shifted", "far from zero"])
def test_an_influence_is_the_derivative_by_how_often_a_feature_counts(kind):
    x, y = (side.astype(np.float64) for side in sets(kind, 5))
    made, real, little = Moments.of(x), Moments.of(y), 1e-3
    nothing = np.zeros((5, 5))
    more = np.array([frechet_distance(made + Moments(little, row, nothing), real) for row in x])
    influence = frechet_influence(made, real)(x)
    assert abs(influence.sum()) < 1e-9 * np.abs(influence).sum()
    np.testing.assert_allclose(influence, around(more) * made.n / little, rtol=1e-2, atol=1e-3 * influence.std())
    np.testing.assert_allclose(frechet_influence_of_few(x, y), influence, rtol=1e-6, atol=1e-8 * influence.std())


def test_influences_of_few_images_are_those_of_the_moments_too():
    x, y = (side.astype(np.float64) for side in sets("rank-deficient"))
    of_moments = frechet_influence(Moments.of(x[:15]), Moments.of(y))(x[:15])
    of_few = frechet_influence_of_few(x[:15], y)
    np.testing.assert_allclose(of_moments, of_few, rtol=1e-6, atol=1e-6 * of_few.std())


@pytest.mark.parametrize(("d", "scenes"), [(4, 50), (24, 20)])
def test_draws_of_a_frechet_distance_scatter_as_samples_do_with_few_images_too(d, scenes):
    rng = np.random.default_rng(1)
    real = rng.normal(size=(200, d))
    whose = np.repeat(np.arange(scenes), 2)
    samples = [
        np.repeat(rng.normal(size=(scenes, d)), 2, axis=0) * 0.8 + rng.normal(size=(2 * scenes, d)) * 0.6 + 0.3
        for _ in range(150)
    ]
    truth = np.std([frechet_distance_of(x, real) for x in samples])
    told = []
    for x in samples[:12]:
        of_scene = np.bincount(whose, frechet_influence_of_few(x, real)) * scenes / len(x)
        draws = linear_draws(of_scene, 300, seed=0)
        assert abs(draws.mean()) < 1e-9 * draws.std()
        told.append(draws.std())
    assert np.mean(told) == pytest.approx(truth, rel=0.25)


def test_a_limit_moves_as_its_line_does_where_images_are_left_out():
    x, y = np.random.default_rng(0).normal(size=(2, 400, 3))
    real = Moments.of(y)
    limit = frechet_limit(x, real, sizes=3, smallest=200)
    assert abs(limit.influence.sum()) < 1e-9 * np.abs(limit.influence).sum()
    counts = np.array(limit.sizes)
    rng = np.random.default_rng(0)
    parts = [rng.choice(400, count, replace=False) for count in counts]
    to_value = np.linalg.pinv(np.stack([1 / counts, np.ones(3)], axis=1))[1]

    def without(gone: int) -> float:
        kept = [frechet_distance(Moments.of(x[part[part != gone]]), real) for part in parts]
        return float(to_value @ kept)

    left_out = np.array([without(gone) for gone in range(400)])
    moved = influence_of_leaving_out(left_out)
    assert np.corrcoef(limit.influence, moved)[0, 1] > 0.99
    assert limit.influence.std() == pytest.approx(moved.std(), rel=0.1)


def test_kernel_distances_without_each_scene_are_those_of_the_rest(features):
    x, y = features
    for ours, distance in (
        (kernel_distance_left_out(x, y, SCENES), lambda rest: kernel_distance(rest, y, 1, 1000, 0)),
        (clip_mmd_left_out(x, y, SCENES), lambda rest: clip_mmd(rest, y)),
    ):
        np.testing.assert_allclose(around(ours), around(of_the_rest(distance, x)), rtol=1e-9, atol=1e-12)


def test_kernel_sums_do_not_depend_on_how_the_matrix_is_cut(features, monkeypatch):
    x, y = features
    whole = kernel_distance_left_out(x, y, SCENES), clip_mmd_left_out(x, y, SCENES), kernel_distance(x, y, 1, 99, 0)
    monkeypatch.setattr("evaluation.distances.kernel.SIDE", 7)
    cut = kernel_distance_left_out(x, y, SCENES), clip_mmd_left_out(x, y, SCENES), kernel_distance(x, y, 1, 99, 0)
    for one, other in zip(whole, cut, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_shares_without_each_scene_are_those_of_the_rest_in_the_same_neighbourhoods(features):
    x, y = features
    ours = neighbours_left_out(x, y, SCENES, k=3)
    rests = [vars(neighbours(x[scene != SCENES], y, 3)) for scene in range(11)]
    for share in ("precision", "density", "coverage"):
        np.testing.assert_allclose(ours[share], [rest[share] for rest in rests])
    between = ((x[:, None] - x[None]) ** 2).sum(-1)
    radii = np.sort(between, axis=1)[:, 3]
    reached = ((y[:, None] - x[None]) ** 2).sum(-1) < radii
    expected = [reached[:, scene != SCENES].any(axis=1).mean() for scene in range(11)]
    np.testing.assert_allclose(ours["recall"], expected)
    assert len(set(expected)) > 1 and len(set(ours["coverage"])) > 1


def test_neighbours_do_not_depend_on_the_order_of_scenes(features):
    x, y = features
    mixed = np.random.default_rng(2).permutation(32)
    ours, theirs = neighbours_left_out(x, y, SCENES, k=3), neighbours_left_out(x[mixed], y, SCENES[mixed], k=3)
    for share in ours:
        np.testing.assert_allclose(ours[share], theirs[share])


def test_an_inception_score_without_each_scene_is_that_of_the_rest_in_the_same_parts(features):
    logits = 3 * features[0]
    ours = inception_score_left_out(logits, SCENES, splits=1)
    np.testing.assert_allclose(ours, of_the_rest(lambda rest: inception_score(rest, splits=1), logits), rtol=1e-12)
    first, second = np.array_split(np.random.default_rng(5).permutation(32), 2)
    without = [
        np.mean([inception_score(logits[part[SCENES[part] != scene]], splits=1) for part in (first, second)])
        for scene in range(11)
    ]
    np.testing.assert_allclose(inception_score_left_out(logits, SCENES, splits=2, seed=5), without, rtol=1e-12)


def test_a_set_that_its_largest_scene_leaves_empty_has_no_interval(features):
    x, y = features
    with pytest.raises(TooFewError, match="less than two"):
        kernel_distance_left_out(x[:3], y, np.array([0, 0, 1]))
    with pytest.raises(TooFewError, match="one cluster alone"):
        inception_score_left_out(x[:3], np.array([0, 0, 1]), splits=2, seed=0)
    with pytest.raises(ValueError, match="two clusters"):
        influence_of_leaving_out(np.array([1.0]))


def test_draws_of_a_mean_are_those_of_its_bootstrap():
    """The jackknife's influence of a mean is the deviation itself."""
    values = np.random.default_rng(0).normal(size=40)
    left_out = (values.sum() - values) / 39
    np.testing.assert_allclose(influence_of_leaving_out(left_out), values - values.mean(), atol=1e-12)
    draws = linear_draws(values - values.mean(), 4000, seed=1)
    assert draws.std() == pytest.approx(values.std() / np.sqrt(40), rel=0.05)
