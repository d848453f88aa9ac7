"""Ingest benchmark: this project and img2dataset, in turn, on the same photos from the same server on loopback.

256 pixel centre crop, JPEG quality 95, two processes each. The headline is images per second of the whole process,
start-up included, on both sides. Prints a table and writes ``build/bench/ingest.json``.
"""

import argparse
import contextlib
import json
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import trustme

from t2i_assets.crawl.config import CrawlConfig, FetchConfig, ImageConfig, UrlListSource
from tests.bench.ingest_agreement import agreement
from tests.bench.photo_server import FIGURES
from tests.bench.photos import photos
from tests.bench.process_tree import PeakMemory

BUILD = Path("build/bench")
REQUIREMENTS = Path(__file__).with_name("img2dataset-requirements.txt")
IMAGES = ImageConfig(size=256, resize="center_crop", quality=95, subsampling="420", workers=2)
WANTED = {"http": 2.5, "https": 5.0}
_CORES = 2
_SHARD = 500
"""Images in one of img2dataset's shards: six for 3,000 images, so that its two processes have equal shares."""


@dataclass(frozen=True)
class Run:
    """One side's run over one list."""

    side: str
    images: int
    wall_s: float
    steady_s: float
    cpu_s: float
    server_cpu_s: float
    connections: int
    figures: dict[str, float]

    @property
    def rate(self) -> float:
        return self.images / self.wall_s


def main() -> None:
    """Run the benchmark as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scheme", choices=["http", "https", "both"], default="both")
    parser.add_argument("--memory", action="store_true", help="measure our memory at 3,000 and 30,000 images instead")
    parser.add_argument("--ours-only", action="store_true", help="leave img2dataset out, for tuning")
    parser.add_argument("--threads", type=int, default=32, help="threads of each of img2dataset's processes")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    directory = photos(BUILD, options.images)
    sizes = [path.stat().st_size for path in directory.glob("*.jpg")]
    print(f"{len(sizes)} photos, {statistics.mean(sizes) / 1024:.1f} KiB in the mean")
    schemes = ["http", "https"] if options.scheme == "both" else [options.scheme]
    results: dict[str, Any] = {"images": len(sizes), "mean_bytes": statistics.mean(sizes)}
    with _server(directory) as origins:
        if options.memory:
            results["memory"] = _memory(origins["http"], options.images)
        else:
            results["floor_cpu_ms"] = _floor(directory)
            for scheme in schemes:
                results[scheme] = _compare(origins[scheme], directory, options, results["floor_cpu_ms"], WANTED[scheme])
    name = "ingest-memory.json" if options.memory else "ingest.json"
    (BUILD / name).write_text(json.dumps(results, indent=1) + "\n")
    print(f"written to {BUILD / name}")


@contextlib.contextmanager
def _server(directory: Path) -> Iterator[dict[str, str]]:
    """Run the photo server; yield its origins by scheme."""
    authority = trustme.CA()
    certificate = BUILD / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(_authority())
    # What a system trusts weighs on every TLS context that is made: img2dataset makes one for each image.
    system = ssl.get_default_verify_paths().cafile
    trusted = (Path(system).read_text() if system else "") + _authority().read_text()
    _trusted().write_text(trusted)
    command = [sys.executable, "-m", "tests.bench.photo_server", str(directory), str(certificate)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        ports = json.loads(server.stdout.readline())
        yield {scheme: f"{scheme}://127.0.0.1:{port}" for scheme, port in ports.items()}
    finally:
        server.terminate()
        server.wait()


def _authority() -> Path:
    return BUILD.absolute() / "authority.pem"


def _trusted() -> Path:
    return BUILD.absolute() / "trusted.pem"


def _compare(
    origin: str, directory: Path, options: argparse.Namespace, floor_cpu_ms: float, wanted: float
) -> dict[str, Any]:
    """Run both sides in alternating order; print and return what was measured."""
    urls = [f"{origin}/{path.name}" for path in sorted(directory.glob("*.jpg"))]
    list_file = _write_list(urls)
    runs: list[dict[str, Run]] = []
    for number in range(options.rounds):
        sides = ["ours"] if options.ours_only else ["ours", "img2dataset"][:: 1 if number % 2 == 0 else -1]
        runs.append({})
        for side in sides:
            run = _ours(origin, list_file) if side == "ours" else _img2dataset(origin, list_file, options.threads)
            if run.images != len(urls):
                raise RuntimeError(f"{side} stored {run.images} of {len(urls)} images")
            runs[-1][side] = run
            print(_line(run), flush=True)
    result: dict[str, Any] = {"runs": [{side: asdict(run) for side, run in turn.items()} for turn in runs]}
    ours = statistics.median(turn["ours"].rate for turn in runs)
    floor_rate = 1000 * _CORES / floor_cpu_ms
    result |= {"ours_per_s": ours, "share_of_floor": ours / floor_rate}
    print(
        f"floor of decode, resize and encode: {floor_cpu_ms:.2f} ms CPU, {floor_rate:.0f} images/s on {_CORES} cores;"
    )
    print(f"  ours reaches {ours / floor_rate:.0%} of it, start-up, network, journal and shards included")
    if not options.ours_only:
        result |= _ratios(runs, wanted) | {
            "agreement": agreement(BUILD / "ours/shards", BUILD / "img2dataset/out", directory)
        }
        for kind, found in result["agreement"].items():
            print(f"agreement, {kind}: " + ", ".join(f"{name} {value:.2f}" for name, value in found.items()))
    return result


def _ratios(runs: list[dict[str, Run]], wanted: float) -> dict[str, Any]:
    whole = [turn["img2dataset"].wall_s / turn["ours"].wall_s for turn in runs]
    steady = [turn["img2dataset"].steady_s / turn["ours"].steady_s for turn in runs]
    verdict = "reached" if statistics.median(whole) >= wanted else "MISSED"
    print(f"ratio, whole process: {_spread(whole)} (wanted {wanted:g}: {verdict}); without start-up: {_spread(steady)}")
    return {"ratios": whole, "ratio": statistics.median(whole), "steady_ratios": steady, "wanted": wanted}


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _line(run: Run) -> str:
    def per_image(seconds: float) -> str:
        return f"{1000 * seconds / run.images:.2f} ms"

    parts = {"cpu": run.cpu_s, "server cpu": run.server_cpu_s}
    parts |= {name.removesuffix("_s").replace("_", " "): s for name, s in run.figures.items() if name.endswith("cpu_s")}
    told = ", ".join(f"{name} {per_image(seconds)}" for name, seconds in parts.items())
    start_up = f"{run.wall_s:.2f} s, {run.steady_s:.2f} s of it steady"
    return f"{run.side:>12}: {run.rate:6.0f} images/s ({start_up}); per image {told}; {run.connections} connections"


def _ours(origin: str, list_file: Path, sampler: list[int] | None = None) -> Run:
    """Run our side; ``sampler`` gets the peak memory in bytes appended."""
    out = _emptied("ours")
    config = CrawlConfig(
        sources=[UrlListSource(name="list", paths=[str(list_file)])],
        allow_loopback=[origin.partition("://")[2]],
        fetch=FetchConfig(per_host_concurrency=32, ca_file=str(_authority())),
        images=IMAGES,
    )
    (out / "config.json").write_text(config.model_dump_json())
    command = [sys.executable, "-m", "tests.bench.ingest_ours", str(out)]
    wall, cpu, server = _timed(command, origin, dict(os.environ), sampler)
    figures = json.loads((out / "figures.json").read_text())
    images = figures.pop("images")
    return Run(
        "ours", images, wall, figures["fetch_images_s"], cpu, server["cpu_s"], int(server["connections"]), figures
    )


def _img2dataset(origin: str, list_file: Path, threads: int) -> Run:
    out = _emptied("img2dataset")
    command = [str(_img2dataset_environment() / "bin/img2dataset")]
    settings = {
        "url_list": list_file, "input_format": "parquet", "url_col": "url", "caption_col": "text",
        "output_folder": out / "out", "output_format": "webdataset", "processes_count": IMAGES.workers,
        "thread_count": threads, "image_size": IMAGES.size, "resize_mode": "center_crop",
        "encode_format": "jpg", "encode_quality": IMAGES.quality, "number_sample_per_shard": _SHARD,
        "enable_wandb": False,
    }  # fmt: skip
    command += [f"--{name}={value}" for name, value in settings.items()]
    # albumentations asks the network for updates when it is imported, unless it is told not to
    environment = os.environ | {"SSL_CERT_FILE": str(_trusted()), "NO_ALBUMENTATIONS_UPDATE": "1"}
    wall, cpu, server = _timed(command, origin, environment)
    stats = [json.loads(path.read_text()) for path in sorted((out / "out").glob("*_stats.json"))]
    images = sum(shard["successes"] for shard in stats)
    steady = max(shard["end_time"] for shard in stats) - min(shard["start_time"] for shard in stats)
    return Run("img2dataset", images, wall, steady, cpu, server["cpu_s"], int(server["connections"]), {})


def _timed(
    command: list[str], origin: str, environment: dict[str, str], sampler: list[int] | None = None
) -> tuple[float, float, dict[str, float]]:
    """Return the seconds of wall and CPU time that a command took with all its children, and what the server did.

    Raises RuntimeError with the end of its output where it fails.
    """
    log = BUILD / "command.log"
    before = _server_figures(origin)
    started = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        with PeakMemory(process.pid) if sampler is not None else contextlib.nullcontext() as memory:
            _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    if sampler is not None and memory is not None:
        sampler.append(memory.peak_bytes)
    after = _server_figures(origin)
    return wall, used.ru_utime + used.ru_stime, {name: after[name] - before[name] for name in after}


def _server_figures(origin: str) -> dict[str, float]:
    context = ssl.create_default_context(cafile=str(_authority()))
    with urllib.request.urlopen(origin + FIGURES, context=context) as response:
        figures: dict[str, float] = json.load(response)
    return figures


def _memory(origin: str, images: int) -> dict[str, int]:
    """Return our peak memory in bytes at once and ten times as many images, by number of images."""
    peaks: dict[str, int] = {}
    for count in (images, 10 * images):
        urls = [f"{origin}/{number % images:05d}.jpg?n={number}" for number in range(count)]
        sampled: list[int] = []
        run = _ours(origin, _write_list(urls), sampled)
        if run.images != count:
            raise RuntimeError(f"{run.images} of {count} images were stored")
        peaks[str(count)] = sampled[0]
        print(f"{count} images: {sampled[0] / 2**20:.0f} MiB at most, client and workers; {run.rate:.0f} images/s")
    return peaks


def _write_list(urls: list[str]) -> Path:
    path = BUILD.absolute() / "list.parquet"
    texts = [f"A photo of scene number {number}" for number in range(len(urls))]
    pq.write_table(pa.table({"url": urls, "text": texts}), path)
    return path


def _floor(directory: Path) -> float:
    command = [sys.executable, "-m", "tests.bench.ingest_floor", str(directory), IMAGES.model_dump_json()]
    figures: dict[str, float] = json.loads(
        subprocess.check_output(command, env=os.environ | {"OMP_NUM_THREADS": "1"})  # as in the children
    )
    return figures["cpu_ms"]


def _img2dataset_environment() -> Path:
    """Return the environment of img2dataset, made where it is not there or its requirements changed."""
    environment = BUILD.absolute() / "img2dataset-venv"
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
