"""What the two priors share: the text condition, how it is dropped for guidance, and how a prior is stored.

A prior draws the CLIP image embedding z_i of a caption (Ramesh et al. 2022, "Hierarchical Text-Conditional Image
Generation with CLIP Latents", section 2.2).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class TextCondition:
    """A batch of encoded captions: CLIP's text states [B, L, W], their mask [B, L], the unit-norm embeddings [B, E]."""

    states: Tensor
    mask: Tensor
    embedding: Tensor

    def __len__(self) -> int:
        return len(self.embedding)

    def take(self, rows: Tensor) -> Self:
        """Return some of the captions, cut to the longest of them."""
        mask = self.mask[rows]
        length = int(mask.sum(dim=1).max())
        return type(self)(self.states[rows, :length], mask[:, :length], self.embedding[rows])

    def repeat(self, times: int) -> Self:
        """Return every caption ``times`` times in a row."""
        parts = (self.states, self.mask, self.embedding)
        return type(self)(*(part.repeat_interleave(times, dim=0) for part in parts))


class TextPrefix(nn.Module):
    """The caption as the first tokens of a prior's sequence: its states, then its embedding."""

    def __init__(self, text_width: int, embed_dim: int, width: int) -> None:
        super().__init__()
        self.state = nn.Linear(text_width, width)
        self.embedding = nn.Linear(embed_dim, width)
        self.no_caption = nn.Parameter(0.02 * torch.randn(width))
        self.scale = embed_dim**0.5  # a unit-norm embedding times this has unit variance per dimension

    def forward(self, text: TextCondition, dropped: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens [B, L + 1, width] and their mask; where ``dropped`` [B] they say nothing of the caption."""
        tokens = torch.cat([self.state(text.states), self.embedding(self.scale * text.embedding)[:, None]], dim=1)
        tokens = torch.where(dropped[:, None, None], self.no_caption, tokens)
        mask = torch.cat([text.mask & ~dropped[:, None], torch.ones_like(text.mask[:, :1])], dim=1)
        return tokens, mask


def drop_captions(count: int, share: float, generator: torch.Generator) -> Tensor:
    """Return which of ``count`` captions are dropped from a training batch, [count]."""
    return torch.rand(count, generator=generator, device=generator.device) < share


def save_prior(prior: nn.Module, config: dict[str, Any], image_space: str, directory: Path) -> None:
    """Write weights, the arguments of the constructor and the digest of the CLIP whose embeddings the prior draws."""
    told = {"type": type(prior).__name__, "image_space": image_space, **config}
    (directory / CONFIG).write_text(json.dumps(told, indent=1))
    save_file({name: weight.contiguous() for name, weight in prior.state_dict().items()}, directory / WEIGHTS)


@dataclass(frozen=True)
class PriorFiles:
    """What ``save_prior`` wrote: which class, by which arguments, and the CLIP in whose space it draws."""

    directory: Path
    kind: str
    image_space: str
    arguments: dict[str, Any]

    def load(self, kind: type[nn.Module]) -> nn.Module:
        """Return the prior. Raises ValueError where it is of another kind."""
        if self.kind != kind.__name__:
            raise ValueError(f"{self.directory} holds a {self.kind}, not a {kind.__name__}")
        prior = kind(**self.arguments)
        prior.load_state_dict(load_file(self.directory / WEIGHTS))
        return prior.eval()


def prior_files(directory: Path) -> PriorFiles:
    """Read what lies in a prior's directory. Raises ValueError where it does not say in whose space it draws."""
    told = json.loads((directory / CONFIG).read_text())
    if "image_space" not in told:
        raise ValueError(f"{directory} does not say which CLIP's embeddings it draws: train it again")
    return PriorFiles(directory, told.pop("type"), told.pop("image_space"), told)
