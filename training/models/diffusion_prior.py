"""The diffusion prior of DALL·E 2: noise, a caption and a time go in, the CLIP image embedding comes out.

Sequence: caption tokens, text embedding, time, noised image embedding, a learned query; causal attention; the output
at the query is the prediction of the unnoised embedding, trained by mean squared error.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.causal_transformer import CausalTransformer
from training.models.prior import TextCondition, TextPrefix, drop_captions


class DiffusionPrior(nn.Module):
    """Predicts x0, the image embedding standardised per dimension."""

    mean: Tensor
    deviation: Tensor
    kept: Tensor

    def __init__(
        self,
        embed_dim: int,
        text_width: int,
        context_length: int,
        width: int,
        layers: int,
        heads: int,
        timesteps: int,
    ) -> None:
        super().__init__()
        self.prefix = TextPrefix(text_width, embed_dim, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.noised = nn.Linear(embed_dim, width)
        self.query = nn.Parameter(0.02 * torch.randn(width))
        self.transformer = CausalTransformer(width, layers, heads, context_length + 4)
        self.output = nn.Linear(width, embed_dim)
        self.register_buffer("mean", torch.zeros(embed_dim))
        self.register_buffer("deviation", torch.ones(embed_dim))
        self.register_buffer("kept", cosine_schedule(timesteps))

    def fit(self, embeddings: Tensor) -> None:
        """Measure mean and deviation per dimension of the unit-norm image embeddings [N, E] to be learned."""
        self.mean.copy_(embeddings.mean(dim=0))
        self.deviation.copy_(embeddings.std(dim=0).clamp(min=1e-4))

    def forward(self, noised: Tensor, time: Tensor, text: TextCondition, dropped: Tensor) -> Tensor:
        """Predict x0 [B, E] from x_t [B, E] at integer times [B]; captions in ``dropped`` [B] are ignored."""
        prefix, mask = self.prefix(text, dropped)
        width = prefix.shape[2]
        query = self.query.expand(len(noised), width)
        tail = torch.stack([self.time(time_embedding(time, width)), self.noised(noised), query], dim=1)
        mask = F.pad(mask, (0, 3), value=True)
        return self.output(self.transformer(torch.cat([prefix, tail], dim=1), mask)[:, -1])

    def loss(
        self, embeddings: Tensor, text: TextCondition, caption_dropout: float, generator: torch.Generator
    ) -> Tensor:
        """Return the squared error of x0, per sample [B], at a random time."""
        count, device = len(embeddings), embeddings.device
        x0 = (embeddings - self.mean) / self.deviation
        time = torch.randint(len(self.kept), (count,), generator=generator, device=device)
        noise = torch.randn(x0.shape, generator=generator, device=device)
        kept = self.kept[time][:, None]
        noised = kept.sqrt() * x0 + (1 - kept).sqrt() * noise
        predicted = self(noised, time, text, drop_captions(count, caption_dropout, generator))
        return (predicted - x0).square().mean(dim=1)

    @torch.no_grad()
    def sample(
        self, text: TextCondition, generator: torch.Generator, steps: int, guidance_scale: float = 1.0, samples: int = 2
    ) -> Tensor:
        """Draw unit-norm image embeddings [B, E]: of ``samples`` per caption the one with the highest z_i·z_t.

        Ancestral sampling over ``steps`` evenly spaced times (Ho et al. 2020, equation 7).
        """
        many = text.repeat(samples)
        noised = torch.randn(len(many), len(self.mean), generator=generator, device=self.mean.device)
        times = torch.linspace(len(self.kept) - 1, 0, steps).round().long().tolist()
        for time, following in zip(times, [*times[1:], None], strict=True):
            predicted = self._guided(noised, time, many, guidance_scale)
            if following is None:
                noised = predicted
                break
            kept, kept_next = self.kept[time], self.kept[following]
            step = kept / kept_next
            mean = (kept_next.sqrt() * (1 - step) * predicted + step.sqrt() * (1 - kept_next) * noised) / (1 - kept)
            variance = (1 - kept_next) / (1 - kept) * (1 - step)
            noised = mean + variance.sqrt() * torch.randn(mean.shape, generator=generator, device=mean.device)
        drawn = F.normalize(noised * self.deviation + self.mean, dim=-1).unflatten(0, (len(text), samples))
        best = (drawn * text.embedding[:, None]).sum(dim=-1).argmax(dim=1)
        return drawn[torch.arange(len(text)), best]

    def _guided(self, noised: Tensor, time: int, text: TextCondition, scale: float) -> Tensor:
        times = torch.full((len(noised),), time, device=noised.device)
        nothing = torch.zeros(len(noised), dtype=torch.bool, device=noised.device)
        predicted = self(noised, times, text, nothing)
        if scale == 1:
            return predicted
        unconditional = self(noised, times, text, ~nothing)
        return unconditional + scale * (predicted - unconditional)


def cosine_schedule(timesteps: int) -> Tensor:
    """Return the share of signal variance kept at each time, ᾱ (Nichol and Dhariwal 2021, equation 17), [timesteps]."""

    def signal(time: Tensor) -> Tensor:
        return torch.cos((time / timesteps + 0.008) / 1.008 * math.pi / 2) ** 2

    times = torch.arange(timesteps + 1, dtype=torch.float64)
    betas = (1 - signal(times[1:]) / signal(times[:-1])).clamp(max=0.999)
    return torch.cumprod(1 - betas, dim=0).float()


def time_embedding(time: Tensor, width: int) -> Tensor:
    """Return sines and cosines of integer times [B] at ``width`` / 2 frequencies, [B, width]."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=time.device) / (width // 2))
    angles = time[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
