"""Some pictures of a feature set, as distances need them: moments in one pass, rows where these are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evaluation.distances import Moments, mean_of_pairs
from evaluation.features.store import Features, FeatureSet


@dataclass(frozen=True)
class Sample:
    """Pictures by their ``places`` [N] in a feature set, and the scene of each as a number from 0, ``scenes`` [N]."""

    features: FeatureSet
    places: NDArray[np.intp]
    scenes: NDArray[np.intp]

    @classmethod
    def of(cls, features: FeatureSet, keys: Sequence[str], scenes: Sequence[str]) -> "Sample":
        """Return the pictures of ``keys``, each as often as its key stands there. Raises KeyError without one."""
        return cls(features, features.places(keys), np.unique(np.asarray(scenes), return_inverse=True)[1])

    @classmethod
    def whole(cls, features: FeatureSet) -> "Sample":
        """Return every picture once, each a scene of its own."""
        every = np.arange(len(features.keys))
        return cls(features, every, every)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def dimension(self) -> int:
        return self.features.about.dimension

    @cached_property
    def number_of_scenes(self) -> int:
        return int(self.scenes.max(initial=-1)) + 1

    @cached_property
    def moments(self) -> Moments:
        """Their moments, with one shard in memory at a time."""
        parts = (rows for _, rows in self.features.parts(self.places))
        return Moments.of_blocks(parts, self.dimension)

    @cached_property
    def rows(self) -> Features:
        """All of them, [N, d]."""
        return self.features.at(self.places)

    @cached_property
    def mean_of_pairs(self) -> float:
        """KID's kernel, averaged over pairs of different pictures."""
        return mean_of_pairs(self.rows)
