"""A killed image stage goes on where it stopped, and ends with the same bytes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2i_assets.corpus.schemas import LEDGER
from t2i_assets.corpus.shards import verify
from t2i_assets.corpus.tables import read_rows
from t2i_assets.crawl.config import CrawlConfig, FetchConfig, ImageConfig, SiteSource
from t2i_assets.crawl.journal import Journal
from t2i_assets.crawl.pages import crawl_pages
from t2i_assets.crawl.pairs import extract_pairs
from t2i_assets.crawl.shards import fetch_images
from tests.unit.crawl_site import Answer, Site, image, page, serving

IMAGES = 40


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as one:
        one.routes |= {f"/{n}.png": image(n % 30, delay=0.03) for n in range(IMAGES)}
        one.routes["/7.png"] = Answer(status=404)
        one.routes["/"] = page("".join(f"<img src=/{n}.png alt='picture number {n}'>" for n in range(IMAGES)))
        yield one


@pytest.fixture(scope="module")
def config(site: Site) -> CrawlConfig:
    return CrawlConfig(
        sources=[SiteSource(name="site", start_urls=[site.url()])],
        allow_loopback=[site.authority],
        fetch=FetchConfig(per_host_concurrency=2),
        images=ImageConfig(size=32, samples_per_shard=8),
    )


@pytest.fixture(scope="module")
def whole(config: CrawlConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted run writes."""
    home = tmp_path_factory.mktemp("whole")
    crawl_pages(config, "demo", home / "pages", home / "pages.parquet")
    extract_pairs(home / "pages", home / "pairs", "demo", config)
    fetch_images(home / "pairs", config, "demo", home / "shards", home / "images.parquet")
    return home


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def ledger(path: Path) -> list[dict[str, object]]:
    return read_rows(path, LEDGER)


SCRIPT = """
import sys
from pathlib import Path
from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.shards import fetch_images
home, out = map(Path, sys.argv[2:])
config = CrawlConfig.model_validate_json(sys.argv[1])
fetch_images(
    home / "pairs", config, "demo", out / "shards", out / "images.parquet",
    lambda done, total, counts: print(done, flush=True),
)
"""


@pytest.mark.parametrize("kill_after", [1, 17, 33])
def test_a_killed_run_resumes_to_the_same_bytes(
    site: Site, config: CrawlConfig, whole: Path, tmp_path: Path, kill_after: int
) -> None:
    command = [sys.executable, "-c", SCRIPT, config.model_dump_json(), str(whole), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= kill_after:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert not list((tmp_path / "shards").glob("*.tar"))
    before = len(site.asked)
    funnel = fetch_images(whole / "pairs", config, "demo", tmp_path / "shards", tmp_path / "images.parquet")
    again = [path for path in site.asked[before:] if path.endswith(".png")]
    assert len(again) <= IMAGES - kill_after
    assert funnel["images_fetched"] == IMAGES - 1
    assert files(tmp_path / "shards") == files(whole / "shards")
    assert ledger(tmp_path / "images.parquet") == ledger(whole / "images.parquet")
    assert verify(tmp_path / "shards") == []


def test_a_torn_journal_is_used_up_to_its_last_whole_line(config: CrawlConfig, whole: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    _run_until(whole, config, tmp_path / "shards", saved, images=12)
    lines = (saved / "rows.jsonl").read_bytes()
    for cut in (0, 5, len(lines) // 2, len(lines) - 1):
        out = tmp_path / f"cut{cut}"
        (out / ".journal").mkdir(parents=True)
        (out / ".journal" / "rows.jsonl").write_bytes(lines[:cut])
        (out / ".journal" / "images.bin").write_bytes((saved / "images.bin").read_bytes())
        fetch_images(whole / "pairs", config, "demo", out, tmp_path / "images.parquet")
        assert files(out) == files(whole / "shards")


def test_a_journal_of_other_work_is_not_used(site: Site, config: CrawlConfig, whole: Path, tmp_path: Path) -> None:
    with Journal(tmp_path / ".journal", "other work") as journal:
        journal.add({"url": site.url("/1.png"), "kind": "image", "status": "http_4xx", "bytes": 0})
    fetch_images(whole / "pairs", config, "demo", tmp_path, tmp_path / "images.parquet")
    (tmp_path / "images.parquet").unlink()
    assert files(tmp_path) == files(whole / "shards")


def _run_until(whole: Path, config: CrawlConfig, out: Path, saved: Path, images: int) -> None:
    """Run the stage until so many images are done, and keep what its journal then holds."""

    class Enough(Exception):
        pass

    def stop(done: int, total: int, counts: object) -> None:
        if done >= images:
            raise Enough

    with pytest.raises(BaseExceptionGroup):
        fetch_images(whole / "pairs", config, "demo", out, out.parent / "images.parquet", stop)
    saved.mkdir()
    for path in (out / ".journal").iterdir():
        (saved / path.name).write_bytes(path.read_bytes())
