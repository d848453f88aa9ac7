"""The whole graph, from the embedded web site to the leaderboard, at the smoke preset."""

import json
import subprocess
import sys

import dagster as dg
import pytest

from t2i_assets.config import load_settings
from t2i_assets.corpus.artifacts import list_refs, read_ref
from t2i_assets.corpus.catalog import query
from t2i_assets.definitions import defs
from t2i_assets.demo.order import TEXT_ENCODER_ONLY
from tests.graph.conftest import DemoRun, run_demo

pytestmark = [pytest.mark.graph, pytest.mark.xdist_group("graph"), pytest.mark.timeout(1200)]

UNREFERENCED = {"dataset_stats", "report"}


def test_every_asset_of_the_graph_is_materialized(demo: DemoRun) -> None:
    for key in defs.resolve_asset_graph().get_all_asset_keys():
        name = key.to_user_string()
        if name not in UNREFERENCED:
            assert list_refs(demo.home, name), f"{name} has no artifact"
    assert demo.home.catalog.exists()
    assert demo.home.report.exists()


def test_both_recipes_have_a_diffusion_model_that_shares_all_but_the_captions(demo: DemoRun) -> None:
    recipes = load_settings("smoke").blends
    models = {recipe: read_ref(demo.home, "latent_diffusion", recipe).manifest for recipe in recipes}
    first, second = models.values()
    assert first.config == second.config
    assert {name for name in first.inputs if first.inputs[name] != second.inputs[name]} == {"caption_blend"}
    assert set(list_refs(demo.home, "clip_model")) == {load_settings("smoke").text_encoder_recipe}
    assert TEXT_ENCODER_ONLY


def test_the_demo_prints_funnel_leaderboard_and_report(demo: DemoRun) -> None:
    for word in ("Funnel", "Leaderboard", "ceiling", "floor", "alt_only", "blend_95_5", str(demo.home.report)):
        assert word in demo.output


def test_a_second_demo_makes_nothing_again(demo: DemoRun) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.home.root.rglob("manifest.json")}
    again = run_demo(demo.home.root)
    assert again.returncode == 0, again.stdout[-3000:]
    assert {path: path.stat().st_mtime_ns for path in demo.home.root.rglob("manifest.json")} == before


def test_every_check_of_the_graph_passed(demo: DemoRun) -> None:
    with dg.DagsterInstance.from_config(str(demo.home.root / "dagster")) as instance:
        keys = list(defs.resolve_asset_graph().asset_check_keys)
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    assert set(latest) == set(keys)
    for key, record in latest.items():
        event = record.event
        assert event is not None
        evaluation = event.dagster_event.asset_check_evaluation_data
        blocking = evaluation.severity == dg.AssetCheckSeverity.ERROR
        assert evaluation.passed or not blocking, f"{key}: {evaluation.metadata}"


def test_analysts_get_counts_and_lineage_by_sql(demo: DemoRun) -> None:
    assert query(demo.home, "SELECT count(*) AS n FROM samples").to_pylist()[0]["n"] > 0
    lineage = """
        SELECT e.recipe, count(DISTINCT b.caption_id) AS captions
        FROM evals e JOIN models m ON e.model = m.digest
        JOIN blends b ON b.blend_digest = m.inputs['caption_blend']
        JOIN captions c ON c.caption_id = b.caption_id
        GROUP BY e.recipe
    """
    rows = {row["recipe"]: row["captions"] for row in query(demo.home, lineage).to_pylist()}
    assert set(rows) == set(load_settings("smoke").blends)
    assert all(count > 0 for count in rows.values())


def test_the_query_command_answers_as_json(demo: DemoRun) -> None:
    sql = "SELECT count(*) AS n FROM samples"
    command = [sys.executable, "-m", "t2i_assets.cli", "query", sql, "--home", str(demo.home.root), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[0]["n"] > 0


def test_verify_finds_the_shards_whole_and_then_a_flipped_bit(demo: DemoRun) -> None:
    command = [sys.executable, "-m", "t2i_assets.cli", "verify", "--home", str(demo.home.root)]
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 0
    shard = next(demo.home.shards("demo").glob("*.tar"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:])
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        shard.write_bytes(whole)
    assert found.returncode == 1
    assert shard.name in found.stdout
