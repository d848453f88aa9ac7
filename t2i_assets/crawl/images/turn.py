"""EXIF orientation: how a picture was held, and how to undo it."""

from t2i_assets.crawl.images.resize import Picture, Pixels

_TURNS = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
"""Whether to exchange the axes, then to mirror left and right, then top and bottom (EXIF 2.32, tag 0x0112)."""


def upright(pixels: Pixels, width: int, height: int, scale: float, orientation: int) -> Picture:
    """Return the picture as it is meant to be seen; an unknown orientation is read as 1.

    ``width`` and ``height`` are as coded, ``scale`` is what the decoder made of them.
    """
    turned, mirrored, flipped = _TURNS.get(orientation, (False, False, False))
    excess = (pixels.shape[1] - width * scale, pixels.shape[0] - height * scale)
    if turned:
        pixels, width, height, excess = pixels.transpose(1, 0, 2), height, width, excess[::-1]
    return Picture(
        pixels[:: -1 if flipped else 1, :: -1 if mirrored else 1],
        width,
        height,
        scale,
        left=excess[0] if mirrored else 0.0,
        top=excess[1] if flipped else 0.0,
    )
