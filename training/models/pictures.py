"""Pictures of pictures: grids that show what a model does."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

GAP = 2  # pixels between cells, before enlarging
PAPER = 255


def save_grid(images: Tensor, path: Path, columns: int, scale: int = 2) -> None:
    """Write uint8 images [N, 3, H, W] as a PNG of ``columns`` cells a row, each pixel enlarged ``scale`` times."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), PAPER, np.uint8)
    for index, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        top = GAP + index // columns * (height + GAP)
        left = GAP + index % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    size = (sheet.shape[1] * scale, sheet.shape[0] * scale)
    Image.fromarray(sheet).resize(size, Image.Resampling.NEAREST).save(path)
