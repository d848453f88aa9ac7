"""Which pages are to be asked, and in which order: on disk, so that a kill loses nothing and millions fit in memory.

Each site is walked breadth first and by itself. The links of its pages are queued in the order of the queue, whatever
order the pages come in, so equal answers give the same pages in the same order. The tables lie in the journal's
database and go with it.
"""

import asyncio
import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from t2i_assets.crawl.config import SiteSource
from t2i_assets.crawl.http.guard import normalise_url
from t2i_assets.crawl.status import Status
from t2i_assets.crawl.turns import host_of

_TABLES = """
    CREATE TABLE IF NOT EXISTS queue (
        site INTEGER, place INTEGER, url TEXT, host TEXT, parent TEXT, depth INTEGER, status TEXT,
        PRIMARY KEY (site, place)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX IF NOT EXISTS queue_by_url ON queue (site, url);
    CREATE INDEX IF NOT EXISTS queue_by_host ON queue (site, host, place);
    CREATE TABLE IF NOT EXISTS reached (site INTEGER, url TEXT, PRIMARY KEY (site, url)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS links (url TEXT PRIMARY KEY, links TEXT) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS off_site (url TEXT PRIMARY KEY) WITHOUT ROWID;
"""
TAKEN = (Status.OK, Status.UNCHANGED)
"""Outcomes that give a page."""

_Lane = tuple[int, str]


@dataclass(frozen=True)
class Link:
    """One page of a site's queue; ``status`` is what became of it for this site, None until its turn came."""

    site: int
    place: int
    url: str
    parent: str | None
    depth: int
    status: str | None = None


class Frontier:
    """The queues of all sites. Outcomes are those of kind ``page`` in the journal, whose database this is.

    Of one host and site at most ``per_host`` pages are handed out at a time, so a slow host keeps nobody else waiting.
    """

    def __init__(self, database: sqlite3.Connection, sites: Sequence[SiteSource], per_host: int) -> None:
        self._database = database
        self._sites = sites
        self._hosts = [site.page_hosts for site in sites]
        self._per_host = per_host
        self._busy: dict[_Lane, int] = {}
        self._handed_out: dict[_Lane, int] = {}
        self._ready: OrderedDict[_Lane, None] = OrderedDict()
        self._asking: set[str] = set()
        self._changed = asyncio.Event()
        database.executescript(_TABLES)
        sizes = dict(database.execute("SELECT site, count(*) FROM queue GROUP BY site").fetchall())
        self._sizes = [sizes.get(number, 0) for number in range(len(sites))]
        for number, site in enumerate(sites):
            if not self._sizes[number]:
                self._queue(number, [(normalise_url(url), None) for url in site.start_urls], 0)
        self._heads = [self._first_unjudged(number) for number in range(len(sites))]
        lanes = database.execute("SELECT DISTINCT site, host FROM queue ORDER BY site, host").fetchall()
        self._ready.update(dict.fromkeys(lanes))
        for number in range(len(sites)):
            self._follow(number)

    @property
    def known(self) -> int:
        """How many pages are queued so far, what is done among them."""
        return sum(self._sizes)

    @property
    def links_off_site(self) -> int:
        """How many different URLs lead off their site."""
        return int(self._database.execute("SELECT count(*) FROM off_site").fetchone()[0])

    def is_on_a_site(self, url: str) -> bool:
        """Return whether any site crawls pages of this URL's host."""
        name = host_name(url)
        return any(name in hosts for hosts in self._hosts)

    async def take(self) -> Link | None:
        """Return the next page to ask, or None when every queue is through; ``give_back`` its turn when it is asked."""
        while True:
            link = self._next()
            if link is not None:
                return link
            if not any(self._heads):
                self._changed.set()
                return None
            self._changed.clear()
            await self._changed.wait()

    def give_back(self, link: Link) -> None:
        """Say that the host is no longer busy with this page."""
        lane = (link.site, host_of(link.url))
        self._busy[lane] -= 1
        self._ready[lane] = None
        self._changed.set()

    def keep_links(self, link: Link, links: list[str]) -> None:
        """Keep the links of a page; before its outcome is journalled, since a kill may come between."""
        row = (link.url, json.dumps(links))
        self._database.execute("INSERT OR REPLACE INTO links VALUES (?, ?)", row)

    def answered(self, link: Link) -> None:
        """Say that the journal holds the outcome of a page."""
        self._asking.discard(link.url)
        for number, head in enumerate(self._heads):
            if head is not None and head.url == link.url:
                self._follow(number)
        self._changed.set()

    def judged(self) -> Iterator[Link]:
        """Yield every page in order of site and queue, with what became of it."""
        query = "SELECT site, place, url, parent, depth, status FROM queue ORDER BY site, place"
        for row in self._database.execute(query):
            yield Link(*row)

    def _next(self) -> Link | None:
        while self._ready:
            lane, _ = self._ready.popitem(last=False)
            if self._busy.get(lane, 0) >= self._per_host:
                continue
            link = self._next_of(lane)
            if link is not None:
                self._busy[lane] = self._busy.get(lane, 0) + 1
                self._asking.add(link.url)
                self._ready[lane] = None  # behind the others
                return link
        return None

    def _next_of(self, lane: _Lane) -> Link | None:
        """Return the first page of a host that has not been asked, for this or another site."""
        query = """
            SELECT site, place, url, parent, depth FROM queue WHERE site = ? AND host = ? AND place > ?
            AND NOT EXISTS (SELECT 1 FROM outcomes WHERE kind = 'page' AND outcomes.url = queue.url)
            ORDER BY place
        """
        for row in self._database.execute(query, (*lane, self._handed_out.get(lane, -1))):
            link = Link(*row)
            self._handed_out[lane] = link.place
            if link.url not in self._asking:
                return link
        return None

    def _follow(self, number: int) -> None:
        """Judge the pages at the head of a site's queue that have an outcome, and queue their links."""
        while (head := self._heads[number]) is not None:
            query = """
                SELECT status, json_extract(row, '$.final_url'), links FROM outcomes LEFT JOIN links USING (url)
                WHERE kind = 'page' AND outcomes.url = ?
            """
            outcome = self._database.execute(query, (head.url,)).fetchone()
            if outcome is None:
                return
            status, final_url, links = outcome
            if status in TAKEN:
                status = self._judge(head, status, final_url)
            if status in TAKEN:
                self._database.execute("INSERT OR IGNORE INTO reached VALUES (?, ?)", (number, final_url))
                self._queue(number, [(url, head.url) for url in json.loads(links or "[]")], head.depth + 1)
            change = "UPDATE queue SET status = ? WHERE site = ? AND place = ?"
            self._database.execute(change, (str(status), number, head.place))
            self._heads[number] = self._first_unjudged(number, head.place)

    def _judge(self, link: Link, status: str, final_url: str) -> str:
        """Return what a page that came is to its site: redirects may lead off it, or to what it has already."""
        if host_name(final_url) not in self._hosts[link.site]:
            return Status.OFF_SITE
        if final_url != link.url and self._is_known(link.site, final_url):
            return Status.DUPLICATE_URL
        return status

    def _queue(self, number: int, found: Iterable[tuple[str, str | None]], depth: int) -> None:
        """Queue what is new, on the site and within its limits."""
        site = self._sites[number]
        if depth > site.max_depth:
            return
        for url, parent in found:
            if host_name(url) not in self._hosts[number]:
                self._database.execute("INSERT OR IGNORE INTO off_site VALUES (?)", (url,))
            elif self._sizes[number] < site.max_pages and not self._is_known(number, url):
                row = (number, self._sizes[number], url, host_of(url), parent, depth, None)
                self._database.execute("INSERT INTO queue VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                self._ready[number, host_of(url)] = None
                self._sizes[number] += 1

    def _is_known(self, number: int, url: str) -> bool:
        """Return whether a site has a URL already, queued or as the end of a redirect."""
        query = """
            SELECT 1 FROM queue WHERE site = ?1 AND url = ?2
            UNION ALL SELECT 1 FROM reached WHERE site = ?1 AND url = ?2
        """
        return self._database.execute(query, (number, url)).fetchone() is not None

    def _first_unjudged(self, number: int, after: int = -1) -> Link | None:
        query = """
            SELECT site, place, url, parent, depth FROM queue
            WHERE site = ? AND place > ? AND status IS NULL ORDER BY place LIMIT 1
        """
        row = self._database.execute(query, (number, after)).fetchone()
        return Link(*row) if row else None


def host_name(url: str) -> str:
    """Return the host of a URL without its port, lower case."""
    host = host_of(url).rpartition("@")[2]
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name.strip("[]").lower()
