"""CapFilt: synthetic captions beside the alt texts, a score for each, and a verdict from scores and thresholds."""

from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from t2i_assets.assets.captioner import caption_filter, captioner, tokenizer
from t2i_assets.assets.crawl import shards
from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.named_models import named_model_digest
from t2i_assets.corpus.schemas import CAPTIONS, SCORES, VERDICTS
from t2i_assets.corpus.tables import read_table, write_table
from t2i_assets.corpus.verdicts import VerdictRules, alt_texts, count_reasons, judge_table
from t2i_assets.corpus.word_lists import read_word_lists
from t2i_assets.jobs import JOB_VERSIONS, run_job
from t2i_assets.materialize import Result, made, materialize
from t2i_assets.metadata import caption_table, verdict_table
from t2i_assets.partitions import snapshots
from t2i_assets.resources import Overrides, Pipeline

GROUP = {"group_name": "capfilt", "partitions_def": snapshots, "owners": ["team:captions"]}


@dg.asset(
    **GROUP,
    deps=[captioner, shards],
    kinds={"pytorch", "parquet"},
    code_version=JOB_VERSIONS["recaption"],
    pool="training",
)
def synthetic_captions(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """A short and a descriptive caption for every sample, with a seed of its own, by our captioner or a named one."""
    snapshot = context.partition_key
    images, chosen = made(pipeline, "shards", snapshot), pipeline.settings.section("recaption", config.overrides)
    own = {"captioner": made(pipeline, "captioner")} if chosen.model is None else {}
    named = (chosen.backend, chosen.model, chosen.pretrained, chosen.revision)
    writer = own["captioner"].digest if own else named_model_digest(*named)
    writing = digest(chosen.model_dump(mode="json", include={"styles", "decode", "precision", "seed"}))
    return run_job(
        context,
        pipeline,
        config,
        module="training.recaption",
        section="recaption",
        path=lambda _: pipeline.place.captions(writer, writing, snapshot),
        inputs={**own, "shards": images},
        files={**{name: artifact.path for name, artifact in own.items()}, "shards": images.path},
        extra={"captioner_digest": writer},
        show=lambda artifact: {"examples": caption_table(artifact.path, images.path)},
    )


@dg.asset(
    **GROUP,
    deps=[caption_filter, tokenizer, synthetic_captions, shards],
    kinds={"pytorch", "parquet"},
    code_version=JOB_VERSIONS["score"],
    pool="training",
)
def caption_scores(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """How well every alt text and synthetic caption fits its image, by one model or two; thresholds come later."""
    snapshot, chosen = context.partition_key, pipeline.settings.section("score", config.overrides)
    images, captions = made(pipeline, "shards", snapshot), made(pipeline, "synthetic_captions", snapshot)
    own = {"caption_filter": made(pipeline, "caption_filter")} if chosen.backend == "filter" else {}
    vocabulary = {"tokenizer": made(pipeline, "tokenizer").path} if own else {}
    scorer = own["caption_filter"].digest if own else named_model_digest(chosen.backend, chosen.model)
    if chosen.clip is not None:
        scorer = digest([scorer, named_model_digest(chosen.clip, chosen.clip_pretrained)])
    return run_job(
        context,
        pipeline,
        config,
        module="training.score",
        section="score",
        path=lambda _: pipeline.place.scores(scorer, snapshot),
        inputs={**own, "shards": images, "synthetic_captions": captions},
        files={
            **{name: artifact.path for name, artifact in own.items()},
            **vocabulary,
            "shards": images.path,
            "captions": [captions.path],
        },
        extra={"scorer_digest": scorer},
    )


@dg.asset(**GROUP, deps=[caption_scores, synthetic_captions, shards], kinds={"parquet"}, code_version="2")
def filtered_captions(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Keep or reject with a reason, for every caption, from stored scores: a new threshold runs no model."""
    snapshot = context.partition_key
    images, captions = made(pipeline, "shards", snapshot), made(pipeline, "synthetic_captions", snapshot)
    scores = made(pipeline, "caption_scores", snapshot)
    rules: VerdictRules = pipeline.settings.section("verdicts", config.overrides)
    lists = read_word_lists(rules.word_lists)

    def write(out: Path) -> dict[str, Any]:
        written = read_table(captions.path, CAPTIONS).select(["caption_id", "key", "source", "caption"])
        texts = pa.concat_tables([alt_texts(images.path), written], promote_options="default")
        verdicts = judge_table(texts, read_table(scores.path, SCORES), rules, lists)
        write_table(out / "00000.parquet", verdicts, VERDICTS)
        return {"reasons": count_reasons(verdicts)}

    return materialize(
        context,
        pipeline,
        path=lambda _: pipeline.place.verdicts(snapshot),
        config={**rules.model_dump(mode="json"), "word_lists": [words.identity for words in lists]},
        inputs={"shards": images, "synthetic_captions": captions, "caption_scores": scores},
        write=write,
        show=lambda artifact: {"verdicts": verdict_table(artifact.manifest.summary["reasons"])},
    )
