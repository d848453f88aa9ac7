"""A web server on loopback that answers as it is told, byte by byte, and remembers what it was asked."""

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import Image


@dataclass
class Answer:
    """One response: ``length`` lies about Content-Length, ``drip`` writes byte by byte, ``raw`` is sent as it is."""

    body: bytes = b""
    type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    length: int | None = None
    drip: float = 0.0
    raw: bytes | None = None


def page(body: str, head: str = "", **more: object) -> Answer:
    return Answer(f"<!doctype html><html><head>{head}</head><body>{body}</body></html>".encode(), **more)  # type: ignore[arg-type]


def picture(seed: int = 0, size: tuple[int, int] = (96, 80), format: str = "PNG", **save: object) -> bytes:
    """Return a smooth random picture: seeds differ to the eye, the same seed is the same picture."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(file, format, **save)
    return file.getvalue()


def image(seed: int = 0, **more: object) -> Answer:
    return Answer(picture(seed), "image/png", **more)  # type: ignore[arg-type]


@dataclass
class Site:
    """Routes by path; a route is an answer or a function of (times asked before, request headers)."""

    routes: dict[str, "Answer | Callable[[int, dict[str, str]], Answer]"] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    authority: str = ""
    connections: int = 0

    def url(self, path: str = "/") -> str:
        return f"http://{self.authority}{path}"

    def count(self, path: str) -> int:
        return self.asked.count(path)


@contextmanager
def serving(**routes: Answer) -> Iterator[Site]:
    """Serve on a free port in a thread of its own until the block ends."""
    site = Site({**routes})
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(lambda r, w: _connection(site, r, w), "127.0.0.1", 0))
    site.authority = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def _connection(site: Site, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    site.connections += 1
    try:
        while request := await reader.readuntil(b"\r\n\r\n"):
            lines = request.decode().split("\r\n")
            path = lines[0].split(" ")[1]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            route = site.routes.get(path, Answer(b"nothing here", status=404))
            answer = route(site.count(path), headers) if callable(route) else route
            site.asked.append(path)
            site.times.append(time.monotonic())
            site.requests.append(headers)
            if not await _send(answer, writer):
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    except asyncio.CancelledError:
        pass
    finally:
        writer.close()


async def _send(answer: Answer, writer: asyncio.StreamWriter) -> bool:
    """Send an answer; return whether the connection can be used again."""
    await asyncio.sleep(answer.delay)
    if answer.raw is not None:
        writer.write(answer.raw)
        await writer.drain()
        return False
    length = len(answer.body) if answer.length is None else answer.length
    headers = [("Content-Type", answer.type), ("Content-Length", str(length)), *answer.headers]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers if value)
    writer.write(f"HTTP/1.1 {answer.status} X\r\n{head}\r\n".encode())
    if answer.drip:
        for byte in answer.body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(answer.drip)
    else:
        writer.write(answer.body)
    await writer.drain()
    return length == len(answer.body)
