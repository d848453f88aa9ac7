"""What the report reads: rows of the catalog, and the pictures that rows point to."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from PIL import Image

from t2i_assets.corpus.catalog import build_catalog, open_catalog
from t2i_assets.corpus.home import Home

Row = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """A home and a read-only connection to its catalog."""

    home: Home
    connection: duckdb.DuckDBPyConnection

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        """Return the rows of a query; maps become dictionaries."""
        relation = self.connection.sql(sql, params=list(parameters)) if parameters else self.connection.sql(sql)
        return list(relation.to_arrow_table().to_pylist(maps_as_pydicts="strict"))

    def paths(self, asset: str) -> dict[str, Path]:
        """Return the directory of each partition of the asset, as they stand now."""
        found = self.rows("SELECT partition, path FROM refs WHERE asset = ? ORDER BY partition", asset)
        return {row["partition"]: self.home.root / row["path"] for row in found}

    def is_materialized(self, *assets: str) -> bool:
        """Return whether every one of the assets has at least one partition."""
        return all(self.paths(asset) for asset in assets)


@contextmanager
def evidence(home: Home) -> Iterator[Evidence]:
    """Open the catalog of ``home``; build it where there is none."""
    if not home.catalog.exists():
        build_catalog(home)
    with open_catalog(home) as connection:
        yield Evidence(home, connection)


def resized(data: bytes, side: int) -> Image.Image:
    """Return the image as RGB at ``side`` pixels, as the models see it."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return image.resize((side, side), Image.Resampling.LANCZOS)
