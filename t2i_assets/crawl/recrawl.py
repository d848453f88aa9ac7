"""What an earlier snapshot has: asked for only if it changed, and taken from there where it did not.

Its ledger, PAGES and sidecars are indexed on disk first, in order, so ten million URLs need no more memory than ten.
"""

import hashlib
import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow.parquet as pq
from multidict import CIMultiDict

from t2i_assets.corpus.artifacts import Artifact, MissingArtifactError, read_ref
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import SAMPLES
from t2i_assets.corpus.shards import SHARD_GLOB, read_image
from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.http.fetch import Validators
from t2i_assets.crawl.ledger import LEDGER_FILE
from t2i_assets.crawl.page_stage.headers import kept_headers
from t2i_assets.crawl.status import Status

_TAKEN = (Status.OK, Status.UNCHANGED)
_BATCH = 5000
_GROUPS_HELD = 4
_OF_NO_EFFECT = ("workers", "samples_per_shard")
"""Settings that change no stored image."""


@dataclass(frozen=True)
class Previous:
    """The newest earlier results: directories of PAGES and shards with the ledger of each, None where there are none.

    ``image_settings`` are those that the shards were made with.
    """

    pages_dir: Path | None = None
    pages_ledger: Path | None = None
    shards_dir: Path | None = None
    shards_ledger: Path | None = None
    image_settings: dict[str, Any] | None = None


def find_previous(home: Home, snapshot: str, shards_code_version: str | None = None) -> Previous | None:
    """Return what the newest other snapshots hold, or None where no other one is materialized.

    Shards that another ``shards_code_version`` wrote are left out, where one is given.
    """
    pages, shards = _newest(home, "pages", snapshot), _newest(home, "shards", snapshot)
    if shards is not None and shards_code_version not in (None, shards.manifest.code_version):
        shards = None
    if pages is None and shards is None:
        return None
    return Previous(
        pages.path if pages else None,
        pages.path / LEDGER_FILE if pages else None,
        shards.path if shards else None,
        shards.path / LEDGER_FILE if shards else None,
        shards.manifest.config.get("crawl", {}).get("images") if shards else None,
    )


def _newest(home: Home, asset: str, snapshot: str) -> Artifact | None:
    found = []
    for ref in sorted((home.refs / asset).glob("*.json")):
        if ref.stem == snapshot:
            continue
        try:
            found.append(read_ref(home, asset, ref.stem))
        except MissingArtifactError:
            continue  # deleted since; an older one will do
    return max(found, key=lambda artifact: artifact.manifest.created, default=None)


@dataclass(frozen=True)
class EarlierPage:
    """A page as it was: where its redirects ended, its headers as far as they were kept, its bytes."""

    final_url: str
    headers: CIMultiDict[str]
    body: bytes

    @property
    def validators(self) -> Validators:
        """What makes a request conditional."""
        return Validators(etag=self.headers.get("ETag"), last_modified=self.headers.get("Last-Modified"))


class EarlierPages:
    """The pages of an earlier snapshot by URL. Use as a context manager; the index lies in ``scratch`` meanwhile."""

    def __init__(self, previous: Previous, scratch: Path) -> None:
        self._previous = previous
        self._file = scratch / "earlier-pages.sqlite"
        self._groups: OrderedDict[tuple[int, int], list[dict[str, Any]]] = OrderedDict()

    def __enter__(self) -> Self:
        self._index = _fresh(self._file)
        self._files = sorted(self._previous.pages_dir.glob("[0-9]*.parquet")) if self._previous.pages_dir else []
        self._index.executescript(
            """
            CREATE TABLE answers (url TEXT PRIMARY KEY, etag TEXT, last_modified TEXT) WITHOUT ROWID;
            CREATE TABLE places (url TEXT PRIMARY KEY, file INTEGER, row_group INTEGER, row INTEGER) WITHOUT ROWID;
            """
        )
        answers = _answers(self._previous.pages_ledger, "page")
        self._index.executemany("INSERT OR IGNORE INTO answers VALUES (:url, :etag, :last_modified)", answers)
        self._index.executemany("INSERT OR IGNORE INTO places VALUES (?, ?, ?, ?)", _places(self._files))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._index.close()
        self._file.unlink()

    def find(self, url: str) -> EarlierPage | None:
        """Return a page that the server can be asked about, or None."""
        query = "SELECT etag, last_modified, file, row_group, row FROM answers JOIN places USING (url) WHERE url = ?"
        found = self._index.execute(query, (url,)).fetchone()
        if found is None:
            return None
        etag, last_modified, file, row_group, row = found
        page = self._group(file, row_group)[row]
        headers = kept_headers(page)
        for name, value in (
            ("Content-Type", page["content_type"]),
            ("ETag", etag),
            ("Last-Modified", last_modified),
        ):
            if value is not None:
                headers[name] = value
        return EarlierPage(page["final_url"], headers, page["body"])

    def _group(self, file: int, row_group: int) -> list[dict[str, Any]]:
        """Return the rows of a row group; the last few are held, since a site is mostly walked as it was before."""
        place = (file, row_group)
        if place not in self._groups:
            with pq.ParquetFile(self._files[file]) as parquet:
                self._groups[place] = parquet.read_row_group(row_group).to_pylist()
            if len(self._groups) > _GROUPS_HELD:
                self._groups.popitem(last=False)
        self._groups.move_to_end(place)
        return self._groups[place]


class EarlierImages:
    """The images of an earlier snapshot by URL and by key. Use as a context manager; the index lies in ``scratch``.

    It is empty where the images were stored with other settings than ``images``: they would not be what a new fetch
    gives.
    """

    def __init__(self, previous: Previous, images: ImageConfig, scratch: Path) -> None:
        self._previous = previous
        self._usable = _effective(previous.image_settings) == _effective(images.model_dump(mode="json"))
        self._file = scratch / "earlier-images.sqlite"

    def __enter__(self) -> Self:
        self._index = _fresh(self._file)
        self._index.executescript(
            """
            CREATE TABLE answers (url TEXT PRIMARY KEY, key TEXT, row TEXT) WITHOUT ROWID;
            CREATE TABLE samples (key TEXT PRIMARY KEY, row TEXT) WITHOUT ROWID;
            """
        )
        if self._usable and self._previous.shards_dir is not None:
            answers = _answers(self._previous.shards_ledger, "image")
            rows = ((row["url"], row["key"], json.dumps(row)) for row in answers)
            self._index.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", rows)
            samples = ((row["key"], json.dumps(row)) for row in _samples(self._previous.shards_dir))
            self._index.executemany("INSERT OR IGNORE INTO samples VALUES (?, ?)", samples)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._index.close()
        self._file.unlink()

    def outcome(self, url: str) -> dict[str, Any] | None:
        """Return the LEDGER row of an image URL whose sample is there and that the server can be asked about."""
        query = "SELECT answers.row FROM answers JOIN samples USING (key) WHERE url = ?"
        found = self._index.execute(query, (url,)).fetchone()
        return json.loads(found[0]) if found else None

    def validators_of(self, url: str) -> Validators | None:
        """Return what makes the request of an image URL conditional, None where it must not be."""
        row = self.outcome(url)
        return Validators(etag=row["etag"], last_modified=row["last_modified"]) if row else None

    def image(self, key: str) -> tuple[bytes, dict[str, Any]] | None:
        """Return the stored bytes of a sample and its SAMPLES row without texts; None where the shard is damaged."""
        found = self._index.execute("SELECT row FROM samples WHERE key = ?", (key,)).fetchone()
        if found is None or self._previous.shards_dir is None:
            return None
        row = json.loads(found[0])
        try:
            data = read_image(self._previous.shards_dir, row)
        except (OSError, EOFError):
            return None
        return (data, row) if hashlib.sha256(data).hexdigest() == row["image_sha256"] else None


def _fresh(file: Path) -> sqlite3.Connection:
    """Open a new index; one that a killed run left is no use."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    index = sqlite3.connect(file)
    index.execute("PRAGMA journal_mode = OFF")
    index.execute("PRAGMA synchronous = OFF")
    return index


def _answers(ledger: Path | None, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the LEDGER rows of what was taken and can be asked about again; an old ledger tells nothing of that."""
    if ledger is None or not ledger.exists():
        return
    with pq.ParquetFile(ledger) as parquet:
        if "etag" not in parquet.schema_arrow.names:
            return
        for batch in parquet.iter_batches(_BATCH):
            for row in batch.to_pylist():
                if row["kind"] == kind and row["status"] in _TAKEN and (row["etag"] or row["last_modified"]):
                    yield row


def _places(files: list[Path]) -> Iterator[tuple[str, int, int, int]]:
    """Yield (URL, file, row group, row) of every page."""
    for number, file in enumerate(files):
        with pq.ParquetFile(file) as parquet:
            for row_group in range(parquet.num_row_groups):
                urls = parquet.read_row_group(row_group, columns=["url"]).column(0).to_pylist()
                for row, url in enumerate(urls):
                    yield url, number, row_group, row


def _samples(shards_dir: Path) -> Iterator[dict[str, Any]]:
    """Yield the SAMPLES rows without their texts, a shard at a time; a sidecar of an older form is passed over."""
    columns = [name for name in SAMPLES.names if name not in ("texts", "alt_text")]
    for file in sorted(shards_dir.glob(SHARD_GLOB)):
        with pq.ParquetFile(file) as parquet:
            if set(columns) <= set(parquet.schema_arrow.names):
                yield from parquet.read(columns).to_pylist()


def _effective(settings: dict[str, Any] | None) -> dict[str, Any] | None:
    if settings is None:
        return None
    return {name: value for name, value in settings.items() if name not in _OF_NO_EFFECT}
