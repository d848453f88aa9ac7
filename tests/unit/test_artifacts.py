"""Artifacts appear whole or not at all, are made once, and survive a kill at any point of their publication."""

import threading
import time
from pathlib import Path

import pytest

from t2i_assets.corpus import artifacts
from t2i_assets.corpus.artifacts import (
    Manifest,
    MissingArtifactError,
    publish,
    read_artifact,
    read_ref,
    write_ref,
)
from t2i_assets.corpus.home import Home


def manifest(digest: str) -> Manifest:
    return Manifest(asset="a", digest=digest, code_version="1")


def write(text: str):
    def fill(directory: Path) -> None:
        (directory / "file").write_text(text)

    return fill


def test_what_is_made_already_is_not_made_again(tmp_path: Path) -> None:
    publish(tmp_path / "x", manifest("one"), write("first"))
    publish(tmp_path / "x", manifest("one"), write("second"))
    assert (tmp_path / "x" / "file").read_text() == "first"
    publish(tmp_path / "x", manifest("two"), write("third"))
    assert (tmp_path / "x" / "file").read_text() == "third"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["x"]


def test_a_failure_leaves_the_old_artifact_and_the_work_so_far(tmp_path: Path) -> None:
    publish(tmp_path / "x", manifest("one"), write("old"))

    def fail(directory: Path) -> None:
        (directory / "half").write_text("done")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        publish(tmp_path / "x", manifest("two"), fail)
    assert (tmp_path / "x" / "file").read_text() == "old"

    def go_on(directory: Path) -> None:
        assert (directory / "half").read_text() == "done"
        write("new")(directory)

    publish(tmp_path / "x", manifest("two"), go_on)
    assert (tmp_path / "x" / "file").read_text() == "new"


def test_a_file_that_a_kill_cut_off_is_no_part_of_the_artifact(tmp_path: Path) -> None:
    def killed(directory: Path) -> None:
        (directory / "tables").mkdir()
        (directory / "tables" / ".rows.parquet.4711.tmp").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / "x", manifest("one"), killed)
    cut_off = publish(tmp_path / "x", manifest("one"), write("whole"))
    assert sorted(path.name for path in cut_off.path.rglob("*") if path.is_file()) == ["file", "manifest.json"]
    assert (
        cut_off.manifest.output_digest
        == publish(tmp_path / "y", manifest("one"), write("whole")).manifest.output_digest
    )


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    write_ref(home, "a", "_", publish(tmp_path / "x", manifest("one"), write("old")))
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if target == tmp_path / "x":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(tmp_path / "x", manifest("two"), write("new"))
    assert (read_ref(home, "a").path / "file").read_text() == "old"

    publish(tmp_path / "x", manifest("two"), write("made anew"))
    assert (tmp_path / "x" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.glob("*.old")] == []


def test_two_who_make_the_same_make_it_once(tmp_path: Path) -> None:
    made: list[str] = []

    def slow(directory: Path) -> None:
        made.append("once")
        time.sleep(0.3)
        write("content")(directory)

    both = [threading.Thread(target=publish, args=(tmp_path / "x", manifest("one"), slow)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert made == ["once"]


def test_the_digest_of_the_output_passes_over_the_ledger(tmp_path: Path) -> None:
    def crawl(second: float):
        def fill(directory: Path) -> None:
            write("same bytes")(directory)
            (directory / "ledger.parquet").write_text(str(second))

        return fill

    digests = {
        publish(tmp_path / name, manifest(name), crawl(second)).manifest.output_digest
        for second, name in enumerate(("x", "y"))
    }
    assert len(digests) == 1


def test_a_missing_input_says_what_to_materialize(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match="partition 'demo' of asset 'shards' is not materialized"):
        read_ref(Home(tmp_path), "shards", "demo")
    assert read_artifact(tmp_path / "nothing") is None
    assert artifacts.WHOLE == "_"
