"""Our side of the page benchmark, in a process of its own: a site's pages, and its images as shards where asked."""

import json
import sys
from pathlib import Path

from t2i_assets.corpus.schemas import LEDGER, PAGES
from t2i_assets.corpus.tables import read_table
from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.pages import crawl_pages
from t2i_assets.crawl.pairs import extract_pairs
from t2i_assets.crawl.shards import fetch_images

SNAPSHOT = "bench"


def crawl(config: CrawlConfig, out: Path, with_images: bool) -> dict[str, list[str]]:
    """Crawl; return the URLs of the pages and of the images that were stored."""
    crawl_pages(config, SNAPSHOT, out / "pages", out / "pages.parquet")
    pages = read_table(out / "pages", PAGES, ["final_url"])["final_url"].to_pylist()
    if not with_images:
        return {"pages": pages, "images": []}
    extract_pairs(out / "pages", out / "pairs", SNAPSHOT, config)
    fetch_images(out / "pairs", config, SNAPSHOT, out / "shards", out / "images.parquet")
    ledger = read_table(out / "images.parquet", LEDGER, ["url", "key"]).to_pylist()
    return {"pages": pages, "images": [row["url"] for row in ledger if row["key"]]}


if __name__ == "__main__":
    settings, directory, images = sys.argv[1:]
    found = crawl(CrawlConfig.model_validate_json(settings), Path(directory), images == "images")
    (Path(directory) / "found.json").write_text(json.dumps(found))
