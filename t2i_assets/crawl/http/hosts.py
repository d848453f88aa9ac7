"""What is remembered of each host and port: its pace, how much it bears, and whether it answers at all."""

import asyncio
import time

from yarl import URL

from t2i_assets.crawl.config import FetchConfig
from t2i_assets.crawl.http.breaker import CircuitBreaker
from t2i_assets.crawl.http.limit import AdaptiveLimit
from t2i_assets.crawl.status import Status

_REMEMBERED = 10_000
_LIMITED_IN_A_ROW = 3
_OVERLOAD = frozenset({Status.TIMEOUT, Status.RATE_LIMITED})
_NO_WAY_OUT = frozenset({Status.TIMEOUT, Status.DNS})
_USUAL_WEIGHT, _RECENT_WEIGHT = 0.01, 0.2
_SLOWER_BY_SECONDS = 0.5


class Host:
    """One host and port. At most ``slots`` requests at once, one only where a Crawl-delay is set."""

    def __init__(self, config: FetchConfig) -> None:
        self.slots = AdaptiveLimit(config.per_host_concurrency)
        self.breaker = CircuitBreaker(config.breaker_failures, config.breaker_seconds, config.breaker_max_seconds)
        self._delay = 0.0
        self._next_start = 0.0
        self._limited_in_a_row = 0
        self._shrunk_at = 0.0
        self._usual: float | None = None
        self._recent = 0.0

    @property
    def forgettable(self) -> bool:
        """Whether nothing that matters would be lost with what is known of the host."""
        unhurt = self.slots.size == self.slots.most and self.breaker.closed()
        return unhurt and self.slots.idle and not self._delay and self._next_start < time.monotonic()

    def set_delay(self, seconds: float) -> None:
        """Leave ``seconds`` between the starts of two requests."""
        self._delay = seconds
        self.slots.cap(1)

    async def wait_turn(self) -> None:
        """Wait until the host may be asked again."""
        while (wait := self._next_start - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def start(self) -> None:
        """Say that a request starts now."""
        if self._delay:
            self._next_start = max(self._next_start, time.monotonic() + self._delay)

    def pause(self, seconds: float) -> None:
        """Ask nothing for so long, where the host has asked for it several times in a row."""
        if self._limited_in_a_row >= _LIMITED_IN_A_ROW:
            self._next_start = max(self._next_start, time.monotonic() + seconds)

    def learn(self, status: Status, limited: bool, started: float, waited: float | None) -> None:
        """Adapt to the outcome of a request that ``started`` (monotonic) and ``waited`` so many seconds for headers.

        Additive increase, multiplicative decrease (Chiu and Jain 1989): half after 429, 503 or a timeout, less where
        answers come slower than usual; once only for all requests that were in flight together.
        """
        self._limited_in_a_row = self._limited_in_a_row + 1 if limited else 0
        hurts = limited or status in _OVERLOAD
        if not hurts and not self._slower(waited):
            self.slots.grow(1 / self.slots.size)
        elif started >= self._shrunk_at:
            self.slots.shrink(0.5 if hurts else 0.8)
            self._shrunk_at = time.monotonic()

    def _slower(self, waited: float | None) -> bool:
        if waited is None:
            return False
        if self._usual is None:
            self._usual = self._recent = waited
        self._usual += _USUAL_WEIGHT * (waited - self._usual)
        self._recent += _RECENT_WEIGHT * (waited - self._recent)
        return self._recent > 2 * self._usual + _SLOWER_BY_SECONDS


class Hosts:
    """All hosts, and the limit over all of them. From 10,000 on, those without anything special are forgotten."""

    def __init__(self, config: FetchConfig) -> None:
        self._config = config
        self._hosts: dict[tuple[str | None, int | None], Host] = {}
        self._many = _REMEMBERED
        self.slots = AdaptiveLimit(config.concurrency, config.per_host_concurrency)
        self._outcomes = 0
        self._failures = 0

    def of(self, url: URL) -> Host:
        """Return the host that serves ``url``."""
        key = (url.raw_host, url.port)
        host = self._hosts.get(key)
        if host is None:
            host = self._hosts[key] = Host(self._config)
            if len(self._hosts) > self._many:
                self._forget(but=host)
        return host

    def learn(self, status: Status) -> None:
        """Ask fewer hosts at once while most of them cannot be reached: then the way out is at fault, not they.

        Lists of old URLs are full of dead hosts, so up to half of the outcomes may fail without harm.
        """
        self._outcomes += 1
        self._failures += status in _NO_WAY_OUT
        if self._outcomes < self.slots.size:
            return
        if self._failures > self._outcomes / 2:
            self.slots.shrink(0.7)
        else:
            self.slots.grow(max(1.0, self.slots.size / 10))
        self._outcomes = self._failures = 0

    def _forget(self, but: Host) -> None:
        self._hosts = {key: host for key, host in self._hosts.items() if host is but or not host.forgettable}
        self._many = max(_REMEMBERED, 2 * len(self._hosts))
