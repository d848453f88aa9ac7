"""What is trained on a blend, and the features between: CLIP, the priors, the autoencoder, latent diffusion."""

import dagster as dg

from t2i_assets.assets.blend import HUMAN_SAMPLES, caption_blend, every
from t2i_assets.assets.captioner import human_captions, tokenizer
from t2i_assets.assets.crawl import shards
from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.blending import recipe_of
from t2i_assets.corpus.snapshots import HUMAN
from t2i_assets.jobs import run_job
from t2i_assets.materialize import Result, made, made_everywhere, paths
from t2i_assets.partitions import recipes, snapshots, text_encoder_recipe
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


@dg.asset(**TRAINED, deps=[clip_embeddings, clip_model, caption_blend], kinds={"pytorch"}, code_version="2")
def diffusion_prior(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """DALL·E 2's diffusion prior: a causal transformer that predicts the CLIP image embedding of a caption."""
    return _prior(context, pipeline, config, "diffusion_prior")


@dg.asset(**TRAINED, deps=[clip_embeddings, clip_model, caption_blend], kinds={"pytorch"}, code_version="2")
def autoregressive_prior(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """DALL·E 2's autoregressive prior: PCA coordinates of the image embedding, quantised and predicted in order."""
    return _prior(context, pipeline, config, "autoregressive_prior")


def _prior(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides, kind: str) -> Result:
    recipe = context.partition_key
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
        replicate=pipeline.settings.recipe(recipe).replicate,
    )


@dg.asset(**GROUP, deps=[shards], kinds={"pytorch", "diffusers"}, code_version="2", pool="training")
def autoencoder(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Variational autoencoder: images to latents and back. What it loses, no diffusion model can draw."""
    images = made_everywhere(pipeline, "shards")
    told = pipeline.settings.section("autoencoder", config.overrides)
    return run_job(
        context,
        pipeline,
        config,
        module="training.autoencoder",
        section="autoencoder",
        path=lambda digest: pipeline.place.model("autoencoder", digest),
        inputs={"shards": images},
        files={"shards": paths(images)},
        named=(
            *((told.pretrained.model,) if told.pretrained else ()),
            *((str(told.perceptual.vgg16),) if told.perceptual and told.perceptual.vgg16 else ()),
        ),
    )


@dg.asset(
    **GROUP,
    deps=[autoencoder, shards],
    partitions_def=snapshots,
    kinds={"pytorch", "parquet"},
    code_version="2",
    pool="training",
)
def latents(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Latents of every image, computed once, so that diffusion training decodes no image and runs no encoder."""
    snapshot = context.partition_key
    encoder, images = made(pipeline, "autoencoder"), made(pipeline, "shards", snapshot)
    return run_job(
        context,
        pipeline,
        config,
        module="training.latents",
        section="latents",
        path=lambda _: pipeline.place.features(encoder.digest, snapshot),
        inputs={"autoencoder": encoder, "shards": images},
        files={"autoencoder": encoder.path, "shards": images.path},
    )


@dg.asset(
    **TRAINED,
    deps=[
        caption_blend,
        autoencoder,
        every(latents),
        *(["human_latents"] if HUMAN_SAMPLES else []),
        dg.AssetDep(clip_model, partition_mapping=dg.SpecificPartitionsPartitionMapping([text_encoder_recipe])),
    ],
    kinds={"pytorch", "diffusers"},
    code_version="3",
)
def latent_diffusion(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Text-conditional latent diffusion U-Net. Recipes differ in captions alone: seed, steps, size, autoencoder and
    text encoder are the same, so that a difference on the leaderboard is the captions' doing."""
    blend = made(pipeline, "caption_blend", context.partition_key)
    clip, encoder = made(pipeline, "clip_model", text_encoder_recipe), made(pipeline, "autoencoder")
    encoded = made_everywhere(pipeline, "latents")
    told = pipeline.settings.section("diffusion", config.overrides)
    if recipe_of(blend).include_human_samples:
        encoded[HUMAN] = made(pipeline, "human_latents")
    return run_job(
        context,
        pipeline,
        config,
        module="training.diffusion",
        section="diffusion",
        path=lambda digest: pipeline.place.model("latent_diffusion", digest),
        inputs={"caption_blend": blend, "clip_model": clip, "autoencoder": encoder, "latents": encoded},
        files={"blend": blend.path, "clip": clip.path, "autoencoder": encoder.path, "latents": paths(encoded)},
        replicate=pipeline.settings.recipe(context.partition_key).replicate,
        named=(
            told.text_encoder.model,
            told.text_encoder.weights,
            *((told.unet.model, told.unet.subfolder) if told.unet else ()),
        ),
    )
