"""Stops a run at its beginning where the network itself is at fault, before every URL is written off."""

from collections import Counter

from t2i_assets.crawl.status import CrawlFailedError, Status
from t2i_assets.crawl.turns import host_of

_UNREACHED = frozenset(
    {Status.DNS, Status.REFUSED, Status.DISCONNECTED, Status.TLS, Status.TIMEOUT, Status.CIRCUIT_OPEN}
)
_ASKED_NOTHING = frozenset(
    {Status.BAD_URL, Status.DATA_URI, Status.DUPLICATE_URL, Status.OFF_SITE, Status.PURGED, Status.SSRF_BLOCKED}
)
_MEND = {
    Status.DNS: "no name could be resolved: check this machine's DNS",
    Status.TLS: "no certificate was trusted: check this machine's clock and authorities, or set fetch.ca_file",
}


class OutageWatch:
    """Told of every outcome, raises where the first ``urls`` on ``hosts`` hosts could not be reached, not one of them.

    A single answer of any kind, be it 404, shows that there is a network, and ends the watch.
    """

    def __init__(self, kind: str, urls: int = 50, hosts: int = 10) -> None:
        self._kind = kind
        self._enough = (urls, hosts)
        self._statuses: Counter[Status] = Counter()
        self._hosts: set[str] = set()
        self._over = False

    def see(self, url: str, status: Status, detail: str | None) -> None:
        """Take in the outcome of a URL that was fetched from the network. Raises CrawlFailedError."""
        if self._over or status in _ASKED_NOTHING:
            return
        if status not in _UNREACHED:
            self._over = True
            return
        self._statuses[status] += 1
        self._hosts.add(host_of(url))
        if self._statuses.total() >= self._enough[0] and len(self._hosts) >= self._enough[1]:
            raise CrawlFailedError(self._sentence(url, status, detail))

    def _sentence(self, url: str, status: Status, detail: str | None) -> str:
        counts = ", ".join(f"{status} {count}" for status, count in self._statuses.most_common())
        (most, _), *_ = self._statuses.most_common(1)
        mend = _MEND.get(most, "check this machine's network")
        return (
            f"none of the first {self._statuses.total()} {self._kind} URLs on {len(self._hosts)} hosts could be "
            f"reached ({counts}); {mend}; the last was {url}: {detail or status}"
        )
