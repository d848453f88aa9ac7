"""What writing captions asks of a model, and what it gives back. Every captioner is decoded through this."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Decoder(Protocol):
    """A text model that remembers the sequences it was given, one in each row."""

    def step(self, tokens: Tensor) -> Tensor:
        """Append ``tokens`` (N,), one to each row; return the logits (N, V) of what follows."""

    def select(self, rows: Tensor, beams: int = 1) -> None:
        """Go on with ``rows`` (M,), numbers of present ones, of which each ``beams`` in a row are of one image."""


@dataclass(frozen=True)
class Written:
    """Tokens without the one that ended them; ``log_probability`` is the model's own (temperature 1, nothing cut off),
    natural log, that of the end included where there is one."""

    tokens: tuple[int, ...]
    log_probability: float


@dataclass(frozen=True)
class Ending:
    """The tokens that end a text, those that never stand in one, and the fewest and most tokens of one."""

    ends: tuple[int, ...]
    banned: tuple[int, ...]
    min_tokens: int
    max_tokens: int

    def forbid(self, logits: Tensor, position: int) -> Tensor:
        """Return a copy of ``logits`` (N, V) in which what may not stand at ``position`` is impossible."""
        forbidden: Sequence[int] = self.banned + (self.ends if position < self.min_tokens else ())
        if not forbidden:
            return logits
        logits = logits.clone()
        for token in forbidden:
            logits[:, token] = float("-inf")
        return logits
