"""The header of a JPEG: what must be known before a decoder is trusted with the rest (ITU-T T.81, annex B)."""

from dataclasses import dataclass

_START_OF_FRAME = frozenset((0xC0, 0xC1, 0xC2))
"""Baseline, extended and progressive, Huffman-coded; other kinds are left to Pillow."""
_PROGRESSIVE = 0xC2
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_EXIF, _PROFILE = b"Exif\0\0", b"ICC_PROFILE\0"
_PROFILE_HEADER = 14


@dataclass
class JpegHeader:
    """Size in pixels as coded, components, EXIF block and colour profile; ``scans`` is 1 unless it is progressive."""

    width: int = 0
    height: int = 0
    components: int = 0
    bits: int = 0
    scans: int = 1
    exif: bytes = b""
    profile: bytes = b""


def read_header(body: bytes) -> JpegHeader | None:
    """Return the header of a JPEG, or None where it is not one of the common kinds."""
    if body[:2] != b"\xff\xd8":
        return None
    header, position, progressive = JpegHeader(), 2, False
    while position + 4 <= len(body) and body[position] == 0xFF:
        marker = body[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        start, end = position + 4, position + 2 + int.from_bytes(body[position + 2 : position + 4])
        if marker == _START_OF_SCAN:
            if progressive:
                header.scans = body.count(b"\xff\xda", position, _end_of_image(body, position))
            return header if header.components in (1, 3) and header.bits == 8 else None
        if marker in _START_OF_FRAME:
            header.bits, progressive = body[start], marker == _PROGRESSIVE
            header.height = int.from_bytes(body[start + 1 : start + 3])
            header.width = int.from_bytes(body[start + 3 : start + 5])
            header.components = body[start + 5] if start + 5 < end <= len(body) else 0
        elif marker == 0xE1 and body.startswith(_EXIF, start):
            header.exif = header.exif or body[start:end]
        elif marker == 0xE2 and body.startswith(_PROFILE, start):
            header.profile += body[start + _PROFILE_HEADER : end]
        elif not (marker == 0xC4 or 0xDB <= marker <= 0xFE):
            return None
        position = end
    return None


def _end_of_image(body: bytes, position: int) -> int:
    """Return where the image ends; what cameras append to it, a film or a depth map, is no part of it."""
    end = body.find(bytes((0xFF, _END_OF_IMAGE)), position)
    return len(body) if end < 0 else end
