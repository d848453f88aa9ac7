"""Features on disk: a table per shard of pictures, and beside them what they are of and what made them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from evaluation.features.preprocessing import Preprocessing
from t2i_assets.corpus.schemas import FEATURES
from t2i_assets.corpus.tables import write_table

ABOUT, CLASSIFIER = "about.json", "classifier.npy"
SHARDS = "[0-9]*.parquet"
Features = NDArray[np.float32]


class About(BaseModel):
    """What features are of and what made them; sets of equal digest are equal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: str = Field(description="Digest of data set, preprocessing and weights: what the set is known by.")
    dataset: str = Field(description="Digest of the pictures.")
    encoder: str = Field(description="Name of the encoder, by which its distances are called.")
    weights: str = Field(description="Digest of the encoder's weights.")
    preprocessing: Preprocessing = Field(description="How pictures came to it.")
    dimension: int = Field(description="Length of a feature vector.")


@dataclass(frozen=True)
class FeatureSet:
    """The features of one set of pictures by one encoder, read a shard at a time."""

    directory: Path

    @cached_property
    def about(self) -> About:
        return About.model_validate_json((self.directory / ABOUT).read_text())

    @cached_property
    def keys(self) -> list[str]:
        """Keys of the pictures, in order of shard."""
        return [key for shard in self._shards for key in pq.read_table(shard, columns=["key"])["key"].to_pylist()]

    @property
    def classifier(self) -> Features | None:
        """Weights [classes, d] that turn a feature into logits, where the encoder is a classifier."""
        path = self.directory / CLASSIFIER
        return np.load(path) if path.exists() else None

    def blocks(self) -> Iterator[Features]:
        """Yield the features of each shard, [n, d]."""
        for shard in self._shards:
            yield read_block(shard, self.about.dimension)

    def places(self, keys: Sequence[str]) -> NDArray[np.intp]:
        """Return where the features of ``keys`` stand, [N]; of a key twice, the first. Raises KeyError without one."""
        place = {key: number for number, key in reversed(list(enumerate(self.keys)))}
        return np.array([place[key] for key in keys], dtype=np.intp)

    def at(self, places: NDArray[np.intp]) -> Features:
        """Return the features at ``places``, [N, d], in their order."""
        found = np.empty((len(places), self.about.dimension), np.float32)
        for members, rows in self.parts(places):
            found[members] = rows
        return found

    def parts(self, places: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], Features]]:
        """Yield, for each shard, which of ``places`` lie in it, [n], and their features, [n, d]."""
        start = 0
        for block in self.blocks():
            members = np.flatnonzero((places >= start) & (places < start + len(block)))
            if len(members):
                yield members, block[places[members] - start]
            start += len(block)

    @property
    def _shards(self) -> list[Path]:
        return sorted(self.directory.glob(SHARDS))


def feature_sets(directory: Path) -> dict[str, FeatureSet]:
    """Return the sets of one collection of pictures by the name of their encoder."""
    return {path.parent.name: FeatureSet(path.parent) for path in sorted(directory.glob(f"*/{ABOUT}"))}


def read_block(shard: Path, dimension: int) -> Features:
    """Return the features of one shard, [n, d]."""
    column = pq.read_table(shard, columns=["feature"])["feature"].combine_chunks()
    return column.flatten().to_numpy().reshape(-1, dimension)


def write_block(shard: Path, keys: Sequence[str], features: Features) -> None:
    """Write the features [n, d] of the pictures of one shard; the table appears whole.

    Raises ValueError, naming a picture, where a feature is not finite: an encoder failed, as in too low a precision.
    """
    broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(broken):
        raise ValueError(f"{shard}: the features of {len(broken)} pictures are not finite, first {keys[broken[0]]}")
    offsets = pa.array(range(0, features.size + 1, features.shape[1]), pa.int32())
    rows = pa.ListArray.from_arrays(offsets, pa.array(features.ravel(), pa.float32()))
    write_table(shard, pa.table({"key": pa.array(keys, pa.string()), "feature": rows}), FEATURES)
