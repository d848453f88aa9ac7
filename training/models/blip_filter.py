"""The caption filter's model: BLIP's mixture of encoder and decoder, small, trained from scratch.

One stack of text layers serves three ways: alone as text encoder (ITC), with cross-attention to the image as
image-grounded text encoder (ITM), and with causal self-attention of its own as image-grounded text decoder (LM),
which gives the image encoder and the cross-attention a target per word instead of one bit per pair.

Source: Li et al., "BLIP" (2022), section 3 (all parameters but the self-attention are shared between encoder and
decoder) and section 4.3. Left out at this size: the momentum encoder and its queue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.stem import ConvStem, grid_positions

if TYPE_CHECKING:
    from training.models.momentum_contrast import MomentumContrast

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
NO_MATCH, MATCH = 0, 1  # classes of the ITM head


class BlipFilterConfig(BaseModel):
    """Sizes of the model; what config.json holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vocab_size: int = Field(gt=0, description="Tokens of the tokenizer.")
    start_token: int = Field(ge=0, description="Token that opens every text.")
    end_token: int = Field(ge=0, description="Token that closes every text; what follows is padding.")
    image_size: int = Field(default=32, gt=0, description="Side of the images, pixels.")
    patch_size: int = Field(default=4, gt=0, description="Side of a patch, pixels.")
    width: int = Field(default=128, gt=0, description="Channels everywhere.")
    heads: int = Field(default=4, gt=0, description="Attention heads.")
    stem_blocks: int = Field(default=2, ge=0, description="Residual convolution blocks on the patch grid.")
    image_layers: int = Field(default=1, ge=0, description="Transformer layers over the patches.")
    text_layers: int = Field(default=2, gt=0, description="Text layers, each with cross-attention.")
    context_length: int = Field(default=32, gt=2, description="Longest text, tokens, specials included.")
    embed_dim: int = Field(default=64, gt=0, description="Dimension of the ITC space.")


@dataclass
class Grounding:
    """What texts attend to: per text layer keys and values, (N, heads, patches, width / heads); and the ITC embedding
    (N, embed_dim).
    """

    keys_values: list[tuple[Tensor, Tensor]]
    embedding: Tensor

    def of(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return keys and values of the images with these numbers, [len(images), …]."""
        return [(_rows(key, images), _rows(value, images)) for key, value in self.keys_values]


def _rows(source: Tensor, rows: Tensor) -> Tensor:
    """Return ``source[rows]``; the gradient of an embedding look-up takes a fraction of indexing's time on CPU."""
    return F.embedding(rows, source.flatten(1)).unflatten(1, source.shape[1:])


class BlipFilter(nn.Module):
    """Scores how well texts fit images; images in [-1, 1], texts as the tokenizer gives them (N, context_length)."""

    def __init__(self, config: BlipFilterConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.stem = ConvStem(config.patch_size, width, config.stem_blocks)
        self.patch_position = nn.Parameter(grid_positions(config.image_size // config.patch_size, width))
        self.image_layers = nn.ModuleList(_ImageLayer(width, config.heads) for _ in range(config.image_layers))
        self.image_norm = nn.LayerNorm(width)
        self.image_projection = nn.Linear(width, config.embed_dim)

        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.text_position = nn.Parameter(torch.randn(config.context_length, width) * 0.02)
        self.encode_token = nn.Parameter(torch.randn(width) * 0.02)
        self.text_layers = nn.ModuleList(_TextLayer(width, config.heads) for _ in range(config.text_layers))
        self.text_norm = nn.LayerNorm(width)
        self.text_projection = nn.Linear(width, config.embed_dim)
        self.temperature = nn.Parameter(torch.tensor(0.07))
        self.itm_head = nn.Linear(width, 2)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def encode_image(self, images: Tensor) -> Grounding:
        x = self.stem(images).flatten(2).transpose(1, 2) + self.patch_position
        for layer in self.image_layers:
            x = layer(x)
        x = self.image_norm(x)
        embedding = F.normalize(self.image_projection(x.mean(dim=1)), dim=-1)
        return Grounding([layer.cross_attention.keys_values(x) for layer in self.text_layers], embedding)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return unit-norm ITC embeddings (N, embed_dim)."""
        return F.normalize(self.text_projection(self._first(self._embed(tokens), tokens)), dim=-1)

    def match(self, tokens: Tensor, grounding: Grounding, images: Tensor) -> Tensor:
        """Return ITM logits (N, 2), unmatched and matched, of each text and the image with the number beside it."""
        x = self._embed(tokens)
        x = torch.cat([x[:, :1] + self.encode_token, x[:, 1:]], dim=1)
        return self.itm_head(self._first(x, tokens, grounding.of(images)))

    def next_tokens(self, tokens: Tensor, grounding: Grounding) -> Tensor:
        """Return LM logits (N, L, V) of image i and text i: position j predicts token j + 1."""
        x = self._embed(tokens)
        for layer, seen in zip(self.text_layers, grounding.keys_values, strict=True):
            x = layer(x, None, seen, causal=True)
        return self.text_norm(x) @ self.token_embedding.weight.T

    def scale(self) -> Tensor:
        """Return what cosines are multiplied with: one over the temperature, which stays in [0.001, 0.5]."""
        return 1 / self.temperature.clamp(0.001, 0.5)

    def _first(self, x: Tensor, tokens: Tensor, seen: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """Return the last state of the first token (N, width); the last layer computes no other."""
        mask = self._padding_mask(tokens)
        for number, layer in enumerate(self.text_layers, start=1):
            rows = 1 if number == len(self.text_layers) else None
            x = layer(x, mask, None if seen is None else seen[number - 1], rows=rows)
        return self.text_norm(x[:, 0])

    def _embed(self, tokens: Tensor) -> Tensor:
        return self.token_embedding(tokens) + self.text_position[: tokens.shape[1]]

    def _padding_mask(self, tokens: Tensor) -> Tensor:
        """Return (N, 1, 1, L), True where a token may be attended to: up to the first end of text."""
        ended = (tokens == self.config.end_token).int().cumsum(dim=1)
        return ((ended == 0) | ((tokens == self.config.end_token) & (ended == 1)))[:, None, None]


def filter_loss(
    model: BlipFilter,
    images: Tensor,
    batch: Mapping[str, Any],
    generator: torch.Generator,
    lm_weight: float = 0.0,
    momentum: "MomentumContrast | None" = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return ITC + ITM + ``lm_weight`` · LM and figures.

    ``batch`` is what ``training.matching_data`` says; ``images`` (N, 3, S, S) in [-1, 1] take the place of its own.
    Texts that are known to be true of an image share its ITC target, and those or what they imply are never drawn as
    its ITM negatives. The others are, with probability softmax(similarity) + 1e-4: per pair one hard text for the
    image and one hard image for the text. Variants of the text, where there are any, are further matches and negatives.
    """
    tokens, positives = trimmed(batch["tokens"], model.config.end_token), batch["positives"]
    grounding = model.encode_image(images)
    text = model.encode_text(tokens)
    similarity = model.scale() * grounding.embedding.float() @ text.float().T
    excused = batch["implied"] | positives
    if momentum is None:
        itc = (_contrast(similarity, positives, excused) + _contrast(similarity.T, positives.T, excused.T)) / 2
    else:
        itc = momentum(model, images, tokens, grounding.embedding.float(), text.float(), batch)

    with torch.no_grad():
        hard_text = draw_negative(similarity, excused, generator)
        hard_image = draw_negative(similarity.T, excused.T, generator)
    itm, figures = _matching_loss(model, grounding, batch, hard_text, hard_image)
    loss = itc + itm
    figures["itc_loss"] = itc.detach()
    if lm_weight:
        lm = language_loss(model, grounding, tokens)
        loss = loss + lm_weight * lm
        figures["lm_loss"] = lm.detach()
    return loss, figures


def language_loss(model: BlipFilter, grounding: Grounding, tokens: Tensor) -> Tensor:
    """Return the cross-entropy of every next token of text i given image i, label smoothing 0.1 (BLIP, section 3.2)."""
    return F.cross_entropy(
        model.next_tokens(tokens, grounding)[:, :-1].float().flatten(0, 1),
        tokens[:, 1:].masked_fill(~model._padding_mask(tokens)[:, 0, 0, 1:], -100).flatten(),
        label_smoothing=0.1,
    )


def trimmed(tokens: Tensor, end_token: int) -> Tensor:
    """Return the tokens (N, L) without the columns in which every text is over."""
    return tokens[:, : int((tokens == end_token).int().argmax(dim=1).max()) + 1]


def save_filter(model: BlipFilter, directory: Path) -> None:
    """Write config.json and model.safetensors."""
    (directory / CONFIG_FILE).write_text(model.config.model_dump_json(indent=1))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, directory / WEIGHTS_FILE)


def load_filter(directory: Path) -> BlipFilter:
    """Read what ``save_filter`` wrote; the model is in evaluation mode."""
    model = BlipFilter(BlipFilterConfig.model_validate_json((directory / CONFIG_FILE).read_text()))
    model.load_state_dict(load_file(directory / WEIGHTS_FILE))
    return model.eval()


CHUNKS = 3


def _matching_loss(
    model: BlipFilter, grounding: Grounding, batch: Mapping[str, Any], hard_text: Tensor, hard_image: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the ITM cross-entropy, with the shares of matches and of negatives that are told right.

    Matches and negatives weigh the same, however many there are: at 0.5 a text is as likely to be the one as the other.
    Texts go through the model by length, in ``CHUNKS``, so that few of them are padded much.
    """
    tokens, own = batch["tokens"], torch.arange(len(hard_text), device=hard_text.device)
    parts = [(tokens, own, MATCH), (tokens[hard_text], own, NO_MATCH), (tokens, hard_image, NO_MATCH)]
    if "true_texts" in batch:
        told = batch["falsified"]
        parts += [(batch["true_texts"], own, MATCH), (batch["false_texts"][told], own.repeat(2)[told], NO_MATCH)]
    texts, images = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    labels = torch.cat([torch.full_like(part[1], part[2]) for part in parts])
    order = (texts == model.config.end_token).int().argmax(dim=1).argsort()
    logits = torch.cat(
        [
            model.match(trimmed(texts[chunk], model.config.end_token), grounding, images[chunk]).float()
            for chunk in order.chunk(CHUNKS)
        ]
    )
    labels = labels[order]
    right = (logits.argmax(dim=1) == labels).float()
    each = F.cross_entropy(logits, labels, reduction="none")
    itm = (each[labels == MATCH].mean() + each[labels == NO_MATCH].mean()) / 2
    figures = {"itm_loss": itm.detach(), "itm_recall": right[labels == MATCH].mean()}
    return itm, {**figures, "itm_rejection": right[labels == NO_MATCH].mean()}


def _contrast(similarity: Tensor, positives: Tensor, excused: Tensor) -> Tensor:
    """Return the cross-entropy of each row against its positives; what is excused and no positive is left out."""
    target = positives.float() / positives.sum(dim=1, keepdim=True)
    return F.cross_entropy(similarity.masked_fill(excused & ~positives, -1e4), target)


def draw_negative(similarity: Tensor, positives: Tensor, generator: torch.Generator) -> Tensor:
    """Return for each row one column that is no positive; any other column where all are positives."""
    weights = similarity.float().softmax(dim=1) + 1e-4
    weights = weights.masked_fill(positives, 0)
    alone = weights.sum(dim=1, keepdim=True) == 0
    weights = torch.where(alone, 1 - torch.eye(len(weights), device=weights.device), weights)
    return torch.multinomial(weights, 1, generator=generator)[:, 0]


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (N, heads, L, width / heads) of what is attended to (N, L, width)."""
        key, value = self.key_value(context).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def forward(
        self, x: Tensor, seen: tuple[Tensor, Tensor], mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        query = self._split(self.query(x))
        if x.device.type == "cpu":  # in bf16 the backward pass of this kernel takes several times as long there
            with torch.autocast("cpu", enabled=False):
                mixed = F.scaled_dot_product_attention(
                    query.float(), seen[0].float(), seen[1].float(), attn_mask=mask, is_causal=causal
                )
        else:
            mixed = F.scaled_dot_product_attention(query, *seen, attn_mask=mask, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _ImageLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = _Attention(width, heads)
        self.mlp = _mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        x = x + self.attention(h, self.attention.keys_values(h))
        return x + self.mlp(x)


class _TextLayer(nn.Module):
    """Self-attention (one for the encoders, one for the decoder), optional cross-attention, MLP; pre-norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = _Attention(width, heads)
        self.causal_attention = _Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = _Attention(width, heads)
        self.mlp = _mlp(width)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        seen: tuple[Tensor, Tensor] | None = None,
        causal: bool = False,
        rows: int | None = None,
    ) -> Tensor:
        """Return the states of the first ``rows`` tokens, or of all; ``seen`` are keys and values of the images."""
        h = self.norm(x)
        attention = self.causal_attention if causal else self.attention
        x = x[:, :rows] + attention(h[:, :rows], attention.keys_values(h), mask, causal)
        if seen is not None:
            x = x + self.cross_attention(self.cross_norm(x), seen)
        return x + self.mlp(x)

    def go_on(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None, seen: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the states of one more position (N, 1, width) of a causal text, and all keys and values till there."""
        h = self.norm(x)
        present = self.causal_attention.keys_values(h)
        if past is not None:
            present = (torch.cat([past[0], present[0]], dim=2), torch.cat([past[1], present[1]], dim=2))
        x = x + self.causal_attention(h, present)
        x = x + self.cross_attention(self.cross_norm(x), seen)
        return x + self.mlp(x), present


def _mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
