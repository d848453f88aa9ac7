"""What writes and judges captions: the human examples, the vocabulary, the captioner and the filter."""

from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import dagster as dg

from t2i_assets.assets.crawl import shards
from t2i_assets.assets.source import serving
from t2i_assets.corpus.digests import digest
from t2i_assets.jobs import JOB_VERSIONS, run_job
from t2i_assets.materialize import Result, made, made_everywhere, materialize, paths
from t2i_assets.metadata import thumbnails
from t2i_assets.progress import url_progress
from t2i_assets.resources import Overrides, Pipeline

GROUP = {"group_name": "captioner", "owners": ["team:captions"]}


@dg.asset(**GROUP, kinds={"coco", "webdataset"}, code_version="2")
def human_captions(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """A few hundred images with captions written by people, short and descriptive: a COCO-style JSON."""
    settings = pipeline.settings
    crawl = settings.section("crawl", config.overrides)
    told = {
        "url": settings.human_captions_url,
        "site": settings.site_identity(),
        "crawl": crawl.model_dump(mode="json"),
    }

    def write(out: Path) -> dict[str, Any]:
        from t2i_assets.crawl.human import fetch_human  # here: the definitions must load in two seconds

        with serving(settings, crawl) as reachable:
            url = settings.human_captions_url
            if settings.site is not None:
                url = urljoin(f"http://127.0.0.1:{settings.site_port}/", url)
            return fetch_human(url, reachable, out, url_progress(context))

    return materialize(
        context,
        pipeline,
        path=lambda _: pipeline.place.human(digest(told)),
        config=told,
        inputs={},
        write=write,
        show=lambda made: {"images": thumbnails(made.path)},
        fetched=True,
    )


@dg.asset(**GROUP, deps=[shards, human_captions], kinds={"tokenizers"}, code_version="1")
def tokenizer(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Byte-pair vocabulary learned from the crawl's texts and the human captions, in open_clip's format."""
    human = made(pipeline, "human_captions")
    crawled = made_everywhere(pipeline, "shards")
    sidecars = [file for snapshot in crawled.values() for file in sorted(snapshot.path.glob("[0-9]*.parquet"))]
    return run_job(
        context,
        pipeline,
        config,
        module="training.tokenizer",
        section="tokenizer",
        path=lambda digest: pipeline.place.model("tokenizer", digest),
        inputs={"human_captions": human, "shards": crawled},
        files={"captions": [human.path / "captions.parquet", *sidecars]},
    )


@dg.asset(
    **GROUP,
    deps=[tokenizer, shards, human_captions],
    kinds={"pytorch", "open_clip"},
    code_version=JOB_VERSIONS["captioner"],
    pool="training",
)
def captioner(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """CoCa, taught by alt texts, descriptive human captions, optionally its own of the crawl, then short human ones."""
    return trained_on_pairs(context, pipeline, config, "captioner")


@dg.asset(
    **GROUP,
    deps=[tokenizer, shards, human_captions],
    kinds={"pytorch"},
    code_version=JOB_VERSIONS["caption_filter"],
    pool="training",
)
def caption_filter(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """BLIP's filter: optionally pretrained on the crawl, then taught to caption, then to match (ITC and ITM)."""
    return trained_on_pairs(context, pipeline, config, "caption_filter")


def trained_on_pairs(
    context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides, kind: str, replicate: int = 0
) -> Result:
    """Materialize a captioner or a filter, ``replicate`` added to its seed."""
    human, vocabulary = made(pipeline, "human_captions"), made(pipeline, "tokenizer")
    crawled = made_everywhere(pipeline, "shards")
    return run_job(
        context,
        pipeline,
        config,
        module=f"training.{kind}",
        section=kind,
        path=lambda digest: pipeline.place.model(kind, digest),
        inputs={"human_captions": human, "tokenizer": vocabulary, "shards": crawled},
        files={
            "human": human.path,
            "tokenizer": vocabulary.path,
            "shards": paths(crawled),
        },
        replicate=replicate,
    )
