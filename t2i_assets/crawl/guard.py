"""Which addresses may be asked: the guard against server-side request forgery (SSRF).

Three checks on every hop, redirects included: the URL's form, the addresses its name resolves to, and the address of
the socket itself at the moment it is made. The last one leaves no gap between check and use (DNS rebinding).
"""

import asyncio
import ipaddress
import socket
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class SsrfBlockedError(OSError):
    """The address is private, loopback, link-local, multicast or otherwise not of the public internet."""


class BadUrlError(ValueError):
    """The URL is not one that a crawler asks for; the message says why."""


def normalise_url(url: str, base: URL | None = None) -> str:
    """Return the absolute URL: percent-encoded, host in lower case, without fragment and default port.

    Raises BadUrlError on another scheme than http and https, on credentials, and on what cannot be parsed.
    """
    text = "".join(character for character in url.strip() if character >= " ")
    try:
        parsed = (base.join(URL(text)) if base else URL(text)).with_fragment(None)
        if parsed.scheme not in ("http", "https"):
            raise BadUrlError(f"scheme {parsed.scheme or 'none'!r} is not http or https")
        if not parsed.host or parsed.port == 0:
            raise BadUrlError("the URL names no host or no port")
        if parsed.user is not None or parsed.password is not None:
            raise BadUrlError("the URL carries credentials")
        if parsed.path == "/":  # yarl shows an empty path as a slash but does not write it
            parsed = parsed.with_path("/", keep_query=True)
        return str(parsed)
    except BadUrlError:
        raise
    except ValueError as error:
        raise BadUrlError(f"the URL cannot be parsed: {error}") from error


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet; embedded IPv4 addresses are looked through."""
    ip: Any = ipaddress.ip_address(address.partition("%")[0])
    if ip.version == 6:
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None and not is_public(str(inner)):
            return False
    return bool(ip.is_global) and not ip.is_multicast


class Guard:
    """Knows the host:port pairs that may be private, and checks everything else."""

    def __init__(self, allow_loopback: list[str]) -> None:
        self._allowed = frozenset(authority.lower() for authority in allow_loopback)
        self._allowed_ports = frozenset(URL(f"http://{authority}").port for authority in self._allowed)

    def allows(self, host: str, port: int) -> bool:
        """Return whether this host and port may be a private address."""
        name = f"[{host}]" if ":" in host else host
        return f"{name.lower()}:{port}" in self._allowed

    def check_url(self, url: str) -> None:
        """Raise SsrfBlockedError where the URL's host is an IP literal that must not be asked."""
        parsed = URL(url)
        host, port = parsed.host or "", parsed.port or 0
        if _is_ip(host) and not is_public(host) and not self.allows(host, port):
            raise SsrfBlockedError(f"{host} is not a public address")

    def make_socket(self, info: Any) -> socket.socket:
        """Make the socket for one connection (aiohttp's socket factory); the last check before it is used.

        Raises SsrfBlockedError.
        """
        family, kind, protocol, _, address = info
        if not is_public(address[0]) and address[1] not in self._allowed_ports:
            raise SsrfBlockedError(f"{address[0]} is not a public address")
        return socket.socket(family, kind, protocol)


class GuardedResolver(AbstractResolver):
    """Resolves names in a thread and lets only permitted addresses through."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``. Raises SsrfBlockedError where one of them is not permitted."""
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        for _, _, _, _, address in infos:
            if not is_public(str(address[0])) and not self._guard.allows(host, port):
                raise SsrfBlockedError(f"{host} resolves to {address[0]}, which is not a public address")
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=found_family, proto=protocol, flags=numeric
            )
            for found_family, _, protocol, _, address in infos
        ]

    async def close(self) -> None:
        """Nothing is kept open."""


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
