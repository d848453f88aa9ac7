"""Page benchmark: this project and Scrapy with its images pipeline, in turn, on the embedded site on loopback.

Both obey robots.txt and keep to the same limits of concurrency. The headline is pages, and images, per second of the
whole process, start-up included, on both sides. Scrapy keeps the images as they came; here they are also decoded,
resized, encoded and put into shards. Prints a table and writes ``build/bench/pages.json``.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from t2i_assets.crawl.config import CrawlConfig, FetchConfig, ImageConfig, SiteSource
from t2i_assets.synthweb.config import SiteConfig

BUILD = Path("build/bench")
REQUIREMENTS = Path(__file__).with_name("scrapy-requirements.txt")
SIDES = ("ours", "scrapy")

Task = Literal["pages", "images"]


@dataclass(frozen=True)
class Run:
    """One crawl of the site."""

    wall_s: float
    cpu_s: float
    found: dict[str, list[str]]

    def rate(self, task: Task) -> float:
        return len(self.found[task]) / self.wall_s


def main() -> None:
    """Run the benchmark as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=1000, help="content pages of the site, ten images on each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--per-host", type=int, default=8, help="requests in flight, for both sides")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"options": vars(options)}
    with _server(SiteConfig(pages=options.pages, human_images=1)) as origin:
        for task in ("pages", "images"):
            runs = [_round(task, origin, number, options.per_host) for number in range(options.rounds)]
            results[task] = _report(task, runs)
    (BUILD / "pages.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"written to {BUILD / 'pages.json'}")


@contextmanager
def _server(config: SiteConfig) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.bench.site_server", config.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def _round(task: Task, origin: str, number: int, per_host: int) -> dict[str, Run]:
    """Run both sides, the one that begins changing from round to round."""
    runs = {}
    for side in SIDES[:: 1 if number % 2 == 0 else -1]:
        runs[side] = _ours(task, origin, per_host) if side == "ours" else _scrapy(task, origin, per_host)
        line = f"{len(runs[side].found[task])} {task}, {runs[side].rate(task):.0f}/s, {runs[side].cpu_s:.1f} s CPU"
        print(f"round {number + 1}: {side:>6}: {line}", flush=True)
    return runs


def _ours(task: Task, origin: str, per_host: int) -> Run:
    config = CrawlConfig(
        sources=[SiteSource(name="site", start_urls=[f"{origin}/"], max_depth=1000)],
        allow_loopback=[origin.partition("://")[2]],
        fetch=FetchConfig(per_host_concurrency=per_host, backoff_seconds=0.05),
        images=ImageConfig(workers=2),
    )
    out = _emptied("ours-pages")
    return _timed([sys.executable, "-m", "tests.bench.pages_ours", config.model_dump_json(), str(out), task], out)


def _scrapy(task: Task, origin: str, per_host: int) -> Run:
    out = _emptied("scrapy-pages")
    python = _scrapy_environment() / "bin/python"
    script = Path(__file__).with_name("pages_scrapy.py")
    limits = [str(FetchConfig().concurrency), str(per_host)]
    return _timed([str(python), str(script), f"{origin}/", str(out), task, *limits], out)


def _timed(command: list[str], out: Path) -> Run:
    """Run a command; return its wall time and the CPU time of it and its children, with what it found.

    Raises RuntimeError with the end of its output where it fails.
    """
    log = out / "command.log"
    started = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    return Run(wall, used.ru_utime + used.ru_stime, json.loads((out / "found.json").read_text()))


def _report(task: Task, runs: list[dict[str, Run]]) -> dict[str, Any]:
    """Print and return rates, CPU time, ratio with its spread, and how far both found the same."""
    result: dict[str, Any] = {"runs": []}
    for turn in runs:
        figures = {
            side: {"wall_s": run.wall_s, "cpu_s": run.cpu_s, "found": len(run.found[task]), "per_s": run.rate(task)}
            for side, run in turn.items()
        }
        result["runs"].append(figures)
    print(f"\n{task:>8} | per second | CPU ms each | found")
    for side in SIDES:
        rate = statistics.median(turn[side].rate(task) for turn in runs)
        cpu = statistics.median(1000 * turn[side].cpu_s / len(turn[side].found[task]) for turn in runs)
        print(f"{side:>8} | {rate:10.0f} | {cpu:11.2f} | {len(runs[-1][side].found[task])}")
        result[side] = {"per_s": rate, "cpu_ms": cpu}
    for name, ratios in (
        ("rate", [turn["ours"].rate(task) / turn["scrapy"].rate(task) for turn in runs]),
        ("cpu", [_cpu_each(turn["scrapy"], task) / _cpu_each(turn["ours"], task) for turn in runs]),
    ):
        result[f"{name}_ratios"], result[f"{name}_ratio"] = ratios, statistics.median(ratios)
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"ratio of {name}, ours to Scrapy's: {statistics.median(ratios):.2f} ({spread})")
    ours, scrapys = (set(runs[-1][side].found[task]) for side in SIDES)
    result["same"], result["ours_alone"], result["scrapy_alone"] = (
        len(ours & scrapys), sorted(ours - scrapys), sorted(scrapys - ours)
    )  # fmt: skip
    print(
        f"found by both {len(ours & scrapys)}, ours alone {len(ours - scrapys)}, Scrapy alone {len(scrapys - ours)}\n"
    )
    return result


def _cpu_each(run: Run, task: Task) -> float:
    return run.cpu_s / len(run.found[task])


def _scrapy_environment() -> Path:
    """Return the environment of Scrapy, made where it is not there or its requirements changed."""
    environment = BUILD.absolute() / "scrapy-venv"
    installed = environment / "requirements.txt"
    if not installed.exists() or installed.read_bytes() != REQUIREMENTS.read_bytes():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.check_call([uv, "venv", "--clear", "--quiet", "--python", sys.executable, str(environment)])
        python = str(environment / "bin/python")
        subprocess.check_call([uv, "pip", "install", "--quiet", "--python", python, "-r", str(REQUIREMENTS)])
        installed.write_bytes(REQUIREMENTS.read_bytes())
    return environment


def _emptied(name: str) -> Path:
    directory = BUILD.absolute() / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


if __name__ == "__main__":
    main()
