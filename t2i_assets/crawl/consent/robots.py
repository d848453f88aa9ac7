"""What an origin says before it is asked: robots.txt and tdmrep.json, read once a day, judged for every hop."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from yarl import URL

from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.consent.robotstxt import RobotsTxt, parse_robots
from t2i_assets.crawl.consent.tdmrep import TDM_PATH, TdmFile, parse_tdm_file
from t2i_assets.crawl.consent.verdict import Verdict
from t2i_assets.crawl.http.fetch import Fetched, Fetcher
from t2i_assets.crawl.status import Status

CACHED_SECONDS = 24 * 3600.0
"""How long an answer counts (RFC 9309, section 2.4)."""

_REDIRECTS = 5
_NOTHING_SAID = (204, 205)

T = TypeVar("T")


@dataclass(frozen=True)
class _Rules:
    """What one origin's robots.txt says; ``whole_site`` decides alone where it is set."""

    robots: RobotsTxt = field(default_factory=RobotsTxt)
    whole_site: Verdict | None = None

    @property
    def unreachable(self) -> bool:
        return self.whole_site is not None and self.whole_site.rule == "robots_unreachable"


@dataclass
class _Answers(Generic[T]):
    """One file of every origin, each asked for once in CACHED_SECONDS."""

    read: Callable[[str, T | None], Awaitable[T]]
    clock: Callable[[], float]
    _asked: dict[str, tuple[float, "asyncio.Task[T]"]] = field(default_factory=dict)

    async def of(self, origin: str) -> T:
        asked, task = self._asked.get(origin, (0.0, None))
        now = self.clock()
        if task is None or (now - asked >= CACHED_SECONDS and task.done()):
            task = asyncio.ensure_future(self.read(origin, task.result() if task else None))
            self._asked[origin] = (now, task)
        return await asyncio.shield(task)  # one caller that gives up takes the answer from nobody


class Robots:
    """Judges URLs by their origin's robots.txt and tdmrep.json; ``ledger_rows`` holds one row per file asked."""

    def __init__(
        self, fetcher: Fetcher, config: CrawlConfig, snapshot: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetcher = fetcher
        self._config = config
        self._snapshot = snapshot
        self._robots = _Answers[_Rules](self._read_robots, clock)
        self._tdm_files = _Answers[TdmFile](self._read_tdm_file, clock)
        self.ledger_rows: list[dict[str, Any]] = []

    async def verdict(self, url: str) -> Verdict:
        """Return whether ``url`` may be asked, and by which rule.

        What tdmrep.json reserves is not asked for, so a header that would lift the reservation is not seen.
        """
        verdict = await self._robots_verdict(url)
        if not verdict.allowed or not self._config.fetch.tdm:
            return verdict
        reservation = (await self._tdm_files.of(str(URL(url).origin()))).verdict(url)
        return verdict if reservation.allowed else reservation

    async def _robots_verdict(self, url: str) -> Verdict:
        rules = await self._robots.of(str(URL(url).origin()))
        return rules.whole_site or judge(rules.robots, url)

    async def _read_robots(self, origin: str, before: _Rules | None) -> _Rules:
        """Ask for robots.txt; where it has become unreachable, what it said before counts on (RFC 9309, 2.4)."""
        url = f"{origin}/robots.txt"
        fetched = await self._fetcher.fetch(url, "text/plain,*/*;q=0.5", self._config.fetch.max_robots_bytes, cut=True)
        self.ledger_rows.append(fetched.ledger_row(self._snapshot, "robots", "*"))
        rules = interpret(fetched, self._config)
        if before is not None and rules.unreachable:
            return before
        delay = rules.robots.crawl_delay or 0.0
        if delay > self._config.fetch.max_crawl_delay:
            evidence = f"robots.txt: Crawl-delay: {delay:g}"
            return _Rules(whole_site=Verdict(False, "robots_disallowed", evidence, Status.ROBOTS_DISALLOWED))
        if delay:
            self._fetcher.set_delay(origin, delay)
        return rules

    async def _read_tdm_file(self, origin: str, before: TdmFile | None) -> TdmFile:
        """Ask for tdmrep.json where robots.txt lets us; an origin that gives none does not use the protocol."""
        url = f"{origin}{TDM_PATH}"
        fetched = await self._fetcher.fetch(
            url, "application/json", self._config.fetch.max_robots_bytes, self._robots_verdict
        )
        self.ledger_rows.append(fetched.ledger_row(self._snapshot, "robots", "*"))
        return parse_tdm_file(fetched.body) if fetched.status == Status.OK else TdmFile()


def interpret(fetched: Fetched, config: CrawlConfig) -> _Rules:
    """Return what a robots.txt response means (RFC 9309, section 2.3.1).

    Unavailable (4xx, or more than five redirects) allows everything; unreachable (5xx, network errors, and 429 as a
    plea) forbids everything. What kept robots.txt from being read keeps the URL too, so a network error is reported as
    what it is. Of a file longer than the limit the whole lines within it count (section 2.5).
    """
    if fetched.status == Status.OK:
        return _Rules(parse_robots(fetched.body, config.product))
    if fetched.status == Status.TOO_LARGE and fetched.body:
        return _Rules(parse_robots(fetched.body[: fetched.body.rfind(b"\n") + 1], config.product))
    unavailable = (
        fetched.status == Status.HTTP_4XX
        or fetched.http_status in _NOTHING_SAID
        or (fetched.status == Status.REDIRECT_LIMIT and config.fetch.redirects >= _REDIRECTS)
    )
    if unavailable:
        return _Rules(whole_site=Verdict(True, "allowed", f"robots.txt: {fetched.detail}"))
    evidence = f"robots.txt unreachable: {fetched.detail or fetched.status}"
    status = fetched.status if fetched.http_status is None else Status.ROBOTS_DISALLOWED
    return _Rules(whole_site=Verdict(False, "robots_unreachable", evidence, status))


def judge(robots: RobotsTxt, url: str) -> Verdict:
    """Return the verdict of a robots.txt for one URL, the deciding line as evidence."""
    rule = robots.deciding_rule(url)
    if rule is None:
        return Verdict(True, "allowed", "robots.txt: no rule applies")
    if rule.allows:
        return Verdict(True, "allowed", f"robots.txt: {rule.line}")
    return Verdict(False, "robots_disallowed", f"robots.txt: {rule.line}", Status.ROBOTS_DISALLOWED)
