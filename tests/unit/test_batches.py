"""Batches: every sample once per epoch with the same caption, however many threads and processes make them."""

import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.drawn_corpus import write_shards
from training.batches import Batch, batches_of_steps
from training.config import OptimizerConfig
from training.data import BlendCaption, BlendTexts, ShardImages, load_images, realised_shares

COUNT, BATCH, STEPS = 18, 4, 9  # two epochs
OPTIMIZER = OptimizerConfig(steps=STEPS, batch_size=BATCH, lr=1.0)


class Drawn:
    """Samples with a caption of their epoch; batches take unequal times, so threads overtake each other."""

    def __init__(self) -> None:
        self.keys = [f"key{number}" for number in range(COUNT)]
        self.seed = 3
        captions = [BlendCaption("", "human", "said", 0.7), BlendCaption("", "alt", "IMG_1", 0.3)]
        self.texts = BlendTexts(dict.fromkeys(self.keys, captions))

    def __len__(self) -> int:
        return COUNT

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch:
        time.sleep(random.uniform(0, 0.003))
        keys = [self.keys[index] for index in indices]
        return {"keys": keys, "epochs": epochs, "captions": self.texts.draw(self.seed, epochs.tolist(), keys)}


def drawn(workers: int, ranks: int, parts: int = 1) -> list[tuple[int, str, int]]:
    """Return (epoch, key, caption) of all samples in the order of the steps, each step's in the order of the ranks."""
    data = Drawn()
    of_ranks = [
        batches_of_steps(data, range(STEPS), BATCH, data.seed, rank, ranks, parts, workers) for rank in range(ranks)
    ]
    return [
        sample
        for step in zip(*of_ranks, strict=True)
        for batches in step
        for batch in batches
        for sample in zip(batch["epochs"].tolist(), batch["keys"], batch["captions"].tolist(), strict=True)
    ]


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_samples_and_captions_are_the_same_for_any_number_of_workers_and_ranks(workers: int, ranks: int) -> None:
    found = drawn(workers, ranks)
    assert found == drawn(workers=0, ranks=1)
    for epoch in range(2):
        assert sorted(key for of, key, _ in found if of == epoch) == sorted(Drawn().keys)
    texts = Counter(Drawn().texts.texts[caption] for _, _, caption in found)
    shares = realised_shares(Drawn(), OPTIMIZER)
    assert texts["said"] / len(found) == shares["blend/human"]
    assert 0 < texts["IMG_1"] / len(found) == shares["blend/alt"]


def test_the_parts_of_a_step_are_its_samples_in_order() -> None:
    assert drawn(workers=0, ranks=1, parts=4) == drawn(workers=0, ranks=1)


def test_a_batch_that_cannot_be_parted_evenly_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"batch_size 4 cannot be parted evenly: .* 3 processes times accumulate 1"):
        next(batches_of_steps(Drawn(), range(STEPS), BATCH, 0, ranks=3))


def test_an_error_of_a_worker_is_the_loops() -> None:
    class Broken(Drawn):
        def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch:
            raise OSError("cannot decode the image 00000.tar: key3")

    with pytest.raises(OSError, match=r"00000\.tar: key3"):
        next(batches_of_steps(Broken(), range(STEPS), BATCH, 0, workers=2))


def test_images_read_when_they_are_due_are_those_read_before(tmp_path: Path) -> None:
    write_shards(tmp_path / "shards", 7, per_shard=3)
    keys, images = load_images([tmp_path / "shards"], 16)
    lazy = ShardImages([tmp_path / "shards"], 16)
    assert lazy.keys == keys
    rows = np.array([5, 0, 6, 0])
    assert torch.equal(lazy[rows], images[rows])
    some = ShardImages([tmp_path / "shards", tmp_path / "shards"], 16, keys[3:5])
    assert some.keys == keys[3:5]
    assert torch.equal(some[np.arange(2)], images[3:5])
