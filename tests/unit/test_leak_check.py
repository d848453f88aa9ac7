"""The check of leaks sees training pictures, judges' pictures and captions that give the evaluation set away."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from t2i_assets.checks.leaks import leaks
from t2i_assets.corpus.artifacts import publish, read_artifact, read_ref, write_ref
from t2i_assets.corpus.blending import table_of
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import BLENDS, CONTAMINATION, EVALS, LEADERBOARD, PROMPTS
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.resources import Pipeline
from tests.sample_home import SNAPSHOT, make_home

RECIPE = "blend_95_5"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("home"), samples=12, scenes=18)


@pytest.fixture
def home(drawn: Home, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(drawn.root, tmp_path / "home")))


def check(home: Home) -> dg.AssetCheckResult:
    return leaks(Pipeline(preset="smoke", home=str(home.root)))


def table(result: dg.AssetCheckResult, name: str) -> list[dict]:
    value = result.metadata[name]
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


def blend_file(home: Home) -> Path:
    model = read_ref(home, "latent_diffusion", RECIPE)
    blend = read_artifact(home.blend(RECIPE, model.manifest.inputs["caption_blend"]))
    assert blend is not None
    return table_of(blend.path, "diffusion") / "00000.parquet"


def teach_prompts(home: Home, prompts: list[dict]) -> None:
    """Have the model's blend say these prompts, in other case and punctuation."""
    rows = read_rows(blend_file(home), BLENDS)
    said = [{**rows[0], "caption_id": p["prompt_id"], "caption": f"{p['prompt'].upper()}!"} for p in prompts]
    write_table(blend_file(home), rows + said, BLENDS)


def prompts_of(home: Home, style: str) -> list[dict]:
    rows = read_rows(read_ref(home, "evaluation_set").path / "prompts.parquet", PROMPTS)
    return [row for row in rows if row["style"] == style]


def test_a_home_without_leaks_passes_and_tells_what_was_held_against_what(home: Home) -> None:
    result = check(home)
    assert result.passed
    told = table(result, "prompts met as captions")
    assert {(row["recipe"], row["style"]) for row in told} == {
        (recipe, style) for recipe in (RECIPE, "alt_only") for style in ("original", "descriptive")
    }
    assert all(row["prompts"] == 18 and row["gives away"] == "nothing" for row in told)
    assert table(result, "pictures of the evaluation set met in training") == []


def test_a_training_picture_of_the_evaluation_set_is_a_leak(home: Home) -> None:
    key = read_rows(blend_file(home), BLENDS)[0]["key"]
    path = read_ref(home, "contamination", SNAPSHOT).path / "00000.parquet"
    rows = read_rows(path, CONTAMINATION)
    found = {"snapshot": SNAPSHOT, "key": key, "kind": "perceptual", "reference": "r", "detail": "the same picture"}
    write_table(path, [*rows, found], CONTAMINATION)
    result = check(home)
    assert not result.passed
    leaked = table(result, "pictures of the evaluation set met in training")
    assert (RECIPE, key) in {(row["recipe"], row["key"]) for row in leaked}


def test_prompts_that_were_captions_are_counted_and_leak_where_they_move_the_score(home: Home) -> None:
    prompts = prompts_of(home, "descriptive")
    teach_prompts(home, prompts[:1])
    [one] = [row for row in table(check(home), "prompts met as captions") if _ours(row)]
    assert one["met"] >= 1
    assert one["gives away"] == "nothing"

    path = read_ref(home, "t2i_compbench", RECIPE).path / "scores.parquet"
    failed = {row["category"]: row["prompt_id"] for row in prompts}.values()
    rows = [{**row, "value": float(row["prompt_id"] not in failed)} for row in read_rows(path, EVALS)]
    write_table(path, rows, EVALS)
    teach_prompts(home, [row for row in prompts if row["prompt_id"] not in failed])
    result = check(home)
    [learned] = [row for row in table(result, "prompts met as captions") if _ours(row)]
    assert (learned["met"], learned["score of the others"]) == (12, 0)
    assert learned["gives away"] == "the score"
    assert not result.passed


def test_without_a_whole_category_the_score_is_another_one(home: Home) -> None:
    teach_prompts(home, [row for row in prompts_of(home, "descriptive") if row["category"] == "color"])
    result = check(home)
    [row] = [row for row in table(result, "prompts met as captions") if _ours(row)]
    assert (row["met"], row["gives away"]) == (3, "cannot be told")
    assert not result.passed


def test_a_leak_that_leaves_nothing_to_compare_with_does_not_pass(home: Home) -> None:
    teach_prompts(home, prompts_of(home, "descriptive"))
    result = check(home)
    [every] = [row for row in table(result, "prompts met as captions") if _ours(row)]
    assert (every["met"], every["score of the others"]) == (18, "")
    assert every["gives away"] == "cannot be told"
    assert not result.passed


def test_a_score_without_an_interval_tells_nothing_where_prompts_were_met(home: Home) -> None:
    board = read_ref(home, "leaderboard").path / "leaderboard.parquet"
    rows = [{**row, "low": None, "high": None} for row in read_rows(board, LEADERBOARD)]
    write_table(board, rows, LEADERBOARD)
    teach_prompts(home, prompts_of(home, "descriptive")[:1])
    result = check(home)
    said = {(row["recipe"], row["style"]): (row["met"], row["gives away"]) for row in _told(result)}
    assert said[RECIPE, "descriptive"] == (1, "cannot be told")
    assert all(away == "nothing" for met, away in said.values() if met == 0)
    assert not result.passed


def test_the_models_that_are_checked_are_those_of_the_leaderboard(home: Home) -> None:
    teach_prompts(home, prompts_of(home, "descriptive"))
    _retrain(home, RECIPE)
    _retrain(home, "never_scored")
    result = check(home)
    assert {row["recipe"] for row in _told(result)} == {RECIPE, "alt_only"}
    assert next(row for row in _told(result) if _ours(row))["met"] == 18
    assert not result.passed


def _retrain(home: Home, recipe: str) -> None:
    """Have a newer model of the recipe, which nobody scored, trained on a blend that says nothing."""
    old = read_ref(home, "latent_diffusion", RECIPE)
    manifest = old.manifest.model_copy(update={"digest": f"newer-{recipe}", "partition": recipe})
    path = home.model("latent_diffusion", manifest.digest)
    write_ref(home, "latent_diffusion", recipe, publish(path, manifest, lambda out: None))


def _told(result: dg.AssetCheckResult) -> list[dict]:
    return table(result, "prompts met as captions")


def _ours(row: dict) -> bool:
    return (row["recipe"], row["style"]) == (RECIPE, "descriptive")


def test_a_picture_of_a_prompt_in_the_judges_pool_is_a_leak(home: Home) -> None:
    evaluation_set = read_ref(home, "evaluation_set").path
    shutil.copytree(evaluation_set / "reference", evaluation_set / "pool", dirs_exist_ok=True)
    result = check(home)
    assert not result.passed
    assert result.metadata["pictures of the prompts that the judges trained on"].value == 18


def test_a_blend_that_is_gone_is_said_to_be(home: Home) -> None:
    shutil.rmtree(home.blend(RECIPE, read_ref(home, "latent_diffusion", RECIPE).manifest.inputs["caption_blend"]))
    with pytest.raises(FileNotFoundError, match="was trained on is gone"):
        check(home)
