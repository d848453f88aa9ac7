"""One URL in, one outcome out: polite, bounded in time and bytes, and never anywhere it must not go.

Redirects are followed by hand, so that robots.txt and the address guard judge every hop.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.consent.verdict import NOT_ASKED, Verdict
from t2i_assets.crawl.http.breaker import CircuitOpenError
from t2i_assets.crawl.http.guard import BadUrlError, Guard, normalise_url
from t2i_assets.crawl.http.hosts import Host, Hosts
from t2i_assets.crawl.http.response import (
    REDIRECTS,
    BadResponseError,
    BodyTooLargeError,
    classify,
    discard_body,
    judge_http_status,
    raise_if_ours,
    read_body,
    readable,
    retry_after,
)
from t2i_assets.crawl.http.session import open_session
from t2i_assets.crawl.status import TRANSIENT, Status

Permit = Callable[[str], Awaitable[Verdict]]
"""Judges one hop before it is asked."""

ACCEPT_HTML = "text/html,application/xhtml+xml;q=0.9"
ACCEPT_IMAGE = "image/webp,image/png,image/jpeg,image/gif,image/*;q=0.5"

_ALLOWED = Verdict(True, "allowed")
_NO_HEADERS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())


def _no_headers() -> CIMultiDictProxy[str]:
    return _NO_HEADERS


@dataclass(frozen=True)
class Validators:
    """What an earlier response said of its version, to ask for changes only (RFC 9110, section 13)."""

    etag: str | None = None
    last_modified: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        found = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in found.items() if value and value.isascii() and value.isprintable()}


@dataclass(slots=True)
class Fetched:
    """What became of one URL. ``asking`` is the time spent in requests, ``seconds`` that from the first to the last."""

    url: str
    final_url: str
    status: Status = Status.OK
    detail: str | None = None
    http_status: int | None = None
    headers: CIMultiDictProxy[str] = field(default_factory=_no_headers)
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


@dataclass(slots=True)
class _Order:
    """What is asked for at every hop of one URL."""

    headers: dict[str, str]
    max_bytes: int
    permit: Permit | None
    conditional: bool
    cut: bool


class Fetcher:
    """Makes requests within the limits of a configuration. Use as an async context manager."""

    def __init__(self, config: CrawlConfig) -> None:
        self._config = config.fetch
        self._user_agent = config.user_agent
        self._guard = Guard(config.allow_loopback)
        self._hosts = Hosts(self._config)

    async def __aenter__(self) -> Self:
        self._session = open_session(self._config, self._user_agent, self._guard)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    def set_delay(self, url: str, seconds: float) -> None:
        """Leave ``seconds`` between the starts of requests to the URL's host (Crawl-delay)."""
        self._hosts.of(URL(url)).set_delay(seconds)

    def room(self, url: str) -> int:
        """Return how many requests to the URL's host may be in flight now."""
        return int(self._hosts.of(URL(url)).slots.size)

    async def fetch(
        self,
        url: str,
        accept: str,
        max_bytes: int,
        permit: Permit | None = None,
        validators: Validators | None = None,
        *,
        cut: bool = False,
    ) -> Fetched:
        """Fetch ``url`` and return its outcome; whatever the server does, this does not raise.

        Raises CrawlFailedError where this process may open no more connections.

        ``permit`` judges each hop; without it (robots.txt itself) every hop is allowed. ``validators`` make the request
        conditional: what has not changed is ``unchanged``. ``cut`` keeps the first ``max_bytes`` of a longer body,
        which is ``too_large`` all the same.
        """
        result = Fetched(url, url)
        known = validators.headers if validators else {}
        order = _Order({"Accept": accept, **known}, max_bytes, permit, bool(known), cut)
        try:
            await self._follow(result, order)
        except BadUrlError as error:
            result.status, result.detail = Status.BAD_URL, str(error)
        result.seconds = time.time() - result.started if result.attempts else 0.0
        if result.status not in (Status.OK, Status.TOO_LARGE):
            result.body = b""
        return result

    async def _follow(self, result: Fetched, order: _Order) -> None:
        """Walk the redirects from ``result.url``, one judged hop after the other."""
        result.final_url = normalise_url(result.url)
        seen = set()
        for _ in range(self._config.redirects + 1):
            seen.add(result.final_url)
            result.verdict = await order.permit(result.final_url) if order.permit else _ALLOWED
            if not result.verdict.allowed:
                result.status, result.detail = result.verdict.status, result.verdict.evidence
                return
            url = URL(result.final_url, encoded=True)
            await self._hop(result, url, order)
            if result.http_status not in REDIRECTS:
                return
            location = result.headers.get("Location")
            if not location:
                result.status, result.detail = Status.BAD_RESPONSE, f"HTTP {result.http_status} without a Location"
                return
            try:
                result.final_url = normalise_url(location, url)
            except BadUrlError as error:
                raise BadUrlError(f"redirects to {location[:200]!r}: {error}") from error
            if result.final_url in seen:
                result.status, result.detail = Status.REDIRECT_LIMIT, f"redirects in a circle to {result.final_url}"
                return
        result.status = Status.REDIRECT_LIMIT
        result.detail = f"more than {self._config.redirects} redirects, the last to {result.final_url}"

    async def _hop(self, result: Fetched, url: URL, order: _Order) -> None:
        """Ask one URL, again where another try may help."""
        host = self._hosts.of(url)
        for attempt in range(self._config.retries + 1):
            try:
                probe = await host.breaker.enter()
            except CircuitOpenError as error:
                if not attempt:
                    result.status, result.detail, result.http_status = Status.CIRCUIT_OPEN, str(error), None
                return
            outcome = None
            try:
                await self._ask(result, url, order, host)
                outcome = result.status
            finally:
                host.breaker.leave(probe, outcome)
            spent = result.asking >= self._config.total_seconds
            if result.status not in TRANSIENT or attempt == self._config.retries or spent:
                return
            wait = self._wait_before(attempt, result)
            if wait > self._config.max_wait_seconds:
                asked = result.headers.get("Retry-After", "none")  # literally: seconds to a date differ by the run
                result.detail = f"{result.detail}; not waited for, Retry-After: {asked}"
                return
            host.pause(wait)
            await asyncio.sleep(wait)

    def _wait_before(self, attempt: int, result: Fetched) -> float:
        """Return the seconds to wait before the next try: doubling, with a jitter of the URL's own, or as asked for."""
        jitter = random.Random(f"{attempt} {result.final_url}").uniform(0.5, 1.5)
        wait = self._config.backoff_seconds * 2**attempt * jitter
        asked = retry_after(result.headers.get("Retry-After")) if result.http_status in (429, 503) else None
        return max(wait, asked or 0.0)

    async def _ask(self, result: Fetched, url: URL, order: _Order, host: Host) -> None:
        """Make one request when it is its turn, and let the limits learn from it."""
        async with host.slots:
            await host.wait_turn()
            async with self._hosts.slots:
                host.start()
                if not result.attempts:
                    result.started = time.time()
                result.attempts += 1
                started = time.monotonic()
                waited = await self._try(result, url, order)
                result.asking += time.monotonic() - started
            host.learn(result.status, result.http_status in (429, 503), started, waited)
        self._hosts.learn(result.status)

    async def _try(self, result: Fetched, url: URL, order: _Order) -> float | None:
        """Make one request, write its outcome into ``result`` and return the seconds until headers came, if any did."""
        result.status, result.detail, result.http_status, result.headers = Status.OK, None, None, _NO_HEADERS
        clock = time.monotonic()
        waited = None
        try:
            self._guard.check_url(url)
            async with (
                asyncio.timeout(self._config.total_seconds - result.asking),
                self._session.get(url, headers=order.headers, allow_redirects=False) as response,
            ):
                waited = time.monotonic() - clock
                result.http_status, result.headers = response.status, readable(response.headers)
                result.status, result.detail = judge_http_status(response.status, order.conditional)
                if result.status == Status.OK and response.status not in REDIRECTS:
                    result.body = await read_body(response, order.max_bytes, self._config.max_expansion, order.cut)
                else:
                    await discard_body(response)
        except BodyTooLargeError as error:
            result.status, result.detail, result.body = Status.TOO_LARGE, str(error), error.beginning
        except BadResponseError as error:
            result.status, result.detail = Status.BAD_RESPONSE, str(error)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise_if_ours(error)
            result.status, result.detail = classify(error, self._config.total_seconds)
        return waited
