"""Which addresses may be asked: the guard against server-side request forgery (SSRF).

Three checks on every hop, redirects included: the URL's form, the addresses its name resolves to, and the address of
the socket itself at the moment it is made. The last one leaves no gap between check and use (DNS rebinding).
"""

import ipaddress
import socket
from functools import lru_cache
from typing import Any
from urllib.parse import urljoin

from yarl import URL

from t2i_assets.crawl.http.addresses import is_public, is_sealed, parse_ipv4

BAD_PORTS = frozenset(
    {
        0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
        109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526,
        530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045,
        4190, 5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    }
)  # fmt: skip
"""Ports of other protocols: browsers refuse them too (WHATWG Fetch, section 2.9), and Redis in addition."""

_NO_CONTROLS = dict.fromkeys(range(32))
_LONGEST_NAME = 253
_LONGEST_LABEL = 63


class SsrfBlockedError(OSError):
    """The address is private, loopback, link-local, multicast or otherwise not of the public internet."""


class BadUrlError(ValueError):
    """The URL is not one that a crawler asks for; the message says why."""


def normalise_url(url: str, base: URL | None = None) -> str:
    """Return the absolute URL: percent-encoded, host in lower case, without fragment and default port.

    A host that is an IPv4 address in disguise (``2130706433``, ``0177.0.0.1``, ``127.1``) is written as what it is.
    Raises BadUrlError on another scheme than http and https, on credentials, on ports of other protocols, and on what
    cannot be parsed.
    """
    text = url.strip().translate(_NO_CONTROLS)
    try:
        # not URL.join, which decodes the base: %20, %2F and %C3%A4 would be asked for as what they stand for
        parsed = URL(urljoin(str(base), text) if base else text).with_fragment(None)
        if parsed.scheme not in ("http", "https"):
            raise BadUrlError(f"scheme {parsed.scheme or 'none'!r} is not http or https")
        if not parsed.raw_host or parsed.port == 0:
            raise BadUrlError("the URL names no host or no port")
        if parsed.user is not None or parsed.password is not None:
            raise BadUrlError("the URL carries credentials")
        if parsed.port in BAD_PORTS:
            raise BadUrlError(f"port {parsed.port} belongs to another protocol")
        host = _judged_host(parsed.raw_host)
        if host != parsed.raw_host:
            parsed = parsed.with_host(host)
        if parsed.path == "/":  # yarl shows an empty path as a slash but does not write it
            parsed = parsed.with_path("/", keep_query=True)
        return str(parsed)
    except BadUrlError:
        raise
    except ValueError as error:
        raise BadUrlError(f"the URL cannot be parsed: {error}") from error


@lru_cache(4096)
def _judged_host(host: str) -> str:
    """Return the host, an IPv4 address in its usual form. Raises BadUrlError on what is no host name (WHATWG URL)."""
    if ":" in host:
        return host
    if "%" in host or any(character <= " " for character in host):
        raise BadUrlError(f"{host!r} is not a host name")
    name = host.removesuffix(".")
    labels = name.split(".")
    if len(name) > _LONGEST_NAME or not all(0 < len(label) <= _LONGEST_LABEL for label in labels):
        raise BadUrlError(f"{host[:80]!r} is not a host name: a part of it is empty or too long")
    if labels[-1].isdecimal() or labels[-1].lower().startswith("0x"):
        try:
            return parse_ipv4(labels)
        except ValueError as error:
            raise BadUrlError(f"{host!r} is not an IPv4 address: {error}") from error
    return host


class Guard:
    """Knows the host:port pairs that may be private, and checks everything else."""

    def __init__(self, allow_loopback: list[str]) -> None:
        self._allowed = frozenset(authority.lower() for authority in allow_loopback)
        self._checked: set[tuple[str, int]] = set()

    def allows(self, host: str, port: int) -> bool:
        """Return whether this host and port may be a private address."""
        name = f"[{host}]" if ":" in host else host
        return f"{name.lower()}:{port}" in self._allowed

    def check_url(self, url: str | URL) -> None:
        """Raise SsrfBlockedError where the URL's host is an IP literal that must not be asked."""
        parsed = URL(url)
        host, port = parsed.raw_host or "", parsed.port or 0
        if _is_ip(host):
            self.check_address(host, port, host)

    def check_address(self, host: str, port: int, address: str) -> None:
        """Raise SsrfBlockedError where ``address`` must not be asked for ``host``.

        No configuration opens link-local, multicast and metadata addresses.
        """
        if is_public(address):
            return
        if is_sealed(address) or not self.allows(host, port):
            where = "" if host == address else f"{host} resolves to {address}, which "
            raise SsrfBlockedError(f"{where or f'{host} '}is not a public address")
        self._checked.add((address, port))

    def make_socket(self, info: Any) -> socket.socket:
        """Make the socket for one connection (aiohttp's socket factory); the last check before it is used.

        Raises SsrfBlockedError.
        """
        family, kind, protocol, _, address = info
        host, port = address[0], address[1]
        if (host, port) not in self._checked:
            self.check_address(host, port, host)
        return socket.socket(family, kind, protocol)


@lru_cache(4096)
def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
