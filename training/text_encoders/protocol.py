"""What every text encoder is, and what it says of texts."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor

SAVED_ENCODER, SAVED_TOKENIZER = "text_encoder", "tokenizer"


class TextEncoderError(ValueError):
    """A checkpoint cannot condition a diffusion model; the message names it and says why."""


@dataclass(frozen=True)
class Condition:
    """What a U-Net is told of B samples.

    Attributes:
        states: of the texts, [B, L, W].
        embeddings: of the texts, unit variance, [B, E]; E is 0 where the encoder has none.
        images: CLIP image embeddings, unit variance, zero where there is none to tell, [B, F]; F is 0 where the U-Net
            takes none.
    """

    states: Tensor
    embeddings: Tensor
    images: Tensor

    @classmethod
    def of_text(cls, states: Tensor, embeddings: Tensor) -> Self:
        """Return the condition of texts alone."""
        return cls(states, embeddings, states.new_zeros(len(states), 0))

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, index: Tensor | slice) -> Self:
        return type(self)(self.states[index], self.embeddings[index], self.images[index])

    def to(self, device: torch.device) -> Self:
        return type(self)(self.states.to(device), self.embeddings.to(device), self.images.to(device))

    def with_images(self, images: Tensor) -> Self:
        """Return the same texts beside image embeddings [B, F] of unit variance."""
        return type(self)(self.states, self.embeddings, images)

    def expand(self, count: int) -> Self:
        """Repeat a condition of one sample ``count`` times."""
        return type(self)(
            self.states.expand(count, -1, -1), self.embeddings.expand(count, -1), self.images.expand(count, -1)
        )

    def beside(self, other: Self) -> Self:
        """Return both, one after the other."""
        return type(self)(
            torch.cat([self.states, other.states]),
            torch.cat([self.embeddings, other.embeddings]),
            torch.cat([self.images, other.images]),
        )


class TextEncoder(Protocol):
    """Texts to conditions. A text is encoded alike in any company."""

    @property
    def width(self) -> int:
        """Channels of a state."""

    @property
    def length(self) -> int:
        """States of a text."""

    @property
    def embed_dim(self) -> int:
        """Dimensions of a text's embedding; 0 where there is none."""

    @property
    def told(self) -> str:
        """What of the encoder the U-Net is told: ``full`` or ``states``."""

    def __call__(self, texts: list[str], batch_size: int = 256) -> Condition:
        """Return the condition of texts, float32; the empty text stands for no condition."""

    def digest(self) -> str:
        """Return a digest of weights, vocabulary and preprocessing."""

    def save(self, directory: Path) -> dict[str, list[str]]:
        """Write text_encoder/ and tokenizer/ as transformers loads them; return their entries of model_index.json."""


def digest_parts(model: torch.nn.Module, vocabulary: dict[str, int], **preprocessing: Any) -> str:
    """Return 16 hex digits that stand for weights, vocabulary and preprocessing."""
    whole = hashlib.blake2b(json.dumps([sorted(vocabulary.items()), preprocessing], sort_keys=True).encode())
    for name, weight in sorted(model.state_dict().items()):
        whole.update(name.encode())
        whole.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()[:16]
