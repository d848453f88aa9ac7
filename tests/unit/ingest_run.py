"""The whole ingest as the assets run it, in one call that a process of its own can make, and be killed in."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from t2i_assets.corpus.artifacts import Manifest, publish
from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.home import Home
from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.pages import crawl_pages
from t2i_assets.crawl.pairs import extract_pairs
from t2i_assets.crawl.shards import fetch_images

SNAPSHOT = "demo"
BOUNDARIES = [f"{stage} {moment}" for stage in ("pages", "pairs", "shards") for moment in ("written", "published")]
"""Moments between the work of a stage and its publication, and between a stage and the next."""


def ingest(root: Path, config_json: str, die_at: str | None = None) -> None:
    """Publish the pages, pairs and shards of a configuration below ``root``; die at one of the BOUNDARIES."""
    config = CrawlConfig.model_validate_json(config_json)
    home = Home(root)
    pages, pairs, shards = home.pages(SNAPSHOT), home.pairs(SNAPSHOT), home.shards(SNAPSHOT)

    def stage(name: str, path: Path, write: Callable[[Path], dict[str, Any]]) -> None:
        def work(out: Path) -> dict[str, Any]:
            summary = write(out)
            _die(die_at == f"{name} written")
            return summary

        identity = digest([name, config_json])
        publish(path, Manifest(asset=name, partition=SNAPSHOT, digest=identity, code_version="1"), work)
        _die(die_at == f"{name} published")

    stage("pages", pages, lambda out: crawl_pages(config, SNAPSHOT, out, out / "ledger" / "ledger.parquet"))
    stage("pairs", pairs, lambda out: extract_pairs(pages, out, SNAPSHOT, config))
    stage("shards", shards, lambda out: fetch_images(pairs, config, SNAPSHOT, out, out / "ledger" / "ledger.parquet"))


def _die(now: bool) -> None:
    if now:
        os.kill(os.getpid(), signal.SIGKILL)
