"""From bytes to upright sRGB pixels: the header first, and the rest only of what is no bomb."""

import io
import struct
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.images.colour import is_srgb, to_srgb
from t2i_assets.crawl.images.errors import ImageError
from t2i_assets.crawl.images.exif import exif_subset, orientation, read_exif
from t2i_assets.crawl.images.jpeg import read_header
from t2i_assets.crawl.images.resize import Picture, Pixels
from t2i_assets.crawl.images.turn import upright
from t2i_assets.crawl.images.whole import is_whole
from t2i_assets.crawl.status import Status

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_MOST_SCANS = 100
"""Encoders write about ten; each costs a pass over the whole picture."""
_LANCZOS_MARGIN = 2
"""How far above the stored size the DCT scales for Lanczos, whose sharpness would else be lost."""
_DAMAGE = (OSError, SyntaxError, ValueError, struct.error, EOFError, MemoryError, KeyError, IndexError, TypeError)
_PILLOW_LIMITS = ("Decompressed data too large", "Too much memory used in text chunks")


@dataclass(frozen=True)
class Opened:
    """What the header tells; ``pillow`` is the image where it needs Pillow, None for a plain JPEG.

    Width and height are as coded, before ``orientation`` (1 to 8) is undone.
    """

    width: int
    height: int
    format: str
    orientation: int
    exif: str | None
    animated: bool
    pillow: Image.Image | None


def open_image(body: bytes) -> Opened:
    """Read the header only. Raises ImageError with status bomb or decode_failed."""
    header = read_header(body)
    if header is not None and header.scans > _MOST_SCANS:
        raise ImageError(Status.BOMB, f"{header.scans} scans, more than {_MOST_SCANS}")
    if header is not None and is_srgb(header.profile) and header.width and header.height:
        exif = read_exif(header.exif) if header.exif else None
        turn, told = (orientation(exif), exif_subset(exif)) if exif is not None else (1, None)
        return Opened(header.width, header.height, "JPEG", turn, told, False, None)
    return _open_with_pillow(body)


def _open_with_pillow(body: bytes) -> Opened:
    try:
        image = Image.open(io.BytesIO(body), formats=FORMATS)
        exif = image.getexif()
        turn, told = orientation(exif), exif_subset(exif)
        animated = bool(getattr(image, "is_animated", False))
    except UnidentifiedImageError:
        raise ImageError(Status.DECODE_FAILED, f"not an image that can be read; begins with {body[:12]!r}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(Status.BOMB, str(error)) from None
    except _DAMAGE as error:
        raise _refusal(error, "header") from error
    return Opened(*image.size, image.format or "", turn, told, animated, image)


def decode(body: bytes, opened: Opened, config: ImageConfig) -> Picture:
    """Decode to sRGB and turn upright. Raises ImageError on damaged or truncated data."""
    if not is_whole(body, opened.format):
        raise ImageError(Status.DECODE_FAILED, f"truncated {opened.format}: its end is missing")
    try:
        if opened.pillow is None:
            pixels = _decode_plain_jpeg(body, config)
        else:
            opened.pillow.load()  # the first frame
            pixels = np.asarray(to_srgb(opened.pillow))
    except _DAMAGE as error:
        raise _refusal(error, opened.format) from error
    scale = _dct_scale(pixels, opened.width, opened.height)
    return upright(pixels, opened.width, opened.height, scale, opened.orientation)


def _decode_plain_jpeg(body: bytes, config: ImageConfig) -> Pixels:
    """Decode a JPEG that is RGB or grey, scaled in the DCT domain to at least the stored size."""
    least = 0 if config.resize == "no" else config.size
    if config.resampling == "lanczos":
        least *= _LANCZOS_MARGIN
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(body, "RGB", min_height=least, min_width=least)
    except ValueError as error:
        if "Premature end" in str(error):
            raise
        image = Image.open(io.BytesIO(body), formats=("JPEG",))  # tells damage from a mere warning
        image.load()
        return np.asarray(to_srgb(image))
    return pixels


def _dct_scale(pixels: Pixels, width: int, height: int) -> float:
    """Return by which of the eighths that libjpeg offers the pixels were made smaller; it rounds sides up."""
    sides = (pixels.shape[1], pixels.shape[0])
    if sides == (width, height):
        return 1.0
    return next((n / 8 for n in range(1, 8) if sides == (-(-width * n // 8), -(-height * n // 8))), 1.0)


def _refusal(error: BaseException, what: str) -> ImageError:
    bomb = any(limit in str(error) for limit in _PILLOW_LIMITS)
    words = "not an image that can be read" if isinstance(error, UnidentifiedImageError) else str(error)
    return ImageError(Status.BOMB if bomb else Status.DECODE_FAILED, f"damaged {what}: {words}")
