"""Exact and perceptual duplicates: clusters of samples that show the same picture, and which member is kept.

Exact: the stored images are the same bytes. Perceptual: the perceptual hashes differ in few bits and the colours
agree; the hash sees shades of grey only, so without the second test a red ball and a blue one are one picture.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from t2i_assets.corpus.duplicates.config import HASH_BITS, DuplicateConfig
from t2i_assets.corpus.duplicates.hamming import Hashes, Indices, Pairs, near_pairs, near_pairs_among
from t2i_assets.corpus.duplicates.leaders import leaders
from t2i_assets.corpus.duplicates.pictures import Pictures, Thumbnails, color_distances
from t2i_assets.corpus.schemas import DUPLICATES
from t2i_assets.corpus.tables import write_table


def find_duplicates(shards_dir: Path, snapshot: str, out_dir: Path, config: DuplicateConfig) -> dict[str, Any]:
    """Find clusters among the samples of ``shards_dir``, write DUPLICATES into ``out_dir``; return counts.

    Kept is the largest original; of equals the one of most bytes, then the first by key.
    """
    pictures = Pictures.read(shards_dir)
    thumbnails = Thumbnails(pictures)
    leader = leaders(len(pictures), _SamePicture(pictures, thumbnails, config))
    rows = _rows(pictures, thumbnails, leader)
    write_table(out_dir / "00000.parquet", [{"snapshot": snapshot, **row} for row in rows], DUPLICATES)
    return {
        "samples": len(pictures),
        "clusters": sum(row["kept"] for row in rows),
        "duplicates": sum(not row["kept"] for row in rows),
        "exact": sum(row["kind"] == "exact" and not row["kept"] for row in rows),
        "largest_cluster": max(np.unique_counts(leader).counts.tolist(), default=0),
    }


class _SamePicture:
    """Neighbours are samples of the same bytes, or of near hashes and near colours."""

    def __init__(self, pictures: Pictures, thumbnails: Thumbnails, config: DuplicateConfig) -> None:
        self._hashes = pictures.hashes
        self._stored: Hashes = np.unique(pictures.stored, return_inverse=True)[1].astype(np.uint64)
        self._thumbnails = thumbnails
        self._config = config

    def of_kept(self, kept: Indices, new: Indices) -> Iterator[Pairs]:
        for a, b in near_pairs(self._stored[kept], self._stored[new], 0):
            yield kept[a], new[b]
        for a, b in near_pairs(self._hashes[kept], self._hashes[new], self._config.radius):
            yield self._of_one_colour(kept[a], new[b])

    def among(self, new: Indices) -> Iterator[Pairs]:
        for a, b in near_pairs_among(self._stored[new], 0):
            yield new[a], new[b]
        for a, b in near_pairs_among(self._hashes[new], self._config.radius):
            yield self._of_one_colour(new[a], new[b])

    def _of_one_colour(self, a: Indices, b: Indices) -> Pairs:
        other_bytes = self._stored[a] != self._stored[b]
        a, b = a[other_bytes], b[other_bytes]
        same = color_distances(self._thumbnails, a, self._thumbnails, b) <= self._config.color_distance
        return a[same], b[same]


def _rows(pictures: Pictures, thumbnails: Thumbnails, leader: Indices) -> list[dict[str, Any]]:
    followers = np.flatnonzero(leader != np.arange(len(leader)))
    of = leader[followers]
    exact = pictures.stored[followers] == pictures.stored[of]
    distances = np.bitwise_count(pictures.hashes[followers] ^ pictures.hashes[of]).tolist()
    colors = color_distances(thumbnails, followers[~exact], thumbnails, of[~exact]).tolist()[::-1]
    rows = []
    for rank, kept, same, distance in zip(followers.tolist(), of.tolist(), exact.tolist(), distances, strict=True):
        agree = "same stored image as the kept one" if same else _agreement(distance, colors.pop())
        rows.append(_member(pictures, rank, kept, "exact" if same else "perceptual", distance, agree))
    kinds: dict[int, set[str]] = {}
    seconds: dict[int, int] = {}
    for kept, rank, row in zip(of.tolist(), followers.tolist(), rows, strict=True):
        kinds.setdefault(kept, set()).add(row["kind"])
        seconds.setdefault(kept, rank)
    for kept, second in seconds.items():
        kind = "exact" if kinds[kept] == {"exact"} else "perceptual"
        rows.append(_member(pictures, kept, kept, kind, 0, why_kept(pictures, kept, second)))
    return sorted(rows, key=lambda row: (row["cluster"], not row["kept"], row["key"]))


def why_kept(pictures: Pictures, kept: int, second: int) -> str:
    """Return in words what puts the kept member before the second best of its cluster."""
    area, other = (int(pictures.sizes[rank].astype(np.int64).prod()) for rank in (kept, second))
    if area > other:
        return f"kept: the largest original, {pictures.size(kept)}"
    if pictures.weights[kept] > pictures.weights[second]:
        return f"kept: of the largest originals, {pictures.size(kept)}, the one of most bytes"
    return f"kept: of the largest originals, {pictures.size(kept)}, of as many bytes, the first by key"


def _agreement(distance: int, color: float) -> str:
    bits = f"perceptual hash differs in {distance} of {HASH_BITS} bits" if distance else "same perceptual hash"
    return f"{bits} and colours by {color:.1f} of 255 levels from the kept one"


def _member(pictures: Pictures, rank: int, kept: int, kind: str, distance: int, reason: str) -> dict[str, Any]:
    dropped = "" if rank == kept else f"; its original is {pictures.size(rank)}, the kept one's {pictures.size(kept)}"
    return {
        "key": pictures.key(rank),
        "cluster": pictures.key(kept),
        "kind": kind,
        "kept": rank == kept,
        "distance": distance,
        "reason": reason + dropped,
    }
