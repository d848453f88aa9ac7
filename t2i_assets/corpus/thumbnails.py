"""Encoded pictures made small, and put where a page or a table needs no other file for them."""

import base64
import io

from PIL import Image


def thumbnail(data: bytes, side: int) -> bytes:
    """Return the picture with no side longer than ``side`` pixels: as it is where it is no larger, else as PNG."""
    image = Image.open(io.BytesIO(data))
    if max(image.size) <= side:
        return data
    small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return png(small)


def png(image: Image.Image) -> bytes:
    """Return the image as PNG bytes."""
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return data.getvalue()


def data_uri(data: bytes) -> str:
    """Return encoded image bytes as a URI that an ``<img>`` takes."""
    return f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"


def media_type(data: bytes) -> str:
    """Return what the bytes of an image say that it is: PNG, WebP, else JPEG."""
    return "image/png" if data.startswith(b"\x89PNG") else "image/webp" if data[8:12] == b"WEBP" else "image/jpeg"
