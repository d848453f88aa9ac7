"""The web site of the benchmark: answers every path from memory, over HTTP and HTTPS, cheaply.

``/00012.jpg`` is a photo. ``/00012.jpg?n=7`` is the same photo with a comment segment that holds the query, so that it
is another file. ``/server-figures`` tells what the server did. Prints its ports once it listens.
"""

import asyncio
import json
import resource
import socket
import ssl
import sys
from pathlib import Path

FIGURES = "/server-figures"


class PhotoServer(asyncio.Protocol):
    """One connection: requests are answered in turn, keep-alive unless the client says close."""

    requests = 0
    connections = 0

    def __init__(self, photos: dict[bytes, bytes]) -> None:
        self._photos = photos
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        PhotoServer.connections += 1
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head, self._received = self._received[:end].lower(), self._received[end + 4 :]
            PhotoServer.requests += 1
            self._answer(head.split(b" ", 2)[1], b"connection: close" in head)

    def _answer(self, target: bytes, close: bool) -> None:
        path, _, query = target.partition(b"?")
        photo = self._photos.get(path)
        if photo is None:
            status, kind, body = (b"404 Not Found", b"text/plain", [b"nothing here\n"])
            if path == FIGURES.encode():
                status, kind, body = b"200 OK", b"application/json", [json.dumps(_figures()).encode()]
        elif query:
            comment = b"\xff\xfe" + (len(query) + 2).to_bytes(2, "big") + query
            status, kind, body = b"200 OK", b"image/jpeg", [photo[:2], comment, photo[2:]]
        else:
            status, kind, body = b"200 OK", b"image/jpeg", [photo]
        length = sum(map(len, body))
        ending = b"close" if close else b"keep-alive"
        head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: %b\r\n\r\n"
        self._transport.writelines([head % (status, kind, length, ending), *body])
        if close:
            self._transport.close()


def _figures() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "requests": PhotoServer.requests,
        "connections": PhotoServer.connections,
        "cpu_s": used.ru_utime + used.ru_stime,
    }


async def serve(directory: Path, certificate: Path) -> None:
    """Serve the photos of ``directory`` for ever; ``certificate`` is a PEM file with its key."""
    photos = {f"/{path.name}".encode(): path.read_bytes() for path in sorted(directory.glob("*.jpg"))}
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: PhotoServer(photos), "127.0.0.1", 0, backlog=1024, ssl=tls)
        for tls in (None, context)
    ]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    print(json.dumps(dict(zip(("http", "https"), ports, strict=True))), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
