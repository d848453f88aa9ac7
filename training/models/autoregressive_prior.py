"""The autoregressive prior of DALL·E 2: principal components of the CLIP image embedding, quantised, one after another.

Sequence: caption tokens, text embedding, the quantised dot product z_i·z_t, then the components in order of
eigenvalue. At sampling the dot product is drawn from the upper half of its distribution.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.causal_transformer import CausalTransformer
from training.models.prior import TextCondition, TextPrefix, drop_captions


class AutoregressivePrior(nn.Module):
    """Predicts the bucket of each component from the caption and the components before it."""

    mean: Tensor
    axes: Tensor
    bounds: Tensor
    values: Tensor
    dot_bounds: Tensor

    def __init__(
        self,
        embed_dim: int,
        text_width: int,
        context_length: int,
        width: int,
        layers: int,
        heads: int,
        components: int,
        buckets: int,
        dot_buckets: int,
    ) -> None:
        super().__init__()
        self.prefix = TextPrefix(text_width, embed_dim, width)
        self.dot = nn.Embedding(dot_buckets, width)
        self.component = nn.Parameter(0.02 * torch.randn(components, buckets, width))
        self.level = nn.Parameter(0.02 * torch.randn(components, width))
        self.transformer = CausalTransformer(width, layers, heads, context_length + 2 + components)
        self.head = nn.Parameter(torch.zeros(components, width, buckets))
        self.slope = nn.Parameter(width**-0.5 * torch.randn(components, width, 2) * torch.tensor([1.0, 0.0]))
        self.register_buffer("mean", torch.zeros(embed_dim))
        self.register_buffer("axes", torch.eye(embed_dim)[:components].clone())
        self.register_buffer("bounds", torch.zeros(components, buckets - 1))
        self.register_buffer("values", torch.zeros(components, buckets))
        self.register_buffer("dot_bounds", torch.zeros(dot_buckets - 1))

    def fit(self, embeddings: Tensor, text_embeddings: Tensor) -> None:
        """Measure principal axes and buckets on unit-norm image embeddings [N, E] and their captions' [N, E].

        Buckets hold equally many samples, and stand for the mean of theirs. Raises ValueError where there are fewer
        samples than buckets.
        """
        components, buckets = self.values.shape
        if len(embeddings) < buckets:
            raise ValueError(f"{len(embeddings)} embeddings cannot fill {buckets} buckets: set fewer buckets")
        self.mean.copy_(embeddings.mean(dim=0))
        _, _, axes = torch.linalg.svd(embeddings - self.mean, full_matrices=False)
        self.axes.copy_(axes[:components])
        coordinates = (embeddings - self.mean) @ self.axes.T
        self.bounds.copy_(_quantiles(coordinates, buckets).T)
        numbers = self.quantise(coordinates)
        for component in range(components):
            total = torch.zeros(buckets).index_add(0, numbers[:, component], coordinates[:, component])
            count = torch.bincount(numbers[:, component], minlength=buckets)
            edges = F.pad(self.bounds[component][None], (1, 1), mode="replicate")[0]
            middle = (edges[1:] + edges[:-1]) / 2
            self.values[component] = torch.where(count > 0, total / count.clamp(min=1), middle)
        self.dot_bounds.copy_(
            _quantiles((embeddings * text_embeddings).sum(dim=1, keepdim=True), len(self.dot_bounds) + 1)[:, 0]
        )

    def quantise(self, coordinates: Tensor) -> Tensor:
        """Return the bucket of each coordinate; [N, components] to integers of the same shape."""
        return torch.searchsorted(self.bounds, coordinates.T.contiguous()).T

    def reconstruct(self, numbers: Tensor) -> Tensor:
        """Return the unit-norm embeddings [N, E] that buckets [N, components] stand for."""
        coordinates = self.values[torch.arange(len(self.values)), numbers]
        return F.normalize(coordinates @ self.axes + self.mean, dim=-1)

    def forward(self, numbers: Tensor, dot: Tensor, text: TextCondition, dropped: Tensor) -> Tensor:
        """Return logits [B, n + 1, buckets] of the first n + 1 components, given the first n of them [B, n].

        At most all but the last component are given. ``dot`` [B] is the bucket of z_i·z_t.
        """
        prefix, mask = self.prefix(text, dropped)
        given = numbers.shape[1]
        known = self._known()[torch.arange(given), numbers]
        sequence = torch.cat([prefix, self.dot(dot)[:, None], known], dim=1)
        hidden = self.transformer(sequence, F.pad(mask, (0, 1 + given), value=True))[:, prefix.shape[1] :]
        return torch.einsum("bnw,nwk->bnk", hidden, self._head()[: given + 1])

    def _levels(self) -> Tensor:
        """Return what the buckets stand for, in standard deviations of their component, [components, buckets]."""
        return self.values / self.values.std(dim=1, keepdim=True).clamp(min=1e-6)

    def _known(self) -> Tensor:
        """Return the tokens of buckets, [components, buckets, width]: a part of its own, and one that says its place.

        Buckets are ordered; a model that must find that out from few samples learns slowly.
        """
        return self.component + self._levels()[..., None] * self.level[:, None]

    def _head(self) -> Tensor:
        """Return the directions of the logits, [components, width, buckets]: free ones, and a parabola over the levels.

        A parabola is the logarithm of a normal distribution whose mean and width the transformer chooses.
        """
        levels = self._levels()
        powers = torch.stack([levels, levels.square()], dim=1)
        return self.head + torch.einsum("nwp,npk->nwk", self.slope, powers)

    def loss(
        self, embeddings: Tensor, text: TextCondition, caption_dropout: float, generator: torch.Generator
    ) -> Tensor:
        """Return the cross-entropy of the components, mean over them, per sample [B], in nats."""
        numbers = self.quantise((embeddings - self.mean) @ self.axes.T)
        dot = torch.bucketize((embeddings * text.embedding).sum(dim=1), self.dot_bounds)
        dropped = drop_captions(len(numbers), caption_dropout, generator)
        logits = self(numbers[:, :-1], dot, text, dropped)
        return F.cross_entropy(logits.transpose(1, 2), numbers, reduction="none").mean(dim=1)

    @torch.no_grad()
    def sample(
        self, text: TextCondition, generator: torch.Generator, guidance_scale: float = 1.0, temperature: float = 1.0
    ) -> Tensor:
        """Draw unit-norm image embeddings [B, E], component by component."""
        buckets, device = len(self.dot_bounds) + 1, self.mean.device
        dot = torch.randint(buckets // 2, buckets, (len(text),), generator=generator, device=device)
        numbers = torch.zeros(len(text), 0, dtype=torch.long, device=device)
        nothing = torch.zeros(len(text), dtype=torch.bool, device=device)
        for _ in range(len(self.values)):
            logits = self(numbers, dot, text, nothing)[:, -1]
            if guidance_scale != 1:
                unconditional = self(numbers, dot, text, ~nothing)[:, -1]
                logits = unconditional + guidance_scale * (logits - unconditional)
            drawn = torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator)
            numbers = torch.cat([numbers, drawn], dim=1)
        return self.reconstruct(numbers)


def _quantiles(columns: Tensor, buckets: int) -> Tensor:
    """Return the buckets - 1 inner bounds of equally full buckets of each column, [buckets - 1, columns]."""
    return torch.quantile(columns, torch.linspace(0, 1, buckets + 1)[1:-1], dim=0)
