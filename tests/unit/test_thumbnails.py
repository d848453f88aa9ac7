"""Pictures are made small for tables and pages, and tell what they are."""

import io

from PIL import Image

from t2i_assets.corpus.thumbnails import data_uri, media_type, thumbnail


def encoded(width: int, height: int, form: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(data, form)
    return data.getvalue()


def test_large_pictures_shrink_to_the_longest_side_and_small_ones_stay_as_they_are() -> None:
    small = thumbnail(encoded(256, 64, "WEBP"), 96)
    assert Image.open(io.BytesIO(small)).size == (96, 24)
    assert thumbnail(encoded(96, 96, "JPEG"), 96) == encoded(96, 96, "JPEG")


def test_pictures_tell_their_form_by_their_bytes() -> None:
    for form in ("PNG", "WEBP", "JPEG"):
        assert media_type(encoded(8, 8, form)) == f"image/{form.lower()}"
    assert data_uri(encoded(8, 8, "PNG")).startswith("data:image/png;base64,iVBOR")
