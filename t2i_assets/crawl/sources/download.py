"""A whole archive, fetched once into a file: gigabytes pass through, none stay in memory.

The address guard, the redirect limit, the retries and the User-Agent are those of every other request; cap and deadline
are the archive's own. robots.txt is not asked: the configuration names this very file.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from t2i_assets.crawl.config import CrawlConfig, WarcSource
from t2i_assets.crawl.consent.verdict import Verdict
from t2i_assets.crawl.http.fetch import Fetched
from t2i_assets.crawl.http.guard import BadUrlError, Guard, normalise_url
from t2i_assets.crawl.http.resolver import GuardedResolver
from t2i_assets.crawl.http.response import REDIRECTS, classify, judge_http_status, readable, retry_after
from t2i_assets.crawl.http.tls import tls_context
from t2i_assets.crawl.status import TRANSIENT, Status

_CHUNK = 1 << 20
_SILENCE_SECONDS = 60.0
_NAMED = Verdict(True, "allowed", "the configuration names this file")


async def download(url: str, source: WarcSource, config: CrawlConfig, target: Path) -> Fetched:
    """Fetch ``url`` into ``target`` and return the outcome, without a body; there is no file where it is not ``ok``."""
    result = Fetched(url, url, verdict=_NAMED)
    guard = Guard(config.allow_loopback)
    silence = min(_SILENCE_SECONDS, source.max_file_seconds)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=GuardedResolver(guard, config.fetch),
            socket_factory=guard.make_socket,
            ssl=tls_context(config.fetch),
            use_dns_cache=False,  # the resolver has its own
        ),
        headers={"User-Agent": config.user_agent, "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.fetch.connect_seconds, sock_read=silence),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    ) as session:
        try:
            async with asyncio.timeout(source.max_file_seconds):
                await _Download(session, guard, source, config, target, result).run()
        except TimeoutError:
            result.status, result.detail = Status.TIMEOUT, f"not done within {source.max_file_seconds:g} s"
    result.seconds = time.time() - result.started
    if result.status != Status.OK:
        target.unlink(missing_ok=True)
    return result


@dataclass
class _Download:
    session: aiohttp.ClientSession
    guard: Guard
    source: WarcSource
    config: CrawlConfig
    target: Path
    result: Fetched

    async def run(self) -> None:
        """Try until the file is there, or another try would not help."""
        result, fetch = self.result, self.config.fetch
        for attempt in range(fetch.retries + 1):
            result.attempts += 1
            result.status, result.detail, result.http_status = Status.OK, None, None
            try:
                await self._follow()
            except BadUrlError as error:
                result.status, result.detail = Status.BAD_URL, str(error)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                result.status, result.detail = classify(error, self.source.max_file_seconds)
            if result.status not in TRANSIENT or attempt == fetch.retries:
                return
            wait = max(fetch.backoff_seconds * 2**attempt, retry_after(result.headers.get("Retry-After")) or 0.0)
            await asyncio.sleep(min(wait, fetch.max_wait_seconds))

    async def _follow(self) -> None:
        """Walk the redirects, each hop past the guard, to the file."""
        result = self.result
        result.final_url = normalise_url(result.url)
        for _ in range(self.config.fetch.redirects + 1):
            url = URL(result.final_url, encoded=True)
            self.guard.check_url(url)
            async with self.session.get(url, allow_redirects=False) as response:
                result.http_status, result.headers = response.status, readable(response.headers)
                result.status, result.detail = judge_http_status(response.status, conditional=False)
                if response.status not in REDIRECTS:
                    if result.status == Status.OK:
                        await self._save(response)
                    return
            location = result.headers.get("Location")
            if location is None:
                result.status, result.detail = Status.BAD_RESPONSE, f"HTTP {response.status} without a Location"
                return
            result.final_url = normalise_url(location, url)
        result.status = Status.REDIRECT_LIMIT
        result.detail = f"more than {self.config.fetch.redirects} redirects, the last to {result.final_url}"

    async def _save(self, response: aiohttp.ClientResponse) -> None:
        size = 0
        with self.target.open("wb") as file:
            async for chunk in response.content.iter_chunked(_CHUNK):
                size += len(chunk)
                if size > self.source.max_file_bytes:
                    self.result.status = Status.TOO_LARGE
                    self.result.detail = f"the file is longer than {self.source.max_file_bytes} bytes"
                    return
                file.write(chunk)
