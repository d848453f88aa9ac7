"""One URL in, one outcome out: polite, bounded in time and bytes, and never anywhere it must not go.

Redirects are followed by hand, so that robots.txt and the address guard judge every hop.
"""

import asyncio
import random
import ssl
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.consent import NOT_ASKED, Verdict
from t2i_assets.crawl.guard import BadUrlError, Guard, GuardedResolver, SsrfBlockedError, normalise_url
from t2i_assets.crawl.ledger import TRANSIENT, Status
from t2i_assets.crawl.tls import tls_context

Permit = Callable[[str], Awaitable[Verdict]]
"""Judges one hop before it is asked."""

ACCEPT_HTML = "text/html,application/xhtml+xml;q=0.9"
ACCEPT_IMAGE = "image/webp,image/png,image/jpeg,image/gif,image/*;q=0.5"

_REDIRECTS = (301, 302, 303, 307, 308)
_LIMITED_IN_A_ROW = 3


@dataclass(frozen=True)
class Validators:
    """What an earlier answer called its version; either may be missing."""

    etag: str | None = None
    last_modified: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a conditional request (RFC 9110, section 13.1)."""
        named = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in named.items() if value}


@dataclass
class Fetched:
    """What became of one URL. ``asking`` is the time spent in requests, ``seconds`` that from the first to the last."""

    url: str
    final_url: str
    status: Status = Status.OK
    detail: str | None = None
    http_status: int | None = None
    headers: CIMultiDictProxy[str] = field(default_factory=lambda: CIMultiDictProxy(CIMultiDict()))
    body: bytes = b""
    verdict: Verdict = NOT_ASKED
    attempts: int = 0
    asking: float = 0.0
    started: float = field(default_factory=time.time)
    seconds: float = 0.0

    @property
    def content_type(self) -> str | None:
        return self.headers.get("Content-Type")

    @property
    def media_type(self) -> str:
        """The Content-Type without parameters, lower case; empty where the server sent none."""
        return (self.content_type or "").partition(";")[0].strip().lower()

    def ledger_row(self, snapshot: str, kind: str, source: str, **more: Any) -> dict[str, Any]:
        """Return the ledger row; ``more`` adds or replaces fields."""
        row = {
            "snapshot": snapshot,
            "kind": kind,
            "source": source,
            "url": self.url,
            "final_url": self.final_url,
            "status": str(self.status),
            "detail": self.detail,
            "http_status": self.http_status,
            "attempts": self.attempts,
            "consent": self.verdict.rule,
            "consent_evidence": self.verdict.evidence,
            "content_type": self.content_type,
            "bytes": len(self.body),
            "etag": self.headers.get("ETag"),
            "last_modified": self.headers.get("Last-Modified"),
            "fetched_at": self.started,
            "seconds": self.seconds,
        }
        return row | more


@dataclass
class _Host:
    """What is remembered about one host and port."""

    slots: asyncio.Semaphore
    delay: float = 0.0
    next_start: float = 0.0
    limited_in_a_row: int = 0

    async def wait_turn(self) -> None:
        """Wait until the host may be asked again, and take the turn."""
        now = time.monotonic()
        start = max(now, self.next_start)
        self.next_start = start + self.delay
        if start > now:
            await asyncio.sleep(start - now)

    def pause(self, seconds: float) -> None:
        self.next_start = max(self.next_start, time.monotonic() + seconds)


class Fetcher:
    """Makes requests within the limits of a configuration. Use as an async context manager."""

    def __init__(self, config: CrawlConfig) -> None:
        self._config = config.fetch
        self._user_agent = config.user_agent
        self._guard = Guard(config.allow_loopback)
        self._slots = asyncio.Semaphore(self._config.concurrency)
        self._hosts: dict[str, _Host] = defaultdict(
            lambda: _Host(asyncio.Semaphore(self._config.per_host_concurrency)),
        )

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(self._guard),
            socket_factory=self._guard.make_socket,
            ssl=tls_context(self._config),
            limit=0,
            ttl_dns_cache=int(self._config.dns_ttl_seconds),
            keepalive_timeout=15,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": self._user_agent},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=self._config.connect_seconds),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    def set_delay(self, url: str, seconds: float) -> None:
        """Leave ``seconds`` between the starts of requests to the URL's host (Crawl-delay)."""
        self._hosts[URL(url).authority].delay = seconds

    async def fetch(
        self,
        url: str,
        accept: str,
        max_bytes: int,
        permit: Permit | None = None,
        validators: Validators | None = None,
    ) -> Fetched:
        """Fetch ``url`` and return its outcome; whatever the server does, this does not raise.

        ``permit`` judges each hop; without it (robots.txt itself) every hop is allowed.
        """
        result = Fetched(url, url)
        headers = {"Accept": accept} | (validators.headers if validators else {})
        try:
            await self._follow(result, headers, max_bytes, permit)
        except BadUrlError as error:
            result.status, result.detail = Status.BAD_URL, str(error)
        result.seconds = time.time() - result.started if result.attempts else 0.0
        if result.status != Status.OK:
            result.body = b""
        return result

    async def _follow(self, result: Fetched, headers: dict[str, str], max_bytes: int, permit: Permit | None) -> None:
        """Walk the redirects from ``result.url``, one judged hop after the other."""
        result.final_url = normalise_url(result.url)
        seen = set()
        for _ in range(self._config.redirects + 1):
            seen.add(result.final_url)
            result.verdict = await permit(result.final_url) if permit else Verdict(True, "allowed")
            if not result.verdict.allowed:
                result.status, result.detail = result.verdict.status, result.verdict.evidence
                return
            await self._hop(result, headers, max_bytes)
            if result.http_status not in _REDIRECTS:
                return
            location = result.headers.get("Location")
            if not location:
                result.status, result.detail = Status.BAD_RESPONSE, f"HTTP {result.http_status} without a Location"
                return
            result.final_url = normalise_url(location, URL(result.final_url))
            if result.final_url in seen:
                result.status, result.detail = Status.REDIRECT_LIMIT, f"redirects in a circle to {result.final_url}"
                return
        result.status = Status.REDIRECT_LIMIT
        result.detail = f"more than {self._config.redirects} redirects, the last to {result.final_url}"

    async def _hop(self, result: Fetched, headers: dict[str, str], max_bytes: int) -> None:
        """Ask one URL, again where another try may help."""
        host = self._hosts[URL(result.final_url).authority]
        jitter = random.Random(result.final_url)
        for attempt in range(self._config.retries + 1):
            result.status, result.detail, result.http_status = Status.OK, None, None
            async with host.slots, self._slots:
                await host.wait_turn()
                if not result.attempts:
                    result.started = time.time()
                result.attempts += 1
                await self._try(result, headers, max_bytes)
            limited = result.http_status in (429, 503)
            host.limited_in_a_row = host.limited_in_a_row + 1 if limited else 0
            spent = result.asking >= self._config.total_seconds
            if result.status not in TRANSIENT or attempt == self._config.retries or spent:
                return
            wait = self._config.backoff_seconds * 2**attempt * jitter.uniform(0.5, 1.5)
            if limited:
                wait = max(wait, retry_after(result.headers.get("Retry-After")) or 0.0)
            if wait > self._config.max_wait_seconds:
                result.detail = f"{result.detail}; asks for a wait of {wait:.0f} s"
                return
            if host.limited_in_a_row >= _LIMITED_IN_A_ROW:
                host.pause(wait)
            await asyncio.sleep(wait)

    async def _try(self, result: Fetched, headers: dict[str, str], max_bytes: int) -> None:
        """Make one request and write its outcome into ``result``."""
        clock = time.monotonic()
        try:
            self._guard.check_url(result.final_url)
            async with (
                asyncio.timeout(self._config.total_seconds - result.asking),
                self._session.get(
                    URL(result.final_url, encoded=True), headers=headers, allow_redirects=False
                ) as response,
            ):
                result.http_status, result.headers = response.status, response.headers
                _judge_http_status(result)
                if result.status == Status.OK and response.status not in _REDIRECTS:
                    await _read_body(result, response, max_bytes)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            result.status, result.detail = _classify(error, self._config)
        finally:
            result.asking += time.monotonic() - clock


def _judge_http_status(result: Fetched) -> None:
    code = result.http_status or 0
    if code == 200 or code in _REDIRECTS:
        return
    result.detail = f"HTTP {code}"
    if code == 304:
        result.status = Status.UNCHANGED
    elif code == 429:
        result.status = Status.RATE_LIMITED
    elif 400 <= code < 500:
        result.status = Status.HTTP_4XX
    elif 500 <= code < 600:
        result.status = Status.HTTP_5XX
    else:
        result.status = Status.HTTP_OTHER


async def _read_body(result: Fetched, response: aiohttp.ClientResponse, max_bytes: int) -> None:
    """Read the body up to the cap; content-encoding is removed chunk by chunk, so a bomb stops at the cap too."""
    if (response.content_length or 0) > max_bytes:
        result.status = Status.TOO_LARGE
        result.detail = f"Content-Length {response.content_length} is above the cap of {max_bytes} bytes"
        return
    chunks = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > max_bytes:
            result.status, result.detail = Status.TOO_LARGE, f"the body is longer than {max_bytes} bytes"
            return
        chunks.append(chunk)
    result.body = b"".join(chunks)


def _classify(error: Exception, config: Any) -> tuple[Status, str]:
    """Return the status and the words for what went wrong on the network."""
    words = str(error) or type(error).__name__
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, SsrfBlockedError):
        return Status.SSRF_BLOCKED, str(cause)
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Status.DNS, words
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return Status.TLS, words
        case TimeoutError():
            return Status.TIMEOUT, f"not done within {config.total_seconds:g} s"
        case aiohttp.ClientConnectorError():
            return Status.REFUSED, words
        case aiohttp.ClientPayloadError():
            return Status.TRUNCATED, words
        case aiohttp.ServerDisconnectedError() | OSError():
            return Status.DISCONNECTED, words
        case aiohttp.InvalidURL():
            return Status.BAD_URL, words
        case _:
            return Status.BAD_RESPONSE, f"{type(error).__name__}: {words}"


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, or None where it says nothing readable (RFC 9110)."""
    value = (value or "").strip()
    if value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
