"""Files that every page needs and no data set wants: logo, icons, banners, sprites, tracking pixels."""

import io
import random
from functools import lru_cache

from PIL import Image, ImageDraw

from t2i_assets.synthweb.draw import PALETTE

BANNERS = 5
SIZES = {"logo.png": 24, "favicon.png": 16, "icon-mail.png": 16}


@lru_cache
def furniture() -> dict[str, tuple[str, bytes]]:
    """Return content type and bytes of each file under /static/, by name."""
    files = {name: ("image/png", _icon(side)) for name, side in SIZES.items()}
    files |= {f"banner-{number}.png": ("image/png", _banner(number)) for number in range(BANNERS)}
    files["sprite.png"] = ("image/png", _sprite())
    files["pixel.gif"] = files["blank.gif"] = ("image/gif", _save(Image.new("P", (1, 1)), "GIF"))
    return files


def _icon(side: int) -> bytes:
    image = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(image).ellipse((2, 2, side - 3, side - 3), fill=PALETTE["red"])
    return _save(image, "PNG")


def _banner(number: int) -> bytes:
    rng = random.Random(number)
    image = Image.new("RGB", (728, 90), tuple(rng.randrange(256) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x = rng.randrange(728)
        pen.rectangle((x, 0, x + rng.randrange(60), 90), fill=rng.choice(list(PALETTE.values())))
    pen.text((300, 38), "BIG SUMMER SALE", fill="white")
    return _save(image, "PNG")


def _sprite() -> bytes:
    image = Image.new("RGB", (32, 320), "white")
    pen = ImageDraw.Draw(image)
    for row, color in zip(range(0, 320, 32), [*PALETTE.values()] * 2, strict=False):
        pen.rectangle((6, row + 6, 25, row + 25), fill=color)
    return _save(image, "PNG")


def _save(image: Image.Image, format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()
