"""The connections of a crawl: one pool, kept alive, guarded, with one TLS context and no cookies."""

import resource

import aiohttp

from t2i_assets.crawl.config import FetchConfig
from t2i_assets.crawl.http.guard import Guard
from t2i_assets.crawl.http.resolver import GuardedResolver
from t2i_assets.crawl.http.tls import tls_context

_KEEP_ALIVE_SECONDS = 15
_OPEN_FILES = 65_536


def open_session(config: FetchConfig, user_agent: str, guard: Guard) -> aiohttp.ClientSession:
    """Return a session that connects only where ``guard`` lets it; the caller closes it.

    It follows no proxy of the environment, and its limits on headers hold before a response is seen.
    """
    _open_as_many_files_as_allowed()
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(guard, config),
        socket_factory=guard.make_socket,
        ssl=tls_context(config),
        limit=0,
        use_dns_cache=False,  # the resolver has its own
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
    )
    return aiohttp.ClientSession(
        connector=connector,
        headers={"User-Agent": user_agent},
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.connect_seconds),
        trust_env=False,
        max_line_size=config.max_header_bytes,
        max_field_size=config.max_header_bytes,
        max_headers=config.max_headers,
    )


def _open_as_many_files_as_allowed() -> None:
    """Raise the soft limit: thousands of hosts leave thousands of idle connections, and many shells allow 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
