"""``t2i verify`` names every kind of damage, with the artifact, the shard and the sample, and fails."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from t2i_assets.cli import main
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import CAPTIONS, SAMPLES
from t2i_assets.corpus.shards import read_samples
from t2i_assets.corpus.tables import read_rows, write_table
from tests.sample_home import SNAPSHOT, make_home


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("whole"), samples=8, scenes=4).root


@pytest.fixture
def home(whole: Path, tmp_path: Path) -> Home:
    shutil.copytree(whole, tmp_path / "home")
    return Home(tmp_path / "home")


def run(home: Home, *options: str) -> Result:
    return CliRunner().invoke(main, ["verify", "--home", str(home.root), *options])


def tar(home: Home) -> Path:
    return home.shards(SNAPSHOT) / "00000.tar"


def cut(home: Home) -> None:
    tar(home).write_bytes(tar(home).read_bytes()[:-20_000])


def empty(home: Home) -> None:
    tar(home).write_bytes(b"")


def flip(home: Home) -> None:
    row = read_samples(home.shards(SNAPSHOT)).to_pylist()[3]
    data = bytearray(tar(home).read_bytes())
    data[row["image_offset"] + 5] ^= 1
    tar(home).write_bytes(data)


def lose_the_stats(home: Home) -> None:
    (home.shards(SNAPSHOT) / "00000.json").unlink()


def move_an_offset(home: Home) -> None:
    sidecar = home.shards(SNAPSHOT) / "00000.parquet"
    rows = read_rows(sidecar, SAMPLES)
    rows[2]["image_offset"] += 512
    write_table(sidecar, rows, SAMPLES)


def caption_a_stranger(home: Home) -> None:
    file = next(home.root.glob("captions/*/*/[0-9]*.parquet"))
    rows = read_rows(file, CAPTIONS)
    rows[0]["key"] = "f" * 32
    write_table(file, rows, CAPTIONS)


def add_a_file_to_a_model(home: Home) -> None:
    (next(home.root.glob("models/*/*/manifest.json")).parent / "stray.bin").write_bytes(b"?")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (cut, ["shards/demo", "00000.tar", "truncated"]),
        (empty, ["shards/demo", "00000.tar", "truncated"]),
        (flip, ["00000.tar", "sample ", "bit_rot"]),
        (lose_the_stats, ["00000.json is not there"]),
        (move_an_offset, ["00000.tar", "sample ", "sidecar_mismatch"]),
        (caption_a_stranger, ["captions/", "keys are of no sample", "f" * 32]),
        (add_a_file_to_a_model, ["models/", "manifest.json"]),
    ],
)
def test_damage_is_named_and_fails(home: Home, damage: Callable[[Home], None], named: list[str]) -> None:
    damage(home)
    found = run(home)
    assert found.exit_code == 1
    assert all(words in found.output for words in named), found.output


def test_a_whole_home_passes(home: Home) -> None:
    found = run(home)
    assert found.exit_code == 0, found.output
    assert "0 problems" in found.output


def test_one_snapshot_is_read_alone(home: Home) -> None:
    add_a_file_to_a_model(home)
    assert run(home, "--snapshot", SNAPSHOT).exit_code == 0
    flip(home)
    assert run(home, "--snapshot", SNAPSHOT).exit_code == 1


def test_a_snapshot_that_is_not_there_is_told_in_one_line(home: Home) -> None:
    found = run(home, "--snapshot", "nothing")
    assert found.exit_code == 1
    assert "partition 'nothing' of asset 'shards' is not materialized" in found.output
