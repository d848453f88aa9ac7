"""``t2i export`` writes what other tools read, with the captions that the trainers draw."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset
from click.testing import CliRunner, Result

from t2i_assets.cli import main
from t2i_assets.corpus.artifacts import read_ref
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.shards import iter_images
from tests.sample_home import SNAPSHOT, make_home
from training.data import draw_caption, read_blend


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("home"), samples=30, until="caption_blend")


def export(home: Home, out: Path, form: str, *more: str) -> Result:
    asked = ["export", "--home", str(home.root), "--blend", "blend_95_5", "--format", form, "--out", str(out), *more]
    return CliRunner().invoke(main, asked)


def expected(home: Home, seed: int, epochs: int) -> dict[str, str]:
    blend = read_blend(read_ref(home, "caption_blend", "blend_95_5").path)
    return {
        f"{key}-{epoch}": draw_caption(captions, seed, epoch, key).caption
        for key, captions in blend.items()
        for epoch in range(epochs)
    }


def test_webdataset_reads_the_captions_that_the_trainers_draw(home: Home, tmp_path: Path) -> None:
    result = export(home, tmp_path / "out", "webdataset", "--epochs", "3", "--seed", "5")
    assert result.exit_code == 0, result.output
    tars = sorted(map(str, (tmp_path / "out").glob("*.tar")))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert {one["__key__"]: one["txt"].decode() for one in samples} == expected(home, 5, 3)
    images = {row["key"]: image for row, image in iter_images(home.shards(SNAPSHOT))}
    for one in samples:
        assert one["jpg"] == images[json.loads(one["json"])["key"]]
    assert "left out: duplicate:" in result.output


def test_formats_hold_the_same_rows(home: Home, tmp_path: Path) -> None:
    for form in ("imagefolder", "parquet"):
        assert export(home, tmp_path / form, form, "--epochs", "2").exit_code == 0
    wanted = expected(home, 0, 2)
    lines = [json.loads(line) for line in (tmp_path / "imagefolder/metadata.jsonl").read_text().splitlines()]
    assert {Path(line["file_name"]).stem: line["text"] for line in lines} == wanted
    table = pq.read_table(tmp_path / "parquet/train-00000.parquet")
    assert {Path(row["image"]["path"]).stem: row["caption"] for row in table.to_pylist()} == wanted
    stored = {(tmp_path / "imagefolder" / line["file_name"]).read_bytes() for line in lines}
    assert stored == {row["image"]["bytes"] for row in table.to_pylist()}
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"} and set(features) == set(table.column_names)


@pytest.mark.parametrize("form", ["webdataset", "imagefolder", "parquet"])
def test_an_export_is_the_same_bytes_again(home: Home, tmp_path: Path, form: str) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for out in (first, second):
        assert export(home, out, form, "--max-samples", "4").exit_code == 0
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    assert "4 images" in (first / "README.md").read_text()


def test_a_directory_that_holds_something_is_left_alone(home: Home, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = export(home, tmp_path, "parquet")
    assert result.exit_code == 1 and "is not empty" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_samples_without_their_shard_are_named(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", samples=20, until="caption_blend")
    (home.shards(SNAPSHOT) / "00000.tar").unlink()
    result = export(home, tmp_path / "out", "webdataset")
    assert result.exit_code == 1 and "are in no shard" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
