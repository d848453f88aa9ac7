"""A circuit breaker: a host that only fails is left alone for a while, then tried with one request (Nygard 2007)."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from t2i_assets.crawl.status import Status

HOST_FAILURES = frozenset(
    {Status.TIMEOUT, Status.REFUSED, Status.DISCONNECTED, Status.TLS, Status.DNS, Status.HTTP_5XX}
)
"""Outcomes that speak of the host, not of the URL."""

_PROBES_WAITED_FOR = 3
_NEVER = -1.0


class CircuitOpenError(RuntimeError):
    """The host is left alone; the message names the failures."""


class CircuitBreaker:
    """Opens after ``failures`` in a row; after ``cool_down`` seconds one request probes whether the host is back.

    Each probe in vain doubles the cool-down, up to ``longest`` seconds.
    """

    def __init__(
        self, failures: int, cool_down: float, longest: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures = failures
        self._cool_down = cool_down
        self._longest = longest
        self._clock = clock
        self._seen: Counter[Status] = Counter()
        self._open_until = _NEVER
        self._probes_in_vain = 0
        self._probe: asyncio.Future[None] | None = None

    def closed(self) -> bool:
        """Return whether requests are let in."""
        return self._open_until == _NEVER

    async def enter(self) -> bool:
        """Return whether this request is the probe, as soon as it may be made; ``leave`` must follow.

        While the circuit is open, waits for the next probe, of the first three; so no URL waits without end.
        Raises CircuitOpenError where that probe failed, and at once after three in vain.
        """
        if self.closed():
            return False
        if self._probe is None:
            wait = self._open_until - self._clock()
            if wait > 0 and self._probes_in_vain >= _PROBES_WAITED_FOR:
                raise CircuitOpenError(self._words())
            await asyncio.sleep(max(0.0, wait))
            if self.closed():
                return False
            if self._probe is None:
                if self._clock() < self._open_until:  # another has probed in vain meanwhile
                    raise CircuitOpenError(self._words())
                self._probe = asyncio.get_running_loop().create_future()
                return True
        await asyncio.wait([self._probe])
        if self.closed():
            return False
        raise CircuitOpenError(self._words())

    def leave(self, probe: bool, status: Status | None) -> None:
        """Take in the outcome of a request that was let in; None says that there is none."""
        if status is None:
            if probe:
                self._end_probe()
        elif status not in HOST_FAILURES:
            if self._seen:
                self._seen.clear()
            self._open_until = _NEVER
            self._probes_in_vain = 0
            self._end_probe()
        elif probe:
            self._seen[status] += 1
            self._probes_in_vain += 1
            self._open()
            self._end_probe()
        elif self.closed():
            self._seen[status] += 1
            if self._seen.total() >= self._failures:
                self._open()

    def _open(self) -> None:
        self._open_until = self._clock() + min(self._longest, self._cool_down * 2**self._probes_in_vain)

    def _end_probe(self) -> None:
        if self._probe is not None and not self._probe.done():
            self._probe.set_result(None)
        self._probe = None

    def _words(self) -> str:
        kinds = ", ".join(f"{status} {count}" for status, count in sorted(self._seen.items()))
        return f"not asked: the host failed {self._seen.total()} times in a row ({kinds})"
