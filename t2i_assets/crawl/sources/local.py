"""Images that lie on this machine: their addresses, and the only way in which one is opened.

A folder's image is ``file:///photos/cat.jpg``, a tar's member ``file:///data/00000.tar#cat.jpg``. Only what lies under
the paths of the source itself is opened, wherever the address came from.
"""

import contextlib
import os
import stat
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote_to_bytes, urlsplit

from t2i_assets.crawl.config import FolderSource, WebDatasetSource
from t2i_assets.crawl.sources.paths import expand
from t2i_assets.crawl.sources.tars import members
from t2i_assets.crawl.status import Status

_TARS_REMEMBERED = 64


class LocalImageError(Exception):
    """A local image cannot be read; ``status`` is its outcome in the ledger."""

    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def file_url(path: Path, member: str | None = None) -> str:
    """Return the address of a file given by its absolute path, or of a member of a tar."""
    fragment = "" if member is None else "#" + quote(os.fsencode(member), safe="/=")
    return path.as_uri() + fragment


def read_local(url: str, source: FolderSource | WebDatasetSource, max_bytes: int = 30_000_000) -> bytes:
    """Return the bytes of an image of ``source``.

    Raises LocalImageError where the address leads out of the source, to nothing, or to more than ``max_bytes``.
    """
    path, member = _parse(url)
    try:
        if isinstance(source, FolderSource):
            root = Path(source.path).expanduser().resolve()
            if not path.resolve().is_relative_to(root):
                raise LocalImageError(Status.OFF_SITE, f"{path} lies outside of {root}")
            with _open(path) as file:
                return _read(file, 0, os.fstat(file.fileno()).st_size, max_bytes)
        if str(path) not in _tars(tuple(source.paths)):
            raise LocalImageError(Status.OFF_SITE, f"{path} is not one of the tars of source {source.name!r}")
        with _open(path) as file:
            state = os.fstat(file.fileno())
            place = _members(str(path), state.st_size, state.st_mtime_ns).get(member or "")
            if place is None:
                raise LocalImageError(Status.FILE_MISSING, f"{path} holds no image {member!r}")
            return _read(file, *place, max_bytes)
    except (OSError, tarfile.TarError) as error:
        raise LocalImageError(Status.FILE_MISSING, f"{path}: {error}") from error


def _parse(url: str) -> tuple[Path, str | None]:
    parts = urlsplit(url)
    path = unquote_to_bytes(parts.path)
    if parts.scheme != "file" or parts.netloc or parts.query or b"\0" in path:
        raise LocalImageError(Status.BAD_URL, "the address is not that of a local file")
    member = os.fsdecode(unquote_to_bytes(parts.fragment)) if parts.fragment else None
    return Path(os.fsdecode(path)), member


def _open(path: Path) -> BinaryIO:
    """Open a regular file. Raises OSError on anything else: a pipe would never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return os.fdopen(descriptor, "rb", buffering=0)


def _read(file: BinaryIO, offset: int, size: int, max_bytes: int) -> bytes:
    if size > max_bytes:
        raise LocalImageError(Status.TOO_LARGE, f"{size} bytes are above the cap of {max_bytes} bytes")
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise LocalImageError(Status.TRUNCATED, f"the file ends after {len(data)} of {size} bytes")
    return data


@lru_cache(maxsize=8)
def _tars(patterns: tuple[str, ...]) -> frozenset[str]:
    return frozenset(str(path) for path in expand(patterns))


@lru_cache(maxsize=_TARS_REMEMBERED)
def _members(path: str, size: int, mtime_ns: int) -> dict[str, tuple[int, int]]:
    """Return offset and size of each member of a tar, the first of a name; a truncated tar's up to its end.

    ``size`` and ``mtime_ns`` make a tar that was replaced another one.
    """
    found: dict[str, tuple[int, int]] = {}
    with contextlib.suppress(tarfile.ReadError):
        for member in members(Path(path)):
            found.setdefault(member.name, (member.offset, member.size))
    return found
