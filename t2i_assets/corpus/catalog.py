"""The DuckDB catalog: views over every file below ``T2I_HOME``, in one small file that readers open read-only.

DuckDB lets one writer lock everybody out, so the file is never written in place: it is built under
another name and swapped in. The data stays in parquet files that appear whole or not at all, hence a
query answers while a run goes on.
"""

import base64
import csv
import io
import json
import os
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from t2i_assets.corpus.home import Home
from t2i_assets.corpus.tables import write_table
from t2i_assets.corpus.views import FILES, MANIFESTS, REFS, REGISTRY, SEEDS, VIEWS, view_sql
from t2i_assets.corpus.votes import set_broken_aside

ATTEMPTS = 5


class QueryError(ValueError):
    """The statement is wrong or would write; the message is DuckDB's, or says so."""


class MissingCatalogError(QueryError):
    """There is no catalog yet; the message says how to make one."""


def build_catalog(home: Home) -> dict[str, int]:
    """Write ``catalog.duckdb`` and swap it in; return the number of rows of each view."""
    root = home.root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    _write_seeds(root / SEEDS)
    set_broken_aside(home)
    temporary = root / f".catalog.{os.getpid()}.duckdb"
    temporary.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(temporary)) as connection:
            connection.execute("CREATE TABLE catalog AS SELECT ? AS root, now() AS built", [str(root)])
            for view in VIEWS:
                connection.execute(view_sql(view, root))
                connection.execute(f"COMMENT ON VIEW {view.name} IS '{view.description.replace(chr(39), chr(39) * 2)}'")
            counts = {view.name: _count(connection, view.name) for view in VIEWS}
        os.replace(temporary, home.catalog)
    finally:
        temporary.unlink(missing_ok=True)
    return counts


def query(home: Home, sql: str) -> pa.Table:
    """Return what one reading statement gives.

    Raises MissingCatalogError where no catalog was built, QueryError where the statement is wrong or
    would write.
    """
    if not home.catalog.exists():
        raise MissingCatalogError(
            f"there is no catalog in {home.root}: run `t2i demo`, or materialize the asset dataset_stats"
        )
    _refuse_writing(sql)
    for attempt in range(ATTEMPTS):
        try:
            return _run(home, sql)
        except duckdb.IOException as error:
            # A run may have replaced an artifact between the listing of its files and their reading.
            if attempt + 1 == ATTEMPTS:
                raise QueryError(str(error)) from error
            time.sleep(0.2 * (attempt + 1))
        except duckdb.Error as error:
            raise QueryError(str(error)) from error
    raise AssertionError("unreachable")


def open_catalog(home: Home) -> duckdb.DuckDBPyConnection:
    """Return a read-only connection; a catalog whose home was moved is built again first."""
    connection = duckdb.connect(str(home.catalog), read_only=True)
    if connection.execute("SELECT root FROM catalog").fetchall() == [(str(home.root.resolve()),)]:
        return connection
    connection.close()
    build_catalog(home)
    return duckdb.connect(str(home.catalog), read_only=True)


def format_rows(table: pa.Table, form: str) -> str:
    """Return a query's answer as text: ``table`` for people, ``csv`` or ``json`` (a list of objects) for programs."""
    rows = table.to_pylist(maps_as_pydicts="strict")
    if form == "json":
        return json.dumps(rows, default=_plain, ensure_ascii=False, indent=1)
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table.column_names)
        writer.writerows([_cell(value) for value in row.values()] for row in rows)
        return text.getvalue().removesuffix("\n")
    if form != "table":
        raise ValueError(f"there is no format {form!r}: table, csv and json are known")
    numeric = [pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in table.schema.types]
    columns = [
        Column(name, justify="right" if number else "left", overflow="fold")
        for name, number in zip(table.column_names, numeric, strict=True)
    ]
    drawn = Table(*columns)
    for row in rows:
        drawn.add_row(*(Text(_cell(value, for_people=True)) for value in row.values()))
    console = Console(file=io.StringIO(), width=shutil.get_terminal_size((120, 24)).columns)
    with console.capture() as capture:
        console.print(drawn)
    return capture.get().rstrip("\n")


def _cell(value: Any, for_people: bool = False) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>" if for_people else _plain(value)
    if isinstance(value, float) and for_people:
        return f"{value:.6g}"
    if isinstance(value, datetime) and for_people:
        return value.isoformat(" ", "seconds")
    if isinstance(value, dict | list):
        return json.dumps(value, default=_plain, ensure_ascii=False)
    return str(value)


def _plain(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _run(home: Home, sql: str) -> pa.Table:
    with open_catalog(home) as connection:
        return connection.sql(sql).to_arrow_table()


def _refuse_writing(sql: str) -> None:
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    if len(statements) != 1:
        raise QueryError(f"one statement at a time, not {len(statements)}")
    kind = statements[0].type
    if kind not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise QueryError(f"the catalog is read-only: {kind.name} is not a query")


def _count(connection: duckdb.DuckDBPyConnection, view: str) -> int:
    [(count,)] = connection.execute(f"SELECT count(*) FROM {view}").fetchall()
    return int(count)


def _write_seeds(directory: Path) -> None:
    for name, (schema, _) in FILES.items():
        write_table(directory / f"{name}.parquet", schema.empty_table(), schema)
    for name in (MANIFESTS, REFS, REGISTRY):
        temporary = directory / f".{name}.{os.getpid()}.tmp"
        temporary.write_text("[]")
        temporary.replace(directory / f"{name}.json")
