"""First stage: crawl pages breadth first, keep their HTML, follow their links; then take the pages of archives.

All sites are crawled at once, each in an order of its own that the network cannot change; the pages are written site by
site, and a page that several sources reach is fetched once and belongs to the first. What was fetched is journalled.
"""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from itertools import chain
from pathlib import Path
from typing import Any

from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.suppression import NOTHING_PURGED, Suppression
from t2i_assets.crawl.config import CrawlConfig, Progress, SiteSource, silent
from t2i_assets.crawl.consent.robots import Robots
from t2i_assets.crawl.consent.suppressed import refusing
from t2i_assets.crawl.consent.verdict import Verdict
from t2i_assets.crawl.http.fetch import Fetcher
from t2i_assets.crawl.journal import JOURNAL, Journal, finished
from t2i_assets.crawl.ledger import raise_if_all_failed, write_ledger
from t2i_assets.crawl.page_stage.archives import take_archives
from t2i_assets.crawl.page_stage.files import PageFiles, discard_files_from
from t2i_assets.crawl.page_stage.frontier import TAKEN, Frontier, Link
from t2i_assets.crawl.page_stage.ledger import PageLedger
from t2i_assets.crawl.page_stage.links import read_links
from t2i_assets.crawl.page_stage.reader import PageReader
from t2i_assets.crawl.recrawl import EarlierPages, Previous
from t2i_assets.crawl.status import CrawlFailedError, Status
from t2i_assets.crawl.workers import Workers

_MOST_PARSERS = 2
_PARSING_AHEAD = 8
_PARSE_SECONDS = 10.0
_SITES = 0
"""The part of PAGES that the sites give; archives are numbered from 1."""


def crawl_pages(
    config: CrawlConfig,
    snapshot: str,
    out_pages_dir: Path,
    out_ledger_file: Path,
    progress: Progress = silent,
    previous: Previous | None = None,
    suppression: Suppression = NOTHING_PURGED,
) -> dict[str, Any]:
    """Crawl from the start URLs and read the WARC files; write PAGES and the ledger of pages, archives and robots.txt.

    What was fetched is journalled in ``out_pages_dir``: a run that was killed goes on where it stopped. Pages that
    ``previous`` has are asked for only if they changed; what ``suppression`` names is not asked for.
    Returns the funnel: pages tried, kept, by status, and links that lead off their site.
    Raises CrawlFailedError where not one page could be had, SourceError where a local archive is not there.
    """
    purpose = digest([snapshot, config.identity("pages")])
    done = finished(out_pages_dir / JOURNAL, purpose)
    if done is not None:
        return done
    with Journal(out_pages_dir / JOURNAL, purpose) as journal:
        ledger = PageLedger(journal.database)
        try:
            off_site = asyncio.run(
                _take_all(config, snapshot, journal, ledger, out_pages_dir, progress, previous, suppression)
            )
            if not ledger.pages:
                archives = [row for row in ledger.rows() if row["kind"] == "archive"]
                raise_if_all_failed("archive", archives, enough=1)
        except CrawlFailedError:
            journal.remove()  # failures of a dead network are nothing to go on with
            raise
        write_ledger(out_ledger_file, chain(ledger.rows(), journal.rows("robots")), in_order=True)
        statuses = ledger.statuses("page")
        summary = {
            "pages_tried": sum(statuses.values()),
            "pages": ledger.pages,
            "page_statuses": statuses,
            "robots_statuses": journal.statuses("robots"),
            "archive_statuses": ledger.statuses("archive"),
            "links_off_site": off_site,
            "bytes": ledger.bytes("page"),
        }
        journal.finish(summary)
    return summary


async def _take_all(
    config: CrawlConfig,
    snapshot: str,
    journal: Journal,
    ledger: PageLedger,
    out_pages_dir: Path,
    progress: Progress,
    previous: Previous | None,
    suppression: Suppression,
) -> int:
    """Take the pages of sites, then those of archives; return how many links lead off their site."""
    sites = [source for source in config.sources if isinstance(source, SiteSource)]
    frontier = Frontier(journal.database, sites, config.fetch.per_host_concurrency)
    parsers = min(config.images.workers, _MOST_PARSERS)
    async with Workers(read_links, parsers, seconds=_PARSE_SECONDS) as parse:
        if ledger.written(_SITES) is None:
            scratch = out_pages_dir / JOURNAL
            await _crawl(frontier, config, snapshot, journal, parse, progress, previous, suppression, scratch)
            journal.commit()
            if not set(TAKEN) & set(journal.statuses("page")):
                raise_if_all_failed("page", list(journal.rows("page")), enough=1)
            with ledger.part():
                _write_sites(frontier, sites, snapshot, journal, ledger, out_pages_dir)
        await take_archives(config, snapshot, ledger, parse, out_pages_dir, _SITES + 1)
    return frontier.links_off_site


async def _crawl(
    frontier: Frontier,
    config: CrawlConfig,
    snapshot: str,
    journal: Journal,
    parse: Workers,
    progress: Progress,
    previous: Previous | None,
    suppression: Suppression,
    scratch: Path,
) -> None:
    """Fetch what the journal does not hold yet."""
    counts = Counter(journal.statuses("page"))
    async with AsyncExitStack() as stack:
        earlier = stack.enter_context(EarlierPages(previous, scratch)) if previous and config.recrawl else None
        fetcher = await stack.enter_async_context(Fetcher(config))
        robots = Robots(fetcher, config, snapshot)

        async def permit(url: str) -> Verdict:
            if not frontier.is_on_a_site(url):
                return Verdict(False, "not_asked", f"redirects off the site to {url}", Status.OFF_SITE)
            return await robots.verdict(url)

        reader = PageReader(config, fetcher, refusing(permit, suppression), parse, earlier)

        async def work() -> None:
            while (link := await frontier.take()) is not None:
                try:
                    page = await reader.fetch(link.url)
                finally:
                    frontier.give_back(link)
                await reader.read(page)
                while robots.ledger_rows:
                    journal.add(robots.ledger_rows.pop())
                frontier.keep_links(link, page.links)
                row = page.fetched.ledger_row(snapshot, "page", "")
                journal.add(row, *((page.body, link.url, page.about) if page.about else ()))
                frontier.answered(link)
                counts[row["status"]] += 1
                progress(counts.total(), frontier.known, counts)

        async with asyncio.TaskGroup() as group:
            for _ in range(config.fetch.concurrency + _PARSING_AHEAD):
                group.create_task(work())
    for row in robots.ledger_rows:
        journal.add(row)


def _write_sites(
    frontier: Frontier,
    sites: list[SiteSource],
    snapshot: str,
    journal: Journal,
    ledger: PageLedger,
    out_pages_dir: Path,
) -> None:
    """Write the pages of all sites and their ledger rows, in the order of their queues."""
    discard_files_from(out_pages_dir, 0)
    with PageFiles(out_pages_dir) as files:
        for link in frontier.judged():
            source = sites[link.site].name
            row = _ledger_row(link, source, journal, ledger)
            ledger.add(row)
            ledger.hold(source, link.url)
            if row["status"] in TAKEN:
                ledger.hold(source, row["final_url"])
                body, about = journal.blob(link.url)
                page = {"snapshot": snapshot, "source": source, "url": link.url, "depth": link.depth, "body": body}
                files.write(page | about)
        files.finish_file()
        ledger.finish(_SITES, files.pages, files.next_file)


def _ledger_row(link: Link, source: str, journal: Journal, ledger: PageLedger) -> dict[str, Any]:
    """Return what became of a page for one site: what came, unless it is not for this site or another one has it."""
    row = journal.row("page", link.url)
    assert row is not None
    row |= {"source": source, "parent_url": link.parent, "depth": link.depth, "status": link.status}
    taken = link.status in TAKEN
    holder = ledger.holder(row["final_url"] if taken else link.url)
    if holder is not None:
        row |= {"status": Status.DUPLICATE_URL, "detail": f"source {holder!r} has it"}
        row |= {"bytes": 0, "attempts": 0, "fetched_at": 0.0, "seconds": 0.0}
    elif link.status == Status.DUPLICATE_URL:
        row["detail"] = f"redirects to {row['final_url']}"
    elif link.status == Status.OFF_SITE:
        row["detail"] = f"redirects off the site to {row['final_url']}"
    return row
