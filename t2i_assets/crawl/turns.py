"""Whose turn it is: URLs handed out host by host, so that a slow host keeps nobody waiting but itself."""

import asyncio
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator

_AHEAD = 10_000


class Turns:
    """Hands out URLs, of one host at most ``room(url)`` at a time; reads 10,000 URLs ahead to find other hosts.

    ``room`` is asked anew each time: a host that wants a delay, or bears less than was thought, gets fewer.
    """

    def __init__(self, urls: Iterator[str], room: Callable[[str], int]) -> None:
        self._urls = urls
        self._room = room
        self._waiting: dict[str, deque[str]] = {}
        self._ready: OrderedDict[str, None] = OrderedDict()
        self._busy: defaultdict[str, int] = defaultdict(int)
        self._ahead = 0
        self._exhausted = False
        self._changed = asyncio.Event()

    async def take(self) -> str | None:
        """Return the next URL whose host has room, or None when all are handed out; ``give_back`` its turn later."""
        while True:
            url = self._next()
            if url is not None:
                return url
            if self._exhausted and not self._ahead:
                self._changed.set()
                return None
            self._changed.clear()
            await self._changed.wait()

    def give_back(self, url: str) -> None:
        """Say that the host of ``url`` is no longer busy with it."""
        host = host_of(url)
        self._busy[host] -= 1
        if not self._busy[host]:
            del self._busy[host]
        if host in self._waiting:
            self._ready[host] = None
        self._changed.set()

    def _next(self) -> str | None:
        while True:
            while self._ready:
                host, _ = self._ready.popitem(last=False)
                if self._busy[host] < self._room(self._waiting[host][0]):
                    return self._hand_out(host)
            if self._exhausted or self._ahead >= _AHEAD:
                return None
            url = next(self._urls, None)
            if url is None:
                self._exhausted = True
                return None
            host = host_of(url)
            self._waiting.setdefault(host, deque()).append(url)
            self._ahead += 1
            self._ready[host] = None

    def _hand_out(self, host: str) -> str:
        waiting = self._waiting[host]
        url = waiting.popleft()
        self._ahead -= 1
        self._busy[host] += 1
        if waiting:
            self._ready[host] = None  # behind the others
        else:
            del self._waiting[host]
        return url


def host_of(url: str) -> str:
    """Return host and port as they stand in the URL; empty for a file."""
    return url.split("/", 3)[2] if url.count("/") > 1 else ""
