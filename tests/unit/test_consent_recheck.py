"""Consent read again: what an owner has withdrawn since is found, with the evidence, and can be taken out."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from t2i_assets.cli import main
from t2i_assets.corpus.artifacts import Manifest, publish, write_ref
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.shards import read_samples, verify
from t2i_assets.crawl.config import CrawlConfig, FetchConfig, ImageConfig, SiteSource
from t2i_assets.crawl.ledger import LEDGER_FILE
from t2i_assets.crawl.pages import crawl_pages
from t2i_assets.crawl.pairs import extract_pairs
from t2i_assets.crawl.recheck import recheck
from t2i_assets.crawl.shards import fetch_images
from tests.unit.crawl_site import Answer, Site, image, page, serving

NAMES = ("kept", "header", "reserved", "closed", "gone", "broken", "unchanged")


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as one:
        for number, name in enumerate(NAMES):
            one.routes[f"/{name}.png"] = image(number)
        one.routes["/unchanged.png"] = _conditional
        one.routes["/meta.png"] = image(20)
        shown = "".join(f"<img src=/{name}.png alt='the picture {name}'>" for name in NAMES)
        one.routes["/"] = page(f"{shown}<a href=/second>more</a>")
        one.routes["/second"] = page("<img src=/meta.png alt='the picture of the second page'>")
        yield one


def _conditional(asked: int, headers: dict[str, str]) -> Answer:
    if headers.get("if-none-match") == '"same"':
        return Answer(status=304, headers=(("ETag", '"same"'),))
    return image(30, headers=(("ETag", '"same"'),))


def configure(site: Site) -> CrawlConfig:
    return CrawlConfig(
        sources=[SiteSource(name="site", start_urls=[site.url()])],
        allow_loopback=[site.authority],
        fetch=FetchConfig(retries=0, backoff_seconds=0.01),
        images=ImageConfig(size=32),
    )


@pytest.fixture
def home(site: Site, tmp_path: Path) -> Home:
    """A home with one crawled snapshot, as the assets leave it."""
    config, home = configure(site), Home(tmp_path / "home")
    crawl_pages(config, "demo", tmp_path / "pages", home.ledger("demo") / "pages.parquet")
    extract_pairs(tmp_path / "pages", tmp_path / "pairs", "demo", config)

    def write(out: Path) -> dict[str, Any]:
        funnel = fetch_images(tmp_path / "pairs", config, "demo", out, out / LEDGER_FILE)
        (home.ledger("demo") / "images.parquet").write_bytes((out / LEDGER_FILE).read_bytes())
        return funnel

    manifest = Manifest(asset="shards", partition="demo", digest="0" * 16, code_version="1", fetched=True)
    write_ref(home, "shards", "demo", publish(home.shards("demo"), manifest, write))
    return home


def withdraw(site: Site) -> None:
    """What the owners change after the crawl."""
    site.routes["/robots.txt"] = Answer(b"User-agent: *\nDisallow: /closed", "text/plain")
    site.routes["/header.png"] = image(1, headers=(("X-Robots-Tag", "noai"),))
    site.routes["/reserved.png"] = image(2, headers=(("tdm-reservation", "1"),))
    site.routes["/second"] = page("", head="<meta name=robots content=noimageai>")
    site.routes["/gone.png"] = Answer(status=410)
    site.routes["/broken.png"] = Answer(raw=b"")


def standings(rows: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {row["image_url"].rpartition("/")[2].removesuffix(".png"): (row["standing"], row["now"]) for row in rows}


def test_nothing_changed_nothing_goes(site: Site, home: Home) -> None:
    assert {standing for standing, _ in standings(recheck(home, configure(site), ["demo"])).values()} == {"allowed"}


def test_every_way_of_saying_no_is_heard(site: Site, home: Home) -> None:
    withdraw(site)
    before = len(site.asked)
    rows = recheck(home, configure(site), ["demo"])
    assert standings(rows) == {
        "kept": ("allowed", "allowed"),
        "unchanged": ("allowed", "allowed"),
        "header": ("withdrawn", "noai"),
        "reserved": ("withdrawn", "tdm_reservation"),
        "closed": ("withdrawn", "robots_disallowed"),
        "meta": ("withdrawn", "noimageai"),
        "gone": ("gone", "http_4xx"),
        "broken": ("unknown", "disconnected"),
    }
    assert "/closed.png" not in site.asked[before:]
    evidence = {row["now"]: row["evidence"] for row in rows}
    assert "Disallow: /closed" in evidence["robots_disallowed"]
    assert "noimageai" in evidence["noimageai"]


def test_the_command_lists_and_purges_what_was_withdrawn(site: Site, home: Home, tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text(yaml.safe_dump({"site": None, "crawl": configure(site).model_dump(mode="json")}))
    command = ["consent", "recheck", "--home", str(home.root), "--preset", str(preset)]
    withdraw(site)

    listed = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "out.csv")])
    assert listed.exit_code == 0, listed.output
    assert "withdrawn 4, gone 1, unknown 1, local 0, allowed 2" in listed.output
    with (tmp_path / "out.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 8
    assert len(read_samples(home.shards("demo"))) == 8

    purged = CliRunner().invoke(main, [*command, "--purge"])
    assert purged.exit_code == 0, purged.output
    left = {row["image_url"].rpartition("/")[2] for row in read_samples(home.shards("demo")).to_pylist()}
    assert left == {"kept.png", "unchanged.png", "gone.png", "broken.png"}
    assert verify(home.shards("demo")) == []


def test_a_host_that_nothing_came_from_is_not_asked(site: Site, home: Home) -> None:
    before = len(site.asked)
    assert recheck(home, configure(site), ["demo"], host="elsewhere.test") == []
    assert len(site.asked) == before
