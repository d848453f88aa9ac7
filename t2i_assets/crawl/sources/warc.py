"""Pages of WARC files: what another crawler recorded, taken as if it had just been fetched."""

import zlib
from collections.abc import Iterator
from typing import Any

from fastwarc.warc import HeaderMap, WarcRecord, WarcRecordType
from multidict import CIMultiDict

from t2i_assets.crawl.page_stage.headers import kept_columns
from t2i_assets.crawl.sources.archive_files import ArchiveFile
from t2i_assets.crawl.sources.archives import Record
from t2i_assets.crawl.sources.rows import web_address

_HTML_TYPES = ("text/html", "application/xhtml+xml")
_GZIP = b"\x1f\x8b"
_MOST_HEADER_BYTES = 1 << 20


class _PassedOverError(Exception):
    """A record holds no page; the message is the reason."""


def page_rows(file: ArchiveFile, snapshot: str) -> Iterator[dict[str, Any]]:
    """Yield a PAGES row for each HTML response with status 200, as long as ``max_records`` are not reached.

    Nothing is yielded of an archive that could not be fetched. Afterwards ``file.ledger_row`` says what was left out.
    """
    if not file.is_here:
        return
    for record in file.archive.records(WarcRecordType.response):
        try:
            row = _page_row(record, file)
        except _PassedOverError as reason:
            file.passed_over[str(reason)] += 1
            continue
        file.taken += 1
        yield {"snapshot": snapshot, "source": file.source.name, **row, "depth": 0}
        if file.taken == file.source.max_records:
            return


def _page_row(record: Record, file: ArchiveFile) -> dict[str, Any]:
    url, problem = web_address(record.target)
    if problem or url is None:
        raise _PassedOverError("bad_url")
    headers, payload = _parse(record.block)
    if headers.status_code != 200:
        raise _PassedOverError("not_200")
    content_type = headers.get("Content-Type")
    if (content_type or "").partition(";")[0].strip().lower() not in _HTML_TYPES:
        raise _PassedOverError("not_html")
    body = _decoded(payload, headers.get("Content-Encoding") or "", file.config.fetch.max_page_bytes)
    return {
        "url": url,
        "final_url": url,
        "content_type": content_type,
        **kept_columns(CIMultiDict(headers.items())),
        "body": body,
    }


def _parse(block: bytes) -> tuple[HeaderMap, bytes]:
    """Return headers and payload of an HTTP response, chunks joined where they are chunks indeed."""
    for decode in ("transfer", "none"):
        record = WarcRecord()
        record.set_bytes_content(block)
        record.is_http = True
        try:
            record.parse_http(auto_decode=decode, max_header_len=_MOST_HEADER_BYTES, quirks_mode=True)
            return record.http_headers, record.reader.read()
        except OSError:
            continue  # some crawlers join the chunks and leave the header that announced them
    raise _PassedOverError("bad_http")


def _decoded(payload: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return the payload without its content-encoding; some crawlers remove it and leave the header."""
    encoding = encoding.strip().lower()
    if payload.startswith(_GZIP) and encoding in ("gzip", "x-gzip"):
        payload = _inflated(payload, 31, max_bytes)
    elif encoding == "deflate" and b"<" not in payload[:1000]:
        payload = _inflated(payload, 15, max_bytes)
    elif encoding not in ("", "identity") and b"<" not in payload[:1000]:
        raise _PassedOverError("content_encoding")
    if len(payload) > max_bytes:
        raise _PassedOverError("too_large")
    return payload


def _inflated(payload: bytes, window_bits: int, max_bytes: int) -> bytes:
    try:
        return zlib.decompressobj(window_bits).decompress(payload, max_bytes + 1)
    except zlib.error as error:
        raise _PassedOverError("content_encoding") from error
