"""Pictures whose embeddings agree are one cluster; leader clustering in general."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_assets.corpus.duplicates import leaders as leading
from t2i_assets.corpus.duplicates.config import SemanticConfig
from t2i_assets.corpus.duplicates.embeddings import CosineIndex, MissingEmbeddingsError, read_embeddings
from t2i_assets.corpus.duplicates.hamming import Indices, Pairs
from t2i_assets.corpus.duplicates.leaders import leaders
from t2i_assets.corpus.duplicates.semantic import find_semantic_duplicates
from t2i_assets.corpus.schemas import DUPLICATES, IMAGE_EMBEDDINGS
from t2i_assets.corpus.shards import ShardWriter
from t2i_assets.corpus.tables import read_rows, write_table


class Near:
    """Whole numbers that lie within ``reach`` of each other."""

    def __init__(self, values: list[int], reach: int) -> None:
        self.values, self.reach = np.array(values), reach
        self.most = 0

    def of_kept(self, kept: Indices, new: Indices) -> list[Pairs]:
        return [self._pairs(kept, new)]

    def among(self, new: Indices) -> list[Pairs]:
        a, b = self._pairs(new, new)
        return [(a[a < b], b[a < b])]

    def _pairs(self, a: Indices, b: Indices) -> Pairs:
        self.most = max(self.most, len(b))
        rows, columns = np.nonzero(np.abs(self.values[a][:, None] - self.values[b][None]) <= self.reach)
        return a[rows], b[columns]


def one_by_one(values: list[int], reach: int) -> list[int]:
    """Return what leader clustering is by definition."""
    found: list[int] = []
    for rank, value in enumerate(values):
        kept = (other for other in range(rank) if found[other] == other and abs(values[other] - value) <= reach)
        found.append(next(kept, rank))
    return found


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 300), max_size=120), st.integers(0, 20), st.integers(1, 16), st.integers(1, 400))
def test_blocks_of_any_size_give_what_going_one_by_one_gives(
    values: list[int], reach: int, first_block: int, most_pairs: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(leading, "FIRST_BLOCK", first_block)
        patched.setattr(leading, "MOST_PAIRS", most_pairs)
        assert leaders(len(values), Near(values, reach)).tolist() == one_by_one(values, reach)


def write(directory: Path, vectors: np.ndarray, areas: list[int], order: list[int]) -> None:
    """Write samples, one per vector, of these areas, into shards and features below ``directory``, in this order."""
    keys = [hashlib.sha256(str(number).encode()).hexdigest()[:32] for number in range(len(vectors))]
    with ShardWriter(directory / "shards", "demo", 50) as writer:
        for number in order:
            row = {"key": keys[number], "source": "s", "image_ext": "jpg", "image_url": "", "consent": "", "texts": []}
            row |= {"width": 1, "height": 1, "original_width": areas[number], "original_height": 1, "alt_text": ""}
            row |= {"original_bytes": 1, "original_format": "JPEG", "original_sha256": "0" * 64, "phash": "0" * 16}
            writer.write(row, str(number).encode(), "")
    rows = pa.table({"key": keys, "embedding": [vector.tolist() for vector in vectors]})
    write_table(directory / "features" / "00000.parquet", rows, IMAGE_EMBEDDINGS)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clusters(directory: Path, **config: float) -> list[dict]:
    out = directory / "out"
    find_semantic_duplicates(
        directory / "shards", directory / "features", "demo", out, SemanticConfig.model_validate(config)
    )
    return read_rows(out, DUPLICATES)


def near(vector: np.ndarray, cosine: float, rng: np.random.Generator) -> np.ndarray:
    """Return a unit vector at this cosine to ``vector``."""
    across = rng.standard_normal(len(vector))
    across -= across @ vector * vector
    return cosine * vector + np.sqrt(1 - cosine**2) * across / np.linalg.norm(across)


@pytest.mark.parametrize("probes", [1, 4])
def test_planted_copies_cluster_around_the_largest_original(tmp_path: Path, probes: int) -> None:
    rng = np.random.default_rng(0)
    alone = unit(rng.standard_normal((400, 32)))
    copies = np.stack([near(alone[number], 0.99, rng) for number in range(40)])
    vectors = unit(np.concatenate([alone, copies]))
    areas = [100] * 400 + [200, 50] * 20
    write(tmp_path, vectors, areas, list(range(440)))
    found = clusters(tmp_path, cosine=0.95, samples_per_cluster=64, probes=probes)
    heads = [row for row in found if row["kept"]]
    assert len(heads) >= (40 if probes == 4 else 30), "the border of a k-means cluster may part a pair"
    assert len(found) == 2 * len(heads)
    for row in found:
        assert row["kind"] == "semantic"
        assert row["kept"] == (row["key"] == row["cluster"])
        assert row["cosine"] == pytest.approx(1.0 if row["kept"] else 0.99, abs=1e-5)
        assert ("kept: the largest original" in row["reason"]) == row["kept"]
    large = {hashlib.sha256(str(number).encode()).hexdigest()[:32] for number in range(400, 440, 2)}
    assert large & {row["key"] for row in found} == large & {row["key"] for row in heads}


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.floats(0.3, 0.999), st.randoms(use_true_random=False))
def test_clusters_part_the_samples_and_do_not_depend_on_their_order(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cosine: float, random: object
) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit(rng.standard_normal((90, 4)))
    areas = rng.integers(1, 4, 90).tolist()
    order = list(range(90))
    one, two = (tmp_path_factory.mktemp(name) for name in "ab")
    write(one, vectors, areas, order)
    random.shuffle(order)  # type: ignore[attr-defined]
    write(two, vectors, areas, order)
    found = clusters(one, cosine=cosine)
    assert found == clusters(two, cosine=cosine)
    keys = [row["key"] for row in found]
    assert len(keys) == len(set(keys))
    by_cluster: dict[str, list[dict]] = {}
    for row in found:
        by_cluster.setdefault(row["cluster"], []).append(row)
    for cluster, members in by_cluster.items():
        assert [row["key"] for row in members if row["kept"]] == [cluster]
        assert len(members) > 1
        assert all(row["cosine"] >= cosine - 1e-6 for row in members)


def test_with_all_clusters_probed_every_pair_is_found() -> None:
    vectors = unit(np.random.default_rng(1).standard_normal((500, 8)))
    index = CosineIndex(vectors, samples_per_cluster=64, probes=99, seed=0)
    index.add(np.arange(500))
    found = {pair for a, b in index.search(vectors, 0.8) for pair in zip(a.tolist(), b.tolist(), strict=True)}
    a, b = np.nonzero(vectors @ vectors.T >= 0.8)
    assert found == set(zip(a.tolist(), b.tolist(), strict=True))


@pytest.mark.parametrize(("spread", "mean"), [(0.01, 1.0), (100.0, 0.0)])
def test_the_summary_tells_an_embedder_that_tells_nothing_apart(tmp_path: Path, spread: float, mean: float) -> None:
    noise = np.random.default_rng(0).standard_normal((200, 16))
    write(tmp_path, unit(np.ones(16) + spread * noise), [1] * 200, list(range(200)))
    counts = find_semantic_duplicates(
        tmp_path / "shards", tmp_path / "features", "demo", tmp_path / "out", SemanticConfig()
    )
    assert counts["mean_cosine"] == pytest.approx(mean, abs=0.05)


def test_a_sample_without_embedding_is_named(tmp_path: Path) -> None:
    write(tmp_path, unit(np.eye(3)), [1, 1, 1], [0, 1, 2])
    with pytest.raises(MissingEmbeddingsError, match="such as nobody: materialize image_features again"):
        read_embeddings(tmp_path / "features", np.array(["nobody"], "S"))


def test_searching_brings_no_torch_along() -> None:
    code = (
        "import sys, numpy as np; from t2i_assets.corpus.duplicates.embeddings import CosineIndex; "
        "assert 'faiss' not in sys.modules; CosineIndex(np.eye(4, dtype='f'), 64, 1, 0); "
        "assert 'faiss' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_snapshot_without_samples_has_no_clusters(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "features").mkdir()
    assert clusters(tmp_path) == []
