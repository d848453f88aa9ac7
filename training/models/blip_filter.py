"""The caption filter's model: BLIP's mixture of encoder and decoder, small, trained from scratch.

One stack of text layers serves three ways: alone as text encoder (ITC), with cross-attention to the image as
image-grounded text encoder (ITM), and with causal self-attention of its own as image-grounded text decoder (LM),
which gives the image encoder and the cross-attention a target per word instead of one bit per pair.

Source: Li et al., "BLIP" (2022), section 3 (all parameters but the self-attention are shared between encoder and
decoder) and section 4.3. Not in the paper: a head that tells which words are wrong, from the states before the last
layer; it is used in training alone, where it gives every word of a changed text its own target.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.stem import ConvStem, grid_positions

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
        self.stem = ConvStem(config.patch_size, width, config.stem_blocks).to(memory_format=torch.channels_last)
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
        self.word_head = nn.Linear(width, 1)
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
        first, _ = self._first(self._embed(tokens), tokens)
        return F.normalize(self.text_projection(first), dim=-1)

    def match(self, tokens: Tensor, grounding: Grounding, images: Tensor) -> Tensor:
        """Return ITM logits (N, 2), unmatched and matched, of each text and the image with the number beside it."""
        return self.match_words(tokens, grounding, images)[0]

    def match_words(self, tokens: Tensor, grounding: Grounding, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return what ``match`` does, and the logits (N, L) that each token is wrong, from the last layer but one."""
        x = self._embed(tokens)
        x = torch.cat([x[:, :1] + self.encode_token, x[:, 1:]], dim=1)
        first, words = self._first(x, tokens, grounding.of(images))
        return self.itm_head(first), self.word_head(words)[:, :, 0]

    def next_tokens(self, tokens: Tensor, grounding: Grounding) -> Tensor:
        """Return LM logits (N, L, V) of image i and text i: position j predicts token j + 1."""
        x = self._embed(tokens)
        for layer, seen in zip(self.text_layers, grounding.keys_values, strict=True):
            x = layer(x, None, seen, causal=True)
        return self.text_norm(x) @ self.token_embedding.weight.T

    def scale(self) -> Tensor:
        """Return what cosines are multiplied with: one over the temperature, which stays in [0.001, 0.5]."""
        return 1 / self.temperature.clamp(0.001, 0.5)

    def _first(
        self, x: Tensor, tokens: Tensor, seen: list[tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the last state of the first token (N, width), the only one that the last layer computes, and the
        states of all tokens before that layer (N, L, width).
        """
        mask = self.real(tokens)[:, None, None]
        last = len(self.text_layers) - 1
        for number, layer in enumerate(self.text_layers):
            if number == last:
                words = self.text_norm(x)
            x = layer(x, mask, None if seen is None else seen[number], rows=1 if number == last else None)
        return self.text_norm(x[:, 0]), words

    def _embed(self, tokens: Tensor) -> Tensor:
        return self.token_embedding(tokens) + self.text_position[: tokens.shape[1]]

    def real(self, tokens: Tensor) -> Tensor:
        """Return which tokens are no padding (N, L): those up to the first end of text."""
        ended = (tokens == self.config.end_token).int().cumsum(dim=1)
        return (ended == 0) | ((tokens == self.config.end_token) & (ended == 1))


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
