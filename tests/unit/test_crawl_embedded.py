"""The three stages on the embedded site: its diseases end in the ledger, and two crawls write the same bytes."""

from collections import Counter
from pathlib import Path

from t2i_assets.corpus.duplicates.config import DuplicateConfig
from t2i_assets.corpus.duplicates.perceptual import find_duplicates
from t2i_assets.corpus.schemas import LEDGER, PAIRS
from t2i_assets.corpus.shards import read_samples, verify
from t2i_assets.corpus.tables import read_rows
from t2i_assets.crawl.config import CrawlConfig, FetchConfig, SiteSource
from t2i_assets.crawl.pages import crawl_pages
from t2i_assets.crawl.pairs import extract_pairs
from t2i_assets.crawl.shards import fetch_images
from t2i_assets.synthweb.config import SMOKE_SITE
from t2i_assets.synthweb.server import running

SITE = SMOKE_SITE.model_copy(update={"slow_seconds": 0.1, "drip_seconds": 0.5, "retry_after": 0})
EXPECTED = {
    "ok", "http_4xx", "http_5xx", "truncated", "redirect_limit", "off_site", "wrong_content_type", "robots_disallowed",
    "consent_denied", "too_small", "bad_aspect", "no_text", "data_uri", "dns", "ssrf_blocked", "bomb",
}  # fmt: skip


def crawl(base: str, home: Path) -> None:
    fetch = FetchConfig(total_seconds=60, backoff_seconds=0.05)
    config = CrawlConfig(
        sources=[SiteSource(name="site", start_urls=[f"{base}/"])],
        allow_loopback=[base.removeprefix("http://")],
        fetch=fetch,
    )
    crawl_pages(config, "demo", home / "pages", home / "ledger" / "pages.parquet")
    extract_pairs(home / "pages", home / "pairs", "demo", config)
    fetch_images(home / "pairs", config, "demo", home / "shards", home / "ledger" / "images.parquet")


def test_the_embedded_site_is_crawled_whole_and_twice_the_same(tmp_path: Path) -> None:
    with running(SITE) as base:
        for name in ("first", "second"):
            crawl(base, tmp_path / name)
    first, second = tmp_path / "first", tmp_path / "second"
    ledger = read_rows(first / "ledger", LEDGER)
    assert {row["status"] for row in ledger} >= EXPECTED
    assert max(Counter(row["url"] for row in ledger if row["kind"] == "image").values()) == 1
    shown = {row["image_url"] for row in read_rows(first / "pairs", PAIRS) if row["rejected"] != "no_address"}
    assert shown == {row["url"] for row in ledger if row["kind"] == "image"}
    samples = {row["key"] for row in read_samples(first / "shards").to_pylist()}
    assert samples == {row["key"] for row in ledger if row["key"]}
    assert len(samples) > 100
    assert verify(first / "shards") == []
    for path in sorted((first / "shards").iterdir()):
        assert path.read_bytes() == (second / "shards" / path.name).read_bytes()
    found = find_duplicates(first / "shards", "demo", tmp_path / "duplicates", DuplicateConfig())
    assert 0 < found["duplicates"] < len(samples) / 5
