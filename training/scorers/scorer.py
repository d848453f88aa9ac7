"""What scoring asks of a model."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Scorer(Protocol):
    """Gives a number of each of its ``kinds`` to a text and an image."""

    name: str
    """What is written on its scores: a digest, or the name that the model was asked for by."""
    kinds: tuple[str, ...]
    image_size: int
    """Side of the images that it takes, pixels."""

    def score(self, images: Tensor, texts: Sequence[str], image_of: Tensor) -> Tensor:
        """Return float32 (len(texts), len(kinds)) for each text and the image with the number beside it.

        ``images`` are uint8 (N, 3, image_size, image_size), ``image_of`` (len(texts),) their numbers.
        """
