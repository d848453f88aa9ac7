"""What runs in the children of the page crawl; it imports no more than parsing needs."""

from itertools import islice

from t2i_assets.crawl.html.page import parse_page

MOST_LINKS = 10_000
"""Links taken of one page: a page of ten megabytes could name half a million."""


def read_links(body: bytes, content_type: str | None, url: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the first MOST_LINKS links of a page, each once and in order, and its meta tags as (name, content)."""
    page = parse_page(body, content_type, url)
    return list(islice(dict.fromkeys(page.links), MOST_LINKS)), page.metas
