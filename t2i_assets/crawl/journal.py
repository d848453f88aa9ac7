"""What a stage of the crawl has already done, kept on disk as it goes, so that a killed run loses nothing.

``journal.sqlite`` holds one outcome per URL, ``blobs.bin`` the bytes that came with them, one after the other. Bytes
are written before the outcome that speaks of them, so whatever the moment of death, every outcome is true. Nothing is
held in memory: a stage reads back what it needs in order of URL or of blob name.
"""

import errno
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from t2i_assets.crawl.status import CrawlFailedError

_TABLES = """
    CREATE TABLE IF NOT EXISTS purpose (text TEXT PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS outcomes (
        kind TEXT, url TEXT, status TEXT, blob TEXT, row TEXT, PRIMARY KEY (kind, url)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS outcomes_by_blob ON outcomes (blob, url) WHERE blob IS NOT NULL;
    CREATE TABLE IF NOT EXISTS blobs (name TEXT PRIMARY KEY, start INTEGER, size INTEGER, about TEXT) WITHOUT ROWID;
"""
JOURNAL = ".journal"
FUNNEL_FILE = "funnel.json"
_COMMIT_SECONDS = 0.25
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class Journal:
    """Outcomes by (kind, URL), blobs by name; one that belongs to other work (another ``purpose``) is begun afresh.

    Use as a context manager. ``database`` may hold further tables of the stage; they go with it.
    """

    def __init__(self, directory: Path, purpose: str) -> None:
        self._directory = directory
        self._purpose = purpose
        self._removed = False

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            kept = self._open()
        except sqlite3.DatabaseError:  # torn by a crash of the machine itself
            kept = False
        if not kept:
            self._delete_files()
            self._open()
        self._committed = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cause = None if error is None else first_leaf(error)
        try:
            if not self._removed:
                self.close()
        except sqlite3.OperationalError as failure:
            cause = failure
        if isinstance(cause, sqlite3.OperationalError) or (isinstance(cause, OSError) and cause.errno in _NO_ROOM):
            raise CrawlFailedError(
                f"{self._directory} cannot be written: {cause}. Make room and run again: what was fetched is kept"
            ) from error
        if cause is not error and cause is not None:
            raise cause

    def add(
        self,
        row: dict[str, Any],
        blob: bytes | None = None,
        name: str | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        """Write the outcome of ``row["kind"]`` and ``row["url"]``.

        ``name`` ties it to a blob; the first one to bring it gives its bytes and what is told ``about`` it.
        """
        if blob is not None and not self.has_blob(name or ""):
            self._write_blob(blob)
            place = (name, self._end, len(blob), json.dumps(about, ensure_ascii=False))
            self.database.execute("INSERT INTO blobs VALUES (?, ?, ?, ?)", place)
            self._end += len(blob)
        text = json.dumps(row, ensure_ascii=False, default=str)
        outcome = (row["kind"], row["url"], str(row["status"]), name, text)
        self.database.execute("INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?)", outcome)
        if time.monotonic() - self._committed > _COMMIT_SECONDS:
            self.commit()

    def _write_blob(self, blob: bytes) -> None:
        left, place = memoryview(blob), self._end
        while left:
            written = os.pwrite(self._blobs, left, place)
            left, place = left[written:], place + written

    def commit(self) -> None:
        """Make what was added survive a kill; happens by itself four times a second."""
        self.database.commit()
        self._committed = time.monotonic()

    def row(self, kind: str, url: str) -> dict[str, Any] | None:
        """Return an outcome, or None where there is none yet."""
        found = self.database.execute("SELECT row FROM outcomes WHERE kind = ? AND url = ?", (kind, url)).fetchone()
        return json.loads(found[0]) if found else None

    def rows(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield every outcome, or those of one kind, in order of kind and URL."""
        where, values = ("WHERE kind = ?", (kind,)) if kind else ("", ())
        for (text,) in self.database.execute(f"SELECT row FROM outcomes {where} ORDER BY kind, url", values):
            yield json.loads(text)

    def statuses(self, kind: str) -> dict[str, int]:
        """Return how many outcomes of a kind ended in each status, most frequent first."""
        query = "SELECT status, count(*) FROM outcomes WHERE kind = ? GROUP BY status ORDER BY count(*) DESC, status"
        return dict(self.database.execute(query, (kind,)).fetchall())

    def has_blob(self, name: str) -> bool:
        """Return whether the bytes of a name are there."""
        return self.database.execute("SELECT 1 FROM blobs WHERE name = ?", (name,)).fetchone() is not None

    def blob(self, name: str) -> tuple[bytes, dict[str, Any]]:
        """Return the bytes of a name and what was told about them. Raises KeyError where there are none."""
        found = self.database.execute("SELECT start, size, about FROM blobs WHERE name = ?", (name,)).fetchone()
        if found is None:
            raise KeyError(name)
        start, size, about = found
        return os.pread(self._blobs, size, start), json.loads(about)

    def blob_names(self) -> Iterator[str]:
        """Yield the names of the blobs in order."""
        for (name,) in self.database.execute("SELECT name FROM blobs ORDER BY name"):
            yield name

    def rows_of_blob(self, name: str) -> list[dict[str, Any]]:
        """Return the outcomes tied to a blob, in order of URL."""
        query = "SELECT row FROM outcomes WHERE blob = ? ORDER BY url"
        return [json.loads(text) for (text,) in self.database.execute(query, (name,))]

    def close(self) -> None:
        """Keep everything for the next run."""
        self.database.commit()
        self.database.close()
        os.close(self._blobs)

    def finish(self, summary: dict[str, Any]) -> None:
        """Write the summary of the finished stage beside the journal, for ``finished`` to find, and remove it."""
        file = self._directory.parent / FUNNEL_FILE
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps({"purpose": self._purpose, "summary": summary}, indent=1) + "\n")
        temporary.replace(file)
        self.remove()

    def remove(self) -> None:
        """Delete the journal; leaving it then does nothing."""
        self.database.close()
        os.close(self._blobs)
        self._delete_files()
        self._directory.rmdir()
        self._removed = True

    def _open(self) -> bool:
        """Open both files; return whether what they hold belongs to this purpose."""
        self.database = sqlite3.connect(self._directory / "journal.sqlite")
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = OFF")  # a kill loses nothing; a power cut costs another fetch
        self.database.executescript(_TABLES)
        self._blobs = os.open(self._directory / "blobs.bin", os.O_RDWR | os.O_CREAT, 0o644)
        self.database.execute("INSERT OR IGNORE INTO purpose VALUES (?)", (self._purpose,))
        self.database.commit()
        purposes = self.database.execute("SELECT count(*) FROM purpose").fetchone()[0]
        self._end = self.database.execute("SELECT coalesce(max(start + size), 0) FROM blobs").fetchone()[0]
        if purposes == 1 and os.fstat(self._blobs).st_size >= self._end:
            return True
        self.database.close()
        os.close(self._blobs)
        return False

    def _delete_files(self) -> None:
        for path in self._directory.iterdir():
            path.unlink()


def finished(journal_directory: Path, purpose: str) -> dict[str, Any] | None:
    """Return the summary that a stage wrote when it was through with this work, or None where it was not.

    So a kill between the end of a stage and its publication costs nothing.
    """
    file = journal_directory.parent / FUNNEL_FILE
    if not file.exists():
        return None
    told = json.loads(file.read_text())
    if told["purpose"] != purpose:
        return None
    shutil.rmtree(journal_directory, ignore_errors=True)
    return dict(told["summary"])


def first_leaf(error: BaseException) -> BaseException:
    """Return what began it: task groups wrap the first failure of their tasks in groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
