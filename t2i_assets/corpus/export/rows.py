"""The samples of a blend, one after the other, each with the caption that the trainers would draw."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq

from t2i_assets.corpus.artifacts import Artifact, read_ref
from t2i_assets.corpus.blend import draw
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import SAMPLES
from t2i_assets.corpus.shards import SHARD_GLOB, read_image
from t2i_assets.corpus.snapshots import HUMAN
from t2i_assets.corpus.tables import read_table

COLUMNS = (
    *("key", "snapshot", "source", "image_url", "page_url", "license_url", "consent", "alt_text"),
    *("width", "height", "original_width", "original_height", "original_sha256", "image_sha256", "phash"),
)
"""Columns of SAMPLES that every format carries under their own names."""

_BATCH = 10_000


class ExportError(ValueError):
    """The blend cannot be exported as asked; the message says why."""


@dataclass(frozen=True)
class Drawn:
    """One image with its caption in one epoch; ``name`` is unique in the export, ``about`` its other columns."""

    name: str
    image: bytes
    ext: str
    caption: str
    about: dict[str, Any]


class BlendSamples:
    """The samples of a blend in order of snapshot and shard; captions wait in a file, so memory stays flat.

    Raises ExportError, naming a sample, where one that stands in the blend is in no shard.
    """

    def __init__(self, home: Home, blend: Artifact, scratch: Path) -> None:
        self._scratch = scratch
        self._captions = sqlite3.connect(scratch)
        self._load(blend.path)
        names = self._captions.execute("SELECT DISTINCT snapshot FROM captions ORDER BY 1").fetchall()
        self.shards = {snapshot: _images(home, snapshot) for (snapshot,) in names}
        self._check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._captions.close()
        self._scratch.unlink()

    def __len__(self) -> int:
        return int(self._captions.execute("SELECT count(DISTINCT key) FROM captions").fetchone()[0])

    def draw(self, seed: int, epochs: int, limit: int | None) -> Iterator[Drawn]:
        """Yield each of the first ``limit`` samples once per epoch, with the caption of (seed, epoch, key)."""
        taken = 0
        for snapshot, shards in self.shards.items():
            for sidecar in sorted(shards.path.glob(SHARD_GLOB)):
                for row in read_table(sidecar, SAMPLES).to_pylist():
                    if taken == limit:
                        return
                    choices = self._choices(row["key"], snapshot)
                    if not choices:
                        continue
                    taken += 1
                    yield from _drawn(row, read_image(shards.path, row), choices, seed, epochs)

    def _choices(self, key: str, snapshot: str) -> list[tuple[str, str, float]]:
        found = self._captions.execute(
            "SELECT source, caption, weight FROM captions WHERE key = ? AND snapshot = ? ORDER BY rowid",
            (key, snapshot),
        )
        return found.fetchall()

    def _load(self, directory: Path) -> None:
        fields = ["key", "snapshot", "source", "caption", "weight"]
        self._captions.execute("PRAGMA synchronous = OFF")
        self._captions.execute("CREATE TABLE captions (key, snapshot, source, caption, weight)")
        for path in sorted(directory.glob("*.parquet")):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_BATCH, columns=fields):
                    rows = (tuple(row[field] for field in fields) for row in batch.to_pylist())
                    self._captions.executemany("INSERT INTO captions VALUES (?, ?, ?, ?, ?)", rows)
        self._captions.execute("CREATE INDEX by_key ON captions (key, snapshot)")
        self._captions.commit()

    def _check(self) -> None:
        self._captions.execute("CREATE TEMP TABLE stored (key, snapshot, PRIMARY KEY (key, snapshot)) WITHOUT ROWID")
        for snapshot, shards in self.shards.items():
            for sidecar in sorted(shards.path.glob(SHARD_GLOB)):
                if sidecar.with_suffix(".tar").exists():
                    keys = pq.read_table(sidecar, columns=["key"])["key"].to_pylist()
                    pairs = ((key, snapshot) for key in keys)
                    self._captions.executemany("INSERT OR IGNORE INTO stored VALUES (?, ?)", pairs)
        gone = self._captions.execute(
            "SELECT key, snapshot FROM captions EXCEPT SELECT key, snapshot FROM stored ORDER BY 1"
        ).fetchall()
        if gone:
            key, snapshot = gone[0]
            raise ExportError(
                f"{len(gone)} samples of the blend are in no shard, the first is {key} of snapshot {snapshot!r}: "
                "materialize the blend again, or bring the shards back"
            )


def _images(home: Home, snapshot: str) -> Artifact:
    return read_ref(home, "human_captions") if snapshot == HUMAN else read_ref(home, "shards", snapshot)


def _drawn(
    row: dict[str, Any], image: bytes, choices: list[tuple[str, str, float]], seed: int, epochs: int
) -> Iterator[Drawn]:
    for epoch in range(epochs):
        source, caption, _ = choices[draw(seed, epoch, row["key"], [weight for *_, weight in choices])]
        name = row["key"] if epochs == 1 else f"{row['key']}-{epoch}"
        about = {**{column: row[column] for column in COLUMNS}, "caption_source": source, "epoch": epoch}
        yield Drawn(name, image, row["image_ext"], caption, about)
