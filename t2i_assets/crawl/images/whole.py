"""Whether a file reaches its own end; decoders are content with the first frame of what was cut."""

_GIF_TRAILER, _GIF_EXTENSION, _GIF_IMAGE = 0x3B, 0x21, 0x2C


def is_whole(body: bytes, format: str) -> bool:
    """Tell whether the file has the end that its format asks for; what follows the end does not matter.

    JPEG, BMP and TIFF are always whole here: their decoders notice.
    """
    match format:
        case "PNG":
            return body.rfind(b"IEND") > 0
        case "GIF":
            return _gif_is_whole(body)
        case "WEBP":
            return int.from_bytes(body[4:8], "little") + 8 <= len(body)
        case _:
            return True


def _gif_is_whole(body: bytes) -> bool:
    """Walk the blocks of a GIF to its trailer (GIF89a, section 12 to 27)."""
    position = 13 + _colour_table(body[10])
    while position < len(body):
        kind = body[position]
        if kind == _GIF_TRAILER:
            return True
        if kind == _GIF_EXTENSION:
            position += 2
        elif kind == _GIF_IMAGE and position + 9 < len(body):
            position += 11 + _colour_table(body[position + 9])
        else:
            return False
        while position < len(body) and body[position]:
            position += 1 + body[position]
        position += 1
    return False


def _colour_table(flags: int) -> int:
    """Return the bytes of the colour table that the flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
