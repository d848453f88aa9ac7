"""What is compared of the samples of a shard directory: about 100 bytes each, and thumbnails of those that need one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from t2i_assets.corpus.duplicates.hamming import Hashes, Indices
from t2i_assets.corpus.schemas import SAMPLES
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_table

_THUMBNAIL = 8
_COMPARED = 1 << 15
_COLUMNS = (
    *("key", "phash", "image_sha256", "original_sha256", "original_width", "original_height", "original_bytes"),
    *("image_offset", "image_bytes"),
)


@dataclass(frozen=True)
class Pictures:
    """Samples as arrays, in order of merit: the largest original first, then the most bytes, then by key."""

    keys: NDArray[np.bytes_]
    hashes: Hashes
    stored: NDArray[np.bytes_]
    """sha256 of the stored image, 32 bytes."""
    original: NDArray[np.bytes_]
    """sha256 of the image as fetched, 32 bytes."""
    sizes: NDArray[np.int32]
    """Width and height of the original, pixels, [N, 2]."""
    weights: Indices
    """Bytes of the original."""
    tars: Sequence[Path]
    places: Indices
    """Number of the tar, offset and size of the stored image, [N, 3]."""

    @classmethod
    def read(cls, *directories: Path) -> Self:
        """Read the sidecars of shard directories; a key that stands in several is taken from the first."""
        sidecars = [path for directory in directories for path in sorted(directory.glob(SHARD_GLOB))]
        parts = [_columns(read_table(path, SAMPLES, list(_COLUMNS)), tar) for tar, path in enumerate(sidecars)]
        parts = parts or [_columns(SAMPLES.empty_table(), 0)]
        keys, hashes, stored, original, sizes, weights, places = map(np.concatenate, zip(*parts, strict=True))
        _, first = np.unique(keys, return_index=True)
        area = sizes[first].astype(np.int64).prod(axis=1)
        order = first[np.lexsort((keys[first], -weights[first], -area))]
        return cls(
            keys=keys[order],
            hashes=hashes[order],
            stored=stored[order],
            original=original[order],
            sizes=sizes[order],
            weights=weights[order],
            tars=[path.with_suffix(".tar") for path in sidecars],
            places=places[order],
        )

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, rank: int) -> str:
        return self.keys[rank].decode()

    def size(self, rank: int) -> str:
        """Return width and height of the original, in words."""
        return f"{self.sizes[rank, 0]} x {self.sizes[rank, 1]}"


class Thumbnails:
    """Thumbnails of pictures, 8 x 8 mean colours, decoded when they are first asked for and kept: 192 bytes each."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._slot = np.full(len(pictures), -1, np.int64)
        self._pixels = np.empty((0, 3 * _THUMBNAIL**2), np.uint8)
        self._used = 0

    def of(self, ranks: Indices) -> NDArray[np.uint8]:
        """Return the colours of each picture, [N, 192]. Raises ValueError where one cannot be decoded."""
        missing = np.unique(ranks[self._slot[ranks] < 0])
        if len(missing):
            self._decode(missing)
        return self._pixels[self._slot[ranks]]

    def _decode(self, ranks: Indices) -> None:
        need = self._used + len(ranks)
        if need > len(self._pixels):
            grown = np.empty((max(need, 2 * len(self._pixels)), self._pixels.shape[1]), np.uint8)
            grown[: self._used] = self._pixels[: self._used]
            self._pixels = grown
        places = self._pictures.places
        for number in np.unique(places[ranks, 0]):
            with self._pictures.tars[number].open("rb") as tar:
                inside = ranks[places[ranks, 0] == number]
                for rank in inside[np.argsort(places[inside, 1])]:
                    tar.seek(places[rank, 1])
                    self._pixels[self._used] = _thumbnail(
                        tar.read(places[rank, 2]), f"{tar.name}: sample {self._pictures.key(rank)}"
                    )
                    self._slot[rank] = self._used
                    self._used += 1


def color_distances(one: Thumbnails, a: Indices, other: Thumbnails, b: Indices) -> NDArray[np.float64]:
    """Return the root mean square difference of the colours of pairs of pictures, in levels of 255."""
    parts = [np.zeros(0)]
    for start in range(0, len(a), _COMPARED):
        part = slice(start, start + _COMPARED)
        difference = one.of(a[part]).astype(np.float32) - other.of(b[part])
        parts.append(np.sqrt(np.einsum("ij,ij->i", difference, difference) / difference.shape[1]).astype(np.float64))
    return np.concatenate(parts)


def _thumbnail(image: bytes, name: str) -> NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) if image else None
    if pixels is None:
        raise ValueError(f"{name} cannot be decoded: run verify on its shard directory")
    return np.asarray(cv2.resize(pixels, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)).reshape(-1)


def _columns(rows: pa.Table, tar: int) -> tuple[NDArray[Any], ...]:
    """Return the arrays of one sidecar, in the order of the fields; nothing else of it is held."""
    digests = (_bytes(rows, name, 32).view("S32").reshape(-1) for name in ("image_sha256", "original_sha256"))
    sizes = [rows[f"original_{side}"].to_numpy().astype(np.int32) for side in ("width", "height")]
    places = [np.full(len(rows), tar), rows["image_offset"].to_numpy(), rows["image_bytes"].to_numpy()]
    return (
        np.array(rows["key"].to_pylist(), "S"),
        _bytes(rows, "phash", 8).view(">u8").reshape(-1).astype(np.uint64),
        *digests,
        np.stack(sizes, axis=1),
        rows["original_bytes"].to_numpy(),
        np.stack(places, axis=1),
    )


def _bytes(rows: pa.Table, name: str, width: int) -> NDArray[np.uint8]:
    """Return a column of hex digits as bytes, [N, width]."""
    digits = "".join(text.zfill(2 * width) for text in rows[name].to_pylist())
    return np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(-1, width)
