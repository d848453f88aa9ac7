"""One request after the other against real servers: TLS, conditional requests, encodings, limits, circuits."""

import asyncio
import gzip
import socket
import ssl
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from t2i_assets.crawl.config import CrawlConfig, FetchConfig, FolderSource
from t2i_assets.crawl.http.fetch import Fetched, Fetcher, Validators
from t2i_assets.crawl.status import Status
from tests.unit.crawl_site import Answer, Site, serving


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as one:
        yield one


def configure(*authorities: str, **fetch: Any) -> CrawlConfig:
    settings = {"retries": 0, "backoff_seconds": 0.01, "total_seconds": 5} | fetch
    return CrawlConfig(
        sources=[FolderSource(name="none", path="/nowhere")],
        allow_loopback=list(authorities),
        fetch=FetchConfig.model_validate(settings),
    )


def fetch(config: CrawlConfig, *urls: str, max_bytes: int = 10**6, **more: Any) -> list[Fetched]:
    """Fetch one after the other."""

    async def work() -> list[Fetched]:
        async with Fetcher(config) as fetcher:
            return [await fetcher.fetch(url, "*/*", max_bytes, **more) for url in urls]

    return asyncio.run(work())


def fetch_one(site: Site, answer: Any, max_bytes: int = 10**6, validators: Validators | None = None) -> Fetched:
    site.routes["/x"] = answer
    (fetched,) = fetch(configure(site.authority), site.url("/x"), max_bytes=max_bytes, validators=validators)
    return fetched


# TLS


@contextmanager
def serving_tls(authority: trustme.CA, name: str, location: str | None = None) -> Iterator[str]:
    """Serve "hello", or a redirect, on loopback with a certificate for ``name``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(302 if location else 200)
            self.send_header("Content-Length", "5")
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("trusted", "name", "status"),
    [(True, "127.0.0.1", Status.OK), (False, "127.0.0.1", Status.TLS), (True, "other.test", Status.TLS)],
    ids=["trusted", "unknown authority", "another name"],
)
def test_certificates_are_checked(tmp_path: Path, trusted: bool, name: str, status: Status) -> None:
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    with serving_tls(authority, name) as address:
        config = configure(address, ca_file=str(bundle) if trusted else None)
        (fetched,) = fetch(config, f"https://{address}/")
    assert fetched.status == status, fetched.detail
    assert fetched.body == (b"hello" if status == Status.OK else b"")


def test_what_speaks_no_tls_is_named_so() -> None:
    def speak() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"220 mail.test ESMTP\r\n")
            connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=speak, daemon=True).start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        (fetched,) = fetch(configure(address), f"https://{address}/")
    assert fetched.status == Status.TLS, fetched.detail


def test_a_handshake_that_never_comes_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        (fetched,) = fetch(configure(address, connect_seconds=0.3), f"https://{address}/")
    assert (fetched.status, fetched.detail) == (Status.TIMEOUT, f"Connection timeout to host https://{address}/")
    assert fetched.seconds < 3


def test_a_redirect_from_https_to_http_is_followed_and_shows(site: Site, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    site.routes["/x"] = Answer(b"plain")
    with serving_tls(authority, "127.0.0.1", location=site.url("/x")) as address:
        config = configure(address, site.authority, ca_file=str(tmp_path / "ca.pem"))
        (fetched,) = fetch(config, f"https://{address}/")
    assert (fetched.body, fetched.url, fetched.final_url) == (b"plain", f"https://{address}/", site.url("/x"))


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_bundle_that_cannot_be_read_stops_the_run(tmp_path: Path, text: str | None) -> None:
    bundle = tmp_path / "ca.pem"
    if text:
        bundle.write_text(text)
    with pytest.raises(OSError, match=r"fetch.ca_file .*ca.pem"):
        fetch(configure(ca_file=str(bundle)), "http://a.test/")


# Conditional requests


def test_what_has_not_changed_is_not_sent_again(site: Site) -> None:
    def answer(asked: int, headers: dict[str, str]) -> Answer:
        same = headers.get("if-none-match") == '"v1"' and headers.get("if-modified-since") == "yesterday"
        return Answer(status=304) if same else Answer(b"hello")

    assert fetch_one(site, answer, validators=Validators('"v1"', "yesterday")).status == Status.UNCHANGED
    assert fetch_one(site, answer, validators=Validators('"v2"', "yesterday")).body == b"hello"
    assert fetch_one(site, answer, validators=Validators()).body == b"hello"


def test_validators_that_are_no_header_values_are_not_sent(site: Site) -> None:
    fetch_one(site, Answer(b"hello"), validators=Validators('"\xe9"', "a\r\nX-Injected: b"))
    assert not {"if-none-match", "if-modified-since", "x-injected"} & set(site.requests[-1])


def test_a_304_that_nobody_asked_for_is_no_answer(site: Site) -> None:
    assert fetch_one(site, Answer(status=304)).status == Status.BAD_RESPONSE


# Bodies


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0)),
        ("deflate", zlib.compress(b"hello")),
        ("deflate", zlib.compress(b"hello", wbits=-15)),
        ("identity", b"hello"),
    ],
)
def test_encodings_are_undone(site: Site, encoding: str, body: bytes) -> None:
    assert fetch_one(site, Answer(body, headers=(("Content-Encoding", encoding),))).body == b"hello"


def test_brotli_is_undone_where_it_is_installed_and_bounded(site: Site) -> None:
    brotli = pytest.importorskip("brotli")
    packed = (("Content-Encoding", "br"),)
    assert fetch_one(site, Answer(brotli.compress(b"hello"), headers=packed)).body == b"hello"
    bomb = fetch_one(site, Answer(brotli.compress(bytes(64 << 20)), headers=packed), max_bytes=10 << 20)
    assert bomb.status == Status.TOO_LARGE


def test_a_body_that_grows_beyond_measure_is_a_bomb_within_the_cap(site: Site) -> None:
    bomb = Answer(gzip.compress(bytes(4 << 20)), headers=(("Content-Encoding", "gzip"),))
    fetched = fetch_one(site, bomb, max_bytes=10 << 20)
    assert (fetched.status, fetched.detail) == (
        Status.TOO_LARGE, "the body grows more than 200 times when gzip is undone",
    )  # fmt: skip


@pytest.mark.parametrize(("cut", "body"), [(True, b"hello"), (False, b"")])
@pytest.mark.parametrize("length", [None, 0])
def test_the_beginning_of_a_long_body_is_kept_where_asked(
    site: Site, cut: bool, body: bytes, length: int | None
) -> None:
    raw = b"HTTP/1.1 200 OK\r\n\r\nhello world"
    site.routes["/x"] = Answer(b"hello world") if length is None else Answer(raw=raw)
    (fetched,) = fetch(configure(site.authority), site.url("/x"), max_bytes=5, cut=cut)
    assert (fetched.status, fetched.body) == (Status.TOO_LARGE, body)


@pytest.mark.parametrize("asked", ["86400", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_plea_to_wait_too_long_is_recorded_as_it_was_made(site: Site, asked: str) -> None:
    site.routes["/x"] = Answer(status=503, headers=(("Retry-After", asked),))
    (fetched,) = fetch(configure(site.authority, retries=2), site.url("/x"))
    assert (fetched.status, fetched.attempts) == (Status.HTTP_5XX, 1)
    assert fetched.detail == f"HTTP 503; not waited for, Retry-After: {asked}"


# Connections


def test_a_connection_serves_many_requests_even_after_a_404(site: Site) -> None:
    site.routes["/x"] = Answer(b"hello")
    urls = [site.url("/x"), site.url("/gone"), site.url("/x")] * 5
    assert [fetched.http_status for fetched in fetch(configure(site.authority), *urls)] == [200, 404, 200] * 5
    assert site.connections == 1


@pytest.mark.parametrize(
    ("location", "path"),
    [("/caf\u00e9?q=\u00e9".encode(), "/caf%C3%A9?q=%C3%A9"), (b"/caf\xe9", "/caf%E9")],
)
def test_a_location_of_any_bytes_is_followed(site: Site, location: bytes, path: str) -> None:
    site.routes["/a"] = Answer(raw=b"HTTP/1.1 302 X\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
    site.routes[path] = Answer(b"hello")
    (fetched,) = fetch(configure(site.authority), site.url("/a"))
    assert (fetched.body, fetched.final_url) == (b"hello", site.url(path))


OPEN_TOO_MANY = """
import asyncio, resource, sys
from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.http.fetch import Fetcher

resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
config = CrawlConfig.model_validate_json(sys.argv[1])

async def work():
    async with Fetcher(config) as fetcher:
        await asyncio.gather(*(fetcher.fetch(f"{sys.argv[2]}{number}", "*/*", 9) for number in range(32)))

asyncio.run(work())
"""


def test_a_machine_that_can_open_no_connection_stops_the_run(site: Site) -> None:
    site.routes |= {f"/{number}": Answer(b"hello", delay=0.5) for number in range(32)}
    config = configure(site.authority, per_host_concurrency=32)
    command = [sys.executable, "-c", OPEN_TOO_MANY, config.model_dump_json(), site.url("/")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "CrawlFailedError: no connection can be opened any more (Too many open files)" in done.stderr


# Circuits


def test_a_host_that_only_fails_is_left_alone_and_tried_again(site: Site) -> None:
    site.routes |= {f"/{number}": Answer(status=500) for number in range(4)} | {"/fine": Answer(b"hello")}
    config = configure(site.authority, breaker_failures=3, breaker_seconds=0.2)
    first = [site.url(f"/{number}") for number in range(4)]
    outcomes = fetch(config, *first, site.url("/fine"), site.url("/fine"))
    assert [fetched.status for fetched in outcomes] == [Status.HTTP_5XX] * 4 + [Status.OK] * 2
    assert site.times[3] - site.times[2] > 0.19  # the cool-down before the first probe
    assert site.times[4] - site.times[3] > 0.39  # twice as long after a probe in vain


def test_a_dead_host_costs_no_more_than_three_waits(site: Site) -> None:
    for number in range(200):
        site.routes[f"/{number}"] = Answer(status=500)
    config = configure(site.authority, breaker_failures=3, breaker_seconds=0.05)
    outcomes = fetch(config, *[site.url(f"/{number}") for number in range(200)])
    statuses = [fetched.status for fetched in outcomes]
    assert statuses == [Status.HTTP_5XX] * 6 + [Status.CIRCUIT_OPEN] * 194
    assert outcomes[-1].detail == "not asked: the host failed 6 times in a row (http_5xx 6)"
    assert outcomes[-1].attempts == 0
    assert len(site.asked) == 6
