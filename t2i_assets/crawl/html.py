"""What stands on a page: links, robots tags, licence, images and every text about them, with the field of each."""

import codecs
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode
from yarl import URL

from t2i_assets.crawl.guard import BadUrlError, normalise_url

LAZY_ATTRIBUTES = (
    "data-src",
    "data-original",
    "data-lazy-src",
    "data-lazy",
    "data-url",
    "data-image",
    "data-hi-res-src",
)
LAZY_SRCSETS = ("data-srcset", "data-lazy-srcset")
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)")
_CLOSE_THEMSELVES = frozenset([
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
    "p", "li", "dt", "dd", "tr", "td", "th", "option", "thead", "tbody", "tfoot", "html", "head", "body",
])  # fmt: skip
_FORMATTING = frozenset([
    "a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
])  # fmt: skip
_MAX_DEPTH = 20_000
_MAX_REOPENED = 300_000
_UNREADABLE_TYPES = ("image/svg+xml", "image/avif", "image/jxl", "image/heic")


@dataclass(frozen=True)
class Text:
    """One text about an image, as it stands on the page, and the field it came from."""

    text: str
    field: str


@dataclass(frozen=True)
class ImageCandidate:
    """One image of a page. ``url`` is absolute, or what stood there where it is no address (``problem`` says why).

    Of a data URI the kind and a digest are kept.
    """

    url: str
    field: str
    position: int
    texts: tuple[Text, ...]
    width: int | None = None
    height: int | None = None
    problem: str | None = None


@dataclass
class Page:
    """What was read from one page."""

    url: str
    base: str
    links: list[str] = field(default_factory=list)
    metas: list[tuple[str, str]] = field(default_factory=list)
    license_url: str | None = None
    images: list[ImageCandidate] = field(default_factory=list)


def parse_page(body: bytes, content_type: str | None, url: str) -> Page:
    """Read a page fetched from ``url`` (the final one); broken HTML is read as browsers read it."""
    tree = LexborHTMLParser(cut_hostile(decode_html(body, content_type)))
    page = Page(url, _base(tree, url))
    base = URL(page.base)
    page.metas = [(m.attributes.get("name") or "", m.attributes.get("content") or "") for m in tree.css("meta[name]")]
    page.links = list(_links(tree, base))
    page.license_url = _license(tree, base)
    page.images = list(_images(tree, base))
    return page


def decode_html(body: bytes, content_type: str | None) -> str:
    """Decode by byte order mark, Content-Type, ``<meta charset>``, else UTF-8; bytes that do not fit become U+FFFD."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    declared = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", content_type or "", re.IGNORECASE)
    inside = re.search(rb"<meta[^>]+charset\s*=\s*[\"']?([\w.:-]+)", body[:2048], re.IGNORECASE)
    for name in (declared and declared[1], inside and inside[1].decode("ascii")):
        if name:
            try:
                return body.decode({"iso-8859-1": "cp1252", "latin1": "cp1252"}.get(name.lower(), name), "replace")
            except LookupError:
                continue
    return body.decode("utf-8", "replace")


def cut_hostile(text: str) -> str:
    """Return the page up to where it would cost a parser minutes or gigabytes; real pages come back whole.

    Two things grow with a square: the time, in the depth of open elements, and the tree, where formatting elements
    stay open, since each later block opens all of them again (HTML standard, "reconstruct the active formatting
    elements").
    """
    if text.count("<") <= 1000:
        return text
    depth = formatting = reopened = 0
    for match in _TAG.finditer(text):
        name, step = match[2].lower(), -1 if match[1] else 1
        if name in _FORMATTING:
            formatting = max(0, formatting + step)
        if name not in _CLOSE_THEMSELVES:
            depth = max(0, depth + step)
        reopened += formatting
        if depth > _MAX_DEPTH or reopened > _MAX_REOPENED:
            return text[: match.start()]
    return text


def _base(tree: LexborHTMLParser, url: str) -> str:
    """Return the address that relative ones start from: the first ``<base href>``, else the page's own."""
    node = tree.css_first("base[href]")
    if node is None:
        return url
    try:
        return normalise_url(node.attributes.get("href") or "", URL(url))
    except BadUrlError:
        return url


def _links(tree: LexborHTMLParser, base: URL) -> Iterator[str]:
    for node in tree.css("a[href], area[href]"):
        if "nofollow" in (node.attributes.get("rel") or "").lower().split():
            continue
        try:
            yield normalise_url(node.attributes.get("href") or "", base)
        except BadUrlError:
            continue  # mailto:, javascript: and the like lead to no page


def _license(tree: LexborHTMLParser, base: URL) -> str | None:
    for node in tree.css("a[rel][href], link[rel][href]"):
        if "license" in (node.attributes.get("rel") or "").lower().split():
            try:
                return normalise_url(node.attributes.get("href") or "", base)
            except BadUrlError:
                continue
    return None


def _images(tree: LexborHTMLParser, base: URL) -> Iterator[ImageCandidate]:
    position = 0
    for node in tree.css("img"):
        address, where = _largest(node)
        yield _candidate(address, where, position, _texts(node), base, _pixels(node, "width"), _pixels(node, "height"))
        position += 1
    for node in tree.css(
        'meta[property="og:image"], meta[property="og:image:url"], meta[property="og:image:secure_url"]'
    ):
        alt = tree.css_first('meta[property="og:image:alt"]')
        text = (alt.attributes.get("content") or "") if alt else ""
        texts = (Text(text, "og:image:alt"),) if text.strip() else ()
        yield _candidate(node.attributes.get("content") or "", "og:image", position, texts, base)
        position += 1


def _candidate(
    address: str,
    where: str,
    position: int,
    texts: tuple[Text, ...],
    base: URL,
    width: int | None = None,
    height: int | None = None,
) -> ImageCandidate:
    problem = None
    if not address.strip():
        url, problem = str(base), "no_address"
    elif address.strip().lower().startswith("data:"):
        kind, _, data = address.strip().partition(",")
        url, problem = f"{kind[:64]},{hashlib.sha256(data.encode()).hexdigest()[:16]}…", "data_uri"
    else:
        try:
            url = normalise_url(address, base)
        except BadUrlError:
            url, problem = address.strip()[:2000], "bad_url"
    return ImageCandidate(url, where, position, texts, width, height, problem)


def _largest(node: LexborNode) -> tuple[str, str]:
    """Return the address of the largest form of an ``<img>`` and the attribute it stood in.

    A ``srcset`` (its own, a lazy one, or those of the surrounding ``<picture>``) names larger forms than ``src``; a
    lazy-load attribute names the image for which ``src`` holds the place.
    """
    attributes = node.attributes
    sets = [(attributes.get(name), name) for name in ("srcset", *LAZY_SRCSETS)]
    sets += [(text, "picture") for text in _picture_sets(node)]
    choices = [
        (size, -rank, url, name) for rank, (text, name) in enumerate(sets) for size, url in parse_srcset(text or "")
    ]
    if choices:
        _, _, url, name = max(choices, key=lambda choice: choice[:2])
        return url, name
    for name in LAZY_ATTRIBUTES:
        if (attributes.get(name) or "").strip():
            return attributes[name] or "", name
    return attributes.get("src") or "", "src"


def _picture_sets(node: LexborNode) -> Iterator[str]:
    parent = node.parent
    if parent is None or parent.tag != "picture":
        return
    for source in parent.css("source"):
        if (source.attributes.get("type") or "").strip().lower() not in _UNREADABLE_TYPES:
            yield source.attributes.get("srcset") or source.attributes.get("data-srcset") or ""


def parse_srcset(text: str) -> list[tuple[float, str]]:
    """Return (size, address) of each candidate; ``640w`` counts as 640, ``2x`` as 2, no descriptor as 1.

    An address may hold commas (HTML standard, "parse a srcset attribute"): only one at its end, or one after its
    descriptors, parts candidates. Data URIs, which hold a place for the real image, are left out.
    """
    found = []
    position = 0
    while match := re.compile(r"[\s,]*(\S+)").match(text, position):
        address, position = match[1], match.end()
        descriptors = ""
        if address.endswith(","):
            address = address.rstrip(",")
        else:
            comma = text.find(",", position)
            end = len(text) if comma < 0 else comma
            descriptors, position = text[position:end], end
        size = re.search(r"(?:^|\s)(\d+(?:\.\d+)?)[wx](?=\s|$)", descriptors)
        if address and not address.lower().startswith("data:"):
            found.append((float(size[1]) if size else 1.0, address))
    return found


def _texts(node: LexborNode) -> tuple[Text, ...]:
    """Return the texts about an ``<img>`` in order of trust; empty ones are none."""
    attributes = node.attributes
    caption = _figcaption(node)
    found = [
        (attributes.get("alt"), "alt"),
        (caption, "figcaption"),
        (attributes.get("title"), "title"),
        (attributes.get("aria-label"), "aria-label"),
    ]
    return tuple(Text(text, name) for text, name in found if text and text.strip())


def _figcaption(node: LexborNode) -> str | None:
    parent = node.parent
    for _ in range(6):
        if parent is None:
            return None
        if parent.tag == "figure":
            caption = parent.css_first("figcaption")
            return caption.text(separator=" ") if caption else None
        parent = parent.parent
    return None


def _pixels(node: LexborNode, name: str) -> int | None:
    match = re.match(r"\s*(\d{1,6})(?:px)?\s*(?:$|\D)", node.attributes.get(name) or "")
    return int(match[1]) if match and "%" not in (node.attributes.get(name) or "") else None
