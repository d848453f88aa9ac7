"""How a picture of any size comes to an encoder. Distances move with it, so it is part of what features are named by.

* ``clean``: Pillow's filter on float channels, antialiased (Parmar et al., "On aliased resizing", 2022: clean-fid).
* ``legacy``: bilinear between pixels without antialiasing, as pytorch-fid and the first code of FID.
* ``bytes``: Pillow's filter on bytes, rounded, as pictures come to training and to the judge.
"""

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

Resize = Literal["clean", "legacy", "bytes"]
Pixels = NDArray[np.float32] | NDArray[np.uint8]


class Preprocessing(BaseModel):
    """What happens between a decoded picture and an encoder's input of ``side`` x ``side`` pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    side: int = Field(gt=0, description="Side of the encoder's input, pixels.")
    resize: Resize = Field(description="How it is scaled.")
    fit: Literal["stretch", "crop"] = Field(
        description="A picture that is no square is stretched, or its shorter side is fitted and its middle kept."
    )
    mean: tuple[float, float, float] = Field(default=(0.0, 0.0, 0.0), description="Taken off colours of 0..255.")
    std: tuple[float, float, float] = Field(default=(255.0, 255.0, 255.0), description="Then divided by.")

    def __str__(self) -> str:
        return f"{self.resize}-{self.fit}-{self.side}"

    def pixels(self, image: Image.Image) -> Pixels:
        """Return a picture as [side, side, 3] in 0..255, bytes where it was scaled in bytes."""
        image = image.convert("RGB")
        shorter = min(image.size)
        wide, high = image.size if self.fit == "stretch" else (shorter, shorter)
        left, top = (image.width - wide) / 2, (image.height - high) / 2
        box = (left, top, left + wide, top + high)
        size = (self.side, self.side)
        if self.resize == "bytes":
            scaled = image.resize(size, Image.Resampling.BICUBIC, box=box)
            return np.asarray(scaled)
        if self.resize == "clean":
            channels = (Image.fromarray(np.asarray(channel, np.float32)) for channel in image.split())
            resized = [np.asarray(channel.resize(size, Image.Resampling.BICUBIC, box=box)) for channel in channels]
            return np.stack(resized, axis=-1).clip(0, 255)
        cropped = np.asarray(image.crop((round(left), round(top), round(left + wide), round(top + high))), np.float32)
        rows, columns = (_between_pixels(count, self.side) for count in cropped.shape[:2])
        return np.einsum("yh,hwc,xw->yxc", rows, cropped, columns, optimize=True)


@cache
def _between_pixels(source: int, target: int) -> NDArray[np.float32]:
    """Return weights [target, source] of linear interpolation between two pixels, however far apart targets lie.

    Pixels are squares whose corners are aligned, as ``align_corners=False`` has it in PyTorch.
    """
    middles = (np.arange(target) + 0.5) * source / target - 0.5
    middles = middles.clip(0, source - 1)
    below = np.floor(middles).astype(int)
    above = np.minimum(below + 1, source - 1)
    weights = np.zeros((target, source))
    np.add.at(weights, (np.arange(target), below), 1 - (middles - below))
    np.add.at(weights, (np.arange(target), above), middles - below)
    return weights.astype(np.float32)
