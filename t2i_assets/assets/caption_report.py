"""The caption report: how people, alt texts and every captioner write, side by side."""

from pathlib import Path
from typing import Any

import dagster as dg

from t2i_assets.assets.capfilt import GROUP, filtered_captions, synthetic_captions
from t2i_assets.assets.captioner import human_captions
from t2i_assets.assets.crawl import shards
from t2i_assets.corpus.artifacts import Artifact, read_artifact
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import CAPTION_TICS
from t2i_assets.corpus.tables import write_table
from t2i_assets.materialize import Result, made, materialize
from t2i_assets.metadata import length_chart, tic_table
from t2i_assets.resources import Pipeline

TABLES = "[0-9]*.parquet"


@dg.asset(
    **GROUP,
    deps=[synthetic_captions, shards, human_captions, filtered_captions],
    kinds={"duckdb", "parquet"},
    code_version="1",
)
def caption_report(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Result:
    """A captioner's tics as numbers: length, openings, case, endings, vocabulary, repetition, words over-used."""
    snapshot = context.partition_key
    images, human = made(pipeline, "shards", snapshot), made(pipeline, "human_captions")
    captions, verdicts = made(pipeline, "synthetic_captions", snapshot), made(pipeline, "filtered_captions", snapshot)
    others = other_captions(pipeline.place, captions, images)

    def write(out: Path) -> dict[str, Any]:
        from t2i_assets.corpus.caption_tics import caption_tics  # here: DuckDB takes a third of a second to import

        tics = caption_tics(
            captions=[*sorted(captions.path.glob(TABLES)), human.path / "captions.parquet"],
            earlier=[file for other in others.values() for file in sorted(other.path.glob(TABLES))],
            samples=sorted(images.path.glob(TABLES)),
            verdicts=sorted(verdicts.path.glob(TABLES)),
        )
        write_table(out / "tics.parquet", tics, CAPTION_TICS)
        return {"captioners and decodings compared": 1 + len(others)}

    return materialize(
        context,
        pipeline,
        path=lambda _: pipeline.place.tics(snapshot),
        config={},
        inputs={
            "shards": images,
            "human_captions": human,
            "synthetic_captions": captions,
            "filtered_captions": verdicts,
            "other_captions": others,
        },
        write=write,
        show=lambda artifact: {
            "tics": tic_table(artifact.path / "tics.parquet"),
            "lengths in words": length_chart(artifact.path / "tics.parquet"),
        },
    )


def other_captions(home: Home, current: Artifact, images: Artifact) -> dict[str, Artifact]:
    """Return, by digest, what other captioners and decodings wrote about the same images."""
    found = {}
    for manifest in sorted((home.root / "captions").rglob("manifest.json")):
        hidden = any(part.startswith(".") for part in manifest.relative_to(home.root).parts)
        artifact = None if hidden else read_artifact(manifest.parent)
        if artifact is None or artifact.digest == current.digest:
            continue
        about = artifact.manifest
        if about.asset == current.manifest.asset and about.inputs.get("shards") == images.identity:
            found[artifact.digest] = artifact
    return found
