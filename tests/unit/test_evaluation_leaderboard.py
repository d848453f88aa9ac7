"""From scores of images to the leaderboard."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from evaluation.bootstrap import clustered_mean
from evaluation.config import LeaderboardConfig
from evaluation.leaderboard import leaderboard
from t2i_assets.corpus.schemas import EVALS, LEADERBOARD
from t2i_assets.corpus.tables import as_table

CONFIG = LeaderboardConfig(resamples=500)


def row(value: float, *, recipe: str | None = "blend", prompt: str | None = "p", metric: str = "color", **more) -> dict:
    plain = {
        "system": "generated", "recipe": recipe, "model": recipe and f"model-{recipe}", "prompt_id": prompt,
        "scene_id": prompt and prompt.split("/")[0], "style": "descriptive", "category": "color", "seed": 0,
        "metric": metric, "metric_version": "1", "scorer": "judge", "value": float(value), "reason": None,
    }  # fmt: skip
    return plain | more


def table(rows: list[dict]) -> pa.Table:
    return as_table(rows, EVALS)


def find(board: list[dict], **wanted) -> dict:
    found = [line for line in board if all(line[field] == value for field, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def test_means_are_taken_per_system_recipe_and_style_with_the_number_of_images():
    rows = [row(i % 2, prompt=f"s{i}/d") for i in range(40)]
    rows += [row(1, prompt=f"s{i}/o", style="original") for i in range(10)]
    rows += [row(0.9, prompt=f"s{i}/d", recipe=None, system="ceiling") for i in range(40)]
    board = leaderboard([table(rows)], CONFIG)
    line = find(board, system="generated", style="descriptive", metric="color")
    assert (line["value"], line["n"], line["baseline"]) == (0.5, 40, None)
    assert line["low"] < 0.5 < line["high"]
    assert find(board, style="original", metric="color")["value"] == 1
    assert find(board, system="ceiling", metric="color")["recipe"] is None
    as_table(board, LEADERBOARD)


def test_compositional_is_the_mean_of_the_categories_whatever_their_sizes():
    rows = [row(1, prompt=f"a{i}") for i in range(30)]
    rows += [row(0, prompt=f"b{i}", metric="spatial", category="spatial") for i in range(10)]
    rows += [row(27, prompt=f"a{i}", metric="clip_score") for i in range(30)]
    line = find(leaderboard([table(rows)], CONFIG), metric="compositional")
    assert (line["value"], line["low"], line["high"], line["n"]) == (0.5, 0.5, 0.5, 40)


def test_images_of_one_scene_count_as_one_draw_in_the_interval():
    rng = np.random.default_rng(0)
    scene_means = rng.normal(size=60)
    values = np.repeat(scene_means, 8)
    scenes = [f"s{i}" for i in range(60) for _ in range(8)]
    clustered = clustered_mean(values, scenes, resamples=4000, interval=0.95, seed=1)
    alone = clustered_mean(values, [str(i) for i in range(480)], resamples=4000, interval=0.95, seed=1)
    expected = 2 * 1.96 * scene_means.std() / np.sqrt(60)
    assert clustered.high - clustered.low == pytest.approx(expected, rel=0.1)
    assert alone.high - alone.low == pytest.approx(expected / np.sqrt(8), rel=0.1)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(300):
        estimate = clustered_mean(
            rng.random(60) < 0.4, [str(i) for i in range(60)], resamples=300, interval=0.95, seed=trial
        )
        hits += estimate.low <= 0.4 <= estimate.high
    assert 0.90 <= hits / 300 <= 0.99


def test_differences_are_paired_by_prompt_and_seed_and_cancel_what_prompts_share():
    rng = np.random.default_rng(0)
    hardness = rng.random(80)
    rows = [row(h, recipe="alt_only", prompt=f"s{i}") for i, h in enumerate(hardness)]
    rows += [row(h + 0.05 + rng.normal(0, 0.01), prompt=f"s{i}") for i, h in enumerate(hardness)]
    rows += [row(99.0, prompt="only-here")]
    board = leaderboard([table(rows[:80]), table(rows[80:])], CONFIG)
    line = find(board, metric="color", baseline="alt_only")
    assert (line["recipe"], line["n"]) == ("blend", 80)
    assert line["value"] == pytest.approx(0.05, abs=0.005)
    assert 0.04 < line["low"] < line["high"] < 0.06
    plain = find(board, metric="color", recipe="alt_only")
    assert plain["high"] - plain["low"] > 0.1
    assert find(board, metric="compositional", baseline="alt_only")["value"] == pytest.approx(line["value"])


def test_scores_of_a_whole_set_take_their_interval_and_number_from_its_resamples():
    def whole(recipe: str, value: float, spread: float) -> list[dict]:
        def one(metric: str, number: float, seed: int | None = None) -> dict:
            return row(number, recipe=recipe, prompt=None, metric=metric, category="all", seed=seed)

        common = np.random.default_rng(0).normal(size=200)
        told = [one("fd_judge", value), one("fd_judge/n", 120), one("fd_judge/scenes", 29), one("fd_judge/real", 400)]
        return told + [one("fd_judge/bootstrap", value + spread * common[i], i) for i in range(200)]

    board = leaderboard([table(whole("blend", 5, 1.0)), table(whole("alt_only", 9, 1.0))], CONFIG)
    assert {line["metric"] for line in board} == {"fd_judge"}
    line = find(board, recipe="blend", baseline=None)
    assert (line["value"], line["n"], line["scenes"], line["real_images"]) == (5, 120, 29, 400)
    assert line["warning"].startswith("29 scenes: an interval from fewer than 30")
    assert 2 < line["low"] < 4 and 6 < line["high"] < 8
    paired = find(board, baseline="alt_only")
    assert [paired["value"], paired["low"], paired["high"]] == pytest.approx([-4, -4, -4])


def test_a_single_scene_leaves_the_interval_open():
    line = find(leaderboard([table([row(1)])], CONFIG), metric="color")
    assert (line["value"], line["low"], line["high"], line["n"]) == (1, None, None, 1)


def test_the_same_scores_give_the_same_leaderboard():
    rows = [row(i % 3, prompt=f"s{i}") for i in range(30)]
    assert leaderboard([table(rows)], CONFIG) == leaderboard([table(rows)], CONFIG)


def test_nothing_to_average_is_an_error():
    with pytest.raises(ValueError, match="no values"):
        clustered_mean([], [], resamples=10, interval=0.95, seed=0)


def test_the_leaderboard_needs_no_torch():
    code = "import evaluation.leaderboard, evaluation.config, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_each_row_says_its_scenes_floor_ceiling_and_warns_where_scenes_are_few():
    rows = [row(i % 2, prompt=f"s{i}/{seed}", seed=seed) for i in range(30) for seed in range(3)]
    rows += [row(0.2, prompt=f"s{i}", recipe=None, model=None, system="floor") for i in range(29)]
    rows += [row(0.9, prompt=f"s{i}", recipe=None, model=None, system="ceiling") for i in range(30)]
    rows += [row(0.5, prompt=f"s{i}/0", recipe="alt_only") for i in range(12)]
    board = leaderboard([table(rows)], CONFIG)
    line = find(board, recipe="blend", metric="color", baseline=None)
    assert (line["n"], line["scenes"], line["floor"], line["ceiling"]) == (
        90,
        30,
        pytest.approx(0.2),
        pytest.approx(0.9),
    )
    assert line["warning"] is None
    assert find(board, system="floor", metric="color")["warning"].startswith("29 scenes")
    paired = find(board, metric="color", baseline="alt_only")
    assert (paired["n"], paired["scenes"], paired["floor"]) == (12, 12, None)
    assert "12 scenes" in paired["warning"]
    as_table(board, LEADERBOARD)


def other(rows: list[dict], **changed) -> list[dict]:
    return [{**one, **changed} for one in rows]


def test_scores_by_another_version_or_judge_have_neither_difference_nor_bounds_and_say_why():
    ours = [row(1, prompt=f"s{i}") for i in range(30)]
    theirs = other(ours, recipe="alt_only", model="m", value=0.2)
    bounds = [one for system in ("floor", "ceiling") for one in other(ours, system=system, recipe=None, model=None)]
    for changed, told in (({"metric_version": "2"}, "2 with judge"), ({"scorer": "pixels"}, "1 with pixels")):
        board = leaderboard([table(ours + other(theirs + bounds, **changed))], CONFIG)
        line = find(board, recipe="blend", metric="color")
        assert (line["metric_version"], line["scorer"], line["floor"], line["ceiling"]) == ("1", "judge", None, None)
        assert line["warning"] == (
            f"no floor: it is by {told}, this by 1 with judge; no ceiling: it is by {told}, this by 1 with judge; "
            f"no difference from alt_only: its score is by {told}, this by 1 with judge; score both alike"
        )
        alone = find(board, recipe="alt_only", metric="color")
        assert (alone["floor"], alone["warning"]) == (1, None)
        as_table(board, LEADERBOARD)
    same = leaderboard([table(ours + theirs + bounds)], CONFIG)
    assert find(same, metric="color", baseline="alt_only")["value"] == pytest.approx(0.8)
    assert {line["warning"] for line in same} == {None}


def test_one_run_by_two_versions_of_a_metric_is_refused():
    with pytest.raises(ValueError, match="blend on descriptive prompts has color by 1 with judge and by 2 with judge"):
        leaderboard([table([row(1), row(1, prompt="q", metric_version="2")])], CONFIG)


def test_a_mean_of_other_categories_or_versions_is_another_mean_and_names_them():
    ours = [row(i % 2, prompt=f"s{i}", metric=metric) for metric in ("color", "spatial") for i in range(30)]
    theirs = other(ours[:30], recipe="alt_only", model="m")
    bounds = other(ours, system="ceiling", recipe=None, model=None)
    board = leaderboard([table(ours + theirs + bounds)], CONFIG)
    line = find(board, recipe="blend", metric="compositional", baseline=None)
    assert (line["metric_version"], line["scorer"], line["ceiling"]) == ("1 of color spatial", "judge", 0.5)
    assert "its score is by 1 of color with judge" in line["warning"]
    assert find(board, recipe="blend", metric="spatial")["warning"].endswith("alt_only: it has no such score")
    assert [line["metric"] for line in board if line["baseline"]] == ["color"]
    versions = set()
    for first, second in (({"metric_version": "3"}, {}), ({}, {"metric_version": "3"}), ({"scorer": "clip"}, {})):
        mixed = leaderboard([table(other(ours[:30], **first) + other(ours[30:], **second))], CONFIG)
        together = find(mixed, metric="compositional")
        assert together["metric_version"].endswith(" of color spatial")
        versions.add(together["metric_version"])
    assert len(versions) == 3 and together["scorer"] == "clip judge"


def test_a_baseline_is_found_metric_by_metric_where_its_models_differ():
    old = [row(0.5, prompt=f"s{i}", recipe="alt_only", model="old", metric="clip_score") for i in range(30)]
    new = [row(0.25, prompt=f"s{i}", recipe="alt_only", model="new") for i in range(30)]
    ours = [row(0.75, prompt=f"s{i}", metric=metric) for metric in ("color", "clip_score") for i in range(30)]
    board = leaderboard([table(old + new + ours)], CONFIG)
    assert find(board, baseline="alt_only", metric="clip_score")["value"] == 0.25
    assert find(board, baseline="alt_only", metric="color")["value"] == 0.5
    twice = leaderboard([table(old + other(old, model="newer") + ours)], CONFIG)
    assert "two of its models have this score" in find(twice, recipe="blend", metric="clip_score")["warning"]
    apart = leaderboard([table([{**one, "prompt_id": f"t{n}"} for n, one in enumerate(old)] + ours)], CONFIG)
    assert "it drew none of these prompts" in find(apart, recipe="blend", metric="clip_score")["warning"]


def test_genevals_score_is_the_mean_of_its_six_tasks_and_of_nothing_less():
    tasks = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
    rows = [
        row(number == 0, prompt=f"{task}{i}", metric=f"geneval_{task}", style="geneval")
        for number, task in enumerate(tasks)
        for i in range(5 + 5 * (number == 0))
    ]
    line = find(leaderboard([table(rows)], CONFIG), metric="geneval")
    assert (line["value"], line["n"], line["style"]) == (pytest.approx(1 / 6), 35, "geneval")
    fewer = leaderboard([table([one for one in rows if one["metric"] != "geneval_colors"])], CONFIG)
    assert "geneval" not in {line["metric"] for line in fewer} and len(fewer) == 5


def test_distances_of_unlike_numbers_of_images_say_so_where_their_bias_depends_on_it():
    def whole(recipe: str | None, n: int, real: int, **more) -> list[dict]:
        names = ("fd_x", "kd_x", "fd_x_infinity")
        values = {name + of: v for name in names for of, v in (("", 3.0), ("/n", n), ("/real", real))}
        return [row(v, recipe=recipe, prompt=None, metric=metric, seed=None, **more) for metric, v in values.items()]

    rows = whole("blend", 90, 400) + whole("alt_only", 100, 300) + whole(None, 50, 400, system="ceiling")
    board = leaderboard([table(rows)], CONFIG)
    line = find(board, recipe="blend", metric="fd_x", baseline=None)
    assert (line["n"], line["real_images"], line["ceiling"]) == (90, 400, 3)
    assert line["warning"] == "the ceiling is of 50 images, this of 90: unlike bias"
    paired = find(board, metric="fd_x", baseline="alt_only")
    told = "90 images and 400 real ones against 100 images and 300 real ones: unlike bias"
    assert (paired["warning"], paired["value"], paired["low"]) == (told, 0, None)
    assert {line["warning"] for line in board if line["metric"] != "fd_x"} == {None}
    as_table(board, LEADERBOARD)


def test_a_distance_passes_its_warning_on_to_its_differences_too():
    def whole(recipe: str, reason: str | None) -> list[dict]:
        values = {"fd_x": 3.0, "fd_x/n": 63}
        rows = [row(v, recipe=recipe, prompt=None, metric=metric, seed=None) for metric, v in values.items()]
        return [{**rows[0], "reason": reason}, rows[1]]

    few = "63 images are not more than the 64 features"
    board = leaderboard([table(whole("blend", None)), table(whole("alt_only", few))], CONFIG)
    lines = [find(board, metric="fd_x", recipe=recipe, baseline=None) for recipe in ("blend", "alt_only")]
    assert [(line["warning"], line["n"], line["scenes"]) for line in lines] == [(None, 63, None), (few, 63, None)]
    assert find(board, baseline="alt_only")["warning"] == few


def test_torchmetrics_clip_score_is_clamped_after_averaging_and_raw_cosines_are_not_shown():
    rows = [
        row(v, prompt=f"s{i}", metric=m) for m in ("clip_score", "clip_cosine") for i, v in enumerate([-30.0, 10.0])
    ]
    rows += [row(v, prompt=f"t{i}", metric="clip_score", recipe="other") for i, v in enumerate([-1.0, 5.0])]
    board = leaderboard([table(rows)], CONFIG)
    assert {line["metric"] for line in board} == {"clip_score", "clip_score_torchmetrics"}
    clamped = find(board, recipe="blend", metric="clip_score_torchmetrics")
    assert (clamped["value"], clamped["low"], clamped["high"]) == (0, 0, 10)
    assert find(board, recipe="blend", metric="clip_score")["value"] == -10
    assert find(board, recipe="other", metric="clip_score_torchmetrics")["value"] == 2
