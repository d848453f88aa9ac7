"""Decoders given damaged and spliced files: an image that decodes, or an error that says what it is."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.images import ImageError, process_image
from t2i_assets.crawl.status import Status
from tests.unit.crawl_site import picture

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
CONFIG = ImageConfig(size=32, min_bytes=0, min_side=8, max_pixels=4_000_000)
REASONS = {Status.DECODE_FAILED, Status.BOMB, Status.TOO_SMALL, Status.BAD_ASPECT}
WHOLE = {format: picture(3, (61, 47), format) for format in FORMATS}
PROGRESSIVE = picture(4, (61, 47), "JPEG", progressive=True, quality=70)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(st.sampled_from([*WHOLE.values(), PROGRESSIVE])))
    for _ in range(draw(st.integers(0, 6))):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        body = body[: draw(st.integers(0, len(body)))]
    if draw(st.booleans()):
        place = draw(st.integers(0, len(body)))
        body[place:place] = draw(st.one_of(st.binary(max_size=30), st.sampled_from([WHOLE["JPEG"], WHOLE["PNG"]])))
    return bytes(body)


def outcome(body: bytes, keep_bytes: bool) -> object:
    """Return the image, or the status and the words of the error; any other error is the test's failure."""
    try:
        return process_image(body, CONFIG, keep_bytes)
    except ImageError as error:
        return (error.status, str(error))


@settings(deadline=None, max_examples=400)
@given(damaged(), st.booleans())
def test_damage_gives_an_image_or_a_reason_and_the_same_one_twice(body: bytes, keep_bytes: bool) -> None:
    found = outcome(body, keep_bytes)
    assert outcome(body, keep_bytes) == found
    if isinstance(found, tuple):
        assert found[0] in REASONS
        assert found[1]
    else:
        with Image.open(io.BytesIO(found.data)) as image:  # type: ignore[attr-defined]
            image.load()


@given(st.binary(max_size=200))
def test_any_bytes_give_an_image_or_a_reason(body: bytes) -> None:
    found = outcome(body, False)
    assert not isinstance(found, tuple) or found[0] in REASONS
