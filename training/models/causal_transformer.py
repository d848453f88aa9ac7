"""A causal transformer over embeddings: what both priors of DALL·E 2 are made of."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CausalTransformer(nn.Module):
    """Pre-norm transformer; position i sees positions up to i that ``mask`` allows."""

    def __init__(self, width: int, layers: int, heads: int, positions: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(0.01 * torch.randn(positions, width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return [B, S, W] for ``hidden`` [B, S, W]; ``mask`` [B, S] is False where nobody may look."""
        length = hidden.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=hidden.device).tril()
        own = torch.eye(length, dtype=torch.bool, device=hidden.device)  # a row must see something: itself
        allowed = (causal & mask[:, None, :]) | own
        hidden = hidden + self.positions[:length]
        for block in self.blocks:
            hidden = block(hidden, allowed[:, None])
        return self.norm(hidden)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden: Tensor, allowed: Tensor) -> Tensor:
        parts = self.queries_keys_values(self.attention_norm(hidden)).chunk(3, dim=-1)
        queries, keys, values = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=allowed)
        hidden = hidden + self.output(attended.transpose(1, 2).flatten(2))
        return hidden + self.mlp(self.mlp_norm(hidden))
