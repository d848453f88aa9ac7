"""The images that a page names for other readers: Open Graph, Twitter cards, ``image_src`` and JSON-LD."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from selectolax.lexbor import LexborHTMLParser
from yarl import URL

from t2i_assets.crawl.html.candidates import Offer, link, texts

_MAX_JSON = 2_000_000
_MAX_VALUES = 20_000
_OG_ADDRESSES = ("og:image", "og:image:url", "og:image:secure_url")
_CARD_ADDRESSES = ("twitter:image", "twitter:image:src")


def metadata_offers(tree: LexborHTMLParser, properties: list[tuple[str, str]]) -> Iterator[Offer]:
    """Yield the images of the head; ``properties`` are the page's meta tags as (name or property, content)."""
    yield from _open_graph(properties)
    first = dict(reversed(properties))
    cards = [first[name] for name in _CARD_ADDRESSES if first.get(name)]
    if cards:
        yield Offer(cards[0], "twitter:image", texts((first.get("twitter:image:alt"), "twitter:image:alt")))
    for node in tree.css('link[rel="image_src"][href]'):
        yield Offer(node.attributes.get("href") or "", "image_src")


@dataclass
class _Preview:
    address: str
    alt: str | None = None
    size: dict[str, int | None] = field(default_factory=dict)


def _open_graph(properties: list[tuple[str, str]]) -> Iterator[Offer]:
    """Yield one image for each ``og:image``; what follows it describes it (ogp.me, "Structured Properties").

    ``og:image:url`` and ``og:image:secure_url`` are further names of the image before them.
    """
    previews: list[_Preview] = []
    early_alt = None
    for name, content in properties:
        if name == "og:image" or (name in _OG_ADDRESSES and not previews):
            previews.append(_Preview(content, early_alt))
            early_alt = None
        elif name == "og:image:alt":
            if not previews:
                early_alt = content
            elif previews[-1].alt is None:
                previews[-1].alt = content
        elif name in ("og:image:width", "og:image:height") and previews:
            previews[-1].size[name.rpartition(":")[2]] = _whole(content)
    for one in previews:
        about = texts((one.alt, "og:image:alt"))
        yield Offer(one.address, "og:image", about, one.size.get("width"), one.size.get("height"))


def json_ld_offers(tree: LexborHTMLParser, base: URL) -> list[Offer]:
    """Return the ``ImageObject``s of the page's JSON-LD (schema.org), with caption, size and licence."""
    offers = []
    left = _MAX_JSON
    for node in tree.css('script[type="application/ld+json"]'):
        source = node.text()
        left -= len(source)
        if left < 0:
            break
        try:
            document = json.loads(source)
        except (ValueError, RecursionError):
            continue
        offers += [offer for one in _objects(document) if (offer := _image_object(one, base))]
    return offers


def _objects(document: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a JSON document in its order, without recursion, up to a number of values."""
    waiting = [document]
    for _ in range(_MAX_VALUES):
        if not waiting:
            return
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += reversed(value.values())
        elif isinstance(value, list):
            waiting += reversed(value)


def _image_object(one: dict[str, Any], base: URL) -> Offer | None:
    kind = one.get("@type")
    if "ImageObject" not in (kind if isinstance(kind, list) else [kind]):
        return None
    address = _text(one.get("contentUrl")) or _text(one.get("url"))
    if not address:
        return None
    about = texts(*((_text(one.get(name)), f"json-ld:{name}") for name in ("caption", "description", "name")))
    size = (_whole(one.get("width")), _whole(one.get("height")))
    return Offer(address, "json-ld", about, *size, link(_text(one.get("license")), base))


def _text(value: Any) -> str | None:
    """Return the text of a JSON-LD value: itself, its first, or that of an object which stands for it."""
    for _ in range(4):
        if isinstance(value, list):
            value = value[0] if value else None
        elif isinstance(value, dict):
            value = next((value[name] for name in ("@value", "@id", "url", "text", "name") if name in value), None)
    return value if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    """Return a number of pixels, as JSON-LD and meta tags give it: 640, "640", "640px" or a QuantitativeValue."""
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, int | float) and 0 < value < 1e6:
        return int(value)
    digits = value.strip().removesuffix("px").strip() if isinstance(value, str) else ""
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 7 else None
