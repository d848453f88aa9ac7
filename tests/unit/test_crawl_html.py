"""Pages are read as browsers read them, and texts are cleaned and labelled."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_assets.crawl.config import TextConfig
from t2i_assets.crawl.html.page import ImageCandidate, decode_html, parse_page, parse_srcset
from t2i_assets.crawl.texts import clean, label

URL = "http://site.test/blog/post"


def images(body: str) -> list[ImageCandidate]:
    return parse_page(body.encode(), "text/html; charset=utf-8", URL).images


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.jpg", [(1, "a.jpg")]),
        ("a.jpg, b.jpg 2x", [(1, "a.jpg"), (2, "b.jpg")]),
        ("a,b.jpg 100w,\n c.jpg 2000w 300h", [(100, "a,b.jpg"), (2000, "c.jpg")]),
        ("data:image/gif;base64,R0 1x, b.jpg 1.5x", [(1.5, "b.jpg")]),
        (" , a.jpg,, ", [(1, "a.jpg")]),
        ("a.jpg nonsense, b.jpg 2x", [(1, "a.jpg"), (2, "b.jpg")]),
        ("", []),
    ],
)
def test_srcset(text: str, expected: list[tuple[float, str]]) -> None:
    assert parse_srcset(text) == expected


def test_texts_carry_their_field_in_order_of_trust() -> None:
    (image,) = images(
        "<figure><a><img src=a.png title=T alt='A &amp; B' aria-label=L></a>"
        "<figcaption>F <b>g</b></figcaption></figure>"
    )
    assert [(clean(text.text), text.field) for text in image.texts] == [
        ("A & B", "alt"), ("F g", "figcaption"), ("T", "title"), ("L", "aria-label"),
    ]  # fmt: skip


def test_the_preview_image_of_a_page_is_a_candidate() -> None:
    page = parse_page(
        b"<meta property=og:image content=/o.png><meta property=og:image:alt content='a red cat'>", None, URL
    )
    assert [(image.url, image.field, image.texts[0].text) for image in page.images] == [
        ("http://site.test/o.png", "og:image", "a red cat")
    ]


def test_an_image_in_noscript_is_the_lazy_one() -> None:
    lazy, plain = images("<img class=lazy data-original=/a.png><noscript><img src=/a.png alt='a cat'></noscript>")
    assert lazy.url == plain.url == "http://site.test/a.png"
    assert plain.texts[0].text == "a cat"


@pytest.mark.parametrize(("attribute", "pixels"), [("32", 32), ("32px", 32), ("50%", None), ("auto", None), ("", None)])
def test_declared_sizes(attribute: str, pixels: int | None) -> None:
    assert images(f"<img src=a.png width='{attribute}'>")[0].width == pixels


@pytest.mark.parametrize(
    ("body", "header"),
    [
        ("naïve".encode("latin-1"), "text/html; charset=ISO-8859-1"),
        (b"<meta charset=windows-1252>" + "naïve".encode("cp1252"), "text/html"),
        (b"\xef\xbb\xbf" + "naïve".encode(), "text/html; charset=ascii"),
        ("\ufeffnaïve".encode("utf-16-le"), None),
        ("naïve".encode(), "text/html; charset=no-such-thing"),
    ],
)
def test_encodings(body: bytes, header: str | None) -> None:
    assert decode_html(body, header).endswith("naïve")


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    parse_page(b"<img srcset='" + body + b"'><a href='" + body + b"'>" + body, None, URL)


def test_pages_made_to_exhaust_a_parser_are_read_up_to_a_point() -> None:
    real = (
        b"<div>" * 400
        + b"<b>" * 20
        + b"<img src=/a.png>"
        + b"</b>" * 20
        + b"</div>" * 400
        + b"<p>text<br><a href=x>y</a>" * 5000
    )
    assert len(parse_page(real + b"<img src=/b.png>", None, URL).images) == 2
    for unit in (b"<div>", b"<rect/>", b"<p><b x=%d>"):
        hostile = b"<img src=/a.png>" + b"".join(unit.replace(b"%d", b"%d" % n) for n in range(30_000))
        assert len(parse_page(hostile + b"<img src=/b.png>", None, URL).images) == 1
    started = time.process_time()
    parse_page(b"<p>" + b"".join(b"<b x=%d>" % n for n in range(500)) + b"<p>x" * 20_000, None, URL)
    assert time.process_time() - started < 2


def test_texts_are_cleaned_once_and_for_all() -> None:
    assert clean("  a&nbsp;red\n\tcat &amp;#39;s\u200b e\u0301 ") == "a red cat 's é"


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_any_text_is_labelled(text: str) -> None:
    cleaned = clean(text)
    assert cleaned == " ".join(cleaned.split())
    label(cleaned, TextConfig())


@pytest.mark.parametrize(
    "text",
    [
        "a striped red star left of a solid blue circle on a white background",
        "a solid red star, a dotted blue circle and a striped green square on a black background",
        "three green squares",
        "red star",
        "A dog catches a frisbee on the beach at sunset",
        "Golden Gate Bridge",
        "my grandmother's kitchen in 1962",
    ],
)
def test_descriptions_get_no_label(text: str) -> None:
    assert label(text, TextConfig()) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("IMG_2034.JPG", "file_name"),
        ("red-circle-final-v2", "file_name"),
        ("DSC 0042", "file_name"),
        ("uploads/2024/photo.webp", "file_name"),
        ("circle", "too_short"),
        ("word " * 400, "too_long"),
        ("Visit www.shop.com for more", "url"),
        ("a <b>red</b> circle", "markup"),
        ("Company logo", "boilerplate"),
        ("Click to enlarge", "boilerplate"),
        ("Summer sale: 50% off all stars", "advert"),
        ("Buy now and get free shipping", "advert"),
        ("red star, blue star, cheap star, best star, star shop", "keyword_stuffing"),
        ("circle red circle cheap circle best circle", "keyword_stuffing"),
        ("12345 67890", "no_words"),
        ("ein roter Stern und ein blauer Kreis", "not_english"),
        ("un cercle bleu et une étoile rouge", "not_english"),
        ("tres cuadrados verdes", "not_english"),
        ("красная звезда", "not_english"),
    ],
)
def test_what_speaks_against_a_text_is_named(text: str, name: str) -> None:
    assert name in label(clean(text), TextConfig())


def test_hostile_texts_are_labelled_in_linear_time() -> None:
    for text in ("a_" * 50_000 + "!", "a." * 50_000, "<a" * 50_000, "-a" * 50_000 + ".", "the " * 50_000):
        label(text, TextConfig())
    parse_srcset("a" * 500_000 + " b" * 100_000)
