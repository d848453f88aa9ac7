"""What a blend needs of the human set to train on its images; only there where a recipe includes them."""

from pathlib import Path
from typing import Any

import dagster as dg

from t2i_assets.assets.captioner import human_captions
from t2i_assets.assets.diffusion import autoencoder
from t2i_assets.corpus.snapshots import HUMAN
from t2i_assets.jobs import run_job
from t2i_assets.materialize import Result, made, materialize
from t2i_assets.metadata import contamination_table
from t2i_assets.resources import Overrides, Pipeline


@dg.asset(
    group_name="duplicates",
    owners=["team:data"],
    deps=[human_captions, "evaluation_set"],
    kinds={"parquet"},
    code_version="1",
)
def human_contamination(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Samples of the human set whose image or text is one of the evaluation set; embeddings are not compared."""
    images, evaluation = made(pipeline, "human_captions"), made(pipeline, "evaluation_set")
    rules = pipeline.settings.section("contamination", config.overrides)

    def write(out: Path) -> dict[str, Any]:
        from t2i_assets.corpus.duplicates.contamination import find_contamination  # here: OpenCV takes its time

        return find_contamination(images.path, evaluation.path, HUMAN, out, rules)

    return materialize(
        context,
        pipeline,
        path=lambda _: pipeline.place.contamination(HUMAN),
        config=rules.model_dump(mode="json"),
        inputs={"human_captions": images, "evaluation_set": evaluation},
        write=write,
        show=lambda artifact: {"agreements": contamination_table(artifact.path)},
    )


@dg.asset(
    group_name="models",
    owners=["team:models"],
    deps=[autoencoder, human_captions],
    kinds={"pytorch", "parquet"},
    code_version="2",
    pool="training",
)
def human_latents(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Latents of every image of the human set."""
    encoder, images = made(pipeline, "autoencoder"), made(pipeline, "human_captions")
    return run_job(
        context,
        pipeline,
        config,
        module="training.latents",
        section="latents",
        path=lambda _: pipeline.place.features(encoder.digest, HUMAN),
        inputs={"autoencoder": encoder, "human_captions": images},
        files={"autoencoder": encoder.path, "shards": images.path},
    )
