"""Images and captions for training, read from shard directories and blends. At this size images fit in memory."""

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from t2i_assets.corpus.blend import draw, uniform
from t2i_assets.corpus.schemas import BLENDS, SAMPLES
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_rows


@dataclass(frozen=True)
class BlendCaption:
    """A caption that a blend can draw for a sample, with the probability of drawing it."""

    caption_id: str
    source: str
    caption: str
    weight: float


def load_images(
    directories: Sequence[Path], size: int, keys: Collection[str] | None = None
) -> tuple[list[str], Tensor]:
    """Read images of shard directories as (keys, uint8 [N, 3, size, size]), RGB.

    Shorter side scaled to ``size``, centre cropped. ``keys`` limits what is read; a key found twice is read once.
    Raises OSError, naming the shard and the key, where an image cannot be decoded.
    """
    found: list[str] = []
    images: list[np.ndarray] = []
    seen: set[str] = set()
    wanted = None if keys is None else set(keys)
    for directory in directories:
        for table in sorted(directory.glob(SHARD_GLOB)):
            rows = read_rows(table, SAMPLES, ["key", "shard", "image_offset", "image_bytes"])
            rows = [row for row in rows if row["key"] not in seen and (wanted is None or row["key"] in wanted)]
            with table.with_suffix(".tar").open("rb") as tar:
                for row in rows:
                    if row["key"] in seen:
                        continue
                    tar.seek(row["image_offset"])
                    images.append(_decode(tar.read(row["image_bytes"]), size, f"{tar.name}: {row['key']}"))
                    found.append(row["key"])
                    seen.add(row["key"])
    pixels = np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8)
    return found, torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def to_unit(images: Tensor) -> Tensor:
    """Scale uint8 images to [0, 1]."""
    return images.float() / 255


def to_signed(images: Tensor) -> Tensor:
    """Scale uint8 images to [-1, 1]."""
    return images.float() / 127.5 - 1


def read_blend(directory: Path) -> dict[str, list[BlendCaption]]:
    """Return the captions of a blend by sample key."""
    captions: dict[str, list[BlendCaption]] = {}
    for row in read_rows(directory, BLENDS, ["key", "caption_id", "source", "caption", "weight"]):
        captions.setdefault(row.pop("key"), []).append(BlendCaption(**row))
    return captions


def draw_caption(captions: Sequence[BlendCaption], seed: int, epoch: int, key: str) -> BlendCaption:
    """Return the caption of a sample in an epoch; it depends on (seed, epoch, key) alone."""
    return captions[draw(seed, epoch, key, [caption.weight for caption in captions])]


class BlendTexts:
    """The texts of a blend, each once, and the draw of one for a sample; so texts are tokenised or encoded once."""

    def __init__(self, blend: dict[str, list[BlendCaption]]) -> None:
        self.texts = sorted({caption.caption for captions in blend.values() for caption in captions})
        numbers = {text: number for number, text in enumerate(self.texts)}
        self._choices = {
            key: ([numbers[caption.caption] for caption in captions], [caption.weight for caption in captions])
            for key, captions in blend.items()
        }

    def draw(self, seed: int, epochs: Sequence[int], keys: Sequence[str]) -> Tensor:
        """Return the index into ``texts`` of each sample's caption in its epoch, [len(keys)]."""
        drawn = []
        for epoch, key in zip(epochs, keys, strict=True):
            numbers, weights = self._choices[key]
            drawn.append(numbers[draw(seed, int(epoch), key, weights)])
        return torch.tensor(drawn)

    def likeliest(self, keys: Sequence[str]) -> Tensor:
        """Return the index into ``texts`` of the caption that is drawn most often for each sample, [len(keys)]."""
        choices = [self._choices[key] for key in keys]
        return torch.tensor([numbers[weights.index(max(weights))] for numbers, weights in choices])


def is_held_out(key: str, fraction: float = 0.05) -> bool:
    """Whether a sample is kept out of training; depends on its key alone, so all jobs agree."""
    return uniform(0, 0, f"held out/{key}") < fraction


def _decode(data: bytes, size: int, name: str) -> np.ndarray:
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
    except OSError as error:
        raise OSError(f"cannot decode the image {name}: {error}") from error
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
