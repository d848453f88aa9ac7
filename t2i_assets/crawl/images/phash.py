"""Perceptual hash of a picture."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from t2i_assets.crawl.images.resize import Pixels

_HASH_SIDE, _THUMBNAIL_SIDE = 8, 32


def perceptual_hash(pixels: Pixels) -> str:
    """Return the 64-bit perceptual hash (pHash, Zauner 2010) as 16 hex digits.

    A 32 x 32 grey thumbnail, its discrete cosine transform, and for each of the 8 x 8 lowest frequencies whether it is
    above their median.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    thumbnail = cv2.resize(grey, (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    low = (_DCT @ thumbnail @ _DCT.T).ravel()
    middle = np.partition(low, (31, 32))[31:33].mean()
    return np.packbits(low > middle).tobytes().hex()


def _dct_matrix(rows: int, columns: int) -> NDArray[np.float64]:
    """The first ``rows`` of the DCT-II of length ``columns``."""
    frequency, time = np.arange(rows)[:, None], np.arange(columns)[None]
    return np.asarray(np.cos(np.pi * frequency * (2 * time + 1) / (2 * columns)) * 2)


_DCT: Any = _dct_matrix(_HASH_SIDE, _THUMBNAIL_SIDE)
