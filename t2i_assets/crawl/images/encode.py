"""Pixels to the bytes that are stored; the same pixels give the same bytes."""

import io

import simplejpeg
from PIL import Image

from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.images.resize import Pixels


def encode(pixels: Pixels, config: ImageConfig) -> bytes:
    """Return the pixels as JPEG, WebP or PNG, without any metadata."""
    if config.format == "jpg":
        data: bytes = simplejpeg.encode_jpeg(pixels, config.quality, "RGB", config.subsampling)
        return data
    file = io.BytesIO()
    if config.format == "webp":
        Image.fromarray(pixels).save(file, "WEBP", quality=config.quality, lossless=config.quality == 100)
    else:
        Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
