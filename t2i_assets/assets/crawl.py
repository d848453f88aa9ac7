"""From the web to shards: pages, image and text pairs, images.

The crawl itself is imported where it is called: the definitions must load in two seconds.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import dagster as dg

from t2i_assets.assets.source import serving
from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.suppression import Suppression
from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.ledger import LEDGER_FILE, requests_file
from t2i_assets.materialize import Metadata, Result, made, materialize
from t2i_assets.metadata import count_table, funnel_table, host_table, thumbnails
from t2i_assets.partitions import snapshots
from t2i_assets.progress import url_progress
from t2i_assets.resources import Overrides, Pipeline

GROUP = {"group_name": "crawl", "partitions_def": snapshots, "owners": ["team:data"]}


def keep_ledger(artifact: Artifact, place: Path) -> Metadata:
    """Put the ledger that an artifact was published with where every ledger of its snapshot lies."""
    ledger = artifact.path / LEDGER_FILE
    for source, target in ((ledger, place), (requests_file(ledger), requests_file(place))):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        shutil.copyfile(source, temporary)
        temporary.replace(target)
    return {"ledger": dg.MetadataValue.path(str(place))}


def ledger_tables(ledger_file: Path) -> Metadata:
    """Return what a person asks a ledger first: what came of each source, of each host, and what the owners said."""
    return {
        "sources": count_table(ledger_file, "source", "kind", "status"),
        "hosts": host_table(ledger_file),
        "consent": count_table(ledger_file, "kind", "consent"),
    }


@dg.asset(**GROUP, kinds={"html", "parquet"}, code_version="3")
def pages(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """HTML of the site, fetched politely: robots.txt and consent are read first, every URL tried gets a ledger row."""
    settings = pipeline.settings
    crawl = settings.section("crawl", config.overrides)
    snapshot = context.partition_key

    def write(out: Path) -> dict[str, Any]:
        from t2i_assets.crawl.pages import crawl_pages
        from t2i_assets.crawl.recrawl import find_previous

        with serving(settings, crawl) as reachable:
            earlier = find_previous(pipeline.place, snapshot) if crawl.recrawl else None
            purged = Suppression.load(pipeline.place)
            return crawl_pages(reachable, snapshot, out, out / LEDGER_FILE, url_progress(context), earlier, purged)

    return materialize(
        context,
        pipeline,
        path=lambda _: pipeline.place.pages(snapshot),
        config={"crawl": crawl.identity("pages"), "site": settings.site_identity(), "local files": _local_state(crawl)},
        inputs={},
        write=write,
        show=lambda made: {
            "funnel": funnel_table(made.manifest.summary),
            **ledger_tables(made.path / LEDGER_FILE),
            **keep_ledger(made, pipeline.place.ledger(snapshot) / "pages.parquet"),
        },
        fetched=True,
    )


@dg.asset(**GROUP, deps=[pages], kinds={"html", "parquet"}, code_version="3")
def image_text_pairs(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Image URLs with every text for them and the field each came from: of the pages, of lists, folders and tars."""
    source = made(pipeline, "pages", context.partition_key)
    crawl = pipeline.settings.section("crawl", config.overrides)
    snapshot = context.partition_key

    def write(out: Path) -> dict[str, Any]:
        from t2i_assets.crawl.pairs import extract_pairs

        return extract_pairs(source.path, out, snapshot, crawl, url_progress(context))

    return materialize(
        context,
        pipeline,
        path=lambda _: pipeline.place.pairs(snapshot),
        config={"crawl": crawl.identity("pairs"), "local files": _local_state(crawl)},
        inputs={"pages": source},
        write=write,
        show=lambda made: {
            **keep_ledger(made, pipeline.place.ledger(snapshot) / "pairs.parquet"),
            "funnel": funnel_table(made.manifest.summary),
        },
    )


def _local_state(crawl: CrawlConfig) -> str | None:
    """Return what stands for the files of local sources in a digest, so that changed ones are noticed."""
    from t2i_assets.crawl.sources.state import local_state

    return local_state(crawl)


@dg.asset(**GROUP, deps=[image_text_pairs], kinds={"webdataset", "parquet"}, code_version="3")
def shards(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Images fetched, decoded, resized and written once, as WebDataset tars with sidecar tables."""
    settings = pipeline.settings
    crawl = settings.section("crawl", config.overrides)
    snapshot = context.partition_key
    pairs = made(pipeline, "image_text_pairs", snapshot)

    def write(out: Path) -> dict[str, Any]:
        from t2i_assets.crawl.recrawl import find_previous
        from t2i_assets.crawl.shards import fetch_images

        with serving(settings, crawl) as reachable:
            version = context.assets_def.code_versions_by_key[context.asset_key]
            earlier = find_previous(pipeline.place, snapshot, version) if crawl.recrawl else None
            purged = Suppression.load(pipeline.place)
            report = url_progress(context)
            return fetch_images(pairs.path, reachable, snapshot, out, out / LEDGER_FILE, report, earlier, purged)

    return materialize(
        context,
        pipeline,
        path=lambda _: pipeline.place.shards(snapshot),
        config={"crawl": crawl.identity("images")},
        inputs={"image_text_pairs": pairs},
        write=write,
        show=lambda made: {
            "images": thumbnails(made.path),
            "funnel": funnel_table(made.manifest.summary),
            **ledger_tables(made.path / LEDGER_FILE),
            **keep_ledger(made, pipeline.place.ledger(snapshot) / "images.parquet"),
        },
        fetched=True,
    )
