"""Pictures as files: a scene at a size, in a format, as bytes that are the same on every request."""

import io
from dataclasses import dataclass, replace

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from t2i_assets.synthweb.diseases import ImageAnswer
from t2i_assets.synthweb.draw import draw
from t2i_assets.synthweb.scenes import Scene

MIME = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
SUFFIX = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif"}
TRANSPARENT_FROM = 225  # a white background is never darker, a thing never lighter in all three channels
EXIF_ORIENTATION, QUARTER_TURN = 0x0112, 6


@dataclass(frozen=True)
class Picture:
    """One file on the site; ``entry`` is the URL path that pages link, which differs from ``path`` for redirects."""

    path: str
    scene: Scene
    width: int
    height: int
    format: str
    quality: int
    answer: ImageAnswer = ImageAnswer.OK
    entry: str = ""

    def __post_init__(self) -> None:
        if not self.entry:
            object.__setattr__(self, "entry", self.path)
        if self.answer is ImageAnswer.ALPHA and self.scene.background != "white":
            object.__setattr__(self, "scene", replace(self.scene, background="white"))


def encode(picture: Picture) -> bytes:
    """Return the file of the picture as it is when nothing goes wrong on the way."""
    pixels = render(picture)
    if picture.answer is ImageAnswer.ALPHA:
        opaque = np.where(pixels.min(axis=2) >= TRANSPARENT_FROM, 0, 255).astype(np.uint8)
        return _save(Image.fromarray(np.dstack([pixels, opaque]), "RGBA"), "PNG", compress_level=1)
    if picture.answer is ImageAnswer.EXIF_ROTATED:
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = QUARTER_TURN
        sideways = Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90)
        return _save(sideways, "JPEG", quality=picture.quality, exif=exif)
    if picture.answer is ImageAnswer.CMYK:
        return _save(Image.fromarray(pixels).convert("CMYK"), "JPEG", quality=picture.quality)
    if picture.format == "JPEG":
        return simplejpeg.encode_jpeg(pixels, quality=picture.quality, colorsubsampling="422")
    image = Image.fromarray(pixels)
    if picture.format == "PNG":
        return _save(image, "PNG", compress_level=1)
    if picture.format == "WEBP":
        return _save(image, "WEBP", quality=picture.quality, method=0)
    return _save(image.quantize(64, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE), "GIF")


def render(picture: Picture) -> np.ndarray:
    """Return uint8 [height, width, 3]: the scene in the middle, the background drawn out to the longer side."""
    side = min(picture.width, picture.height)
    pixels = np.asarray(draw(picture.scene, side))
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    right, bottom = picture.width - side - left, picture.height - side - top
    if left or right or top or bottom:
        pixels = cv2.copyMakeBorder(pixels, top, bottom, left, right, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(pixels)


def content_type(picture: Picture) -> str:
    """Return the true MIME type of the file."""
    if picture.answer is ImageAnswer.ALPHA:
        return MIME["PNG"]
    if picture.answer in (ImageAnswer.EXIF_ROTATED, ImageAnswer.CMYK):
        return MIME["JPEG"]
    return MIME[picture.format]


def _save(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
