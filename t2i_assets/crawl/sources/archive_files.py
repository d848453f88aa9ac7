"""The archives of a source, one after the other, fetched where they are not here; and what became of each."""

import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from yarl import URL

from t2i_assets.corpus.digests import digest
from t2i_assets.crawl.config import CrawlConfig, WarcSource
from t2i_assets.crawl.consent.verdict import Verdict
from t2i_assets.crawl.http.fetch import Fetched
from t2i_assets.crawl.sources.archives import Archive
from t2i_assets.crawl.sources.download import download
from t2i_assets.crawl.sources.local import file_url
from t2i_assets.crawl.sources.paths import expand, is_web
from t2i_assets.crawl.status import Status

_WAT = re.compile(r"\.wat(?:\.\w+)?$", re.IGNORECASE)
_HEADER_BYTES = 1_000_000
_LOCAL = Verdict(True, "allowed", "a local file that the configuration names")


class ArchiveFile:
    """One archive while it is read: ``taken`` counts what came of it, ``passed_over`` the records not looked for."""

    def __init__(self, fetched: Fetched, path: Path, source: WarcSource, config: CrawlConfig) -> None:
        self.source = source
        self.config = config
        self.archive = Archive(path, config.fetch.max_page_bytes + _HEADER_BYTES, source.verify_digests)
        self.taken = 0
        self.passed_over: Counter[str] = Counter()
        self._fetched = fetched

    @property
    def is_here(self) -> bool:
        """Whether there is a file to read."""
        return self._fetched.status == Status.OK

    def ledger_row(self, snapshot: str) -> dict[str, Any]:
        """Return the row of kind ``archive`` that says what was taken and what was lost, once the archive was read."""
        if not self.is_here:
            return self._fetched.ledger_row(snapshot, "archive", self.source.name)
        lost = self.archive.lost
        status = Status.OK if not lost else Status.TRUNCATED if set(lost) == {"truncated"} else Status.BAD_ARCHIVE
        words = [f"{self.taken} records taken"]
        words += [f"passed over: {_listed(self.passed_over)}"] if self.passed_over else []
        words += [f"lost: {_listed(lost)}, the first {self.archive.first_lost}"] if lost else []
        row = self._fetched.ledger_row(snapshot, "archive", self.source.name)
        size = self.archive.path.stat().st_size
        return row | {"status": str(status), "detail": "; ".join(words), "bytes": size}


async def archive_files(
    source: WarcSource, config: CrawlConfig, scratch: Path, wat: bool = False
) -> AsyncIterator[ArchiveFile]:
    """Yield the WARC files of a source, or its WAT files; one that was fetched lies in ``scratch`` until the next.

    Raises SourceError where a local file is not there.
    """
    for path in source.paths:
        if bool(_WAT.search(URL(path).path if is_web(path) else path)) != wat:
            continue
        if not is_web(path):
            for local in expand([path]):
                fetched = Fetched(file_url(local), file_url(local), verdict=_LOCAL)
                fetched.started = 0.0
                yield ArchiveFile(fetched, local, source, config)
            continue
        target = scratch / f".{digest(path)[:16]}.archive.tmp"
        try:
            yield ArchiveFile(await download(path, source, config, target), target, source, config)
        finally:
            target.unlink(missing_ok=True)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
