"""Perceptual hash of a picture."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from t2i_assets.crawl.images.resize import Picture, Pixels

_HASH_SIDE, _THUMBNAIL_SIDE = 8, 32
_PIXELS_AT_ONCE = 1 << 20


def perceptual_hash(picture: Picture) -> str:
    """Return the 64-bit perceptual hash (pHash, Zauner 2010) as 16 hex digits.

    A 32 x 32 grey thumbnail, its discrete cosine transform, and for each of the 8 x 8 lowest frequencies whether it is
    above their median. Both steps are linear, so one product does them: 64 numbers are computed, no thumbnail.
    """
    rows, columns = picture.pixels.shape[:2]
    down = _frequencies(rows, picture.top, picture.height * picture.scale)
    across = _frequencies(columns, picture.left, picture.width * picture.scale)
    band = max(1, _PIXELS_AT_ONCE // columns)
    low = np.zeros(_HASH_SIDE**2)
    for start in range(0, rows, band):
        grey = _grey(picture.pixels[start : start + band])
        low += (down[:, start : start + band] @ grey @ across.T).ravel()
    middle = np.partition(low, (31, 32))[31:33].mean()
    return np.packbits(low > middle).tobytes().hex()


def _grey(pixels: Pixels) -> NDArray[np.float32]:
    return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY).astype(np.float32)


@lru_cache(1024)
def _frequencies(count: int, start: float, length: float) -> NDArray[np.float32]:
    """Return the matrix, shape (8, count), that averages pixels into 32 cells and takes 8 cosines of these.

    The cells lie over ``length`` pixels from ``start`` on; a pixel between two of them counts to both.
    """
    edges = np.arange(count + 1)
    cells = start + np.arange(_THUMBNAIL_SIDE + 1)[:, None] * (length / _THUMBNAIL_SIDE)
    covered = np.diff(np.clip(cells, edges[:-1], edges[1:]), axis=0)
    averages = covered / covered.sum(axis=1, keepdims=True)
    return np.asarray(_DCT @ averages, np.float32)


def _dct_matrix(rows: int, columns: int) -> NDArray[np.float64]:
    """The first ``rows`` of the DCT-II of length ``columns``."""
    frequency, time = np.arange(rows)[:, None], np.arange(columns)[None]
    return np.asarray(np.cos(np.pi * frequency * (2 * time + 1) / (2 * columns)) * 2)


_DCT: Any = _dct_matrix(_HASH_SIDE, _THUMBNAIL_SIDE)
