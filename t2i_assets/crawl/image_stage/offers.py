"""Every image URL that the pages offer, with the pairs that speak of it: on disk, so that ten million fit in memory.

The tables lie in the journal's database and go with it.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from t2i_assets.corpus.schemas import PAIRS

_TABLES = """
    CREATE TABLE IF NOT EXISTS offers (url TEXT, place INTEGER, pair TEXT, PRIMARY KEY (url, place)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS todo (rank INTEGER, url TEXT, PRIMARY KEY (rank, url)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS filled (whole INTEGER PRIMARY KEY);
"""
_BATCH = 5000

Pair = dict[str, Any]


class Offers:
    """PAIRS grouped by image URL."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.executescript(_TABLES)

    @property
    def filled(self) -> bool:
        """Whether an earlier run has taken everything in."""
        return self._database.execute("SELECT count(*) FROM filled").fetchone()[0] > 0

    def fill(self, pairs_dir: Path) -> Iterator[tuple[str, list[Pair]]]:
        """Take in every pair; then yield each URL with its pairs, in order of URL, for ``want`` to be told."""
        self._database.execute("DELETE FROM offers")
        self._database.execute("DELETE FROM todo")
        self._database.executemany("INSERT INTO offers VALUES (?, ?, ?)", _numbered(pairs_dir))
        everything = self._database.execute("SELECT url, pair FROM offers ORDER BY url, place")
        for url, rows in groupby(everything, key=lambda row: row[0]):
            yield url, [json.loads(pair) for _, pair in rows]
        self._database.execute("INSERT INTO filled VALUES (1)")
        self._database.commit()

    def want(self, url: str) -> None:
        """Put a URL on the list of what is to be fetched, at a place that its digest gives: so hosts are mixed.

        Files come first and in order, since neighbours lie in one tar.
        """
        rank = 0 if url.startswith("file:") else int.from_bytes(hashlib.sha256(url.encode()).digest()[:7])
        self._database.execute("INSERT INTO todo VALUES (?, ?)", (rank, url))

    def wanted(self) -> int:
        """Return how many URLs are to be fetched in all, what is done already among them."""
        return int(self._database.execute("SELECT count(*) FROM todo").fetchone()[0])

    def statuses(self) -> dict[str, int]:
        """Return how many of the wanted URLs ended in each status so far."""
        query = """
            SELECT o.status, count(*) FROM todo JOIN outcomes AS o ON o.kind = 'image' AND o.url = todo.url
            GROUP BY o.status
        """
        return dict(self._database.execute(query).fetchall())

    def todo(self) -> Iterator[str]:
        """Yield the wanted URLs that have no outcome yet; outcomes may be added meanwhile."""
        place: tuple[int, str] = (-1, "")
        query = """
            SELECT rank, url FROM todo WHERE (rank, url) > (?, ?)
            AND NOT EXISTS (SELECT 1 FROM outcomes AS o WHERE o.kind = 'image' AND o.url = todo.url)
            ORDER BY rank, url LIMIT ?
        """
        while rows := self._database.execute(query, (*place, _BATCH)).fetchall():
            for row in rows:
                yield row[1]
            place = rows[-1]

    def pairs(self, url: str) -> list[Pair]:
        """Return the pairs that speak of a URL, in the order of the pages."""
        query = "SELECT pair FROM offers WHERE url = ? ORDER BY place"
        return [json.loads(pair) for (pair,) in self._database.execute(query, (url,))]


def _numbered(pairs_dir: Path) -> Iterator[tuple[str, int, str]]:
    place = 0
    for file in sorted(pairs_dir.glob("[0-9]*.parquet")):
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(_BATCH, columns=PAIRS.names):
                for pair in batch.to_pylist():
                    yield pair["image_url"], place, json.dumps(pair, ensure_ascii=False)
                    place += 1
