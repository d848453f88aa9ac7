"""A killed stage goes on where it stopped, asks for nothing again that it had, and ends with the same bytes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2i_assets.corpus.shards import verify
from t2i_assets.crawl.config import CrawlConfig, FetchConfig, ImageConfig, SiteSource
from t2i_assets.crawl.journal import JOURNAL, Journal
from t2i_assets.crawl.pages import crawl_pages
from t2i_assets.crawl.pairs import extract_pairs
from t2i_assets.crawl.shards import fetch_images
from tests.unit.crawl_site import Answer, Site, image, page, serving

IMAGES = 40
PAGES = 40
IN_FLIGHT = 6
"""What a kill may cost beside what was done since the journal was committed: requests under way."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as one:
        one.routes |= {f"/{n}.png": image(n % 30, delay=0.1) for n in range(IMAGES)}
        one.routes["/7.png"] = Answer(status=404)
        links = "".join(f"<a href=/page/{n}>page {n}</a>" for n in range(0, PAGES, 2))
        one.routes["/"] = page(
            "".join(f"<img src=/{n}.png alt='picture number {n}'>" for n in range(IMAGES)) + f"<p>{links}"
        )
        for n in range(PAGES):
            one.routes[f"/page/{n}"] = page(f"page {n} <a href=/page/{(n + 7) % PAGES}>next</a>", delay=0.1)
        one.routes["/page/13"] = Answer(status=500)
        yield one


@pytest.fixture(scope="module")
def config(site: Site) -> CrawlConfig:
    return CrawlConfig(
        sources=[SiteSource(name="site", start_urls=[site.url()])],
        allow_loopback=[site.authority],
        fetch=FetchConfig(per_host_concurrency=2, retries=0),
        images=ImageConfig(size=32, samples_per_shard=8),
    )


@pytest.fixture(scope="module")
def whole(config: CrawlConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted run writes."""
    home = tmp_path_factory.mktemp("whole")
    crawl_pages(config, "demo", home / "pages", home / "ledger" / "pages.parquet")
    extract_pairs(home / "pages", home / "pairs", "demo", config)
    fetch_images(home / "pairs", config, "demo", home / "shards", home / "ledger" / "images.parquet")
    return home


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


SCRIPT = """
import os, signal, sqlite3, sys
from contextlib import closing
from pathlib import Path
from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.journal import JOURNAL
from t2i_assets.crawl.pages import crawl_pages
from t2i_assets.crawl.shards import fetch_images
stage, after = sys.argv[2], int(sys.argv[3])
home, out = map(Path, sys.argv[4:])
config = CrawlConfig.model_validate_json(sys.argv[1])

def kill(done, total, counts):
    if done < after:
        return
    with closing(sqlite3.connect(out / stage / JOURNAL / "journal.sqlite")) as seen_by_others:
        kept = seen_by_others.execute("SELECT count(*) FROM outcomes WHERE kind != 'robots'").fetchone()[0]
    if kept >= after:
        os.kill(os.getpid(), signal.SIGKILL)

if stage == "pages":
    crawl_pages(config, "demo", out / "pages", out / "ledger" / "pages.parquet", kill)
else:
    fetch_images(home / "pairs", config, "demo", out / "shards", out / "ledger" / "images.parquet", kill)
"""


def run_and_kill(stage: str, config: CrawlConfig, home: Path, out: Path, after: int) -> None:
    """Run a stage in a process of its own, which kills itself once ``after`` outcomes are on disk."""
    command = [sys.executable, "-c", SCRIPT, config.model_dump_json(), stage, str(after), str(home), str(out)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize("kill_after", [1, 14, 26])
def test_a_killed_image_stage_resumes_to_the_same_bytes(
    site: Site, config: CrawlConfig, whole: Path, tmp_path: Path, kill_after: int
) -> None:
    run_and_kill("shards", config, whole, tmp_path, kill_after)
    assert not list((tmp_path / "shards").glob("*.tar"))
    before = len(site.asked)
    funnel = fetch_images(whole / "pairs", config, "demo", tmp_path / "shards", tmp_path / "ledger" / "images.parquet")
    again = [path for path in site.asked[before:] if path.endswith(".png")]
    assert len(again) <= IMAGES - kill_after + IN_FLIGHT
    assert funnel["images_fetched"] == IMAGES - 1
    assert files(tmp_path / "shards") == files(whole / "shards")
    assert (tmp_path / "ledger" / "images.parquet").read_bytes() == (whole / "ledger" / "images.parquet").read_bytes()
    assert verify(tmp_path / "shards") == []


@pytest.mark.parametrize("kill_after", [1, 14, 26])
def test_a_killed_page_stage_resumes_to_the_same_bytes(
    site: Site, config: CrawlConfig, whole: Path, tmp_path: Path, kill_after: int
) -> None:
    run_and_kill("pages", config, whole, tmp_path, kill_after)
    assert not list((tmp_path / "pages").glob("*.parquet"))
    before = len(site.asked)
    funnel = crawl_pages(config, "demo", tmp_path / "pages", tmp_path / "ledger" / "pages.parquet")
    again = [path for path in site.asked[before:] if path.startswith("/page/")]
    assert len(again) <= PAGES + 1 - kill_after + IN_FLIGHT
    assert funnel["page_statuses"] == {"ok": PAGES, "http_5xx": 1}
    assert files(tmp_path / "pages") == files(whole / "pages")
    assert (tmp_path / "ledger" / "pages.parquet").read_bytes() == (whole / "ledger" / "pages.parquet").read_bytes()


def test_a_finished_page_stage_is_not_done_again(site: Site, config: CrawlConfig, tmp_path: Path) -> None:
    first = crawl_pages(config, "demo", tmp_path / "pages", tmp_path / "ledger.parquet")
    before = len(site.asked)
    assert crawl_pages(config, "demo", tmp_path / "pages", tmp_path / "ledger.parquet") == first
    assert len(site.asked) == before
    crawl_pages(config, "another snapshot", tmp_path / "pages", tmp_path / "ledger.parquet")
    assert len(site.asked) > before


def test_a_journal_of_other_work_is_not_used(site: Site, config: CrawlConfig, whole: Path, tmp_path: Path) -> None:
    row = {"url": site.url("/1.png"), "kind": "image", "status": "http_4xx", "bytes": 0}
    for stage in ("pages", "shards"):
        with Journal(tmp_path / stage / JOURNAL, "other work") as journal:
            journal.add(row)
            journal.add(row | {"url": site.url(), "kind": "page"})
    crawl_pages(config, "demo", tmp_path / "pages", tmp_path / "ledger" / "pages.parquet")
    fetch_images(whole / "pairs", config, "demo", tmp_path / "shards", tmp_path / "ledger" / "images.parquet")
    assert files(tmp_path / "pages") == files(whole / "pages")
    assert files(tmp_path / "shards") == files(whole / "shards")
