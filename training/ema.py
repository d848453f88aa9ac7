"""An exponential moving average of a model's trainable weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Averages weights: mean ← decay · mean + (1 - decay) · weights, with a shorter memory in the first steps.

    Averaging begins after step ``start``, from the weights of then.
    """

    def __init__(self, model: nn.Module, decay: float, start: int = 0) -> None:
        self.decay, self.start = decay, start
        self.weights = trainable(model)
        self.means = {name: weight.detach().clone() for name, weight in self.weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimizer step ``step`` (from 1)."""
        if step < self.start:
            return
        means = [_local(mean) for mean in self.means.values()]
        weights = [_local(weight.detach()) for weight in self.weights.values()]
        if step == self.start:
            torch._foreach_copy_(means, weights)
            return
        since = step - self.start
        torch._foreach_lerp_(means, weights, 1 - min(self.decay, (1 + since) / (10 + since)))

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Give the model the means inside the block, and its own weights back after it."""
        own = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.copy_to(self.weights)
        try:
            yield
        finally:
            for name, weight in self.weights.items():
                weight.data.copy_(own[name])

    def copy_to(self, weights: dict[str, nn.Parameter]) -> None:
        """Overwrite weights with the means."""
        for name, weight in weights.items():
            weight.data.copy_(self.means[name])


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights of a model that are trained, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def _local(weight: Tensor) -> Tensor:
    """Return this process's share of a sharded weight, in place; another weight is its own."""
    return weight.to_local() if hasattr(weight, "to_local") else weight
