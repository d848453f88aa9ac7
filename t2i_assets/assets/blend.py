"""The blend: which captions a recipe may draw for each sample, and with which probability."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from t2i_assets.assets.capfilt import filtered_captions, synthetic_captions
from t2i_assets.assets.captioner import human_captions
from t2i_assets.assets.crawl import shards
from t2i_assets.assets.duplicates import contamination, near_duplicates, semantic_duplicates
from t2i_assets.config import load_settings
from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.blending import BlendRecipe, Corpus, blend_tables, table_of
from t2i_assets.corpus.schemas import BLENDS, CAPTIONS, CONTAMINATION, DUPLICATES, SAMPLES, SCORES, VERDICTS
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_table, write_table
from t2i_assets.corpus.verdicts import VerdictRules, alt_texts, judge_table
from t2i_assets.corpus.word_lists import WordList, read_word_lists
from t2i_assets.materialize import Result, made, made_everywhere, materialize
from t2i_assets.metadata import blend_table, funnel_table
from t2i_assets.partitions import recipes
from t2i_assets.resources import Overrides, Pipeline

INPUTS = (
    *("shards", "near_duplicates", "semantic_duplicates", "contamination"),
    *("synthetic_captions", "filtered_captions"),
)
HUMAN_SAMPLES = any(recipe.include_human_samples for recipe in load_settings().recipes.values())
"""Whether a recipe trains on the human set's images; the assets of ``assets.human_set`` are there only then."""


def every(asset: dg.AssetsDefinition) -> dg.AssetDep:
    """Return the dependency on every partition of ``asset``."""
    return dg.AssetDep(asset, partition_mapping=dg.AllPartitionMapping())


@dg.asset(
    group_name="blend",
    partitions_def=recipes,
    owners=["team:captions"],
    kinds={"parquet"},
    code_version="3",
    deps=[
        *(every(shards), every(near_duplicates), every(semantic_duplicates), every(contamination)),
        *(every(synthetic_captions), every(filtered_captions), human_captions),
        *(["human_contamination"] if HUMAN_SAMPLES else []),
    ],
)
def caption_blend(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Captions a recipe can draw for every sample of every snapshot; which one is drawn is decided at load time.

    Consumers with weights of their own have a table of their own. Human captions are drawn for images that were
    crawled; the embedded site's human set shows others, which take part where the recipe includes human samples.
    """
    name = context.partition_key
    recipe = pipeline.settings.recipe(name, config.overrides)
    rules: VerdictRules = pipeline.settings.verdicts
    inputs: dict[str, Any] = {asset: made_everywhere(pipeline, asset) for asset in INPUTS}
    lists: list[WordList] = []
    judged = recipe.draws("human") and recipe.filtered and "human" not in rules.trusted_sources
    if recipe.draws("human"):
        inputs["human_captions"] = made(pipeline, "human_captions")
        lists = read_word_lists(rules.word_lists) if recipe.filtered else []
    if recipe.include_human_samples:
        inputs["human_contamination"] = made(pipeline, "human_contamination")

    def write(out: Path) -> dict[str, Any]:
        tables, summary = blend_tables(recipe, _corpus(recipe, inputs, rules, lists))
        for consumer, table in tables.items():
            write_table(out / consumer / "00000.parquet", table, BLENDS)
        (out / "recipe.json").write_text(json.dumps(recipe.model_dump(mode="json"), indent=1))
        for whose, figures in {"": summary, **summary.get("consumers", {})}.items():
            if "human" in figures["asked"] and not figures["samples_with"]["human"]:
                context.log.warning(
                    f"{whose or name} asks for human captions, but no image of the human set was crawled: "
                    "set include_human_samples to train on the human set's own images"
                )
        return summary

    return materialize(
        context,
        pipeline,
        path=lambda digest: pipeline.place.blend(name, digest),
        config={
            **recipe.model_dump(mode="json"),
            **({"word_lists": [words.identity for words in lists]} if lists else {}),
            **({"verdicts": rules.model_dump(mode="json", exclude={"word_lists"})} if judged else {}),
        },
        inputs=inputs,
        write=write,
        show=lambda artifact: {
            "samples": funnel_table(
                {
                    "left out": artifact.manifest.summary["left_out"],
                    "would go, did the recipe mind": artifact.manifest.summary["would_go"],
                }
            ),
            "captions": blend_table(table_of(artifact.path, "diffusion")),
        },
    )


def _corpus(recipe: BlendRecipe, inputs: dict[str, Any], rules: VerdictRules, lists: list[WordList]) -> Corpus:
    """Return what the recipe chooses from. Human captions have no verdict on disk: they are judged here, unscored."""

    def read(asset: str, schema: pa.Schema, columns: list[str]) -> list[pa.Table]:
        return [read_table(artifact.path, schema, columns) for artifact in inputs[asset].values()]

    def read_samples(artifact: Artifact) -> list[pa.Table]:
        files = sorted(artifact.path.glob(SHARD_GLOB))
        return [read_table(file, SAMPLES, ["key", "snapshot"]) for file in files]

    texts, said = ["caption_id", "key", "source", "caption"], ["caption_id", "kept", "reason"]
    captions = [alt_texts(artifact.path).select(texts) for artifact in inputs["shards"].values()]
    captions += read("synthetic_captions", CAPTIONS, texts)
    verdicts = read("filtered_captions", VERDICTS, said)
    samples = [table for artifact in inputs["shards"].values() for table in read_samples(artifact)]
    columns = ["key", "kind", "kept"]
    duplicates = read("near_duplicates", DUPLICATES, columns) + read("semantic_duplicates", DUPLICATES, columns)
    agreements = read("contamination", CONTAMINATION, ["key", "kind"])
    if recipe.draws("human"):
        human: Artifact = inputs["human_captions"]
        written = read_table(human.path / "captions.parquet", CAPTIONS, texts)
        captions.append(written)
        verdicts.append(judge_table(written, SCORES.empty_table(), rules, lists).select(said))
        if recipe.include_human_samples:
            samples += read_samples(human)
            agreements.append(read_table(inputs["human_contamination"].path, CONTAMINATION, ["key", "kind"]))
    return Corpus(*map(_stacked, (captions, verdicts, samples, duplicates, agreements)))


def _stacked(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables, promote_options="default")
