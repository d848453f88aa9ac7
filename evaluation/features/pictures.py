"""Pictures of shards as encoders get them: decoded and scaled by threads, a batch at a time."""

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from evaluation.features.preprocessing import Pixels, Preprocessing

Change = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Place:
    """Where one picture lies in the tar of its shard."""

    key: str
    offset: int
    size: int


def places(table: Path) -> list[Place]:
    """Return the pictures of the shard beside ``table``: one of SAMPLES or GENERATED."""
    rows = pq.read_table(table, columns=["key", "image_offset", "image_bytes"]).to_pylist()
    return [Place(row["key"], row["image_offset"], row["image_bytes"]) for row in rows]


def prepared_batches(
    table: Path, preprocessing: Preprocessing, batch_size: int, workers: int, changes: list[Change] | None = None
) -> Iterator[Tensor]:
    """Yield the pictures of a shard, in its order, as [n, 3, side, side] in 0..255, channels last in memory.

    Two batches are in memory.

    ``changes`` are done to the pictures first, one each. Raises OSError, naming shard and key, where a picture cannot
    be decoded.
    """
    found = places(table)
    with ThreadPoolExecutor(workers) as pool, table.with_suffix(".tar").open("rb") as tar:

        def begin(start: int) -> Iterator[Pixels]:
            datas = []
            for place in found[start : start + batch_size]:
                tar.seek(place.offset)
                datas.append(tar.read(place.size))
            part = slice(start, start + batch_size)
            asked = changes[part] if changes else [None] * len(datas)
            names = [f"{tar.name}: {place.key}" for place in found[part]]
            return pool.map(lambda told: _prepared(preprocessing, *told), zip(datas, names, asked, strict=True))

        waiting = begin(0)
        for start in range(0, len(found), batch_size):
            ready = np.stack(list(waiting))
            waiting = begin(start + batch_size)
            yield torch.from_numpy(ready).permute(0, 3, 1, 2)


def _prepared(preprocessing: Preprocessing, data: bytes, name: str, change: Change | None) -> Pixels:
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
    except OSError as error:
        raise OSError(f"cannot decode the image {name}: {error}") from error
    return preprocessing.pixels(change(image) if change else image)
