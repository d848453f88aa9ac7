"""One image as fetched to one image as stored."""

import hashlib
from dataclasses import dataclass

from t2i_assets.corpus.digests import KEY_LENGTH
from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.images.decode import decode, open_image
from t2i_assets.crawl.images.encode import encode
from t2i_assets.crawl.images.errors import ImageError
from t2i_assets.crawl.images.phash import perceptual_hash
from t2i_assets.crawl.images.resize import stored_pixels
from t2i_assets.crawl.status import Status

_EXT_OF_KEPT = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}


@dataclass(frozen=True)
class StoredImage:
    """An encoded image and what was measured on the way; names as in SAMPLES."""

    data: bytes
    image_ext: str
    width: int
    height: int
    original_width: int
    original_height: int
    original_bytes: int
    original_format: str
    original_sha256: str
    phash: str
    animated: bool
    exif: str | None

    @property
    def key(self) -> str:
        return self.original_sha256[:KEY_LENGTH]


def process_image(body: bytes, config: ImageConfig, keep_bytes: bool = False) -> StoredImage:
    """Decode, check, turn upright, resize and encode one image as fetched.

    ``keep_bytes`` stores a JPEG, PNG or WebP as it is, if it decodes and passes the filters; width and height are then
    those of the file, its orientation not applied.
    Raises ImageError with status too_small, bomb, bad_aspect or decode_failed.
    """
    if len(body) < config.min_bytes:
        raise ImageError(Status.TOO_SMALL, f"{len(body)} bytes, fewer than {config.min_bytes}")
    opened = open_image(body)
    _check_size(opened.width, opened.height, config)
    picture = decode(body, opened, config)
    if keep_bytes and opened.format in _EXT_OF_KEPT:
        data, ext, (width, height) = bytes(body), _EXT_OF_KEPT[opened.format], (opened.width, opened.height)
    else:
        pixels = stored_pixels(picture, config)
        data, ext, (height, width) = encode(pixels, config), config.format, pixels.shape[:2]
    return StoredImage(
        data=data,
        image_ext=ext,
        width=width,
        height=height,
        original_width=picture.width,
        original_height=picture.height,
        original_bytes=len(body),
        original_format=opened.format,
        original_sha256=hashlib.sha256(body).hexdigest(),
        phash=perceptual_hash(picture),
        animated=opened.animated,
        exif=opened.exif,
    )


def _check_size(width: int, height: int, config: ImageConfig) -> None:
    if width * height > config.max_pixels:
        raise ImageError(Status.BOMB, f"{width} x {height} is above the cap of {config.max_pixels} pixels")
    if min(width, height) < config.min_side:
        raise ImageError(Status.TOO_SMALL, f"{width} x {height}, shorter side under {config.min_side}")
    if max(width, height) > config.max_aspect * min(width, height):
        raise ImageError(Status.BAD_ASPECT, f"{width} x {height} is beyond {config.max_aspect:g} : 1")
