"""PAGES files as they grow: at most a thousand pages in each, and no more than some megabytes of them in memory."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow.parquet as pq

from t2i_assets.corpus.schemas import PAGES
from t2i_assets.corpus.tables import as_table

_PAGES_PER_FILE = 1000
_BYTES_PER_GROUP = 16 << 20


class PageFiles:
    """Writes pages into ``00000.parquet``, ``00001.parquet`` …; ``first`` is the number of the first file.

    The same pages give the same files. Use as a context manager: each file appears under its name when it is full or
    the writer is left; an exception leaves no unfinished file.
    """

    def __init__(self, directory: Path, first: int = 0) -> None:
        self.pages = 0
        self.next_file = first
        self._directory = directory
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._in_file = 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish_file()
        elif self._writer is not None:
            self._writer.close()
            self._temporary.unlink()

    def write(self, row: dict[str, Any]) -> None:
        """Append one row of PAGES."""
        self._rows.append(row)
        self._bytes += len(row["body"])
        self._in_file += 1
        self.pages += 1
        if self._in_file == _PAGES_PER_FILE:
            self.finish_file()
        elif self._bytes >= _BYTES_PER_GROUP:
            self._flush()

    def finish_file(self) -> None:
        """Let the file that is being written appear; the next page begins another."""
        self._flush()
        if self._writer is None:
            return
        self._writer.close()
        self._temporary.replace(self._directory / f"{self.next_file:05d}.parquet")
        self._writer, self._in_file = None, 0
        self.next_file += 1

    @property
    def _temporary(self) -> Path:
        return self._directory / f".{self.next_file:05d}.parquet.tmp"

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._temporary, PAGES, compression="zstd")
        self._writer.write_table(as_table(self._rows, PAGES))
        self._rows, self._bytes = [], 0


def discard_files_from(directory: Path, first: int) -> None:
    """Remove the PAGES files from a number on, unfinished ones too: what a killed run left."""
    for path in [*directory.glob("[0-9]*.parquet"), *directory.glob(".*.parquet.tmp")]:
        if int(path.name.strip(".").partition(".")[0]) >= first:
            path.unlink()
