"""Writing captions: the KV cache gives open_clip's own logits, and a caption depends on its sample alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from tests.unit.drawn_corpus import write_tokenizer
from tests.unit.foreign_process import run_without_project
from training.config import DecodeConfig
from training.models.cached_coca import CachedCoca
from training.models.coca import Captioner, build_coca, coca_config, coca_loss, load_captioner, save_captioner
from training.models.decode import detokenize, write_captions
from training.models.token_sampling import largest, pick_tokens
from training.tokenizer import MERGES, load

torch.set_num_threads(1)

CONTEXT = 24


@pytest.fixture(scope="module")
def merges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(directory)
    return directory


@pytest.fixture(scope="module")
def captioner(merges: Path) -> Captioner:
    return tiny_captioner(merges, stem_blocks=1)


def tiny_captioner(merges: Path, stem_blocks: int) -> Captioner:
    torch.manual_seed(0)
    tokenizer = load(merges, CONTEXT)
    config = coca_config(
        tokenizer.vocab_size, 32, 8, 32, 1, 2, 2, heads=2, context_length=CONTEXT, stem_blocks=stem_blocks
    )
    return Captioner(build_coca(config).eval(), tokenizer, config)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_the_cache_gives_the_logits_of_the_whole_model(captioner: Captioner, images: torch.Tensor) -> None:
    tokens = captioner.tokenizer(["a solid red star left of a dotted blue circle on a gray background"] * len(images))
    _, image_tokens = captioner.model._encode_image(images)
    whole = captioner.model(images, tokens)["logits"]
    decoder = CachedCoca(captioner.model, image_tokens, CONTEXT)
    steps = torch.stack([decoder.step(tokens[:, position]) for position in range(CONTEXT - 1)], dim=1)
    length = int(tokens[0].argmax())
    torch.testing.assert_close(steps[:, :length], whole[:, :length], atol=1e-4, rtol=0)


METHODS: dict[str, dict[str, Any]] = {
    "nucleus": {"top_p": 0.5, "temperature": 0.7},
    "top_k": {"top_k": 5},
    "beam": {"beams": 3},
    "greedy": {},
}


@pytest.mark.parametrize("method", METHODS)
def test_the_log_probability_is_the_models_own(captioner: Captioner, images: torch.Tensor, method: str) -> None:
    config = DecodeConfig.model_validate({"method": method, "max_tokens": 6, **METHODS[method]})
    written = write_captions(captioner.model, captioner.tokenizer, images, [str(n) for n in range(6)], 0, config)
    start, end = captioner.tokenizer.sot_token_id, captioner.tokenizer.eot_token_id
    for image, caption in zip(images, written, strict=True):
        ended = [end] if len(caption.tokens) < config.max_tokens else []
        tokens = torch.tensor([[start, *caption.tokens, *ended]])
        with torch.no_grad():
            logits = captioner.model(image[None], tokens, output_labels=False)["logits"][0, :-1]
        expected = logits.log_softmax(dim=1).gather(1, tokens[0, 1:, None]).sum().item()
        assert caption.log_probability == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_caption_does_not_depend_on_its_batch(captioner: Captioner, images: torch.Tensor, method: str) -> None:
    names = [f"sample{n}" for n in range(6)]
    config = DecodeConfig.model_validate({"method": method, "max_tokens": 10, **METHODS[method]})
    together = write_captions(captioner.model, captioner.tokenizer, images, names, 3, config)
    for number in (5, 2):
        part = slice(number, number + 1)
        (alone,) = write_captions(captioner.model, captioner.tokenizer, images[part], names[part], 3, config)
        assert alone.tokens == together[number].tokens
    other = write_captions(captioner.model, captioner.tokenizer, images, names, 4, config)
    differs = [caption.tokens for caption in other] != [caption.tokens for caption in together]
    assert differs == (method in ("nucleus", "top_k"))


def test_a_prompt_is_what_captions_go_on_from(captioner: Captioner, images: torch.Tensor) -> None:
    model, tokenizer, names = captioner.model, captioner.tokenizer, [str(n) for n in range(6)]
    greedy = DecodeConfig(method="greedy", max_tokens=5, min_tokens=5)
    written = write_captions(model, tokenizer, images, names, 0, greedy, "a dotted red star")
    before = [tokenizer.sot_token_id, *tokenizer.encode("a dotted red star")]
    for image, caption in zip(images, written, strict=True):
        tokens = torch.tensor([[*before, *caption.tokens]])
        with torch.no_grad():
            logits = model(image[None], tokens, output_labels=False)["logits"][0, len(before) - 1 : -1]
        logits[:, [tokenizer.sot_token_id, tokenizer.eot_token_id]] = -torch.inf
        assert tuple(logits.argmax(dim=1).tolist()) == caption.tokens
    with pytest.raises(ValueError, match="fills the model's 24 tokens"):
        write_captions(model, tokenizer, images, names, 0, greedy, "a red star " * CONTEXT)


def test_a_caption_is_as_long_as_it_must_be(captioner: Captioner, images: torch.Tensor) -> None:
    for method, settings in METHODS.items():
        config = DecodeConfig.model_validate({"method": method, "min_tokens": 9, "max_tokens": 9, **settings})
        written = write_captions(captioner.model, captioner.tokenizer, images, [str(n) for n in range(6)], 0, config)
        assert {len(caption.tokens) for caption in written} == {9}


def test_tokens_are_drawn_from_the_nucleus_in_proportion() -> None:
    probability = torch.tensor([0.1, 0.5, 0.05, 0.35])
    chances = torch.from_numpy(np.linspace(0, 1, 4000, endpoint=False))
    token = pick_tokens(probability.log().expand(4000, 4), chances, top_p=0.8, temperature=1.0)
    share = token.bincount(minlength=4) / 4000
    torch.testing.assert_close(share, torch.tensor([0, 0.5 / 0.85, 0, 0.35 / 0.85]), atol=2e-3, rtol=0)
    assert set(pick_tokens(probability.log().expand(50, 4), chances[:50], top_p=0.8, temperature=0).tolist()) == {1}


def test_the_nucleus_is_taken_of_the_top_k_as_transformers_does() -> None:
    logits = torch.randn(300, 40, generator=torch.Generator().manual_seed(0)) * 2
    warpers = LogitsProcessorList([TemperatureLogitsWarper(0.8), TopKLogitsWarper(8), TopPLogitsWarper(0.7)])
    allowed = warpers(None, logits).isfinite()
    drawn = torch.zeros_like(allowed)
    for chance in np.linspace(0, 1, 200, endpoint=False):
        token = pick_tokens(logits, torch.full((300,), chance), 0.7, 0.8, 8)
        drawn[torch.arange(300), token] = True
    assert (drawn <= allowed).all()
    assert drawn.sum() > 0.95 * allowed.sum()


def test_of_equal_scores_the_first_are_the_largest() -> None:
    values, index = largest(torch.tensor([[1.0, 3.0, 2.0, 3.0, 2.0, 2.0], [0.0] * 6]), 4)
    assert index.tolist() == [[1, 3, 2, 4], [0, 1, 2, 3]]
    assert values.tolist() == [[3.0, 3.0, 2.0, 2.0], [0.0] * 4]


def test_punctuation_closes_up_to_its_word(captioner: Captioner) -> None:
    text = "a red star, a blue circle and a green square."
    assert detokenize(captioner.tokenizer, captioner.tokenizer.encode(text)) == text


def test_a_saved_captioner_comes_back_the_same(
    captioner: Captioner, merges: Path, images: torch.Tensor, tmp_path: Path
) -> None:
    save_captioner(captioner, merges / MERGES, tmp_path)
    again = load_captioner(tmp_path)
    config = DecodeConfig(max_tokens=8)
    names = [str(n) for n in range(6)]
    assert write_captions(again.model, again.tokenizer, images, names, 0, config) == write_captions(
        captioner.model, captioner.tokenizer, images, names, 0, config
    )


ALONE = """
import open_clip, torch
model = open_clip.create_model(f"local-dir:{sys.argv[1]}").eval()
tokenizer = open_clip.get_tokenizer(f"local-dir:{sys.argv[1]}", bpe_path=f"{sys.argv[1]}/merges.txt.gz")
images = torch.load("images.pt")
with torch.no_grad():
    torch.save(model(images, tokenizer(["two green squares"] * len(images)))["logits"], "logits.pt")
"""


def test_open_clip_alone_loads_a_captioner_without_a_stem(merges: Path, images: torch.Tensor, tmp_path: Path) -> None:
    captioner = tiny_captioner(merges, stem_blocks=0)
    save_captioner(captioner, merges / MERGES, tmp_path / "captioner")
    torch.save(images, tmp_path / "images.pt")
    run_without_project(ALONE, tmp_path, str(tmp_path / "captioner"))
    tokens = captioner.tokenizer(["two green squares"] * len(images))
    with torch.no_grad():
        torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), captioner.model(images, tokens)["logits"])
    assert json.loads((tmp_path / "captioner" / "open_clip_config.json").read_text())["stem_blocks"] == 0


def test_image_features_tell_images_apart_even_without_transformer_layers(merges: Path) -> None:
    torch.manual_seed(0)
    tokenizer = load(merges, CONTEXT)
    config = coca_config(tokenizer.vocab_size, 32, 8, 32, 0, 1, 1, heads=2, context_length=CONTEXT, stem_blocks=1)
    black, white = torch.full((1, 3, 32, 32), -1.0), torch.full((1, 3, 32, 32), 1.0)
    with torch.no_grad():
        features = build_coca(config).eval().encode_image(torch.cat([black, white]))
    assert float(features[0] @ features[1]) < 1 - 1e-5


def test_padding_is_no_target_and_equal_texts_are_no_negatives(captioner: Captioner, images: torch.Tensor) -> None:
    texts = captioner.tokenizer(["a red star", "a red star", "two blue squares beside a circle"])
    short_only, _ = coca_loss(captioner.model, images[:2], texts[:2], 0.0)
    logits = captioner.model(images[:2], texts[:2])["logits"][:, :4]
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), texts[:2, 1:5].flatten())
    torch.testing.assert_close(short_only, expected)
    _, figures = coca_loss(captioner.model, images[:2], texts[:2], 1.0)
    assert float(figures["contrastive_loss"]) == pytest.approx(float(np.log(2)), abs=1e-5)


def test_dropped_words_change_what_the_decoder_is_given_but_not_what_it_must_say(
    captioner: Captioner, images: torch.Tensor
) -> None:
    tokens = captioner.tokenizer(["a solid red star above a dotted blue circle"] * 6)
    losses = []
    for seed in (0, 0, 1):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            losses.append(float(coca_loss(captioner.model, images, tokens, 0.0, 0.5, generator)[0]))
    with torch.no_grad():
        plain = float(coca_loss(captioner.model, images, tokens, 0.0)[0])
    assert losses[0] == losses[1]
    assert len({*losses, plain}) == 3
