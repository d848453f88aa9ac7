"""The captioner's model: open_clip's CoCa, small enough for a laptop, with its traps defused.

Source: Yu et al., "CoCa: Contrastive Captioners are Image-Text Foundation Models" (2022), equations 1 to 4;
open_clip 3.3.0, ``open_clip.coca_model``. What differs from open_clip's defaults, and why:

- ``text_decoder.text_projection`` is left uninitialised there (open_clip issue 554): ``build_coca`` initialises it.
- Without attentional pooling the image tokens are the ViT's own (grid x grid of them), so no pooled dimensions are in
  play. Their mean is the image feature: without ViT layers the class token never sees a patch.
- ``embed_cls`` stays on, because without it the text tower takes no prefix shorter than its context.
- The class token's place is the end of the *padded* text: the contrastive loss sees texts at full context length.
- Token 0 is both the padding and "!": the caption loss finds the padding by position, after the first end of text.
- ``custom_text`` must be set, or ``open_clip.create_model`` builds a CLIP that knows no decoder.
- A ``ConvStem`` may stand in the place of the
  ViT's patch embedding. It is recorded as ``stem_blocks`` beside ``model_cfg``; open_clip itself loads only
  directories where that is 0.
"""

import json
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from open_clip import SimpleTokenizer
from open_clip.coca_model import CoCa
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from training.models.stem import ConvStem

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
MERGES_FILE = "merges.txt.gz"
MAX_LOGIT_SCALE = 4.6052  # ln 100, as in CLIP


@dataclass
class Captioner:
    """A CoCa with the tokenizer that it was trained with; ``config`` is what open_clip_config.json holds."""

    model: CoCa
    tokenizer: SimpleTokenizer
    config: dict[str, Any]

    @property
    def image_size(self) -> int:
        return self.config["model_cfg"]["vision_cfg"]["image_size"]


def coca_config(
    vocab_size: int,
    image_size: int = 32,
    patch_size: int = 4,
    width: int = 128,
    image_layers: int = 2,
    text_layers: int = 2,
    decoder_layers: int = 2,
    heads: int = 4,
    context_length: int = 32,
    stem_blocks: int = 2,
) -> dict[str, Any]:
    """Return an open_clip configuration: one ``width`` for images, texts, decoder and the joint space."""
    text = {"context_length": context_length, "vocab_size": vocab_size, "width": width, "heads": heads}
    return {
        "model_cfg": {
            "embed_dim": width,
            "custom_text": True,
            "init_logit_scale": 2.6592,
            "vision_cfg": {
                "image_size": image_size,
                "patch_size": patch_size,
                "width": width,
                "layers": image_layers,
                "head_width": width // heads,
                "pos_embed_type": "sin_cos_2d",
                "pool_type": "avg",
                "output_tokens": True,
            },
            "text_cfg": {**text, "layers": text_layers, "embed_cls": True, "output_tokens": True},
            "multimodal_cfg": {**text, "layers": decoder_layers},
        },
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "size": [image_size, image_size]},
        "stem_blocks": stem_blocks,
    }


def build_coca(config: dict[str, Any]) -> CoCa:
    """Return an initialised CoCa of ``config``; torch's global generator draws the weights."""
    model = CoCa(**{name: value for name, value in config["model_cfg"].items() if name != "custom_text"})
    vision = config["model_cfg"]["vision_cfg"]
    decoder = model.text_decoder
    nn.init.normal_(decoder.text_projection, std=decoder.width**-0.5)
    if config["stem_blocks"]:
        stem = ConvStem(vision["patch_size"], vision["width"], config["stem_blocks"])
        model.visual.conv1 = stem.to(memory_format=torch.channels_last)
    return model


def coca_loss(
    model: CoCa,
    images: Tensor,
    tokens: Tensor,
    contrastive_weight: float,
    word_dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, dict[str, float | Tensor]]:
    """Return CoCa's loss (equation 4): caption cross-entropy plus ``contrastive_weight`` times InfoNCE.

    ``images`` (N, 3, S, S) in [-1, 1]; ``tokens`` (N, L) as the tokenizer gives them. Texts that are equal within
    the batch are no negatives of each other: an advert stands on many pages. Where there is no contrastive loss, a
    share ``word_dropout`` of the words that the decoder is given, not of those it must say, is exchanged for random
    ones, so that it looks at the picture instead of learning captions by heart (Bowman et al. 2016, section 3.1).
    """
    end = tokens.argmax(dim=1)
    longest = int(end.max()) + 1
    given = tokens if contrastive_weight else _drop_words(tokens[:, :longest], word_dropout, generator)
    with _short_attention(images.device):
        image_features, image_tokens = model._encode_image(images)
        text_features, text_tokens = model._encode_text(given)
        logits = model.text_decoder(image_tokens, text_tokens[:, : longest - 1]).float()
    position = torch.arange(1, longest, device=tokens.device)
    labels = tokens[:, 1:longest].masked_fill(position > end[:, None], -100)
    caption = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    if not contrastive_weight:
        return caption, {"caption_loss": caption.detach()}
    similarity = model.logit_scale.clamp(max=MAX_LOGIT_SCALE).exp() * image_features.float() @ text_features.float().T
    same = (tokens[:, None] == tokens[None]).all(dim=2).float()
    target = same / same.sum(dim=1, keepdim=True)
    contrastive = (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2
    figures = {"caption_loss": caption.detach(), "contrastive_loss": contrastive.detach()}
    return caption + contrastive_weight * contrastive, figures


def _short_attention(device: torch.device) -> AbstractContextManager[None]:
    """Attend by plain matrix products on a CPU: torch's fused kernel takes longer backwards over a few dozen tokens."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _drop_words(tokens: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    if share == 0:
        return tokens
    dropped = torch.rand(tokens.shape, generator=generator, device=tokens.device) < share
    dropped[:, 0] = False
    words = torch.randint(1, int(tokens.max()) - 1, tokens.shape, generator=generator, device=tokens.device)
    return torch.where(dropped, words, tokens)


def save_captioner(captioner: Captioner, merges: Path, directory: Path) -> None:
    """Write open_clip's own layout: configuration, safetensors and the merges of the tokenizer."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CONFIG_FILE).write_text(json.dumps(captioner.config, indent=1))
    state = {name: tensor.contiguous() for name, tensor in captioner.model.state_dict().items()}
    save_file(state, directory / WEIGHTS_FILE)
    shutil.copyfile(merges, directory / MERGES_FILE)


def load_captioner(directory: Path) -> Captioner:
    """Read what ``save_captioner`` wrote; the model is in evaluation mode."""
    config = json.loads((directory / CONFIG_FILE).read_text())
    model = build_coca(config)
    model.load_state_dict(load_file(directory / WEIGHTS_FILE))
    context = config["model_cfg"]["text_cfg"]["context_length"]
    tokenizer = SimpleTokenizer(bpe_path=str(directory / MERGES_FILE), context_length=context)
    return Captioner(model.eval(), tokenizer, config)
