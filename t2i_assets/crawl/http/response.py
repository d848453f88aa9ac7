"""What a response means, how much of it is read, and what is made of one that breaks off."""

import asyncio
import errno
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from aiohttp.compression_utils import HAS_BROTLI, HAS_ZSTD
from aiohttp.http_exceptions import ContentEncodingError
from multidict import CIMultiDict, CIMultiDictProxy

from t2i_assets.crawl.http.guard import SsrfBlockedError
from t2i_assets.crawl.status import CrawlFailedError, Status

REDIRECTS = (301, 302, 303, 307, 308)

_ENCODINGS = frozenset(
    ["", "identity", "gzip", "deflate"] + ["br"] * bool(HAS_BROTLI) + ["zstd"] * bool(HAS_ZSTD),
)
_DISCARDED_BYTES = 65_536
_DISCARDING_SECONDS = 1.0
_WORDS = 500
_EXPANSION_COUNTS_FROM = 1 << 20


class BodyTooLargeError(ValueError):
    """The body is longer than allowed; ``beginning`` is as much as was."""

    def __init__(self, message: str, beginning: bytes = b"") -> None:
        super().__init__(message)
        self.beginning = beginning


class BadResponseError(ValueError):
    """The response is not one that can be used."""


def judge_http_status(code: int, conditional: bool) -> tuple[Status, str | None]:
    """Return what a status code means; redirects are ``ok`` here."""
    if code == 200 or code in REDIRECTS:
        return Status.OK, None
    words = f"HTTP {code}"
    if code == 304:
        return (Status.UNCHANGED, words) if conditional else (Status.BAD_RESPONSE, f"{words}, which was not asked for")
    if code == 429:
        return Status.RATE_LIMITED, words
    return {4: Status.HTTP_4XX, 5: Status.HTTP_5XX}.get(code // 100, Status.HTTP_OTHER), words


async def read_body(response: aiohttp.ClientResponse, max_bytes: int, max_expansion: float, cut: bool) -> bytes:
    """Return the body, content-encoding removed chunk by chunk, so that a bomb stops at the cap too.

    Raises BodyTooLargeError, with what was read where it is to be ``cut``, and BadResponseError.
    """
    encoding = ",".join(response.headers.getall("Content-Encoding", [])).strip().lower()
    if encoding not in _ENCODINGS:
        raise BadResponseError(f"Content-Encoding {encoding!r} was not asked for")
    encoded = encoding not in ("", "identity")
    if not cut and (response.content_length or 0) > max_bytes:
        raise BodyTooLargeError(f"Content-Length {response.content_length} is above the cap of {max_bytes} bytes")
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        chunks.append(chunk)
        if size > max_bytes:
            beginning = b"".join(chunks)[:max_bytes] if cut else b""
            raise BodyTooLargeError(f"the body is longer than {max_bytes} bytes", beginning)
        if encoded and size >= _EXPANSION_COUNTS_FROM:
            received = response.content.total_compressed_bytes or size
            if size > max_expansion * received:
                raise BodyTooLargeError(f"the body grows more than {max_expansion:g} times when {encoding} is undone")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def discard_body(response: aiohttp.ClientResponse) -> None:
    """Read a short body that nobody needs, so that the connection can be used again; a long or slow one costs it."""
    size = 0
    try:
        async with asyncio.timeout(_DISCARDING_SECONDS):
            async for chunk in response.content.iter_any():
                size += len(chunk)
                if size > _DISCARDED_BYTES:
                    break
    except (TimeoutError, aiohttp.ClientError):
        response.close()


def readable(headers: CIMultiDictProxy[str]) -> CIMultiDictProxy[str]:
    """Return the headers as text that can be written down.

    Bytes that are not UTF-8 become U+FFFD; in a Location they are percent-encoded, as browsers do.
    """
    if all(value.isascii() for value in headers.values()):
        return headers
    return CIMultiDictProxy(CIMultiDict((name, _unmangled(name, value)) for name, value in headers.items()))


def _unmangled(name: str, value: str) -> str:
    if name.lower() == "location":
        return "".join(f"%{ord(one) - 0xDC00:02X}" if "\udc80" <= one <= "\udcff" else one for one in value)
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def raise_if_ours(error: Exception) -> None:
    """Raise CrawlFailedError where not the server failed but this machine, for every URL alike."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
        raise CrawlFailedError(
            f"no connection can be opened any more ({cause.strerror}): raise the limit (ulimit -n), or lower "
            "fetch.concurrency"
        ) from error


def classify(error: Exception, total_seconds: float) -> tuple[Status, str]:
    """Return the status and the words for what went wrong on the network."""
    words = " ".join(str(error).split())[:_WORDS] or type(error).__name__
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, SsrfBlockedError):
        return Status.SSRF_BLOCKED, str(cause)
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Status.DNS, words
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return Status.TLS, words
        case aiohttp.ConnectionTimeoutError():
            return Status.TIMEOUT, words
        case TimeoutError():
            return Status.TIMEOUT, f"not done within {total_seconds:g} s"
        case aiohttp.ClientConnectorError():
            return Status.REFUSED, words
        case aiohttp.ClientPayloadError():
            broken = isinstance(error.__cause__, ContentEncodingError)
            return Status.BAD_RESPONSE if broken else Status.TRUNCATED, words
        case aiohttp.ServerDisconnectedError() | OSError():
            return Status.DISCONNECTED, words
        case aiohttp.InvalidURL():
            return Status.BAD_URL, words
        case _:
            return Status.BAD_RESPONSE, f"{type(error).__name__}: {words}"


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, or None where it says nothing readable (RFC 9110)."""
    value = (value or "").strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
