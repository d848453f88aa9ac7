"""Near-duplicates: clusters of samples that show the same picture, and which member is kept.

Exact: the stored images are the same bytes. Perceptual: the perceptual hashes differ in few bits and the colours
agree; the hash sees shades of grey only, so without the second test a red ball and a blue one are one picture.
"""

import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from t2i_assets.corpus.schemas import DUPLICATES
from t2i_assets.corpus.shards import iter_images
from t2i_assets.corpus.tables import write_table

HASH_BITS = 64
_THUMBNAIL = 8
_BLOCK = 4096


class DuplicateConfig(BaseModel):
    """What counts as the same picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    radius: int = Field(default=4, ge=0, lt=HASH_BITS, description="Most bits of 64 in which perceptual hashes differ.")
    color_distance: float = Field(
        default=6.0, ge=0, description="Largest root mean square difference of 8 x 8 thumbnails, in levels of 255."
    )


def find_duplicates(shards_dir: Path, snapshot: str, out_dir: Path, config: DuplicateConfig) -> dict[str, Any]:
    """Find clusters among the samples of ``shards_dir``, write DUPLICATES into ``out_dir``; return counts."""
    rows: list[dict[str, Any]] = []
    thumbnails = []
    for row, image in iter_images(shards_dir):
        rows.append({name: row[name] for name in _NEEDED})
        thumbnails.append(thumbnail(image))
    clusters = find_clusters(rows, thumbnails, config)
    write_table(out_dir / "00000.parquet", [{"snapshot": snapshot, **member} for member in clusters], DUPLICATES)
    return {
        "samples": len(rows),
        "clusters": sum(member["kept"] for member in clusters),
        "duplicates": sum(not member["kept"] for member in clusters),
        "exact": sum(member["kind"] == "exact" and not member["kept"] for member in clusters),
    }


_NEEDED = ("key", "phash", "image_sha256", "original_width", "original_height", "original_bytes")


def find_clusters(
    rows: list[dict[str, Any]], thumbnails: list[NDArray[np.float32]], config: DuplicateConfig
) -> list[dict[str, Any]]:
    """Return one row per member of each cluster: key, cluster, kind, kept, distance; samples alone have none.

    Samples are visited from the largest original to the smallest. Each joins the first kept sample within reach of it,
    else it is kept itself. So every member is within ``radius`` of the one kept, and no chain of small differences
    ties different pictures together.
    """
    order = sorted(range(len(rows)), key=lambda i: (-_area(rows[i]), -rows[i]["original_bytes"], rows[i]["key"]))
    hashes = np.array([int(rows[i]["phash"], 16) for i in order], np.uint64)
    first_with_bytes: dict[str, int] = {}
    near = near_pairs(hashes, config.radius)
    kept: dict[int, bool] = {}
    members: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for rank, index in enumerate(order):
        twin = first_with_bytes.setdefault(rows[index]["image_sha256"], rank)
        candidates = sorted({twin, *near.get(rank, ())} - {rank})
        for other in candidates:
            if not kept[other]:
                continue
            exact = rows[index]["image_sha256"] == rows[order[other]]["image_sha256"]
            if exact or _difference(thumbnails[index], thumbnails[order[other]]) <= config.color_distance:
                members[other].append(_member(rows, order, hashes, rank, other, "exact" if exact else "perceptual"))
                break
        else:
            kept[rank] = True
            continue
        kept[rank] = False
    found = []
    for head, followers in members.items():
        kind = "exact" if all(member["kind"] == "exact" for member in followers) else "perceptual"
        found += [_member(rows, order, hashes, head, head, kind), *followers]
    return sorted(found, key=lambda member: (member["cluster"], not member["kept"], member["key"]))


def near_pairs(hashes: NDArray[np.uint64], radius: int) -> dict[int, list[int]]:
    """Return for each index the smaller indices whose hash differs in at most ``radius`` bits.

    Banding (pigeonhole): of radius + 1 bands of bits, at least one is equal in any such pair, so only samples that
    share a band are compared. Exact, and far from all pairs where hashes are spread.
    """
    near: dict[int, set[int]] = defaultdict(set)
    edges = np.linspace(0, HASH_BITS, radius + 2).astype(int)
    for low, high in itertools.pairwise(edges):
        mask = np.uint64((1 << int(high - low)) - 1)
        bands = (hashes >> np.uint64(low)) & mask
        by_band = np.argsort(bands, kind="stable")
        starts = np.flatnonzero(np.r_[True, bands[by_band][1:] != bands[by_band][:-1]])
        for group in np.split(by_band, starts[1:]):
            for begin in range(0, len(group) if len(group) > 1 else 0, _BLOCK):
                block = group[begin : begin + _BLOCK]
                differences = np.bitwise_count(hashes[block][:, None] ^ hashes[group][None])
                for a, b in zip(*np.nonzero(differences <= radius), strict=True):
                    if group[b] < block[a]:
                        near[int(block[a])].add(int(group[b]))
    return {index: sorted(others) for index, others in near.items()}


def thumbnail(image: bytes) -> NDArray[np.float32]:
    """Return the 8 x 8 BGR mean colours of an encoded image. Raises ValueError where it cannot be decoded."""
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("a stored image cannot be decoded: run verify on its shard directory")
    return np.asarray(cv2.resize(pixels, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA), np.float32)


def _difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def _area(row: dict[str, Any]) -> int:
    return int(row["original_width"]) * int(row["original_height"])


def _member(
    rows: list[dict[str, Any]], order: list[int], hashes: NDArray[np.uint64], rank: int, head: int, kind: str
) -> dict[str, Any]:
    return {
        "key": rows[order[rank]]["key"],
        "cluster": rows[order[head]]["key"],
        "kind": kind,
        "kept": rank == head,
        "reason": "kept: the largest original" if rank == head else f"{kind} copy of a larger original",
        "distance": int(np.bitwise_count(hashes[rank] ^ hashes[head])),
    }
