"""Writing captions: nucleus sampling with a KV cache over open_clip's CoCa, seeded per sample.

open_clip's ``CoCa.generate`` computes the whole prefix again for every token and draws from the global generator.
Here each token costs one pass over one position, and the numbers that pick the tokens of a sample come from
(seed, sample key), so a caption does not depend on which other samples share its batch.

Source of the sampling: Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020), section 3.1.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from open_clip import SimpleTokenizer
from open_clip.coca_model import CoCa
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

from training.config import DecodeConfig


@dataclass(frozen=True)
class Caption:
    """A written caption; ``log_probability`` is the model's own (temperature 1, nothing cut off), natural log."""

    text: str
    tokens: tuple[int, ...]
    log_probability: float


@torch.no_grad()
def write_captions(
    model: CoCa, tokenizer: SimpleTokenizer, images: Tensor, names: Sequence[str], seed: int, config: DecodeConfig
) -> list[Caption]:
    """Return one caption per image.

    ``images`` (N, 3, S, S) in [-1, 1]; ``names`` give each image its random numbers: the sample's key and whatever
    else should tell two captions of it apart. ``temperature`` 0 takes the likeliest token.
    """
    _, image_tokens = model._encode_image(images)
    start, end = tokenizer.sot_token_id, tokenizer.eot_token_id
    length = min(config.max_tokens, model.context_length - 1)
    chances = torch.from_numpy(np.stack([_uniforms(seed, name, length) for name in names])).to(images.device)
    decoder = CachedDecoder(model, image_tokens)
    row = torch.arange(len(images), device=images.device)
    token = torch.full_like(row, start)
    written: list[list[int]] = [[] for _ in names]
    total = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    for position in range(length):
        logits = decoder.step(token)
        logits[:, start] = -torch.inf
        token = pick_tokens(logits, chances[row, position], config.top_p, config.temperature)
        total[row] += logits.log_softmax(dim=1).gather(1, token[:, None])[:, 0].double()
        going = token != end
        for index, value in zip(row[going].tolist(), token[going].tolist(), strict=True):
            written[index].append(value)
        if not going.any():
            break
        if not going.all():
            row, token = row[going], token[going]
            decoder.keep(going)
    return [
        Caption(detokenize(tokenizer, tokens), tuple(tokens), log_probability)
        for tokens, log_probability in zip(written, total.tolist(), strict=True)
    ]


def pick_tokens(logits: Tensor, chances: Tensor, top_p: float, temperature: float) -> Tensor:
    """Return one token per row of ``logits`` (N, V), by inverse transform of ``chances`` (N,) in [0, 1).

    Only the nucleus is drawn from: the likeliest tokens, as few as together hold ``top_p`` of the probability.
    """
    if temperature == 0:
        return logits.argmax(dim=1)
    probability, order = (logits / temperature).softmax(dim=1).sort(dim=1, descending=True, stable=True)
    before = probability.cumsum(dim=1) - probability
    nucleus = probability * (before < top_p)
    bounds = nucleus.cumsum(dim=1)
    point = chances.to(bounds.dtype)[:, None] * bounds[:, -1:]
    rank = (bounds <= point).sum(dim=1, keepdim=True)
    rank = torch.minimum(rank, (nucleus > 0).sum(dim=1, keepdim=True) - 1)
    return order.gather(1, rank)[:, 0]


class CachedDecoder:
    """CoCa's two text stages, one position at a time; keys and values of earlier positions are kept."""

    def __init__(self, model: CoCa, image_tokens: Tensor) -> None:
        self.model = model
        self.position = 0
        self.text_caches = [_Cache() for _ in model.text.transformer.resblocks]
        self.decoder_caches = [_Cache() for _ in model.text_decoder.resblocks]
        self.image_caches = [_image_cache(block, image_tokens) for block in model.text_decoder.cross_attn]

    def step(self, token: Tensor) -> Tensor:
        """Return the logits (N, V) that follow ``token`` (N,) and all tokens before it."""
        text, decoder = self.model.text, self.model.text_decoder
        x = text.token_embedding(token) + text.positional_embedding[self.position]
        for block, cache in zip(text.transformer.resblocks, self.text_caches, strict=True):
            x = _self_attend(block, x, cache)
        if text.cls_emb is None:  # open_clip hands on the raw states where a class token follows them
            x = text.ln_final(x)
        blocks = zip(decoder.resblocks, self.decoder_caches, decoder.cross_attn, self.image_caches, strict=True)
        for block, cache, cross, image_cache in blocks:
            x = _self_attend(block, x, cache)
            x = _cross_attend(cross, x, image_cache)
        self.position += 1
        return decoder.ln_final(x) @ decoder.text_projection

    def keep(self, rows: Tensor) -> None:
        """Forget the sequences where the mask ``rows`` (N,) is False."""
        for cache in (*self.text_caches, *self.decoder_caches, *self.image_caches):
            cache.keep(rows)


def detokenize(tokenizer: SimpleTokenizer, tokens: Sequence[int]) -> str:
    """Return the text of ``tokens`` without the spaces that byte-pair words leave before punctuation."""
    text = " ".join(tokenizer.decode(list(tokens)).split())
    return re.sub(r" (?=[,.;:!?]|'(?:s|t|re|ve|m|ll|d)\b)", "", text)


class _Cache:
    """Keys and values (N, heads, positions, channels of a head)."""

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None) -> None:
        self.keys, self.values = keys, values

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values

    def keep(self, rows: Tensor) -> None:
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]


def _image_cache(block: ResidualAttentionBlock, image_tokens: Tensor) -> _Cache:
    attention = block.attn
    width = attention.embed_dim
    bias = attention.in_proj_bias
    projected = F.linear(block.ln_1_kv(image_tokens), attention.in_proj_weight[width:], bias[width:])
    keys, values = (_split(part, attention.num_heads) for part in projected.chunk(2, dim=-1))
    return _Cache(keys, values)


def _self_attend(block: ResidualAttentionBlock, x: Tensor, cache: _Cache) -> Tensor:
    attention = block.attn
    projected = F.linear(block.ln_1(x)[:, None], attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = (_split(part, attention.num_heads) for part in projected.chunk(3, dim=-1))
    keys, values = cache.append(key, value)
    x = x + block.ls_1(_attend(attention, query, keys, values))
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def _cross_attend(block: ResidualAttentionBlock, x: Tensor, cache: _Cache) -> Tensor:
    attention = block.attn
    width = attention.embed_dim
    query = F.linear(block.ln_1(x)[:, None], attention.in_proj_weight[:width], attention.in_proj_bias[:width])
    assert cache.keys is not None and cache.values is not None
    x = x + block.ls_1(_attend(attention, _split(query, attention.num_heads), cache.keys, cache.values))
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def _attend(attention: nn.MultiheadAttention, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    mixed = F.scaled_dot_product_attention(query, keys, values)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2)[:, 0])


def _split(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _uniforms(seed: int, name: str, count: int) -> np.ndarray:
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big")).random(count)
