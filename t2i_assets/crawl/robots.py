"""robots.txt (RFC 9309): asked once per origin, judged for every hop, with the rule that decided as evidence."""

import asyncio
from dataclasses import dataclass
from typing import Any

from protego import Protego
from protego._utils import _quote_path
from yarl import URL

from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.consent import Verdict
from t2i_assets.crawl.fetch import Fetched, Fetcher
from t2i_assets.crawl.ledger import Status


@dataclass(frozen=True)
class _Rules:
    """What one origin's robots.txt says; ``whole_site`` decides alone where it is set."""

    parser: Protego | None = None
    whole_site: Verdict | None = None


class Robots:
    """Judges URLs by their origin's robots.txt; ``ledger_rows`` holds one row per robots.txt asked."""

    def __init__(self, fetcher: Fetcher, config: CrawlConfig, snapshot: str) -> None:
        self._fetcher = fetcher
        self._config = config
        self._snapshot = snapshot
        self._origins: dict[str, asyncio.Task[_Rules]] = {}
        self.ledger_rows: list[dict[str, Any]] = []

    async def verdict(self, url: str) -> Verdict:
        """Return whether ``url`` may be asked, and by which rule."""
        origin = str(URL(url).origin())
        if origin not in self._origins:
            self._origins[origin] = asyncio.create_task(self._read(origin))
        rules = await self._origins[origin]
        if rules.whole_site is not None:
            return rules.whole_site
        assert rules.parser is not None
        return judge(rules.parser, url, self._config.product)

    async def _read(self, origin: str) -> _Rules:
        url = f"{origin}/robots.txt"
        fetched = await self._fetcher.fetch(url, "text/plain,*/*;q=0.5", self._config.fetch.max_robots_bytes)
        self.ledger_rows.append(fetched.ledger_row(self._snapshot, "robots", "*"))
        rules = _interpret(fetched, self._config.product)
        delay = rules.parser.crawl_delay(self._config.product) if rules.parser else None
        if delay and delay > self._config.fetch.max_crawl_delay:
            evidence = f"robots.txt: Crawl-delay: {delay:g}"
            return _Rules(whole_site=Verdict(False, "robots_disallowed", evidence, Status.ROBOTS_DISALLOWED))
        if delay:
            self._fetcher.set_delay(origin, delay)
        return rules


def _interpret(fetched: Fetched, product: str) -> _Rules:
    """Return what a robots.txt response means (RFC 9309, section 2.3.1).

    Unavailable (4xx) allows everything; unreachable (5xx, network errors, and 429 as a plea) forbids everything. What
    kept robots.txt from being read keeps the URL too, so a network error is reported as what it is.
    """
    if fetched.status == Status.OK:
        return _Rules(parser=Protego.parse(fetched.body.decode("utf-8", "replace").removeprefix("\ufeff")))
    if fetched.status in (Status.HTTP_4XX, Status.REDIRECT_LIMIT):
        return _Rules(whole_site=Verdict(True, "allowed", f"robots.txt: {fetched.detail}"))
    evidence = f"robots.txt unreachable: {fetched.detail or fetched.status}"
    status = fetched.status if fetched.http_status is None else Status.ROBOTS_DISALLOWED
    return _Rules(whole_site=Verdict(False, "robots_unreachable", evidence, status))


def judge(parser: Protego, url: str, product: str) -> Verdict:
    """Return the verdict of a parsed robots.txt for one URL, the deciding line as evidence."""
    allowed = parser.can_fetch(url, product)
    rule = _deciding_rule(parser, url, product)
    evidence = f"robots.txt: {rule}" if rule else "robots.txt: no rule applies"
    if allowed:
        return Verdict(True, "allowed", evidence)
    return Verdict(False, "robots_disallowed", evidence, Status.ROBOTS_DISALLOWED)


def _deciding_rule(parser: Protego, url: str, product: str) -> str | None:
    """Return the longest rule that matches; protego keeps its rules in that order but does not show them."""
    rule_set = parser._get_matching_rule_set(product)
    if rule_set is None:
        return None
    path = _quote_path(url)
    for rule in rule_set._rules:
        if rule.value.match(path):
            return f"{rule.field.capitalize()}: {rule.value._pattern}"
    return None
