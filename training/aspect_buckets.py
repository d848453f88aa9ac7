"""Aspect-ratio buckets: the shape that an image is cut to, and batches of one shape (Podell et al. 2023, section 2.3).

The order of batches follows from (seed, epoch), so nothing about position needs saving.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from t2i_assets.corpus.schemas import SAMPLES
from t2i_assets.corpus.tables import read_rows

Size = tuple[int, int]  # height and width, pixels


def nearest_bucket(size: Size, buckets: Sequence[Size]) -> Size:
    """Return the bucket whose aspect ratio is nearest, by the logarithm; of equally near ones the first."""
    return min(buckets, key=lambda bucket: abs(math.log(bucket[1] / bucket[0]) - math.log(size[1] / size[0])))


def fit(image: Image.Image, size: Size) -> np.ndarray:
    """Return the image scaled to cover ``size`` and cropped at its centre, uint8 [H, W, 3]."""
    height, width = size
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - scale * width) / 2, (image.height - scale * height) / 2
    box = (left, top, left + scale * width, top + scale * height)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box))


def read_buckets(table: Path, buckets: Sequence[Size]) -> dict[Size, tuple[list[str], Tensor]]:
    """Return keys and uint8 images [N, 3, H, W] of every bucket that has any in the shard of ``table``.

    Raises OSError, naming the shard and the key, where an image cannot be decoded.
    """
    found: dict[Size, tuple[list[str], list[np.ndarray]]] = {}
    with table.with_suffix(".tar").open("rb") as tar:
        for row in read_rows(table, SAMPLES, ["key", "image_offset", "image_bytes"]):
            tar.seek(row["image_offset"])
            try:
                image = Image.open(io.BytesIO(tar.read(row["image_bytes"]))).convert("RGB")
            except OSError as error:
                raise OSError(f"cannot decode the image {tar.name}: {row['key']}: {error}") from error
            size = nearest_bucket((image.height, image.width), buckets)
            keys, images = found.setdefault(size, ([], []))
            keys.append(row["key"])
            images.append(fit(image, size))
    return {
        size: (keys, torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous())
        for size, (keys, images) in sorted(found.items())
    }


@dataclass(frozen=True)
class BucketOrder:
    """Which samples a step sees, where those of a step must be of one bucket.

    Each bucket is a stream of permutations of its samples, an epoch each, cut into batches of equal size; a batch
    may reach over the end of an epoch, and counts to that in which it starts. The batches of an epoch, of all buckets,
    come in an order drawn for it. So every sample is drawn exactly once per epoch of its bucket.

    Attributes:
        members: samples of each bucket, none of which is empty.
    """

    members: list[np.ndarray]

    def samples_of_step(self, seed: int, step: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the sample indices of a step and the epoch of each, both [batch_size]."""
        epoch = self._epoch_of(step, batch_size)
        batches = [
            (bucket, number)
            for bucket in range(len(self.members))
            for number in range(*(self._batches_before(bucket, of, batch_size) for of in (epoch, epoch + 1)))
        ]
        place = step - self._steps_before(epoch, batch_size)
        bucket, number = batches[np.random.default_rng([seed, epoch]).permutation(len(batches))[place]]
        members = self.members[bucket]
        positions = np.arange(number * batch_size, (number + 1) * batch_size)
        epochs = positions // len(members)
        orders = {
            of: np.random.default_rng([seed, of, bucket]).permutation(len(members)) for of in np.unique(epochs).tolist()
        }
        rows = [orders[of][position % len(members)] for of, position in zip(epochs.tolist(), positions, strict=True)]
        return members[np.array(rows)], epochs

    def _epoch_of(self, step: int, batch_size: int) -> int:
        """Return the epoch in which batch ``step`` starts: the last one before which at most ``step`` batches lie."""
        total = sum(map(len, self.members))
        epoch = step * batch_size // total + 1
        while self._steps_before(epoch, batch_size) > step:
            epoch -= 1
        return epoch

    def _steps_before(self, epoch: int, batch_size: int) -> int:
        return sum(self._batches_before(bucket, epoch, batch_size) for bucket in range(len(self.members)))

    def _batches_before(self, bucket: int, epoch: int, batch_size: int) -> int:
        """Return how many batches of a bucket start before an epoch of it."""
        return -(-epoch * len(self.members[bucket]) // batch_size)
