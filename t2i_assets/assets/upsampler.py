"""Caption upsampling: a model that makes short prompts descriptive, and the short prompts of the evaluation set so."""

import dagster as dg

from t2i_assets.assets.blend import every
from t2i_assets.assets.capfilt import filtered_captions, synthetic_captions
from t2i_assets.assets.captioner import tokenizer
from t2i_assets.assets.crawl import shards
from t2i_assets.assets.prompts import evaluation_set
from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.schemas import UPSAMPLED
from t2i_assets.corpus.tables import read_rows
from t2i_assets.jobs import run_job
from t2i_assets.materialize import Result, made, made_everywhere, paths
from t2i_assets.metadata import rows_table
from t2i_assets.resources import Overrides, Pipeline

SHOWN = 20


@dg.asset(
    group_name="models",
    owners=["team:captions"],
    deps=[*(every(asset) for asset in (filtered_captions, synthetic_captions, shards)), tokenizer],
    kinds={"pytorch", "transformers"},
    code_version="2",
    pool="training",
)
def upsampler(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Language model that writes a descriptive prompt from a short one, in the style of the kept captions."""
    vocabulary = made(pipeline, "tokenizer")
    crawled, captions, verdicts = (
        made_everywhere(pipeline, asset) for asset in ("shards", "synthetic_captions", "filtered_captions")
    )
    return run_job(
        context,
        pipeline,
        config,
        module="training.upsampler",
        section="upsampler",
        path=lambda digest: pipeline.place.model("upsampler", digest),
        inputs={
            "tokenizer": vocabulary,
            "shards": crawled,
            "synthetic_captions": captions,
            "filtered_captions": verdicts,
        },
        files={
            "tokenizer": vocabulary.path,
            "shards": paths(crawled),
            "captions": paths(captions),
            "verdicts": paths(verdicts),
        },
    )


@dg.asset(
    group_name="evals",
    owners=["team:evaluation"],
    deps=[upsampler, evaluation_set],
    kinds={"pytorch", "parquet"},
    code_version="1",
    pool="training",
)
def upsampled_prompts(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """The short prompts of the evaluation set made descriptive; a right picture still shows what the short ones ask."""
    writer, prompts = made(pipeline, "upsampler"), made(pipeline, "evaluation_set")
    return run_job(
        context,
        pipeline,
        config,
        module="training.upsample",
        section="upsample",
        path=lambda digest: pipeline.place.evals("upsampled_prompts", digest),
        inputs={"upsampler": writer, "evaluation_set": prompts},
        files={"upsampler": writer.path, "prompts": prompts.path / "prompts.parquet"},
        extra={"upsampler_digest": writer.digest},
        show=lambda artifact: {"examples": _examples(artifact)},
    )


def _examples(artifact: Artifact) -> dg.TableMetadataValue:
    rows = read_rows(artifact.path / "upsampled.parquet", UPSAMPLED, ["prompt", "upsampled", "status"])
    return rows_table(rows[:: max(1, len(rows) // SHOWN)][:SHOWN])
