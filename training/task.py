"""What is trained: a model with its loss, and what is told of it."""

import torch
from torch import Tensor, nn

from training.batches import Batch

Figures = dict[str, float | Tensor]


class Task(nn.Module):
    """A model (its submodules) with its loss. Parameters with ``requires_grad=False`` are left alone."""

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """Return the scalar loss of a batch and figures to log; noise comes from ``generator``.

        With several processes each has its own part of the step's samples and gradients are averaged. A loss that
        compares samples with each other calls ``training.distributed.gather`` on what is compared.
        """
        raise NotImplementedError

    def evaluate(self) -> Figures:
        """Return figures on held-out data (``val/…``); runs in eval mode, without gradients, on averaged weights.

        Held-out data stays where it was made: bring it along with ``training.device.moved(…, self.device)``.
        """
        return {}

    def checkpoint_gradients(self) -> None:
        """Have the model compute its activations again on the way back; for a task whose model offers that.

        Raises ValueError where it does not.
        """
        raise ValueError(f"{type(self).__name__} offers no gradient checkpointing: set gradient_checkpointing to false")

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return next(self.parameters()).device
