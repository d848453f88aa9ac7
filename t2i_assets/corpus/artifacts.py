"""Artifacts: directories that an asset wrote, published whole or not at all.

An artifact is written into a partial directory beside its final place, gets a ``manifest.json``
and is renamed. The partial directory's name depends on the artifact's digest alone, so a job that
was killed finds its own checkpoint there when it runs again.

A ref (``refs/<asset>/<partition>.json``) names the artifact that an asset's partition holds now,
as a branch names a commit.
"""

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from t2i_assets.corpus.digests import digest, tree_digest
from t2i_assets.corpus.home import Home

WHOLE = "_"

log = logging.getLogger(__name__)


class Manifest(BaseModel):
    """What made an artifact, and what came out."""

    asset: str = Field(description="Name of the asset that wrote it.")
    partition: str = Field(default=WHOLE, description="Snapshot or recipe; '_' where the asset has no partitions.")
    digest: str = Field(description="Digest of inputs, config, code version and seed: known before the work starts.")
    code_version: str = Field(description="Version of the code that wrote it.")
    config: dict[str, Any] = Field(default_factory=dict, description="The asset's section of the configuration.")
    inputs: dict[str, str] = Field(default_factory=dict, description="Digest of each input, by name.")
    output_digest: str = Field(default="", description="Digest of the files themselves.")
    fetched: bool = Field(default=False, description="The content came over a network: its output identifies it.")
    created: float = Field(default=0.0, description="When it was published, in seconds since 1970.")
    seconds: float = Field(default=0.0, description="How long the work took.")
    summary: dict[str, Any] = Field(default_factory=dict, description="Figures worth showing: counts, final metrics.")


class Artifact(BaseModel):
    """A published directory and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def identity(self) -> str:
        """Return what stands for it in the digests of what is made from it."""
        return self.manifest.output_digest if self.manifest.fetched else self.manifest.digest


class MissingArtifactError(RuntimeError):
    """An input was never materialized; the message says what to materialize."""


def plan_digest(asset: str, code_version: str, config: dict[str, Any], inputs: dict[str, str]) -> str:
    """Return the digest that an artifact will have, before anything is made."""
    return digest({"asset": asset, "code_version": code_version, "config": config, "inputs": inputs})


def read_artifact(path: Path) -> Artifact | None:
    """Return the artifact at ``path``, or None where nothing was published."""
    manifest = path / "manifest.json"
    if not manifest.exists():
        return None
    return Artifact(path=path, manifest=Manifest.model_validate_json(manifest.read_text()))


def partial_directory(path: Path, digest: str) -> Path:
    """Return the directory in which the artifact at ``path`` is prepared; it may hold an earlier try's work."""
    partial = path.parent / f".{path.name}.{digest}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    return partial


def publish(path: Path, manifest: Manifest, write: Callable[[Path], dict[str, Any] | None]) -> Artifact:
    """Have ``write`` fill a partial directory, then put it at ``path`` in one rename.

    ``write`` gets the partial directory and may return the summary. What stood at ``path`` before is
    replaced. Where ``path`` already holds an artifact of this digest, nothing is done.
    """
    with locked(path):
        recover(path)
        present = read_artifact(path)
        if present is not None and present.digest == manifest.digest:
            return present
        partial = partial_directory(path, manifest.digest)
        finished = read_artifact(partial)
        if finished is None:
            _discard_unfinished(partial)
            started = time.time()
            summary = write(partial) or {}
            done = {
                "summary": summary,
                "output_digest": tree_digest(partial),
                "created": time.time(),
                "seconds": time.time() - started,
            }
            finished = Artifact(path=partial, manifest=manifest.model_copy(update=done))
            (partial / "manifest.tmp").write_text(finished.manifest.model_dump_json(indent=1))
            (partial / "manifest.tmp").rename(partial / "manifest.json")
        swap(partial, path)
        return Artifact(path=path, manifest=finished.manifest)


def _discard_unfinished(partial: Path) -> None:
    """Remove the files that a killed try was in the middle of writing: what is whole has a name of its own."""
    for path in partial.rglob(".*.tmp"):
        path.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time prepare what goes to ``path``; the others wait and then find it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("another process is making %s: waiting for it", path)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def swap(partial: Path, path: Path) -> None:
    """Put ``partial`` at ``path``; what stood there steps aside first and is deleted last."""
    old = _aside(path)
    if path.exists():
        path.rename(old)
    partial.rename(path)
    if old.exists():
        shutil.rmtree(old)


def recover(path: Path) -> None:
    """Finish what a kill in the middle of ``swap`` left: bring the old artifact back, or delete what is left of it."""
    old = _aside(path)
    if old.exists() and not path.exists():
        old.rename(path)
    elif old.exists():
        shutil.rmtree(old)


def _aside(path: Path) -> Path:
    return path.parent / f".{path.name}.old"


def write_ref(home: Home, asset: str, partition: str, artifact: Artifact) -> None:
    """Make ``artifact`` what the partition of the asset holds now."""
    ref = home.refs / asset / f"{partition}.json"
    ref.parent.mkdir(parents=True, exist_ok=True)
    row = {"path": artifact.path.relative_to(home.root).as_posix(), "digest": artifact.digest}
    temporary = ref.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(row))
    temporary.replace(ref)


def read_ref(home: Home, asset: str, partition: str = WHOLE) -> Artifact:
    """Return what the partition of the asset holds now.

    Raises MissingArtifactError where it was never materialized.
    """
    ref = home.refs / asset / f"{partition}.json"
    path = home.root / json.loads(ref.read_text())["path"] if ref.exists() else None
    artifact = None if path is None else read_artifact(path) or read_artifact(_aside(path))
    if artifact is None:
        where = f"partition {partition!r} of " if partition != WHOLE else ""
        raise MissingArtifactError(f"{where}asset {asset!r} is not materialized in {home.root}: materialize it first")
    return artifact


def list_refs(home: Home, asset: str) -> dict[str, Artifact]:
    """Return every materialized partition of the asset, in order of name."""
    return {ref.stem: read_ref(home, asset, ref.stem) for ref in sorted((home.refs / asset).glob("*.json"))}
