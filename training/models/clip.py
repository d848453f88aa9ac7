"""CLIP in open_clip's layout: built from our configuration, saved and loaded with its tokenizer."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from open_clip import CLIP, SimpleTokenizer, create_model, get_tokenizer
from safetensors.torch import save_file
from torch import Tensor

from training import tokenizer as merges
from training.config import ClipConfig

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
MAX_LOGIT_SCALE = 100.0
NEVER = -1e4  # a logit of no probability; not -inf, whose product with a target of 0 is NaN


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
    return {"embed_dim": config.embed_dim, "vision_cfg": vision, "text_cfg": text}


def build_clip(model_config: dict[str, Any]) -> CLIP:
    """Return a freshly initialised open_clip model of an open_clip configuration."""
    return CLIP(**model_config)


def save_clip(model: CLIP, model_config: dict[str, Any], tokenizer: Path, directory: Path) -> None:
    """Write what ``open_clip.create_model_and_transforms("local-dir:…")`` loads, and the tokenizer's merges beside it.

    open_clip's own tokenizer loader takes the merges as
    ``open_clip.get_tokenizer("local-dir:…", bpe_path="…/merges.txt.gz")``.
    """
    half = [0.5, 0.5, 0.5]
    preprocess = {"mean": half, "std": half, "interpolation": "bicubic", "resize_mode": "shortest"}
    config = {"model_cfg": model_config, "preprocess_cfg": preprocess}
    (directory / CONFIG).write_text(json.dumps(config, indent=1))
    save_file({name: weight.contiguous() for name, weight in model.state_dict().items()}, directory / WEIGHTS)
    shutil.copyfile(tokenizer / merges.MERGES, directory / merges.MERGES)


def load_clip(directory: Path) -> tuple[CLIP, SimpleTokenizer]:
    """Load a CLIP that ``save_clip`` wrote, or any other directory in open_clip's layout, in eval mode."""
    model = create_model(f"local-dir:{directory}").eval()
    if (directory / merges.MERGES).exists():
        return model, merges.load(directory, model.context_length)
    return model, get_tokenizer(f"local-dir:{directory}")


def image_size(model: CLIP) -> int:
    """Return the side of the images that the model takes, pixels."""
    size = model.visual.image_size
    return size if isinstance(size, int) else size[0]


def preprocess(model: CLIP, images: Tensor) -> Tensor:
    """Scale uint8 images [B, 3, S, S] as the model was trained to see them."""
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (model.visual.image_mean, model.visual.image_std))
    return (images.float() / 255 - mean) / std


def encode_text_states(model: CLIP, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Encode texts for cross-attention.

    Args:
        tokens: [B, L] of the model's tokenizer.

    Returns:
        The states of the last layer, normalised by ``ln_final``, [B, L, W]; a mask that is True up to the end token,
        [B, L]; and the unit-norm text embeddings, [B, E].
    """
    hidden = model.token_embedding(tokens) + model.positional_embedding[: tokens.shape[1]]
    states = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask[: tokens.shape[1], : tokens.shape[1]]))
    end = tokens.argmax(dim=1)  # the end token has the highest number
    pooled = states[torch.arange(len(tokens)), end] @ model.text_projection
    mask = torch.arange(tokens.shape[1], device=tokens.device) <= end[:, None]
    return states, mask, F.normalize(pooled, dim=-1)


def trim(tokens: Tensor) -> Tensor:
    """Cut [B, L] to the longest text of the batch; attention is causal, so nothing changes but the time."""
    return tokens[:, : int(tokens.argmax(dim=1).max()) + 1]


def clip_loss(
    images: Tensor, texts: Tensor, logit_scale: Tensor, captions: Tensor, false_negatives: str = "drop"
) -> Tensor:
    """Return the symmetric cross-entropy of CLIP (Radford et al. 2021, figure 3).

    Another sample with the same caption is not a negative: ``false_negatives`` says whether such pairs are kept as
    negatives, dropped from the loss or matched as positives of equal weight (as UniCL, Yang et al. 2022).

    Args:
        images: unit-norm image embeddings, [B, E].
        texts: unit-norm text embeddings, [B, E].
        logit_scale: inverse temperature, scalar.
        captions: number of each sample's caption, equal for equal captions, [B].
    """
    logits = logit_scale * images @ texts.T
    own = torch.eye(len(captions), dtype=torch.bool, device=logits.device)
    same = captions[:, None] == captions[None, :]
    if false_negatives == "drop":
        logits = logits.masked_fill(same & ~own, NEVER)
    target = same if false_negatives == "match" else own
    target = target / target.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def retrieval_recall(images: Tensor, texts: Tensor, captions: Tensor, k: int) -> tuple[float, float]:
    """Return recall@k of image to text and of text to image: the means of ``retrieval_hits``."""
    to_text, to_image = retrieval_hits(images, texts, captions, k)
    return to_text.float().mean().item(), to_image.float().mean().item()


def retrieval_hits(images: Tensor, texts: Tensor, captions: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return whether a right one is among the k nearest: texts of each image [N] and images of each text [N].

    Any sample with an equal caption is right.

    Args:
        images: unit-norm image embeddings, [N, E].
        texts: unit-norm text embeddings, [N, E].
        captions: number of each sample's caption, [N].
    """
    similarity = images @ texts.T
    same = captions[:, None] == captions[None, :]

    def hits(scores: Tensor) -> Tensor:
        best = scores.topk(min(k, len(captions)), dim=1).indices
        return same.gather(1, best).any(dim=1)

    return hits(similarity), hits(similarity.T)
