"""One page URL in; its outcome, what is kept of it, and the links to follow, out."""

from dataclasses import dataclass, field
from typing import Any

from multidict import CIMultiDict, CIMultiDictProxy

from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.consent.verdict import may_follow
from t2i_assets.crawl.http.fetch import ACCEPT_HTML, Fetched, Fetcher, Permit
from t2i_assets.crawl.page_stage.headers import kept_columns, page_verdict
from t2i_assets.crawl.recrawl import EarlierPage, EarlierPages
from t2i_assets.crawl.status import Status
from t2i_assets.crawl.workers import Workers

HTML_TYPES = ("text/html", "application/xhtml+xml")
_GROUPS = (("X-Robots-Tag",), ("tdm-reservation", "tdm-policy"), ("Content-Type",), ("ETag",), ("Last-Modified",))
"""Headers of an earlier answer that hold on together where a 304 says nothing of them (RFC 9111, section 3.2)."""


@dataclass
class PageRead:
    """What came of a page; ``about`` holds the columns of PAGES that its response gives, where there is a page."""

    fetched: Fetched
    body: bytes = b""
    about: dict[str, Any] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)


class PageReader:
    """Fetches pages, only if they changed where an earlier snapshot has them, and reads links and wishes.

    ``parse`` runs ``read_links`` in child processes.
    """

    def __init__(
        self, config: CrawlConfig, fetcher: Fetcher, permit: Permit, parse: Workers, earlier: EarlierPages | None
    ) -> None:
        self._config = config
        self._fetcher = fetcher
        self._permit = permit
        self._parse = parse
        self._earlier = earlier

    async def fetch(self, url: str) -> PageRead:
        """Ask for a page; one that did not change comes from the earlier snapshot."""
        earlier = self._earlier.find(url) if self._earlier else None
        if earlier is None:
            fetched = await self._ask(url)
        else:
            fetched = await self._fetcher.fetch(
                url, ACCEPT_HTML, self._config.fetch.max_page_bytes, self._permit, earlier.validators
            )
        if fetched.status != Status.UNCHANGED:
            return PageRead(fetched, fetched.body)
        if earlier is not None and fetched.final_url == earlier.final_url:
            fetched.headers = _completed(fetched.headers, earlier)
            return PageRead(fetched, earlier.body)
        again = await self._ask(url)  # another page than then, or nobody asked whether it changed
        again.attempts += fetched.attempts
        return PageRead(again, again.body)

    async def read(self, page: PageRead) -> None:
        """Read what was fetched: afterwards the outcome is final, and ``about`` and ``links`` are filled."""
        fetched = page.fetched
        if fetched.status not in (Status.OK, Status.UNCHANGED):
            return
        if fetched.media_type not in HTML_TYPES:
            fetched.status = Status.WRONG_CONTENT_TYPE
            fetched.detail = f"Content-Type {fetched.content_type!r} is not HTML"
            return
        try:
            links, metas = await self._parse(page.body, fetched.content_type, fetched.final_url)
        except Exception as error:  # noqa: BLE001 - whatever a page does to its parser, the crawl goes on
            fetched.status, fetched.detail = Status.PAGE_UNREADABLE, f"parsing: {str(error) or type(error).__name__}"
            return
        verdict = page_verdict(fetched.headers, metas, self._config.product)
        if not verdict.allowed:
            fetched.verdict = verdict  # links may be followed, but nothing on the page may be used
        if may_follow(fetched.headers.getall("X-Robots-Tag", []), metas, self._config.product):
            page.links = links
        page.about = {
            "final_url": fetched.final_url,
            "content_type": fetched.content_type,
            **kept_columns(fetched.headers),
        }

    async def _ask(self, url: str) -> Fetched:
        return await self._fetcher.fetch(url, ACCEPT_HTML, self._config.fetch.max_page_bytes, self._permit)


def _completed(headers: CIMultiDictProxy[str], earlier: EarlierPage) -> CIMultiDictProxy[str]:
    """Return the headers of a 304 with what it left unsaid as it was said before."""
    said = CIMultiDict(headers)
    for group in _GROUPS:
        if not any(name in headers for name in group):
            said.extend((name, value) for name in group for value in earlier.headers.getall(name, []))
    return CIMultiDictProxy(said)
