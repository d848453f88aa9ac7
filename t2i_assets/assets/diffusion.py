"""Latent diffusion on a blend's captions: the autoencoder, the latents that it gives, the denoising U-Net."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from t2i_assets.assets.blend import HUMAN_SAMPLES, caption_blend, every
from t2i_assets.assets.crawl import shards
from t2i_assets.assets.models import GROUP, TRAINED, clip_embeddings, clip_model
from t2i_assets.config import load_settings
from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.blending import recipe_of
from t2i_assets.corpus.snapshots import HUMAN
from t2i_assets.jobs import JOB_VERSIONS, run_job
from t2i_assets.materialize import Result, made, made_everywhere, paths
from t2i_assets.partitions import snapshots, text_encoder_recipe
from t2i_assets.resources import Overrides, Pipeline

OF_TEXT_ENCODER = dg.SpecificPartitionsPartitionMapping([text_encoder_recipe])
IMAGE_EMBEDDING = load_settings().diffusion.image_embedding
TEXT_STATES = load_settings().text_states is not None


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


LATENTS = [autoencoder, every(latents), *(["human_latents"] if HUMAN_SAMPLES else [])]


@dg.asset(
    **TRAINED,
    deps=[caption_blend, dg.AssetDep(clip_model, partition_mapping=OF_TEXT_ENCODER)],
    kinds={"pytorch", "safetensors"},
    code_version="1",
)
def text_states(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """States of every caption that a diffusion model can draw from a blend, computed once by its text encoder.

    Part of the graph where the preset has a section ``text_states``.
    """
    blend, clip = (
        made(pipeline, "caption_blend", context.partition_key),
        made(pipeline, "clip_model", text_encoder_recipe),
    )
    reader = pipeline.settings.diffusion.text_encoder
    return run_job(
        context,
        pipeline,
        config,
        module="training.text_states",
        section="text_states",
        path=lambda digest: pipeline.place.features(clip.digest, digest),
        inputs={"caption_blend": blend, "clip_model": clip},
        files={"blend": blend.path, "clip": clip.path},
        extra={"text_encoder": reader.model_dump(mode="json")},
        named=(reader.model, reader.weights),
    )


@dg.asset(
    **TRAINED,
    deps=[
        *([text_states] if TEXT_STATES else []),
        *(caption_blend, *LATENTS, dg.AssetDep(clip_model, partition_mapping=OF_TEXT_ENCODER)),
        *([dg.AssetDep(clip_embeddings, partition_mapping=OF_TEXT_ENCODER)] if IMAGE_EMBEDDING else []),
    ],
    kinds={"pytorch", "diffusers"},
    code_version=JOB_VERSIONS["latent_diffusion"],
)
def latent_diffusion(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Text-conditional latent diffusion U-Net. Recipes differ in captions alone: seed, steps, size, autoencoder and
    text encoder are the same, so that a difference on the leaderboard is the captions' doing."""
    recipe = context.partition_key
    return trained_diffusion(context, pipeline, config, recipe, pipeline.settings.recipe(recipe).replicate)


def trained_diffusion(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    config: Overrides,
    recipe: str,
    replicate: int,
    extra: Mapping[str, Any] | None = None,
) -> Result:
    """Train latent diffusion on the blend of a recipe; ``extra`` are settings that differ from the section's."""
    told = pipeline.settings.section("diffusion", {**config.overrides, **(extra or {})})
    blend, encoder = made(pipeline, "caption_blend", recipe), made(pipeline, "autoencoder")
    clip = made(pipeline, "clip_model", text_encoder_recipe)
    encoded = made_everywhere(pipeline, "latents")
    if recipe_of(blend).include_human_samples:
        encoded[HUMAN] = made(pipeline, "human_latents")
    inputs: dict[str, Artifact | Mapping[str, Artifact]] = {
        "caption_blend": blend,
        "clip_model": clip,
        "autoencoder": encoder,
        "latents": encoded,
    }
    files: dict[str, Path | list[Path]] = {
        "blend": blend.path,
        "clip": clip.path,
        "autoencoder": encoder.path,
        "latents": paths(encoded),
    }
    if told.image_embedding:
        embeddings = made(pipeline, "clip_embeddings", text_encoder_recipe)
        inputs["clip_embeddings"], files["image_embeddings"] = embeddings, [embeddings.path]
    if pipeline.settings.text_states is not None:
        states = made(pipeline, "text_states", recipe)
        inputs["text_states"], files["text_states"] = states, [states.path]
    return run_job(
        context,
        pipeline,
        config,
        module="training.diffusion",
        section="diffusion",
        path=lambda digest: pipeline.place.model("latent_diffusion", digest),
        inputs=inputs,
        files=files,
        extra=extra,
        replicate=replicate,
        named=(
            told.text_encoder.model,
            told.text_encoder.weights,
            *((told.unet.model, told.unet.subfolder) if told.unet else ()),
        ),
    )
