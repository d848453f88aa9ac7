"""Reading shards and blends for training."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2i_assets.corpus.digests import caption_id, sample_key
from t2i_assets.corpus.schemas import BLENDS
from t2i_assets.corpus.shards import ShardWriter
from t2i_assets.corpus.tables import write_table
from training.batches import Batch
from training.config import OptimizerConfig
from training.data import (
    BlendTexts,
    draw_caption,
    is_held_out,
    load_images,
    read_blend,
    realised_shares,
    to_signed,
    to_unit,
)
from training.loop import train
from training.report import Reporter
from training.task import Figures, Task


def encode(image: Image.Image, extension: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[extension])
    return buffer.getvalue()


def write_shards(directory: Path, images: list[tuple[Image.Image, str]], samples_per_shard: int = 3) -> list[str]:
    keys = []
    with ShardWriter(directory, "snapshot", samples_per_shard) as writer:
        for image, extension in images:
            data = encode(image, extension)
            keys.append(sample_key(data))
            row = {
                "key": keys[-1],
                "source": "test",
                "image_ext": extension,
                "width": image.width,
                "height": image.height,
                "original_width": image.width,
                "original_height": image.height,
                "original_bytes": len(data),
                "original_format": "JPEG",
                "original_sha256": hashlib.sha256(data).hexdigest(),
                "phash": "0" * 16,
                "image_url": "http://example.org/image",
                "consent": "allowed",
                "alt_text": "an image",
            }
            writer.write(row, data, "an image")
    return keys


def plain(color: tuple[int, int, int], width: int = 20, height: int = 20) -> Image.Image:
    return Image.new("RGB", (width, height), color)


def test_images_of_several_shards_and_formats_come_as_uint8_in_the_order_of_their_keys(tmp_path: Path) -> None:
    colors = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250)]
    formats = ["png", "jpg", "webp", "png", "jpg"]
    written = write_shards(tmp_path, [(plain(c), f) for c, f in zip(colors, formats, strict=True)])
    keys, images = load_images([tmp_path], 8)
    assert keys == written
    assert images.dtype == torch.uint8
    assert images.shape == (5, 3, 8, 8)
    assert np.abs(images.float().mean(dim=(2, 3)).numpy() - np.array(colors)).max() < 12


def test_an_oblong_image_is_cropped_at_its_centre_and_not_squeezed(tmp_path: Path) -> None:
    image = plain((0, 0, 0), 40, 20)
    image.paste((255, 255, 255), (10, 0, 30, 20))
    write_shards(tmp_path, [(image, "png")])
    _, images = load_images([tmp_path], 10)
    assert images.min() > 200


def test_only_wanted_keys_are_read_and_a_key_in_two_snapshots_once(tmp_path: Path) -> None:
    images = [(plain((n, n, n)), "png") for n in (10, 20, 30, 40)]
    keys = write_shards(tmp_path / "first", images)
    write_shards(tmp_path / "second", images[:2])
    found, pixels = load_images([tmp_path / "first", tmp_path / "second"], 4, {keys[3], keys[0]})
    assert found == [keys[0], keys[3]]
    assert pixels[:, 0, 0, 0].tolist() == [10, 40]


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    keys = write_shards(tmp_path, [(plain((1, 2, 3)), "png")])
    tar = tmp_path / "00000.tar"
    tar.write_bytes(tar.read_bytes().replace(b"\x89PNG", b"\x89BAD"))
    with pytest.raises(OSError, match=f"00000.tar: {keys[0]}"):
        load_images([tmp_path], 8)


def test_pixels_are_scaled_to_the_full_range() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8)
    assert to_unit(pixels).tolist() == [0, 1]
    assert to_signed(pixels).tolist() == [-1, 1]


def write_blend(directory: Path, count: int) -> None:
    rows = []
    for n in range(count):
        key = sample_key(str(n).encode())
        for source, caption, weight in (
            ("synthetic_descriptive", f"a caption {n % 7}", 0.95),
            ("alt", f"alt text {n}", 0.05),
        ):
            identity = caption_id(key, source, caption)
            row = {"key": key, "snapshot": "s", "caption_id": identity, "source": source, "caption": caption}
            rows.append({**row, "weight": weight})
    write_table(directory / "00000.parquet", rows, BLENDS)


def test_the_realised_blend_keeps_to_its_recipe_and_every_reader_draws_the_same(tmp_path: Path) -> None:
    write_blend(tmp_path, 2000)
    blend = read_blend(tmp_path)
    texts = BlendTexts(blend)
    keys = list(blend)
    drawn = texts.draw(seed=3, epochs=[1] * len(keys), keys=keys)
    share = np.mean([texts.texts[number].startswith("a caption") for number in drawn])
    assert abs(share - 0.95) < 3 * (0.95 * 0.05 / 2000) ** 0.5
    singly = [draw_caption(blend[key], 3, 1, key).caption for key in keys]
    assert singly == [texts.texts[number] for number in drawn]
    assert not torch.equal(drawn, texts.draw(seed=3, epochs=[2] * len(keys), keys=keys))


def test_equal_texts_have_one_number_and_the_likeliest_is_the_heaviest(tmp_path: Path) -> None:
    write_blend(tmp_path, 30)
    blend = read_blend(tmp_path)
    texts = BlendTexts(blend)
    assert len(texts.texts) == 7 + 30
    likeliest = [texts.texts[number] for number in texts.likeliest(list(blend))]
    assert likeliest == [captions[0].caption for captions in blend.values()]


def test_a_consumer_reads_its_own_table_of_the_blend(tmp_path: Path) -> None:
    write_blend(tmp_path, 4)
    write_blend(tmp_path / "clip", 2)
    assert len(read_blend(tmp_path, "clip")) == 2
    assert read_blend(tmp_path, "diffusion") == read_blend(tmp_path)
    assert len(read_blend(tmp_path)) == 4


@dataclass
class Texts:
    """Samples of a blend, with what was drawn for them in each batch."""

    keys: list[str]
    texts: BlendTexts
    seed: int
    drawn: list[str]

    def __len__(self) -> int:
        return len(self.keys)

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch:
        keys = [self.keys[index] for index in indices]
        self.drawn += [self.texts.texts[number] for number in self.texts.draw(self.seed, epochs.tolist(), keys)]
        return {"keys": keys}


class Nothing(Task):
    """A model with nothing to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[torch.Tensor, Figures]:
        return self.weight.sum(), {}


@pytest.mark.parametrize("steps", [29, 40, 41])
def test_the_realised_shares_are_those_of_the_captions_that_training_drew(tmp_path: Path, steps: int) -> None:
    write_blend(tmp_path, 40)
    blend = read_blend(tmp_path)
    data = Texts(list(blend), BlendTexts(blend), 3, [])
    optimizer = OptimizerConfig(steps=steps, batch_size=5, lr=0.1)
    train(Nothing(), data, optimizer, tmp_path, Reporter("", tmp_path, {}), data.seed)
    synthetic = sum(text.startswith("a caption") for text in data.drawn) / (5 * steps)
    assert realised_shares(data, optimizer) == {
        "blend/alt": pytest.approx(1 - synthetic),
        "blend/synthetic_descriptive": pytest.approx(synthetic),
    }
    assert 0 < synthetic < 1


def test_a_source_that_is_never_drawn_is_told_with_its_share_of_nothing(tmp_path: Path) -> None:
    write_blend(tmp_path, 2)
    blend = read_blend(tmp_path)
    data = Texts(list(blend), BlendTexts(blend), 3, [])
    shares = realised_shares(data, OptimizerConfig(steps=1, batch_size=2, lr=0.1))
    assert shares == {"blend/alt": 0, "blend/synthetic_descriptive": 1}
    assert realised_shares(data, OptimizerConfig(steps=0, batch_size=2, lr=0.1)) == {}


def test_the_held_out_share_depends_on_the_key_alone() -> None:
    keys = [sample_key(str(n).encode()) for n in range(4000)]
    chosen = {key for key in keys if is_held_out(key, 0.05)}
    assert 0.035 < len(chosen) / len(keys) < 0.065
    assert chosen <= {key for key in keys if is_held_out(key, 0.2)}
