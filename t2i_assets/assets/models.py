"""CLIP on a blend, the embeddings that it gives, and the priors that live in its space."""

import dagster as dg

from t2i_assets.assets.blend import HUMAN_SAMPLES, caption_blend, every
from t2i_assets.assets.captioner import human_captions, tokenizer
from t2i_assets.assets.crawl import shards
from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.blending import recipe_of
from t2i_assets.corpus.snapshots import HUMAN
from t2i_assets.jobs import JOB_VERSIONS, run_job
from t2i_assets.materialize import Result, made, made_everywhere, paths
from t2i_assets.partitions import recipes
from t2i_assets.resources import Overrides, Pipeline

GROUP = {"group_name": "models", "owners": ["team:models"]}
TRAINED = {**GROUP, "partitions_def": recipes, "pool": "training"}
IMAGES = [every(shards), *([human_captions] if HUMAN_SAMPLES else [])]


def images_of(pipeline: Pipeline, blend: Artifact) -> dict[str, Artifact]:
    """Return the shards of every snapshot, and the human set where the blend's recipe includes its samples."""
    images = made_everywhere(pipeline, "shards")
    if recipe_of(blend).include_human_samples:
        images[HUMAN] = made(pipeline, "human_captions")
    return images


@dg.asset(**TRAINED, deps=[caption_blend, tokenizer, *IMAGES], kinds={"pytorch", "open_clip"}, code_version="3")
def clip_model(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """CLIP on a blend; its text encoder conditions the diffusion model, the priors live in its space."""
    blend, vocabulary = made(pipeline, "caption_blend", context.partition_key), made(pipeline, "tokenizer")
    images = images_of(pipeline, blend)
    start = pipeline.settings.section("clip", config.overrides).pretrained
    return run_job(
        context,
        pipeline,
        config,
        module="training.clip",
        section="clip",
        path=lambda digest: pipeline.place.model("clip", digest),
        inputs={"caption_blend": blend, "tokenizer": vocabulary, "shards": images},
        files={"blend": blend.path, "tokenizer": vocabulary.path, "shards": paths(images)},
        replicate=pipeline.settings.recipe(context.partition_key).replicate,
        named=() if start is None else (start.model, start.weights),
    )


@dg.asset(**TRAINED, deps=[clip_model, caption_blend, *IMAGES], kinds={"pytorch", "parquet"}, code_version="2")
def clip_embeddings(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """CLIP embeddings of every image and of every caption that a prior can draw."""
    recipe = context.partition_key
    clip, blend = made(pipeline, "clip_model", recipe), made(pipeline, "caption_blend", recipe)
    images = images_of(pipeline, blend)
    return run_job(
        context,
        pipeline,
        config,
        module="training.embed",
        section="embed",
        path=lambda digest: pipeline.place.features(clip.digest, digest),
        inputs={"clip_model": clip, "caption_blend": blend, "shards": images},
        files={"clip": clip.path, "blend": blend.path, "shards": paths(images)},
    )


@dg.asset(
    **TRAINED,
    deps=[clip_embeddings, clip_model, caption_blend],
    kinds={"pytorch"},
    code_version=JOB_VERSIONS["diffusion_prior"],
)
def diffusion_prior(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """DALL·E 2's diffusion prior: a causal transformer that predicts the CLIP image embedding of a caption."""
    return _prior(context, pipeline, config, "diffusion_prior")


@dg.asset(
    **TRAINED,
    deps=[clip_embeddings, clip_model, caption_blend],
    kinds={"pytorch"},
    code_version=JOB_VERSIONS["autoregressive_prior"],
)
def autoregressive_prior(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """DALL·E 2's autoregressive prior: PCA coordinates of the image embedding, quantised and predicted in order."""
    return _prior(context, pipeline, config, "autoregressive_prior")


def _prior(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides, kind: str) -> Result:
    recipe = context.partition_key
    return trained_prior(context, pipeline, config, kind, recipe, pipeline.settings.recipe(recipe).replicate)


def trained_prior(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides, kind: str, recipe: str, replicate: int
) -> Result:
    """Train a prior of a ``kind`` on the blend of a recipe, in the space of its CLIP."""
    inputs = {asset: made(pipeline, asset, recipe) for asset in ("clip_model", "clip_embeddings", "caption_blend")}
    return run_job(
        context,
        pipeline,
        config,
        module=f"training.{kind}",
        section=kind,
        path=lambda digest: pipeline.place.model(kind, digest),
        inputs=inputs,
        files={
            "clip": inputs["clip_model"].path,
            "features": [inputs["clip_embeddings"].path],
            "blend": inputs["caption_blend"].path,
        },
        replicate=replicate,
    )
