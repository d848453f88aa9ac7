"""Captioners and filters at further seeds, and what they make of held-out pictures and of the crawl."""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from t2i_assets.assets.captioner import caption_filter, captioner, human_captions, tokenizer, trained_on_pairs
from t2i_assets.assets.claims.group import CONFIG, GROUP, TRAINED
from t2i_assets.assets.crawl import shards
from t2i_assets.assets.evals import evaluation_clip
from t2i_assets.assets.prompts import evaluation_set
from t2i_assets.claims import trials
from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.jobs import JOB_VERSIONS, run_job
from t2i_assets.materialize import Result, made, made_everywhere, paths
from t2i_assets.resources import Overrides, Pipeline

every_seed = dg.StaticPartitionsDefinition([str(seed) for seed in range(CONFIG.capfilt_seeds)])
further_seeds = dg.StaticPartitionsDefinition([str(seed) for seed in range(1, CONFIG.capfilt_seeds)])
"""Seeds of captioners and filters beside the pipeline's own, which is seed 0 of the experiments."""
every_trial = dg.StaticPartitionsDefinition(trials.names(CONFIG))
trials_of_seed = dg.StaticPartitionMapping(
    {
        seed: [name for name in trials.names(CONFIG) if trials.seed_of(name) == int(seed)]
        for seed in further_seeds.get_partition_keys()
    }
)


@dg.asset(
    **TRAINED,
    partitions_def=further_seeds,
    deps=[tokenizer, shards, human_captions],
    code_version=JOB_VERSIONS["captioner"],
)
def captioner_replicate(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """The captioner once more, at another seed."""
    return trained_on_pairs(context, pipeline, config, "captioner", int(context.partition_key))


@dg.asset(
    **TRAINED,
    partitions_def=further_seeds,
    deps=[tokenizer, shards, human_captions],
    code_version=JOB_VERSIONS["caption_filter"],
)
def caption_filter_replicate(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """The filter once more, at another seed."""
    return trained_on_pairs(context, pipeline, config, "caption_filter", int(context.partition_key))


@dg.asset(
    **TRAINED,
    partitions_def=every_trial,
    deps=[captioner, evaluation_set, dg.AssetDep(captioner_replicate, partition_mapping=trials_of_seed)],
    code_version=JOB_VERSIONS["recaption"],
)
def heldout_captions(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Descriptive captions of held-out pictures by the captioner of a seed, decoded by nucleus, by beam or greedily."""
    trial = context.partition_key
    writer, prompts = _of_seed(pipeline, "captioner", trials.seed_of(trial)), made(pipeline, "evaluation_set")
    decode = pipeline.settings.recaption.decode.model_copy(update=trials.decoding_of(trial))
    return run_job(
        context,
        pipeline,
        config,
        module="training.recaption",
        section="recaption",
        path=lambda digest: pipeline.place.evals("heldout_captions", digest),
        inputs={"captioner": writer, "evaluation_set": prompts},
        files={"captioner": writer.path, "shards": prompts.path / "heldout"},
        extra={
            **dict.fromkeys(("model", "pretrained", "revision")),
            "backend": "coca",
            "captioner_digest": writer.digest,
            "styles": [{"style": "descriptive"}],
            "decode": decode.model_dump(mode="json"),
        },
    )


@dg.asset(
    **TRAINED,
    partitions_def=every_trial,
    deps=[
        *(heldout_captions, caption_filter, tokenizer, evaluation_set),
        dg.AssetDep(caption_filter_replicate, partition_mapping=trials_of_seed),
    ],
    code_version=JOB_VERSIONS["score"],
)
def heldout_scores(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Scores of the captions of a trial by the filter of the same seed."""
    trial = context.partition_key
    captions, prompts = made(pipeline, "heldout_captions", trial), made(pipeline, "evaluation_set")
    inputs = {"heldout_captions": captions, "evaluation_set": prompts}
    return _scores(context, pipeline, config, trials.seed_of(trial), inputs, prompts.path / "heldout", [captions.path])


@dg.asset(
    **GROUP,
    partitions_def=every_trial,
    deps=[heldout_captions, evaluation_clip, evaluation_set],
    kinds={"pytorch", "parquet"},
    code_version="1",
)
def heldout_clip_scores(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """CLIPScore and RefCLIPScore of the captions of a trial by the independent CLIP; references: the exact captions."""
    captions, prompts = made(pipeline, "heldout_captions", context.partition_key), made(pipeline, "evaluation_set")
    scorer = made(pipeline, "evaluation_clip")
    return run_job(
        context,
        pipeline,
        config,
        module="evaluation.caption_clip",
        section="heldout_clip_scores",
        path=lambda digest: pipeline.place.evals("heldout_clip_scores", digest),
        inputs={"heldout_captions": captions, "evaluation_set": prompts, "evaluation_clip": scorer},
        files={"captions": captions.path, "heldout": prompts.path / "heldout", "scorer": scorer.path},
        extra={"scorer_digest": scorer.digest},
    )


@dg.asset(
    **TRAINED,
    partitions_def=further_seeds,
    deps=[shards, tokenizer, caption_filter_replicate],
    code_version=JOB_VERSIONS["score"],
)
def alt_text_scores(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Scores of the crawl's alt texts by the filter of another seed."""
    images = made(pipeline, "shards", CONFIG.snapshot)
    return _scores(context, pipeline, config, int(context.partition_key), {"shards": images}, images.path, [])


@dg.asset(
    **TRAINED,
    partitions_def=every_seed,
    deps=[tokenizer, shards, human_captions, evaluation_set],
    code_version="2",
)
def capfilt_sharing(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """One BLIP finetuned as captioner and as filter apart, and as both at once; captions and scores of each."""
    human, vocabulary = made(pipeline, "human_captions"), made(pipeline, "tokenizer")
    crawled, prompts = made_everywhere(pipeline, "shards"), made(pipeline, "evaluation_set")
    return run_job(
        context,
        pipeline,
        config,
        module="training.sharing",
        section="sharing",
        path=lambda digest: pipeline.place.evals("capfilt_sharing", digest),
        inputs={"human_captions": human, "tokenizer": vocabulary, "shards": crawled, "evaluation_set": prompts},
        files={
            "human": human.path,
            "tokenizer": vocabulary.path,
            "shards": paths(crawled),
            "heldout": prompts.path / "heldout",
        },
        replicate=int(context.partition_key),
    )


def _of_seed(pipeline: Pipeline, kind: str, seed: int) -> Artifact:
    return made(pipeline, f"{kind}_replicate", str(seed)) if seed else made(pipeline, kind)


def _scores(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    config: Overrides,
    seed: int,
    inputs: Mapping[str, Artifact],
    images: Path,
    captions: list[Path],
) -> Result:
    scorer, vocabulary = _of_seed(pipeline, "caption_filter", seed), made(pipeline, "tokenizer")
    return run_job(
        context,
        pipeline,
        config,
        module="training.score",
        section="score",
        path=lambda digest: pipeline.place.evals(context.asset_key.to_user_string(), digest),
        inputs={**inputs, "caption_filter": scorer, "tokenizer": vocabulary},
        files={
            "caption_filter": scorer.path,
            "tokenizer": vocabulary.path,
            "shards": images,
            "captions": captions,
        },
        extra={"scorer_digest": scorer.digest},
    )


assets = [
    *(captioner_replicate, caption_filter_replicate, heldout_captions, heldout_scores, heldout_clip_scores),
    *(alt_text_scores, capfilt_sharing),
]
