"""Names to addresses: few lookups at once, each name asked for once, and no address that the guard forbids."""

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aiohttp.abc import AbstractResolver, ResolveResult

from t2i_assets.crawl.config import FetchConfig
from t2i_assets.crawl.http.guard import Guard

_PAUSES = (0.2, 0.4)
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

Addresses = tuple[tuple[socket.AddressFamily, str], ...]


@dataclass(frozen=True)
class _Known:
    """What a lookup gave, until when (monotonic) it counts."""

    until: float
    addresses: Addresses = ()
    error: OSError | None = None


class GuardedResolver(AbstractResolver):
    """Resolves names in threads of its own and remembers them. Addresses are numbers from here on.

    The guard judges every use, not every lookup: what is remembered for an allowed port is not thereby allowed for
    another.
    """

    def __init__(self, guard: Guard, config: FetchConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._guard = guard
        self._config = config
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Task[_Known]] = {}
        self._threads = ThreadPoolExecutor(config.dns_lookups, "dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``.

        Raises SsrfBlockedError where one of them is not permitted, socket.gaierror where the name has none or no
        answer came in time.
        """
        known = self._known.get(host)
        if known is None or known.until <= self._clock():
            known = await self._share(host)
        if known.error is not None:
            raise socket.gaierror(*known.error.args)
        found = [pair for pair in known.addresses if family in (socket.AF_UNSPEC, pair[0])]
        for _, address in found:
            self._guard.check_address(host, port, address)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=its_family, proto=0, flags=_NUMERIC)
            for its_family, address in found
        ]

    async def _share(self, host: str) -> _Known:
        """Wait for the lookup of a name that somebody else may have begun; it goes on for others if we give up."""
        task = self._asking.get(host)
        if task is None:
            task = self._asking[host] = asyncio.create_task(self._look_up(host))
            task.add_done_callback(lambda _: self._asking.pop(host, None))
        try:
            return await asyncio.wait_for(asyncio.shield(task), self._config.dns_seconds)
        except TimeoutError:
            raise socket.gaierror(
                socket.EAI_AGAIN, f"no answer to the name within {self._config.dns_seconds:g} s"
            ) from None

    async def _look_up(self, host: str) -> _Known:
        try:
            infos = await self._ask(host)
        except UnicodeError as error:
            known = _Known(self._clock() + self._config.dns_ttl_seconds, error=_no_name(error))
        except OSError as error:
            passing = error.errno == socket.EAI_AGAIN
            known = _Known(self._clock() + (0.0 if passing else self._config.dns_failure_seconds), error=error)
        else:
            known = _Known(self._clock() + self._config.dns_ttl_seconds, infos)
        self._known[host] = known
        self._known.move_to_end(host)
        if len(self._known) > self._config.dns_cache_size:
            self._known.popitem(last=False)
        return known

    async def _ask(self, host: str) -> Addresses:
        """Ask the system; again where it says that it failed for now only."""
        loop = asyncio.get_running_loop()
        for pause in _PAUSES:
            try:
                return await loop.run_in_executor(self._threads, _getaddrinfo, host)
            except socket.gaierror as error:
                if error.errno != socket.EAI_AGAIN:
                    raise
            await asyncio.sleep(pause)
        return await loop.run_in_executor(self._threads, _getaddrinfo, host)

    async def close(self) -> None:
        """Give up on the lookups that are still out."""
        for task in self._asking.values():
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _getaddrinfo(host: str) -> Addresses:
    infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in infos))


def _no_name(error: UnicodeError) -> OSError:
    return socket.gaierror(socket.EAI_NONAME, f"not a name that DNS can hold: {error}")
