"""Kill -9 at twenty random moments of the ingest, and between its stages: the end is the same, byte for byte."""

import multiprocessing
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from t2i_assets.corpus.shards import verify
from t2i_assets.crawl.config import CrawlConfig, FetchConfig, ImageConfig, SiteSource
from tests.unit.crawl_site import Answer, Site, image, page, serving
from tests.unit.ingest_run import BOUNDARIES, SNAPSHOT, ingest

PAGES, IMAGES_PER_PAGE = 24, 3
KILLS, KILLS_PER_HOME = 20, 4
STAGES_HIT = {0, 2}
"""How many stages were through when a kill came: a busy machine needs more kills to meet both."""
MOST_HOMES = 20
SEED = 5
TIMES = ("manifest.json", "requests")
"""What tells when the work was done: the one thing that two runs do not share."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site that takes its time, loses its temper once, and shows some pictures twice."""
    with serving() as one:
        for n in range(PAGES):
            shown = [(n * IMAGES_PER_PAGE + i) % 60 for i in range(IMAGES_PER_PAGE)]
            pictures = "".join(f"<img src=/{i}.png alt='picture {i} on page {n}'>" for i in shown)
            links = "".join(f"<a href=/page/{m}>page {m}</a>" for m in (2 * n + 1, 2 * n + 2) if m < PAGES)
            one.routes[f"/page/{n}" if n else "/"] = page(f"{pictures}{links}<a href=/>home</a>", delay=0.03)
        one.routes |= {f"/{i}.png": image(i % 50, delay=0.03) for i in range(60)}
        one.routes["/4.png"] = lambda asked, _: image(4) if asked else Answer(status=503)
        one.routes["/5.png"] = Answer(status=404)
        one.routes["/page/5"] = Answer(status=301, headers=(("Location", "/page/1"),))
        yield one


@pytest.fixture(scope="module")
def config(site: Site) -> str:
    return CrawlConfig(
        sources=[
            SiteSource(name="site", start_urls=[site.url()]),
            SiteSource(name="part", start_urls=[site.url("/page/2")], max_depth=1),
        ],
        allow_loopback=[site.authority],
        fetch=FetchConfig(per_host_concurrency=3, backoff_seconds=0.05),
        images=ImageConfig(size=32, samples_per_shard=10, workers=1),
    ).model_dump_json()


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Where processes come from that have everything imported when they begin."""
    return multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module")
def whole(config: str, processes: ForkServerContext, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """What an uninterrupted run writes, and how long it takes."""
    assert run_until(processes, tmp_path_factory.mktemp("warm"), config, None) == 0
    home = tmp_path_factory.mktemp("whole")
    began = time.monotonic()
    assert run_until(processes, home, config, None) == 0
    return home, time.monotonic() - began


def run_until(
    processes: ForkServerContext, home: Path, config: str, seconds: float | None, die_at: str | None = None
) -> int | None:
    """Run the ingest, kill it after ``seconds``, and return how it ended."""
    process = processes.Process(target=ingest, args=(home, config, die_at))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode


def written(home: Path) -> dict[str, bytes]:
    """Return every published file by its name; what is hidden is no artifact."""
    names = {path: path.relative_to(home).parts for path in home.rglob("*") if path.is_file()}
    return {
        "/".join(parts): path.read_bytes()
        for path, parts in names.items()
        if not set(parts) & set(TIMES) and not parts[-1].endswith(".lock")
    }


def published(home: Path) -> int:
    """Return how many stages are through."""
    return len(list(home.glob(f"*/{SNAPSHOT}/manifest.json")))


def assert_same(home: Path, whole: Path) -> None:
    found, wanted = written(home), written(whole)
    assert sorted(found) == sorted(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []
    assert verify(home / "shards" / SNAPSHOT) == []


def test_twenty_kills_at_random_moments_change_nothing(
    config: str, processes: ForkServerContext, whole: tuple[Path, float], tmp_path: Path
) -> None:
    expected, duration = whole
    assert len([name for name in written(expected) if name.endswith(".tar")]) > 4
    moments = random.Random(SEED)
    killed: list[int] = []
    homes = 0
    while len(killed) < KILLS or (not set(killed) >= STAGES_HIT and homes < MOST_HOMES):
        home = tmp_path / f"home{homes}"
        homes += 1
        cuts = sorted(moments.uniform(0, duration) for _ in range(KILLS_PER_HOME))
        for before, cut in zip([0.0, *cuts], cuts, strict=False):
            ended = run_until(processes, home, config, cut - before + moments.uniform(0.02, 0.5))
            if ended == 0:
                break
            assert ended == -signal.SIGKILL
            killed.append(published(home))
        assert run_until(processes, home, config, None) == 0
        assert_same(home, expected)
    assert set(killed) >= STAGES_HIT, "some kills hit the pages, some the images"


def test_kills_between_stages_change_nothing(
    site: Site, config: str, processes: ForkServerContext, whole: tuple[Path, float], tmp_path: Path
) -> None:
    for boundary in BOUNDARIES:
        assert run_until(processes, tmp_path, config, None, boundary) == -signal.SIGKILL
    before = len(site.asked)
    assert run_until(processes, tmp_path, config, None) == 0
    assert len(site.asked) == before
    assert_same(tmp_path, whole[0])
