"""What stands on a page: links, robots tags, language, licences, images and every text about them."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser
from yarl import URL

from t2i_assets.crawl.html.candidates import ImageCandidate, Text, link
from t2i_assets.crawl.html.images import BodyImages, enclosing, parse_srcset
from t2i_assets.crawl.html.metadata import json_ld_offers, metadata_offers
from t2i_assets.crawl.http.guard import BadUrlError, normalise_url

__all__ = ["ImageCandidate", "Page", "Text", "cut_hostile", "decode_html", "parse_page", "parse_srcset"]

# The encodings of the web (WHATWG Encoding Standard) by Python's names; other codecs may raise, or take minutes.
_CODECS = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gbk", "shift_jis": "cp932", "euc_kr": "cp949", "utf-16": "utf-16-le",
} | {
    name: name
    for name in (
        "utf-8", "utf-16-le", "utf-16-be", "gbk", "gb18030", "big5", "big5hkscs", "euc_jp", "iso2022_jp", "cp932",
        "cp949", "koi8-r", "koi8-u", "cp866", "cp874", "mac-roman", "mac-cyrillic",
        *(f"cp{number}" for number in range(1250, 1259)),
        *(f"iso8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
    )
}  # fmt: skip
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


@dataclass
class Page:
    """What was read from one page; ``language`` is what it declares."""

    url: str
    base: str
    links: list[str] = field(default_factory=list)
    metas: list[tuple[str, str]] = field(default_factory=list)
    license_url: str | None = None
    language: str | None = None
    images: list[ImageCandidate] = field(default_factory=list)


def parse_page(body: bytes, content_type: str | None, url: str) -> Page:
    """Read a page fetched from ``url`` (the final one); broken HTML is read as browsers read it."""
    tree = LexborHTMLParser(cut_hostile(decode_html(body, content_type)))
    page = Page(url, _base(tree, url))
    base = URL(page.base)
    metas = [node.attributes for node in tree.css("meta[name], meta[property]")]
    page.metas = [(meta["name"] or "", meta.get("content") or "") for meta in metas if "name" in meta]
    page.links = list(_links(tree, base))
    page.language = _language(tree)
    page.license_url, licenses = _licenses(tree, base)
    properties = [
        ((meta.get("property") or meta.get("name") or "").strip().lower(), meta.get("content") or "") for meta in metas
    ]
    described = json_ld_offers(tree, base)
    license_of = {
        address: one.license_url for one in described if one.license_url and (address := link(one.address, base))
    }
    offers = [*BodyImages(tree, licenses).offers(), *metadata_offers(tree, properties), *described]
    page.images = [
        offer.candidate(position, base, license_of, page.license_url) for position, offer in enumerate(offers)
    ]
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
                codec = codecs.lookup(name).name
            except LookupError:
                continue
            if codec in _CODECS:
                return body.decode(_CODECS[codec], "replace")
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
    """Yield the address of each link once; those that ask not to be followed are left out."""
    addresses = dict.fromkeys(
        (node.attributes.get("href") or "").strip()
        for node in tree.css("a[href], area[href]")
        if "nofollow" not in (node.attributes.get("rel") or "").lower().split()
    )
    for address in addresses:
        try:
            yield normalise_url(address, base)
        except BadUrlError:
            continue  # mailto:, javascript: and the like lead to no page


def _language(tree: LexborHTMLParser) -> str | None:
    node = tree.css_first("html[lang]")
    return ((node.attributes.get("lang") or "").strip()[:35] or None) if node is not None else None


def _licenses(tree: LexborHTMLParser, base: URL) -> tuple[str | None, dict[int, str]]:
    """Return the licence of the page, and by figure those that stand inside one: they are of its images alone."""
    of_page = None
    of_figure: dict[int, str] = {}
    for node in tree.css("a[rel][href], link[rel][href], area[rel][href], [itemprop=license][href]"):
        attributes = node.attributes
        if "license" not in f"{attributes.get('rel')} {attributes.get('itemprop')}".lower().split():
            continue
        address = link(attributes.get("href"), base)
        figure = enclosing(node, "figure", 6)
        if address and figure is not None:
            of_figure.setdefault(figure.mem_id, address)
        elif address:
            of_page = of_page or address
    return of_page, of_figure
