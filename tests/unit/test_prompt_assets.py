"""A prompt file costs its own pictures: nothing that trains hangs on it, and what was drawn is not drawn again."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from t2i_assets import jobs
from t2i_assets.assets import evals, generated, prompts
from t2i_assets.corpus.artifacts import Artifact, read_ref
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import EVALS, GENERATED, PROMPTS
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.definitions import defs
from t2i_assets.resources import Pipeline
from tests.sample_home import make_home

RECIPE = "blend_95_5"
LINE = {"tag": "single_object", "include": [{"class": "dog", "count": 1}], "prompt": "a photo of a dog"}


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("home"), samples=12, scenes=2, until="evaluation_clip")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand in for every job; return what each was given."""
    seen: list[dict[str, Any]] = []

    def stand_in(
        _: dg.AssetExecutionContext,
        module: str,
        config: Mapping[str, Any],
        inputs: Mapping[str, Any],
        out: Path,
        __: Any,
    ) -> dict[str, Any]:
        seen.append(dict(inputs))
        if module == "training.generate":
            asked = read_rows(inputs["prompts"], PROMPTS)
            place = {"model": config["model_digest"], "image_offset": 0, "image_bytes": 0}
            rows = [{"key": f"{p['prompt_id']}-42", "prompt_id": p["prompt_id"], "seed": 42, **place} for p in asked]
            write_table(out / "00000.parquet", rows, GENERATED)
        else:
            write_table(out / "scores.parquet", [], EVALS)
        return {}

    monkeypatch.setattr(jobs, "launch", stand_in)
    return seen


def make(instance: dg.DagsterInstance, home: Home, asset: dg.AssetsDefinition, **overrides: Any) -> Artifact:
    """Materialize an asset, of the recipe where it is partitioned; return what it holds then."""
    name, partition = asset.key.to_user_string(), None if asset.partitions_def is None else RECIPE
    done = dg.materialize(
        [asset],
        instance=instance,
        partition_key=partition,
        resources={"pipeline": Pipeline(preset="tiny", home=str(home.root))},
        run_config={"ops": {name: {"config": {"overrides": overrides}}}},
    )
    assert done.success
    return read_ref(home, name, partition or "_")


def test_nothing_that_is_trained_hangs_on_the_prompts_that_are_drawn() -> None:
    graph, below, look = defs.resolve_asset_graph(), set(), ["prompts"]
    while look:
        fresh = {key.to_user_string() for key in graph.get(dg.AssetKey(look.pop())).child_keys} - below
        below |= fresh
        look += fresh
    scores = {"clip_score", "fid", "t2i_compbench"}
    assert below == {"generated_images", "generated_features", *scores, "leaderboard", "dataset_stats", "report"}


def test_a_file_that_moved_is_the_same_prompts_and_a_new_line_is_not(
    instance: dg.DagsterInstance, home: Home, tmp_path: Path
) -> None:
    first, moved = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text(json.dumps(LINE))
    made = make(instance, home, prompts.prompts, geneval=str(first))
    drawn = read_rows(read_ref(home, "evaluation_set").path / "prompts.parquet", PROMPTS)
    rows = read_rows(made.path / "prompts.parquet", PROMPTS)
    assert rows[:-1] == drawn and rows[-1]["prompt"] == LINE["prompt"]
    assert made.manifest.summary["styles"] == {"original": 2, "descriptive": 2, "geneval": 1}
    first.rename(moved)
    moved.write_text(f"\n{json.dumps(LINE)}\n")
    assert make(instance, home, prompts.prompts, geneval=str(moved), limit=3).digest == made.digest
    moved.write_text(json.dumps(LINE | {"prompt": "a photo of some dog"}))
    assert make(instance, home, prompts.prompts, geneval=str(moved)).digest != made.digest


def test_pictures_that_differ_in_prompts_and_seeds_alone_are_given_to_the_job_that_draws(
    instance: dg.DagsterInstance, home: Home, given: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "drawbench.csv").write_text("Prompts,Category\nA red car.,Colors\n")
    make(instance, home, prompts.prompts)
    first = make(instance, home, generated.generated_images).path
    make(instance, home, prompts.prompts, drawbench=str(tmp_path / "drawbench.csv"))
    second = make(instance, home, generated.generated_images).path
    third = make(instance, home, generated.generated_images, seeds=[42, 43]).path
    make(instance, home, generated.generated_images, sampler={"steps": 3})
    assert [sorted(job["earlier"]) for job in given] == [[], [first], sorted([first, second]), []]
    assert len({first, second, third}) == 3


def test_clip_scores_interactions_where_a_prompt_states_one(
    instance: dg.DagsterInstance, home: Home, given: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "color_val.txt").write_text("a green bench and a blue bowl\n")
    make(instance, home, prompts.prompts, compbench=str(tmp_path))
    make(instance, home, generated.generated_images)
    make(instance, home, evals.t2i_compbench)
    assert "clip" not in given[-1]
    (tmp_path / "non_spatial_val.txt").write_text("A person is reading a book.\n")
    make(instance, home, prompts.prompts, compbench=str(tmp_path))
    scores = make(instance, home, evals.t2i_compbench)
    clip = read_ref(home, "evaluation_clip")
    assert given[-1]["clip"] == clip.path
    assert scores.manifest.inputs["clip"] == clip.identity


def test_another_pipeline_at_the_parsers_path_scores_anew(
    instance: dg.DagsterInstance, home: Home, given: list[dict[str, Any]], tmp_path: Path
) -> None:
    def score() -> Artifact:
        return make(instance, home, evals.t2i_compbench, parser=str(tmp_path))

    make(instance, home, prompts.prompts)
    make(instance, home, generated.generated_images)
    given.clear()
    (tmp_path / "weights").write_text("one")
    first = score()
    assert score().digest == first.digest
    (tmp_path / "weights").write_text("two")
    assert score().digest != first.digest
    assert len(given) == 2
