"""How duplicates scale: ``python -m tests.bench.duplicates``, with ``--samples`` for another size.

Each case runs in a process of its own, so that its memory is its own. Hashes are random with planted pairs; what is
found is compared with the planted pairs, all of them, and with brute force on a part.
"""

import argparse
import itertools
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from t2i_assets.corpus.duplicates.config import SemanticConfig
from t2i_assets.corpus.duplicates.hamming import Hashes, Indices, Pairs, near_pairs, near_pairs_among
from t2i_assets.corpus.duplicates.leaders import leaders
from t2i_assets.corpus.duplicates.semantic import SameContent

RADIUS = 4
BRUTE = 20_000
DIMENSIONS = 128


class NearHashes:
    """Neighbours are hashes within the radius, of whatever colours."""

    def __init__(self, hashes: Hashes) -> None:
        self.hashes = hashes

    def of_kept(self, kept: Indices, new: Indices) -> Iterator[Pairs]:
        for a, b in near_pairs(self.hashes[kept], self.hashes[new], RADIUS):
            yield kept[a], new[b]

    def among(self, new: Indices) -> Iterator[Pairs]:
        for a, b in near_pairs_among(self.hashes[new], RADIUS):
            yield new[a], new[b]


def planted(samples: int) -> tuple[Hashes, set[tuple[int, int]]]:
    """Return random hashes, one in 50 a copy of an earlier one with up to RADIUS bits flipped, and these pairs."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, samples, dtype=np.uint64)
    copies = samples // 50
    originals = rng.choice(samples - copies, copies, replace=False)
    for copy, original in enumerate(originals, samples - copies):
        bits = rng.choice(64, int(rng.integers(0, RADIUS + 1)), replace=False)
        flipped = sum(1 << int(bit) for bit in bits)
        hashes[copy] = hashes[original] ^ np.uint64(flipped)
    return hashes, {(int(original), copy) for copy, original in enumerate(originals, samples - copies)}


def all_pairs(samples: int) -> dict[str, Any]:
    """Find every pair; recall of the planted ones, and the same pairs as brute force on a part."""
    hashes, pairs = planted(samples)
    started = time.process_time()
    found = {pair for a, b in near_pairs_among(hashes, RADIUS) for pair in zip(a.tolist(), b.tolist(), strict=True)}
    seconds = time.process_time() - started
    part = np.r_[hashes[: BRUTE // 2], hashes[-BRUTE // 2 :]]
    banded = [pair for a, b in near_pairs_among(part, RADIUS) for pair in zip(a.tolist(), b.tolist(), strict=True)]
    return {
        "CPU seconds": seconds,
        "pairs": len(found),
        "recall of planted": len(found & pairs) / len(pairs),
        "as brute force": sorted(banded) == sorted(_brute(part)),
    }


def clusters(samples: int) -> dict[str, Any]:
    """Cluster the same hashes."""
    hashes, _ = planted(samples)
    return _clustered(hashes)


def one_hash(samples: int) -> dict[str, Any]:
    """Cluster samples that all have one hash."""
    return _clustered(np.zeros(samples, np.uint64))


def crowded(samples: int) -> dict[str, Any]:
    """Cluster samples of a hundred hashes, one after the other."""
    return _clustered(np.repeat(np.random.default_rng(1).integers(0, 2**64, 100, dtype=np.uint64), samples // 100))


def semantic(samples: int) -> dict[str, Any]:
    """Cluster random embeddings, one in 50 a near copy of an earlier one."""
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((samples, DIMENSIONS)).astype(np.float32)
    copies = samples // 50
    vectors[-copies:] = vectors[:copies] + 0.02 * rng.standard_normal((copies, DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    config = SemanticConfig()
    started = time.process_time()
    leader = leaders(samples, SameContent(vectors, config))
    followers = np.flatnonzero(leader != np.arange(samples))
    cosines = np.einsum("ij,ij->i", vectors[followers], vectors[leader[followers]])
    return {
        "CPU seconds": time.process_time() - started,
        "followers": len(followers),
        "share of planted": float((leader[-copies:] == np.arange(copies)).mean()),
        "each within the cosine of its kept one": bool((cosines >= config.cosine - 1e-6).all()),
    }


def _clustered(hashes: Hashes) -> dict[str, Any]:
    started = time.process_time()
    leader = leaders(len(hashes), NearHashes(hashes))
    followers = np.flatnonzero(leader != np.arange(len(leader)))
    within = np.bitwise_count(hashes[followers] ^ hashes[leader[followers]]) <= RADIUS
    return {
        "CPU seconds": time.process_time() - started,
        "followers": len(followers),
        "each within the radius of its kept one": bool(within.all()),
    }


def _brute(hashes: Hashes) -> Iterator[tuple[int, int]]:
    for later in range(1, len(hashes)):
        near = np.bitwise_count(hashes[:later] ^ hashes[later]) <= RADIUS
        yield from zip(np.flatnonzero(near).tolist(), itertools.repeat(later))


def _measured(case: Callable[[int], dict[str, Any]], samples: int, results: Any) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = case(samples)
    results.put(
        {**figures, "MB above the imports": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}
    )


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}"


def main() -> None:
    """Print a line per case."""
    parser = argparse.ArgumentParser(description="Duplicates at scale")
    parser.add_argument("--samples", type=int, default=1_000_000)
    samples = parser.parse_args().samples
    processes = multiprocessing.get_context("spawn")
    cases = [(case, size) for case in (all_pairs, clusters) for size in (samples // 10, samples)]
    failed = False
    for case, size in [*cases, *((case, samples // 10) for case in (one_hash, crowded, semantic))]:
        results = processes.SimpleQueue()
        process = processes.Process(target=_measured, args=(case, size, results))
        process.start()
        process.join()
        figures = results.get()
        told = ", ".join(f"{name} {_word(value)}" for name, value in figures.items())
        print(f"{case.__name__:10} {size:>10,} samples: {told}", flush=True)
        failed |= any(value is False for value in figures.values()) or figures.get("recall of planted", 1.0) < 1.0
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
