"""Every place where a page names an image, and every field that speaks about it, is read."""

import time

import pytest

from t2i_assets.crawl.html.page import ImageCandidate, Page, decode_html, parse_page

URL = "http://site.test/blog/post"
AT = "http://site.test"


def read(body: str) -> Page:
    return parse_page(body.encode(), "text/html; charset=utf-8", URL)


def told(image: ImageCandidate) -> tuple[str, str, list[tuple[str, str]]]:
    return image.url, image.field, [(text.text, text.field) for text in image.texts]


@pytest.mark.parametrize(
    ("body", "url", "field"),
    [
        ("<img src=/ph.gif data-cfsrc=/a.jpg>", "/a.jpg", "data-cfsrc"),
        ("<img src=/s.jpg data-large_image=/a.jpg data-src=/b.jpg>", "/a.jpg", "data-large_image"),
        ("<img src=/a.jpg data-lazy=true data-image='{}'>", "/a.jpg", "src"),
        ("<img src=/a.jpg data-src='data:image/gif;base64,R0'>", "/a.jpg", "src"),
        ("<input type=IMAGE src=/a.jpg>", "/a.jpg", "src"),
        ("<picture><source type=image/avif srcset='/x.avif 9w'><source srcset='/a.webp 8w'><img src=/s.jpg></picture>",
         "/a.webp", "picture"),
        ("<link rel=image_src href=/a.jpg>", "/a.jpg", "image_src"),
        ("<meta name=twitter:image:src content=/a.jpg>", "/a.jpg", "twitter:image"),
    ],
)  # fmt: skip
def test_the_address_of_an_image_is_found(body: str, url: str, field: str) -> None:
    assert [(image.url, image.field) for image in read(body).images] == [(AT + url, field)]


def test_a_thumbnail_is_followed_by_the_image_it_links_to() -> None:
    images = read("<a href=/full.JPG><span><img src=/s.jpg alt='a cat'></span></a>").images
    assert [told(image) for image in images] == [
        (AT + "/s.jpg", "src", [("a cat", "alt")]), (AT + "/full.JPG", "a-href", [("a cat", "alt")]),
    ]  # fmt: skip
    for address in ("/wiki/File:full.jpg", "/page.html", "/s.jpg"):
        assert len(read(f"<a href={address}><img src=/s.jpg></a>").images) == 1


def test_elements_that_label_an_image_are_texts() -> None:
    (image,) = read("<p id=a>red</p><img src=/a.jpg aria-labelledby='b a x'><p id=b>a <b>big</b></p>").images
    assert [(text.text.split(), text.field) for text in image.texts] == [(["a", "big", "red"], "aria-labelledby")]


def test_each_preview_has_its_own_text_and_size() -> None:
    first, second = read(
        "<meta property=og:image content=/1.jpg><meta property=og:image:secure_url content=https://site.test/1.jpg>"
        "<meta property=og:image:alt content=one><meta property=og:image:width content=640>"
        "<meta property=og:image content=/2.jpg><meta property=og:image:alt content=two>"
    ).images
    assert told(first) == (AT + "/1.jpg", "og:image", [("one", "og:image:alt")]) and first.width == 640
    assert told(second) == (AT + "/2.jpg", "og:image", [("two", "og:image:alt")])


def test_image_objects_bring_texts_sizes_and_licences() -> None:
    page = read(
        "<img src=/a.jpg><script type=application/ld+json>"
        '{"@graph": [{"@type": ["ImageObject"], "contentUrl": "/a.jpg", "caption": "a cat", "width": {"value": 9},'
        ' "license": "/by"}, {"@type": "ImageObject"}, {"@type": "Person", "url": "/p.jpg"}]}</script>'
        "<script type=application/ld+json>" + "[" * 100_000 + "</script>"
    )
    body, described = page.images
    assert body.license_url == described.license_url == AT + "/by"
    assert told(described) == (AT + "/a.jpg", "json-ld", [("a cat", "json-ld:caption")]) and described.width == 9


def test_a_licence_in_a_figure_is_that_of_its_images() -> None:
    page = read(
        "<figure><img src=/a.jpg><figcaption><a rel='nofollow license' href=/one>x</a></figcaption></figure>"
        "<img src=/b.jpg><link rel=license href=/all>"
    )
    assert page.license_url == AT + "/all"
    assert [image.license_url for image in page.images] == [AT + "/one", AT + "/all"]


def test_the_language_of_a_page_is_noted() -> None:
    assert (read("<html lang=' de-AT '>").language, read("<p>").language) == ("de-AT", None)


@pytest.mark.parametrize("name", ["punycode", "idna", "undefined", "unicode_escape", "hex", "rot13", "utf-7"])
def test_codecs_that_no_browser_knows_are_not_used(name: str) -> None:
    assert decode_html("naïve".encode(), f"text/html; charset={name}") == "naïve"


def test_many_images_of_one_figure_take_no_longer_than_others() -> None:
    body = "<figure><picture>" + "<source srcset='/a.jpg 1w'>" * 5000 + "<img src=/b.jpg aria-labelledby=x>" * 20_000
    started = time.process_time()
    page = read(body + "</picture><figcaption id=x>text</figcaption></figure>")
    assert len(page.images) == 20_000 and time.process_time() - started < 10
