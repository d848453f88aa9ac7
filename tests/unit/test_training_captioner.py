"""The captioner's job and recaptioning, as processes: what they write, and that only missing shards are done."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from t2i_assets.corpus.schemas import CAPTIONS
from t2i_assets.corpus.shards import read_samples
from t2i_assets.corpus.tables import read_rows, read_table
from tests.unit.drawn_corpus import write_human, write_shards, write_tokenizer
from training.captioner import CaptionerInputs
from training.captioner import main as train_captioner
from training.config import CaptionerConfig, RecaptionConfig
from training.job import Job
from training.pairs import human_pairs
from training.recaption import RecaptionInputs
from training.recaption import main as recaption
from training.report import Reporter

torch.set_num_threads(1)

STEPS = {"steps": 2, "batch_size": 4, "lr": 1e-3, "warmup": 1}
CONFIG = {
    "width": 32,
    "heads": 2,
    "patch_size": 8,
    "stem_blocks": 0,
    "pretrain": STEPS,
    "short": STEPS,
    "descriptive": STEPS,
    "self_training": STEPS,
    "held_out": 0.2,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    write_shards(root / "shards", 10, 4)
    write_human(root / "human", 12)
    write_tokenizer(root / "tokenizer")
    (root / "captioner").mkdir()
    inputs = CaptionerInputs(tokenizer=root / "tokenizer", shards=[root / "shards"], human=root / "human")
    job = Job("captioner", CaptionerConfig.model_validate(CONFIG), inputs, root / "captioner")
    with Reporter(job.name, job.output, {}) as reporter:
        train_captioner(job, reporter)
    return root


def write_all(corpus: Path, output: Path, **config: Any) -> None:
    output.mkdir(exist_ok=True)
    inputs = RecaptionInputs(captioner=corpus / "captioner", shards=corpus / "shards")
    settings = RecaptionConfig.model_validate({"captioner_digest": "c", "decode": {"max_tokens": 6}, **config})
    with Reporter("synthetic_captions", output, {}) as reporter:
        recaption(Job("synthetic_captions", settings, inputs, output), reporter)


def test_the_captioner_comes_in_two_styles_that_differ(corpus: Path) -> None:
    weights = [corpus / "captioner" / style / "open_clip_model.safetensors" for style in ("short", "descriptive")]
    assert weights[0].read_bytes() != weights[1].read_bytes()
    final = json.loads((corpus / "captioner" / "run.json").read_text())["final"]
    assert final["short/val/loss"] > 0
    assert 0 <= final["descriptive/val/token_accuracy"] <= 1


def test_every_sample_gets_a_caption_of_each_style_with_its_lineage(corpus: Path, tmp_path: Path) -> None:
    write_all(corpus, tmp_path / "captions")
    rows = read_rows(tmp_path / "captions", CAPTIONS)
    keys = read_samples(corpus / "shards")["key"].to_pylist()
    for style in ("short", "descriptive"):
        mine = [row for row in rows if row["source"] == f"synthetic_{style}"]
        assert sorted(row["key"] for row in mine) == sorted(keys)
        assert {row["captioner"] for row in mine} == {"c"}
        assert {json.loads(row["decode"])["top_p"] for row in mine} == {0.9}
        assert all(row["log_probability"] < 0 for row in mine)


def test_shards_that_are_done_are_left_alone_and_the_rest_comes_out_the_same(corpus: Path, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    write_all(corpus, whole)
    resumed.mkdir()
    (resumed / "00001.parquet").write_bytes((whole / "00001.parquet").read_bytes())
    before = (resumed / "00001.parquet").stat().st_mtime_ns
    write_all(corpus, resumed)
    assert (resumed / "00001.parquet").stat().st_mtime_ns == before
    assert read_table(resumed, CAPTIONS).equals(read_table(whole, CAPTIONS))


def test_another_seed_writes_other_captions(corpus: Path, tmp_path: Path) -> None:
    write_all(corpus, tmp_path / "one")
    write_all(corpus, tmp_path / "two", seed=1)
    one, two = (read_table(tmp_path / name, CAPTIONS)["caption"] for name in ("one", "two"))
    assert one != two


def test_held_out_human_images_are_in_no_training_pair(corpus: Path) -> None:
    train, held_out = human_pairs(corpus / "human", 32, "short").split(0.3)
    assert len(train.pairs) + len(held_out.pairs) == 12
    assert not {pair.image for pair in train.pairs} & {pair.image for pair in held_out.pairs}


def test_the_job_runs_as_a_command_and_names_a_wrong_field(corpus: Path, tmp_path: Path) -> None:
    job = {"config": {"widht": 3}, "inputs": {}, "output": str(tmp_path), "name": "captioner"}
    (tmp_path / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "training.recaption", "--job", str(tmp_path / "job.json")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "widht" in run.stderr
