"""Latents: a table per shard, finished shards survive a kill, and sets that were prepared differently do not mix."""

import io
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2i_assets.corpus.shards import ShardWriter
from tests.unit.drawn_corpus import sample
from tests.unit.latent_corpus import AUTOENCODER
from training.config import LatentsConfig
from training.job import Job
from training.latent_sets import LatentsMismatchError, read_latents
from training.latents import LatentsInputs, main
from training.models.autoencoder import build_autoencoder, store_statistics
from training.report import Reporter

SQUARES = LatentsConfig(batch_size=2)
BUCKETS = LatentsConfig(batch_size=2, buckets=((16, 16), (12, 20)))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> LatentsInputs:
    """Three shards of three pictures each, one of every three wide, and an autoencoder that knows nothing."""
    root = tmp_path_factory.mktemp("corpus")
    random = np.random.default_rng(0)
    with ShardWriter(root / "shards", "demo", samples_per_shard=3) as writer:
        for number in range(9):
            file = io.BytesIO()
            size = (16, 30) if number % 3 == 1 else (20, 20)
            Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(file, "PNG")
            writer.write(sample(file.getvalue(), "a picture"), file.getvalue(), "a picture")
    torch.manual_seed(0)
    autoencoder = build_autoencoder(AUTOENCODER).eval()
    store_statistics(autoencoder, torch.randn(9, 4, 4, 4))
    autoencoder.save_pretrained(root / "autoencoder")
    return LatentsInputs(autoencoder=root / "autoencoder", shards=root / "shards")


def compute(inputs: LatentsInputs, output: Path, config: LatentsConfig = SQUARES) -> dict[str, bytes]:
    """Run the job; return the files that it leaves, but for what it reports."""
    output.mkdir(exist_ok=True)
    main(Job("latents", config, inputs, output), Reporter("latents", output, {}))
    report = {"run.json", "metrics.parquet"}
    return {path.name: path.read_bytes() for path in sorted(output.iterdir()) if path.name not in report}


@pytest.mark.parametrize("config", [SQUARES, BUCKETS], ids=["squares", "buckets"])
def test_every_shard_has_a_table_for_each_shape(inputs: LatentsInputs, tmp_path: Path, config: LatentsConfig) -> None:
    files = compute(inputs, tmp_path, config)
    endings = ["-12x20", "-16x16"] if config.buckets else [""]
    names = [f"0000{shard}{ending}.parquet" for shard in range(3) for ending in endings]
    assert list(files) == [*names, "latents.json"]
    found = read_latents([tmp_path], inputs.autoencoder)
    assert [part.shape for part in found.buckets] == ([(6, 4, 4, 4), (3, 4, 3, 5)] if endings[0] else [(9, 4, 4, 4)])
    assert len(set(found.keys)) == 9
    final = json.loads((tmp_path / "run.json").read_text())["final"]
    values = torch.cat([part.flatten() for part in found.buckets])
    assert final["images"] == 9
    assert final["mean"] == pytest.approx(values.mean().item(), abs=1e-5)
    assert final["std"] == pytest.approx(values.std(unbiased=False).item(), abs=1e-5)


@pytest.mark.parametrize("config", [SQUARES, BUCKETS], ids=["squares", "buckets"])
def test_a_job_killed_at_any_write_is_completed_without_encoding_finished_shards_again(
    inputs: LatentsInputs, tmp_path: Path, config: LatentsConfig
) -> None:
    whole = compute(inputs, tmp_path / "whole", config)
    tables = len(whole) // 3  # written for a shard, before latents.json is
    for write in range(3 * (tables + 1)):
        output = tmp_path / str(write)
        die_at_write(write, inputs, output, config)
        finished = {path: path.stat().st_mtime_ns for path in sorted(output.glob("0*.parquet"))}
        finished = dict(list(finished.items())[: write // (tables + 1) * tables])
        assert compute(inputs, output, config) == whole
        assert {path: path.stat().st_mtime_ns for path in finished} == finished


def die_at_write(number: int, inputs: LatentsInputs, output: Path, config: LatentsConfig) -> None:
    """Run the job in a process that is killed when it would give its file of that number its name."""
    if (child := os.fork()) == 0:
        torch.set_num_threads(1)
        left, replace = iter(range(number)), Path.replace

        def replace_or_die(path: Path, target: Path) -> Path:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(path, target)

        Path.replace = replace_or_die
        compute(inputs, output, config)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def test_latents_that_were_prepared_otherwise_are_refused_together(inputs: LatentsInputs, tmp_path: Path) -> None:
    compute(inputs, tmp_path / "squares")
    compute(inputs, tmp_path / "buckets", BUCKETS)
    with pytest.raises(LatentsMismatchError, match=r"\[\[16, 16\]\].*squares, but by .*\[12, 20\].*buckets"):
        read_latents([tmp_path / "squares", tmp_path / "buckets"], inputs.autoencoder)


def test_what_was_made_otherwise_is_made_anew_where_it_lies(inputs: LatentsInputs, tmp_path: Path) -> None:
    compute(inputs, tmp_path / "both", BUCKETS)
    assert compute(inputs, tmp_path / "both") == compute(inputs, tmp_path / "squares")


def test_precision_is_that_of_the_autoencoder(inputs: LatentsInputs, tmp_path: Path) -> None:
    compute(inputs, tmp_path / "fp32")
    compute(inputs, tmp_path / "bf16", SQUARES.model_copy(update={"precision": "bf16"}))
    full, half = (read_latents([tmp_path / name], inputs.autoencoder).buckets[0] for name in ("fp32", "bf16"))
    assert not torch.equal(full, half)
    torch.testing.assert_close(half, full, atol=0.2, rtol=0.1)
