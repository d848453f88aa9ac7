"""The site as an aiohttp application: what the responder answers, put on the wire, faults included."""

import asyncio
import contextlib
import itertools

import cv2
from aiohttp import web

from t2i_assets.synthweb.answers import Answer, Responder, Wire
from t2i_assets.synthweb.config import SiteConfig
from t2i_assets.synthweb.site import build_site

DRIP_BYTES, DRIP_PAUSE = 16, 0.25


def application(config: SiteConfig) -> web.Application:
    """Return the site as an aiohttp application."""
    cv2.setNumThreads(1)
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
        with contextlib.suppress(ConnectionResetError):  # the client had enough, as it should
            await _drip(response, answer.body, config.drip_seconds)
    if request.transport is not None:
        request.transport.close()
    return response


async def _drip(response: web.StreamResponse, body: bytes, seconds: float) -> None:
    """Write a few bytes at a time; a real server of this kind would never stop."""
    endless = itertools.cycle(body)
    for _ in range(int(seconds / DRIP_PAUSE)):
        await response.write(bytes(itertools.islice(endless, DRIP_BYTES)))
        await asyncio.sleep(DRIP_PAUSE)
