"""Links to images in WAT files: what Common Crawl noted of each page, without the page.

The form is that of ia-web-commons: ``Envelope`` holds ``WARC-Header-Metadata`` and, under ``Payload-Metadata``,
``HTTP-Response-Metadata`` with ``Headers`` and ``HTML-Metadata`` (``Head``: ``Base``, ``Metas``, ``Link``; ``Links``).
Addresses stand there as they stood on the page. A WAT knows no ``srcset``, no lazy-load attribute, no figure caption.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from fastwarc.warc import WarcRecordType
from multidict import CIMultiDict
from yarl import URL

from t2i_assets.crawl.consent.verdict import meta_verdict, response_verdict
from t2i_assets.crawl.html.page import Text
from t2i_assets.crawl.sources.archive_files import ArchiveFile
from t2i_assets.crawl.sources.archives import Record
from t2i_assets.crawl.sources.rows import Offer, web_address, web_link

_OG_IMAGES = ("og:image", "og:image:url", "og:image:secure_url")

_Object = dict[str, Any]


def wat_offers(file: ArchiveFile) -> Iterator[Offer]:
    """Yield the images of each page with status 200, as long as ``max_records`` pages are not reached.

    Nothing is yielded of an archive that could not be fetched. ``file.ledger_row`` tells what was passed over and lost.
    """
    if not file.is_here:
        return
    for record in file.archive.records(WarcRecordType.metadata):
        response, reason = _response(record)
        page, problem = web_address(record.target)
        if response is None or page is None or problem:
            file.passed_over[reason or "bad_url"] += 1
            continue
        file.taken += 1
        yield from _offers(page, response, file.config.product)
        if file.taken == file.source.max_records:
            return


def _response(record: Record) -> tuple[_Object | None, str]:
    """Return HTTP-Response-Metadata of a page that was there, or None and why there is none."""
    try:
        document = json.loads(record.block)
    except (ValueError, RecursionError):
        return None, "bad_json"
    payload = _object(_object(_object(document).get("Envelope")).get("Payload-Metadata"))
    response = _object(payload.get("HTTP-Response-Metadata"))
    if not response:
        return None, "not_a_response"
    if str(_object(response.get("Response-Message")).get("Status")) != "200":
        return None, "not_200"
    return (response, "") if _object(response.get("HTML-Metadata")) else (None, "not_html")


def _offers(page: str, response: _Object, product: str) -> Iterator[Offer]:
    html = _object(response.get("HTML-Metadata"))
    head = _object(html.get("Head"))
    links = _objects(html.get("Links"))
    metas = [(_text(meta.get("name")), _text(meta.get("content"))) for meta in _objects(head.get("Metas"))]
    verdict = response_verdict(_headers(response), product)
    verdict = meta_verdict(metas, product) if verdict.allowed else verdict
    base = URL(web_link(head.get("Base"), URL(page)) or page)
    license_url = _license([*links, *_objects(head.get("Link"))], base)
    images = [
        (_text(link.get("url")), "src", [Text(_text(link.get(name)), name) for name in ("alt", "title")])
        for link in links
        if link.get("path") == "IMG@/src"
    ]
    images += _og_images(_objects(head.get("Metas")))
    for position, (address, where, texts) in enumerate(images):
        url, problem = _address(address, base)
        problem = problem or (None if verdict.allowed else f"page_{verdict.rule}")
        yield Offer(url, where, page, position, tuple(texts), license_url=license_url, problem=problem)


def _headers(response: _Object) -> CIMultiDict[str]:
    """Return the recorded headers; one that was sent several times is a list there."""
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in _object(response.get("Headers")).items():
        for one in value if isinstance(value, list) else [value]:
            headers.add(name, _text(one))
    return headers


def _license(links: list[_Object], base: URL) -> str | None:
    for link in links:
        if "license" in _text(link.get("rel")).lower().split() and (url := web_link(link.get("url"), base)):
            return url
    return None


def _og_images(metas: list[_Object]) -> list[tuple[str, str, list[Text]]]:
    alts = [_text(meta.get("content")) for meta in metas if meta.get("property") == "og:image:alt"]
    texts = [Text(alts[0], "og:image:alt")] if alts else []
    return [(_text(meta.get("content")), "og:image", texts) for meta in metas if meta.get("property") in _OG_IMAGES]


def _address(address: str, base: URL) -> tuple[str, str | None]:
    """Return the URL of an image, or what stood there and why it is none: as for images of pages."""
    if not address.strip():
        return str(base), "no_address"
    if address.strip().lower().startswith("data:"):
        kind, _, data = address.strip().partition(",")
        return f"{kind[:64]},{hashlib.sha256(data.encode('utf-8', 'replace')).hexdigest()[:16]}…", "data_uri"
    url, problem = web_address(address, base)
    return url or str(base), problem


def _object(value: Any) -> _Object:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[_Object]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
