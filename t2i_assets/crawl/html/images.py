"""The images of a page's body: which address of each is the largest, and every text about it."""

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from t2i_assets.crawl.html.candidates import Offer, Text, texts

LARGE_ATTRIBUTES = (
    "data-orig-file", "data-large-file", "data-large_image", "data-zoom-image", "data-full-src", "data-fullsrc",
    "data-full", "data-highres", "data-hi-res-src", "data-large-src", "data-src-retina",
)  # fmt: skip
LAZY_ATTRIBUTES = (
    "data-src", "data-original", "data-original-src", "data-lazy-src", "data-lazy", "data-lazyload",
    "data-lazy-original", "data-url", "data-image", "data-image-src", "data-img", "data-img-src", "data-img-url",
    "data-real-src",
    "data-actualsrc", "data-defer-src", "data-echo", "data-flickity-lazyload", "data-flickity-lazyload-src",
    "data-cfsrc", "data-ezsrc", "data-pagespeed-lazy-src", "nitro-lazy-src", "lazy-src", "loadlate",
)  # fmt: skip
LAZY_SRCSETS = (
    "data-srcset", "data-lazy-srcset", "data-original-set", "data-flickity-lazyload-srcset",
    "data-pagespeed-lazy-srcset", "data-ezsrcset", "nitro-lazy-srcset", "lazy-srcset",
)  # fmt: skip
_OWN_SRCSETS = ("srcset", *LAZY_SRCSETS)
_UNREADABLE_TYPES = ("image/svg+xml", "image/avif", "image/jxl", "image/heic")
_IMAGE_FILE = re.compile(r"/[^/:?#]+\.(?:jpe?g|png|webp|gif|bmp|tiff?)(?:[?#]|$)", re.IGNORECASE)
_ADDRESS_AND_GAP = re.compile(r"[\s,]*(\S+)")
_DESCRIPTOR = re.compile(r"(?:^|\s)(\d{1,9}(?:\.\d{1,9})?)[wx](?=\s|$)", re.ASCII)
_PIXELS = re.compile(r"\s*(\d{1,6})(?:\.\d+)?\s*(?:px)?\s*$", re.ASCII)
_MAX_CANDIDATES = 200
_LEVELS = 6

Size = tuple[float, str, str]
"""(size, address, attribute) of one form of an image."""


class BodyImages:
    """Reads the images of one parsed page.

    What belongs to a ``<figure>`` or a ``<picture>`` is read once for all its images, so that a page of one figure and
    a hundred thousand images takes no longer than others. ``licenses`` are licence links by the figure they stand in.
    """

    def __init__(self, tree: LexborHTMLParser, licenses: dict[int, str]) -> None:
        self._tree = tree
        self._licenses = licenses
        self._captions: dict[int, str | None] = {}
        self._pictures: dict[int, Size | None] = {}
        self._named: dict[str, LexborNode] | None = None

    def offers(self) -> Iterator[Offer]:
        """Yield the images in the order of the page, each followed by the larger one that it links to."""
        for node in self._tree.css("img, amp-img, input[src]"):
            attributes = node.attributes
            if node.tag == "input" and (attributes.get("type") or "").strip().lower() != "image":
                continue
            address, where = self._largest(node, attributes)
            figure = enclosing(node, "figure", _LEVELS)
            about = self._texts(attributes, figure)
            licence = self._licenses.get(figure.mem_id) if figure is not None else None
            size = (_pixels(attributes.get("width")), _pixels(attributes.get("height")))
            yield Offer(address, where, about, *size, licence)
            linked = _linked_image(node)
            if linked and linked != address:
                yield Offer(linked, "a-href", about, license_url=licence)

    def _largest(self, node: LexborNode, attributes: dict[str, str | None]) -> tuple[str, str]:
        """Return the address of the largest form of an ``<img>`` and the attribute it stood in.

        A ``srcset`` (its own, a lazy one, or those of the surrounding ``<picture>``) names larger forms than ``src``; a
        lazy-load attribute names the image for which ``src`` holds the place.
        """
        forms = [form for name in _OWN_SRCSETS if (form := _largest_of(attributes.get(name), name))]
        parent = node.parent
        if parent is not None and parent.tag == "picture" and (form := self._of_picture(parent)):
            forms.append(form)
        if forms:
            _, address, where = max(forms, key=lambda form: form[0])
            return address, where
        for name in (*LARGE_ATTRIBUTES, *LAZY_ATTRIBUTES):
            value = attributes.get(name)
            if value and _is_address(value):
                return value, name
        return attributes.get("src") or "", "src"

    def _of_picture(self, picture: LexborNode) -> Size | None:
        key = picture.mem_id
        if key not in self._pictures:
            forms = [
                form
                for source in picture.css("source")
                if (source.attributes.get("type") or "").strip().lower() not in _UNREADABLE_TYPES
                and (
                    form := _largest_of(
                        source.attributes.get("srcset") or source.attributes.get("data-srcset"), "picture"
                    )
                )
            ]
            self._pictures[key] = max(forms, key=lambda form: form[0], default=None)
        return self._pictures[key]

    def _texts(self, attributes: dict[str, str | None], figure: LexborNode | None) -> tuple[Text, ...]:
        """Return the texts about an image in order of trust; empty ones are none."""
        return texts(
            (attributes.get("alt"), "alt"),
            (self._caption(figure) if figure is not None else None, "figcaption"),
            (attributes.get("title"), "title"),
            (attributes.get("aria-label"), "aria-label"),
            (self._labelled_by(attributes.get("aria-labelledby")), "aria-labelledby"),
        )

    def _caption(self, figure: LexborNode) -> str | None:
        key = figure.mem_id
        if key not in self._captions:
            caption = figure.css_first("figcaption")
            self._captions[key] = caption.text(separator=" ") if caption else None
        return self._captions[key]

    def _labelled_by(self, names: str | None) -> str | None:
        """Return the texts of the elements with these ids, in their order (WAI-ARIA, "aria-labelledby")."""
        if not names:
            return None
        if self._named is None:
            self._named = {}
            for node in self._tree.css("[id]"):
                self._named.setdefault(node.attributes.get("id") or "", node)
        nodes = [self._named[name] for name in names.split()[:8] if name in self._named]
        return " ".join(node.text(separator=" ") for node in nodes)


def enclosing(node: LexborNode, tag: str, levels: int) -> LexborNode | None:
    """Return the nearest element with this tag around a node, at most so many levels up."""
    parent = node.parent
    for _ in range(levels):
        if parent is None:
            return None
        if parent.tag == tag:
            return parent
        parent = parent.parent
    return None


def parse_srcset(text: str) -> list[tuple[float, str]]:
    """Return (size, address) of each candidate; ``640w`` counts as 640, ``2x`` as 2, no descriptor as 1.

    An address may hold commas (HTML standard, "parse a srcset attribute"): only one at its end, or one after its
    descriptors, parts candidates. Data URIs, which hold a place for the real image, are left out.
    """
    found: list[tuple[float, str]] = []
    position = 0
    while len(found) < _MAX_CANDIDATES and (match := _ADDRESS_AND_GAP.match(text, position)):
        address, position = match[1], match.end()
        descriptors = ""
        if address.endswith(","):
            address = address.rstrip(",")
        else:
            comma = text.find(",", position)
            end = len(text) if comma < 0 else comma
            descriptors, position = text[position:end], end
        size = _DESCRIPTOR.search(descriptors)
        if address and address[:5].lower() != "data:":
            found.append((float(size[1]) if size else 1.0, address))
    return found


def _largest_of(srcset: str | None, where: str) -> Size | None:
    if not srcset:
        return None
    largest = max(parse_srcset(srcset), key=lambda form: form[0], default=None)
    return (*largest, where) if largest else None


def _is_address(value: str) -> bool:
    """Return whether a lazy-load attribute holds an address, not a switch, a number or JSON."""
    value = value.strip()
    return ("/" in value or "." in value) and value[0] not in "{[<" and value[:5].lower() != "data:"


def _linked_image(node: LexborNode) -> str | None:
    """Return the address of the image file that a thumbnail links to; a wiki's ``File:x.jpg`` is a page, not a file."""
    anchor = enclosing(node, "a", 3)
    address = ((anchor.attributes.get("href") or "") if anchor is not None else "").strip()
    return address if _IMAGE_FILE.search("/" + address) else None


def _pixels(value: str | None) -> int | None:
    match = _PIXELS.match(value) if value else None
    return int(match[1]) if match else None
