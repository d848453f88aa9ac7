"""Pictures that models draw for the prompts. One that was drawn before, by the same settings, is not drawn again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from t2i_assets.assets.diffusion import OF_TEXT_ENCODER, latent_diffusion
from t2i_assets.assets.prompts import GROUP, prompts
from t2i_assets.config import load_settings
from t2i_assets.corpus.artifacts import Artifact, read_artifact
from t2i_assets.corpus.way_of_drawing import way_of_drawing
from t2i_assets.jobs import JOB_VERSIONS, digested, run_job
from t2i_assets.materialize import Result, made
from t2i_assets.metadata import generated_table
from t2i_assets.partitions import recipes, text_encoder_recipe
from t2i_assets.resources import Overrides, Pipeline

CONDITIONS: Mapping[str, Sequence[str]] = {
    "caption": (),
    "text_embedding": ("clip_model",),
    "prior": ("clip_model", "diffusion_prior"),
}
"""What each condition of generation needs beside the diffusion model."""
CONDITION = load_settings().generate.condition


@dg.asset(
    **GROUP,
    partitions_def=recipes,
    deps=[
        *(latent_diffusion, prompts),
        *(dg.AssetDep(name, partition_mapping=OF_TEXT_ENCODER) for name in CONDITIONS[CONDITION]),
    ],
    kinds={"pytorch", "diffusers"},
    code_version=JOB_VERSIONS["generate"],
    pool="training",
)
def generated_images(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """One image per prompt and seed; the noise of a prompt is the same for every model. A model of the unCLIP variant
    draws from what the preset says: captions, text embeddings, or image embeddings by the diffusion prior."""
    model = made(pipeline, "latent_diffusion", context.partition_key)
    condition = pipeline.settings.section("generate", config.overrides).condition
    needed = {name: made(pipeline, name, text_encoder_recipe) for name in CONDITIONS[condition]}
    return drawn(context, pipeline, config, model, needed.get("clip_model"), needed.get("diffusion_prior"))


def drawn(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    config: Overrides,
    model: Artifact,
    clip: Artifact | None,
    prior: Artifact | None,
    extra: Mapping[str, Any] | None = None,
) -> Result:
    """Draw an image per prompt and seed; ``extra`` are settings that differ from the section's."""
    asset, asked = context.asset_key.to_user_string(), made(pipeline, "prompts")
    of_condition = {name: artifact for name, artifact in (("clip", clip), ("prior", prior)) if artifact is not None}
    inputs = {"latent_diffusion": model, **of_condition}
    extra = {"model_digest": model.digest, **(extra or {})}
    settings = {**pipeline.settings.section("generate", config.overrides).model_dump(mode="json"), **extra}
    return run_job(
        context,
        pipeline,
        config,
        module="training.generate",
        section="generate",
        path=lambda digest: pipeline.place.evals(asset, digest),
        inputs={**inputs, "prompts": asked},
        files={
            "diffusion": model.path,
            "prompts": asked.path / "prompts.parquet",
            **{name: artifact.path for name, artifact in of_condition.items()},
            "earlier": drawn_before(pipeline.place.evals(asset, "_").parent, digested(settings), inputs),
        },
        extra=extra,
        show=lambda artifact: {"examples": generated_table(artifact.path, asked.path)},
    )


def drawn_before(directory: Path, settings: Mapping[str, Any], inputs: Mapping[str, Artifact]) -> list[Path]:
    """Return the artifacts below ``directory`` of the same code, inputs and settings, but for prompts and seeds."""
    models = {name: artifact.identity for name, artifact in inputs.items()}
    wanted = way_of_drawing(JOB_VERSIONS["generate"], settings, models)
    found = []
    for manifest in sorted(directory.glob("[!.]*/manifest.json")):
        earlier = read_artifact(manifest.parent)
        if earlier is not None:
            made_by = earlier.manifest
            if way_of_drawing(made_by.code_version, made_by.config, made_by.inputs) == wanted:
                found.append(earlier.path)
    return found
