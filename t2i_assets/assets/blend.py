"""The blend: which captions a recipe may draw for each sample, and with which probability."""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from t2i_assets.assets.capfilt import filtered_captions, synthetic_captions
from t2i_assets.assets.crawl import shards
from t2i_assets.assets.duplicates import contamination, near_duplicates, semantic_duplicates
from t2i_assets.corpus.blending import blend
from t2i_assets.corpus.schemas import BLENDS, CAPTIONS, CONTAMINATION, DUPLICATES, VERDICTS
from t2i_assets.corpus.shards import read_samples
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.corpus.verdicts import alt_captions
from t2i_assets.materialize import Result, made_everywhere, materialize
from t2i_assets.metadata import funnel_table
from t2i_assets.partitions import recipes
from t2i_assets.resources import Overrides, Pipeline

INPUTS = (
    *("shards", "near_duplicates", "semantic_duplicates", "contamination"),
    *("synthetic_captions", "filtered_captions"),
)


def every(asset: dg.AssetsDefinition) -> dg.AssetDep:
    """Return the dependency on every partition of ``asset``."""
    return dg.AssetDep(asset, partition_mapping=dg.AllPartitionMapping())


@dg.asset(
    group_name="blend",
    partitions_def=recipes,
    owners=["team:captions"],
    kinds={"parquet"},
    code_version="2",
    deps=[
        *(every(shards), every(near_duplicates), every(semantic_duplicates), every(contamination)),
        *(every(synthetic_captions), every(filtered_captions)),
    ],
)
def caption_blend(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Captions a recipe can draw for every sample of every snapshot; which one is drawn is decided at load time."""
    name = context.partition_key
    recipe = pipeline.settings.recipe(name, config.overrides)
    inputs = {asset: made_everywhere(pipeline, asset) for asset in INPUTS}

    def rows(asset: str, schema: Any) -> list[dict[str, Any]]:
        return [row for artifact in inputs[asset].values() for row in read_rows(artifact.path, schema)]

    def write(out: Path) -> dict[str, Any]:
        alt = [row for artifact in inputs["shards"].values() for row in alt_captions(artifact.path)]
        samples = [row for artifact in inputs["shards"].values() for row in read_samples(artifact.path).to_pylist()]
        captions = alt + rows("synthetic_captions", CAPTIONS)
        duplicates = rows("near_duplicates", DUPLICATES) + rows("semantic_duplicates", DUPLICATES)
        drawn, summary = blend(
            recipe,
            captions,
            rows("filtered_captions", VERDICTS),
            samples,
            duplicates,
            rows("contamination", CONTAMINATION),
        )
        write_table(out / "00000.parquet", drawn, BLENDS)
        (out / "recipe.json").write_text(json.dumps(recipe.model_dump(mode="json"), indent=1))
        return summary

    return materialize(
        context,
        pipeline,
        path=lambda digest: pipeline.place.blend(name, digest),
        config=recipe.model_dump(mode="json"),
        inputs=inputs,
        write=write,
        show=lambda artifact: {
            "samples": funnel_table(
                {
                    "left out": artifact.manifest.summary["left_out"],
                    "would go, did the recipe mind": artifact.manifest.summary["would_go"],
                }
            )
        },
    )
