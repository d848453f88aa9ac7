"""Evaluation benchmark: the Frechet distance of 10,000 pictures, end to end, and pytorch-fid, in turn.

Both start from the same JPEG files and end with the same number, by the same network of random weights with 2048
features, against the same stored statistics; ours stores the features on the way, pytorch-fid holds them in memory.
Each side runs in a process of its own that is warm before the clock starts. Then the root in the distance alone against
scipy's ``sqrtm`` of the same covariances, and our peak memory at a quarter of the pictures and at all of them: of that
way, and of the job that tells a distance with its interval from stored features.

The network is light and the pictures are as large as its input, so that decoding, statistics and the root weigh as they
do beside a GPU: the ratio says nothing of a network that takes most of the time. FID's own Inception, ours folded and
pytorch-fid's, is timed on a few pictures and shown beside it: on a CPU it is most of an FID's time. The job that tells
KID besides is shown, not judged: it holds a float32 row a picture, and so does every distance but the Frechet one.

Prints a table and writes ``build/bench/evaluate.json``; ends with an error where a ratio, the agreement or the memory
is missed.
"""

import argparse
import io
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy.linalg
import torch
from PIL import Image
from pytorch_fid import fid_score, inception
from torch import Tensor, nn

from evaluation import frechet
from evaluation.config import Distance, FrechetConfig
from evaluation.distances import Moments, frechet_distance
from evaluation.encode import encode_shard
from evaluation.features.backends import NetworkEncoder
from evaluation.features.config import FeaturesConfig
from evaluation.features.folded_inception import FoldedInception
from evaluation.features.inception import FEATURES, SIDE, InceptionFid, load_inception
from evaluation.features.preprocessing import Preprocessing
from evaluation.features.store import ABOUT, About, FeatureSet
from t2i_assets.corpus.schemas import GENERATED, PROMPTS
from t2i_assets.corpus.shards import TarWriter
from t2i_assets.corpus.tables import write_table
from training.job import Job
from training.report import Reporter

Result = TypeVar("Result")
BUILD = Path("build/bench/evaluate")
PICTURE_SIDE, PER_SHARD, SCENES = 128, 1000, 500
BATCH = 50  # pytorch-fid's default
WANTED_RATIO, WANTED_ROOT_RATIO, WANTED_AGREEMENT, WANTED_GROWTH_MB = 2.0, 5.0, 1e-5, 48.0


@dataclass(frozen=True)
class Run:
    """One side's distance of one set of pictures."""

    distance: float
    wall_s: float
    cpu_s: float
    peak_mb: float
    pictures: int

    @property
    def rate(self) -> float:
        return self.pictures / self.wall_s


class LightNetwork(nn.Module):
    """Pictures [N, 3, S, S] in 0..1 to 2048 features by three convolutions, [N, d, 1, 1] as pytorch-fid wants them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        widths = (3, 16, 32, 64)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.project = nn.Linear(4 * 4 * widths[-1], FEATURES)
        for layer in (*self.convs, self.project):  # no unit is dead, as hardly one of Inception's is
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=0.1)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        x = pictures
        for conv in self.convs:
            x = torch.relu(conv(x))
        x = torch.relu(self.project(nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)))
        return [x[:, :, None, None]]


class Flat(nn.Module):
    """The same network with features [N, d]."""

    def __init__(self) -> None:
        super().__init__()
        self.network = LightNetwork()

    def forward(self, pictures: Tensor) -> Tensor:
        return self.network(pictures)[0].flatten(1)


def main() -> None:
    """Run the benchmark as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of torch and of decoders")
    parser.add_argument(
        "--inception-images", type=int, default=32, help="pictures for Inception alone; 0 leaves it out"
    )
    parser.add_argument("--blas-threads", type=int, default=1, help="threads of numpy and scipy; a job's default")
    options = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = str(options.blas_threads)  # of the processes that measure
    shutil.rmtree(BUILD, ignore_errors=True)
    reference = write_pictures(options.images, options.threads)
    results: dict[str, Any] = {"options": vars(options)}
    results["end_to_end"] = compare(options, reference)
    results["root"] = in_own_process(compare_roots, options.rounds, reference)
    results["memory"] = measure_memory(options, reference)
    if options.inception_images:
        results["inception"] = compare_inception(options.rounds, options.inception_images, options.threads)
    BUILD.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"written to {BUILD.with_suffix('.json')}")
    shutil.rmtree(BUILD)
    sys.exit(0 if all(results[part]["reached"] for part in ("end_to_end", "root", "memory")) else 1)


def write_pictures(count: int, threads: int) -> Path:
    """Write pictures as files and as shards, and the statistics of as many others; return where these are."""
    rng = np.random.default_rng(0)
    (BUILD / "files").mkdir(parents=True)
    for name, number in (("shards", count), ("real", max(count // 2, FEATURES + 500))):
        (BUILD / name).mkdir()
        for shard in range(-(-number // PER_SHARD)):
            tar, rows = TarWriter(BUILD / name / f"{shard:05d}.tar"), []
            for place in range(shard * PER_SHARD, min(number, (shard + 1) * PER_SHARD)):
                data = _picture(rng, blur=name == "real")
                offset = tar.add(f"{place}.jpg", data)
                rows.append({"key": f"{place:06d}", "prompt_id": f"p{place % SCENES}", "seed": place // SCENES,
                             "model": "m", "image_offset": offset, "image_bytes": len(data)})  # fmt: skip
                if name == "shards":
                    (BUILD / "files" / f"{place:06d}.jpg").write_bytes(data)
            tar.close()
            write_table(BUILD / name / f"{shard:05d}.parquet", rows, GENERATED)
    moments = moments_of(BUILD / "real", BUILD / "real_features", max(count // 2, FEATURES + 500), threads)
    np.savez(BUILD / "reference.npz", mu=moments.mean, sigma=moments.covariance, n=moments.n)
    return BUILD / "reference.npz"


def moments_of(shards: Path, features: Path, count: int, threads: int) -> Moments:
    """Compute, store and sum up the features of the first ``count`` pictures, as the job does."""
    told = Preprocessing(side=PICTURE_SIDE, resize="bytes", fit="stretch")
    encoder = NetworkEncoder("light", Flat(), told, "random", FEATURES, torch.device("cpu"))
    features.mkdir(parents=True, exist_ok=True)
    config = FeaturesConfig(batch_size=BATCH, workers=threads)
    for table in sorted(shards.glob("*.parquet"))[: -(-count // PER_SHARD)]:
        encode_shard(encoder, table, features / table.name, config, None)
    about = About(digest="d", dataset="d", encoder="light", weights="random", preprocessing=told, dimension=FEATURES)
    (features / ABOUT).write_text(about.model_dump_json())
    return Moments.of_blocks(FeatureSet(features).blocks(), FEATURES)


def ours(reference: Path, count: int, threads: int) -> float:
    """Return our distance."""
    output = BUILD / f"features-{os.getpid()}"
    moments = moments_of(BUILD / "shards", output, count, threads)
    shutil.rmtree(output)
    return frechet_distance(moments, stored(reference))


def theirs(reference: Path, count: int, threads: int) -> float:
    """Return pytorch-fid's distance, with as many processes that decode as it takes by default."""
    files = sorted((BUILD / "files").glob("*.jpg"))[:count]
    network = LightNetwork()
    mean, covariance = fid_score.calculate_activation_statistics(
        files, network, BATCH, FEATURES, torch.device("cpu"), min(threads, 8)
    )
    real = np.load(reference)
    return float(fid_score.calculate_frechet_distance(mean, covariance, real["mu"], real["sigma"]))


def stored(reference: Path) -> Moments:
    """Return the stored statistics."""
    told = np.load(reference)
    n = float(told["n"])
    return Moments(n, told["mu"], told["sigma"] * (n - 1))


SIDES: dict[str, Callable[[Path, int, int], float]] = {"ours": ours, "pytorch-fid": theirs}


def measure(side: str, reference: Path, count: int, threads: int) -> Run:
    """Run one side in a process of its own."""
    return in_own_process(_measured, side, reference, count, threads)


def in_own_process(work: Callable[..., Result], *told: Any) -> Result:
    """Do ``work`` in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *told).result()


def _measured(side: str, reference: Path, count: int, threads: int) -> Run:
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # pytorch-fid asks sqrtm for its old form
    torch.set_num_threads(threads)
    LightNetwork()(torch.zeros(2, 3, PICTURE_SIDE, PICTURE_SIDE))
    scipy.linalg.sqrtm(np.eye(4))
    wall, cpu = time.perf_counter(), _cpu()
    distance = SIDES[side](reference, count, threads)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Run(distance, time.perf_counter() - wall, _cpu() - cpu, peak, count)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def compare(options: argparse.Namespace, reference: Path) -> dict[str, Any]:
    """Run both sides in alternating order; print and return what was measured."""
    print(f"Frechet distance of {options.images} pictures of {PICTURE_SIDE} px, {FEATURES} features, end to end")
    runs: list[dict[str, Run]] = []
    for number in range(options.rounds):
        order = list(SIDES)[:: 1 if number % 2 == 0 else -1]
        runs.append({side: measure(side, reference, options.images, options.threads) for side in order})
        told = ", ".join(
            f"{side} {run.rate:.0f}/s ({run.wall_s:.1f} s, {run.cpu_s:.1f} s CPU, {run.peak_mb:.0f} MB)"
            for side, run in runs[-1].items()
        )
        print(f"  round {number + 1}: {told}", flush=True)
    ratios = [turn["pytorch-fid"].wall_s / turn["ours"].wall_s for turn in runs]
    cpu_ratios = [turn["pytorch-fid"].cpu_s / turn["ours"].cpu_s for turn in runs]
    apart = max(abs(turn["ours"].distance / turn["pytorch-fid"].distance - 1) for turn in runs)
    reached = statistics.median(ratios) >= WANTED_RATIO and apart <= WANTED_AGREEMENT
    print(f"  ratio {_spread(ratios)}, wanted {WANTED_RATIO:g}; of CPU time {_spread(cpu_ratios)}")
    print(f"  distances differ by {apart:.1e}, wanted {WANTED_AGREEMENT:g}: {'reached' if reached else 'MISSED'}")
    return {
        "runs": [{side: asdict(run) for side, run in turn.items()} for turn in runs],
        "pictures_per_s": {side: statistics.median(turn[side].rate for turn in runs) for side in SIDES},
        "ratios": ratios,
        "ratio": statistics.median(ratios),
        "cpu_ratios": cpu_ratios,
        "disagreement": apart,
        "reached": reached,
    }


def compare_roots(rounds: int, reference: Path) -> dict[str, Any]:
    """Time the distance from two covariances, ours and by scipy's root of their product, which pytorch-fid takes."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    real = stored(reference)
    rng = np.random.default_rng(1)
    made = Moments.of(
        rng.multivariate_normal(real.mean, real.covariance + 1e-6 * np.eye(FEATURES), 2 * FEATURES, method="cholesky")
    )
    print(f"Distance from two covariances of {FEATURES} features")
    seconds: list[dict[str, float]] = []
    values: dict[str, float] = {}

    def by_us() -> float:
        return frechet_distance(Moments(made.n, made.mean, made.scatter), Moments(real.n, real.mean, real.scatter))

    def by_scipy() -> float:
        root = scipy.linalg.sqrtm(made.covariance @ real.covariance).real
        difference = made.mean - real.mean
        return float(difference @ difference + np.trace(made.covariance + real.covariance - 2 * root))

    sides = {"ours": by_us, "scipy": by_scipy}
    for number in range(rounds):
        seconds.append({})
        for side in list(sides)[:: 1 if number % 2 == 0 else -1]:
            started = time.perf_counter()
            values[side] = sides[side]()
            seconds[-1][side] = time.perf_counter() - started
        print(
            f"  round {number + 1}: " + ", ".join(f"{side} {took:.2f} s" for side, took in seconds[-1].items()),
            flush=True,
        )
    ratios = [turn["scipy"] / turn["ours"] for turn in seconds]
    apart = abs(values["ours"] / values["scipy"] - 1)
    reached = statistics.median(ratios) >= WANTED_ROOT_RATIO and apart <= WANTED_AGREEMENT
    print(f"  ratio {_spread(ratios)}, wanted {WANTED_ROOT_RATIO:g}; distances differ by {apart:.1e}: "
          f"{'reached' if reached else 'MISSED'}")  # fmt: skip
    return {"seconds": seconds, "ratios": ratios, "ratio": statistics.median(ratios), "disagreement": apart,
            "reached": reached}  # fmt: skip


def measure_memory(options: argparse.Namespace, reference: Path) -> dict[str, Any]:
    """Tell our peak memory at a quarter of the pictures and at all of them: end to end, and of the job."""
    counts = (options.images // 4, options.images)
    in_own_process(store_features, options)
    peaks = {
        "end to end": [measure("ours", reference, count, options.threads).peak_mb for count in counts],
        "frechet job": [in_own_process(job_memory, count, ("frechet",)) for count in counts],
        "frechet and kernel job": [in_own_process(job_memory, count, ("frechet", "kernel")) for count in counts],
    }
    results: dict[str, Any] = {"peak_mb": peaks}
    for name, (quarter, whole) in peaks.items():
        print(f"Peak memory, {name}: {quarter:.0f} MB at {counts[0]} pictures, {whole:.0f} MB at {counts[1]}")
    grown = max(whole - quarter for name, (quarter, whole) in peaks.items() if "kernel" not in name)
    reached = grown <= WANTED_GROWTH_MB
    told = "reached" if reached else "MISSED"
    print(f"  without kernel at most {grown:.0f} MB more, wanted {WANTED_GROWTH_MB:g}: {told}")
    return results | {"reached": reached}


def store_features(options: argparse.Namespace) -> None:
    """Write what the job reads: features of all pictures and of real ones, and the prompts that they are of."""
    moments_of(BUILD / "shards", BUILD / "job" / "drawn" / "generated" / "light", options.images, options.threads)
    (BUILD / "job" / "real" / "heldout").mkdir(parents=True)
    shutil.copytree(BUILD / "real_features", BUILD / "job" / "real" / "heldout" / "light")
    prompts = [
        {
            "prompt_id": f"p{n}",
            "scene_id": f"s{n}",
            "style": "original",
            "category": "color",
            "prompt": "p",
            "facts": "",
        }
        for n in range(SCENES)
    ]
    write_table(BUILD / "job" / "prompts.parquet", prompts, PROMPTS)


def job_memory(count: int, distances: tuple[Distance, ...]) -> float:
    """Return the peak memory of a process that runs the job on the first ``count`` pictures, MB."""
    images, output = BUILD / f"job/images-{count}-{len(distances)}", BUILD / f"job/out-{count}-{len(distances)}"
    images.mkdir()
    output.mkdir()
    for table in sorted((BUILD / "shards").glob("*.parquet"))[: -(-count // PER_SHARD)]:
        os.link(table, images / table.name)
    inputs = frechet.FrechetInputs(
        evaluation_set=BUILD / "job", scorer=BUILD / "job" / "real", images=images, features=BUILD / "job" / "drawn"
    )
    config = FrechetConfig(distances=distances, of_any_style=True, recipe="r", model="m")
    with Reporter("bench", output, {}) as reporter:
        frechet.main(Job("bench", config, inputs, output), reporter)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare_inception(rounds: int, count: int, threads: int) -> dict[str, Any]:
    """Time FID's network alone, ours folded and pytorch-fid's, with the same random weights."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    weights = InceptionFid().state_dict()
    inception.load_state_dict_from_url = lambda *_, **__: weights
    folded, network = FoldedInception(load_inception(weights)), inception.InceptionV3([3], resize_input=False).eval()
    pictures = torch.rand(count, 3, SIDE, SIDE)
    sides: dict[str, Callable[[Tensor], Tensor]] = {
        "ours": lambda part: folded(2 * part - 1),
        "pytorch-fid": lambda part: network(part)[0].flatten(1),
    }
    rates: list[dict[str, float]] = []
    features: dict[str, Tensor] = {}
    with torch.no_grad():
        for side in sides.values():
            side(pictures[:2])
        for number in range(rounds):
            rates.append({})
            for side in list(sides)[:: 1 if number % 2 == 0 else -1]:
                started = time.perf_counter()
                features[side] = torch.cat([sides[side](part) for part in pictures.split(16)])
                rates[-1][side] = count / (time.perf_counter() - started)
    apart = float((features["ours"] - features["pytorch-fid"]).abs().max() / features["pytorch-fid"].abs().max())
    ratios = [turn["ours"] / turn["pytorch-fid"] for turn in rates]
    shown = ", ".join(f"{side} {statistics.median(turn[side] for turn in rates):.1f}/s" for side in sides)
    print(f"FID's Inception alone: {shown}; ratio {_spread(ratios)}; features differ by {apart:.1e} of the largest")
    return {"rates": rates, "ratios": ratios, "ratio": statistics.median(ratios), "disagreement": apart}


def _picture(rng: np.random.Generator, blur: bool) -> bytes:
    coarse = rng.integers(0, 256, (12 if blur else 16,) * 2 + (3,), np.uint8)
    data = io.BytesIO()
    Image.fromarray(coarse).resize((PICTURE_SIDE,) * 2, Image.Resampling.BICUBIC).save(data, "JPEG", quality=90)
    return data.getvalue()


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
