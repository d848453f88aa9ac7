"""What recaptioning asks of a captioner, whichever library its model comes from."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from training.config import DecodeConfig
from training.models.decode import Caption


class Captioner(Protocol):
    """Writes captions in one style. Each depends on its image, its name and the seed, not on its batch."""

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""

    def write(self, images: Tensor, names: Sequence[str], seed: int, config: DecodeConfig) -> list[Caption]:
        """Return a caption for each of ``images``, uint8 (N, 3, S, S); ``names`` give each its random numbers."""
