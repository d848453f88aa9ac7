"""CLIP: its losses, what it learns, and that open_clip alone loads what the job writes."""

import json
import math
import shutil
import unicodedata
from pathlib import Path

import open_clip
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from open_clip.loss import ClipLoss, SigLipLoss
from open_clip.tokenizer import basic_clean
from pydantic import ValidationError

from tests.unit.colored_corpus import write_colored_corpus
from tests.unit.foreign_process import run_without_project
from training.clip import ClipInputs, main, move_randomly
from training.config import ClipConfig, EmbedConfig, OptimizerConfig, PretrainedClipConfig, ZeroShotConfig
from training.data import load_images
from training.embed import EmbedInputs
from training.embed import main as embed
from training.embeddings import EncoderMismatchError, encoder_digest, read_image_embeddings
from training.job import Job
from training.models.clip import (
    build_clip,
    encode_text_states,
    encode_texts,
    load_clip,
    open_pretrained,
    preprocess,
    save_clip,
    trim,
)
from training.models.contrastive import (
    class_embeddings,
    clip_loss,
    equal_captions,
    only_class,
    retrieval_recall,
    siglip_loss,
    zero_shot_hits,
)
from training.report import Reporter
from training.tokenizer import as_transformers
from training.tokenizer import load as load_tokenizer

torch.set_num_threads(1)  # two threads only wait for each other on so little work
COLORS = ("red", "green", "blue", "yellow", "purple", "orange")
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
    zero_shot={"color": ZeroShotConfig(classes=COLORS, templates=("{}", "a {} picture"))},
    optimizer=OptimizerConfig(steps=250, batch_size=16, lr=1e-3, warmup=20),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpus")
    write_colored_corpus(directory, 100)
    return directory


@pytest.fixture(scope="module")
def model(corpus: Path) -> Path:
    return train(corpus, corpus / "clip", TINY)


def train(corpus: Path, output: Path, config: ClipConfig) -> Path:
    output.mkdir()
    torch.manual_seed(0)
    inputs = ClipInputs(tokenizer=corpus / "tokenizer", blend=corpus / "blend", shards=[corpus / "shards"])
    main(Job("clip_model", config, inputs, output), Reporter("clip_model", output, config.model_dump(mode="json")))
    return output


def final_of(model: Path) -> dict[str, float]:
    final: dict[str, float] = json.loads((model / "run.json").read_text())["final"]
    return final


def test_it_learns_to_tell_captions_apart(model: Path) -> None:
    final = final_of(model)
    assert final["held_out"] > 10
    assert final["val/image_to_text_recall_at_1"] > 0.9
    assert final["val/text_to_image_recall_at_1"] > 0.9


def test_it_names_the_color_of_pictures_by_prompts_that_it_was_not_trained_for(model: Path) -> None:
    final = final_of(model)
    assert final["val/zero_shot_color_images"] == final["held_out"]
    assert final["val/zero_shot_color"] > 0.9


ALONE = """
import json
import open_clip, torch
model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{sys.argv[1]}")
tokens = open_clip.get_tokenizer(f"local-dir:{sys.argv[1]}")(json.loads(sys.argv[2]))
model.eval()
with torch.no_grad():
    image = model.encode_image(torch.load("images.pt"), normalize=True)
    text = model.encode_text(tokens, normalize=True)
torch.save({"image": image, "text": text, "mean": list(transform.transforms[-1].mean)}, "embeddings.pt")
"""


def test_open_clip_alone_loads_it_with_its_tokenizer(corpus: Path, model: Path, tmp_path: Path) -> None:
    clip, tokenizer = load_clip(model)
    texts = ["red", "A blue  picture", "it's 2 pictures, &amp; naïve!?", "word " * 20]
    _, images = load_images([corpus / "shards"], 16)
    pixels = preprocess(clip, images[:4])
    torch.save(pixels, tmp_path / "images.pt")
    run_without_project(ALONE, tmp_path, str(model), json.dumps(texts))
    theirs = torch.load(tmp_path / "embeddings.pt")
    with torch.no_grad():
        torch.testing.assert_close(theirs["image"], clip.encode_image(pixels, normalize=True), atol=1e-5, rtol=0)
        torch.testing.assert_close(theirs["text"], encode_texts(clip, tokenizer(texts)), atol=1e-5, rtol=0)
    assert theirs["mean"] == [0.5, 0.5, 0.5]


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=("Cn", "Cs")), max_size=30))
@example(text=":Ö\x8b")
def test_both_forms_of_the_tokenizer_read_any_text_alike(corpus: Path, text: str) -> None:
    assume("Cn" not in map(unicodedata.category, basic_clean(text)))  # mended encodings may be characters of the future
    tokenizer = load_tokenizer(corpus / "tokenizer", 40)
    ours = tokenizer.encode(text)
    theirs = as_transformers(tokenizer)(basic_clean(text)).input_ids
    assert theirs == [tokenizer.sot_token_id, *ours, tokenizer.eot_token_id]


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


@pytest.fixture(scope="module")
def features(corpus: Path, model: Path) -> Path:
    return embedded(corpus, model, corpus / "features")


def embedded(corpus: Path, model: Path, output: Path) -> Path:
    output.mkdir(exist_ok=True)
    inputs = EmbedInputs(clip=model, blend=corpus / "blend", shards=[corpus / "shards"])
    embed(Job("clip_embeddings", EmbedConfig(batch_size=7), inputs, output), Reporter("clip_embeddings", output, {}))
    return output


def test_embeddings_are_stored_per_image_and_per_caption_and_agree(features: Path, model: Path) -> None:
    keys, images = read_image_embeddings([features], model)
    texts = pq.read_table(features / "texts.parquet").to_pylist()
    assert len(images) == len(set(keys)) == 100
    assert len(texts) == 200
    by_key = dict(zip(keys, images, strict=True))
    captions = {row["caption"]: torch.tensor(row["embedding"]) for row in texts if row["weight"] > 0.5}
    hits = []
    for row in texts:
        assert math.isclose(torch.tensor(row["embedding"]).norm(), 1, abs_tol=1e-4)
        if row["caption"] in captions:
            nearest = max(captions, key=lambda caption: float(captions[caption] @ by_key[row["key"]]))
            hits.append(nearest == row["caption"])
    assert sum(hits) / len(hits) > 0.9


def test_a_shard_that_was_embedded_is_left_alone(corpus: Path, model: Path, features: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(features, tmp_path / "features"))
    lost, kept = (again / "images" / "shards" / name for name in ("00001.parquet", "00002.parquet"))
    before, written = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    embedded(corpus, model, again)
    assert kept.stat().st_mtime_ns == written
    assert lost.read_bytes() == before


def test_embeddings_of_another_clip_are_refused_by_both_digests(
    corpus: Path, model: Path, features: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(model, tmp_path / "clip"))
    (other / "run.json").unlink()
    assert len(read_image_embeddings([features], other)[0]) == 100, "the same weights, whatever is told of them"
    preprocessing = json.loads((other / "open_clip_config.json").read_text())
    preprocessing["preprocess_cfg"]["mean"] = [0.4, 0.5, 0.5]
    (other / "open_clip_config.json").write_text(json.dumps(preprocessing))
    with pytest.raises(EncoderMismatchError) as told:
        read_image_embeddings([features], other)
    assert encoder_digest(model) in str(told.value) and encoder_digest(other) in str(told.value)
    with pytest.raises(EncoderMismatchError, match=encoder_digest(model)):
        embedded(corpus, other, Path(shutil.copytree(features, tmp_path / "begun")))
    unmarked = tmp_path / "features"
    unmarked.mkdir()
    with pytest.raises(EncoderMismatchError, match=encoder_digest(model)):
        read_image_embeddings([unmarked], model)


def pairs(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images, texts = (F.normalize(torch.randn(count, 4, generator=generator), dim=1) for _ in range(2))
    return images, texts


WAYS = ("keep", "drop", "match")


@pytest.mark.parametrize("way", WAYS)
def test_without_equal_captions_the_losses_are_open_clips(way: str) -> None:
    (images, texts), scale, bias = pairs(), torch.tensor(10.0), torch.tensor(-3.0)
    ours = clip_loss(images, texts, scale, torch.arange(8), way)
    torch.testing.assert_close(ours, ClipLoss()(images, texts, scale), atol=1e-6, rtol=0)
    ours = siglip_loss(images, texts, scale, bias, torch.arange(8), way)
    torch.testing.assert_close(ours, SigLipLoss()(images, texts, scale, bias), atol=1e-6, rtol=0)


def test_an_equal_caption_is_no_negative() -> None:
    vectors = torch.eye(3)[[0, 0, 1]]
    captions = torch.tensor([4, 4, 9])
    scale = torch.tensor(50.0)
    assert clip_loss(vectors, vectors, scale, captions, "drop") < 1e-3
    assert clip_loss(vectors, vectors, scale, captions, "keep") > 0.3


def test_of_the_sigmoid_loss_only_the_pairs_of_equal_captions_change() -> None:
    vectors, captions = torch.eye(3)[[0, 0, 1]], torch.tensor([4, 4, 9])
    kept, dropped, matched = (siglip_loss(vectors, vectors, torch.tensor(6.0), torch.tensor(-3.0), captions, way)
                              for way in WAYS)  # fmt: skip
    pair = [2 * -F.logsigmoid(torch.tensor(logit)) / 3 for logit in (-3.0, 3.0)]
    torch.testing.assert_close(kept - dropped, pair[0])
    torch.testing.assert_close(matched - dropped, pair[1])


def test_the_sigmoid_loss_trains_a_model_that_open_clip_loads_with_its_bias(corpus: Path, tmp_path: Path) -> None:
    config = TINY.model_copy(update={"loss": "siglip", "optimizer": OptimizerConfig(steps=120, batch_size=16, lr=2e-3)})
    output = train(corpus, tmp_path / "siglip", config)
    final = final_of(output)
    assert final["val/text_to_image_recall_at_1"] > 0.5
    theirs = open_clip.create_model(f"local-dir:{output}")
    assert theirs.logit_bias.item() < 0
    assert theirs.logit_bias.item() != -10


def test_recall_counts_any_sample_with_the_same_caption() -> None:
    images, texts = torch.eye(3), torch.eye(3)[[1, 0, 2]]
    assert retrieval_recall(images, texts, equal_captions(torch.tensor([5, 5, 6])), 1) == (1.0, 1.0)
    right = equal_captions(torch.tensor([4, 5, 6]))
    assert retrieval_recall(images, texts, right, 1) == pytest.approx((1 / 3, 1 / 3))


def test_recall_of_pictures_with_several_captions_each() -> None:
    angles = torch.tensor([0.0, 90.0])
    images = torch.stack([angles.deg2rad().cos(), angles.deg2rad().sin()], dim=1)
    said = torch.tensor([80.0, 50.0, 60.0, 40.0, 30.0])  # the first three are of picture 0
    texts = torch.stack([said.deg2rad().cos(), said.deg2rad().sin()], dim=1)
    right = torch.tensor([[True, True, True, False, False], [False, False, False, True, True]])
    # Picture 0's nearest texts are at 30, 40, 50; picture 1's at 80, 60, 50, 40. Every text but that at 50, 60
    # and 80 is nearest to picture 0, which is right for none of those.
    assert retrieval_recall(images, texts, right, 1) == (0.0, 0.0)
    assert retrieval_recall(images, texts, right, 3) == (0.5, 1.0)
    assert retrieval_recall(images, texts, right, 4) == (1.0, 1.0)


def test_a_class_is_the_mean_of_its_prompts_and_not_of_their_directions_sum() -> None:
    place = {"a red": [1.0, 0.0], "red": [0.0, 1.0], "a blue": [-1.0, 0.0], "blue": [-1.0, 0.0]}
    classes = class_embeddings(
        lambda texts: torch.tensor([place[text] for text in texts]), ["red", "blue"], ["a {}", "{}"]
    )
    torch.testing.assert_close(classes, torch.tensor([[0.5**0.5, 0.5**0.5], [-1.0, 0.0]]))
    images = F.normalize(torch.tensor([[0.1, 1.0], [-1.0, 0.5], [-1.0, 1.1]]), dim=1)
    assert zero_shot_hits(images, classes, torch.tensor([0, 1, 1])).tolist() == [True, True, True]


def test_a_picture_is_of_a_class_that_its_caption_alone_names() -> None:
    assert only_class("A Red star", COLORS) == 0
    assert only_class("a red star left of a blue circle", COLORS) is None
    assert only_class("a redder thing", COLORS) is None


def test_training_starts_from_any_checkpoint_in_open_clips_layout(corpus: Path, model: Path, tmp_path: Path) -> None:
    pretrained = PretrainedClipConfig(model=str(model))
    held_out = {name: TINY.model_dump()[name] for name in ("held_out", "zero_shot")}
    untrained = ClipConfig(pretrained=pretrained, optimizer=OptimizerConfig(steps=0, batch_size=1, lr=1), **held_out)
    output = train(corpus, tmp_path / "as-it-is", untrained)
    assert final_of(output)["val/loss"] == pytest.approx(final_of(model)["val/loss"], abs=1e-5)
    (ours, tokenizer), (theirs, same) = load_clip(output), load_clip(model)
    assert all(torch.equal(weight, theirs.state_dict()[name]) for name, weight in ours.state_dict().items())
    assert torch.equal(tokenizer(["a red picture"]), same(["a red picture"]))


def test_a_checkpoint_of_another_text_tower_keeps_its_tokenizer(corpus: Path, tmp_path: Path) -> None:
    start, config = tmp_path / "start", {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1,
                     "no_causal_mask": True, "pool_type": "last"},
    }  # fmt: skip
    start.mkdir()
    torch.manual_seed(1)
    save_clip(build_clip(config), config, open_clip.get_tokenizer("ViT-B-32", context_length=8), start)
    optimizer = OptimizerConfig(steps=2, batch_size=16, lr=1e-3)
    output = train(
        corpus, tmp_path / "end", ClipConfig(pretrained=PretrainedClipConfig(model=str(start)), optimizer=optimizer)
    )
    clip, tokenizer = load_clip(output)
    theirs = open_clip.create_model(f"local-dir:{output}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{output}")(["a red picture"])
    assert torch.equal(tokenizer(["a red picture"]), tokens)
    torch.testing.assert_close(encode_texts(clip, tokens), theirs.encode_text(tokens, normalize=True))
    with pytest.raises(ValueError, match="not causal"):
        encode_text_states(clip, tokens)


def test_what_cannot_be_started_from_is_named(corpus: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ViT-B-32.*needs weights.*openai"):
        open_pretrained(PretrainedClipConfig(model="ViT-B-32"))
    with pytest.raises(ValidationError, match=r"text_width.*those of the checkpoint"):
        ClipConfig(pretrained=PretrainedClipConfig(model="ViT-B-32"), text_width=64)
    with pytest.raises(ValueError, match="logit_bias"):
        train(corpus, tmp_path / "out", ClipConfig(pretrained=PretrainedClipConfig(model=str(model)), loss="siglip"))
    with pytest.raises(ValidationError, match=r"must hold {} once"):
        ZeroShotConfig(classes=("a", "b"), templates=("a photo of {name}",))


def test_gradient_checkpointing_of_a_resnet_is_refused_instead_of_ignored(corpus: Path, tmp_path: Path) -> None:
    optimizer = OptimizerConfig(steps=1, batch_size=4, lr=1e-3, gradient_checkpointing=True)
    config = TINY.model_copy(update={"vision_layers": (1, 1, 1, 1), "optimizer": optimizer})
    with pytest.raises(ValueError, match="ResNets offer no gradient checkpointing"):
        train(corpus, tmp_path / "resnet", config)
    train(corpus, tmp_path / "vit", TINY.model_copy(update={"optimizer": optimizer}))


def test_images_move_by_whole_pixels_within_bounds() -> None:
    images = torch.zeros(50, 3, 9, 9)
    images[:, :, 4, 4] = 1
    moved = move_randomly(images, 2, torch.Generator().manual_seed(0))
    places = moved[:, 0].nonzero()[:, 1:]
    assert len(places) == 50
    assert places.min() == 2
    assert places.max() == 6
