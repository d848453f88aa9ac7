"""The site as an aiohttp application: what the responder answers, put on the wire, faults included."""

import asyncio

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
        body = answer.body * 1000
        for start in range(0, int(config.drip_seconds / DRIP_PAUSE) * DRIP_BYTES, DRIP_BYTES):
            await response.write(body[start : start + DRIP_BYTES])
            await asyncio.sleep(DRIP_PAUSE)
    if request.transport is not None:
        request.transport.close()
    return response
