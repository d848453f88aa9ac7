"""What EXIF tells about a picture: how it was taken, never where, by whom or with which specimen of a camera."""

import json
import math
import re
import struct
import warnings
from typing import Any

from PIL import Image

_ORIENTATION = 0x0112
_EXIF_BLOCK = 0x8769
_TEXTS = {0x010F: "make", 0x0110: "model"}
_LENS = {0xA433: "lens_make", 0xA434: "lens"}
_NUMBERS = {0x829A: "exposure_s", 0x829D: "f_number", 0x8827: "iso", 0x920A: "focal_length_mm"}
_TAKEN = (0x9003, 0x9004)
_DATE = re.compile(r"(\d{4}):(\d\d):(\d\d)\b")
_LONGEST_TEXT = 80


def read_exif(block: bytes) -> Image.Exif:
    """Parse an EXIF block; a damaged one is an empty one."""
    exif = Image.Exif()
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow warns of each damaged block
            exif.load(block)
    except (SyntaxError, struct.error, ValueError, OSError, KeyError, TypeError, IndexError):
        return Image.Exif()
    return exif


def orientation(exif: Image.Exif) -> int:
    """Return how the pixels are to be turned, 1 to 8; nonsense is 1."""
    value = exif.get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_subset(exif: Image.Exif) -> str | None:
    """Return the tags that matter to training as JSON: make, model, lens, exposure, date; None where none is there.

    GPS, serial numbers, artist, owner and comments are left out.
    """
    found: dict[str, str | float] = {}
    try:
        details: dict[int, Any] = exif.get_ifd(_EXIF_BLOCK) if _EXIF_BLOCK in exif else {}
    except (SyntaxError, struct.error, ValueError, OSError, KeyError, TypeError, IndexError):
        details = {}
    for tags, names in ((exif, _TEXTS), (details, _LENS)):
        for tag, name in names.items():
            text = _text(tags.get(tag))
            if text:
                found[name] = text
    for tag, name in _NUMBERS.items():
        number = _number(details.get(tag))
        if number is not None:
            found[name] = number
    for tag in _TAKEN:
        date = _DATE.match(_text(details.get(tag)))
        if date:
            found["date"] = "-".join(date.groups())
            break
    if orientation(exif) != 1:
        found["orientation"] = orientation(exif)
    return json.dumps(found, sort_keys=True, ensure_ascii=False) if found else None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return ""
    printable = "".join(letter for letter in value.partition("\0")[0] if letter.isprintable())
    return printable.strip()[:_LONGEST_TEXT]


def _number(value: Any) -> float | None:
    if isinstance(value, tuple) and value:
        value = value[0]
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return float(f"{number:.6g}") if math.isfinite(number) and number > 0 else None
