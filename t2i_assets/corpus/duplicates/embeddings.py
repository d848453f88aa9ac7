"""Image embeddings on disk, and search among them.

faiss (Johnson, Douze and Jégou 2017) is imported where it is used: definitions load without it.
"""

from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2i_assets.corpus.duplicates.hamming import Indices, Pairs
from t2i_assets.corpus.schemas import IMAGE_EMBEDDINGS
from t2i_assets.corpus.tables import read_table

_RESULTS = 1 << 22


class MissingEmbeddingsError(ValueError):
    """Samples have no embedding; the message names one."""


def read_embeddings(directory: Path, keys: NDArray[np.bytes_]) -> NDArray[np.float32]:
    """Return the unit-norm embedding of each key, [N, E]. Raises MissingEmbeddingsError where one has none."""
    table = read_table(directory, IMAGE_EMBEDDINGS)
    if not len(keys):
        return np.zeros((0, 1), np.float32)
    found = np.array(table["key"].to_pylist(), "S")
    order = np.argsort(found)
    place = np.searchsorted(found, keys, sorter=order)
    place = order[np.minimum(place, len(found) - 1)] if len(found) else place
    missing = keys[found[place] != keys] if len(found) else keys
    if len(missing):
        raise MissingEmbeddingsError(
            f"{len(missing)} samples have no embedding in {directory}, such as {missing[0].decode()}: "
            "materialize image_features again"
        )
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(found), -1)
    return np.ascontiguousarray(vectors[place], np.float32)


class CosineIndex:
    """Vectors that are added under their number and searched by cosine, in the nearest of k-means' clusters."""

    def __init__(self, vectors: NDArray[np.float32], samples_per_cluster: int, probes: int, seed: int) -> None:
        """Cluster unit-norm ``vectors`` [N, E] by spherical k-means; none of them is in the index yet."""
        import faiss

        faiss.omp_set_num_threads(1)  # sums in one order: the same clusters everywhere
        self.vectors = vectors
        clusters = max(1, len(vectors) // samples_per_cluster)
        kmeans = faiss.Kmeans(
            vectors.shape[1], clusters, seed=seed, spherical=True, niter=20, min_points_per_centroid=1
        )
        kmeans.train(vectors)
        self._centroids = faiss.IndexFlatIP(vectors.shape[1])
        self._centroids.add(kmeans.centroids)
        self._index: Any = faiss.IndexIVFFlat(self._centroids, vectors.shape[1], clusters, faiss.METRIC_INNER_PRODUCT)
        self._index.nprobe = min(probes, clusters)

    def empty(self) -> "CosineIndex":
        """Return an index of the same clusters that holds nothing."""
        import faiss

        other = copy(self)
        other._index = faiss.IndexIVFFlat(self._centroids, self._index.d, self._index.nlist, faiss.METRIC_INNER_PRODUCT)
        other._index.nprobe = self._index.nprobe
        return other

    def add(self, numbers: Indices) -> None:
        """Put the vectors of these numbers in."""
        if len(numbers):
            self._index.add_with_ids(self.vectors[numbers], numbers)

    def search(self, queries: NDArray[np.float32], cosine: float) -> Iterator[Pairs]:
        """Yield (number in the index, row of ``queries``) where the cosine is at least ``cosine``."""
        below = float(np.nextafter(np.float32(cosine), np.float32(-1)))
        step = max(1, _RESULTS // max(1, self._index.ntotal))
        for start in range(0, len(queries) if self._index.ntotal else 0, step):
            ends, _, numbers = self._index.range_search(queries[start : start + step], below)
            yield numbers, start + np.repeat(np.arange(len(ends) - 1), np.diff(ends.astype(np.int64)))
