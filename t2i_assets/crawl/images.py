"""Image bytes in, stored image out: refused before decoding where they are a bomb, upright, in sRGB, encoded once."""

import hashlib
import io
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from t2i_assets.corpus.digests import KEY_LENGTH
from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.ledger import Status

Pixels = NDArray[np.uint8]
"""RGB, shape (height, width, 3)."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_ORIENTATION = 0x0112
_HASH_SIDE, _THUMBNAIL_SIDE = 8, 32

cv2.setNumThreads(1)  # the crawl has its own threads


class ImageError(ValueError):
    """An image that is not taken; ``status`` is what the ledger says."""

    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True)
class StoredImage:
    """An encoded image and what was measured on the way; names as in SAMPLES."""

    data: bytes
    width: int
    height: int
    original_width: int
    original_height: int
    original_bytes: int
    original_format: str
    original_sha256: str
    phash: str
    animated: bool

    @property
    def key(self) -> str:
        return self.original_sha256[:KEY_LENGTH]


def process_image(body: bytes, config: ImageConfig) -> StoredImage:
    """Decode, check, turn upright, resize and encode one image as fetched.

    Raises ImageError with status too_small, bomb, bad_aspect or decode_failed.
    """
    if len(body) < config.min_bytes:
        raise ImageError(Status.TOO_SMALL, f"{len(body)} bytes, fewer than {config.min_bytes}")
    image = _open(body, config)
    _check_size(*image.size, config)
    pixels, orientation = _decode(body, image, config)
    width, height = image.size[::-1] if orientation in (5, 6, 7, 8) else image.size
    pixels = upright(pixels, orientation)
    phash = perceptual_hash(pixels)
    stored = resize(pixels, config)
    data = simplejpeg.encode_jpeg(stored, config.quality, "RGB", config.subsampling)
    return StoredImage(
        data=data,
        width=stored.shape[1],
        height=stored.shape[0],
        original_width=width,
        original_height=height,
        original_bytes=len(body),
        original_format=image.format or "",
        original_sha256=hashlib.sha256(body).hexdigest(),
        phash=phash,
        animated=bool(getattr(image, "is_animated", False)),
    )


def _open(body: bytes, config: ImageConfig) -> Image.Image:
    """Read the header only."""
    try:
        return Image.open(io.BytesIO(body), formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageError(Status.DECODE_FAILED, f"not an image that can be read; begins with {body[:12]!r}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(Status.BOMB, str(error)) from None
    except (OSError, SyntaxError, ValueError, struct.error, EOFError) as error:
        raise ImageError(Status.DECODE_FAILED, f"damaged header: {error}") from error


def _check_size(width: int, height: int, config: ImageConfig) -> None:
    if width * height > config.max_pixels:
        raise ImageError(Status.BOMB, f"{width} x {height} is above the cap of {config.max_pixels} pixels")
    if min(width, height) < config.min_side:
        raise ImageError(Status.TOO_SMALL, f"{width} x {height}, shorter side under {config.min_side}")
    if max(width, height) > config.max_aspect * min(width, height):
        raise ImageError(Status.BAD_ASPECT, f"{width} x {height} is beyond {config.max_aspect:g} : 1")


def _decode(body: bytes, image: Image.Image, config: ImageConfig) -> tuple[Pixels, int]:
    """Decode to sRGB; return the pixels and the EXIF orientation. Raises ImageError on damaged or truncated data."""
    try:
        if image.format == "JPEG" and image.mode in ("RGB", "L") and _is_srgb(image):
            # Scaled in the DCT domain to at least the stored size, which saves most of the work on large photos.
            least = 0 if config.resize == "no" else config.size
            try:
                pixels = simplejpeg.decode_jpeg(body, "RGB", min_height=least, min_width=least)
                return pixels, image.getexif().get(_ORIENTATION, 1)
            except ValueError as error:
                if "Premature end" in str(error):
                    raise  # anything else may be a mere warning, which Pillow tells from damage
        image.load()  # the first frame
        return np.asarray(_to_srgb(image)), image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, struct.error, EOFError, MemoryError) as error:
        raise ImageError(Status.DECODE_FAILED, f"damaged {image.format}: {error}") from error


def _is_srgb(image: Image.Image) -> bool:
    profile = image.info.get("icc_profile")
    return not profile or b"sRGB" in profile or b"s\0R\0G\0B" in profile


def _to_srgb(image: Image.Image) -> Image.Image:
    """Return the image as RGB: 16 bits scaled to 8, colour profile applied, alpha laid over white."""
    if image.mode.startswith("I"):
        grey = np.asarray(image, np.float64)
        wide = image.mode != "I" or grey.max() > 255
        return Image.fromarray((grey / 257 if wide else grey).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    profile = None if _is_srgb(image) else image.info["icc_profile"]
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if profile is None or image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    if profile is not None:
        image = _apply_profile(image, profile)
    if alpha is not None:
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=alpha)
        return paper
    return image


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert to sRGB by the embedded profile; one that does not fit the image is no profile, as in browsers."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        done = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        done = None
    return (image if done is None else done).convert("RGB")


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


def resize(pixels: Pixels, config: ImageConfig) -> Pixels:
    """Return the stored form: area averaging down, Lanczos up.

    ``center_crop`` gives size × size, ``keep_ratio`` a shorter side of size (images below it stay), ``no`` the pixels.
    """
    height, width = pixels.shape[:2]
    if config.resize == "center_crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
        target = (config.size, config.size)
    elif config.resize == "keep_ratio" and min(height, width) > config.size:
        scale = config.size / min(height, width)
        target = (max(1, round(width * scale)), max(1, round(height * scale)))
    else:
        target = (width, height)
    pixels = np.ascontiguousarray(pixels)
    if target == pixels.shape[1::-1]:
        return pixels
    shrinks = target[0] < pixels.shape[1]
    return np.asarray(
        cv2.resize(pixels, target, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4), np.uint8
    )


def perceptual_hash(pixels: Pixels) -> str:
    """Return the 64-bit perceptual hash (pHash, Zauner 2010) as 16 hex digits.

    A 32 x 32 grey thumbnail, its discrete cosine transform, and for each of the 8 x 8 lowest frequencies whether it is
    above their median.
    """
    thumbnail = cv2.resize(
        np.ascontiguousarray(pixels), (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA
    )
    grey = cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY).astype(np.float64)
    low = _DCT @ grey @ _DCT.T
    bits = (low > np.median(low)).ravel()
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"


def _dct_matrix(rows: int, columns: int) -> NDArray[np.float64]:
    """The first ``rows`` of the DCT-II of length ``columns``."""
    frequency, time = np.arange(rows)[:, None], np.arange(columns)[None]
    return np.asarray(np.cos(np.pi * frequency * (2 * time + 1) / (2 * columns)) * 2)


_DCT: Any = _dct_matrix(_HASH_SIDE, _THUMBNAIL_SIDE)
