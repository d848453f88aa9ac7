"""What the site answers to a request: a status, headers, a body, and what goes wrong on the wire.

Free of any HTTP library, so that the whole behaviour of the site can be read and tested as one function.
"""

import gzip
import hashlib
import struct
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import StrEnum
from functools import lru_cache

from t2i_assets.synthweb.diseases import ImageAnswer, PageDisease, PageTrait
from t2i_assets.synthweb.furniture import furniture
from t2i_assets.synthweb.pages import CHARSET, listing_html, page_html
from t2i_assets.synthweb.pictures import Picture, content_type, encode
from t2i_assets.synthweb.site import CLOSED, Page, Site

HTML = "text/html; charset=utf-8"
BOMB_SIDE = 60_000
LOG_IN = b"<!doctype html><title>Log in</title><p>Please log in to see this picture.</p>" + b"<!-- padding -->" * 20
EPOCH = 1_767_225_600  # 1 January 2026: every Last-Modified lies in that year


class Wire(StrEnum):
    """What happens to the answer on its way."""

    FINE = "fine"
    SLOW = "slow"
    TRUNCATED = "truncated"
    DRIP = "drip"


@dataclass(frozen=True)
class Answer:
    """One response."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wire: Wire = Wire.FINE


class Responder:
    """Answers requests for one site; remembers only how often each URL was asked for, for what fails once."""

    def __init__(self, site: Site, cached_pictures: int = 256) -> None:
        self.site = site
        self._asked: Counter[str] = Counter()
        self._encode = lru_cache(cached_pictures)(encode)

    def answer(self, path: str, query: str, headers: Mapping[str, str], origin: str) -> Answer:
        """Return the response to GET ``path?query``; ``headers`` are the request's, ``origin`` is scheme and host."""
        site = self.site
        target = f"{path}?{query}" if query else path
        self._asked[path] += 1
        if target in site.redirects:
            return Answer(302, headers={"Location": site.redirects[target]})
        if path in site.pictures:
            return self._picture(site.pictures[path], headers)
        if path in site.pages_by_path:
            return self._page(site.pages_by_path[path], headers, origin)
        if path.startswith("/static/") and path[8:] in furniture():
            mime, body = furniture()[path[8:]]
            return Answer(200, body, {"Content-Type": mime, "Cache-Control": "max-age=86400"})
        if path == "/robots.txt":
            return Answer(200, robots_txt(site).encode(), {"Content-Type": "text/plain; charset=utf-8"})
        if path == "/sitemap.xml":
            return Answer(200, _sitemap(site, origin), {"Content-Type": "application/xml"})
        if path == "/dataset/captions.json":
            return Answer(200, site.captions_json(origin), {"Content-Type": "application/json"})
        listing = listing_html(site, path)
        if listing is not None:
            return Answer(200, listing, {"Content-Type": HTML})
        return _error(404)

    def _page(self, page: Page, headers: Mapping[str, str], origin: str) -> Answer:
        site, disease = self.site, page.disease
        refusal = self._refusal(disease.value, page.path)
        if refusal is not None:
            return refusal
        sent = {"Content-Type": f"text/html; charset={CHARSET.get(disease, 'utf-8')}", **_validators(site, page.path)}
        if disease is PageDisease.WRONG_TYPE:
            sent["Content-Type"] = "application/pdf"
        tag = _page_robots_tag(disease, site.config.agent)
        if tag is not None:
            sent["X-Robots-Tag"] = tag
        if _unchanged(headers, sent):
            return Answer(304, headers=sent)
        body = page_html(site, page, origin)
        if PageTrait.GZIP in page.traits and "gzip" in headers.get("Accept-Encoding", ""):
            sent["Content-Encoding"], body = "gzip", gzip.compress(body, 6, mtime=0)
        return Answer(200, body, sent, _wire(disease.value))

    def _picture(self, picture: Picture, headers: Mapping[str, str]) -> Answer:
        site, answer = self.site, picture.answer
        refusal = self._refusal(answer.value, picture.path)
        if refusal is not None:
            return refusal
        sent = {"Content-Type": content_type(picture), **_validators(site, picture.path)}
        tag = _picture_robots_tag(answer, site.config.agent)
        if tag is not None:
            sent["X-Robots-Tag"] = tag
        if _unchanged(headers, sent):
            return Answer(304, headers=sent)
        match answer:
            case ImageAnswer.NOT_AN_IMAGE:
                return Answer(200, LOG_IN, sent)
            case ImageAnswer.BOMB:
                return Answer(200, png_bomb(BOMB_SIDE), {**sent, "Content-Type": "image/png"})
            case ImageAnswer.WRONG_TYPE:
                sent["Content-Type"] = "text/plain" if sent["Content-Type"] == "image/jpeg" else "image/jpeg"
        body = self._encode(picture)
        if answer is ImageAnswer.CORRUPT:
            body = body[:24] + hashlib.shake_256(picture.path.encode()).digest(max(64, len(body) - 24))
        return Answer(200, body, sent, _wire(answer.value))

    def _refusal(self, disease: str, path: str) -> Answer | None:
        first = self._asked[path] == 1
        if disease == "not_found":
            return _error(404)
        if disease == "error_forever" or (disease == "error_once" and first):
            return _error(500)
        if disease == "rate_limited" and first:
            return _error(429, {"Retry-After": str(self.site.config.retry_after)})
        return None


def served_bytes(picture: Picture) -> bytes | None:
    """Return what a patient client ends up with as the picture's file; None where it never gets one."""
    if picture.answer in _NEVER:
        return None
    return encode(picture)


_NEVER = frozenset(
    {
        ImageAnswer.NOT_FOUND,
        ImageAnswer.ERROR_FOREVER,
        ImageAnswer.TRUNCATED,
        ImageAnswer.CORRUPT,
        ImageAnswer.REDIRECT_LOOP,
        ImageAnswer.REDIRECT_PRIVATE,
        ImageAnswer.NOT_AN_IMAGE,
        ImageAnswer.BOMB,
        ImageAnswer.DRIP,
    }
)


def robots_txt(site: Site) -> str:
    """Return the rules: one section is closed to everybody, and one named robot may read nothing.

    ``/dataset/`` is open, but no page links to it: it is offered for download as a data set.
    """
    return "\n".join(
        [
            "User-agent: otherbot",
            "Disallow: /",
            "",
            "User-agent: *",
            f"Disallow: {CLOSED}",
            "Disallow: /*?session=",
            "",
            "Sitemap: /sitemap.xml",
            "",
        ]
    )


def png_bomb(side: int) -> bytes:
    """Return a valid PNG header of side x side pixels followed by almost no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000), 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _page_robots_tag(disease: PageDisease, agent: str) -> str | None:
    return {
        PageDisease.HEADER_NOAI: "noai",
        PageDisease.HEADER_AGENT: f"{agent}: noindex, noai",
        PageDisease.HEADER_OTHER_AGENT: "otherbot: noindex, noai",
    }.get(disease)


def _picture_robots_tag(answer: ImageAnswer, agent: str) -> str | None:
    return {
        ImageAnswer.HEADER_NOAI: "noai, noimageai",
        ImageAnswer.HEADER_AGENT: f"{agent}: noimageindex",
        ImageAnswer.HEADER_OTHER_AGENT: "otherbot: noindex",
        ImageAnswer.HEADER_EXPIRED: "unavailable_after: 25 Jun 2010 15:00:00 PST, noai",
    }.get(answer)


def _wire(disease: str) -> Wire:
    return Wire(disease) if disease in set(Wire) else Wire.FINE


def _validators(site: Site, path: str) -> dict[str, str]:
    """Return ETag and Last-Modified; they follow from the configuration and the path, so nothing need be drawn."""
    name = hashlib.sha256(f"{site.config.model_dump_json()}{path}".encode()).hexdigest()
    return {
        "ETag": f'"{name[:16]}"',
        "Last-Modified": formatdate(EPOCH + int(name[16:22], 16), usegmt=True),
        "Cache-Control": "public, max-age=3600",
    }


def _unchanged(asked: Mapping[str, str], sent: Mapping[str, str]) -> bool:
    if "If-None-Match" in asked:
        return sent["ETag"] in asked["If-None-Match"]
    return asked.get("If-Modified-Since") == sent["Last-Modified"]


def _sitemap(site: Site, origin: str) -> bytes:
    rows = "".join(f"<url><loc>{origin}{page.entry}</loc></url>" for page in site.pages)
    return f'<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{rows}</urlset>'.encode()


def _error(status: int, headers: Mapping[str, str] | None = None) -> Answer:
    title = {404: "Not found", 429: "Too many requests", 500: "Something went wrong"}[status]
    body = f"<!doctype html><title>{title}</title><h1>{title}</h1>".encode()
    return Answer(status, body, {"Content-Type": HTML, **(headers or {})})
