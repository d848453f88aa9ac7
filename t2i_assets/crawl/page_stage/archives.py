"""Pages of WARC files, taken after those of the sites: one archive after the other, each its own PAGES files.

An archive whose pages are written is not read again when a killed run goes on.
"""

import asyncio
import hashlib
from collections import deque
from pathlib import Path
from typing import Any

from multidict import CIMultiDictProxy

from t2i_assets.crawl.config import CrawlConfig, WarcSource
from t2i_assets.crawl.consent.verdict import Verdict
from t2i_assets.crawl.http.fetch import Fetched
from t2i_assets.crawl.journal import JOURNAL
from t2i_assets.crawl.page_stage.files import PageFiles, discard_files_from
from t2i_assets.crawl.page_stage.headers import kept_headers, page_verdict
from t2i_assets.crawl.page_stage.ledger import PageLedger
from t2i_assets.crawl.sources.archive_files import ArchiveFile, archive_files
from t2i_assets.crawl.sources.warc import page_rows
from t2i_assets.crawl.status import Status
from t2i_assets.crawl.workers import Workers

_AHEAD = 8


async def take_archives(
    config: CrawlConfig,
    snapshot: str,
    ledger: PageLedger,
    parse: Workers,
    out_pages_dir: Path,
    first_part: int,
) -> None:
    """Write the pages of every WARC source into PAGES and the ledger; each path of a source is one part of both."""
    next_file = ledger.written(first_part - 1) or 0
    named = [(source, path) for source in config.sources if isinstance(source, WarcSource) for path in source.paths]
    for part, (source, path) in enumerate(named, first_part):
        written = ledger.written(part)
        if written is None:
            discard_files_from(out_pages_dir, next_file)
            with ledger.part(), PageFiles(out_pages_dir, next_file) as files:
                one = source.model_copy(update={"paths": [path]})
                async for file in archive_files(one, config, out_pages_dir / JOURNAL):
                    await _take_pages(file, snapshot, ledger, parse, files)
                    ledger.add(file.ledger_row(snapshot))
                files.finish_file()
                ledger.finish(part, files.pages, files.next_file)
                written = files.next_file
        next_file = written


async def _take_pages(file: ArchiveFile, snapshot: str, ledger: PageLedger, parse: Workers, files: PageFiles) -> None:
    """Take the pages of one archive, some being parsed ahead, in the order in which they lie there."""
    archive = file.ledger_row(snapshot)["url"]
    ahead: deque[tuple[dict[str, Any], Fetched, asyncio.Task[None]]] = deque()

    async def take_first() -> None:
        page, outcome, judging = ahead.popleft()
        await judging
        size = len(page["body"])
        more = {"parent_url": archive, "depth": 0, "bytes": size, "sha256": hashlib.sha256(page["body"]).hexdigest()}
        ledger.add(outcome.ledger_row(snapshot, "page", page["source"], **more))
        if outcome.status == Status.OK:
            files.write(page)

    for page in page_rows(file, snapshot):
        outcome = _outcome(page, archive, ledger.holder(page["url"]))
        ledger.hold(page["source"], page["url"])
        ahead.append((page, outcome, asyncio.create_task(_judge(page, outcome, file.config.product, parse))))
        if len(ahead) > _AHEAD:
            await take_first()
    while ahead:
        await take_first()


def _outcome(page: dict[str, Any], archive: str, holder: str | None) -> Fetched:
    """Return a recorded page as if it had been fetched, or as a duplicate of one that another source has."""
    verdict = Verdict(True, "allowed", f"recorded in {archive}")
    headers = kept_headers(page)
    if page["content_type"]:
        headers["Content-Type"] = page["content_type"]
    outcome = Fetched(page["url"], page["final_url"], verdict=verdict, headers=CIMultiDictProxy(headers), started=0.0)
    outcome.http_status = 200
    if holder is not None:
        outcome.status, outcome.detail = Status.DUPLICATE_URL, f"source {holder!r} has it"
    return outcome


async def _judge(page: dict[str, Any], outcome: Fetched, product: str, parse: Workers) -> None:
    """Write into the outcome what the page's owner says about its use."""
    if outcome.status != Status.OK:
        return
    try:
        _, metas = await parse(page["body"], page["content_type"], page["final_url"])
    except Exception as error:  # noqa: BLE001 - whatever a page does to its parser, the other pages go on
        outcome.status, outcome.detail = Status.PAGE_UNREADABLE, f"parsing: {str(error) or type(error).__name__}"
        return
    verdict = page_verdict(outcome.headers, metas, product)
    outcome.verdict = outcome.verdict if verdict.allowed else verdict
