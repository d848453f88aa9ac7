"""Captioners of transformers and open_clip: what they write is their library's, and depends on the sample alone."""

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.coca_model import CoCa
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn
from transformers import AutoProcessor

from tests.unit.test_cached_coca import VIT_B_32
from tests.unit.tiny_blips import SIZE, save_blip, save_blip2
from training.captioners.backends import open_captioners
from training.captioners.blip import open_blip
from training.captioners.blip2 import open_blip2
from training.captioners.coca import open_coca
from training.captioners.protocol import Captioner
from training.config import DecodeConfig, RecaptionConfig

torch.set_num_threads(1)

NAMES = [f"sample{n}" for n in range(6)]
OPENERS: dict[str, Callable[[str, str | None, torch.dtype], Callable[[str], Any]]] = {
    "blip": open_blip,
    "opt": open_blip2,
    "t5": open_blip2,
}
END = {"blip": 3, "opt": 3, "t5": 1}
NEVER = {"blip": [0, 1, 2, 4, 5], "opt": [0, 1, 2, 4], "t5": [0, 2, 4]}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkpoints")
    save_blip(root / "blip")
    save_blip2(root / "opt", "opt")
    save_blip2(root / "t5", "t5")
    config = copy.deepcopy(VIT_B_32) | {"custom_text": True}
    for tower in ("text_cfg", "multimodal_cfg"):
        config[tower] |= {"vocab_size": 49408}
    torch.manual_seed(0)
    model = CoCa(**{name: value for name, value in config.items() if name != "custom_text"})
    nn.init.normal_(model.text_decoder.text_projection, std=0.5)
    (root / "coca").mkdir()
    preprocessing = {"size": [32, 32], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.2]}
    written = json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing})
    (root / "coca" / "open_clip_config.json").write_text(written)
    save_file(model.state_dict(), root / "coca" / "open_clip_model.safetensors")
    return root


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(0, 256, (6, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def captioner(checkpoints: Path, kind: str, prompt: str = "a photo of") -> Any:
    return OPENERS[kind](str(checkpoints / kind), None, torch.float32)(prompt)


def processed(checkpoints: Path, kind: str, images: torch.Tensor, prompt: str) -> Any:
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    processor = AutoProcessor.from_pretrained(checkpoints / kind)
    return processor(images=pictures, text=[prompt] * len(pictures), return_tensors="pt")


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("prompt", ["", "a photo of"])
def test_the_likeliest_tokens_are_those_that_transformers_generates(
    checkpoints: Path, images: torch.Tensor, kind: str, prompt: str
) -> None:
    ours = captioner(checkpoints, kind, prompt)
    written = ours.write(images, NAMES, 0, DecodeConfig(method="greedy", max_tokens=7))
    given = processed(checkpoints, kind, images, prompt)
    theirs = ours.model.generate(
        **given, max_new_tokens=7, num_beams=1, do_sample=False, suppress_tokens=NEVER[kind]
    ).tolist()
    before = {"blip": given["input_ids"].shape[1] - 1, "opt": given["input_ids"].shape[1], "t5": 1}[kind]
    for caption, tokens in zip(written, theirs, strict=True):
        new = [*tokens[before:], END[kind]]
        assert caption.tokens == tuple(new[: new.index(END[kind])])
    assert len({caption.tokens for caption in written}) > 1


METHODS: dict[str, dict[str, Any]] = {"nucleus": {}, "top_k": {"top_k": 4}, "beam": {"beams": 3}, "greedy": {}}


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("method", METHODS)
def test_a_caption_does_not_depend_on_its_batch(
    checkpoints: Path, images: torch.Tensor, kind: str, method: str
) -> None:
    ours = captioner(checkpoints, kind)
    config = DecodeConfig.model_validate({"method": method, "max_tokens": 7, **METHODS[method]})
    together = ours.write(images, NAMES, 3, config)
    for number in (4, 1):
        part = slice(number, number + 1)
        (alone,) = ours.write(images[part], NAMES[part], 3, config)
        assert alone.tokens == together[number].tokens
        assert alone.log_probability == pytest.approx(together[number].log_probability, abs=1e-4)
    other = ours.write(images, NAMES, 4, config)
    assert ([caption.tokens for caption in other] != [caption.tokens for caption in together]) == (
        method in ("nucleus", "top_k")
    )


def test_the_log_probability_is_blips_own(checkpoints: Path, images: torch.Tensor) -> None:
    ours = captioner(checkpoints, "blip")
    pixels = processed(checkpoints, "blip", images, "")["pixel_values"]
    before = [5, *ours.tokenizer.encode("a photo of", add_special_tokens=False)]
    for image, caption in zip(pixels, ours.write(images, NAMES, 0, DecodeConfig(max_tokens=7)), strict=True):
        ended = [END["blip"]] if len(caption.tokens) < 7 else []
        tokens = torch.tensor([[*before, *caption.tokens, *ended]])
        with torch.no_grad():
            logits = ours.model(image[None], tokens).logits[0, len(before) - 1 : -1]
        expected = logits.log_softmax(dim=1).gather(1, tokens[0, len(before) :, None]).sum().item()
        assert caption.log_probability == pytest.approx(expected, abs=1e-4)


def test_a_coca_of_open_clip_writes_as_its_own_forward_pass_says(checkpoints: Path) -> None:
    ours = open_coca(str(checkpoints / "coca"), None, torch.float32)("a photo of")
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert ours.image_size == 32
    shift, scale = (torch.tensor(value).view(3, 1, 1) for value in ([0.4, 0.5, 0.6], [0.2, 0.2, 0.2]))
    start, *before, _ = [n for n in ours.tokenizer("a photo of")[0].tolist() if n]
    greedy = DecodeConfig(method="greedy", max_tokens=6, min_tokens=6)
    for image, caption in zip(images, ours.write(images, NAMES[:4], 0, greedy), strict=True):
        tokens = torch.tensor([[start, *before, *caption.tokens]])
        with torch.no_grad():
            logits = ours.model((image / 255 - shift)[None] / scale, tokens, output_labels=False)["logits"]
        logits[..., [start, ours.tokenizer.eot_token_id]] = -torch.inf
        assert tuple(logits[0, len(before) : -1].argmax(dim=1).tolist()) == caption.tokens


def test_one_loaded_model_writes_every_style_by_its_prompt(checkpoints: Path, images: torch.Tensor) -> None:
    styles = [{"style": "short", "prompt": "a photo of"}, {"style": "descriptive", "prompt": "on the left"}]
    config = RecaptionConfig.model_validate(
        {"backend": "blip", "model": str(checkpoints / "blip"), "styles": styles, "precision": "bf16"}
    )
    opened: dict[Any, Any] = dict(open_captioners(config, None))
    assert list(opened) == ["short", "descriptive"]
    assert opened["short"].model is opened["descriptive"].model
    assert opened["short"].model.dtype == torch.bfloat16
    decode = DecodeConfig(method="greedy", max_tokens=7)
    short, descriptive = ([c.text for c in opened[style].write(images, NAMES, 0, decode)] for style in opened)
    assert short != descriptive
    assert not any(text.startswith("a photo of") for text in short)


def test_only_the_chosen_back_end_is_imported(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("blip", "blip2"):
        monkeypatch.setitem(sys.modules, f"training.captioners.{name}", None)
    opened: dict[Any, Captioner] = dict(open_captioners(RecaptionConfig(model=str(checkpoints / "coca")), None))
    assert {captioner.image_size for captioner in opened.values()} == {32}
    with pytest.raises(ImportError):
        open_captioners(RecaptionConfig(backend="blip", model=str(checkpoints / "blip")), None)


def test_what_cannot_write_captions_is_refused_in_words(checkpoints: Path) -> None:
    with pytest.raises(ValueError, match="mscoco_finetuned_laion2b_s13b_b90k"):
        open_coca("coca_ViT-B-32", None, torch.float32)
    with pytest.raises(ValueError, match="no captioner"):
        open_captioners(RecaptionConfig(), None)
    for wrong, message in (
        ({"backend": "blip"}, "needs the name"),
        ({"pretrained": "laion2b"}, "weights of a CoCa"),
        ({"revision": "main", "model": "coca_ViT-B-32"}, "named in 'pretrained'"),
        ({"styles": [{"style": "short"}, {"style": "short"}]}, "twice"),
        ({"decode": {"method": "top_k"}}, "top_k"),
        ({"decode": {"min_tokens": 50}}, "max_tokens"),
    ):
        with pytest.raises(ValidationError, match=message):
            RecaptionConfig.model_validate(wrong)


def test_an_older_blip2_names_no_token_for_images(checkpoints: Path, images: torch.Tensor) -> None:
    ours = captioner(checkpoints, "t5")
    ours.model.config.image_token_id = None
    written = ours.write(images, NAMES, 0, DecodeConfig(method="greedy", max_tokens=7))
    assert {0, 2}.isdisjoint(token for caption in written for token in caption.tokens)


def test_a_language_model_that_names_no_end_is_refused_in_words(checkpoints: Path, images: torch.Tensor) -> None:
    ours = captioner(checkpoints, "opt")
    ours.model.language_model.generation_config.eos_token_id = None
    with pytest.raises(ValueError, match="eos_token_id"):
        ours.write(images, NAMES, 0, DecodeConfig(max_tokens=7))
