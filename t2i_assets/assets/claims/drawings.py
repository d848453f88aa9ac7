"""Diffusion models and priors that differ in one thing, what they draw for the prompts, and how it scores."""

import dagster as dg

from t2i_assets.assets.blend import caption_blend
from t2i_assets.assets.claims.group import CONFIG, GROUP, TRAINED
from t2i_assets.assets.diffusion import LATENTS, OF_TEXT_ENCODER, TEXT_STATES, trained_diffusion
from t2i_assets.assets.evals import METRICS, OF_FEATURES, VERSIONS, judge, looks_with, scored
from t2i_assets.assets.features import FEATURES_VERSION, encoded
from t2i_assets.assets.generated import drawn
from t2i_assets.assets.models import autoregressive_prior, clip_embeddings, clip_model, diffusion_prior, trained_prior
from t2i_assets.assets.prompts import prompts
from t2i_assets.claims import drawings
from t2i_assets.config import load_settings
from t2i_assets.jobs import JOB_VERSIONS
from t2i_assets.materialize import Result, made
from t2i_assets.partitions import text_encoder_recipe
from t2i_assets.resources import Overrides, Pipeline

MODELS, PRIORS = drawings.models(CONFIG), drawings.priors(CONFIG)
DRAWINGS = drawings.drawings(CONFIG, load_settings().generate.sampler.model_dump())

every_model = dg.StaticPartitionsDefinition(list(MODELS))
every_prior = dg.StaticPartitionsDefinition(list(PRIORS))
every_drawing = dg.StaticPartitionsDefinition(list(DRAWINGS))
of_model = dg.StaticPartitionMapping(
    {model: [name for name, drawing in DRAWINGS.items() if drawing.model == model] for model in MODELS}
)
of_prior = dg.StaticPartitionMapping(
    {
        prior: [name for name, drawing in DRAWINGS.items() if (drawing.prior, drawing.seed) == (kind, seed)]
        for prior, (kind, seed) in PRIORS.items()
    }
)
SHARED = [
    dg.AssetDep(asset, partition_mapping=OF_TEXT_ENCODER) for asset in (caption_blend, clip_model, clip_embeddings)
]


@dg.asset(
    **TRAINED,
    partitions_def=every_model,
    deps=[
        *(*SHARED, *LATENTS),
        *([dg.AssetDep("text_states", partition_mapping=OF_TEXT_ENCODER)] if TEXT_STATES else []),
    ],
    code_version=JOB_VERSIONS["latent_diffusion"],
)
def diffusion_replicate(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Latent diffusion on the text encoder's blend, by one objective or of the unCLIP variant, at a seed."""
    seed, differs = MODELS[context.partition_key]
    return trained_diffusion(context, pipeline, config, text_encoder_recipe, seed, differs)


@dg.asset(**TRAINED, partitions_def=every_prior, deps=SHARED, code_version=JOB_VERSIONS["diffusion_prior"])
def prior_replicate(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """A prior once more, at another seed."""
    kind, seed = PRIORS[context.partition_key]
    return trained_prior(context, pipeline, config, kind, text_encoder_recipe, seed)


@dg.asset(
    **TRAINED,
    partitions_def=every_drawing,
    deps=[
        prompts,
        dg.AssetDep(diffusion_replicate, partition_mapping=of_model),
        dg.AssetDep(prior_replicate, partition_mapping=of_prior),
        *(
            dg.AssetDep(asset, partition_mapping=OF_TEXT_ENCODER)
            for asset in (clip_model, diffusion_prior, autoregressive_prior)
        ),
    ],
    code_version=JOB_VERSIONS["generate"],
)
def drawing(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Pictures for every prompt by one model, at one guidance scale, from one condition."""
    told = DRAWINGS[context.partition_key]
    model, prior = made(pipeline, "diffusion_replicate", told.model), None
    clip = (
        None
        if told.generate.get("condition", "caption") == "caption"
        else made(pipeline, "clip_model", text_encoder_recipe)
    )
    if told.prior is not None and told.seed:
        prior = made(pipeline, "prior_replicate", drawings.name(told.prior, told.seed))
    elif told.prior is not None:
        prior = made(pipeline, told.prior, text_encoder_recipe)
    return drawn(context, pipeline, config, model, clip, prior, told.generate)


@dg.asset(
    **GROUP,
    partitions_def=every_drawing,
    deps=[drawing, judge],
    kinds={"pytorch", "parquet"},
    code_version=FEATURES_VERSION,
)
def drawing_features(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Features of every drawing."""
    return encoded(context, pipeline, config, {"images": made(pipeline, "drawing", context.partition_key)})


def _metric(metric: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"drawing_{metric}",
        description=f"{metric} of every drawing.",
        **GROUP,
        partitions_def=every_drawing,
        deps=[
            *(drawing, *looks_with(metric)),
            *([drawing_features] if metric in OF_FEATURES else []),
            dg.AssetDep(diffusion_replicate, partition_mapping=of_model),
        ],
        kinds={"pytorch", "parquet"},
        code_version=VERSIONS[metric],
    )
    def scores(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
        name = context.partition_key
        model = made(pipeline, "diffusion_replicate", DRAWINGS[name].model)
        features = made(pipeline, "drawing_features", name) if metric in OF_FEATURES else None
        return scored(context, pipeline, config, metric, made(pipeline, "drawing", name), model, features)

    return scores


assets = [diffusion_replicate, prior_replicate, drawing, drawing_features, *(_metric(metric) for metric in METRICS)]
