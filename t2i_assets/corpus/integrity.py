"""Whether everything below a home is what it was when it was published."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from t2i_assets.corpus.artifacts import Artifact, read_artifact
from t2i_assets.corpus.blending import tables_below
from t2i_assets.corpus.digests import tree_digest
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.shards import SHARD_GLOB, verify
from t2i_assets.corpus.views import MANIFEST_GLOBS

_ABOUT_SAMPLES = ("captions", "scores", "verdicts", "blends", "features", "dedup", "semantic", "contamination")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and the directory it is wrong in, relative to the home."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


def verify_home(
    home: Home, snapshot: str | None = None, progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Fault]:
    """Read every byte of every artifact and yield what is wrong; ``progress`` gets artifacts done and in all.

    Of shards and human sets each sample is compared with its sidecar; every artifact with the digest in its manifest;
    tables about samples must speak of samples that there are. ``snapshot`` limits it to that snapshot's shards.
    """
    artifacts = _artifacts(home)
    if snapshot is not None:
        artifacts = [artifact for artifact in artifacts if artifact.path == home.shards(snapshot)]
    known: set[str] = set()
    rest = []
    for done, artifact in enumerate(artifacts):
        progress(done, len(artifacts))
        place = artifact.path.relative_to(home.root).as_posix()
        if place.split("/")[0] in ("shards", "human"):
            yield from (Fault(place, str(problem)) for problem in verify(artifact.path))
            known |= _keys(sorted(artifact.path.glob(SHARD_GLOB)))
        elif place.split("/")[0] in _ABOUT_SAMPLES:
            rest.append(artifact)
        if artifact.manifest.output_digest != tree_digest(artifact.path):
            yield Fault(place, "the files are not those that manifest.json describes")
    for artifact in rest:
        blend = artifact.path.is_relative_to(home.root / "blends")
        files = tables_below(artifact.path) if blend else sorted(artifact.path.glob("[0-9]*.parquet"))
        strange = sorted(_keys(files) - known)
        if strange:
            what = f"{len(strange)} keys are of no sample, the first is {strange[0]}"
            yield Fault(artifact.path.relative_to(home.root).as_posix(), what)
    progress(len(artifacts), len(artifacts))


def _artifacts(home: Home) -> list[Artifact]:
    places = [manifest.parent for glob in MANIFEST_GLOBS for manifest in sorted(home.root.glob(glob))]
    return [artifact for place in places if (artifact := read_artifact(place)) is not None]


def _keys(files: list[Path]) -> set[str]:
    found: set[str] = set()
    for file in files:
        if "key" in pq.read_schema(file).names:
            found.update(pq.read_table(file, columns=["key"])["key"].to_pylist())
    return found
