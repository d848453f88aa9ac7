"""A whole archive, fetched once into a file: gigabytes pass through, none stay in memory.

The address guard, the redirect limit, the retries and the User-Agent are those of every other request; cap and deadline
are the archive's own. robots.txt is not asked: the configuration names this very file.
"""

import asyncio
import ssl
import time
from pathlib import Path

import aiohttp
from yarl import URL

from t2i_assets.crawl.config import CrawlConfig, WarcSource
from t2i_assets.crawl.consent import Verdict
from t2i_assets.crawl.fetch import Fetched
from t2i_assets.crawl.guard import BadUrlError, Guard, SsrfBlockedError, normalise_url
from t2i_assets.crawl.ledger import TRANSIENT, Status
from t2i_assets.crawl.resolver import GuardedResolver
from t2i_assets.crawl.response import retry_after
from t2i_assets.crawl.tls import tls_context

_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 1 << 20
_SILENCE_SECONDS = 60.0
_NAMED = Verdict(True, "allowed", "the configuration names this file")


async def download(url: str, source: WarcSource, config: CrawlConfig, target: Path) -> Fetched:
    """Fetch ``url`` into ``target`` and return the outcome, without a body; there is no file where it is not ``ok``."""
    result = Fetched(url, url, verdict=_NAMED)
    guard = Guard(config.allow_loopback)
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(guard, config.fetch), socket_factory=guard.make_socket, ssl=tls_context(config.fetch)
    )
    headers = {"User-Agent": config.user_agent, "Accept-Encoding": "identity"}
    limits = aiohttp.ClientTimeout(
        total=None, sock_connect=config.fetch.connect_seconds, sock_read=min(_SILENCE_SECONDS, source.max_file_seconds)
    )
    async with aiohttp.ClientSession(
        connector=connector, headers=headers, timeout=limits, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        try:
            async with asyncio.timeout(source.max_file_seconds):
                await _try_again(session, guard, result, source, config, target)
        except TimeoutError:
            result.status, result.detail = Status.TIMEOUT, f"not done within {source.max_file_seconds:g} s"
    result.seconds = time.time() - result.started
    if result.status != Status.OK:
        target.unlink(missing_ok=True)
    return result


async def _try_again(
    session: aiohttp.ClientSession,
    guard: Guard,
    result: Fetched,
    source: WarcSource,
    config: CrawlConfig,
    target: Path,
) -> None:
    for attempt in range(config.fetch.retries + 1):
        result.attempts += 1
        result.status, result.detail = Status.OK, None
        try:
            await _follow(session, guard, result, source, config, target)
        except BadUrlError as error:
            result.status, result.detail = Status.BAD_URL, str(error)
        except (aiohttp.ClientError, OSError) as error:
            result.status, result.detail = _classify(error)
        if result.status not in TRANSIENT or attempt == config.fetch.retries:
            return
        wait = max(config.fetch.backoff_seconds * 2**attempt, retry_after(result.headers.get("Retry-After")) or 0.0)
        await asyncio.sleep(min(wait, config.fetch.max_wait_seconds))


async def _follow(
    session: aiohttp.ClientSession,
    guard: Guard,
    result: Fetched,
    source: WarcSource,
    config: CrawlConfig,
    target: Path,
) -> None:
    """Walk the redirects, each hop past the guard, to the file."""
    result.final_url = normalise_url(result.url)
    for _ in range(config.fetch.redirects + 1):
        guard.check_url(result.final_url)
        async with session.get(URL(result.final_url, encoded=True), allow_redirects=False) as response:
            result.http_status, result.headers = response.status, response.headers
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                await _save(response, result, source.max_file_bytes, target)
                return
            result.final_url = normalise_url(location, URL(result.final_url))
    result.status, result.detail = Status.REDIRECT_LIMIT, f"more than {config.fetch.redirects} redirects"


async def _save(response: aiohttp.ClientResponse, result: Fetched, max_bytes: int, target: Path) -> None:
    if response.status != 200:
        result.detail = f"HTTP {response.status}"
        families = {4: Status.HTTP_4XX, 5: Status.HTTP_5XX}
        result.status = families.get(response.status // 100, Status.HTTP_OTHER)
        result.status = Status.RATE_LIMITED if response.status == 429 else result.status
        return
    size = 0
    with target.open("wb") as file:
        async for chunk in response.content.iter_chunked(_CHUNK):
            size += len(chunk)
            if size > max_bytes:
                result.status, result.detail = Status.TOO_LARGE, f"the file is longer than {max_bytes} bytes"
                return
            file.write(chunk)


def _classify(error: Exception) -> tuple[Status, str]:
    words = str(error) or type(error).__name__
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    match cause:
        case SsrfBlockedError():
            return Status.SSRF_BLOCKED, words
        case TimeoutError():
            return Status.TIMEOUT, words
        case aiohttp.ClientPayloadError():
            return Status.TRUNCATED, words
        case ConnectionRefusedError():
            return Status.REFUSED, words
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return Status.TLS, words
        case _:
            return Status.DISCONNECTED, words
