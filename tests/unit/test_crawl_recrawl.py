"""A second snapshot asks only for what changed, and holds the same as if it had fetched everything."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2i_assets.corpus.artifacts import Manifest, publish, write_ref
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import LEDGER, PAGES
from t2i_assets.corpus.shards import read_samples
from t2i_assets.corpus.tables import read_rows
from t2i_assets.crawl.config import CrawlConfig, FetchConfig, ImageConfig, SiteSource
from t2i_assets.crawl.pages import crawl_pages
from t2i_assets.crawl.pairs import extract_pairs
from t2i_assets.crawl.recrawl import EarlierImages, EarlierPages, Previous, find_previous
from t2i_assets.crawl.shards import fetch_images
from t2i_assets.synthweb.config import SMOKE_SITE
from t2i_assets.synthweb.server import running
from tests.unit.crawl_site import Answer, Site, page, picture, serving

FAST = FetchConfig(retries=0, backoff_seconds=0.01, tdm=False)
STAMP = "Mon, 05 Jan 2026 10:00:00 GMT"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as one:
        yield one


def versioned(answer: Answer, tag: str, more: tuple[tuple[str, str], ...] = (), **on_304: str) -> Any:
    """Return a route that answers 304 to a request that names this version; ``on_304`` are headers it then sends."""

    def route(asked: int, headers: dict[str, str]) -> Answer:
        sent = (("ETag", tag), ("Last-Modified", STAMP))
        if headers.get("if-none-match") == tag:
            named = tuple((name.replace("_", "-"), value) for name, value in on_304.items())
            return Answer(b"", "", 304, (("ETag", tag), *named))
        return Answer(answer.body, answer.type, headers=(*sent, *more))

    return route


def configure(site: Site, **images: Any) -> CrawlConfig:
    return CrawlConfig(
        sources=[SiteSource(name="site", start_urls=[site.url()])],
        allow_loopback=[site.authority],
        fetch=FAST,
        images=ImageConfig(size=32, **images),
    )


def crawl(config: CrawlConfig, home: Path, snapshot: str, previous: Previous | None = None) -> dict[str, Any]:
    """Crawl pages; return their ledger rows by path."""
    crawl_pages(config, snapshot, home / "pages", home / "pages.parquet", previous=previous)
    return {row["url"].split("/", 3)[3]: row for row in read_rows(home / "pages.parquet", LEDGER)}


def earlier(home: Path) -> Previous:
    return Previous(pages_dir=home / "pages", pages_ledger=home / "pages.parquet")


# Pages


def test_a_page_that_did_not_change_comes_from_the_earlier_snapshot(site: Site, tmp_path: Path) -> None:
    site.routes |= {
        "/": versioned(page("<a href=/a>a</a><a href=/b>b</a>"), '"one"'),
        "/a": versioned(page("the letter a"), '"a"'),
        "/b": page("never the same"),
    }
    config = configure(site)
    crawl(config, tmp_path / "1", "1")
    before = len(site.asked)
    rows = crawl(config, tmp_path / "2", "2", earlier(tmp_path / "1"))
    assert {path: row["status"] for path, row in rows.items() if row["kind"] == "page"} == {
        "": "unchanged", "a": "unchanged", "b": "ok"
    }  # fmt: skip
    assert rows[""]["bytes"] == 0
    assert (rows[""]["etag"], rows[""]["last_modified"]) == ('"one"', STAMP)
    asked = dict(zip(site.asked[before:], site.requests[before:], strict=True))
    assert (asked["/"]["if-none-match"], asked["/"]["if-modified-since"]) == ('"one"', STAMP)
    assert "if-none-match" not in asked["/b"]
    first, second = (read_rows(tmp_path / number / "pages", PAGES) for number in ("1", "2"))
    assert [row | {"snapshot": ""} for row in first] == [row | {"snapshot": ""} for row in second]
    third = crawl(config, tmp_path / "3", "3", earlier(tmp_path / "2"))
    assert third[""]["status"] == "unchanged"


def test_a_page_that_changed_is_taken_as_it_is_now(site: Site, tmp_path: Path) -> None:
    site.routes["/"] = versioned(page("old"), '"1"')
    config = configure(site)
    crawl(config, tmp_path / "1", "1")
    site.routes["/"] = versioned(page("new <a href=/more>more</a>"), '"2"')
    site.routes["/more"] = page("more")
    rows = crawl(config, tmp_path / "2", "2", earlier(tmp_path / "1"))
    assert (rows[""]["status"], rows[""]["etag"], rows["more"]["status"]) == ("ok", '"2"', "ok")


@pytest.mark.parametrize(
    ("then", "now", "rule"),
    [
        ((("X-Robots-Tag", "noai"),), {}, "noai"),
        ((("X-Robots-Tag", "noai"),), {"X_Robots_Tag": "all"}, "allowed"),
        ((), {"X_Robots_Tag": "noindex"}, "noindex"),
        ((("tdm-reservation", "1"),), {}, "tdm_reservation"),
        ((("tdm-reservation", "1"),), {"tdm_reservation": "0"}, "allowed"),
        ((), {"tdm_reservation": "1"}, "tdm_reservation"),
        ((), {}, "allowed"),
    ],
)
def test_consent_is_judged_anew_by_the_304_and_else_by_what_was_kept(
    site: Site, tmp_path: Path, then: tuple[tuple[str, str], ...], now: dict[str, str], rule: str
) -> None:
    site.routes["/"] = versioned(page("hello"), '"1"', then, **now)
    config = configure(site)
    crawl(config, tmp_path / "1", "1")
    row = crawl(config, tmp_path / "2", "2", earlier(tmp_path / "1"))[""]
    assert (row["status"], row["consent"]) == ("unchanged", rule)


def test_robots_txt_counts_as_it_is_now(site: Site, tmp_path: Path) -> None:
    site.routes |= {"/": page("<a href=/a>a</a>"), "/a": versioned(page("a"), '"a"')}
    config = configure(site)
    crawl(config, tmp_path / "1", "1")
    site.routes["/robots.txt"] = Answer(b"User-agent: *\nDisallow: /a\n", "text/plain")
    rows = crawl(config, tmp_path / "2", "2", earlier(tmp_path / "1"))
    assert rows["a"]["status"] == "robots_disallowed"


def test_a_redirect_that_leads_elsewhere_now_is_not_taken_for_the_page_of_then(site: Site, tmp_path: Path) -> None:
    site.routes |= {
        "/": page("<a href=/go>go</a>"),
        "/go": Answer(status=302, headers=(("Location", "/x"),)),
        "/x": versioned(page("x"), '"v1"'),
        "/y": versioned(page("y"), '"v1"'),
    }
    config = configure(site)
    crawl(config, tmp_path / "1", "1")
    unmoved = crawl(config, tmp_path / "2", "2", earlier(tmp_path / "1"))
    assert (unmoved["go"]["status"], unmoved["go"]["final_url"]) == ("unchanged", site.url("/x"))
    site.routes["/go"] = Answer(status=302, headers=(("Location", "/y"),))
    moved = crawl(config, tmp_path / "3", "3", earlier(tmp_path / "1"))
    assert (moved["go"]["status"], moved["go"]["final_url"]) == ("ok", site.url("/y"))
    assert read_rows(tmp_path / "3" / "pages", PAGES)[1]["body"] == page("y").body


def test_a_304_that_nobody_asked_for_is_no_page(site: Site, tmp_path: Path) -> None:
    site.routes |= {"/": page("<a href=/odd>odd</a>"), "/odd": Answer(b"", "", 304)}
    rows = crawl(configure(site), tmp_path, "1")
    assert rows["odd"]["status"] == "bad_response"
    assert len(read_rows(tmp_path / "pages", PAGES)) == 1


def test_what_is_missing_of_the_earlier_snapshot_is_fetched(site: Site, tmp_path: Path) -> None:
    site.routes["/"] = versioned(page("hello"), '"1"')
    config = configure(site)
    crawl(config, tmp_path / "1", "1")
    for file in (tmp_path / "1" / "pages").glob("*.parquet"):
        file.unlink()
    row = crawl(config, tmp_path / "2", "2", earlier(tmp_path / "1"))[""]
    assert row["status"] == "ok"
    assert crawl(config, tmp_path / "3", "3", Previous())[""]["status"] == "ok"


def test_a_snapshot_may_be_told_to_ask_for_everything(site: Site, tmp_path: Path) -> None:
    site.routes["/"] = versioned(page("hello"), '"1"')
    config = configure(site)
    crawl(config, tmp_path / "1", "1")
    config = config.model_copy(update={"recrawl": False})
    assert crawl(config, tmp_path / "2", "2", earlier(tmp_path / "1"))[""]["status"] == "ok"


def test_pages_are_found_in_any_order_and_few_are_held(tmp_path: Path) -> None:
    from t2i_assets.corpus.tables import write_table

    count = 3000
    urls = [f"http://site.test/{n}" for n in range(count)]
    pages = [
        {"snapshot": "1", "source": "s", "url": url, "final_url": url, "depth": 0, "body": url.encode()} for url in urls
    ]
    for part in range(3):
        write_table(tmp_path / "pages" / f"{part:05d}.parquet", pages[part * 1000 : part * 1000 + 1000], PAGES)
    ledger = [
        {"snapshot": "1", "kind": "page", "source": "s", "url": url, "status": "ok", "consent": "allowed", "bytes": 1,
         "etag": f'"{n}"' if n % 2 else None}
        for n, url in enumerate(urls)
    ]  # fmt: skip
    write_table(tmp_path / "ledger.parquet", sorted(ledger, key=lambda row: row["url"]), LEDGER)
    with EarlierPages(Previous(tmp_path / "pages", tmp_path / "ledger.parquet"), tmp_path / "scratch") as found:
        for n in (2999, 1, 1501, 3, 2001, 999):
            was = found.find(urls[n])
            assert was is not None
            assert (was.body, was.validators.etag) == (urls[n].encode(), f'"{n}"')
        assert found.find(urls[2]) is None
        assert found.find("http://site.test/never") is None
    assert list((tmp_path / "scratch").iterdir()) == []


# Images


def crawl_images(config: CrawlConfig, site: Site, home: Path, previous: Previous | None = None) -> dict[str, str]:
    """Run all three stages; return the status of each image by its path."""
    crawl_pages(config, "demo", home / "pages", home / "pages.parquet")
    extract_pairs(home / "pages", home / "pairs", "demo", config)
    fetch_images(home / "pairs", config, "demo", home / "shards", home / "images.parquet", previous=previous)
    rows = read_rows(home / "images.parquet", LEDGER)
    return {row["url"].rpartition("/")[2]: row["status"] for row in rows if row["kind"] == "image"}


def earlier_images(home: Path, config: CrawlConfig) -> Previous:
    settings = config.images.model_dump(mode="json")
    return Previous(shards_dir=home / "shards", shards_ledger=home / "images.parquet", image_settings=settings)


@pytest.fixture
def gallery(site: Site) -> Site:
    site.routes["/"] = page("".join(f"<img src=/{n}.png alt='picture number {n}'>" for n in range(4)))
    for n in range(3):
        site.routes[f"/{n}.png"] = versioned(Answer(picture(n), "image/png"), f'"{n}"')
    site.routes["/3.png"] = Answer(picture(3), "image/png")
    return site


def test_unchanged_images_are_not_fetched_again_and_the_shards_are_the_same(gallery: Site, tmp_path: Path) -> None:
    config = configure(gallery)
    first = crawl_images(config, gallery, tmp_path / "1")
    second = crawl_images(config, gallery, tmp_path / "2", earlier_images(tmp_path / "1", config))
    assert first == {f"{n}.png": "ok" for n in range(4)}
    assert second == {"0.png": "unchanged", "1.png": "unchanged", "2.png": "unchanged", "3.png": "ok"}
    for name in ("00000.tar", "00000.parquet", "00000.json"):
        assert (tmp_path / "1" / "shards" / name).read_bytes() == (tmp_path / "2" / "shards" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "status"),
    [({"size": 48}, "ok"), ({"format": "png"}, "ok"), ({"workers": 1, "samples_per_shard": 2}, "unchanged")],
)
def test_images_stored_otherwise_are_fetched_again(
    gallery: Site, tmp_path: Path, change: dict[str, Any], status: str
) -> None:
    config = configure(gallery)
    crawl_images(config, gallery, tmp_path / "1")
    changed = config.model_copy(update={"images": config.images.model_copy(update=change)})
    statuses = crawl_images(changed, gallery, tmp_path / "2", earlier_images(tmp_path / "1", config))
    assert statuses["1.png"] == status


def test_an_image_whose_shard_is_damaged_is_fetched_again(gallery: Site, tmp_path: Path) -> None:
    config = configure(gallery)
    crawl_images(config, gallery, tmp_path / "1")
    previous = earlier_images(tmp_path / "1", config)
    samples = read_samples(tmp_path / "1" / "shards").to_pylist()
    with EarlierImages(previous, config.images, tmp_path / "scratch") as found:
        data, row = found.image(samples[0]["key"]) or (b"", {})
        assert (hashlib.sha256(data).hexdigest(), row["width"]) == (samples[0]["image_sha256"], samples[0]["width"])
    tar = tmp_path / "1" / "shards" / "00000.tar"
    damaged = bytearray(tar.read_bytes())
    damaged[samples[0]["image_offset"] + 20] ^= 1
    tar.write_bytes(damaged)
    with EarlierImages(previous, config.images, tmp_path / "scratch") as found:
        assert found.image(samples[0]["key"]) is None
        assert found.image(samples[1]["key"]) is not None
        assert found.image("0" * 32) is None
    tar.unlink()
    assert set(crawl_images(config, gallery, tmp_path / "2", previous).values()) == {"ok"}


def test_a_second_crawl_of_the_embedded_site_writes_the_same_and_fetches_little(tmp_path: Path) -> None:
    quick = SMOKE_SITE.model_copy(update={"slow_seconds": 0.1, "drip_seconds": 0.5, "retry_after": 0})
    with running(quick) as base:
        config = CrawlConfig(
            sources=[SiteSource(name="site", start_urls=[f"{base}/"])],
            allow_loopback=[base.removeprefix("http://")],
            fetch=FetchConfig(backoff_seconds=0.05),
        )
        previous = None
        for home in (tmp_path / "1", tmp_path / "2"):
            crawl_pages(config, "demo", home / "pages", home / "pages.parquet", previous=previous)
            extract_pairs(home / "pages", home / "pairs", "demo", config)
            fetch_images(home / "pairs", config, "demo", home / "shards", home / "images.parquet", previous=previous)
            settings = config.images.model_dump(mode="json")
            previous = Previous(
                home / "pages", home / "pages.parquet", home / "shards", home / "images.parquet", settings
            )
    for directory in ("pages", "pairs", "shards"):
        names = {path.name for path in (tmp_path / "1" / directory).glob("[0-9]*")}
        for name in names:
            assert (tmp_path / "1" / directory / name).read_bytes() == (tmp_path / "2" / directory / name).read_bytes()
    for kind, file in (("page", "pages.parquet"), ("image", "images.parquet")):
        one, two = (
            {row["url"]: row for row in read_rows(tmp_path / number / file, LEDGER) if row["kind"] == kind}
            for number in ("1", "2")
        )
        assert set(one) == set(two)
        fetched = [url for url in one if one[url]["status"] == "ok" and one[url]["etag"]]
        assert len(fetched) > 20
        assert {two[url]["status"] for url in fetched} == {"unchanged"}
        assert all(two[url]["consent"] == one[url]["consent"] for url in one)


# Which snapshot


def publish_snapshot(home: Home, asset: str, snapshot: str, code_version: str = "1") -> None:
    place = home.pages(snapshot) if asset == "pages" else home.shards(snapshot)
    config = {"crawl": {"images": {"size": 32}}}
    manifest = Manifest(asset=asset, partition=snapshot, digest="d", code_version=code_version, config=config)
    write_ref(home, asset, snapshot, publish(place, manifest, lambda out: None))
    time.sleep(0.01)


def test_the_newest_other_snapshot_that_is_materialized_is_the_previous_one(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert find_previous(home, "2026-03") is None
    for snapshot in ("2026-02", "2026-01", "2026-03"):
        publish_snapshot(home, "pages", snapshot)
    publish_snapshot(home, "shards", "2026-02")
    found = find_previous(home, "2026-03")
    assert found is not None
    assert (found.pages_dir, found.shards_dir) == (home.pages("2026-01"), home.shards("2026-02"))
    assert found.image_settings == {"size": 32}
    assert found.pages_ledger == home.pages("2026-01") / "ledger" / "ledger.parquet"
    other = find_previous(home, "2026-03", shards_code_version="2")
    assert other is not None
    assert other.shards_dir is None
    assert find_previous(home, "2026-02") == Previous(
        home.pages("2026-03"), home.pages("2026-03") / "ledger" / "ledger.parquet"
    )
