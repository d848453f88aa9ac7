"""What a blend had better leave out: copies, near copies, and what gives the evaluation set away.

Decontamination covers what is trained on a blend: CLIP, the priors and latent diffusion, whose pictures are scored.
The tokenizer, captioner, filter and autoencoder train on every sample. None of them is scored on the evaluation set,
but the captions and latents that they make go into models that are; where a crawl holds images of the evaluation
set, ``t2i purge`` takes them out for all.
"""

from pathlib import Path
from typing import Any

import dagster as dg

from t2i_assets.assets.captioner import captioner
from t2i_assets.assets.crawl import GROUP as CRAWL
from t2i_assets.assets.crawl import shards
from t2i_assets.corpus.digests import digest
from t2i_assets.jobs import run_job
from t2i_assets.materialize import Metadata, Result, made, materialize
from t2i_assets.metadata import cluster_sheet, cluster_table, contamination_sheet, contamination_table
from t2i_assets.partitions import snapshots
from t2i_assets.resources import Overrides, Pipeline

GROUP = {"group_name": "duplicates", "partitions_def": snapshots, "owners": ["team:data"]}


@dg.asset(**CRAWL, deps=[shards], kinds={"parquet"}, code_version="2")
def near_duplicates(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Clusters of exact and perceptual duplicates, with the member that is kept and why."""
    images = made(pipeline, "shards", context.partition_key)
    rules = pipeline.settings.section("duplicates", config.overrides)

    def write(out: Path) -> dict[str, Any]:
        from t2i_assets.corpus.duplicates.perceptual import find_duplicates  # here: OpenCV takes its time to import

        return find_duplicates(images.path, context.partition_key, out, rules)

    return materialize(
        context,
        pipeline,
        path=lambda _: pipeline.place.dedup(context.partition_key),
        config=rules.model_dump(mode="json"),
        inputs={"shards": images},
        write=write,
        show=lambda artifact: _clusters(artifact.path, images.path),
    )


@dg.asset(
    **GROUP,
    deps=[captioner, shards, "evaluation_set"],
    kinds={"pytorch", "open_clip", "parquet"},
    code_version="1",
    pool="training",
)
def image_features(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Embedding of every image of the snapshot and of every reference, by the captioner or a model of open_clip."""
    snapshot = context.partition_key
    encoder, images = made(pipeline, "captioner"), made(pipeline, "shards", snapshot)
    evaluation = made(pipeline, "evaluation_set")
    chosen = pipeline.settings.section("image_features", config.overrides)
    name = encoder.digest if chosen.model is None else digest([chosen.model, chosen.pretrained])
    return run_job(
        context,
        pipeline,
        config,
        module="training.image_features",
        section="image_features",
        path=lambda _: pipeline.place.features(name, snapshot),
        inputs={"captioner": encoder, "shards": images, "evaluation_set": evaluation},
        files={
            "captioner": encoder.path,
            "shards": images.path,
            "references": evaluation.path / "reference",
        },
    )


@dg.asset(**GROUP, deps=[image_features, shards], kinds={"faiss", "parquet"}, code_version="1")
def semantic_duplicates(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """SemDeDup: clusters of images whose embeddings agree. A recipe says whether all but the kept one go."""
    snapshot = context.partition_key
    features, images = made(pipeline, "image_features", snapshot), made(pipeline, "shards", snapshot)
    rules = pipeline.settings.section("semantic_duplicates", config.overrides)

    def write(out: Path) -> dict[str, Any]:
        from t2i_assets.corpus.duplicates.semantic import find_semantic_duplicates

        return find_semantic_duplicates(images.path, features.path, snapshot, out, rules)

    return materialize(
        context,
        pipeline,
        path=lambda _: pipeline.place.semantic(snapshot),
        config=rules.model_dump(mode="json"),
        inputs={"image_features": features, "shards": images},
        write=write,
        show=lambda artifact: _clusters(artifact.path, images.path),
    )


@dg.asset(**GROUP, deps=[image_features, shards, "evaluation_set"], kinds={"faiss", "parquet"}, code_version="1")
def contamination(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Samples whose image or text is one of the evaluation set: a blend leaves the images out."""
    snapshot = context.partition_key
    features, images = made(pipeline, "image_features", snapshot), made(pipeline, "shards", snapshot)
    evaluation = made(pipeline, "evaluation_set")
    rules = pipeline.settings.section("contamination", config.overrides)

    def write(out: Path) -> dict[str, Any]:
        from t2i_assets.corpus.duplicates.contamination import find_contamination

        embedded = (features.path, features.path / "references")
        return find_contamination(images.path, evaluation.path, snapshot, out, rules, *embedded)

    return materialize(
        context,
        pipeline,
        path=lambda _: pipeline.place.contamination(snapshot),
        config=rules.model_dump(mode="json"),
        inputs={"image_features": features, "shards": images, "evaluation_set": evaluation},
        write=write,
        show=lambda artifact: {
            "agreements": contamination_table(artifact.path),
            "samples beside the evaluation set": contamination_sheet(
                artifact.path, images.path, [evaluation.path / part for part in rules.parts]
            ),
        },
    )


def _clusters(clusters: Path, images: Path) -> Metadata:
    return {"largest clusters": cluster_table(clusters), "kept beside the others": cluster_sheet(clusters, images)}
