"""Features of pictures by every encoder that distances are measured with, computed once and shared by all distances."""

from collections.abc import Mapping

import dagster as dg

from t2i_assets.assets.evals import judge
from t2i_assets.assets.generated import generated_images
from t2i_assets.assets.prompts import GROUP, evaluation_set
from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.jobs import run_job
from t2i_assets.materialize import Result, made
from t2i_assets.partitions import recipes
from t2i_assets.resources import Overrides, Pipeline

FEATURES_VERSION = "1"


@dg.asset(**GROUP, deps=[evaluation_set, judge], kinds={"pytorch", "parquet"}, code_version=FEATURES_VERSION)
def real_features(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Features of held-out real images, of the prompts' real images and of these with their patches shuffled."""
    return encoded(context, pipeline, config, {"evaluation_set": made(pipeline, "evaluation_set")})


@dg.asset(
    **GROUP,
    partitions_def=recipes,
    deps=[generated_images, judge],
    kinds={"pytorch", "parquet"},
    code_version=FEATURES_VERSION,
)
def generated_features(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Features of what the model of a recipe drew."""
    return encoded(context, pipeline, config, {"images": made(pipeline, "generated_images", context.partition_key)})


def encoded(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides, pictures: Mapping[str, Artifact]
) -> Result:
    """Compute features of pictures; the job takes over those that an earlier artifact of the asset holds."""
    asset, detector = context.asset_key.to_user_string(), made(pipeline, "judge")
    chosen = pipeline.settings.section("features", config.overrides)
    known = sorted(path.parent for path in pipeline.place.evals(asset, "_").parent.glob("[!.]*/manifest.json"))
    return run_job(
        context,
        pipeline,
        config,
        module="evaluation.encode",
        section="features",
        path=lambda digest: pipeline.place.evals(asset, digest),
        inputs={"judge": detector, **pictures},
        files={"judge": detector.path, "known": known, **{name: made.path for name, made in pictures.items()}},
        named=[chosen.real, *(place for encoder in chosen.encoders for place in (encoder.model, encoder.weights))],
    )
