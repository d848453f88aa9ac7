"""Parquet tables that keep to their schema and appear whole or not at all."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

_ROWS_AS_OBJECTS = 1000
"""Rows that wait as Python objects, which take ten times the memory of Arrow's."""


class SchemaMismatchError(ValueError):
    """Rows do not fit the schema of their table; the message names the table and the field."""


def as_table(rows: Iterable[Mapping[str, Any]] | pa.Table, schema: pa.Schema) -> pa.Table:
    """Return ``rows`` as a table of ``schema``.

    Raises SchemaMismatchError on an unknown field, on a null where none is allowed or on a wrong type.
    """
    name = (schema.metadata or {}).get(b"name", b"table").decode()
    if isinstance(rows, pa.Table):
        table = rows.select(schema.names).cast(schema)
    else:
        rows = list(rows)
        unknown = sorted({field for row in rows for field in row} - set(schema.names))
        if unknown:
            raise SchemaMismatchError(
                f"table {name!r} has no field {unknown[0]!r}: its fields are {', '.join(schema.names)}"
            )
        try:
            table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise SchemaMismatchError(f"table {name!r}: {error}") from error
    for field in schema:
        if not field.nullable and table.column(field.name).null_count:
            raise SchemaMismatchError(f"table {name!r}: field {field.name!r} must not be null")
    return table


def write_table(path: Path, rows: Iterable[Mapping[str, Any]] | pa.Table, schema: pa.Schema) -> pa.Table:
    """Write ``rows`` to ``path`` as parquet, through a temporary name and a rename; return the table."""
    table = as_table(rows, schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    pq.write_table(table, temporary, compression="zstd")
    temporary.replace(path)
    return table


class TableWriter:
    """Writes rows of one schema as they come, a row group at a time; the file appears whole when the writer is left.

    Use as a context manager; an exception leaves no file.
    """

    def __init__(self, path: Path, schema: pa.Schema, rows_per_group: int = 20_000) -> None:
        self.path = path
        self.rows = 0
        self._schema = schema
        self._rows_per_group = rows_per_group
        self._waiting: list[Mapping[str, Any]] = []
        self._group: list[pa.Table] = []
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._temporary, self._schema, compression="zstd")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        whole = False
        try:
            if error is None:
                self._flush()
                whole = True
        finally:
            self._writer.close()
            if whole:
                self._temporary.replace(self.path)
            else:
                self._temporary.unlink()

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row. Raises SchemaMismatchError as ``as_table`` does, at the latest when the writer is left."""
        self._waiting.append(row)
        self.rows += 1
        if len(self._waiting) >= _ROWS_AS_OBJECTS:
            self._pack()
        if sum(map(len, self._group)) >= self._rows_per_group:
            self._flush()

    def _pack(self) -> None:
        self._group.append(as_table(self._waiting, self._schema))
        self._waiting = []

    def _flush(self) -> None:
        if self._waiting or not self.rows:
            self._pack()
        if self._group:
            self._writer.write_table(pa.concat_tables(self._group).combine_chunks())
        self._group = []


def read_table(path: Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Read one parquet file, or every parquet file of a directory in order of name, as a table of ``schema``.

    The ``metrics.parquet`` that a job leaves beside its tables is not one of them.
    """
    files = sorted(set(path.glob("*.parquet")) - {path / "metrics.parquet"}) if path.is_dir() else [path]
    tables = [pq.read_table(file, columns=columns) for file in files]
    if not tables:
        wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
        return wanted.empty_table()
    return pa.concat_tables(tables).replace_schema_metadata(schema.metadata)


def read_rows(path: Path, schema: pa.Schema, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """Read as ``read_table`` does, as a list of dictionaries."""
    return read_table(path, schema, columns).to_pylist()
