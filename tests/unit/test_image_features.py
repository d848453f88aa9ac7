"""Image features of a snapshot: one unit vector per image, by the captioner or by any model in open_clip's layout."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from t2i_assets.corpus.duplicates.embeddings import read_embeddings
from t2i_assets.corpus.shards import read_samples
from tests.unit.drawn_corpus import write_shards, write_tokenizer
from training.config import ClipConfig, ImageFeaturesConfig
from training.data import load_images, to_signed
from training.image_features import ImageFeaturesInputs, main
from training.job import Job
from training.models.clip import build_clip, clip_config, save_clip
from training.models.coca import Captioner, build_coca, coca_config, load_captioner, save_captioner
from training.report import Reporter
from training.tokenizer import MERGES
from training.tokenizer import load as load_tokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    write_shards(root / "shards", 10, 4)
    write_shards(root / "references", 3, 3, seed=5)
    write_tokenizer(root / "tokenizer")
    torch.manual_seed(0)
    config = coca_config(600, width=32, heads=2, patch_size=8, stem_blocks=0)
    captioner = Captioner(build_coca(config).eval(), None, config)  # type: ignore[arg-type]
    save_captioner(captioner, root / "tokenizer" / MERGES, root / "captioner" / "descriptive")
    return root


def features(corpus: Path, output: Path, **config: object) -> dict[str, np.ndarray]:
    """Run the job; return the vectors of the snapshot by key."""
    output.mkdir(exist_ok=True)
    inputs = ImageFeaturesInputs(
        captioner=corpus / "captioner", shards=corpus / "shards", references=corpus / "references"
    )
    settings = ImageFeaturesConfig.model_validate({"batch_size": 3, **config})
    with Reporter("image_features", output, {}) as reporter:
        main(Job("image_features", settings, inputs, output), reporter)
    keys = read_samples(corpus / "shards")["key"].to_pylist()
    return dict(zip(keys, read_embeddings(output, np.array(keys, "S")), strict=True))


def test_every_image_has_the_captioners_unit_vector(corpus: Path, tmp_path: Path) -> None:
    found = features(corpus, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("0*.parquet")) == [f"0000{n}.parquet" for n in range(3)]
    keys, images = load_images([corpus / "shards"], 32)
    with torch.no_grad():
        expected = load_captioner(corpus / "captioner" / "descriptive").model.encode_image(to_signed(images))
    np.testing.assert_allclose([found[key] for key in keys], expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(list(found.values()), axis=1), 1, atol=1e-5)
    references = read_samples(corpus / "references")["key"].to_pylist()
    assert read_embeddings(tmp_path / "out" / "references", np.array(references, "S")).shape == (3, 32)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["final"] == {"shards": 3, "images": 10, "references": 3, "dimensions": 32}


def test_a_shard_whose_table_is_there_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    first = features(corpus, tmp_path / "out")
    (tmp_path / "out" / "00001.parquet").unlink()
    kept = tmp_path / "out" / "00002.parquet"
    before = kept.stat().st_mtime_ns
    again = features(corpus, tmp_path / "out")
    assert kept.stat().st_mtime_ns == before
    assert all((first[key] == again[key]).all() for key in first)


def test_any_model_in_open_clips_layout_can_embed(corpus: Path, tmp_path: Path) -> None:
    config = clip_config(ClipConfig(embed_dim=16, vision_width=16, text_width=32, text_layers=1), 600)
    (tmp_path / "clip").mkdir()
    save_clip(build_clip(config), config, load_tokenizer(corpus / "tokenizer", 32), tmp_path / "clip")
    found = features(corpus, tmp_path / "out", model=f"local-dir:{tmp_path / 'clip'}")
    assert {len(vector) for vector in found.values()} == {16}
