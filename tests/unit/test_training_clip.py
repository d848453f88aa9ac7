"""CLIP: its loss, what it learns, and that open_clip loads what the job writes."""

import json
import math
from pathlib import Path

import open_clip
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss

from tests.unit.colored_corpus import write_colored_corpus
from training.clip import ClipInputs, main, move_randomly
from training.config import ClipConfig, EmbedConfig, OptimizerConfig
from training.embed import EmbedInputs
from training.embed import main as embed
from training.job import Job
from training.models.clip import clip_loss, encode_text_states, load_clip, retrieval_recall, trim
from training.report import Reporter

torch.set_num_threads(1)  # two threads only wait for each other on so little work
TINY = ClipConfig(
    image_size=16,
    embed_dim=16,
    vision_layers=1,
    vision_width=32,
    patch_size=8,
    context_length=8,
    text_width=32,
    text_layers=1,
    head_width=16,
    shift=1,
    held_out=0.3,
    optimizer=OptimizerConfig(steps=250, batch_size=16, lr=1e-3, warmup=20),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpus")
    write_colored_corpus(directory, 100)
    return directory


@pytest.fixture(scope="module")
def model(corpus: Path) -> Path:
    output = corpus / "clip"
    output.mkdir()
    torch.manual_seed(0)
    inputs = ClipInputs(tokenizer=corpus / "tokenizer", blend=corpus / "blend", shards=[corpus / "shards"])
    main(Job("clip_model", TINY, inputs, output), Reporter("clip_model", output, TINY.model_dump(mode="json")))
    return output


def test_it_learns_to_tell_captions_apart(model: Path) -> None:
    final = json.loads((model / "run.json").read_text())["final"]
    assert final["held_out"] > 10
    assert final["val/image_to_text_recall_at_1"] > 0.9
    assert final["val/text_to_image_recall_at_1"] > 0.9


def test_open_clip_loads_it_from_the_directory_with_its_tokenizer(model: Path) -> None:
    theirs, _, transform = open_clip.create_model_and_transforms(f"local-dir:{model}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{model}", bpe_path=str(model / "merges.txt.gz"))
    tokens = tokenizer(["red", "a blue picture"])
    ours, our_tokenizer = load_clip(model)
    assert torch.equal(tokens, our_tokenizer(["red", "a blue picture"]))
    theirs.eval()
    _, _, pooled = encode_text_states(ours, tokens)
    torch.testing.assert_close(theirs.encode_text(tokens, normalize=True), pooled)
    assert transform.transforms[-1].mean == [0.5, 0.5, 0.5]


def test_text_states_end_at_the_end_token_and_do_not_depend_on_padding(model: Path) -> None:
    clip, tokenizer = load_clip(model)
    tokens = tokenizer(["red", "a blue picture"])
    states, mask, pooled = encode_text_states(clip, tokens)
    short_states, short_mask, short_pooled = encode_text_states(clip, trim(tokens))
    assert mask.sum(dim=1).tolist() == [3, 5]
    assert short_states.shape == (2, 5, 32)
    assert torch.equal(mask[:, :5], short_mask)
    torch.testing.assert_close(states[:, :5], short_states)
    torch.testing.assert_close(pooled, short_pooled)
    torch.testing.assert_close(pooled.norm(dim=1), torch.ones(2))


def test_embeddings_are_stored_per_image_and_per_caption_and_agree(corpus: Path, model: Path) -> None:
    output = corpus / "features"
    output.mkdir()
    config = EmbedConfig(batch_size=7)
    inputs = EmbedInputs(clip=model, blend=corpus / "blend", shards=[corpus / "shards"])
    embed(Job("clip_embeddings", config, inputs, output), Reporter("clip_embeddings", output, {}))
    images = pq.read_table(output / "images.parquet").to_pylist()
    texts = pq.read_table(output / "texts.parquet").to_pylist()
    assert len(images) == len({row["key"] for row in images}) == 100
    assert len(texts) == 200
    by_key = {row["key"]: torch.tensor(row["embedding"]) for row in images}
    captions = {row["caption"]: torch.tensor(row["embedding"]) for row in texts if row["weight"] > 0.5}
    hits = []
    for row in texts:
        assert math.isclose(torch.tensor(row["embedding"]).norm(), 1, abs_tol=1e-4)
        if row["caption"] in captions:
            nearest = max(captions, key=lambda caption: float(captions[caption] @ by_key[row["key"]]))
            hits.append(nearest == row["caption"])
    assert sum(hits) / len(hits) > 0.9


def test_without_equal_captions_the_loss_is_open_clips() -> None:
    generator = torch.Generator().manual_seed(0)
    images, texts = (F.normalize(torch.randn(8, 4, generator=generator), dim=1) for _ in range(2))
    expected = ClipLoss()(images, texts, torch.tensor(10.0))
    for way in ("keep", "drop", "match"):
        torch.testing.assert_close(clip_loss(images, texts, torch.tensor(10.0), torch.arange(8), way), expected)


def test_an_equal_caption_is_no_negative() -> None:
    vectors = torch.eye(3)[[0, 0, 1]]
    captions = torch.tensor([4, 4, 9])
    scale = torch.tensor(50.0)
    assert clip_loss(vectors, vectors, scale, captions, "drop") < 1e-3
    assert clip_loss(vectors, vectors, scale, captions, "keep") > 0.3


def test_recall_counts_any_sample_with_the_same_caption() -> None:
    images, texts = torch.eye(3), torch.eye(3)[[1, 0, 2]]
    assert retrieval_recall(images, texts, torch.tensor([5, 5, 6]), 1) == (1.0, 1.0)
    assert retrieval_recall(images, texts, torch.tensor([4, 5, 6]), 1) == pytest.approx((1 / 3, 1 / 3))


def test_images_move_by_whole_pixels_within_bounds() -> None:
    images = torch.zeros(50, 3, 9, 9)
    images[:, :, 4, 4] = 1
    moved = move_randomly(images, 2, torch.Generator().manual_seed(0))
    places = moved[:, 0].nonzero()[:, 1:]
    assert len(places) == 50
    assert places.min() == 2
    assert places.max() == 6
