"""Pictures whose patches stand in a random order: the floor of distances, since nothing in them has a form."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.features.preprocessing import Preprocessing


@dataclass(frozen=True)
class Shuffling:
    """Pictures are scaled to ``side`` and cut into squares of ``patch`` pixels, in an order of the seed for each one.

    Raises ValueError where patches do not fill the side.
    """

    side: int
    patch: int
    seed: int

    def __post_init__(self) -> None:
        if self.side % self.patch:
            raise ValueError(f"patches of {self.patch} px do not fill a side of {self.side} px")

    def orders(self) -> Iterator[NDArray[np.int64]]:
        """Yield the order of the patches of one picture after the other."""
        rng = np.random.default_rng(self.seed)
        while True:
            yield rng.permutation((self.side // self.patch) ** 2)

    def __call__(self, image: Image.Image, order: NDArray[np.int64]) -> Image.Image:
        """Return the picture, scaled, with its patches in ``order``."""
        grid, patch = self.side // self.patch, self.patch
        pixels = Preprocessing(side=self.side, resize="bytes", fit="crop").pixels(image)
        patches = pixels.reshape(grid, patch, grid, patch, 3).transpose(0, 2, 1, 3, 4).reshape(-1, patch, patch, 3)
        mixed = patches[order].reshape(grid, grid, patch, patch, 3).transpose(0, 2, 1, 3, 4)
        return Image.fromarray(np.ascontiguousarray(mixed.reshape(self.side, self.side, 3)))
