"""The ledger: one row for every URL ever tried, with what became of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from t2i_assets.corpus.schemas import LEDGER, REQUESTS
from t2i_assets.corpus.tables import TableWriter
from t2i_assets.crawl.status import CrawlFailedError, Status

LEDGER_FILE = "ledger/ledger.parquet"
"""Where a stage's ledger lies in its artifact: with it, so that a kill cannot leave one beside the files of another."""


def write_ledger(path: Path, rows: Iterable[Mapping[str, Any]], in_order: bool = False) -> None:
    """Write ledger rows in order of kind and URL: to ``path``, and when they were asked to ``requests/`` beside it.

    So two crawls that met the same answers leave the same ledger. Rows that come ``in_order`` are not held in memory.
    """
    if not in_order:
        rows = sorted(rows, key=lambda row: (row["kind"], row["url"]))
    only_requests = set(REQUESTS.names) - set(LEDGER.names)
    with TableWriter(path, LEDGER) as ledger, TableWriter(requests_file(path), REQUESTS) as requests:
        told = None
        for row in rows:
            ledger.write({name: row[name] for name in row if name not in only_requests})
            if told != (row["kind"], row["url"]):  # several sources may have reached what was asked once
                requests.write({name: row[name] for name in REQUESTS.names})
            told = (row["kind"], row["url"])


def requests_file(ledger_file: Path) -> Path:
    """Return where the REQUESTS of a ledger lie."""
    return ledger_file.parent / "requests" / ledger_file.name


def count_statuses(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many rows ended in each status, most frequent first."""
    return dict(Counter(str(row["status"]) for row in rows).most_common())


def raise_if_all_failed(kind: str, rows: Sequence[Mapping[str, Any]], enough: int) -> None:
    """Raise CrawlFailedError where at least ``enough`` URLs were tried and none was fetched."""
    if not rows or len(rows) < enough or any(row["status"] == Status.OK for row in rows):
        return
    counts = ", ".join(f"{status} {count}" for status, count in count_statuses(rows).items())
    first = rows[0]
    raise CrawlFailedError(
        f"none of {len(rows)} {kind} URLs could be fetched ({counts}); "
        f"the first was {first['url']}: {first['detail'] or first['status']}"
    )
