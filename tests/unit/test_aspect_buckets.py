"""Aspect-ratio buckets: what shape an image gets, and that batches of one shape draw every sample once per epoch."""

import io
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from t2i_assets.corpus.digests import sample_key
from t2i_assets.corpus.shards import ShardWriter
from tests.unit.drawn_corpus import sample
from tests.unit.latent_corpus import AUTOENCODER, DIFFUSION
from training.aspect_buckets import BucketOrder, fit, nearest_bucket, read_buckets
from training.captioned import Bucketed
from training.config import LatentsConfig, OptimizerConfig
from training.data import BlendCaption, BlendTexts, to_signed
from training.diffusion import Denoising
from training.job import Job
from training.latent_sets import LatentSet, read_latents
from training.latents import LatentsInputs
from training.latents import main as compute
from training.models.autoencoder import build_autoencoder, encode, store_statistics
from training.models.diffusion import build_unet
from training.models.objectives import build_scheduler
from training.report import Reporter
from training.text_encoders.protocol import Condition

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=4)


def order_of(sizes: list[int]) -> BucketOrder:
    starts = np.cumsum([0, *sizes])
    return BucketOrder([np.arange(start, end) for start, end in itertools.pairwise(starts)])


def bucket_of(sizes: list[int], sample: int) -> int:
    return int(np.searchsorted(np.cumsum(sizes), sample, side="right"))


@settings(max_examples=30, deadline=None)
@given(sizes=SIZES, batch_size=st.integers(1, 9), seed=st.integers(0, 3))
def test_a_batch_is_of_one_bucket_and_every_sample_comes_once_per_epoch(
    sizes: list[int], batch_size: int, seed: int
) -> None:
    order = order_of(sizes)
    drawn: Counter[tuple[int, int]] = Counter()
    for step in range(3 * -(-sum(sizes) // batch_size) + len(sizes)):
        indices, epochs = order.samples_of_step(seed, step, batch_size)
        assert len(indices) == len(epochs) == batch_size
        assert len({bucket_of(sizes, index) for index in indices.tolist()}) == 1
        drawn.update(zip(indices.tolist(), epochs.tolist(), strict=True))
    assert set(drawn.values()) == {1}
    first = [sample for sample, epoch in drawn if epoch == 0]
    assert sorted(first) == list(range(sum(sizes)))


def test_the_samples_of_a_step_follow_from_seed_and_step_alone() -> None:
    sizes = [13, 5, 20]
    forwards = [order_of(sizes).samples_of_step(7, step, 4)[0].tolist() for step in range(40)]
    backwards = [order_of(sizes).samples_of_step(7, step, 4)[0].tolist() for step in reversed(range(40))]
    assert forwards == backwards[::-1]
    assert forwards != [order_of(sizes).samples_of_step(8, step, 4)[0].tolist() for step in range(40)]


def test_an_image_goes_to_the_bucket_of_the_nearest_aspect_ratio() -> None:
    buckets = [(32, 32), (24, 40), (40, 24)]
    assert nearest_bucket((100, 100), buckets) == (32, 32)
    assert nearest_bucket((90, 160), buckets) == (24, 40)
    assert nearest_bucket((400, 240), buckets) == (40, 24)
    assert nearest_bucket((10, 1000), buckets) == (24, 40)


def test_an_image_fills_its_bucket_and_loses_only_its_edges() -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :10], wide[:, 10:50], wide[:, 50:] = 255, 100, 255
    cut = fit(Image.fromarray(wide), (20, 40))
    assert cut.shape == (20, 40, 3)
    assert (cut[:, 2:-2] == 100).all()
    enlarged = fit(Image.fromarray(np.full((10, 10, 3), 7, np.uint8)), (24, 40))
    assert enlarged.shape == (24, 40, 3)
    assert (enlarged == 7).all()


def test_latents_of_every_shape_are_written_and_read_back(tmp_path: Path) -> None:
    first, tall, wide, second = write_shard(tmp_path / "shards", [(30, 30), (20, 40), (40, 20), (64, 62)])
    torch.manual_seed(0)
    autoencoder = build_autoencoder(AUTOENCODER).eval()
    store_statistics(autoencoder, torch.randn(9, 4, 4, 4))
    autoencoder.save_pretrained(tmp_path / "autoencoder")
    config = LatentsConfig(batch_size=1, buckets=((16, 16), (12, 20), (20, 12)))
    inputs = LatentsInputs(autoencoder=tmp_path / "autoencoder", shards=tmp_path / "shards")
    output = tmp_path / "latents"
    output.mkdir()
    compute(Job("latents", config, inputs, output), Reporter("latents", output, {}))
    found = read_latents([output], tmp_path / "autoencoder")
    assert found.keys[:2] == [first, second], "the most frequent shape comes first"
    shapes = {key: tuple(found.take([number]).shape[1:]) for number, key in enumerate(found.keys)}
    assert shapes == {first: (4, 4, 4), tall: (4, 5, 3), wide: (4, 3, 5), second: (4, 4, 4)}
    keys, pictures = read_buckets(tmp_path / "shards" / "00000.parquet", config.buckets)[12, 20]
    assert keys == [wide]
    expected = encode(autoencoder, to_signed(pictures))
    torch.testing.assert_close(found.take([found.keys.index(wide)]), expected, atol=1e-5, rtol=1e-5)


def write_shard(directory: Path, sizes: list[tuple[int, int]]) -> list[str]:
    """Write pictures of these widths and heights, each of a colour of its own; return their keys."""
    keys = []
    with ShardWriter(directory, "demo") as writer:
        for number, size in enumerate(sizes):
            file = io.BytesIO()
            Image.new("RGB", size, (60 * number, 90, 90)).save(file, "JPEG")
            writer.write(sample(file.getvalue(), "a picture"), file.getvalue(), "a picture")
            keys.append(sample_key(file.getvalue()))
    return keys


def test_training_takes_latents_of_several_shapes() -> None:
    torch.manual_seed(0)
    buckets = [torch.randn(6, 2, 4, 4), torch.randn(5, 2, 2, 6)]
    places = np.array([(bucket, row) for bucket, part in enumerate(buckets) for row in range(len(part))])
    keys = [f"k{number}" for number in range(11)]
    latents = LatentSet(keys, buckets, places)
    texts = BlendTexts({key: [BlendCaption(key, "alt", f"text {key}", 1.0)] for key in keys})
    conditions = Condition.of_text(torch.randn(11, 3, 8), torch.randn(11, 6))
    data = Bucketed(latents, list(range(1, 11)), texts, conditions, None, seed=0)
    nothing = Condition.of_text(torch.zeros(1, 3, 8), torch.zeros(1, 6))
    unet = build_unet(DIFFUSION, latents.shape, text_width=8, embed_dim=6)
    held_out = [(values, condition) for values, condition, _ in data.likeliest(8)]
    task = Denoising(unet, build_scheduler(DIFFUSION), nothing, DIFFUSION, held_out)
    shapes = set()
    for step in range(8):
        batch = data.batch(*data.samples_of_step(3, step, 2))
        for key, values in zip(batch["keys"], batch["latents"], strict=True):
            bucket, row = places[keys.index(key)]
            assert torch.equal(values, buckets[bucket][row])
        shapes.add(tuple(batch["latents"].shape[2:]))
        loss, _ = task.loss(batch, torch.Generator().manual_seed(0))
        assert loss.isfinite()
    assert shapes == {(4, 4), (2, 6)}
    told = data.shares(OptimizerConfig(steps=6, batch_size=2, lr=1e-3))
    assert told == {"blend/alt": 1.0}
    assert [len(values) for values, _ in held_out] == [5, 3]
    with torch.no_grad():
        assert float(task.evaluate()["val/loss"]) > 0
