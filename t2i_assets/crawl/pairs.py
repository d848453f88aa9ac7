"""Second stage: from kept HTML, archives, lists, folders and tars to image and text pairs; rejected rows stay.

Everything streams: a page, a row or a record is held at a time, and a file of 50,000 pairs is written when it is full.
The same sources give the same files. A run that was killed begins anew: what it left is removed first.
"""

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow.parquet as pq

from t2i_assets.corpus.schemas import PAIRS
from t2i_assets.corpus.tables import TableWriter
from t2i_assets.crawl.config import CrawlConfig, Progress, SiteSource, WarcSource, silent
from t2i_assets.crawl.ledger import LEDGER_FILE, count_statuses, write_ledger
from t2i_assets.crawl.sources.archive_files import archive_files
from t2i_assets.crawl.sources.direct import pair_rows
from t2i_assets.crawl.sources.html_page import PAGE_UNREADABLE, page_pairs, unreadable_page
from t2i_assets.crawl.sources.rows import BAD_ARCHIVE, rows_of
from t2i_assets.crawl.sources.wat import wat_offers
from t2i_assets.crawl.status import CrawlFailedError
from t2i_assets.crawl.workers import Workers

_ROWS_PER_FILE = 50_000
_ROWS_PER_REPORT = 1000
_BUFFER_BYTES = 1 << 20
_PAGES_PER_BATCH = 8
_PAGES_AHEAD_PER_WORKER = 4
_PAGE_SECONDS = 20.0
_ENOUGH_TO_JUDGE = 20


def extract_pairs(
    pages_dir: Path, out_dir: Path, snapshot: str, config: CrawlConfig, progress: Progress = silent
) -> dict[str, Any]:
    """Read PAGES and the sources that need no crawl, write PAIRS: one row per image and text, or one without a text.

    Returns the funnel: image URLs found, rows by reason of rejection, texts by label, and rows by source.
    Raises SourceError where a source cannot be used as it is configured, CrawlFailedError where nothing of a source
    could be read.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    for left_over in [*out_dir.glob("*.parquet"), *out_dir.glob(".*.tmp")]:
        left_over.unlink()
    return asyncio.run(_extract(pages_dir, out_dir, snapshot, config, progress))


async def _extract(
    pages_dir: Path, out_dir: Path, snapshot: str, config: CrawlConfig, progress: Progress
) -> dict[str, Any]:
    funnel = _Funnel()
    archives: list[dict[str, Any]] = []
    with _PairWriter(out_dir) as writer:
        async for row in _all_rows(pages_dir, out_dir, snapshot, config, archives):
            writer.write(row)
            funnel.count(row)
            if writer.rows % _ROWS_PER_REPORT == 0:
                progress(writer.rows, writer.rows, funnel.outcomes)
    _raise_if_unreadable(funnel, archives)
    write_ledger(out_dir / LEDGER_FILE, archives)
    return funnel.summary() | _distinct_urls(out_dir) | {"archive_statuses": count_statuses(archives)}


async def _all_rows(
    pages_dir: Path, out_dir: Path, snapshot: str, config: CrawlConfig, archives: list[dict[str, Any]]
) -> AsyncIterator[dict[str, Any]]:
    """Yield the rows of the pages, then those of the other sources in the order of the configuration."""
    async for row in _rows_of_pages(pages_dir, snapshot, config):
        yield row
    for source in config.sources:
        if isinstance(source, SiteSource):
            continue
        if not isinstance(source, WarcSource):
            for row in pair_rows(source, config, snapshot):
                yield row
            continue
        async for file in archive_files(source, config, out_dir, wat=True):
            for offer in wat_offers(file):
                for row in rows_of(offer, source.name, snapshot, config):
                    yield row
            archives.append(file.ledger_row(snapshot))


async def _rows_of_pages(pages_dir: Path, snapshot: str, config: CrawlConfig) -> AsyncIterator[dict[str, Any]]:
    """Parse the pages in child processes, some ahead; their rows come in the order of the pages."""
    files = sorted(pages_dir.glob("*.parquet"))
    workers = min(config.images.workers, sum(pq.read_metadata(file).num_rows for file in files))
    if not workers:
        return
    constants = (config, snapshot)
    ahead: deque[asyncio.Task[list[dict[str, Any]]]] = deque()
    async with Workers(page_pairs, workers, constants=constants, seconds=_PAGE_SECONDS) as parse:
        for page in _pages(files):
            ahead.append(asyncio.create_task(_rows_of_page(page, parse, *constants)))
            if len(ahead) == _PAGES_AHEAD_PER_WORKER * workers:
                for row in await ahead.popleft():
                    yield row
        while ahead:
            for row in await ahead.popleft():
                yield row


async def _rows_of_page(
    page: dict[str, Any], parse: Workers, config: CrawlConfig, snapshot: str
) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = await parse(page)
    except Exception as error:  # noqa: BLE001 - whatever a page does to the parser, the other pages go on
        logging.getLogger(__name__).warning("page %s could not be parsed: %r", page["final_url"], error)
        return unreadable_page(page, config, snapshot)
    return rows


def _pages(files: list[Path]) -> Iterator[dict[str, Any]]:
    for file in files:
        with pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False) as parquet:
            for batch in parquet.iter_batches(_PAGES_PER_BATCH, use_threads=False):
                yield from batch.to_pylist()


class _PairWriter:
    """Writes PAIRS into numbered files of at most 50,000 rows; at least one, if an empty one."""

    def __init__(self, directory: Path) -> None:
        self.rows = 0
        self._directory = directory
        self._files = 0
        self._file: TableWriter | None = None
        self._stack = ExitStack()

    def write(self, row: dict[str, Any]) -> None:
        if self._file is None or self._file.rows == _ROWS_PER_FILE:
            self._file = self._next_file()
        self._file.write(row)
        self.rows += 1

    def _next_file(self) -> TableWriter:
        """Finish the file that is open, so that it appears, and begin the next."""
        self._stack.close()
        self._files += 1
        return self._stack.enter_context(TableWriter(self._directory / f"{self._files - 1:05d}.parquet", PAIRS))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and not self._files:
            self._next_file()
        self._stack.__exit__(kind, error, trace)


class _Funnel:
    """What is counted while rows pass by."""

    def __init__(self) -> None:
        self.sources: dict[str, Counter[str]] = defaultdict(Counter)
        self.rejected: Counter[str] = Counter()
        self._text_fields: Counter[str] = Counter()
        self._labels: Counter[str] = Counter()

    def count(self, row: dict[str, Any]) -> None:
        rejected = row["rejected"]
        self.sources[row["source"]][rejected or "ok"] += 1
        if rejected:
            self.rejected[rejected] += 1
            return
        self._text_fields[row["text_field"]] += 1
        self._labels.update(row["labels"] or ["clean"])

    @property
    def outcomes(self) -> dict[str, int]:
        """Rows accepted (``ok``) and rejected so far."""
        return {
            "ok": sum(counts["ok"] for counts in self.sources.values()),
            "rejected": self.rejected.total(),
        }

    def summary(self) -> dict[str, Any]:
        return {
            "rows": sum(counts.total() for counts in self.sources.values()),
            "rejected": dict(self.rejected.most_common()),
            "text_fields": dict(self._text_fields.most_common()),
            "text_labels": dict(self._labels.most_common()),
            "rows_by_source": {name: counts.total() for name, counts in self.sources.items()},
            "outcomes_by_source": {
                f"{name}: {outcome}": count
                for name, counts in self.sources.items()
                for outcome, count in counts.most_common()
            },
        }


def _distinct_urls(out_dir: Path) -> dict[str, int]:
    """Count the image URLs, all and those to fetch; DuckDB does it within bounds where a set would not."""
    query = "SELECT count(DISTINCT image_url), count(DISTINCT image_url) FILTER (rejected IS NULL) FROM read_parquet(?)"
    files = [str(file) for file in sorted(out_dir.glob("*.parquet"))]
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        found, to_fetch = connection.execute(query, [files]).fetchall()[0]
    return {"image_urls": found, "image_urls_to_fetch": to_fetch}


def _raise_if_unreadable(funnel: _Funnel, archives: list[dict[str, Any]]) -> None:
    """Raise CrawlFailedError where a source gave nothing but rows that say it could not be read."""
    for name, counts in funnel.sources.items():
        if set(counts) == {BAD_ARCHIVE}:
            raise CrawlFailedError(f"source {name!r}: not one of its files could be read")
        if set(counts) == {PAGE_UNREADABLE} and counts.total() >= _ENOUGH_TO_JUDGE:
            raise CrawlFailedError(f"source {name!r}: not one of its {counts.total()} pages could be parsed")
    of_source: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in archives:
        of_source[row["source"]].append(row)
    for name, rows in of_source.items():
        if not any(row["bytes"] for row in rows):
            first = rows[0]
            raise CrawlFailedError(f"source {name!r}: no archive could be read; {first['url']}: {first['detail']}")
