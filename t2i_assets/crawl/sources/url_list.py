"""Tables of image URLs and texts, read a batch at a time: parquet, csv, tsv and jsonl, the text ones also gzipped."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from t2i_assets.crawl.config import UrlListSource
from t2i_assets.crawl.html.page import Text
from t2i_assets.crawl.sources.local import file_url
from t2i_assets.crawl.sources.paths import expand
from t2i_assets.crawl.sources.rows import BAD_ARCHIVE, Offer, SourceError, web_address, web_link
from t2i_assets.crawl.sources.sidecars import UnreadableTextError, as_texts, distinct

_FIELD = "url_list"
_FORMATS = (".parquet", ".csv", ".tsv", ".jsonl")
_ROWS_PER_BATCH = 2000
_BUFFER_BYTES = 1 << 20
_LONGEST_LINE = 10_000_000
_ROWS_THAT_SHOW_COLUMNS = 1000
_BROKEN = (OSError, EOFError, zlib.error, pa.ArrowException)

_Row = dict[str, Any] | None
"""Values by column; None is a row that cannot be read."""


def url_list_offers(source: UrlListSource) -> Iterator[Offer]:
    """Yield one offer per row, a rejected one for a row without a URL, and one for what a broken file withholds.

    Every file's columns are looked at first. Raises SourceError where a file or a column is not there.
    """
    paths = expand(source.paths)
    for path in paths:
        _check_columns(path, source)
    left = source.max_rows
    for path in paths:
        rows = 0
        for offer in _file_offers(path, source, left):
            rows += offer.problem != BAD_ARCHIVE
            yield offer
        if left is not None:
            left -= rows
            if left <= 0:
                return


def _file_offers(path: Path, source: UrlListSource, most: int | None) -> Iterator[Offer]:
    number = 0
    try:
        for row in islice(_rows(path, source), most):
            yield _offer(row, number, path, source)
            number += 1
    except _BROKEN:
        yield Offer(file_url(path), _FIELD, file_url(path), number, problem=BAD_ARCHIVE)


def _offer(row: _Row, number: int, path: Path, source: UrlListSource) -> Offer:
    place = file_url(path, f"row={number}")
    if row is None:
        return Offer(place, _FIELD, file_url(path), number, problem="bad_row")
    url, problem = web_address(row.get(source.url_column))
    texts: list[Text] = []
    for column in source.text_columns:
        try:
            texts += [Text(text, column) for text in as_texts(row.get(column))]
        except UnreadableTextError:
            problem = problem or "bad_text"
    page_url = web_link(row.get(source.page_column)) if source.page_column else None
    license_url = web_link(row.get(source.license_column)) if source.license_column else None
    return Offer(
        url or place, _FIELD, page_url or file_url(path), number, distinct(texts), None, None, license_url, problem
    )


def _wanted(source: UrlListSource) -> list[str]:
    named = [source.url_column, *source.text_columns, source.page_column, source.license_column]
    return list(dict.fromkeys(name for name in named if name is not None))


def _check_columns(path: Path, source: UrlListSource) -> None:
    """Raise SourceError where the file has another form or lacks a column; a broken file is met when it is read."""
    if not _name(path).endswith(_FORMATS):
        raise SourceError(f"{path} is not one of {', '.join(_FORMATS)}, the text ones with or without .gz")
    try:
        columns = _columns(path, source)
    except _BROKEN:
        return
    missing = [name for name in _wanted(source) if name not in columns]
    if columns and missing:
        raise SourceError(f"{path} has no column {missing[0]!r}: its columns are {', '.join(columns)}")


def _columns(path: Path, source: UrlListSource) -> list[str]:
    if _name(path).endswith(".parquet"):
        with pq.ParquetFile(path) as parquet:
            return list(parquet.schema_arrow.names)
    if not _name(path).endswith(".jsonl") and source.columns is not None:
        return source.columns
    shown = islice(_rows(path, source), _ROWS_THAT_SHOW_COLUMNS)
    return list(dict.fromkeys(name for row in shown if row is not None for name in row))


def _rows(path: Path, source: UrlListSource) -> Iterator[_Row]:
    """Yield the rows of a file of any form. Raises one of ``_BROKEN`` where it is broken, after what is whole."""
    if _name(path).endswith(".parquet"):
        yield from _parquet_rows(path, _wanted(source))
        return
    with _open(path) as file:
        if _name(path).endswith(".jsonl"):
            yield from map(_json_row, _lines(file))
        else:
            yield from _csv_rows(file, _name(path).endswith(".tsv"), source.columns)


def _parquet_rows(path: Path, columns: list[str]) -> Iterator[_Row]:
    with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as parquet:
        for batch in parquet.iter_batches(_ROWS_PER_BATCH, columns=columns, use_threads=False):
            yield from batch.to_pylist()


def _csv_rows(file: BinaryIO, tabs: bool, columns: list[str] | None) -> Iterator[_Row]:
    """Yield rows; in a tsv quotes are plain characters, or one that is never closed would swallow what follows."""
    lines = _lines(file)
    reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines)
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield None
            continue
        if columns is None:
            columns = values
        else:
            yield dict(zip(columns, values, strict=True)) if len(values) == len(columns) else None


def _json_row(line: str) -> _Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _lines(file: BinaryIO) -> Iterator[str]:
    """Yield the lines that are not blank; of one longer than 10 MB the beginning, which no reader takes for a row."""
    first = True
    while line := file.readline(_LONGEST_LINE):
        rest = line
        while len(rest) == _LONGEST_LINE and not rest.endswith(b"\n"):
            rest = file.readline(_LONGEST_LINE)
        text = line.decode("utf-8-sig" if first else "utf-8", "replace")
        first = False
        if text.strip():
            yield text


def _open(path: Path) -> BinaryIO:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _name(path: Path) -> str:
    return path.name.lower().removesuffix(".gz")
