"""The ledger of the page stage as it will be written, and which source has which page: in the journal's database."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TABLES = """
    CREATE TABLE IF NOT EXISTS final (kind TEXT, url TEXT, rank INTEGER, status TEXT, bytes INTEGER, row TEXT,
        PRIMARY KEY (kind, url, rank)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS holders (url TEXT PRIMARY KEY, source TEXT) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS written (part INTEGER PRIMARY KEY, pages INTEGER, next_file INTEGER);
"""


class PageLedger:
    """Rows by kind and URL; a page that several sources reach belongs to the first."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.executescript(_TABLES)
        self._rows = int(database.execute("SELECT count(*) FROM final").fetchone()[0])

    def add(self, row: dict[str, Any]) -> None:
        """Add a row; rows of one URL keep the order in which they are added."""
        text = json.dumps(row, ensure_ascii=False)
        values = (row["kind"], row["url"], self._rows, row["status"], row["bytes"], text)
        self._database.execute("INSERT INTO final VALUES (?, ?, ?, ?, ?, ?)", values)
        self._rows += 1

    def holder(self, url: str) -> str | None:
        """Return the source that has a URL already."""
        found = self._database.execute("SELECT source FROM holders WHERE url = ?", (url,)).fetchone()
        return str(found[0]) if found else None

    def hold(self, source: str, *urls: str) -> None:
        """Give URLs to a source, those that no other has."""
        self._database.executemany("INSERT OR IGNORE INTO holders VALUES (?, ?)", [(url, source) for url in urls])

    @contextmanager
    def part(self) -> Iterator[None]:
        """Add the rows of one part, all of them or none."""
        self._database.commit()
        try:
            yield
        except BaseException:
            self._database.rollback()
            raise
        self._database.commit()

    def written(self, part: int) -> int | None:
        """Return the number of the PAGES file after those of a part that is written, or None where it is not."""
        found = self._database.execute("SELECT next_file FROM written WHERE part = ?", (part,)).fetchone()
        return int(found[0]) if found else None

    def finish(self, part: int, pages: int, next_file: int) -> None:
        """Say that the files of the part that is being added are written."""
        self._database.execute("INSERT INTO written VALUES (?, ?, ?)", (part, pages, next_file))

    @property
    def pages(self) -> int:
        """How many pages are written."""
        return int(self._database.execute("SELECT coalesce(sum(pages), 0) FROM written").fetchone()[0])

    def statuses(self, kind: str) -> dict[str, int]:
        """Return how many rows of a kind ended in each status, most frequent first."""
        query = "SELECT status, count(*) FROM final WHERE kind = ? GROUP BY status ORDER BY count(*) DESC, status"
        return dict(self._database.execute(query, (kind,)).fetchall())

    def bytes(self, kind: str) -> int:
        """Return the bytes received for a kind."""
        query = "SELECT coalesce(sum(bytes), 0) FROM final WHERE kind = ?"
        return int(self._database.execute(query, (kind,)).fetchone()[0])

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows in order of kind and URL."""
        for (text,) in self._database.execute("SELECT row FROM final ORDER BY kind, url, rank"):
            yield json.loads(text)
