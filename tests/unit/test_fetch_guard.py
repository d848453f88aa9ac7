"""Addresses in every disguise, and names that lead where they must not."""

import asyncio
import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from t2i_assets.crawl.config import FetchConfig
from t2i_assets.crawl.http.addresses import is_public, is_sealed
from t2i_assets.crawl.http.guard import BAD_PORTS, BadUrlError, Guard, SsrfBlockedError, normalise_url
from t2i_assets.crawl.http.resolver import GuardedResolver

PUBLIC = "93.184.216.34"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("2130706433", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("0x7F000001", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("\uff11\uff12\uff17.0.0.1", "127.0.0.1"),
        ("127\u30020\u30020\u30021", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("0x", "0.0.0.0"),
        ("1.2.3.0x", "1.2.3.0"),
        ("3627734734", "216.58.214.206"),
    ],
)
def test_an_address_in_disguise_is_written_as_what_it_is(host: str, address: str) -> None:
    assert normalise_url(f"http://{host}/x") == f"http://{address}/x"
    if not is_public(address):
        with pytest.raises(SsrfBlockedError):
            Guard([]).check_url(normalise_url(f"http://{host}/x"))


@settings(deadline=None, max_examples=100)
@given(st.ip_addresses(v=4), st.sampled_from(["{}", "{:#x}", "0{:o}"]))
def test_one_number_is_the_address_of_four(address: ipaddress.IPv4Address, form: str) -> None:
    assert normalise_url(f"http://{form.format(int(address))}/") == f"http://{address}/"


@pytest.mark.parametrize(
    "host",
    [
        "256.0.0.1", "1.2.3.4.5", "0x1ffffffff", "0xg", "09.1.1.1", "a.1", "%31%32%37.0.0.1", "a..b", "a" * 64,
        "a." * 127 + "b", "a b",
    ],
)  # fmt: skip
def test_what_is_neither_name_nor_address_is_refused(host: str) -> None:
    with pytest.raises(BadUrlError):
        normalise_url(f"http://{host}/")


@pytest.mark.parametrize("port", [22, 25, 6379, 6667, 10080])
def test_ports_of_other_protocols_are_refused(port: int) -> None:
    with pytest.raises(BadUrlError, match="another protocol"):
        normalise_url(f"http://site.test:{port}/")


def test_ports_of_the_web_are_not() -> None:
    assert not {80, 443, 8000, 8080, 8443, 3000, 5000} & BAD_PORTS


@pytest.mark.parametrize(
    "address",
    [
        "::127.0.0.1", "::ffff:0:0", "fec0::1", "2001:0:4136:e378:8000:63bf:80ff:fffe", "2002:a9fe:a9fe::", "5f00::1",
        "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "4000::1", "192.0.0.192", "192.88.99.1", "168.63.129.16", "100.127.0.1",
        "198.18.0.1", "240.0.0.1", "fd00:ec2::254",
    ],
)  # fmt: skip
def test_what_is_not_of_the_internet_is_known_in_all_its_wrappings(address: str) -> None:
    assert not is_public(address)


@settings(deadline=None, max_examples=200)
@given(st.ip_addresses())
def test_nothing_that_the_standard_library_calls_private_is_public(address: Any) -> None:
    reserved = address.version == 4 and address.is_reserved  # of IPv6 that includes what only wraps an IPv4 address
    assert not (is_public(str(address)) and (address.is_private or address.is_multicast or reserved))


def test_no_configuration_opens_metadata_services() -> None:
    guard = Guard(["169.254.169.254:80", "inside.test:80", "10.0.0.1:80"])
    guard.check_url("http://10.0.0.1/")
    for host, address in (("169.254.169.254", "169.254.169.254"), ("inside.test", "100.100.100.200")):
        assert is_sealed(address)
        with pytest.raises(SsrfBlockedError):
            guard.check_address(host, 80, address)


# Names


def resolve(
    monkeypatch: pytest.MonkeyPatch,
    names: dict[str, Any],
    work: Callable[[GuardedResolver], Any],
    allowed: tuple[str, ...] = (),
    clock: Callable[[], float] = time.monotonic,
    **fetch: Any,
) -> tuple[Any, list[str]]:
    """Run ``work`` with a resolver whose names are these; return its result and the names that were looked up."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int | None, **_: Any) -> list[Any]:
        asked.append(host)
        found = names[host]
        found = found() if callable(found) else found
        if isinstance(found, Exception):
            raise found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def run() -> Any:
        resolver = GuardedResolver(Guard(list(allowed)), FetchConfig(**fetch), clock)
        try:
            return await work(resolver)
        finally:
            await resolver.close()

    return asyncio.run(run()), asked


async def outcome(resolver: GuardedResolver, host: str, port: int = 80) -> str:
    try:
        return " ".join(entry["host"] for entry in await resolver.resolve(host, port))
    except OSError as error:
        return type(error).__name__


def test_one_private_address_among_many_blocks_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"mixed.test": [PUBLIC, "10.0.0.1"], "fine.test": [PUBLIC, "1.1.1.1"]}

    async def work(resolver: GuardedResolver) -> list[str]:
        return [await outcome(resolver, name) for name in names]

    assert resolve(monkeypatch, names, work)[0] == ["SsrfBlockedError", f"{PUBLIC} 1.1.1.1"]


def test_what_is_remembered_for_an_allowed_port_is_not_allowed_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(resolver: GuardedResolver) -> list[str]:
        return [
            await outcome(resolver, name, port) for name, port in (("a.test", 8080), ("a.test", 80), ("b.test", 8080))
        ]

    names = {"a.test": ["127.0.0.1"], "b.test": ["127.0.0.1"]}
    found, asked = resolve(monkeypatch, names, work, allowed=("a.test:8080",))
    assert found == ["127.0.0.1", "SsrfBlockedError", "SsrfBlockedError"]
    assert asked == ["a.test", "b.test"]


def test_a_name_is_looked_up_once_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    missing = socket.gaierror(socket.EAI_NONAME, "no such name")

    async def work(resolver: GuardedResolver) -> list[str]:
        together = await asyncio.gather(*(outcome(resolver, "a.test") for _ in range(20)))
        assert set(together) == {PUBLIC}
        found = []
        for moment in (0, 25, 35, 299, 301):
            now[0] = moment
            found += [await outcome(resolver, "a.test"), await outcome(resolver, "gone.test")]
        return found

    found, asked = resolve(monkeypatch, {"a.test": [PUBLIC], "gone.test": missing}, work, clock=lambda: now[0])
    assert found == [PUBLIC, "gaierror"] * 5
    assert (asked.count("a.test"), asked.count("gone.test")) == (2, 3)


def test_a_failure_that_passes_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    later = iter([socket.gaierror(socket.EAI_AGAIN, "try again"), socket.gaierror(socket.EAI_AGAIN, "again"), [PUBLIC]])
    dead = socket.gaierror(socket.EAI_AGAIN, "try again")

    async def work(resolver: GuardedResolver) -> list[str]:
        return [await outcome(resolver, name) for name in ("late.test", "dead.test", "dead.test")]

    found, asked = resolve(monkeypatch, {"late.test": lambda: next(later), "dead.test": dead}, work)
    assert found == [PUBLIC, "gaierror", "gaierror"]
    assert (asked.count("late.test"), asked.count("dead.test")) == (3, 6)


def test_few_lookups_go_on_at_once_and_a_slow_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = [0], [0], threading.Lock()

    def slow() -> list[str]:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.05)
        with lock:
            running[0] -= 1
        return [PUBLIC]

    names = {f"{number}.test": slow for number in range(12)} | {"stuck.test": lambda: time.sleep(0.6) or [PUBLIC]}

    async def work(resolver: GuardedResolver) -> list[str]:
        return await asyncio.gather(*(outcome(resolver, name) for name in names))

    found, _ = resolve(monkeypatch, names, work, dns_lookups=3, dns_seconds=0.5)
    assert found == [PUBLIC] * 12 + ["gaierror"]
    assert most[0] == 3


def test_the_memory_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(resolver: GuardedResolver) -> None:
        for _ in range(2):
            for number in range(5):
                await outcome(resolver, f"{number}.test")

    names = {f"{number}.test": [PUBLIC] for number in range(5)}
    assert len(resolve(monkeypatch, names, work, dns_cache_size=4)[1]) == 10
    assert len(resolve(monkeypatch, names, work, dns_cache_size=5)[1]) == 5


@pytest.mark.parametrize(
    ("base", "address", "url"),
    [
        ("https://site.test/%C3%A4/page", "a.jpg", "https://site.test/%C3%A4/a.jpg"),
        ("https://site.test/%EF%BF%BD/page", "a.jpg", "https://site.test/%EF%BF%BD/a.jpg"),
        ("https://site.test/a%20b/%2F/page", "../c d.jpg", "https://site.test/a%20b/c%20d.jpg"),
        ("https://site.test/a/page?x=1", "?y=2", "https://site.test/a/page?y=2"),
        ("https://site.test", "a.jpg", "https://site.test/a.jpg"),
    ],
)
def test_what_the_base_has_encoded_stays_encoded(base: str, address: str, url: str) -> None:
    assert normalise_url(address, URL(base)) == url
