"""First stage: crawl pages breadth first, keep their HTML, follow their links.

One level of depth is fetched at a time and its links are taken in the order of the pages, so the same site gives the
same pages in the same order, however the network behaves.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i_assets.corpus.schemas import PAGES
from t2i_assets.corpus.tables import write_table
from t2i_assets.crawl.config import CrawlConfig, Progress, SiteSource, silent
from t2i_assets.crawl.consent import Verdict, header_verdict, may_follow, meta_verdict
from t2i_assets.crawl.fetch import ACCEPT_HTML, Fetched, Fetcher
from t2i_assets.crawl.guard import normalise_url
from t2i_assets.crawl.html import parse_page
from t2i_assets.crawl.ledger import Status, count_statuses, raise_if_all_failed, write_ledger
from t2i_assets.crawl.robots import Robots

_HTML_TYPES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True)
class _Link:
    url: str
    parent: str | None
    depth: int


def crawl_pages(
    config: CrawlConfig, snapshot: str, out_pages_dir: Path, out_ledger_file: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Crawl from the start URLs; write PAGES into ``out_pages_dir`` and LEDGER rows of pages and robots.txt.

    Returns the funnel: pages tried, kept, by status, and links that lead off the site.
    Raises CrawlFailedError where not one page could be fetched.
    """
    return asyncio.run(_crawl(config, snapshot, out_pages_dir, out_ledger_file, progress))


async def _crawl(
    config: CrawlConfig, snapshot: str, out_pages_dir: Path, out_ledger_file: Path, progress: Progress
) -> dict[str, Any]:
    pages: list[dict[str, Any]] = []
    ledger: list[dict[str, Any]] = []
    seen: set[str] = set()
    off_site: set[str] = set()
    counts: Counter[str] = Counter()
    sites = [source for source in config.sources if isinstance(source, SiteSource)]
    async with Fetcher(config) as fetcher:
        robots = Robots(fetcher, config, snapshot)
        for site in sites:
            tried = 0
            level = _new_links([(url, None) for url in site.start_urls], 0, site, tried, seen, off_site)
            while level:
                tried += len(level)
                found: list[tuple[str, str | None]] = []
                tasks = [asyncio.create_task(_fetch_page(link, site, config, fetcher, robots)) for link in level]
                for link, task in zip(level, tasks, strict=True):
                    fetched, links = await task
                    if fetched.status == Status.OK and fetched.final_url != link.url and fetched.final_url in seen:
                        fetched.status, fetched.detail = Status.DUPLICATE_URL, f"redirects to {fetched.final_url}"
                    if fetched.status == Status.OK:
                        seen.add(fetched.final_url)
                        pages.append(_page_row(link, fetched, snapshot, site))
                        found += [(url, link.url) for url in links]
                    row = fetched.ledger_row(snapshot, "page", site.name, parent_url=link.parent, depth=link.depth)
                    ledger.append(row)
                    counts[str(fetched.status)] += 1
                    progress(len(ledger), len(seen), counts)
                level = _new_links(found, level[0].depth + 1, site, tried, seen, off_site)
    raise_if_all_failed("page", ledger, enough=1)
    write_table(out_pages_dir / "00000.parquet", pages, PAGES)
    write_ledger(out_ledger_file, ledger + robots.ledger_rows)
    return {
        "pages_tried": len(ledger),
        "pages": len(pages),
        "page_statuses": count_statuses(ledger),
        "robots_statuses": count_statuses(robots.ledger_rows),
        "links_off_site": len(off_site),
        "bytes": sum(row["bytes"] for row in ledger),
    }


def _new_links(
    found: list[tuple[str, str | None]], depth: int, site: SiteSource, tried: int, seen: set[str], off_site: set[str]
) -> list[_Link]:
    """Return what to fetch next, in order; ``seen`` and ``off_site`` grow."""
    level = []
    if depth > site.max_depth:
        return []
    for url, parent in found:
        url = normalise_url(url)
        if url in seen:
            continue
        if not on_site(url, site):
            off_site.add(url)
        elif tried + len(level) < site.max_pages:
            seen.add(url)
            level.append(_Link(url, parent, depth))
    return level


def on_site(url: str, site: SiteSource) -> bool:
    """Return whether pages of this URL's host are crawled."""
    host = url.split("/", 3)[2].rpartition("@")[2]
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name.strip("[]").lower() in site.page_hosts


async def _fetch_page(
    link: _Link, site: SiteSource, config: CrawlConfig, fetcher: Fetcher, robots: Robots
) -> tuple[Fetched, list[str]]:
    """Fetch one page; return its outcome and the links to follow."""

    async def permit(url: str) -> Verdict:
        if not on_site(url, site):
            return Verdict(False, "not_asked", f"redirects off the site to {url}", Status.OFF_SITE)
        return await robots.verdict(url)

    fetched = await fetcher.fetch(link.url, ACCEPT_HTML, config.fetch.max_page_bytes, permit)
    if fetched.status != Status.OK:
        return fetched, []
    if fetched.media_type not in _HTML_TYPES:
        fetched.status = Status.WRONG_CONTENT_TYPE
        fetched.detail = f"Content-Type {fetched.content_type!r} is not HTML"
        return fetched, []
    page = parse_page(fetched.body, fetched.content_type, fetched.final_url)
    tags = fetched.headers.getall("X-Robots-Tag", [])
    for verdict in (header_verdict(tags, config.product), meta_verdict(page.metas, config.product)):
        if not verdict.allowed:
            fetched.verdict = verdict  # links may be followed, but nothing on the page may be used
            break
    return fetched, page.links if may_follow(tags, page.metas, config.product) else []


def _page_row(link: _Link, fetched: Fetched, snapshot: str, site: SiteSource) -> dict[str, Any]:
    return {
        "snapshot": snapshot,
        "source": site.name,
        "url": link.url,
        "final_url": fetched.final_url,
        "depth": link.depth,
        "content_type": fetched.content_type,
        "x_robots_tag": "\n".join(fetched.headers.getall("X-Robots-Tag", [])) or None,
        "body": fetched.body,
    }
