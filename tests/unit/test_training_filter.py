"""The caption filter: what it learns from, how it draws negatives, and that it learns to match."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.drawn_corpus import write_human, write_shards, write_tokenizer
from training.caption_filter import CaptionFilterInputs, FilterTask
from training.caption_filter import main as train_filter
from training.config import CaptionFilterConfig
from training.job import Job
from training.matching_data import MatchingData, differing
from training.models.blip_filter import BlipFilter, BlipFilterConfig, load_filter
from training.models.filter_loss import draw_negative, filter_loss
from training.models.momentum_contrast import MomentumContrast
from training.pairs import Pair, PairData, Pairs, joined
from training.report import Reporter
from training.text_variants import TextVariants
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


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    write_shards(root / "shards", 10, 4)
    write_human(root / "human", 12)
    write_tokenizer(root / "tokenizer")
    return root


def test_training_pretrains_finetunes_and_writes_a_filter_that_can_be_read_back(corpus: Path, tmp_path: Path) -> None:
    inputs = CaptionFilterInputs(tokenizer=corpus / "tokenizer", shards=[corpus / "shards"], human=corpus / "human")
    config = CaptionFilterConfig.model_validate(
        {**SMALL, "pretrain": STEPS, "caption": STEPS, "finetune": STEPS, "crawl_share": 0.5, "held_out": 0.4}
    )
    with Reporter("caption_filter", tmp_path, {}) as reporter:
        train_filter(Job("caption_filter", config, inputs, tmp_path), reporter)
    model = load_filter(tmp_path)
    assert not model.training
    assert model.config.width == SMALL["width"]
    final = json.loads((tmp_path / "run.json").read_text())["final"]
    assert final["parameters"] == sum(weight.numel() for weight in model.parameters())
    assert final["val/itc_loss"] > 0


def test_a_negative_is_never_a_positive_and_the_similar_are_drawn_most() -> None:
    similarity = torch.tensor([[9.0, 8.0, 1.0, 5.0]]).expand(4, 4)
    positives = torch.tensor([[True, True, False, False]]).expand(4, 4)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([draw_negative(similarity, positives, generator) for _ in range(500)]).bincount(minlength=4)
    assert drawn[:2].sum() == 0
    assert drawn[3] > 10 * drawn[2] > 0


def test_a_batch_of_one_text_still_has_negatives_of_other_images() -> None:
    drawn = draw_negative(torch.zeros(4, 4), torch.ones(4, 4, dtype=torch.bool), torch.Generator().manual_seed(0))
    assert all(int(column) != row for row, column in enumerate(drawn))


def test_a_mirrored_image_goes_with_the_mirrored_text(corpus: Path) -> None:
    image = torch.arange(32, dtype=torch.uint8).expand(1, 3, 32, 32)
    pairs = Pairs(["a"], image, [Pair(0, "a star to the left of a circle")])
    tokenizer = load(corpus / "tokenizer", 16)
    data = PairData(pairs, tokenizer, mirror=True)
    for epoch, text in ((0, "a star to the left of a circle"), (1, "a star to the right of a circle")):
        batch = data.batch(np.array([0]), np.array([epoch]))
        assert torch.equal(batch["tokens"], tokenizer([text]))
        assert torch.equal(batch["images"][0], image[0].flip(2) if epoch else image[0])
        assert batch["positives"].tolist() == [[True]]


def test_all_captions_of_an_image_and_equal_texts_are_positives(corpus: Path) -> None:
    pairs = Pairs(["a", "b", "c"], torch.zeros(3, 3, 32, 32, dtype=torch.uint8), [])
    pairs.pairs.extend([Pair(0, "a star"), Pair(0, "a red star"), Pair(1, "a star"), Pair(2, "two circles")])
    batch = PairData(pairs, load(corpus / "tokenizer", 16)).batch(np.arange(4), np.zeros(4, dtype=int))
    expected = [[1, 1, 1, 0], [1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    assert batch["positives"].int().tolist() == expected
    assert batch["keys"] == ["a", "a", "b", "c"]
    assert len(joined(pairs, pairs, repeat_first=3).pairs) == 16


def test_padding_changes_no_score(corpus: Path) -> None:
    torch.manual_seed(0)
    tokenizer = load(corpus / "tokenizer", 24)
    model = BlipFilter(config_of(tokenizer.vocab_size, tokenizer.sot_token_id, tokenizer.eot_token_id)).eval()
    tokens = tokenizer(["a red star above a blue circle"])
    grounding, image = model.encode_image(torch.rand(1, 3, 32, 32)), torch.zeros(1, dtype=torch.long)
    short = tokens[:, : int(tokens.argmax()) + 1]
    torch.testing.assert_close(model.match(tokens, grounding, image), model.match(short, grounding, image))
    torch.testing.assert_close(model.encode_text(tokens), model.encode_text(short))


def test_it_learns_which_of_two_texts_belongs_to_an_image(corpus: Path) -> None:
    torch.manual_seed(0)
    tokenizer = load(corpus / "tokenizer", 16)
    model = BlipFilter(config_of(tokenizer.vocab_size, tokenizer.sot_token_id, tokenizer.eot_token_id))
    images = torch.stack([torch.full((3, 32, 32), value) for value in (-1.0, -0.3, 0.3, 1.0)])
    tokens = tokenizer(["a black circle", "a gray square", "two stars", "a white triangle"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    own = torch.eye(4, dtype=torch.bool)
    batch = {"tokens": tokens, "positives": own, "implied": own}
    for _ in range(150):
        loss, _ = filter_loss(model, images, batch, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        grounding = model.encode_image(images)
        right = model.match(tokens, grounding, torch.arange(4)).softmax(dim=1)[:, 1]
        wrong = model.match(tokens.roll(1, 0), grounding, torch.arange(4)).softmax(dim=1)[:, 1]
    assert (right > wrong).all()
    assert float((right - wrong).mean()) > 0.5


def test_a_text_goes_with_the_image_that_is_named_beside_it(corpus: Path) -> None:
    torch.manual_seed(0)
    tokenizer = load(corpus / "tokenizer", 16)
    model = BlipFilter(config_of(tokenizer.vocab_size, tokenizer.sot_token_id, tokenizer.eot_token_id)).eval()
    images, tokens = torch.rand(3, 3, 32, 32), tokenizer(["a star", "a red circle"])
    together = model.match(tokens, model.encode_image(images), torch.tensor([2, 0]))
    for row, image in enumerate((2, 0)):
        alone = model.match(tokens[row : row + 1], model.encode_image(images[image : image + 1]), torch.tensor([0]))
        torch.testing.assert_close(together[row : row + 1], alone)


def matching_batch(corpus: Path, variants: bool) -> dict[str, torch.Tensor]:
    pairs = Pairs(["a", "b", "c"], torch.zeros(3, 3, 32, 32, dtype=torch.uint8), [])
    pairs.pairs.extend([Pair(0, "a solid red star on a black background"), Pair(1, "a red star"), Pair(2, "a circle")])
    learnt = TextVariants([["a red star"], ["a red circle"], ["a circle"], ["a star"]]) if variants else None
    return MatchingData(pairs, load(corpus / "tokenizer", 16), learnt).batch(np.arange(3), np.zeros(3, dtype=int))


def test_a_text_that_a_caption_implies_is_no_negative_of_its_image(corpus: Path) -> None:
    assert matching_batch(corpus, False)["implied"].int().tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_variants_come_with_a_flag_where_a_text_could_not_be_made_false(corpus: Path) -> None:
    batch = matching_batch(corpus, True)
    tokenizer = load(corpus / "tokenizer", 16)
    said = [tokenizer.decode(row.tolist()) for row in batch["false_texts"]]
    assert batch["falsified"].tolist() == [False, True, True, False, True, True]
    assert "a red circle" in said[1] and "a star" in said[2]
    assert batch["true_texts"].shape == batch["tokens"].shape


def test_texts_about_other_pictures_are_rejected_unless_a_caption_implies_them(corpus: Path) -> None:
    tokenizer = load(corpus / "tokenizer", 16)
    pairs = Pairs(["a", "b"], torch.zeros(2, 3, 32, 32, dtype=torch.uint8), [])
    pairs.pairs.extend([Pair(0, "a red star"), Pair(1, "a circle")])

    def drawn(share: float, epoch: int) -> dict[str, torch.Tensor]:
        data = MatchingData(pairs, tokenizer, strangers=["red star", "buy one, get one"], stranger_share=share)
        return data.batch(np.arange(2), np.full(2, epoch))

    assert "strange_texts" not in drawn(0.0, 0)
    met = set()
    for epoch in range(12):
        batch = drawn(1.0, epoch)
        texts = [tokenizer.decode(row.tolist()) for row in batch.get("strange_texts", [])]
        met |= {
            (place, "red star" in text)
            for text, place in zip(texts, batch.get("strange_images", torch.zeros(0)).tolist(), strict=True)
        }
    assert met == {(0, False), (1, True), (1, False)}, "'red star' is true of the first picture"
    model = BlipFilter(config_of(tokenizer.vocab_size, tokenizer.sot_token_id, tokenizer.eot_token_id))
    batch = next(batch for epoch in range(12) if "strange_texts" in (batch := drawn(1.0, epoch)))
    images = torch.zeros(2, 3, 32, 32)
    with_strangers = filter_loss(model, images, batch, torch.Generator().manual_seed(0))[1]
    without = {name: value for name, value in batch.items() if not name.startswith("strange")}
    assert (
        with_strangers["itm_loss"]
        != filter_loss(model, images, without, torch.Generator().manual_seed(0))[1]["itm_loss"]
    )


def test_a_change_that_the_context_cuts_off_makes_no_text_false(corpus: Path) -> None:
    pairs = Pairs(["a"], torch.zeros(1, 3, 32, 32, dtype=torch.uint8), [Pair(0, "a red star on a black background")])
    learnt = TextVariants([["a red star on a black background"], ["a red star on a black wall"]])
    for context, possible in ((16, True), (6, False)):
        batch = MatchingData(pairs, load(corpus / "tokenizer", context), learnt).batch(np.array([0]), np.array([0]))
        assert bool(batch["falsified"][0]) is possible


def test_a_batch_of_which_no_text_could_be_made_false_has_a_finite_loss(corpus: Path) -> None:
    torch.manual_seed(0)
    tokenizer = load(corpus / "tokenizer", 16)
    model = BlipFilter(config_of(tokenizer.vocab_size, tokenizer.sot_token_id, tokenizer.eot_token_id))
    batch = matching_batch(corpus, True)
    batch["falsified"] = torch.zeros_like(batch["falsified"])
    for word_weight in (0.0, 1.0):
        generator = torch.Generator().manual_seed(0)
        loss, figures = filter_loss(model, torch.rand(3, 3, 32, 32), batch, generator, word_weight=word_weight)
        assert loss.isfinite() and all(value.isfinite() for value in figures.values())
        assert "words_spared" in figures and "words_found" not in figures


def test_it_learns_which_words_of_a_text_are_wrong(corpus: Path) -> None:
    torch.manual_seed(0)
    tokenizer = load(corpus / "tokenizer", 16)
    model = BlipFilter(config_of(tokenizer.vocab_size, tokenizer.sot_token_id, tokenizer.eot_token_id))
    pairs = Pairs(["a", "b"], torch.stack([torch.full((3, 32, 32), n, dtype=torch.uint8) for n in (0, 255)]), [])
    pairs.pairs.extend([Pair(0, "a black circle"), Pair(1, "a white circle")])
    learnt = TextVariants([["a black circle"], ["a white circle"]])
    data = MatchingData(pairs, tokenizer, learnt)
    task = FilterTask(model, None, data, lm_weight=0.0, word_weight=1.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    before = float(task.evaluate()["val/word_loss"])
    for epoch in range(60):
        batch = data.batch(np.arange(2), np.full(2, epoch))
        loss, _ = task.loss(batch, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = task.evaluate()
    assert float(after["val/words_found"]) > 0.9 and float(after["val/words_spared"]) > 0.8
    assert float(after["val/word_loss"]) < before / 2


def test_one_text_layer_cannot_tell_which_words_are_wrong() -> None:
    with pytest.raises(ValueError, match="'word_weight' of 0"):
        CaptionFilterConfig(text_layers=1)
    assert CaptionFilterConfig(text_layers=1, word_weight=0).text_layers == 1


def test_a_momentum_encoder_beside_sharded_weights_is_refused_by_the_phase() -> None:
    finetune = {"steps": 1, "batch_size": 2, "lr": 1e-3, "sharded": True}
    with pytest.raises(ValueError, match="'sharded' in finetune: the momentum encoder"):
        CaptionFilterConfig.model_validate({"finetune": finetune})
    assert CaptionFilterConfig.model_validate({"finetune": finetune, "queue": 0}).finetune.sharded


def test_the_tokens_of_a_text_that_were_changed_are_known(corpus: Path) -> None:
    tokenizer = load(corpus / "tokenizer", 16)

    def changed(before: str, after: str) -> str:
        old, new = tokenizer([before, after])
        return tokenizer.decode(new[differing(old, new)].tolist()).strip()

    assert changed("a red star and a blue circle", "a red star and a green circle") == "green"
    assert changed("a red star and a blue circle", "a blue star and a red circle") == "blue red"
    assert changed("a red star above a circle", "a red star xylophone a circle") == "xylophone"
    assert changed("a star", "a star") == ""


def test_the_momentum_encoder_follows_slowly_and_the_queue_keeps_the_newest_pairs(corpus: Path) -> None:
    torch.manual_seed(0)
    tokenizer = load(corpus / "tokenizer", 16)
    model = BlipFilter(config_of(tokenizer.vocab_size, tokenizer.sot_token_id, tokenizer.eot_token_id))
    contrast = MomentumContrast(model, queue=4, momentum=0.9, alpha=0.4, ramp=10)
    batch = matching_batch(corpus, False)
    before = model.itm_head.weight.detach().clone()
    with torch.no_grad():
        model.itm_head.weight += 1
    images = torch.rand(3, 3, 32, 32)
    for _ in range(2):
        contrast(model, images, batch["tokens"], torch.rand(3, 16), torch.rand(3, 16), batch)
    torch.testing.assert_close(contrast.teacher.itm_head.weight, before + 0.19)
    assert contrast.image_ids.tolist() == [2, 4, 4, 0]
    assert not any(weight.requires_grad for weight in contrast.teacher.parameters())


def test_the_image_s_own_pair_in_the_queue_is_no_negative(corpus: Path) -> None:
    torch.manual_seed(0)
    tokenizer = load(corpus / "tokenizer", 16)
    model = BlipFilter(config_of(tokenizer.vocab_size, tokenizer.sot_token_id, tokenizer.eot_token_id))
    batch = matching_batch(corpus, False)
    image, text = (torch.nn.functional.normalize(torch.rand(3, 16), dim=1) for _ in range(2))
    losses = []
    for ids in (batch["image_ids"], torch.full((3,), 99)):
        contrast = MomentumContrast(model, queue=3, momentum=1.0, alpha=0.0, ramp=0).eval()
        contrast.text_queue[:] = contrast.image_queue[:] = torch.nn.functional.normalize(image + text, dim=1)
        contrast.image_ids[:], contrast.text_ids[:] = ids, 99
        losses.append(contrast(model, torch.rand(3, 3, 32, 32), batch["tokens"], image, text, batch).item())
    assert losses[0] < losses[1]


def config_of(vocab_size: int, start: int, end: int) -> BlipFilterConfig:
    return BlipFilterConfig.model_validate(
        {
            **SMALL,
            "vocab_size": vocab_size,
            "start_token": start,
            "end_token": end,
            "image_layers": 1,
            "context_length": 24,
        }
    )
