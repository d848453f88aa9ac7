"""Web archives made for tests: WARC responses and the WAT metadata of the same form as Common Crawl's."""

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from typing import Any

HTML = (("Content-Type", "text/html; charset=utf-8"),)

Headers = Sequence[tuple[str, str]]


def record(kind: str, url: str, block: bytes, content_type: str, length: int | None = None, digest: str = "") -> bytes:
    """Return one record; ``length`` and ``digest`` may lie."""
    sha1 = base64.b32encode(hashlib.sha1(block).digest()).decode()
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Date: 2026-02-05T21:52:39Z\r\n"
        f"WARC-Record-ID: <urn:uuid:{hashlib.md5(url.encode() + block).hexdigest()}>\r\n"
        f"Content-Length: {len(block) if length is None else length}\r\nContent-Type: {content_type}\r\n"
        f"WARC-Target-URI: {url}\r\nWARC-Block-Digest: {digest or f'sha1:{sha1}'}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def response(url: str, body: bytes | str, headers: Headers = HTML, status: str = "200 OK", **lies: Any) -> bytes:
    body = body.encode() if isinstance(body, str) else body
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    block = f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body
    return record("response", url, block, "application/http; msgtype=response", **lies)


def request(url: str) -> bytes:
    return record("request", url, b"GET / HTTP/1.1\r\n\r\n", "application/http; msgtype=request")


def wat(
    url: str,
    links: list[dict[str, Any]] | None = None,
    head: dict[str, Any] | None = None,
    headers: dict[str, Any] | None = None,
    status: str = "200",
) -> bytes:
    """Return the metadata record of a page, as ia-web-commons writes it."""
    html = {"Head": head or {"Title": "a page"}, "Links": links or []}
    about = {
        "Container": {"Filename": "CC-MAIN-20160205193905-00000.warc.gz", "Offset": "846", "Compressed": True},
        "Envelope": {
            "Format": "WARC",
            "WARC-Header-Metadata": {"WARC-Type": "response", "WARC-Target-URI": url},
            "Payload-Metadata": {
                "Actual-Content-Type": "application/http; msgtype=response",
                "HTTP-Response-Metadata": {
                    "Response-Message": {"Version": "HTTP/1.1", "Status": status, "Reason": "OK"},
                    "Headers": {"Content-Type": "text/html", **(headers or {})},
                    "HTML-Metadata": html,
                },
            },
        },
    }
    return record("metadata", url, json.dumps(about).encode(), "application/json")


def zipped(*records: bytes) -> bytes:
    """Return an archive as Common Crawl packs it: each record a gzip member."""
    return b"".join(gzip.compress(one, 6, mtime=0) for one in records)
