"""The page as an aiohttp application that answers this machine alone.

A page of another site can make a browser send requests here, so what changes something needs the token that only our
page holds, and every request must name this host: a foreign name that resolves to loopback is refused.
"""

import json
import secrets
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, cast

from aiohttp import web

from t2i_assets.corpus.thumbnails import media_type
from t2i_assets.voting.ballots import Ballot, Side
from t2i_assets.voting.box import CHOICES, BallotBox, Choice

TOKEN = "X-Vote-Token"
LOCAL = ("127.0.0.1", "localhost")
LARGEST_VOTE = 4096
"""Bytes of a vote's body."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(ballots: list[Ballot], box: BallotBox, question: str) -> web.Application:
    """Return the page that asks ``question`` of each ballot that has no vote yet."""
    booth = Booth(ballots, box, question)
    app = web.Application(middlewares=[_local_only], client_max_size=LARGEST_VOTE)
    app.router.add_get("/", booth.page)
    app.router.add_get("/ballot", booth.ballot)
    app.router.add_get("/picture/{ballot}/{side:left|right}", booth.picture)
    app.router.add_post("/vote", booth.vote)
    app.router.add_post("/skip", booth.skip)
    return app


class Booth:
    """What the page shows and takes."""

    def __init__(self, ballots: list[Ballot], box: BallotBox, question: str) -> None:
        self._ballots = {ballot.name: ballot for ballot in ballots}
        self._box, self._question = box, question
        self._token = secrets.token_urlsafe()
        self._shown: dict[str, float] = {}
        self._skipped: set[str] = set()

    async def page(self, _: web.Request) -> web.Response:
        """Return the page; its own style and script are the only ones that run in it."""
        nonce = secrets.token_urlsafe()
        text = files("t2i_assets.voting").joinpath("page.html").read_text()
        for name, value in (("token", self._token), ("nonce", nonce)):
            text = text.replace("{{ " + name + " }}", value)
        policy = f"script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data:; connect-src 'self'"
        headers = {"Content-Security-Policy": f"default-src 'none'; {policy}; frame-ancestors 'none'"}
        return web.Response(text=text, content_type="text/html", headers={**headers, "Cache-Control": "no-store"})

    async def ballot(self, _: web.Request) -> web.Response:
        """Return the next ballot that was neither voted on nor skipped since the start; null where there is none."""
        done = self._box.names() & self._ballots.keys()
        passed = done | self._skipped
        ballot = next((ballot for name, ballot in self._ballots.items() if name not in passed), None)
        counts = {"done": len(done), "of": len(self._ballots), "skipped": len(passed) - len(done)}
        told = {**counts, "question": self._question}
        if ballot is None:
            return web.json_response({**told, "ballot": None})
        self._shown.setdefault(ballot.name, time.monotonic())
        return web.json_response({**told, "ballot": ballot.name, "prompt": ballot.prompt["prompt"]})

    async def picture(self, request: web.Request) -> web.Response:
        """Return one side's picture."""
        ballot = self._known(request.match_info["ballot"])
        side = cast(Side, request.match_info["side"])
        picture = ballot.left if side == "left" else ballot.right
        data = picture.read()
        return web.Response(body=data, content_type=media_type(data), headers={"Cache-Control": "no-store"})

    async def vote(self, request: web.Request) -> web.Response:
        """Keep a vote and say whether it was the first on its ballot."""
        told = await self._told(request)
        choice = told.get("choice")
        if choice not in CHOICES:
            raise web.HTTPBadRequest(text=f"a choice is one of {', '.join(CHOICES)}")
        ballot = self._known(told.get("ballot"))
        shown = self._shown.get(ballot.name)
        seconds = None if shown is None else time.monotonic() - shown
        return web.json_response({"counted": self._box.put(ballot, self._question, cast(Choice, choice), seconds)})

    async def skip(self, request: web.Request) -> web.Response:
        """Pass over a ballot, until the page is served anew: a picture that does not load holds up no other."""
        ballot = self._known((await self._told(request)).get("ballot"))
        self._skipped.add(ballot.name)
        return web.json_response({"skipped": True})

    async def _told(self, request: web.Request) -> dict[str, Any]:
        """Return what the page tells: a JSON object, whatever charset its header claims."""
        if not secrets.compare_digest(request.headers.get(TOKEN, "").encode(), self._token.encode()):
            raise web.HTTPForbidden(text="this does not come from this page")
        try:
            told = json.loads(await request.read())
        except (ValueError, RecursionError) as error:
            raise web.HTTPBadRequest(text="the body is no JSON") from error
        if not isinstance(told, dict):
            raise web.HTTPBadRequest(text="the body is no JSON object")
        return told

    def _known(self, name: object) -> Ballot:
        if not isinstance(name, str) or name not in self._ballots:
            raise web.HTTPNotFound(text="there is no such ballot")
        return self._ballots[name]


@web.middleware
async def _local_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what names another host, or comes from a page of another origin."""
    origin = request.headers.get("Origin", f"http://{request.host}")
    if request.host.split(":")[0] not in LOCAL or origin != f"http://{request.host}":
        raise web.HTTPForbidden(text="this page answers its own machine alone")
    return await handler(request)


async def serve(app: web.Application, port: int, ready: Callable[[str], None]) -> web.AppRunner:
    """Serve on loopback; port 0 takes a free one. ``ready`` gets the address. The caller cleans the runner up."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    ready(f"http://127.0.0.1:{runner.addresses[0][1]}/")
    return runner
