"""Our decoder gives the log-probabilities of open_clip's own forward pass, whatever CoCa it decodes."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from open_clip.coca_model import CoCa
from torch import nn

from training.models.cached_coca import CachedCoca

torch.set_num_threads(1)

CONTEXT, VOCABULARY = 12, 50
VIT_B_32: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 48,
        "head_width": 16,
        "patch_size": 8,
        "attentional_pool": True,
        "attn_pooler_heads": 4,
        "attn_pooler_queries": 9,
        "output_tokens": True,
    },
    "text_cfg": {
        "context_length": CONTEXT,
        "vocab_size": VOCABULARY,
        "width": 32,
        "heads": 4,
        "layers": 2,
        "embed_cls": True,
        "output_tokens": True,
    },
    "multimodal_cfg": {
        "context_length": CONTEXT,
        "vocab_size": VOCABULARY,
        "width": 32,
        "heads": 2,
        "layers": 3,
        "attn_pooler_heads": 4,
    },
}
"""open_clip's coca_ViT-B-32 with smaller numbers; decoder and text tower differ in heads and layers."""


def coca(change: Callable[[dict[str, Any]], None] = lambda config: None, **arguments: Any) -> CoCa:
    config = copy.deepcopy(VIT_B_32)
    change(config)
    torch.manual_seed(0)
    model = CoCa(**config, **arguments)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1 and "logit" not in name:  # gains, biases and scales that are not 0 or 1
            nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.3)
    nn.init.normal_(model.text_decoder.text_projection, std=0.3)
    return model.eval()


def without_biases() -> CoCa:
    model = coca()
    for block in (*model.text.transformer.resblocks, *model.text_decoder.resblocks, *model.text_decoder.cross_attn):
        block.attn.in_proj_bias = block.attn.out_proj.bias = None
        block.mlp.c_fc.bias = block.mlp.c_proj.bias = None
    return model


def with_correct_cls_mask() -> CoCa:
    model = coca()
    model.text.correct_cls_mask = True
    return model


def unpooled(config: dict[str, Any]) -> None:
    """As coca_base: the ViT's own tokens, and a joint space of another width."""
    config["embed_dim"] = 24
    config["vision_cfg"] |= {"attentional_pool": False, "width": 32}


CUSTOM = {"qk_norm": True, "scale_heads": True, "scale_attn": True, "scale_attn_inner": True, "scale_fc": True}
MODELS: dict[str, Callable[[], CoCa]] = {
    "coca_ViT-B-32": coca,
    "parallel poolers": lambda: coca(lambda c: c["vision_cfg"].update(attentional_pool="parallel", width=32)),
    "cascaded poolers": lambda: coca(lambda c: c["vision_cfg"].update(attentional_pool="cascade", width=32)),
    "coca_base": lambda: coca(unpooled),
    "quick gelu": lambda: coca(quick_gelu=True),
    "layer scale": lambda: coca(lambda c: [c[p].update(ls_init_value=0.5) for p in ("text_cfg", "multimodal_cfg")]),
    "no biases": without_biases,
    "class token masked where it is": with_correct_cls_mask,
    "no class token": lambda: coca(lambda c: c["text_cfg"].update(embed_cls=False)),
    "custom text blocks": lambda: coca(lambda c: c["text_cfg"].update(CUSTOM)),
    "wider text layers": lambda: coca(lambda c: c["text_cfg"].update(mlp_ratio=3.0, proj_bias=True)),
}


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_log_probabilities_are_those_of_open_clips_forward_pass(name: str) -> None:
    model = MODELS[name]()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(5, 3, 32, 32, generator=generator)
    tokens = torch.randint(0, VOCABULARY, (5, CONTEXT), generator=generator)
    tokens[1, 3:6] = tokens[4, 1] = 0  # "!", which is the padding too
    theirs = model(images, tokens, output_labels=False)["logits"].log_softmax(dim=2)
    decoder = CachedCoca(model, model._encode_image(images)[1], CONTEXT)
    ours = torch.stack([decoder.step(tokens[:, n]).log_softmax(dim=1) for n in range(CONTEXT)], dim=1)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert float(theirs.std()) > 0.3


@torch.no_grad()
def test_rows_that_are_chosen_go_on_as_beams_of_their_image() -> None:
    model = coca()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 32, 32, generator=generator)
    tokens = torch.randint(0, VOCABULARY, (4, CONTEXT), generator=generator)
    tokens[2, 1] = 0
    decoder = CachedCoca(model, model._encode_image(images)[1], CONTEXT)
    for position in range(3):
        decoder.step(tokens[:, position])
    decoder.select(torch.tensor([1, 1, 2, 2, 3, 3]), beams=2)
    following = torch.tensor([7, 8, 9, 10, 11, 12])
    decoder.step(following)
    decoder.select(torch.tensor([3, 2, 4, 4]), beams=2)
    ours = decoder.step(torch.tensor([20, 21, 22, 23]))
    image, last = torch.tensor([2, 2, 3, 3]), torch.tensor([[10, 20], [9, 21], [11, 22], [11, 23]])
    theirs = model(images[image], torch.cat([tokens[image, :3], last], dim=1), output_labels=False)["logits"][:, -1]
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_a_text_tower_that_looks_ahead_is_refused() -> None:
    model = coca(lambda c: c["text_cfg"].update(no_causal_mask=True))
    with pytest.raises(ValueError, match="looks ahead"):
        CachedCoca(model, torch.zeros(1, 9, 32), CONTEXT)
