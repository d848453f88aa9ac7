"""Sources without pages: what they offer enters the graph as PAIRS rows."""

from collections.abc import Iterator
from typing import Any

from t2i_assets.crawl.config import CrawlConfig, FolderSource, UrlListSource, WebDatasetSource
from t2i_assets.crawl.sources.folder import folder_offers
from t2i_assets.crawl.sources.rows import rows_of
from t2i_assets.crawl.sources.url_list import url_list_offers
from t2i_assets.crawl.sources.webdataset import webdataset_offers


def pair_rows(
    source: UrlListSource | FolderSource | WebDatasetSource, config: CrawlConfig, snapshot: str
) -> Iterator[dict[str, Any]]:
    """Yield the PAIRS rows of a local source, in the order in which it is read. Raises SourceError."""
    match source:
        case UrlListSource():
            offers = url_list_offers(source)
        case FolderSource():
            offers = folder_offers(source)
        case WebDatasetSource():
            offers = webdataset_offers(source)
    for offer in offers:
        yield from rows_of(offer, source.name, snapshot, config)
