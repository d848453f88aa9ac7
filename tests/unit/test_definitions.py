"""What Dagster loads: quickly, without torch, with jobs, schedule and sensor that do what they say."""

import datetime
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from t2i_assets import automation
from t2i_assets.config import load_settings
from t2i_assets.definitions import defs
from t2i_assets.demo.order import Unit, by_urgency, units

RECIPE = load_settings().text_encoder_recipe


def test_the_definitions_load_without_torch() -> None:
    code = "import t2i_assets.definitions, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("job", "some"),
    [
        ("ingest", {"pages", "shards"}),
        ("train_captioner", {"captioner", "caption_filter"}),
        ("rebuild_captions", {"synthetic_captions", "filtered_captions"}),
        ("encode", {"autoencoder", "latents"}),
        ("train", {"caption_blend", "clip_model", "latent_diffusion"}),
        ("evaluate", {"generated_images", "leaderboard", "dataset_stats"}),
    ],
)
def test_jobs_resolve_to_their_assets(job: str, some: set[str]) -> None:
    keys = defs.resolve_job_def(job).asset_layer.executable_asset_keys
    assert some <= {key.to_user_string() for key in keys}


def test_every_asset_is_described_owned_and_grouped() -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.group_name != "default", key
        assert node.kinds, key


def test_the_schedule_adds_the_days_snapshot_and_crawls_it(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        night = datetime.datetime(2026, 11, 20, 3, tzinfo=datetime.UTC)
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=night)
        run = automation.daily_snapshot(context)
        assert instance.get_dynamic_partitions("snapshot") == ["2026-11-20"]
    assert isinstance(run, dg.RunRequest)
    assert run.partition_key == run.run_key == "2026-11-20"


def test_only_a_changed_data_version_makes_what_depends_on_it_again() -> None:
    versions = iter(["one", "one", "two"])

    @dg.asset
    def source() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion(next(versions)))

    @dg.asset(deps=[source], automation_condition=automation.on_changed_data)
    def product() -> None: ...

    graph = dg.Definitions(assets=[source, product])
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([source, product], instance=instance)
        seen = dg.evaluate_automation_conditions(graph, instance)
        dg.materialize([source], instance=instance)
        unchanged = dg.evaluate_automation_conditions(graph, instance, cursor=seen.cursor)
        dg.materialize([source], instance=instance)
        changed = dg.evaluate_automation_conditions(graph, instance, cursor=unchanged.cursor)
    assert unchanged.total_requested == 0
    assert changed.total_requested == 1


def test_the_demo_plans_every_asset_and_shares_one_text_encoder() -> None:
    needs = units(defs, load_settings(), "demo")
    assert {unit.asset for unit in needs} == {
        key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()
    }
    clip = Unit("clip_model", RECIPE)
    assert [unit for unit in needs if unit.asset == "clip_model"] == [clip]
    for recipe in load_settings().blends:
        assert {clip, Unit("caption_blend", recipe), Unit("latents", "demo")} <= needs[Unit("latent_diffusion", recipe)]
    urgency = by_urgency(needs)
    assert all(urgency[needed] > urgency[unit] for unit in needs for needed in needs[unit])
