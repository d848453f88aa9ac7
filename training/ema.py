"""An exponential moving average of a model's trainable weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Ema:
    """Averages weights: mean ← decay · mean + (1 - decay) · weights, with a shorter memory in the first steps."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.means = {name: weight.detach().clone() for name, weight in _trainable(model).items()}

    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimizer step ``step`` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights = [weight.detach() for weight in _trainable(model).values()]
        torch._foreach_lerp_(list(self.means.values()), weights, 1 - decay)

    def copy_to(self, model: nn.Module) -> None:
        """Overwrite the model's weights with the means."""
        for name, weight in _trainable(model).items():
            weight.data.copy_(self.means[name])

    @contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """Give the model the means inside the block, and its own weights back after it."""
        own = {name: weight.detach().clone() for name, weight in _trainable(model).items()}
        self.copy_to(model)
        try:
            yield
        finally:
            for name, weight in _trainable(model).items():
                weight.data.copy_(own[name])


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
