"""CLIP in open_clip's layout: built from a configuration or a checkpoint, saved and loaded with its tokenizer."""

import json
from pathlib import Path
from typing import Any, TypeAlias

import open_clip
import torch
import torch.nn.functional as F
from open_clip import CLIP, SimpleTokenizer, create_model, get_tokenizer
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import save_file
from torch import Tensor

from training import tokenizer as merges
from training.config import ClipConfig, PretrainedClipConfig

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
HALF = (0.5, 0.5, 0.5)
SIGLIP_START = {"init_logit_scale": 2.302585092994046, "init_logit_bias": -10.0}
"""Where SigLIP's temperature, log 10, and bias start (Zhai et al. 2023, section 3.2)."""
TOKENIZER_HERE = "local-dir"
"""Name of a tokenizer that makes ``open_clip.get_tokenizer("local-dir:…")`` take the one in the directory."""

Tokenizer: TypeAlias = SimpleTokenizer | HFTokenizer


def clip_config(config: ClipConfig, vocabulary: int) -> dict[str, Any]:
    """Return open_clip's model configuration (``model_cfg``) for ours."""
    vision: dict[str, Any] = {
        "image_size": config.image_size,
        "layers": config.vision_layers,
        "width": config.vision_width,
        "head_width": config.head_width,
    }
    if isinstance(config.vision_layers, int):
        vision["patch_size"] = config.patch_size
    text = {
        "context_length": config.context_length,
        "vocab_size": vocabulary,
        "width": config.text_width,
        "heads": config.text_width // config.head_width,
        "layers": config.text_layers,
    }
    start = SIGLIP_START if config.loss == "siglip" else {}
    return {"embed_dim": config.embed_dim, "vision_cfg": vision, "text_cfg": text, **start}


def build_clip(model_config: dict[str, Any]) -> CLIP:
    """Return a freshly initialised open_clip model of an open_clip configuration; it sees images in [-1, 1]."""
    model = CLIP(**model_config)
    model.visual.image_mean = model.visual.image_std = HALF
    return model


def open_pretrained(config: PretrainedClipConfig) -> tuple[CLIP, Tokenizer, dict[str, Any]]:
    """Return any model that open_clip loads with its tokenizer and its configuration (``model_cfg``).

    Raises ValueError where it would start from random weights.
    """
    name = config.model
    if (Path(name) / CONFIG).exists():
        name = f"local-dir:{name}"
    if config.weights is None and ":" not in name:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise ValueError(f"the CLIP {name!r} needs weights: name them in 'weights' (open_clip lists {tags})")
    model = create_model(name, pretrained=config.weights, require_pretrained=True)
    return model, _tokenizer_of(name, model.context_length), open_clip.get_model_config(name)


def save_clip(model: CLIP, model_config: dict[str, Any], tokenizer: Tokenizer, directory: Path) -> None:
    """Write what ``open_clip.create_model_and_transforms("local-dir:…")`` and ``get_tokenizer("local-dir:…")`` load.

    open_clip takes a vocabulary of its own from such a directory in the form of transformers alone; the merges, from
    which a SimpleTokenizer is made, lie beside it.
    """
    text = dict(model_config["text_cfg"])
    if isinstance(tokenizer, HFTokenizer):
        tokenizer.save_pretrained(directory)
        text["hf_tokenizer_name"] = TOKENIZER_HERE
    elif tokenizer.bpe_ranks != SimpleTokenizer().bpe_ranks:
        merges.write_merges(directory, list(tokenizer.bpe_ranks))
        merges.as_transformers(tokenizer).save_pretrained(directory)
        text["hf_tokenizer_name"] = TOKENIZER_HERE
    mean, std = (list(value) for value in (model.visual.image_mean, model.visual.image_std))
    config = {
        "model_cfg": {**model_config, "text_cfg": text},
        "preprocess_cfg": {"mean": mean, "std": std, "interpolation": "bicubic", "resize_mode": "shortest"},
    }
    (directory / CONFIG).write_text(json.dumps(config, indent=1))
    save_file({name: weight.contiguous() for name, weight in model.state_dict().items()}, directory / WEIGHTS)


def load_clip(directory: Path) -> tuple[CLIP, Tokenizer]:
    """Load a CLIP that ``save_clip`` wrote, or any other directory in open_clip's layout, in eval mode."""
    name = f"local-dir:{directory}"
    model = create_model(name).eval()
    return model, _tokenizer_of(name, model.context_length)


def _tokenizer_of(name: str, context_length: int) -> Tokenizer:
    directory = Path(name.removeprefix("local-dir:"))
    return merges.load(directory, context_length) if (directory / merges.MERGES).exists() else get_tokenizer(name)


def image_size(model: CLIP) -> int:
    """Return the side of the images that the model takes, pixels."""
    size = model.visual.image_size
    return size if isinstance(size, int) else size[0]


def preprocess(model: CLIP, images: Tensor) -> Tensor:
    """Scale uint8 images [B, 3, S, S] as the model was trained to see them."""
    mean, std = (
        torch.tensor(value, device=images.device).view(1, 3, 1, 1)
        for value in (model.visual.image_mean, model.visual.image_std)
    )
    return (images.float() / 255 - mean) / std


def encode_texts(model: CLIP, tokens: Tensor) -> Tensor:
    """Return unit-norm text embeddings [B, E] of tokens [B, L], by any text tower of open_clip."""
    if _is_causal(model):
        return encode_text_states(model, trim(tokens))[2]
    return model.encode_text(tokens, normalize=True)


def encode_text_states(model: CLIP, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Encode texts for cross-attention.

    Args:
        tokens: [B, L] of the model's tokenizer.

    Returns:
        The states of the last layer, normalised by ``ln_final``, [B, L, W]; a mask that is True up to the end token,
        [B, L]; and the unit-norm text embeddings, [B, E].

    Raises:
        ValueError: the text tower is not CLIP's own, whose end token sees all before it and nothing else.
    """
    if not _is_causal(model):
        raise ValueError(f"the text tower of this {type(model).__name__} is not causal with an end token, as CLIP's is")
    hidden = model.token_embedding(tokens) + model.positional_embedding[: tokens.shape[1]]
    states = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask[: tokens.shape[1], : tokens.shape[1]]))
    end = tokens.argmax(dim=1)  # the end token has the highest number
    pooled = states[torch.arange(len(tokens)), end] @ model.text_projection
    mask = torch.arange(tokens.shape[1], device=tokens.device) <= end[:, None]
    return states, mask, F.normalize(pooled, dim=-1)


def trim(tokens: Tensor) -> Tensor:
    """Cut [B, L] to the longest text of the batch; attention is causal, so nothing changes but the time."""
    return tokens[:, : int(tokens.argmax(dim=1).max()) + 1]


def _is_causal(model: CLIP) -> bool:
    return isinstance(model, CLIP) and model.attn_mask is not None and model.text_pool_type == "argmax"
