"""Checks of the crawl: nothing is lost, and what is on disk is whole."""

import dagster as dg
import pyarrow.parquet as pq

from t2i_assets.assets.crawl import shards
from t2i_assets.corpus.schemas import LEDGER, PAIRS
from t2i_assets.corpus.shards import read_samples, verify
from t2i_assets.corpus.tables import read_rows
from t2i_assets.crawl.status import Status
from t2i_assets.materialize import made
from t2i_assets.resources import Pipeline

SHOWN = 20


@dg.asset_check(asset=shards, blocking=True)
def ledger_is_complete(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
    """Every image URL that a page offered has a ledger row with a known status, and every sample comes from one."""
    snapshot = context.partition_key
    ledger = read_rows(pipeline.place.ledger(snapshot) / "images.parquet", LEDGER, ["url", "status", "key"])
    tried = {row["url"] for row in ledger}
    offered = {row["image_url"] for row in read_rows(made(pipeline, "image_text_pairs", snapshot).path, PAIRS)}
    offered = {url for url in offered if not url.startswith("data:")}
    unknown = sorted({row["status"] for row in ledger} - {str(status) for status in Status})
    keys = set(read_samples(made(pipeline, "shards", snapshot).path)["key"].to_pylist())
    orphans = sorted(keys - {row["key"] for row in ledger})
    missing = sorted(offered - tried)
    return dg.AssetCheckResult(
        passed=not missing and not unknown and not orphans,
        metadata={
            "urls offered": len(offered),
            "ledger rows": len(ledger),
            "urls without a row": missing[:SHOWN],
            "unknown statuses": unknown,
            "samples without a row": orphans[:SHOWN],
        },
    )


@dg.asset_check(asset=shards, blocking=True)
def shards_are_whole(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
    """Every byte of every shard is read and agrees with its sidecar."""
    path = made(pipeline, "shards", context.partition_key).path
    problems = verify(path)
    samples = sum(pq.read_metadata(file).num_rows for file in path.glob("[0-9]*.parquet"))
    return dg.AssetCheckResult(
        passed=not problems and samples > 0,
        metadata={"samples": samples, "problems": [str(problem) for problem in problems[:SHOWN]]},
    )
