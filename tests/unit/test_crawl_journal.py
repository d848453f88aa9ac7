"""The journal of a stage: what was added is there again, whatever happened in between."""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_assets.crawl.journal import Journal, finished


def row(url: str, **more: Any) -> dict[str, Any]:
    return {"kind": "image", "url": url, "status": "ok"} | more


def test_outcomes_and_blobs_come_back_in_order(tmp_path: Path) -> None:
    with Journal(tmp_path, "work") as journal:
        journal.add(row("b"), b"first", "k2", {"width": 1})
        journal.add(row("c"), b"ignored: the name is there", "k2", {"width": 2})
        journal.add(row("a"), b"second", "k1", {"width": 3})
        journal.add(row("d", status="http_4xx", kind="page"))
    with Journal(tmp_path, "work") as journal:
        assert [found["url"] for found in journal.rows("image")] == ["a", "b", "c"]
        assert [found["url"] for found in journal.rows()] == ["a", "b", "c", "d"]
        assert list(journal.blob_names()) == ["k1", "k2"]
        assert journal.blob("k2") == (b"first", {"width": 1})
        assert [found["url"] for found in journal.rows_of_blob("k2")] == ["b", "c"]
        assert journal.statuses("page") == {"http_4xx": 1}
        assert journal.row("image", "d") is None


def test_a_journal_of_other_work_is_begun_afresh(tmp_path: Path) -> None:
    with Journal(tmp_path, "other work") as journal:
        journal.add(row("a"), b"bytes", "k", {})
    with Journal(tmp_path, "work") as journal:
        assert not list(journal.rows())
        assert not journal.has_blob("k")


@pytest.mark.parametrize("torn", ["journal.sqlite", "blobs.bin"])
def test_a_torn_journal_is_begun_afresh(tmp_path: Path, torn: str) -> None:
    with Journal(tmp_path, "work") as journal:
        journal.add(row("a"), b"bytes", "k", {})
    (tmp_path / torn).write_bytes(b"torn")
    with Journal(tmp_path, "work") as journal:
        assert not list(journal.rows())


@given(st.lists(st.tuples(st.text(min_size=1), st.binary(max_size=50)), max_size=20))
def test_every_blob_is_what_was_first_given_under_its_name(
    tmp_path_factory: pytest.TempPathFactory, blobs: list[tuple[str, bytes]]
) -> None:
    first: dict[str, bytes] = {}
    with Journal(tmp_path_factory.mktemp("journal"), "work") as journal:
        for number, (name, data) in enumerate(blobs):
            if "\0" in name or any(0xD800 <= ord(c) < 0xE000 for c in name):
                continue
            journal.add(row(str(number)), data, name, {})
            first.setdefault(name, data)
        assert {name: journal.blob(name)[0] for name in journal.blob_names()} == first


FILL_THE_DISK = """
import resource, sys
from pathlib import Path
from t2i_assets.crawl.journal import Journal, finished
from t2i_assets.crawl.status import CrawlFailedError
try:
    with Journal(Path(sys.argv[1]), "work") as journal:
        journal.add({"kind": "image", "url": "a", "status": "ok"}, bytes(1000), "a", {})
        journal.commit()
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        for number in range(1000):
            journal.add({"kind": "image", "url": str(number), "status": "ok"}, bytes(1000), str(number), {})
except CrawlFailedError as error:
    print(error)
"""


def test_a_full_disk_is_one_clear_sentence_and_what_was_done_is_kept(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert "cannot be written" in done.stdout
    assert "run again" in done.stdout
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    with Journal(tmp_path, "work") as journal:
        assert journal.blob("a")[0] == bytes(1000)


def test_a_finished_stage_is_not_done_again_and_leaves_no_journal(tmp_path: Path) -> None:
    place = tmp_path / ".journal"
    with Journal(place, "work") as journal:
        journal.finish({"samples": 3})
    place.mkdir()
    (place / "blobs.bin").write_bytes(b"left by a kill in the middle of the removal")
    assert finished(place, "other work") is None
    assert finished(place, "work") == {"samples": 3}
    assert not place.exists()
