"""The sharing experiment: one BLIP three times, and its decoder."""

import json
from pathlib import Path

import torch

from t2i_assets.corpus.schemas import CAPTIONS, SAMPLES, SCORES
from t2i_assets.corpus.tables import read_rows
from tests.unit.drawn_corpus import write_human, write_shards, write_tokenizer
from training.caption_filter import build_filter
from training.config import CaptionFilterConfig, SharingConfig
from training.job import Job
from training.models.cached_blip import CachedBlip
from training.report import Reporter
from training.sharing import SharingInputs
from training.sharing import main as share
from training.tokenizer import load

torch.set_num_threads(1)

SMALL = {
    "image_size": 32,
    "width": 32,
    "heads": 2,
    "patch_size": 8,
    "stem_blocks": 0,
    "text_layers": 2,
    "embed_dim": 16,
}
STEPS = {"steps": 2, "batch_size": 4, "lr": 1e-3, "warmup": 1}


def test_separate_and_shared_models_caption_and_score_every_held_out_image(tmp_path: Path) -> None:
    write_shards(tmp_path / "shards", 8, 8)
    write_human(tmp_path / "human", 8)
    write_shards(tmp_path / "heldout", 5, 5, seed=7)
    write_tokenizer(tmp_path / "tokenizer")
    config = SharingConfig.model_validate(
        {**SMALL, "pretrain": STEPS, "caption": STEPS, "finetune": STEPS, "queue": 8, "caption_batch_size": 3}
    )
    inputs = SharingInputs(
        tokenizer=tmp_path / "tokenizer",
        shards=[tmp_path / "shards"],
        human=tmp_path / "human",
        heldout=tmp_path / "heldout",
    )
    output = tmp_path / "out"
    output.mkdir()
    with Reporter("capfilt_sharing", output, {}) as reporter:
        share(Job("capfilt_sharing", config, inputs, output), reporter)
    keys = {row["key"] for row in read_rows(tmp_path / "heldout", SAMPLES, ["key"])}
    final = json.loads((output / "run.json").read_text())["final"]
    for name in ("separate", "shared"):
        captions = read_rows(output / "captions" / f"{name}.parquet", CAPTIONS)
        scores = read_rows(output / "scores" / f"{name}.parquet", SCORES)
        assert {row["key"] for row in captions} == keys and len(captions) == len(keys)
        assert all(row["source"] == "synthetic_descriptive" and row["captioner"] == name for row in captions)
        itm = {row["caption_id"]: row["value"] for row in scores if row["kind"] == "itm"}
        assert set(itm) == {row["caption_id"] for row in captions}
        assert final[f"{name}_rejected"] == sum(value < 0.5 for value in itm.values()) / len(itm)


def test_a_decoder_with_a_cache_gives_the_logits_of_the_whole_text(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    tokenizer = load(tmp_path, 12)
    torch.manual_seed(0)
    model = build_filter(CaptionFilterConfig.model_validate({**SMALL, "context_length": 12}), tokenizer).eval()
    with torch.no_grad():
        grounding = model.encode_image(torch.rand(2, 3, 32, 32))
        tokens = tokenizer(["a red star above a circle", "two blue squares"])[:, :6]
        decoder = CachedBlip(model, grounding)
        steps = torch.stack([decoder.step(tokens[:, place]) for place in range(5)], dim=1)
        whole = model.next_tokens(tokens, grounding)
        torch.testing.assert_close(steps, whole[:, :5])
        decoder.select(torch.tensor([1, 1]))
        torch.testing.assert_close(decoder.step(tokens[[1, 1], 5]), whole[[1, 1], 5])
