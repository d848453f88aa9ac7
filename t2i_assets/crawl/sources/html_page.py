"""What one page offers: its images, unless its owner forbids their use."""

from typing import Any

from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.consent.verdict import Verdict, meta_verdict, response_verdict
from t2i_assets.crawl.html.page import parse_page
from t2i_assets.crawl.page_stage.headers import kept_headers
from t2i_assets.crawl.sources.rows import Offer, rows_of

PAGE_UNREADABLE = "page_unreadable"
"""Rejection of the one row of a page that the parser did not survive."""


def page_pairs(page: dict[str, Any], config: CrawlConfig, snapshot: str) -> list[dict[str, Any]]:
    """Return the PAIRS rows of a PAGES row; runs in a process of its own, since pages may be hostile."""
    parsed = parse_page(page["body"], page["content_type"], page["final_url"])
    verdict = _page_verdict(page, parsed.metas, config.product)
    denied = None if verdict.allowed else f"page_{verdict.rule}"
    offers = (
        Offer(
            image.url,
            image.field,
            page["final_url"],
            image.position,
            image.texts,
            image.width,
            image.height,
            image.license_url,
            image.problem or denied,
        )
        for image in parsed.images
    )
    return [row for offer in offers for row in rows_of(offer, page["source"], snapshot, config)]


def unreadable_page(page: dict[str, Any], config: CrawlConfig, snapshot: str) -> list[dict[str, Any]]:
    """Return the one PAIRS row of a page that could not be parsed; it stands at the page's own address."""
    offer = Offer(page["final_url"], "page", page["final_url"], 0, problem=PAGE_UNREADABLE)
    return list(rows_of(offer, page["source"], snapshot, config))


def _page_verdict(page: dict[str, Any], metas: list[tuple[str, str]], product: str) -> Verdict:
    """Return the page's own wish: its headers first, then its tags."""
    verdict = response_verdict(kept_headers(page), product)
    return meta_verdict(metas, product) if verdict.allowed else verdict
