"""The experiments: what is trained and measured to try the claims of the field, and what was found.

Part of the graph where the preset has a section ``claims``. The models of the blends are partitions of the ordinary
assets (``latent_diffusion``, ``clip_model`` …); here is what is there for the experiments alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from t2i_assets.assets.captioner import caption_filter, captioner, human_captions, tokenizer, trained_on_pairs
from t2i_assets.assets.crawl import shards
from t2i_assets.assets.evals import evaluation_clip, evaluation_set
from t2i_assets.claims import trials
from t2i_assets.claims.budget import budget
from t2i_assets.claims.config import ClaimsConfig
from t2i_assets.claims.experiments import EXPERIMENTS, Evidence, Experiment
from t2i_assets.claims.pages import as_markdown_claims, dump
from t2i_assets.config import load_settings
from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.word_lists import read_word_lists
from t2i_assets.jobs import JOB_VERSIONS, run_job
from t2i_assets.materialize import Result, made, made_everywhere, materialize, paths
from t2i_assets.resources import Overrides, Pipeline

GROUP = {"group_name": "claims", "owners": ["team:captions"]}
TRAINED = {**GROUP, "kinds": {"pytorch"}, "pool": "training"}
CONFIG = load_settings().claims or ClaimsConfig()

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


def _finding(name: str, experiment: Experiment) -> dg.AssetsDefinition:
    needs = experiment.needs(load_settings())

    def dependency(asset: str, partitions: Any) -> dg.AssetDep:
        mapping = None if partitions is None else dg.SpecificPartitionsPartitionMapping(list(partitions))
        return dg.AssetDep(asset, partition_mapping=mapping)

    @dg.asset(
        name=f"{name}_finding",
        description=experiment.tries,
        **GROUP,
        deps=[dependency(asset, partitions) for asset, partitions in needs.items()],
        code_version="3",
        kinds={"json"},
    )
    def finding(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Result:
        evidence = Evidence(pipeline.place, pipeline.settings)
        rules = pipeline.settings.verdicts

        def write(out: Path) -> dict[str, Any]:
            found = replace(experiment.find(evidence), budget=budget(pipeline.settings, experiment.models))
            (out / "finding.json").write_text(dump(found))
            return {claim.name: f"{claim.verdict}: {claim.effect}" for claim in found.claims}

        return materialize(
            context,
            pipeline,
            path=lambda digest: pipeline.place.evals(f"{name}_finding", digest),
            config={
                "claims": CONFIG.model_dump(mode="json"),
                "verdicts": rules.model_dump(mode="json"),
                "word_lists": [words.identity for words in read_word_lists(rules.word_lists)],
            },
            inputs={
                f"{asset}/{partition}": artifact
                for asset, found in evidence.artifacts(needs).items()
                for partition, artifact in found.items()
            },
            write=write,
            show=lambda artifact: {"claims": dg.MetadataValue.md(as_markdown_claims(artifact.path / "finding.json"))},
        )

    return finding


assets = [
    *(captioner_replicate, caption_filter_replicate, heldout_captions, heldout_scores, heldout_clip_scores),
    *(alt_text_scores, capfilt_sharing),
    *(_finding(name, experiment) for name, experiment in EXPERIMENTS.items()),
]
