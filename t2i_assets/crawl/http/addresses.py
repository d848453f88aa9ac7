"""IP addresses: which are of the public internet, and in which clothes the others come.

The ranges are those of the IANA special-purpose registries (RFC 6890), the multicast blocks, and the addresses at which
clouds answer with credentials.
"""

import ipaddress
from functools import lru_cache

IPv4 = ipaddress.IPv4Address
IPv6 = ipaddress.IPv6Address

_SEALED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",  # this network, link-local, multicast, reserved
        "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128",  # metadata of clouds
        "::/128", "fe80::/10", "ff00::/8",  # unspecified, link-local, multicast
    )
)  # fmt: skip
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24",
        "::1/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32", "2620:4f:8000::/48",
        "3fff::/20", "5f00::/16", "fc00::/7", "fec0::/10",
    )
)  # fmt: skip
_UNICAST = ipaddress.IPv6Network("2000::/3")
_EMBEDDED_LAST = tuple(ipaddress.IPv6Network(network) for network in ("::/96", "::ffff:0:0/96", "64:ff9b::/96"))


@lru_cache(4096)
def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet; embedded IPv4 addresses are looked through."""
    return all(
        not _in(ip, _SEALED) and not _in(ip, _NOT_PUBLIC) and (ip.version == 4 or ip in _UNICAST)
        for ip in _forms(address)
    )


@lru_cache(4096)
def is_sealed(address: str) -> bool:
    """Return whether nobody may allow this address: link-local, multicast, reserved, or metadata of a cloud."""
    return any(_in(ip, _SEALED) for ip in _forms(address))


def parse_ipv4(parts: list[str]) -> str:
    """Return the dotted form of an IPv4 address of one to four numbers, decimal, octal or hexadecimal (WHATWG URL).

    Raises ValueError.
    """
    if len(parts) > 4:
        raise ValueError("more than four numbers")
    *first, last = (_number(part) for part in parts)
    if any(number > 255 for number in first) or last >= 256 ** (5 - len(parts)):
        raise ValueError("a number is too large")
    return str(IPv4(last + sum(number << 8 * (3 - place) for place, number in enumerate(first))))


def _number(part: str) -> int:
    if not part.isascii():
        raise ValueError(f"{part!r} is not a number")
    if part[:2].lower() == "0x":
        return int(part[2:] or "0", 16)
    return int(part, 8) if part.startswith("0") and len(part) > 1 else int(part)


def _forms(address: str) -> list[IPv4 | IPv6]:
    """Return the address and every IPv4 address that it wraps (mapped, compatible, NAT64, 6to4, Teredo)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, IPv4):
        return [ip]
    found: list[IPv4 | IPv6] = [ip]
    if any(ip in network for network in _EMBEDDED_LAST) and int(ip) > 1:
        found = [IPv4(int(ip) & 0xFFFFFFFF)]
    if ip.sixtofour is not None:
        found.append(ip.sixtofour)
    if ip.teredo is not None:
        found += ip.teredo
    return found


def _in(ip: IPv4 | IPv6, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]) -> bool:
    return any(ip.version == network.version and ip in network for network in networks)
