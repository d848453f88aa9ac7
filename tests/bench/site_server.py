"""The embedded site in good health, every answer made beforehand: a server that is not what is measured.

Nothing is slow, cut off or refused for a while; what is missing, closed, forbidden or broken stays so.
"""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace

import cv2
from aiohttp import web

from t2i_assets.synthweb.answers import Answer, Responder, Wire
from t2i_assets.synthweb.config import SiteConfig
from t2i_assets.synthweb.site import Site, build_site


class HealthyResponder(Responder):
    """Answers at once and the same each time."""

    def __init__(self, site: Site) -> None:
        super().__init__(site, cached_pictures=0)
        self._made: dict[tuple[str, str, str], Answer] = {}

    def answer(self, path: str, query: str, headers: Mapping[str, str], origin: str) -> Answer:
        """Return the response to GET ``path?query``, from memory where it was asked before."""
        asked = (path, query, origin)
        if asked not in self._made:
            made = super().answer(path, query, {}, origin)
            self._made[asked] = replace(made, wire=Wire.FINE)
        return self._made[asked]

    def _refusal(self, disease: str, path: str) -> Answer | None:
        return super()._refusal(disease, path) if disease == "not_found" else None


async def _serve(config: SiteConfig) -> None:
    cv2.setNumThreads(1)
    site = build_site(config)
    responder = HealthyResponder(site)

    async def handle(request: web.Request) -> web.Response:
        url = request.rel_url
        answer = responder.answer(url.path, url.query_string, request.headers, f"http://{request.host}")
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    for path in [*site.pictures, *site.pages_by_path, *site.listings(), "/"]:
        responder.answer(path, "", {}, origin)
    print(origin, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(SiteConfig.model_validate_json(sys.argv[1])))
