"""All that a server can do to a crawler: the crawl ends on time, within its memory, with a row for each URL."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2i_assets.corpus.schemas import LEDGER, PAIRS
from t2i_assets.corpus.shards import read_samples, verify
from t2i_assets.corpus.tables import read_rows
from t2i_assets.crawl.config import CrawlConfig, FetchConfig, ImageConfig, SiteSource
from tests.unit.hostile_site import IMAGES, PAGES, HostileSite, hostile_site

FETCH = FetchConfig(
    total_seconds=4, connect_seconds=2, dns_seconds=2, dns_ttl_seconds=0, retries=1, backoff_seconds=0.05
)
START_SECONDS = 60
"""For two interpreters, their imports and the worker processes, on a machine that has other work."""
MAX_BYTES = 600 << 20
REBINDING = "rebinding.test"
MIXED = "mixed.test"

CRAWL = """
import json, resource, socket, sys, time
from pathlib import Path
from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.pages import crawl_pages
from t2i_assets.crawl.pairs import extract_pairs
from t2i_assets.crawl.shards import fetch_images

# The DNS of an attacker: a public address (of a block that nobody holds) at first, this machine from then on.
asked, resolve = [], socket.getaddrinfo
def attacked(host, port, *args, **more):
    if host not in ("rebinding.test", "mixed.test"):
        return resolve(host, port, *args, **more)
    asked.append(host)
    public = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2d00::1", 0, 0, 0))
    private = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    if host == "mixed.test":
        return [public, private]
    return [private] if asked.count(host) > 1 else [public]
socket.getaddrinfo = attacked

home = Path(sys.argv[2])
config = CrawlConfig.model_validate_json(sys.argv[1])
started = time.monotonic()
crawl_pages(config, "demo", home / "pages", home / "ledger" / "pages.parquet")
extract_pairs(home / "pages", home / "pairs", "demo", config)
fetch_images(home / "pairs", config, "demo", home / "shards", home / "ledger" / "images.parquet")
# Not RUSAGE_SELF: its peak is inherited from whoever started this process, a test runner full of models.
own = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
peak = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(json.dumps({"seconds": time.monotonic() - started, "bytes": peak * 1024, "resolved": asked}))
"""


class Crawled:
    """What the three stages, run in a process of their own, left behind."""

    def __init__(self, site: HostileSite, home: Path) -> None:
        self.port = site.urls["index"].rstrip("/").rpartition(":")[2]
        attacks = [f"http://{host}:{self.port}/" for host in (REBINDING, MIXED)]
        images = [*(site.urls[name] for name in IMAGES), *attacks]
        site.index = "".join(f"<img src='{url}' alt='a cat on a mat {url}'>" for url in images).encode()
        config = CrawlConfig(
            sources=[SiteSource(name="hostile", start_urls=[site.urls["index"], *(site.urls[name] for name in PAGES)])],
            allow_loopback=[url.split("/")[2] for url in site.urls.values()],
            contact_url="https://us.test/bot",
            fetch=FETCH,
            images=ImageConfig(workers=1),
        )
        done = subprocess.run(
            [sys.executable, "-c", CRAWL, config.model_dump_json(), str(home)],
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        self.figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        self.rows = {(row["kind"], row["url"]): row for row in read_rows(home / "ledger", LEDGER)}
        self.pairs = read_rows(home / "pairs", PAIRS)
        self.home = home


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HostileSite, Crawled]]:
    with hostile_site() as site:
        yield site, Crawled(site, tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize(
    ("kind", "name", "statuses"),
    [("page", name, statuses) for name, (_, statuses) in PAGES.items()]
    + [("image", name, statuses) for name, (_, statuses) in IMAGES.items()],
)
def test_every_disease_has_its_name(crawled: tuple[HostileSite, Crawled], kind: str, name: str, statuses: str) -> None:
    site, result = crawled
    row = result.rows[kind, site.urls[name]]
    assert row["status"] in statuses.split(), row["detail"]
    assert row["status"] == "ok" or row["detail"]


def test_the_crawl_ends_on_time(crawled: tuple[HostileSite, Crawled]) -> None:
    """Pages and images are stages; in each a host is asked for robots.txt, tdmrep.json and one URL, tried twice."""
    waits = 2 * FETCH.backoff_seconds * (FETCH.retries + 1)
    assert crawled[1].figures["seconds"] < 2 * 3 * (FETCH.total_seconds + waits) + START_SECONDS


def test_memory_stays_bounded(crawled: tuple[HostileSite, Crawled]) -> None:
    assert crawled[1].figures["bytes"] < MAX_BYTES


def test_redirects_are_not_followed_to_the_end(crawled: tuple[HostileSite, Crawled]) -> None:
    assert crawled[0].asked["10,000 redirects"] == FETCH.redirects + 1


@pytest.mark.parametrize("host", [REBINDING, MIXED])
def test_a_name_that_leads_to_this_machine_is_not_asked(crawled: tuple[HostileSite, Crawled], host: str) -> None:
    site, result = crawled
    row = result.rows["image", f"http://{host}:{result.port}/"]
    assert row["status"] == "ssrf_blocked", row["detail"]
    assert "127.0.0.1" in row["detail"]
    assert host in result.figures["resolved"]
    assert site.asked["index"] == 1


def test_what_is_well_is_kept(crawled: tuple[HostileSite, Crawled]) -> None:
    site, result = crawled
    assert verify(result.home / "shards") == []
    samples = read_samples(result.home / "shards").to_pylist()
    assert [sample["image_url"] for sample in samples] == [site.urls["a picture and a good one"]]
    assert {pair["page_url"] for pair in result.pairs} >= {site.urls["index"], site.urls["invalid UTF-8"]}
