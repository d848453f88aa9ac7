"""Features on disk: computed once, a table per shard, known by what they are of and what made them."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation import encode
from evaluation.distances import Moments
from evaluation.features.config import EncoderConfig, FeaturesConfig
from evaluation.features.sample import Sample
from evaluation.features.shuffling import Shuffling
from evaluation.features.store import ABOUT, FeatureSet, feature_sets, write_block
from evaluation.models.detector import DetectorConfig, DetectorNetwork, save_detector
from t2i_assets.corpus.named_models import named_model_digest
from t2i_assets.corpus.schemas import FEATURES
from t2i_assets.corpus.tables import read_rows
from t2i_assets.synthweb.draw import draw
from t2i_assets.synthweb.scenes import sample_scene
from tests.unit.drawn_corpus import write_shards
from training.job import Job
from training.report import Reporter

torch.set_num_threads(1)
WORDS = ("a", "b")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation set, another set of pictures, and a judge that has learned nothing."""
    root = tmp_path_factory.mktemp("world")
    write_shards(root / "set" / "heldout", 14, 5)
    write_shards(root / "set" / "reference", 6, 6, seed=1)
    write_shards(root / "other", 9, 9, seed=2)
    (root / "judge").mkdir()
    torch.manual_seed(0)
    vocabulary = dict.fromkeys(("shape", "color", "texture", "background"), WORDS)
    config = DetectorConfig(image_size=32, width=8, features=8, blocks=1, score_threshold=0.3, vocabulary=vocabulary)
    save_detector(DetectorNetwork(config), root / "judge")
    return root


JUDGE, CLEAN = EncoderConfig(kind="judge"), EncoderConfig(kind="judge", name="judge_clean", resize="clean")


def features(world: Path, output: Path, known: tuple[Path, ...] = (), **config: object) -> dict[str, object]:
    """Run the job; return its figures."""
    output.mkdir(parents=True, exist_ok=True)
    inputs = encode.EncodeInputs(judge=world / "judge", evaluation_set=world / "set", known=list(known))
    settings = FeaturesConfig.model_validate({"batch_size": 4, **config})
    with Reporter("features", output, {}) as reporter:
        encode.main(Job("features", settings, inputs, output), reporter)
    final: dict[str, object] = json.loads((output / "run.json").read_text())["final"]
    return final


def test_every_collection_has_a_table_per_shard_and_says_what_it_is_of(world: Path, tmp_path: Path) -> None:
    final = features(world, tmp_path)
    assert final["encoded"] == 14 + 6 + 6
    found = {name: feature_sets(tmp_path / name)["judge"] for name in ("heldout", "reference", "shuffled")}
    assert {name: len(one.keys) for name, one in found.items()} == {"heldout": 14, "reference": 6, "shuffled": 6}
    assert [len(block) for block in found["heldout"].blocks()] == [5, 5, 4]
    assert len({one.about.digest for one in found.values()}) == 3
    assert found["reference"].keys == found["shuffled"].keys
    assert not np.allclose(*(np.concatenate([*found[name].blocks()]) for name in ("reference", "shuffled")))
    rows = read_rows(tmp_path / "heldout" / "judge" / "00000.parquet", FEATURES)
    assert rows[2]["key"] == found["heldout"].keys[2]
    np.testing.assert_array_equal(np.float32([rows[2]["feature"]]), found["heldout"].at(np.array([2])))


def test_features_do_not_depend_on_batches_or_threads(world: Path, tmp_path: Path) -> None:
    features(world, tmp_path / "one", batch_size=3, workers=1)
    features(world, tmp_path / "other", batch_size=64, workers=4)
    sets = [FeatureSet(tmp_path / name / "heldout" / "judge") for name in ("one", "other")]
    assert sets[0].keys == sets[1].keys and sets[0].about == sets[1].about
    np.testing.assert_allclose(*(one.at(one.places(one.keys)) for one in sets), rtol=1e-4, atol=1e-5)


def test_what_a_killed_try_wrote_is_kept_and_the_rest_is_the_same(world: Path, tmp_path: Path) -> None:
    features(world, tmp_path / "whole")
    features(world, tmp_path / "killed")
    for lost in ("heldout/judge/00001.parquet", "shuffled/judge/00000.parquet", "shuffled/judge/about.json"):
        (tmp_path / "killed" / lost).unlink()
    kept = tmp_path / "killed" / "heldout" / "judge" / "00002.parquet"
    before = kept.stat().st_mtime_ns
    assert features(world, tmp_path / "killed")["encoded"] == 5 + 6
    assert kept.stat().st_mtime_ns == before
    for name in ("heldout", "shuffled"):
        sets = [FeatureSet(tmp_path / where / name / "judge") for where in ("whole", "killed")]
        np.testing.assert_allclose(*(one.at(one.places(sets[0].keys)) for one in sets), rtol=1e-5, atol=1e-6)


def test_another_encoder_beside_the_first_is_all_that_is_computed(world: Path, tmp_path: Path) -> None:
    features(world, tmp_path / "first")
    both = [one.model_dump() for one in (JUDGE, CLEAN)]
    final = features(world, tmp_path / "second", (tmp_path / "first",), encoders=both)
    assert (final["reused"], final["encoded"]) == (3, 26)
    one, other = (FeatureSet(tmp_path / place / "heldout" / "judge") for place in ("first", "second"))
    assert one.about == other.about
    np.testing.assert_array_equal(one.at(one.places(one.keys)), other.at(other.places(one.keys)))
    clean = FeatureSet(tmp_path / "second" / "heldout" / "judge_clean")
    assert clean.about.digest != one.about.digest
    assert features(world, tmp_path / "third", (tmp_path / "first", tmp_path / "second"), encoders=both)["encoded"] == 0
    assert features(world, tmp_path / "changed", (tmp_path / "first",), patch=16)["encoded"] == 6  # the floor alone


def test_real_pictures_may_be_others_than_the_held_out_ones(world: Path, tmp_path: Path) -> None:
    features(world, tmp_path, real=str(world / "other"))
    assert len(feature_sets(tmp_path / "heldout")["judge"].keys) == 9
    with pytest.raises(ValueError, match="no shard of pictures"):
        features(world, tmp_path / "none", real=str(world / "judge"))


def test_moments_of_a_style_are_those_of_its_rows_however_often_they_count(world: Path, tmp_path: Path) -> None:
    features(world, tmp_path)
    real = feature_sets(tmp_path / "heldout")["judge"]
    keys = [*real.keys[3:12], *real.keys[3:5]]
    sample = Sample.of(real, keys, keys)
    whole = Moments.of(sample.rows)
    assert (len(sample), sample.number_of_scenes, sample.moments.n, whole.n) == (11, 9, 11, 11)
    np.testing.assert_allclose(sample.rows[9:], sample.rows[:2])
    np.testing.assert_allclose(sample.moments.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(sample.moments.covariance, whole.covariance, rtol=1e-9, atol=1e-15)
    with pytest.raises(KeyError):
        Sample.of(real, ["of-another-set"], ["s"])


def test_a_real_picture_that_two_shards_hold_counts_twice_and_no_more(world: Path, tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(6, 2) ** 2
    write_block(tmp_path / "00000.parquet", ["a", "b", "c"], rows[:3])
    write_block(tmp_path / "00001.parquet", ["d", "a", "e"], rows[3:])
    features(world, tmp_path / "made")
    about = FeatureSet(tmp_path / "made" / "heldout" / "judge").about.model_copy(update={"dimension": 2})
    (tmp_path / ABOUT).write_text(about.model_dump_json())
    sample = Sample.whole(FeatureSet(tmp_path))
    assert (sample.moments.n, len(sample)) == (6, 6)
    np.testing.assert_allclose(sample.moments.covariance, np.cov(rows, rowvar=False))


def test_features_that_are_not_finite_are_not_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 pictures are not finite, first b"):
        write_block(tmp_path / "0.parquet", ["a", "b", "c"], np.array([[1], [np.nan], [np.inf]], np.float32))
    assert not list(tmp_path.iterdir())


def test_weights_below_the_home_directory_are_known_by_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "w.pth").write_bytes(b"one")
    weights = EncoderConfig(kind="inception", weights="~/w.pth").weights
    first = named_model_digest(weights)
    (tmp_path / "w.pth").write_bytes(b"other")
    assert weights == str(tmp_path / "w.pth") and named_model_digest(weights) != first


def test_shuffled_patches_hold_the_same_pixels_in_another_order() -> None:
    image = draw(sample_scene(random.Random(0)), 32)
    before = np.asarray(image.convert("RGB"))
    shuffling = Shuffling(side=32, patch=8, seed=0)
    orders = shuffling.orders()
    first, second = (np.asarray(shuffling(image, next(orders))) for _ in range(2))
    assert not np.array_equal(first, second)
    blocks = [before[y : y + 8, x : x + 8].tobytes() for y in range(0, 32, 8) for x in range(0, 32, 8)]
    for mixed in (first, second):
        assert not np.array_equal(before, mixed)
        found = [mixed[y : y + 8, x : x + 8].tobytes() for y in range(0, 32, 8) for x in range(0, 32, 8)]
        assert sorted(found) == sorted(blocks)
    with pytest.raises(ValueError, match="do not fill"):
        Shuffling(side=32, patch=7, seed=0)
