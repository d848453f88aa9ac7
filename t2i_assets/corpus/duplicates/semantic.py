"""Semantic duplicates: clusters of samples whose image embeddings say nearly the same.

Source: SemDeDup (Abbas et al. 2023, arXiv:2303.09540, section 3): k-means over image embeddings, and within a cluster
all pairs above a cosine. Two things differ. The paper's pairs never cross the border of a k-means cluster; here a
sample is compared in a few of its nearest clusters. And of a group the paper keeps the member farthest from the
centroid, finding that the choice matters little; here it is the largest original, as of the other duplicates, so
that the two never drop each other's kept member: what is dropped always yields to something better.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2i_assets.corpus.duplicates.config import SemanticConfig
from t2i_assets.corpus.duplicates.embeddings import CosineIndex, read_embeddings
from t2i_assets.corpus.duplicates.hamming import Indices, Pairs
from t2i_assets.corpus.duplicates.leaders import leaders
from t2i_assets.corpus.duplicates.perceptual import why_kept
from t2i_assets.corpus.duplicates.pictures import Pictures
from t2i_assets.corpus.schemas import DUPLICATES
from t2i_assets.corpus.tables import write_table


def find_semantic_duplicates(
    shards_dir: Path, features_dir: Path, snapshot: str, out_dir: Path, config: SemanticConfig
) -> dict[str, Any]:
    """Find clusters among the samples of ``shards_dir``, write DUPLICATES into ``out_dir``; return counts.

    ``features_dir`` holds IMAGE_EMBEDDINGS of every sample. Raises MissingEmbeddingsError where one lacks. The counts
    come with the mean cosine of two samples: where it is near 1, the embedder is not trained enough for any threshold.
    """
    pictures = Pictures.read(shards_dir)
    vectors = read_embeddings(features_dir, pictures.keys)
    leader = leaders(len(pictures), SameContent(vectors, config)) if len(pictures) else np.zeros(0, np.int64)
    rows = _rows(pictures, vectors, leader)
    write_table(out_dir / "00000.parquet", [{"snapshot": snapshot, **row} for row in rows], DUPLICATES)
    return {
        "samples": len(pictures),
        "clusters": sum(row["kept"] for row in rows),
        "duplicates": sum(not row["kept"] for row in rows),
        "largest_cluster": max(np.unique_counts(leader).counts.tolist(), default=0),
        "mean_cosine": _mean_cosine(vectors),
    }


def _mean_cosine(vectors: NDArray[np.float32]) -> float:
    """Return the cosine of two different samples on average: near 1, the embedder tells nothing apart."""
    count = len(vectors)
    total = float(np.square(vectors.sum(axis=0, dtype=np.float64)).sum())
    return (total - count) / max(1, count * (count - 1))


class SameContent:
    """Neighbours are samples whose embeddings have a high cosine."""

    def __init__(self, vectors: NDArray[np.float32], config: SemanticConfig) -> None:
        self._config = config
        self._kept = CosineIndex(vectors, config.samples_per_cluster, config.probes, config.seed)
        self._added = 0

    def of_kept(self, kept: Indices, new: Indices) -> Iterator[Pairs]:
        self._kept.add(kept[self._added :])
        self._added = len(kept)
        for numbers, row in self._kept.search(self._kept.vectors[new], self._config.cosine):
            yield numbers, new[row]

    def among(self, new: Indices) -> Iterator[Pairs]:
        block = self._kept.empty()
        block.add(new)
        for numbers, row in block.search(block.vectors[new], self._config.cosine):
            earlier = numbers < new[row]
            yield numbers[earlier], new[row][earlier]


def _rows(pictures: Pictures, vectors: NDArray[np.float32], leader: Indices) -> list[dict[str, Any]]:
    followers = np.flatnonzero(leader != np.arange(len(leader)))
    of = leader[followers]
    cosines = np.einsum("ij,ij->i", vectors[followers], vectors[of], dtype=np.float64).tolist()
    rows = []
    seconds: dict[int, int] = {}
    for rank, kept, cosine in zip(followers.tolist(), of.tolist(), cosines, strict=True):
        seconds.setdefault(kept, rank)
        originals = f"its original is {pictures.size(rank)}, the kept one's {pictures.size(kept)}"
        reason = f"image embedding has a cosine of {cosine:.4f} to the kept one's; {originals}"
        rows.append(_member(pictures, rank, kept, min(1.0, cosine), reason))
    for kept, second in seconds.items():
        rows.append(_member(pictures, kept, kept, 1.0, why_kept(pictures, kept, second)))
    return sorted(rows, key=lambda row: (row["cluster"], not row["kept"], row["key"]))


def _member(pictures: Pictures, rank: int, kept: int, cosine: float, reason: str) -> dict[str, Any]:
    return {
        "key": pictures.key(rank),
        "cluster": pictures.key(kept),
        "kind": "semantic",
        "kept": rank == kept,
        "distance": int(np.bitwise_count(pictures.hashes[rank] ^ pictures.hashes[kept])),
        "cosine": cosine,
        "reason": reason,
    }
