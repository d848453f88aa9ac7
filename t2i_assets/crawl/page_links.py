"""What runs in the children of the page crawl; it imports no more than parsing needs."""

from t2i_assets.crawl.html import parse_page


def read_links(body: bytes, content_type: str | None, url: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the links of a page, each once and in order, and its meta tags as (name, content)."""
    page = parse_page(body, content_type, url)
    return list(dict.fromkeys(page.links)), page.metas
