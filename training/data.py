"""Images and captions for training, read from shard directories and blends."""

import io
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from t2i_assets.corpus.blend import draw
from t2i_assets.corpus.blend import is_held_out as is_held_out
from t2i_assets.corpus.blending import EVERYONE, Consumer, table_of
from t2i_assets.corpus.schemas import BLENDS, SAMPLES
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_rows
from training.config import OptimizerConfig
from training.schedule import samples_of_step


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
    images = ShardImages(directories, size, keys)
    return images.keys, images[np.arange(len(images))]


class ShardImages:
    """Images of shard directories that stay there and are decoded each time they are asked for.

    For data that does not fit in memory; ``OptimizerConfig.workers`` threads decode ahead. Order, size and ``keys``
    are those of ``load_images``.
    """

    def __init__(self, directories: Sequence[Path], size: int, keys: Collection[str] | None = None) -> None:
        self.size = size
        wanted = None if keys is None else set(keys)
        self._places: dict[str, tuple[Path, int, int]] = {}
        for directory in directories:
            for table in sorted(directory.glob(SHARD_GLOB)):
                tar = table.with_suffix(".tar")
                for row in read_rows(table, SAMPLES, ["key", "image_offset", "image_bytes"]):
                    if wanted is None or row["key"] in wanted:
                        self._places.setdefault(row["key"], (tar, row["image_offset"], row["image_bytes"]))
        self.keys = list(self._places)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: np.ndarray) -> Tensor:
        """Return the images of ``rows`` (N,), uint8 [N, 3, size, size]. Raises OSError as ``load_images`` does."""
        pixels = np.zeros((len(rows), self.size, self.size, 3), np.uint8)
        places = [(*self._places[self.keys[row]], number) for number, row in enumerate(rows.tolist())]
        for path, images in groupby(sorted(places), key=itemgetter(0)):
            with path.open("rb") as tar:
                for _, offset, count, number in images:
                    tar.seek(offset)
                    pixels[number] = _decode(tar.read(count), self.size, f"{path}: {self.keys[rows[number]]}")
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def shard_batches(table: Path, size: int, batch_size: int) -> Iterator[tuple[list[str], Tensor]]:
    """Yield the images of the shard of ``table`` as ``load_images`` reads them, at most ``batch_size`` at a time."""
    rows = read_rows(table, SAMPLES, ["key", "image_offset", "image_bytes"])
    with table.with_suffix(".tar").open("rb") as tar:
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            images = []
            for row in part:
                tar.seek(row["image_offset"])
                images.append(_decode(tar.read(row["image_bytes"]), size, f"{tar.name}: {row['key']}"))
            yield [row["key"] for row in part], torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def to_unit(images: Tensor) -> Tensor:
    """Scale uint8 images to [0, 1]."""
    return images.float() / 255


def to_signed(images: Tensor) -> Tensor:
    """Scale uint8 images to [-1, 1]."""
    return images.float() / 127.5 - 1


def read_blend(directory: Path, consumer: Consumer | None = None) -> dict[str, list[BlendCaption]]:
    """Return the captions that a consumer draws from a blend by sample key; those of all others by default."""
    captions: dict[str, list[BlendCaption]] = {}
    for row in read_rows(
        table_of(directory, consumer or EVERYONE), BLENDS, ["key", "caption_id", "source", "caption", "weight"]
    ):
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
        self._sources = {key: [caption.source for caption in captions] for key, captions in blend.items()}

    def draw(self, seed: int, epochs: Sequence[int], keys: Sequence[str]) -> Tensor:
        """Return the index into ``texts`` of each sample's caption in its epoch, [len(keys)]."""
        drawn = []
        for epoch, key in zip(epochs, keys, strict=True):
            numbers, weights = self._choices[key]
            drawn.append(numbers[draw(seed, int(epoch), key, weights)])
        return torch.tensor(drawn)

    def count_sources(self, seed: int, epoch: int, keys: Iterable[str]) -> Counter[str]:
        """Return how often each source is drawn for samples in an epoch; 0 for one that could have been."""
        counts: Counter[str] = Counter()
        for key in keys:
            sources = self._sources[key]
            counts.update(dict.fromkeys(sources, 0))
            counts[sources[draw(seed, epoch, key, self._choices[key][1])]] += 1
        return counts

    def likeliest(self, keys: Sequence[str]) -> Tensor:
        """Return the index into ``texts`` of the caption that is drawn most often for each sample, [len(keys)]."""
        choices = [self._choices[key] for key in keys]
        return torch.tensor([numbers[weights.index(max(weights))] for numbers, weights in choices])


class DrawsCaptions(Protocol):
    """Samples that draw a caption of a blend in each epoch."""

    @property
    def keys(self) -> Sequence[str]: ...
    @property
    def texts(self) -> BlendTexts: ...
    @property
    def seed(self) -> int: ...


def realised_shares(data: DrawsCaptions, optimizer: OptimizerConfig) -> dict[str, float]:
    """Return the share of each source among the captions that training drew, as ``blend/<source>``.

    It follows from (seed, epoch, key), as the draws themselves do, so a job that was resumed tells the same.
    Nothing where nothing was drawn.
    """
    if optimizer.steps == 0:
        return {}
    count = len(data.keys)
    epochs, rest = divmod(optimizer.steps * optimizer.batch_size, count)
    drawn: Counter[str] = Counter()
    for epoch in range(epochs):
        drawn.update(data.texts.count_sources(data.seed, epoch, data.keys))
    order, _ = samples_of_step(data.seed, epochs, count, count)
    drawn.update(data.texts.count_sources(data.seed, epochs, [data.keys[number] for number in order[:rest]]))
    return {f"blend/{source}": number / drawn.total() for source, number in sorted(drawn.items())}


def _decode(data: bytes, size: int, name: str) -> np.ndarray:
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
    except OSError as error:
        raise OSError(f"cannot decode the image {name}: {error}") from error
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
