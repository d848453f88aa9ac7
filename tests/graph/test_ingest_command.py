"""``t2i ingest``: from a preset's own sources to shards in one command, and what went wrong in one line."""

import subprocess
import sys
from pathlib import Path

import yaml

from t2i_assets.corpus.home import Home
from t2i_assets.corpus.shards import read_samples, verify
from tests.unit.crawl_site import picture


def ingest(preset: Path, home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "t2i_assets.cli", "ingest", "--preset", preset, "--home", home, "--snapshot", "a"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=240)


def write_preset(path: Path, folder: Path) -> Path:
    source = {"kind": "folder", "name": "photos", "path": str(folder)}
    path.write_text(yaml.safe_dump({"site": None, "crawl": {"sources": [source], "images": {"format": "webp"}}}))
    return path


def test_a_folder_becomes_a_snapshot_in_one_command(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_bytes(picture(number, (120, 96)))
        (folder / f"{number}.txt").write_text(f"a smooth picture of many colours, number {number}")
    (folder / "broken.jpg").write_bytes(b"no picture at all, whatever its name may say" * 10)
    (folder / "broken.txt").write_text("a text of something broken")
    done = ingest(write_preset(tmp_path / "mine.yaml", folder), tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "decode_failed 1" in done.stdout
    shards = Home(tmp_path / "home").shards("a")
    assert str(shards) in done.stdout
    assert verify(shards) == []
    assert {row["image_ext"] for row in read_samples(shards).to_pylist()} == {"webp"}


def test_a_source_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    done = ingest(write_preset(tmp_path / "mine.yaml", tmp_path / "nowhere"), tmp_path / "home")
    assert done.returncode == 1
    assert "nowhere is not a directory" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
