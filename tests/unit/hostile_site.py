"""A web server on loopback with one port per disease, so that each is a host of its own."""

import asyncio
import gzip
import itertools
import socket
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from tests.unit.crawl_site import picture

Write = Callable[[bytes], Awaitable[None]]
Disease = Callable[[Write, str], Awaitable[None]]

_HTML = b"Content-Type: text/html; charset=utf-8\r\n"
_PNG = b"Content-Type: image/png\r\n"


def answer(body: bytes = b"", headers: bytes = _HTML, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, headers, len(body), body)


def sends(data: bytes) -> Disease:
    async def disease(write: Write, path: str) -> None:
        await write(data)

    return disease


class Reset(Exception):
    """The connection is to be broken off, not closed."""


def resets_after(data: bytes) -> Disease:
    async def disease(write: Write, path: str) -> None:
        await write(data)
        raise Reset

    return disease


def never_ends(head: bytes, piece: bytes, pause: float = 0.0) -> Disease:
    async def disease(write: Write, path: str) -> None:
        await write(head)
        while True:
            await write(piece)
            await asyncio.sleep(pause)

    return disease


async def redirects_on_and_on(write: Write, path: str) -> None:
    number = int(path.rpartition("/")[2] or 0)
    more = b"Location: /%d\r\n" % (number + 1)
    await write(answer(headers=more, status=b"302 Found") if number < 10_000 else answer(b"the end"))


async def redirects_in_a_circle(write: Write, path: str) -> None:
    await write(answer(headers=b"Location: %s\r\n" % (b"/a" if path == "/b" else b"/b"), status=b"302 Found"))


def redirects_to(place: bytes) -> Disease:
    return sends(answer(headers=b"Location: %s\r\n" % place, status=b"302 Found"))


def png_bomb() -> bytes:
    """60,000 x 60,000 pixels of nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(7501)) for _ in range(60_000)) + packer.flush()
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_bomb() -> bytes:
    """A small photo whose frame header claims 60,000 x 60,000 pixels."""
    data = bytearray(picture(format="JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


_CHUNKED = b"HTTP/1.1 200 OK\r\n" + _HTML + b"Transfer-Encoding: chunked\r\n\r\n"
_MANY_HEADERS = b"".join(b"X-%d: x\r\n" % number for number in range(100_000))

PAGES: dict[str, tuple[Disease, str]] = {
    "slow headers": (never_ends(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.05), "timeout bad_response"),
    "slow body": (never_ends(b"HTTP/1.1 200 OK\r\n" + _HTML + b"Content-Length: 9999\r\n\r\n", b"x", 0.05), "timeout"),
    "silence": (never_ends(b"", b"", 0.5), "timeout"),
    "endless interim answers": (never_ends(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.01), "timeout"),
    "endless body": (never_ends(_CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"), "too_large timeout"),
    "endless trailers": (never_ends(_CHUNKED + b"1\r\nx\r\n0\r\n", b"X-T: trailer\r\n" * 99), "bad_response truncated"),
    "endless chunk extension": (never_ends(_CHUNKED + b"1;", b"x" * 65536), "timeout bad_response truncated"),
    "gzip bomb": (
        sends(answer(gzip.compress(bytes(100 << 20)), _HTML + b"Content-Encoding: gzip\r\n")), "too_large",
    ),
    "50 MB of HTML": (sends(answer(b"<p>a paragraph" * 3_600_000)), "too_large"),
    "50 MB of HTML in chunks": (
        sends(_CHUNKED + (b"10000\r\n" + b"<p>para " * 8192 + b"\r\n") * 800 + b"0\r\n\r\n"), "too_large",
    ),
    "broken gzip": (sends(answer(b"this is no gzip", _HTML + b"Content-Encoding: gzip\r\n")), "bad_response"),
    "unknown encoding": (sends(answer(b"x", _HTML + b"Content-Encoding: rot13\r\n")), "bad_response"),
    "two encodings": (sends(answer(b"x", _HTML + b"Content-Encoding: gzip, gzip\r\n")), "bad_response"),
    "10,000 redirects": (redirects_on_and_on, "redirect_limit"),
    "redirects in a circle": (redirects_in_a_circle, "redirect_limit"),
    "malformed headers": (sends(b"HTTP/1.1 200 OK\r\nno colon here\r\n: empty\r\n\r\nhello"), "bad_response"),
    "two lengths": (sends(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "bad_response"),
    "a negative length": (sends(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab"), "bad_response"),
    "a status of words": (sends(b"HTTP/1.1 fine thanks\r\n\r\n"), "bad_response"),
    "100,000 header lines": (sends(b"HTTP/1.1 200 OK\r\n" + _MANY_HEADERS + b"\r\nhello"), "bad_response"),
    "a header of 1 MB": (sends(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\nhello"), "bad_response"),
    "HTTP/0.9": (sends(b"<html><a href=/x>an answer without headers</a></html>"), "bad_response disconnected"),
    "binary garbage": (sends(bytes(range(256)) * 40), "bad_response"),
    "reset in the headers": (resets_after(b"HTTP/1.1 200 OK\r\nContent-"), "disconnected"),
    "reset in the body": (resets_after(answer(b"hello")[:-3]), "truncated"),
    "reset at once": (resets_after(b""), "disconnected"),
    "304 unasked": (sends(answer(status=b"304 Not Modified")), "bad_response"),
    "a type of bytes": (sends(answer(b"x", b"Content-Type: text/\xff\xfe\xe9\r\n")), "wrong_content_type"),
    "a picture for a page": (sends(answer(picture(), _PNG)), "wrong_content_type"),
    "headers of bytes": (sends(answer(b"hello", _HTML + b"ETag: \"\xff\xe9\"\r\nX-Robots-Tag: \xff\r\n")), "ok"),
    "invalid UTF-8": (sends(answer(b"<img src=/x.svg alt='\xff\xfe\x80\xc3('>\xed\xa0\x80\xf5" * 99)), "ok"),
    "a lie about the charset": (sends(answer(b"caf\xc3\xa9", b"Content-Type: text/html; charset=utf-99\r\n")), "ok"),
    "200,000 levels": (sends(answer(b"<div>" * 200_000 + b"<img src=/x.svg alt='a deep cat'>")), "ok"),
    "200,000 attributes": (
        sends(answer(b"<p " + b" ".join(b"a%d=b" % number for number in range(200_000)) + b">x")), "ok page_unreadable",
    ),
}  # fmt: skip

IMAGES: dict[str, tuple[Disease, str]] = {
    "a PNG bomb": (sends(answer(png_bomb(), _PNG)), "bomb"),
    "a JPEG bomb": (sends(answer(jpeg_bomb(), b"Content-Type: image/jpeg\r\n")), "bomb"),
    "a page for a picture": (sends(answer(b"<html>" * 99)), "wrong_content_type"),
    "a page called a picture": (sends(answer(b"<html>" * 99, _PNG)), "decode_failed"),
    "half a picture": (sends(answer(picture()[:-400], _PNG)), "decode_failed"),
    "metadata service": (redirects_to(b"http://169.254.169.254/latest/meta-data/"), "ssrf_blocked"),
    "metadata service in decimal": (redirects_to(b"http://2852039166/latest/meta-data/"), "ssrf_blocked"),
    "metadata service in IPv6": (redirects_to(b"http://[::ffff:169.254.169.254]/"), "ssrf_blocked"),
    "this machine in octal": (redirects_to(b"http://0177.0.0.1/"), "ssrf_blocked"),
    "this machine by name": (redirects_to(b"http://localhost:8080/"), "ssrf_blocked"),
    "a file": (redirects_to(b"file:///etc/passwd"), "bad_url"),
    "credentials": (redirects_to(b"http://user:word@127.0.0.1/"), "bad_url"),
    "the mail port": (redirects_to(b"http://127.0.0.1:25/"), "bad_url"),
    "nowhere": (redirects_to(b"http://[::1"), "bad_url"),
    "an address of bytes": (redirects_to(b"/caf\xe9/\xff"), "redirect_limit"),
    "an endless picture": (
        never_ends(b"HTTP/1.1 200 OK\r\n" + _PNG + b"\r\n", picture() + b"x" * 65536), "too_large timeout",
    ),
    "a picture and a good one": (sends(answer(picture(7), _PNG)), "ok"),
}  # fmt: skip


class HostileSite:
    """``urls`` by disease, and how often each port was asked."""

    def __init__(self) -> None:
        self.urls: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.index = b""

    async def listen(self) -> list[asyncio.Server]:
        servers = []
        for name, (disease, _) in itertools.chain(PAGES.items(), IMAGES.items(), [("index", (self._index, "ok"))]):
            server = await asyncio.start_server(self._handler(name, disease), "127.0.0.1", 0)
            self.urls[name] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            servers.append(server)
        return servers

    async def _index(self, write: Write, path: str) -> None:
        await write(answer(self.index))

    def _handler(
        self, name: str, disease: Disease
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async def write(data: bytes) -> None:
                writer.write(data)
                await writer.drain()

            try:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
                if path in ("/robots.txt", "/.well-known/tdmrep.json"):
                    await write(answer(status=b"404 Not Found"))
                else:
                    self.asked[name] += 1
                    await disease(write, path)
            except Reset:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        return handle


@contextmanager
def hostile_site() -> Iterator[HostileSite]:
    """Serve every disease in a thread of its own until the block ends."""
    site = HostileSite()
    loop = asyncio.new_event_loop()
    servers = loop.run_until_complete(site.listen())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        for server in servers:
            loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()
