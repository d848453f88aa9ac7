"""The one form in which every source hands over an image and its texts, and the rows of PAIRS made of it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from yarl import URL

from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.html.page import Text
from t2i_assets.crawl.http.guard import BadUrlError, normalise_url
from t2i_assets.crawl.texts import clean, label

BAD_ARCHIVE = "bad_archive"
"""Rejection of a row that stands for what could not be read of a file; its ``image_url`` names the file."""

_NO_TEXTS: list[tuple[str | None, str | None]] = [(None, None)]
_VECTOR = re.compile(r"\.svgz?(?:$|[?#])", re.IGNORECASE)
_LONGEST_BAD_URL = 2000


class SourceError(ValueError):
    """A source cannot be used as it is configured; the message names the source's file and what is wrong."""


@dataclass(frozen=True)
class Offer:
    """One image with its texts as they were found. ``problem`` says why it is not taken, where that is known already.

    ``width`` and ``height`` are what was declared, in pixels.
    """

    image_url: str
    image_field: str
    page_url: str
    position: int
    texts: tuple[Text, ...] = ()
    width: int | None = None
    height: int | None = None
    license_url: str | None = None
    problem: str | None = None


def rows_of(offer: Offer, source: str, snapshot: str, config: CrawlConfig) -> Iterator[dict[str, Any]]:
    """Yield the PAIRS rows of an offer: one per text, or one without a text where there is none."""
    texts: list[tuple[str | None, str | None]] = [
        (cleaned, one.field) for one in offer.texts if (cleaned := clean(one.text))
    ]
    rejected = offer.problem or _reject(offer, config) or (None if texts else "no_text")
    for text, text_field in texts or _NO_TEXTS:
        yield {
            "snapshot": snapshot,
            "source": source,
            "page_url": _storable(offer.page_url),
            "image_url": _storable(offer.image_url),
            "image_field": offer.image_field,
            "text": text,
            "text_field": text_field,
            "position": offer.position,
            "declared_width": offer.width,
            "declared_height": offer.height,
            "labels": label(text, config.texts) if text else [],
            "license_url": offer.license_url,
            "rejected": rejected,
        }


def web_address(address: Any, base: URL | None = None) -> tuple[str | None, str | None]:
    """Return a normalised URL and None, or what stood there and ``bad_url``; where nothing stood that is None."""
    text = address.strip() if isinstance(address, str) else ""
    try:
        return normalise_url(text, base), None
    except BadUrlError:
        return text[:_LONGEST_BAD_URL] or None, "bad_url"


def web_link(address: Any, base: URL | None = None) -> str | None:
    """Return the normalised URL of a link, or None where it is none."""
    try:
        return normalise_url(address, base) if isinstance(address, str) else None
    except BadUrlError:
        return None


def _reject(offer: Offer, config: CrawlConfig) -> str | None:
    """Return why an image is not fetched, as far as what was declared tells."""
    if _VECTOR.search(offer.image_url):
        return "vector"
    declared = [side for side in (offer.width, offer.height) if side is not None]
    if declared and min(declared) <= 2:
        return "tracking_pixel"
    if len(declared) == 2 and max(declared) < config.images.min_side:
        return "icon"
    return None


def _storable(text: str) -> str:
    """Return the text with lone surrogates replaced: JSON can carry them, UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()
