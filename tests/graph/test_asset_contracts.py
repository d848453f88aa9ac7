"""What each asset promises of its files, looked at in the home of the smoke demo."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors import safe_open

from t2i_assets.config import load_settings
from t2i_assets.corpus.artifacts import list_refs, read_ref
from t2i_assets.corpus.schemas import (
    BLENDS,
    CAPTION_TICS,
    CAPTIONS,
    CONTAMINATION,
    DUPLICATES,
    EVALS,
    FEATURES,
    GENERATED,
    IMAGE_EMBEDDINGS,
    LATENTS,
    LEADERBOARD,
    LEDGER,
    METRICS,
    PAGES,
    PAIRS,
    PROMPTS,
    SAMPLES,
    SCORES,
    TEXT_EMBEDDINGS,
    VERDICTS,
)
from t2i_assets.corpus.shards import read_samples, verify
from t2i_assets.corpus.tables import as_table, read_rows
from t2i_assets.definitions import defs
from tests.graph.conftest import DemoRun

pytestmark = [pytest.mark.graph, pytest.mark.xdist_group("graph"), pytest.mark.timeout(1200)]

RECIPE = load_settings("smoke").text_encoder_recipe
TABLES: list[tuple[str, str, str, pa.Schema]] = [
    ("pages", "demo", "*.parquet", PAGES),
    ("image_text_pairs", "demo", "*.parquet", PAIRS),
    ("shards", "demo", "[0-9]*.parquet", SAMPLES),
    ("near_duplicates", "demo", "*.parquet", DUPLICATES),
    ("image_features", "demo", "[0-9]*.parquet", IMAGE_EMBEDDINGS),
    ("image_features", "demo", "references/*.parquet", IMAGE_EMBEDDINGS),
    ("semantic_duplicates", "demo", "*.parquet", DUPLICATES),
    ("contamination", "demo", "*.parquet", CONTAMINATION),
    ("human_captions", "_", "[0-9]*.parquet", SAMPLES),
    ("human_captions", "_", "captions.parquet", CAPTIONS),
    ("synthetic_captions", "demo", "[0-9]*.parquet", CAPTIONS),
    ("caption_scores", "demo", "[0-9]*.parquet", SCORES),
    ("filtered_captions", "demo", "*.parquet", VERDICTS),
    ("caption_report", "demo", "tics.parquet", CAPTION_TICS),
    ("caption_blend", RECIPE, "*.parquet", BLENDS),
    ("clip_embeddings", RECIPE, "images/demo/[0-9]*.parquet", IMAGE_EMBEDDINGS),
    ("clip_embeddings", RECIPE, "texts.parquet", TEXT_EMBEDDINGS),
    ("latents", "demo", "[0-9]*.parquet", LATENTS),
    ("evaluation_set", "_", "prompts.parquet", PROMPTS),
    ("prompts", "_", "prompts.parquet", PROMPTS),
    ("evaluation_set", "_", "pool/[0-9]*.parquet", SAMPLES),
    ("generated_images", RECIPE, "[0-9]*.parquet", GENERATED),
    ("real_features", "_", "*/judge/[0-9]*.parquet", FEATURES),
    ("generated_features", RECIPE, "generated/judge/[0-9]*.parquet", FEATURES),
    ("clip_score", RECIPE, "scores.parquet", EVALS),
    ("fid", RECIPE, "scores.parquet", EVALS),
    ("t2i_compbench", RECIPE, "scores.parquet", EVALS),
    ("clip_score_bounds", "_", "scores.parquet", EVALS),
    ("leaderboard", "_", "leaderboard.parquet", LEADERBOARD),
]
WEIGHTS = {
    "captioner": "descriptive/open_clip_model.safetensors",
    "caption_filter": "model.safetensors",
    "clip_model": "open_clip_model.safetensors",
    "evaluation_clip": "open_clip_model.safetensors",
    "diffusion_prior": "model.safetensors",
    "autoregressive_prior": "model.safetensors",
    "autoencoder": "diffusion_pytorch_model.safetensors",
    "latent_diffusion": "unet/diffusion_pytorch_model.safetensors",
    "judge": "model.safetensors",
}


@pytest.mark.parametrize(("asset", "partition", "files", "schema"), TABLES)
def test_tables_keep_to_their_schema(demo: DemoRun, asset: str, partition: str, files: str, schema: pa.Schema) -> None:
    found = sorted(read_ref(demo.home, asset, partition).path.glob(files))
    assert found
    for file in found:
        assert as_table(pq.read_table(file), schema).num_rows > 0


@pytest.mark.parametrize(("asset", "file"), WEIGHTS.items())
def test_models_are_safetensors_with_run_and_curve(demo: DemoRun, asset: str, file: str) -> None:
    for artifact in list_refs(demo.home, asset).values():
        with safe_open(artifact.path / file, "pt") as weights:
            assert len(weights.keys()) > 0
        run = json.loads((artifact.path / "run.json").read_text())
        assert run["steps"] > 0
        assert as_table(pq.read_table(artifact.path / "metrics.parquet"), METRICS).num_rows > 0
        for picture in run["images"].values():
            Image.open(artifact.path / picture).verify()
        assert not list(artifact.path.glob("*checkpoint*"))


def test_inputs_in_manifests_name_artifacts_that_exist(demo: DemoRun) -> None:
    known: set[str] = set()
    manifests = []
    for key in defs.resolve_asset_graph().get_all_asset_keys():
        for artifact in list_refs(demo.home, key.to_user_string()).values():
            known.add(artifact.identity)
            manifests.append(artifact.manifest)
    for manifest in manifests:
        for name, identity in manifest.inputs.items():
            assert identity in known, f"{manifest.asset}: input {name} is {identity}, which nothing is"


def test_every_url_tried_has_a_ledger_row(demo: DemoRun) -> None:
    for name in ("pages", "images"):
        table = as_table(pq.read_table(demo.home.ledger("demo") / f"{name}.parquet"), LEDGER)
        assert table.num_rows > 0
        sources = {(row["kind"] == "robots", row["source"]) for row in table.to_pylist()}
        assert sources <= {(False, "synthweb"), (True, "*")}


def test_shards_verify_and_hold_decodable_images(demo: DemoRun) -> None:
    path = read_ref(demo.home, "shards", "demo").path
    assert verify(path) == []
    row = read_samples(path).to_pylist()[0]
    with (path / row["shard"]).open("rb") as tar:
        tar.seek(row["image_offset"])
        image = Image.open(io.BytesIO(tar.read(row["image_bytes"])))
    assert image.size == (row["width"], row["height"])


def test_every_sample_has_both_synthetic_captions_and_each_caption_a_score(demo: DemoRun) -> None:
    keys = set(read_samples(read_ref(demo.home, "shards", "demo").path)["key"].to_pylist())
    captions = read_rows(read_ref(demo.home, "synthetic_captions", "demo").path, CAPTIONS)
    for source in ("synthetic_short", "synthetic_descriptive"):
        assert {row["key"] for row in captions if row["source"] == source} == keys
    scores = read_rows(read_ref(demo.home, "caption_scores", "demo").path, SCORES)
    for kind in ("itm", "itc"):
        assert {row["caption_id"] for row in captions} <= {row["caption_id"] for row in scores if row["kind"] == kind}


def test_generated_images_are_one_per_prompt_with_the_same_noise_for_every_recipe(demo: DemoRun) -> None:
    prompts = read_rows(read_ref(demo.home, "prompts").path / "prompts.parquet", PROMPTS)
    drawn = {
        recipe: {(row["prompt_id"], row["seed"]) for row in read_rows(_first(artifact.path), GENERATED)}
        for recipe, artifact in list_refs(demo.home, "generated_images").items()
    }
    assert len(drawn) == 2
    first, second = drawn.values()
    assert first == second
    assert {prompt for prompt, _ in first} == {row["prompt_id"] for row in prompts}


def _first(directory: Path) -> Path:
    return sorted(directory.glob("[0-9]*.parquet"))[0]
