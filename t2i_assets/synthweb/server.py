"""The site over real HTTP, on loopback."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
from aiohttp import web

from t2i_assets.synthweb.answers import Answer, Responder, Wire
from t2i_assets.synthweb.config import SiteConfig
from t2i_assets.synthweb.site import build_site

DRIP_BYTES, DRIP_PAUSE = 16, 0.25
READY = "serving "


def serve(config: SiteConfig, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve the site until interrupted; port 0 takes a free one. Prints the address once it answers."""
    cv2.setNumThreads(1)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(config, host, port))


@contextlib.contextmanager
def running(config: SiteConfig, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve the site from a process of its own and yield its base URL, without a slash at the end.

    The process ends with the block, and with this process however that ends: it stops when its standard input closes.
    Raises RuntimeError where it does not come up.
    """
    command = [sys.executable, "-m", "t2i_assets.synthweb.server", config.model_dump_json(), host]
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith(READY):
            raise RuntimeError(f"the embedded web site did not start: its process ended with {process.wait()}")
        yield line.removeprefix(READY).strip()
    finally:
        process.stdin.close()
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


async def _serve(config: SiteConfig, host: str, port: int) -> None:
    runner = web.AppRunner(application(config), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    print(f"{READY}http://{host}:{runner.addresses[0][1]}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def application(config: SiteConfig) -> web.Application:
    """Return the site as an aiohttp application."""
    responder = Responder(build_site(config))

    async def handle(request: web.Request) -> web.StreamResponse:
        url = request.rel_url
        origin = f"{request.scheme}://{request.host}"
        answer = responder.answer(url.path, url.query_string, request.headers, origin)
        return await _send(request, answer, config)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    return app


async def _send(request: web.Request, answer: Answer, config: SiteConfig) -> web.StreamResponse:
    if answer.wire is Wire.SLOW:
        await asyncio.sleep(config.slow_seconds)
    if answer.wire in (Wire.FINE, Wire.SLOW) or request.method == "HEAD":
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    if answer.wire is Wire.TRUNCATED:
        response.content_length = len(answer.body)
        await response.prepare(request)
        await response.write(answer.body[: len(answer.body) // 2])
    else:
        await response.prepare(request)
        body = answer.body * 1000
        for start in range(0, int(config.drip_seconds / DRIP_PAUSE) * DRIP_BYTES, DRIP_BYTES):
            await response.write(body[start : start + DRIP_BYTES])
            await asyncio.sleep(DRIP_PAUSE)
    if request.transport is not None:
        request.transport.close()
    return response


def _end_with_parent() -> None:
    """End this process when its standard input closes, as it does when the parent is gone, however it went."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    serve(SiteConfig.model_validate_json(sys.argv[1]), sys.argv[2], 0)
