"""Consent read again: which samples their owners would not give any more, and why.

robots.txt and tdmrep.json are asked first, once per origin, then each image (of which the headers are wanted alone) and
each page that showed it. Nothing is changed here; a purge takes out what was withdrawn.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import LEDGER, SAMPLES
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.suppression import Suppression
from t2i_assets.corpus.tables import read_rows
from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.consent.robots import Robots
from t2i_assets.crawl.consent.verdict import Verdict, response_verdict
from t2i_assets.crawl.http.fetch import ACCEPT_IMAGE, Fetched, Fetcher, Validators
from t2i_assets.crawl.page_stage.links import read_links
from t2i_assets.crawl.page_stage.reader import PageReader
from t2i_assets.crawl.status import Status
from t2i_assets.crawl.turns import Turns
from t2i_assets.crawl.workers import Workers

_READ = ("snapshot", "key", "image_url", "page_url", "consent", "texts")
_ENOUGH_OF_AN_IMAGE = 1024
_PARSERS = 1
_PARSE_SECONDS = 10.0
_GONE = (404, 410)


class Standing(StrEnum):
    """What an owner says now, the gravest first."""

    WITHDRAWN = "withdrawn"
    GONE = "gone"
    UNKNOWN = "unknown"
    LOCAL = "local"
    ALLOWED = "allowed"


@dataclass(frozen=True)
class Answer:
    """What one URL says: its standing, the rule, and the literal evidence."""

    standing: Standing
    rule: str
    evidence: str | None = None


_FROM_A_FILE = Answer(Standing.LOCAL, "allowed", "a local source")
_NOTHING_SAID = Answer(Standing.ALLOWED, "allowed")


def recheck(
    home: Home,
    config: CrawlConfig,
    snapshots: Iterable[str],
    host: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Return one row per sample: snapshot, key, image_url, page_url, standing, before, now and evidence.

    ``host`` limits it to samples whose image or page lies there or on a subdomain. ``progress`` is told of URLs done
    and to be asked. A sample is withdrawn where its image or any page that showed it refuses; gone where the image
    is; unknown where it could not be asked.
    """
    samples = [row for snapshot in snapshots for row in _samples(home.shards(snapshot), host)]
    images = {row["image_url"] for row in samples}
    pages = {page for row in samples for page in row["pages"]} - images
    known = {
        url: told for snapshot in {row["snapshot"] for row in samples} for url, told in _validators(home, snapshot)
    }
    answers = asyncio.run(_ask_all(config, images, pages, known, progress))
    return [_row(row, answers) for row in samples]


def _samples(shards: Path, host: str | None) -> Iterable[dict[str, Any]]:
    wanted = Suppression(hosts=frozenset({host})) if host else None
    for file in sorted(shards.glob(SHARD_GLOB)):
        for row in read_rows(file, SAMPLES, list(_READ)):
            texts = row.pop("texts") or ()
            pages = {row["page_url"], *(text["page_url"] for text in texts)} - {None}
            row["pages"] = sorted(page for page in pages if page.startswith("http"))
            if wanted is None or any(wanted.rule(url=url) for url in (row["image_url"], *pages)):
                yield row


def _validators(home: Home, snapshot: str) -> Iterable[tuple[str, Validators]]:
    ledger = home.ledger(snapshot) / "images.parquet"
    if ledger.exists():
        for row in read_rows(ledger, LEDGER, ["url", "etag", "last_modified"]):
            if row["etag"] or row["last_modified"]:
                yield row["url"], Validators(etag=row["etag"], last_modified=row["last_modified"])


async def _ask_all(
    config: CrawlConfig,
    images: set[str],
    pages: set[str],
    known: Mapping[str, Validators],
    progress: Callable[[int, int], None],
) -> dict[str, Answer]:
    answers = {url: _FROM_A_FILE for url in images if url.startswith("file:")}
    urls = sorted((images | pages) - set(answers))

    async def work() -> None:
        while (url := await turns.take()) is not None:
            try:
                if url in images:
                    answers[url] = await image(url)
                else:
                    answers[url] = await page(url)
            finally:
                turns.give_back(url)
            progress(len(answers), len(images | pages))

    async def image(url: str) -> Answer:
        fetched = await fetcher.fetch(url, ACCEPT_IMAGE, _ENOUGH_OF_AN_IMAGE, robots.verdict, known.get(url), cut=True)
        answered = fetched.status in (Status.OK, Status.UNCHANGED, Status.TOO_LARGE)
        return _judged(fetched, response_verdict(fetched.headers, config.product) if answered else None)

    async def page(url: str) -> Answer:
        found = await reader.fetch(url)
        await reader.read(found)
        answered = found.fetched.status == Status.OK
        answer = _judged(found.fetched, found.fetched.verdict if answered else None)
        return _NOTHING_SAID if answer.standing == Standing.GONE else answer  # the image may stand elsewhere

    async with AsyncExitStack() as stack:
        fetcher = await stack.enter_async_context(Fetcher(config))
        robots = Robots(fetcher, config, "recheck")
        parse = await stack.enter_async_context(Workers(read_links, _PARSERS, seconds=_PARSE_SECONDS))
        reader = PageReader(config, fetcher, robots.verdict, parse, None)
        turns = Turns(iter(urls), fetcher.room)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(config.fetch.concurrency, len(urls))):
                group.create_task(work())
    return answers


def _judged(fetched: Fetched, said: Verdict | None) -> Answer:
    """Return the answer of a URL; ``said`` is what its response says, None where there is none."""
    verdict = said or fetched.verdict
    if not verdict.allowed and verdict.rule not in ("robots_unreachable", "not_asked"):
        return Answer(Standing.WITHDRAWN, verdict.rule, verdict.evidence)
    if said is not None:
        return Answer(Standing.ALLOWED, said.rule, said.evidence)
    standing = Standing.GONE if fetched.http_status in _GONE else Standing.UNKNOWN
    return Answer(standing, str(fetched.status), fetched.detail)


def _row(sample: Mapping[str, Any], answers: Mapping[str, Answer]) -> dict[str, Any]:
    order = list(Standing)
    said = [answers.get(url, _NOTHING_SAID) for url in (sample["image_url"], *sample["pages"])]
    gravest = min(said, key=lambda answer: order.index(answer.standing))
    return {
        "snapshot": sample["snapshot"],
        "key": sample["key"],
        "image_url": sample["image_url"],
        "page_url": sample["page_url"],
        "standing": str(gravest.standing),
        "before": sample["consent"],
        "now": gravest.rule,
        "evidence": gravest.evidence,
    }
