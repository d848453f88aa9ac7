"""What a page offers of one image: its address, the texts about it, and the field that each came from."""

import hashlib
from dataclasses import dataclass

from yarl import URL

from t2i_assets.crawl.http.guard import BadUrlError, normalise_url

MAX_TEXT = 10_000
"""Characters kept of one text; hygiene calls far shorter ones too long."""


@dataclass(frozen=True)
class Text:
    """One text about an image, as it stands on the page, and the field it came from."""

    text: str
    field: str


@dataclass(frozen=True)
class ImageCandidate:
    """One image of a page. ``url`` is absolute, or what stood there where it is no address (``problem`` says why).

    Of a data URI the kind and a digest are kept. ``license_url`` is the licence of the image where the page names one
    for it, else that of the page.
    """

    url: str
    field: str
    position: int
    texts: tuple[Text, ...]
    width: int | None = None
    height: int | None = None
    problem: str | None = None
    license_url: str | None = None


@dataclass(frozen=True)
class Offer:
    """An image as it stands on the page, its address not yet resolved."""

    address: str
    field: str
    texts: tuple[Text, ...] = ()
    width: int | None = None
    height: int | None = None
    license_url: str | None = None

    def candidate(
        self, position: int, base: URL, license_of: dict[str, str], page_license: str | None
    ) -> ImageCandidate:
        """Resolve the address against ``base``; a licence of its own goes before that of its URL and of the page."""
        url, problem = resolve(self.address, base)
        license_url = self.license_url or license_of.get(url) or page_license
        return ImageCandidate(url, self.field, position, self.texts, self.width, self.height, problem, license_url)


def resolve(address: str, base: URL) -> tuple[str, str | None]:
    """Return (absolute URL, None), or what stood there and why it is none: no_address, data_uri or bad_url."""
    address = address.strip()
    if not address:
        return str(base), "no_address"
    if address[:5].lower() == "data:":
        kind, _, data = address.partition(",")
        return f"{kind[:64]},{hashlib.sha256(data.encode('utf-8', 'replace')).hexdigest()[:16]}…", "data_uri"
    try:
        return normalise_url(address, base), None
    except BadUrlError:
        return address[:2000], "bad_url"


def link(address: str | None, base: URL) -> str | None:
    """Return the absolute URL of a link, or None where it is none."""
    url, problem = resolve(address or "", base)
    return None if problem else url


def texts(*found: tuple[str | None, str]) -> tuple[Text, ...]:
    """Return those of (text, field) that say something, in their order."""
    return tuple(Text(text[:MAX_TEXT], field) for text, field in found if text and text.strip())
