"""Pixels turned upright, scaled, and cut to a square."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from t2i_assets.crawl.config import ImageConfig

Pixels = NDArray[np.uint8]
"""RGB, shape (height, width, 3)."""

_AVERAGED_ENOUGH = 1.5
"""Below this factor, bilinear sampling of what the DCT has averaged is as near to area averaging of the whole (42.2 dB
against 42.1 on the photos of the ingest benchmark) at a sixth of its time."""

cv2.setNumThreads(1)  # the crawl has its own processes


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation (1 to 8); other values are read as 1."""
    match orientation:
        case 2:
            return pixels[:, ::-1]
        case 3:
            return pixels[::-1, ::-1]
        case 4:
            return pixels[::-1]
        case 5:
            return pixels.transpose(1, 0, 2)
        case 6:
            return pixels.transpose(1, 0, 2)[:, ::-1]
        case 7:
            return pixels.transpose(1, 0, 2)[::-1, ::-1]
        case 8:
            return pixels.transpose(1, 0, 2)[::-1]
        case _:
            return pixels


def scaled(pixels: Pixels, config: ImageConfig, original: tuple[int, int] | None = None) -> Pixels:
    """Return the whole picture at the stored scale: its shorter side is ``size``, unless ``resize`` is ``no``.

    ``keep_ratio`` makes nothing larger. ``original`` is the upright (width, height) where the decoder made it smaller
    already, which rounds its sides up: the stored sides follow from the original's.
    """
    height, width = pixels.shape[:2]
    pixels = np.ascontiguousarray(pixels)
    if config.resize == "no" or (config.resize == "keep_ratio" and min(height, width) <= config.size):
        return pixels
    scale = config.size / min(height, width)
    across, down = original or (width, height)
    whole_scale = config.size / min(across, down)
    target = (max(1, round(across * whole_scale)), max(1, round(down * whole_scale)))
    if whole_scale > 1:
        return np.asarray(cv2.resize(pixels, target, interpolation=cv2.INTER_LANCZOS4), np.uint8)
    if config.resampling == "lanczos":
        return np.asarray(Image.fromarray(pixels).resize(target, Image.Resampling.LANCZOS))
    if target == (width, height):
        return pixels
    averaged = original is not None and scale * _AVERAGED_ENOUGH > 1
    method = cv2.INTER_LINEAR if averaged else cv2.INTER_AREA
    return np.asarray(cv2.resize(pixels, target, interpolation=method), np.uint8)


def centre(pixels: Pixels, config: ImageConfig) -> Pixels:
    """Cut the square in the middle for ``center_crop``; leave other pictures whole."""
    if config.resize != "center_crop":
        return pixels
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])
