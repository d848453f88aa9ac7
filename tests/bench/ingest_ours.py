"""Our side of the ingest benchmark, in a process of its own: from the list of URLs to shards."""

import time

_STARTED = time.perf_counter()

import json  # noqa: E402 - the imports are part of what is timed
import resource  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from t2i_assets.crawl.config import CrawlConfig  # noqa: E402
from t2i_assets.crawl.pairs import extract_pairs  # noqa: E402
from t2i_assets.crawl.shards import fetch_images  # noqa: E402

SNAPSHOT = "bench"


def ingest(config: CrawlConfig, out: Path) -> dict[str, float]:
    """Make pairs of the list and shards of the pairs; return seconds of wall and CPU time."""
    imported = time.perf_counter()
    (out / "pages").mkdir()
    extract_pairs(out / "pages", out / "pairs", SNAPSHOT, config)
    paired = time.perf_counter()
    cpu_before = _cpu(resource.RUSAGE_SELF), _cpu(resource.RUSAGE_CHILDREN)
    funnel = fetch_images(out / "pairs", config, SNAPSHOT, out / "shards", out / "ledger.parquet")
    return {
        "imports_s": imported - _STARTED,
        "pairs_s": paired - imported,
        "fetch_images_s": time.perf_counter() - paired,
        "client_cpu_s": _cpu(resource.RUSAGE_SELF) - cpu_before[0],
        "workers_cpu_s": _cpu(resource.RUSAGE_CHILDREN) - cpu_before[1],
        "images": funnel["samples"],
    }


def _cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    crawl = CrawlConfig.model_validate_json((directory / "config.json").read_text())
    (directory / "figures.json").write_text(json.dumps(ingest(crawl, directory)))
