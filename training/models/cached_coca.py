"""CoCa's two text stages, one position at a time: what earlier positions left behind is kept, not computed again.

Gives the logits of open_clip's own forward pass for every CoCa with a causal text tower of open_clip's.
"""

from typing import TypeAlias

import torch
from open_clip.coca_model import CoCa
from open_clip.transformer import CustomResidualAttentionBlock, ResidualAttentionBlock, TextTransformer
from torch import Tensor, nn
from torch.nn import functional as F

Block: TypeAlias = ResidualAttentionBlock | CustomResidualAttentionBlock


class CachedCoca:
    """Decodes texts about images: keys and values of earlier positions and of the image tokens are kept."""

    def __init__(self, model: CoCa, image_tokens: Tensor, capacity: int) -> None:
        """``image_tokens`` (N, L, W) as ``model._encode_image`` gives them; texts grow to ``capacity`` tokens.

        Raises ValueError where the text tower is not causal: such a model has no next token.
        """
        text, decoder = model.text, model.text_decoder
        if not isinstance(text, TextTransformer) or text.attn_mask is None:
            raise ValueError("the text tower of this CoCa looks ahead, so the model cannot write captions")
        self.model = model
        self.position = 0
        self.beams = 1
        self.visible: Tensor | None = None
        rows, dtype = len(image_tokens), image_tokens.dtype
        self.caches = [
            _Cache(block, rows, capacity, dtype, image_tokens.device)
            for block in [*text.transformer.resblocks, *decoder.resblocks]
        ]
        self.images = [
            tuple(part.contiguous() for part in _project(block, block.ln_1_kv(image_tokens), "kv"))
            for block in decoder.cross_attn
        ]

    def step(self, tokens: Tensor) -> Tensor:
        """Return the logits (N, V) that follow ``tokens`` (N,) and all tokens before them."""
        text, decoder = self.model.text, self.model.text_decoder
        x = text.token_embedding(tokens) + text.positional_embedding[self.position]
        mask = self._mask(tokens)
        caches = iter(self.caches)
        for block in text.transformer.resblocks:
            x = self._self_attend(block, x, next(caches), mask)
        if text.cls_emb is None:  # open_clip hands on the raw states where a class token follows them
            x = text.ln_final(x)
        for block, cross, (keys, values) in zip(decoder.resblocks, decoder.cross_attn, self.images, strict=True):
            x = self._self_attend(block, x, next(caches), None)
            x = self._cross_attend(cross, x, keys, values)
        self.position += 1
        return decoder.ln_final(x) @ decoder.text_projection

    def select(self, rows: Tensor, beams: int = 1) -> None:
        """Go on with ``rows`` (M,), numbers of present ones, of which each ``beams`` in a row are of one image."""
        image = rows[::beams] // self.beams
        if not torch.equal(image, torch.arange(len(self.images[0][0]), device=rows.device)):
            self.images = [(keys[image], values[image]) for keys, values in self.images]
        for cache in self.caches:
            cache.select(rows, self.position)
        if self.visible is not None:
            self.visible = self.visible[rows]
        self.beams = beams

    def _mask(self, tokens: Tensor) -> Tensor | None:
        """Return which positions may be looked at (N, 1, 1, positions); None for all.

        With a class token open_clip hides the padding, which is also a token ("!"); unless ``correct_cls_mask`` is
        set, it is the position after it that is hidden, and published weights were trained that way.
        """
        text = self.model.text
        if text.cls_emb is None:
            return None
        shown = tokens != text.pad_id
        if self.visible is None:
            self.visible = shown.new_ones(len(tokens), text.num_pos + 1)
        self.visible[:, self.position if text.correct_cls_mask else self.position + 1] = shown
        present = self.visible[:, : self.position + 1]
        return None if bool(present.all()) else present[:, None, None]

    def _self_attend(self, block: Block, x: Tensor, cache: "_Cache", mask: Tensor | None) -> Tensor:
        query, key, value = _project(block, block.ln_1(x)[:, None], "qkv")
        keys, values = cache.append(key, value, self.position)
        return _finish(block, x, _attend(query, keys, values, mask))

    def _cross_attend(self, block: Block, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        grouped = block.ln_1(x).unflatten(0, (-1, self.beams))  # the beams of an image look at it together
        (query,) = _project(block, grouped, "q")
        return _finish(block, x, _attend(query, keys, values, None))


class _Cache:
    """Keys and values (2, N, heads, capacity, channels of a head) of one block."""

    def __init__(self, block: Block, rows: int, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        heads, width = block.attn.num_heads, block.attn.out_proj.in_features
        self.stored = torch.empty((2, rows, heads, capacity, width // heads), dtype=dtype, device=device)

    def append(self, key: Tensor, value: Tensor, position: int) -> tuple[Tensor, Tensor]:
        self.stored[0, :, :, position] = key[:, :, 0]
        self.stored[1, :, :, position] = value[:, :, 0]
        present = self.stored[:, :, :, : position + 1]
        return present[0], present[1]

    def select(self, rows: Tensor, length: int) -> None:
        old = self.stored
        self.stored = old.new_empty((2, len(rows), *old.shape[2:]))
        self.stored[:, :, :, :length] = old[:, rows, :, :length]


def _attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Return what each query (N, heads, Q, C) sees; two plain products, which for few queries no kernel beats."""
    heads = query.shape[1]
    flat = [part.flatten(0, 1) for part in (query, keys, values)]
    weight = torch.bmm(flat[0] * query.shape[-1] ** -0.5, flat[1].transpose(1, 2))
    if mask is not None:
        weight = weight.masked_fill(~mask.expand(-1, heads, -1, -1).flatten(0, 1), float("-inf"))
    return torch.bmm(weight.softmax(dim=-1), flat[2]).unflatten(0, (-1, heads))


_PARTS = {"q": slice(0, 1), "kv": slice(1, 3), "qkv": slice(0, 3)}


def _project(block: Block, x: Tensor, parts: str) -> tuple[Tensor, ...]:
    """Return queries, keys or values of ``x`` (N, L, W), each (N, heads, L, channels of a head)."""
    attention = block.attn
    width, taken = attention.out_proj.in_features, _PARTS[parts]
    rows = slice(taken.start * width, taken.stop * width)
    bias = None if attention.in_proj_bias is None else attention.in_proj_bias[rows]
    projected = F.linear(x, attention.in_proj_weight[rows], bias)
    split = projected.unflatten(-1, (len(parts), attention.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
    if isinstance(attention, nn.MultiheadAttention):
        return split
    norms = {"q": attention.ln_q, "k": attention.ln_k}
    return tuple(norms[part](value) if part in norms else value for part, value in zip(parts, split, strict=True))


def _finish(block: Block, x: Tensor, mixed: Tensor) -> Tensor:
    """Return ``x`` (N, W) after the rest of its block; ``mixed`` (images, heads, beams, channels) is what was seen."""
    attention = block.attn
    if isinstance(attention, nn.MultiheadAttention):
        seen = attention.out_proj(mixed.transpose(1, 2).reshape(x.shape))
    else:
        if attention.head_scale is not None:
            mixed = mixed * attention.head_scale
        seen = block.ln_attn(attention.out_proj(attention.ln_inner(mixed.transpose(1, 2).reshape(x.shape))))
    x = x + block.ls_1(seen)
    return x + block.ls_2(block.mlp(block.ln_2(x)))
