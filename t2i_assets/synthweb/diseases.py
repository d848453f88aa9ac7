"""The diseases of the real web and how often the site has each: one table per place where a disease sits.

Rates of alt texts are shares of the fresh pictures; rates of image answers are shares of those on healthy pages; rates
of pages are sick pages per content page; rates of marks, texts and furniture are chances per picture or page. Every
disease occurs at least once.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar


@dataclass(frozen=True)
class Disease:
    """How often, and what it looks like from outside."""

    rate: float
    description: str


class AltDisease(StrEnum):
    """What is wrong with an alt text."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    ONE_WORD = "one_word"
    MISLEADING = "misleading"
    FILE_NAME = "file_name"
    ADVERT = "advert"
    FOREIGN = "foreign"
    KEYWORDS = "keywords"
    MISSING = "missing"
    EMPTY = "empty"


ALT_TEXTS: dict[AltDisease, Disease] = {
    AltDisease.COMPLETE: Disease(0.06, "right and complete: healthy"),
    AltDisease.PARTIAL: Disease(0.20, "right, but leaves out most attributes, the relation or an object"),
    AltDisease.ONE_WORD: Disease(0.20, "one right word: a shape or a colour"),
    AltDisease.MISLEADING: Disease(0.19, "describes another scene, in good English"),
    AltDisease.FILE_NAME: Disease(0.09, "the camera's file name"),
    AltDisease.ADVERT: Disease(0.08, "an advertisement"),
    AltDisease.FOREIGN: Disease(0.06, "right but brief, in German, French, Spanish or Italian"),
    AltDisease.KEYWORDS: Disease(0.05, "search-engine bait that names every colour and shape"),
    AltDisease.MISSING: Disease(0.04, "no alt attribute"),
    AltDisease.EMPTY: Disease(0.03, 'alt=""'),
}

RIGHT: dict[AltDisease, bool | None] = {
    AltDisease.COMPLETE: True,
    AltDisease.PARTIAL: True,
    AltDisease.ONE_WORD: True,
    AltDisease.FOREIGN: True,
    AltDisease.MISLEADING: False,
    AltDisease.FILE_NAME: False,
    AltDisease.ADVERT: False,
    AltDisease.KEYWORDS: False,
    AltDisease.MISSING: None,
    AltDisease.EMPTY: None,
}


class Markup(StrEnum):
    """How a page shows a picture."""

    PLAIN = "plain"
    LAZY = "lazy"
    SRCSET = "srcset"
    PICTURE = "picture"


MARKUP: dict[Markup, Disease] = {
    Markup.PLAIN: Disease(0.76, "<img src>: healthy"),
    Markup.LAZY: Disease(0.08, "a placeholder in src; the picture in data-src, data-original or data-lazy-src"),
    Markup.SRCSET: Disease(0.09, "a thumbnail in src; the picture is the widest candidate of srcset"),
    Markup.PICTURE: Disease(0.07, "<picture>: a thumbnail in <img>, the picture in <source srcset>"),
}


class ExtraText(StrEnum):
    """Texts beside the alt text."""

    FIGCAPTION = "figcaption"
    TITLE = "title"
    ARIA_LABEL = "aria_label"


EXTRA_TEXTS: dict[ExtraText, Disease] = {
    ExtraText.FIGCAPTION: Disease(0.25, "<figcaption> on wiki pages and posts: partly right, partly about nothing"),
    ExtraText.TITLE: Disease(0.06, "title attribute: partly right, partly a file name"),
    ExtraText.ARIA_LABEL: Disease(0.03, "aria-label on the image: right but partial"),
}


class ImageAnswer(StrEnum):
    """What the server does when a picture is asked for."""

    OK = "ok"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    ERROR_ONCE = "error_once"
    ERROR_FOREVER = "error_forever"
    SLOW = "slow"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    REDIRECT = "redirect"
    REDIRECT_LOOP = "redirect_loop"
    REDIRECT_PRIVATE = "redirect_private"
    REDIRECT_DISALLOWED = "redirect_disallowed"
    DISALLOWED = "disallowed"
    NOT_AN_IMAGE = "not_an_image"
    WRONG_TYPE = "wrong_type"
    BOMB = "bomb"
    DRIP = "drip"
    HEADER_NOAI = "header_noai"
    HEADER_AGENT = "header_agent"
    HEADER_OTHER_AGENT = "header_other_agent"
    HEADER_EXPIRED = "header_expired"
    EXIF_ROTATED = "exif_rotated"
    CMYK = "cmyk"
    ALPHA = "alpha"


IMAGE_ANSWERS: dict[ImageAnswer, Disease] = {
    ImageAnswer.OK: Disease(0.0, "healthy: all that the other rows leave"),
    ImageAnswer.NOT_FOUND: Disease(0.012, "404"),
    ImageAnswer.RATE_LIMITED: Disease(0.001, "429 with Retry-After on the first request, then 200"),
    ImageAnswer.ERROR_ONCE: Disease(0.004, "500 on the first request, then 200"),
    ImageAnswer.ERROR_FOREVER: Disease(0.003, "500 on every request"),
    ImageAnswer.SLOW: Disease(0.001, "200 after about a second"),
    ImageAnswer.TRUNCATED: Disease(0.004, "Content-Length promises more than comes"),
    ImageAnswer.CORRUPT: Disease(0.003, "right signature, then noise"),
    ImageAnswer.REDIRECT: Disease(0.010, "302 to the picture at another address"),
    ImageAnswer.REDIRECT_LOOP: Disease(0.001, "302 to itself, by way of a second address"),
    ImageAnswer.REDIRECT_PRIVATE: Disease(0.001, "302 to a cloud metadata address or a private network"),
    ImageAnswer.REDIRECT_DISALLOWED: Disease(0.002, "302 into the section that robots.txt closes"),
    ImageAnswer.DISALLOWED: Disease(0.010, "a picture in the section that robots.txt closes, shown on an open page"),
    ImageAnswer.NOT_AN_IMAGE: Disease(0.003, "200 and image/jpeg, but the body is HTML"),
    ImageAnswer.WRONG_TYPE: Disease(0.006, "a right picture under a wrong Content-Type"),
    ImageAnswer.BOMB: Disease(0.001, "a small PNG whose header claims 60,000 by 60,000 pixels"),
    ImageAnswer.DRIP: Disease(0.0005, "a body that comes a few bytes at a time and never ends"),
    ImageAnswer.HEADER_NOAI: Disease(0.012, "X-Robots-Tag: noai, noimageai"),
    ImageAnswer.HEADER_AGENT: Disease(0.004, "X-Robots-Tag: <our agent>: noimageindex"),
    ImageAnswer.HEADER_OTHER_AGENT: Disease(0.008, "X-Robots-Tag: otherbot: noindex: says nothing to us"),
    ImageAnswer.HEADER_EXPIRED: Disease(0.003, "X-Robots-Tag: unavailable_after: 25 Jun 2010 15:00:00 PST, noai"),
    ImageAnswer.EXIF_ROTATED: Disease(0.012, "JPEG stored sideways, set right by its EXIF orientation"),
    ImageAnswer.CMYK: Disease(0.003, "JPEG in CMYK"),
    ImageAnswer.ALPHA: Disease(0.010, "PNG whose background is transparent white"),
}


class Copy(StrEnum):
    """Pictures that come more than once."""

    REENCODED = "reencoded"
    EXACT = "exact"
    SAME_URL = "same_url"


COPIES: dict[Copy, Disease] = {
    Copy.REENCODED: Disease(0.06, "the same scene at another size, and mostly format and quality, under another URL"),
    Copy.EXACT: Disease(0.02, "the same bytes under another URL"),
    Copy.SAME_URL: Disease(0.02, "the same URL on a second page, with another alt text"),
}


class PageDisease(StrEnum):
    """What is wrong with a page."""

    NONE = "none"
    NOINDEX = "noindex"
    NOAI = "noai"
    NOIMAGEAI = "noimageai"
    NOIMAGEINDEX = "noimageindex"
    HEADER_NOAI = "header_noai"
    HEADER_AGENT = "header_agent"
    HEADER_OTHER_AGENT = "header_other_agent"
    DISALLOWED = "disallowed"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    ERROR_ONCE = "error_once"
    ERROR_FOREVER = "error_forever"
    SLOW = "slow"
    TRUNCATED = "truncated"
    REDIRECT = "redirect"
    REDIRECT_LOOP = "redirect_loop"
    REDIRECT_PRIVATE = "redirect_private"
    REDIRECT_DISALLOWED = "redirect_disallowed"
    WRONG_TYPE = "wrong_type"
    INVALID_UTF8 = "invalid_utf8"
    LATIN1 = "latin1"


PAGES: dict[PageDisease, Disease] = {
    PageDisease.NOINDEX: Disease(0.010, '<meta name="robots" content="noindex">'),
    PageDisease.NOAI: Disease(0.015, '<meta name="robots" content="noai">'),
    PageDisease.NOIMAGEAI: Disease(0.010, '<meta name="robots" content="noimageai">'),
    PageDisease.NOIMAGEINDEX: Disease(0.005, '<meta name="robots" content="noimageindex">'),
    PageDisease.HEADER_NOAI: Disease(0.010, "X-Robots-Tag: noai"),
    PageDisease.HEADER_AGENT: Disease(0.005, "X-Robots-Tag: <our agent>: noindex, noai"),
    PageDisease.HEADER_OTHER_AGENT: Disease(0.005, "X-Robots-Tag: otherbot: noindex, noai: says nothing to us"),
    PageDisease.DISALLOWED: Disease(0.020, "a page in the section that robots.txt closes"),
    PageDisease.NOT_FOUND: Disease(0.015, "404"),
    PageDisease.RATE_LIMITED: Disease(0.003, "429 with Retry-After on the first request, then 200"),
    PageDisease.ERROR_ONCE: Disease(0.005, "500 on the first request, then 200"),
    PageDisease.ERROR_FOREVER: Disease(0.005, "500 on every request"),
    PageDisease.SLOW: Disease(0.003, "200 after about a second"),
    PageDisease.TRUNCATED: Disease(0.003, "Content-Length promises more than comes"),
    PageDisease.REDIRECT: Disease(0.010, "301 to the page at another address"),
    PageDisease.REDIRECT_LOOP: Disease(0.003, "302 to itself, by way of a second address"),
    PageDisease.REDIRECT_PRIVATE: Disease(0.003, "302 to a cloud metadata address or a private network"),
    PageDisease.REDIRECT_DISALLOWED: Disease(0.003, "302 into the section that robots.txt closes"),
    PageDisease.WRONG_TYPE: Disease(0.005, "a page served as application/pdf"),
    PageDisease.INVALID_UTF8: Disease(0.010, "bytes that are no UTF-8 in the middle of the text"),
    PageDisease.LATIN1: Disease(0.010, "ISO-8859-1, as its Content-Type says"),
}


class PageTrait(StrEnum):
    """What a content page may have besides its pictures."""

    GZIP = "gzip"
    BASE_HREF = "base_href"
    LICENSE = "license"
    BANNER = "banner"
    TRACKING_PIXEL = "tracking_pixel"
    SPRITE = "sprite"
    DATA_URI = "data_uri"
    EXTERNAL_IMAGE = "external_image"
    EXTERNAL_LINK = "external_link"


PAGE_TRAITS: dict[PageTrait, Disease] = {
    PageTrait.GZIP: Disease(0.30, "Content-Encoding: gzip"),
    PageTrait.BASE_HREF: Disease(0.08, "<base href> that relative image URLs resolve against"),
    PageTrait.LICENSE: Disease(0.20, '<a rel="license"> or <link rel="license">'),
    PageTrait.BANNER: Disease(0.35, "an advertising banner of 728 by 90 pixels"),
    PageTrait.TRACKING_PIXEL: Disease(0.50, "a GIF of 1 by 1 pixel"),
    PageTrait.SPRITE: Disease(0.20, "a sprite sheet of icons"),
    PageTrait.DATA_URI: Disease(0.20, "an <img> whose src is a data: URI"),
    PageTrait.EXTERNAL_IMAGE: Disease(0.05, "an <img> on a host that does not resolve"),
    PageTrait.EXTERNAL_LINK: Disease(0.10, "a link to another host"),
}

E = TypeVar("E", bound=StrEnum)


def allot(table: Mapping[E, Disease], n: int, rng: random.Random) -> list[E]:
    """Return n members in random order, each as often as its rate says, and at least once.

    The first member of the table takes what rounding leaves. Raises ValueError where n is too small for one of each.
    """
    first, *others = table
    dealt = [member for member in others for _ in range(max(1, round(table[member].rate * n)))]
    if len(dealt) > n:
        raise ValueError(f"{n} places cannot hold every one of the {len(table)} diseases")
    dealt += [first] * (n - len(dealt))
    rng.shuffle(dealt)
    return dealt
