"""From upright pixels to the stored picture: scaled, and cut to a square where that is asked for."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from t2i_assets.crawl.config import ImageConfig

Pixels = NDArray[np.uint8]
"""RGB, shape (height, width, 3)."""

_AVERAGED_ENOUGH = 1.5
"""Below this factor bilinear sampling is as good as averaging areas, at a sixth of its time."""

cv2.setNumThreads(1)  # the crawl has its own processes


@dataclass(frozen=True)
class Picture:
    """Upright pixels of a picture of ``width`` x ``height``, which a decoder may have made smaller already.

    ``scale`` is pixels here per pixel of the picture, ``left`` and ``top`` where its edges lie among them: a decoder
    that scales by 3/8 rounds the sides up, and the last pixel is then partly outside.
    """

    pixels: Pixels
    width: int
    height: int
    scale: float = 1.0
    left: float = 0.0
    top: float = 0.0


def stored_pixels(picture: Picture, config: ImageConfig) -> Pixels:
    """Return the stored form.

    ``center_crop`` gives size x size, ``keep_ratio`` a shorter side of size (nothing is made larger), ``no`` the
    pixels. Down by averaging areas or by Lanczos, up by Lanczos.
    """
    shorter = min(picture.width, picture.height)
    if config.resize == "no" or (config.resize == "keep_ratio" and shorter <= config.size):
        return np.ascontiguousarray(picture.pixels)
    scale = config.size / shorter
    whole = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    crop = (config.size, config.size) if config.resize == "center_crop" else whole
    corner = ((whole[0] - crop[0]) // 2, (whole[1] - crop[1]) // 2)
    if picture.scale < 1 and config.resampling == "area":
        return _sampled(picture, whole, corner, crop)
    left, top = corner
    pixels = _resized(np.ascontiguousarray(picture.pixels), whole, config)
    return np.ascontiguousarray(pixels[top : top + crop[1], left : left + crop[0]])


def _resized(pixels: Pixels, target: tuple[int, int], config: ImageConfig) -> Pixels:
    if target == pixels.shape[1::-1]:
        return pixels
    if target[0] > pixels.shape[1] or target[1] > pixels.shape[0]:
        return np.asarray(cv2.resize(pixels, target, interpolation=cv2.INTER_LANCZOS4), np.uint8)
    if config.resampling == "lanczos":
        return np.asarray(Image.fromarray(pixels).resize(target, Image.Resampling.LANCZOS))
    return np.asarray(cv2.resize(pixels, target, interpolation=cv2.INTER_AREA), np.uint8)


def _sampled(picture: Picture, whole: tuple[int, int], corner: tuple[int, int], crop: tuple[int, int]) -> Pixels:
    """Return a cut of the picture scaled to ``whole``, each pixel taken from its exact place.

    The decoder has averaged already, so the rest of the way is bilinear; where that rest is long, it is walked at a
    multiple of the size, whose blocks are averaged.
    """
    step = (picture.width / whole[0] * picture.scale, picture.height / whole[1] * picture.scale)
    blocks = max(1, round(max(step))) if max(step) >= _AVERAGED_ENOUGH else 1
    across, down = step[0] / blocks, step[1] / blocks
    places = np.array(
        [
            [across, 0, picture.left + (corner[0] * blocks + 0.5) * across - 0.5],
            [0, down, picture.top + (corner[1] * blocks + 0.5) * down - 0.5],
        ]
    )
    pixels = cv2.warpAffine(
        np.ascontiguousarray(picture.pixels),
        places,
        (crop[0] * blocks, crop[1] * blocks),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if blocks > 1:
        pixels = cv2.resize(pixels, crop, interpolation=cv2.INTER_AREA)
    return np.asarray(pixels, np.uint8)
