"""The caption filter's model: BLIP's mixture of encoder and decoder, small, trained from scratch.

One stack of text layers serves three ways: alone as text encoder (ITC), with cross-attention to the image as
image-grounded text encoder (ITM), and with causal self-attention of its own as image-grounded text decoder (LM),
which gives the image encoder and the cross-attention a target per word instead of one bit per pair.

Source: Li et al., "BLIP" (2022), section 3 (all parameters but the self-attention are shared between encoder and
decoder) and section 4.3. Left out at this size: the momentum encoder and its queue.
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
MATCH = 1  # class of the ITM head


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
    """Image tokens (N, patches, width), ready to be attended to, and the ITC embedding (N, embed_dim)."""

    tokens: Tensor
    embedding: Tensor


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
        return Grounding(x, F.normalize(self.image_projection(x.mean(dim=1)), dim=-1))

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return unit-norm ITC embeddings (N, embed_dim)."""
        x, mask = self._embed(tokens), self._padding_mask(tokens)
        for layer in self.text_layers:
            x = layer(x, mask)
        return F.normalize(self.text_projection(self.text_norm(x)[:, 0]), dim=-1)

    def match(self, tokens: Tensor, image_tokens: Tensor) -> Tensor:
        """Return ITM logits (N, 2): unmatched, matched."""
        x, mask = self._embed(tokens), self._padding_mask(tokens)
        x = torch.cat([x[:, :1] + self.encode_token, x[:, 1:]], dim=1)
        for layer in self.text_layers:
            x = layer(x, mask, image_tokens)
        return self.itm_head(self.text_norm(x)[:, 0])

    def next_tokens(self, tokens: Tensor, image_tokens: Tensor) -> Tensor:
        """Return LM logits (N, L, V): position i predicts token i + 1."""
        x = self._embed(tokens)
        for layer in self.text_layers:
            x = layer(x, None, image_tokens, causal=True)
        return self.text_norm(x) @ self.token_embedding.weight.T

    def scale(self) -> Tensor:
        """Return what cosines are multiplied with: one over the temperature, which stays in [0.001, 0.5]."""
        return 1 / self.temperature.clamp(0.001, 0.5)

    def _embed(self, tokens: Tensor) -> Tensor:
        return self.token_embedding(tokens) + self.text_position[: tokens.shape[1]]

    def _padding_mask(self, tokens: Tensor) -> Tensor:
        """Return (N, 1, 1, L), True where a token may be attended to: up to the first end of text."""
        ended = (tokens == self.config.end_token).int().cumsum(dim=1)
        return ((ended == 0) | ((tokens == self.config.end_token) & (ended == 1)))[:, None, None]


def filter_loss(
    model: BlipFilter, images: Tensor, tokens: Tensor, positives: Tensor, generator: torch.Generator, lm_weight: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return ITC + ITM + ``lm_weight`` · LM and figures.

    ``positives`` (N, N) bool: text j is true of image i as far as the data says (own pair, other captions of the
    same image, equal texts). They share the ITC target and are never drawn as ITM negatives; the others are, with
    probability softmax(similarity) + 1e-4: per pair one hard text for the image and one hard image for the text.
    """
    tokens = tokens[:, : int((tokens == model.config.end_token).int().argmax(dim=1).max()) + 1]
    grounding = model.encode_image(images)
    similarity = model.scale() * grounding.embedding.float() @ model.encode_text(tokens).float().T
    itc = (_soft_cross_entropy(similarity, positives) + _soft_cross_entropy(similarity.T, positives.T)) / 2

    with torch.no_grad():
        hard_text = _draw_negative(similarity, positives, generator)
        hard_image = _draw_negative(similarity.T, positives.T, generator)
    count = len(images)
    texts = torch.cat([tokens, tokens[hard_text], tokens])
    grounds = torch.cat([grounding.tokens, grounding.tokens, grounding.tokens[hard_image]])
    logits = model.match(texts, grounds).float()
    labels = torch.zeros(3 * count, dtype=torch.long, device=images.device)
    labels[:count] = MATCH
    itm = F.cross_entropy(logits, labels)
    accuracy = (logits.argmax(dim=1) == labels).float()
    figures = {
        "itc_loss": itc.detach(),
        "itm_loss": itm.detach(),
        "itm_recall": accuracy[:count].mean(),
        "itm_rejection": accuracy[count:].mean(),
    }
    loss = itc + itm
    if lm_weight:
        lm = F.cross_entropy(
            model.next_tokens(tokens, grounding.tokens)[:, :-1].float().flatten(0, 1),
            tokens[:, 1:].masked_fill(~model._padding_mask(tokens)[:, 0, 0, 1:], -100).flatten(),
            label_smoothing=0.1,
        )
        loss = loss + lm_weight * lm
        figures["lm_loss"] = lm.detach()
    return loss, figures


def save_filter(model: BlipFilter, directory: Path) -> None:
    """Write config.json and model.safetensors."""
    (directory / CONFIG_FILE).write_text(model.config.model_dump_json(indent=1))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, directory / WEIGHTS_FILE)


def load_filter(directory: Path) -> BlipFilter:
    """Read what ``save_filter`` wrote; the model is in evaluation mode."""
    model = BlipFilter(BlipFilterConfig.model_validate_json((directory / CONFIG_FILE).read_text()))
    model.load_state_dict(load_file(directory / WEIGHTS_FILE))
    return model.eval()


def _soft_cross_entropy(similarity: Tensor, positives: Tensor) -> Tensor:
    target = positives.float() / positives.sum(dim=1, keepdim=True)
    return F.cross_entropy(similarity, target)


def _draw_negative(similarity: Tensor, positives: Tensor, generator: torch.Generator) -> Tensor:
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

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        query = self._split(self.query(x))
        key, value = (self._split(part) for part in self.key_value(context).chunk(2, dim=-1))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
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
        x = x + self.attention(h, h)
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
        self, x: Tensor, mask: Tensor | None, image_tokens: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        h = self.norm(x)
        x = x + (self.causal_attention(h, h, causal=True) if causal else self.attention(h, h, mask))
        if image_tokens is not None:
            x = x + self.cross_attention(self.cross_norm(x), image_tokens)
        return x + self.mlp(x)


def _mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
