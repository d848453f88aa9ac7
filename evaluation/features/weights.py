"""Files of weights by path or URL, each known by its sha256."""

import hashlib
import os
import urllib.request
from pathlib import Path


class WeightsError(ValueError):
    """A file of weights is not there or not what it should be; the message names it and both digests."""


def weights_file(place: str, sha256: str | None, cache: Path) -> Path:
    """Return the file at a path or URL; one that is fetched is kept in ``cache`` under its digest.

    Raises WeightsError where it is not there or hashes to something else than ``sha256``.
    """
    if "://" not in place:
        path = Path(place).expanduser()
        if not path.is_file():
            raise WeightsError(f"there are no weights at {path}")
        _require(path, place, sha256)
        return path
    if sha256 is None:
        raise WeightsError(f"{place} is fetched only with its sha256")
    kept = cache / f"{sha256}.pth"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = kept.with_name(f".{kept.name}.{os.getpid()}.tmp")
        try:
            urllib.request.urlretrieve(place, part)
            _require(part, place, sha256)
        except OSError as error:
            raise WeightsError(f"the weights at {place} cannot be fetched: {error}") from error
        except WeightsError:
            part.unlink()
            raise
        part.replace(kept)
    return kept


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require(path: Path, place: str, sha256: str | None) -> None:
    found = file_sha256(path)
    if sha256 is not None and found != sha256:
        raise WeightsError(f"the weights at {place} hash to {found}, expected {sha256}")
